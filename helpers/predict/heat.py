"""Heat maps of lung crops, drawn over the whole picture, with a legend."""

import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from helpers import explain, lungs
from helpers.models import Ensemble
from helpers.predict.model import Model
from helpers.utils import native_messages_hidden

SIDE, LEGEND, TEXT = 448, 26, 14  # of the picture, the strip below it and its letters, pixels
OUTLINE = (255, 255, 255)
LONGEST = 200  # bytes of a file's name that its heat map takes over
SAID = {  # what the colors of a heat map say, for a legend
    "speaks for pneumonia": explain.FOR_PNEUMONIA,
    "for normal": explain.FOR_NORMAL,
    "outlined: what it sees": None,
}


def heat_maps(model: Model, pictures: np.ndarray, boxes: np.ndarray) -> list[Image.Image]:
    """What speaks for and against pneumonia in the lungs of each picture.

    Grad-CAM of the crop (see `explain.evidence`), each map by its own largest value, lies over the
    part of the picture that the classifier sees, which is outlined: the lungs and their margin.

    Args:
        model: a `.keras` file, opened.
        pictures: uint8, (n, side, side).
        boxes: (n, 4), around the lungs.
    """
    classifier, margin = model.classifier, model.facts.margin
    with native_messages_hidden():
        crops = lungs.crop(pictures[..., None], boxes, classifier.input_shape[1], margin)
        maps = explain.balanced(explain.evidence(Ensemble((classifier,)), crops))
    wide = lungs.widened(np.asarray(boxes), margin)
    return [draw(*parts) for parts in zip(pictures, maps, wide, strict=True)]


def draw(picture: np.ndarray, heat: np.ndarray, box: np.ndarray) -> Image.Image:
    """A picture with heat inside a box, which is outlined, and a legend below: 448 pixels wide.

    Arguments as `over_picture` takes them.
    """
    page = Image.new("RGB", (SIDE, SIDE + LEGEND))
    page.paste(over_picture(picture, heat, box))
    _write_legend(ImageDraw.Draw(page))
    return page


def over_picture(picture: np.ndarray, heat: np.ndarray, box: np.ndarray) -> Image.Image:
    """A picture with heat inside a box, which is outlined: RGB, 448 pixels square.

    Args:
        picture: uint8, (side, side).
        heat: of the part inside the box, (any side, the same), -1 to 1.
        box: (4,), shares of the picture; what lies beyond it is left out.
    """
    large = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    x0, y0, x1, y1 = (round(SIDE * float(edge)) for edge in box)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, SIDE), min(y1, SIDE)
    whole = np.zeros((SIDE, SIDE), np.float32)
    if left < right and top < bottom:
        inside = cv2.resize(heat, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        whole[top:bottom, left:right] = inside[top - y0 : bottom - y0, left - x0 : right - x0]
    drawn = Image.fromarray(explain.overlay(large, whole))
    outlined = (left, top, max(right - 1, left), max(bottom - 1, top))
    ImageDraw.Draw(drawn).rectangle(outlined, outline=OUTLINE)
    return drawn


def _write_legend(pen: ImageDraw.ImageDraw) -> None:
    font, x, y = ImageFont.load_default(TEXT), 6, SIDE + (LEGEND - TEXT) // 2
    for text, color in SAID.items():
        pen.rectangle((x, y + 1, x + TEXT - 2, y + TEXT - 1), fill=color, outline=color or OUTLINE)
        pen.text((x + TEXT + 3, y - 1), text, OUTLINE, font)
        x += TEXT + 3 + round(pen.textlength(text, font)) + 12


def file_name(file: str, used: set[str]) -> str:
    """A name for the heat map of a file, which is put into `used`; one in use gets a number.

    A long one is cut, since file systems take 255 bytes.
    """
    stem, number = f"{_cut(Path(file).stem)}-heatmap", 1
    name = f"{stem}.png"
    while name.lower() in used:
        number += 1
        name = f"{stem}-{number}.png"
    used.add(name.lower())
    return name


def _cut(stem: str) -> str:
    encoded = os.fsencode(stem)
    return stem if len(encoded) <= LONGEST else encoded[:LONGEST].decode(errors="ignore")
