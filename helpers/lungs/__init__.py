"""Lungs: the box around both of them, drawn by eye and found by a network, and lung crops.

A box is (x0, y0, x1, y1): left, top, right and bottom edge as shares of width and height, and it
just encloses both lung fields.
"""

from helpers.lungs.boxes import EDGES, drawn_boxes, errors, iou, mean_boxes, moved_boxes
from helpers.lungs.crops import MARGIN, crop, load_crops, with_crop
from helpers.lungs.localiser import (
    FILE,
    LOOKED_AT,
    SIDE,
    WHOLE,
    fit_localiser,
    load_boxes,
    localiser,
    locate,
    open_localiser,
    random_window,
)
from helpers.lungs.sampling import widened

__all__ = [
    "EDGES",
    "FILE",
    "LOOKED_AT",
    "MARGIN",
    "SIDE",
    "WHOLE",
    "crop",
    "drawn_boxes",
    "errors",
    "fit_localiser",
    "iou",
    "load_boxes",
    "load_crops",
    "localiser",
    "locate",
    "mean_boxes",
    "moved_boxes",
    "open_localiser",
    "random_window",
    "widened",
    "with_crop",
]
