"""One style for all figures, one way to save and show them, and the answer atop a notebook."""

import re
import textwrap
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import PIL.Image
import seaborn as sns
from IPython import get_ipython
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from helpers.results import Run, Story
from helpers.utils import UserError, write_atomically

# Okabe & Ito (2008): told apart with colour-blind eyes and in gray
COLORS = {"normal": "#0072B2", "bacteria": "#D55E00", "virus": "#009E73", "pneumonia": "#D55E00"}
NAMES = {"auc": "AUC"}
WIDTH = 8.0  # inches
DPI = 110

sns.set_theme("notebook", "whitegrid", palette="colorblind", rc={"figure.dpi": DPI})
plt.rcParams.update({"figure.constrained_layout.use": True, "savefig.facecolor": "white"})


def save(figure: Figure, place: Run | Story, name: str) -> None:
    """Write a figure as `<name>.png` into the place's figures; a notebook shows it.

    Synthetic data are named on it. Its `description` goes into the file, as the Description of PNG,
    and into the notebook's output, as its alternative text. The digests of the tables that it was
    drawn from go in as its Source, so that a figure of an older run is told from one of these.
    """
    if place.dataset == "synthetic":
        figure.text(1, 1, "synthetic radiographs", ha="right", va="bottom", color="crimson", size=9)
    alt = description(figure, name)
    told = {"Description": alt, "Source": " ".join(sorted(place.sources)) or "images alone"}
    style = {"dpi": DPI, "bbox_inches": "tight", "metadata": told}
    write_atomically(place.figures / f"{name}.png", partial(figure.savefig, **style))
    if get_ipython():
        present(figure, alt)


def present(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook, with an alternative text for those who cannot see it."""
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def source(path: Path) -> str:
    """What a saved figure says it was drawn from; empty for one that `save` did not write."""
    with PIL.Image.open(path) as picture:
        return picture.info.get("Source", "")


def description(figure: Figure, name: str) -> str:
    """What a figure shows, in words: its name, the title and axes of its panels, its legends."""
    panels = []
    for axis in figure.axes:
        title, y, x = axis.get_title(), axis.get_ylabel(), axis.get_xlabel()
        panels.append(": ".join(filter(None, [title, " against ".join(filter(None, [y, x]))])))
    legends = [*figure.legends, *filter(None, (axis.get_legend() for axis in figure.axes))]
    entries = [text.get_text() for legend in legends for text in legend.get_texts()]
    parts = ("; ".join(dict.fromkeys(filter(None, texts))) for texts in (panels, entries))
    text = ". ".join(filter(None, [_words(name), *parts]))
    return textwrap.shorten(text, 400, placeholder=" ...")


def _words(name: str) -> str:
    """A figure's name without the number of its notebook: `03_dense_roc` is `dense roc`."""
    return re.sub(r"^\d+_", "", name).replace("_", " ")


def show(place: Run | Story, name: str) -> Image:
    """A saved figure, for a notebook's output; a full one is 760 pixels wide, a small one less.

    Raises UserError when it is not there.
    """
    path = place.figures / f"{name}.png"
    if not path.exists():
        raise UserError(f"no figure {path}: run the notebook that draws it first (`make run`)")
    with PIL.Image.open(path) as picture:
        width, alt = picture.width, picture.info.get("Description", _words(name))
    return Image(path, width=min(760, round(0.85 * width)), alt=alt)


class AnswerLine:
    """The answer to a notebook's question: stands below it, and a later cell fills it in."""

    def __init__(self):
        waiting = Markdown("**Answer.** *It stands here when all cells have run.*")
        self._shown = display(waiting, display_id=True)

    def fill(self, place: Run | Story, text: str) -> None:
        """Put the answer where the line was shown.

        Args:
            place: whose data it is about; synthetic ones are named.
            text: Markdown in one line, its numbers computed.
        """
        about = ""
        if place.dataset == "synthetic":
            about = "*On synthetic radiographs, which say nothing about patients:* "
        self._shown.update(Markdown(f"**Answer.** {about}{text}"))
