"""Try the published model in a browser: `python -m helpers.predict.demo`, or `make demo`.

The page is for this computer alone: it listens on 127.0.0.1, asks nothing of the internet, and what
was dropped on it is deleted when it ends.
"""

import argparse
import os
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from helpers import paths
from helpers.predict.model import KERAS, MEANINGS, NOTE, Model, open_model, predict
from helpers.utils import UserError, command_line, shown

HOST = "127.0.0.1"
NAMES = {"normal": "normal", "bacteria": "bacterial pneumonia", "virus": "viral pneumonia"}
LEARNT_FROM = (
    "The model has learnt from X-rays of children of one to five years from one hospital. What its "
    "numbers are worth for other pictures is not known."
)
LUNGS_TITLE = "### The lungs it found\n\nThe picture as the model saw it: square, 224 pixels wide."
HEAT_TITLE = (
    "### What speaks for and against pneumonia\n\n"
    "Coarse, and by its own largest value: it says where, not how much."
)
OFFLINE = (  # the browser itself refuses what the page would fetch from elsewhere
    '<meta http-equiv="Content-Security-Policy" content="default-src \'self\' data: blob: '
    "'unsafe-inline' 'unsafe-eval'\">"
)


class Shown(NamedTuple):
    """What the page shows of a picture.

    Attributes:
        text: Markdown.
        probabilities: 0-1, by name of the class; None where there is no answer, as what follows.
        lungs: the picture as the model saw it, with the box around the lungs.
        heat: the same with what speaks for and against pneumonia.
    """

    text: str = ""
    probabilities: dict[str, float] | None = None
    lungs: Image.Image | None = None
    heat: Image.Image | None = None


def show(model: Model, file: str | None, forced: bool = False) -> Shown:
    """Ask the model about a file, or None for an empty page.

    Args:
        model: a `.keras` file, opened.
        file: of any kind that `reading` knows.
        forced: answer also where something speaks against it.
    """
    if file is None:
        return Shown()
    row, picture = next(predict(model, [file], forced=forced))
    if "error" in row:
        reason = row["error"].replace(shown(file), "this file")
        return Shown(f"**Not read.** {reason[0].upper()}{reason[1:]}.")
    if picture is None:
        return Shown(f"**No decision.** {_reason(row)}")
    from helpers.predict import heat

    answer = row["prediction"]
    box = np.array(answer["box"])
    (heat_map,) = heat.heat_maps(model, picture[None], box[None])
    return Shown(
        _text(model, row),
        {name: answer[f"p_{label}"] for label, name in NAMES.items()},
        heat.over_picture(picture, np.zeros((1, 1), np.float32), box),
        heat_map,
    )


def _reason(row: dict) -> str:
    name = shown(Path(row["file"]).name).replace("`", "'")
    return f"`{name}`: {row['reason']}."


def _text(model: Model, row: dict) -> str:
    """The probability of pneumonia, and the decision at each operating point."""
    p, facts = row["prediction"]["p_pneumonia"], model.facts
    lines = [f"### Probability of pneumonia: {100 * p:.1f} %"]
    if "reason" in row:
        lines.append(f"**Not to be relied on.** {_reason(row)}")
    lines += [
        f"- {point}: **{facts.decision(p, point)}** "
        f"(from {100 * facts.thresholds[point]:.1f} % on; {meaning})"
        for point, meaning in MEANINGS.items()
    ]
    return "\n\n".join(lines)


def card(model: Model) -> tuple[str, str]:
    """The card beside a model, Markdown without its metadata, and its part about limits.

    Both are empty where there is none.
    """
    path = model.path.with_name("README.md")
    text = path.read_text().split("---\n", 2)[-1] if path.exists() else ""
    limits = re.search(r"^## Limits\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return text, limits[1].strip() if limits else ""


def launch(model: Model, port: int | None = None):
    """Start the page, and return it, a `gradio.Blocks`: its `local_url` is where it is.

    Args:
        model: a `.keras` file, opened.
        port: None for a free one.

    Raises:
        UserError: gradio is not there, or the port is taken.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        import gradio
    except ImportError as error:
        raise UserError("the page needs gradio: `pip install -e .[demo]` installs it") from error
    page = _page(gradio, model)
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            run_history=False,
            head=OFFLINE,
            ssr_mode=False,
        )
    except OSError as error:
        raise UserError(f"port {port} is taken: name another one with --port") from error
    return page


def _page(gradio, model: Model):
    text, limits = card(model)
    title = "Pneumonia on chest X-rays of children"
    image = partial(
        gradio.Image, interactive=False, format="png", show_label=False, buttons=["fullscreen"]
    )
    with gradio.Blocks(title=title, analytics_enabled=False) as page:
        gradio.Markdown(f"# {title}\n\n**{NOTE}**\n\n{LEARNT_FROM}")
        with gradio.Row():
            with gradio.Column(scale=1):
                file = gradio.File(label="Chest X-ray: JPEG, PNG or DICOM")
                forced = gradio.Checkbox(label="Answer also where something speaks against it")
            with gradio.Column(scale=2):
                answer = gradio.Markdown()
                classes = gradio.Label(label="Three classes", show_heading=False, visible=False)
        with gradio.Row(visible=False) as pictures:
            with gradio.Column():
                gradio.Markdown(LUNGS_TITLE)
                lungs = image(alt_text="The X-ray with a box around the lungs")
            with gradio.Column():
                gradio.Markdown(HEAT_TITLE)
                heat = image(alt_text="The X-ray with a heat map over the lungs")

        def ask(path: str | None, forced: bool):
            said = show(model, path, forced)
            seen = said.heat is not None
            label = gradio.Label(said.probabilities, visible=seen)
            return said.text, label, said.lungs, said.heat, gradio.Row(visible=seen)

        if limits:
            gradio.Markdown(f"## Limits\n\n{limits}")
        if text:
            with gradio.Accordion("The whole card of the model", open=False):
                gradio.Markdown(text)
        asked, shown = [file, forced], [answer, classes, lungs, heat, pictures]
        gradio.on([file.change, forced.change], ask, asked, shown, api_name="ask")
    return page


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m helpers.predict.demo", epilog=NOTE)
    parser.add_argument("--port", type=int, help="of the page; a free one if not named")
    port = parser.parse_args(arguments).port
    model = open_model(paths.MODELS / KERAS)
    model.answers(np.zeros((1, *2 * [model.facts.image_size], 1)))  # Keras takes its time to start
    with tempfile.TemporaryDirectory() as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # read when gradio is imported
        page = launch(model, port)
        print(f"Open {page.local_url} in a browser; Ctrl+C ends it. {NOTE}", flush=True)
        page.block_thread()


if __name__ == "__main__":
    sys.exit(main())
