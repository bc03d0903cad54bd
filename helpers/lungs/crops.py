"""Lung crops: pictures cropped to the box around the lungs, as arrays and as part of a network."""

from functools import partial

import numpy as np
import pandas as pd

from helpers import data
from helpers.lungs import sampling
from helpers.lungs.localiser import LOOKED_AT, SIDE, WHOLE, load_boxes
from helpers.models import keras
from helpers.training import cache
from helpers.utils import short_digest

MARGIN = 0.03  # kept around the box on each edge, share of the picture
BATCH = 64


def crop(
    images: np.ndarray,
    boxes: np.ndarray,
    side: int,
    margin: float = MARGIN,
    standardised: bool = True,
) -> np.ndarray:
    """The pictures cropped to their boxes: uint8, (n, side, side, 1).

    The aspect ratio is not kept. What lies beyond a picture repeats its edge.

    Args:
        images: uint8, (n, any side, the same side, 1).
        boxes: (n, 4).
        side: of the crops, pixels.
        margin: kept around the box on each edge, share of the picture.
        standardised: bring the gray values to one mean and spread (see `sampling.standardise`).
    """
    wide = sampling.widened(np.asarray(boxes, np.float32), margin)
    cropped = np.empty((len(images), side, side, 1), np.uint8)
    for start in range(0, len(images), BATCH):
        rows = slice(start, start + BATCH)
        part = sampling.sample(np.asarray(images[rows], np.float32), wide[rows], side)
        cropped[rows] = np.rint(sampling.standardise(part) if standardised else part)
    return cropped


def load_crops(
    table: pd.DataFrame,
    model: keras.Model,
    side: int,
    margin: float = MARGIN,
    standardised: bool = True,
) -> np.ndarray:
    """The lung crops of the images of `table` (an index), row by row.

    Made once from the images at 224 pixels and kept on disk, as `data.load` keeps images.

    Args:
        table: at least the columns path and digest.
        model: a localiser.
        side, margin, standardised: as in `crop`.

    Returns:
        uint8, (rows, side, side, 1), values 0-255, memory-mapped and read-only.
    """
    images, boxes = data.load(table, LOOKED_AT), load_boxes(table, model)
    key = short_digest(
        *(sampling.VERSION, side, margin, standardised, cache.digest(boxes)), list(table.digest)
    )
    make = partial(crop, images, boxes, side, margin, standardised)
    return data.kept(f"crops-{side}-{key}", make, (len(table), side, side, 1), np.uint8)


def with_crop(
    classifier: keras.Model, localiser: keras.Model, margin: float = MARGIN
) -> keras.Model:
    """A network that takes whole pictures, finds the lungs, and answers for the crop.

    It rounds nothing, unlike `crop`: rounding would magnify the last bits, in which backends and
    ONNX Runtime differ. `get_layer` finds its parts as `localiser` and `classifier`.

    Args:
        classifier: takes lung crops as `crop` gives them; one output, or a dictionary of them.
        localiser: finds the lungs.
        margin: as in `crop`.

    Returns:
        From pictures (n, 224, 224, 1), raw 0-255, to a dictionary: what the classifier says
        (`probabilities`, where it has one output), `boxes` (n, 4) and their `spread` (n, 1).
    """
    finder = keras.Model(localiser.input, localiser.output, name="localiser")
    judge = keras.Model(classifier.input, classifier.output, name="classifier")
    image = keras.Input((LOOKED_AT, LOOKED_AT, 1), name="image")
    whole = keras.ops.zeros_like(image[:1, 0, 0, :]) + WHOLE  # one box for all
    boxes, spread = finder(sampling.sample(image, whole, SIDE, keras.ops))
    wide = sampling.widened(boxes, margin)
    lungs = sampling.sample(image, wide, judge.input_shape[1], keras.ops)
    said = judge(sampling.standardise(lungs, keras.ops))
    said = said if isinstance(said, dict) else {"probabilities": said}
    return keras.Model(image, {**said, "boxes": boxes, "spread": spread}, name="pneumonia")
