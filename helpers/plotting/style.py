"""One style for all figures, and one way to save and show them."""

from functools import partial

import matplotlib.pyplot as plt
import seaborn as sns
from IPython.display import Image
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
    """Write a figure as `<name>.png` into the place's figures; synthetic data are named on it."""
    if place.dataset == "synthetic":
        figure.text(1, 1, "synthetic radiographs", ha="right", va="bottom", color="crimson", size=9)
    write_atomically(
        place.figures / f"{name}.png", partial(figure.savefig, dpi=DPI, bbox_inches="tight")
    )


def show(place: Run | Story, name: str) -> Image:
    """A saved figure, for a notebook's output; a full one is 760 pixels wide, a small one less.

    Raises UserError when it is not there.
    """
    path = place.figures / f"{name}.png"
    if not path.exists():
        raise UserError(f"no figure {path}: run the notebook that draws it first (`make run`)")
    return Image(path, width=min(760, round(0.85 * plt.imread(path).shape[1])))
