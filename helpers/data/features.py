"""Simple features of radiographs, for baselines and for looking at the data."""

import cv2
import numpy as np
import pandas as pd

from helpers.data import transforms

BANDS = 6


def pixels(images: np.ndarray, side: int) -> np.ndarray:
    """Images (n, s, s, 1) of 0-255 shrunk to `side` pixels by area, flat, 0-1: (n, side * side)."""
    shrink = (cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images)
    return np.stack([image.ravel() for image in shrink]) / np.float32(255)


def texture(images: np.ndarray) -> np.ndarray:
    """Logarithm of each image's standard deviation in six octave-wide frequency bands: (n, 6).

    The bands, fine to coarse, are differences of Gaussians with sigma 0.7 and 1.4 pixels (Marr &
    Hildreth 1980), on the image and on ever smaller copies of it, so that they reach sigma 22. They
    know how much of each size of detail there is, and nothing of where it is. Images (n, s, s, 1).
    """
    return np.stack([_bands(image[..., 0].astype(np.float32)) for image in images])


def _bands(image: np.ndarray) -> np.ndarray:
    spreads = []
    for _ in range(BANDS):
        fine, coarse = transforms.blur(image, 0.7), transforms.blur(image, 1.4)
        spreads.append(np.std(fine - coarse))
        if len(image) > 1:  # one pixel cannot be halved; it has no detail either
            image = cv2.resize(coarse, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.log(np.array(spreads) + 1e-3)


def sharpness(images: np.ndarray) -> np.ndarray:
    """Mean absolute difference of vertical neighbours, gray levels of 255: (n,)."""
    return np.array([np.abs(np.diff(image.astype(np.float32), axis=0)).mean() for image in images])


def brightness(images: np.ndarray) -> np.ndarray:
    """Mean gray level, 0-255: (n,)."""
    return np.asarray(images).mean(axis=(1, 2, 3))


def metadata(table: pd.DataFrame) -> np.ndarray:
    """Size and shape of the original files: log width, log height, log aspect ratio: (n, 3)."""
    width, height = np.log(table.width), np.log(table.height)
    return np.column_stack([width, height, width - height])


def has_originals(table: pd.DataFrame) -> bool:
    """Whether the files keep their own sizes, rather than one size for all."""
    return len(table[["width", "height"]].drop_duplicates()) > 1
