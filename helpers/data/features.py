"""Simple features of radiographs, for baselines and for looking at the data."""

import cv2
import numpy as np
import pandas as pd

BAND_SIGMAS = 0.7 * 2.0 ** np.arange(7)  # pixels; neighbours bound an octave-wide band


def pixels(images: np.ndarray, side: int) -> np.ndarray:
    """Images (n, s, s, 1) of 0-255 shrunk to `side` pixels by area, flat, 0-1: (n, side * side)."""
    shrink = (cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images)
    return np.stack([image.ravel() for image in shrink]) / np.float32(255)


def texture(images: np.ndarray) -> np.ndarray:
    """Logarithm of each image's standard deviation in six octave-wide frequency bands: (n, 6).

    Bands are differences of Gaussians (Marr & Hildreth 1980), sigma 0.7 to 45 pixels, fine to
    coarse. They know how much of each detail size there is, and nothing of where it is.
    """
    return np.stack([_bands(image.astype(np.float32)) for image in images])


def _bands(image: np.ndarray) -> np.ndarray:
    blurred = [cv2.GaussianBlur(image, (0, 0), sigma) for sigma in BAND_SIGMAS]
    spreads = [np.std(fine - coarse) for fine, coarse in zip(blurred, blurred[1:], strict=False)]
    return np.log(np.array(spreads) + 1e-3)


def sharpness(images: np.ndarray) -> np.ndarray:
    """Mean absolute difference of vertical neighbours, gray levels of 255: (n,)."""
    return np.array([np.abs(np.diff(image.astype(np.float32), axis=0)).mean() for image in images])


def metadata(table: pd.DataFrame) -> np.ndarray:
    """Size and shape of the original files: log width, log height, log aspect ratio: (n, 3)."""
    width, height = np.log(table.width), np.log(table.height)
    return np.column_stack([width, height, width - height])


def has_originals(table: pd.DataFrame) -> bool:
    """Whether the files keep their own sizes, rather than one size for all."""
    return len(table[["width", "height"]].drop_duplicates()) > 1
