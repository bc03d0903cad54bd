"""Boxes around the lungs: those drawn by eye, and how far others are from them.

`data/lung_boxes.csv` holds boxes drawn by eye on training images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import paths
from helpers.utils import UserError

EDGES = ["x0", "y0", "x1", "y1"]


def drawn_boxes(table: pd.DataFrame) -> pd.DataFrame:
    """The drawn boxes of an index's pictures: file, reading (1 or 2), the edges, unsure, note.

    They stand in `lung_boxes.csv` in the folder of the radiographs (synthetic ones have it), else
    in `data/lung_boxes.csv`.

    Raises:
        UserError: none of the pictures has a box.
    """
    own = Path(table.path.iloc[0]).parents[2] / paths.LUNG_BOXES.name
    place = own if own.exists() else paths.LUNG_BOXES
    boxes = pd.read_csv(place, keep_default_na=False)
    boxes = boxes[boxes.file.isin(table.file)].reset_index(drop=True)
    if boxes.empty:
        raise UserError(f"{place} has no box of these radiographs: draw some, or leave this out")
    return boxes


def mean_boxes(drawn: pd.DataFrame) -> pd.DataFrame:
    """One box a picture, the mean of its readings: the edges, with the file as index."""
    return drawn.groupby("file")[EDGES].mean()


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of pairs of boxes (n, 4): (n,), 0-1 (Jaccard 1912)."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = [np.clip(x[:, 2:] - x[:, :2], 0, None).prod(axis=1) for x in (boxes, others)]
    return both / (areas[0] + areas[1] - both)


def errors(boxes: np.ndarray, drawn: np.ndarray, index: Sequence | None = None) -> pd.DataFrame:
    """How far boxes (n, 4) are from drawn ones: of each edge, as a share, and iou; a row a box."""
    table = pd.DataFrame(np.abs(boxes - drawn), index=index, columns=EDGES)
    return table.assign(iou=iou(np.asarray(boxes), np.asarray(drawn)))


def moved_boxes(
    boxes: np.ndarray,
    *,
    zoom: Sequence[float] = (1.0, 1.0),
    angle: float = 0.0,
    mirror: bool = False,
    oval: bool = False,
) -> np.ndarray:
    """The boxes (n, 4) after `data.transforms.affine` changed their pictures, cut off at the edges.

    Around turned lungs the box depends on how they fill the old one, which a box does not say.

    Args:
        boxes: (n, 4).
        zoom, angle, mirror: as `affine` takes them.
        oval: the lungs fill their box as an ellipse does; else up to its corners, so that the new
            box is larger. The truth lies in between.
    """
    boxes = np.asarray(boxes, np.float64)
    turn = np.deg2rad(angle)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = linear * (np.asarray(zoom) * [-1 if mirror else 1, 1])
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    centre = 0.5 + (centre - 0.5) @ linear.T
    half = np.sqrt(half**2 @ linear.T**2) if oval else half @ np.abs(linear).T
    return np.clip(np.hstack([centre - half, centre + half]), 0, 1)
