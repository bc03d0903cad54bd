"""Change one image by a given strength: blur, detail, gray curve, geometry, letters, compression.

Augmentation draws their strengths at random, robustness takes fixed ones. An image is (side, side)
or (side, side, channels), values 0-255, uint8 or float, and is never changed in place. An operation
keeps the type of pixels unless it says that it gives floats: those may leave 0-255, so that several
operations lose nothing in between; `to_uint8` ends the row.
"""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

VERSION = 1  # raise it when an operation gives other pixels: fits made with the old ones are redone
FINEST = 0.7  # sigma of the finest band of detail in pixels; each further one has twice as much


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Rounded and cut off at 0 and 255."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; `sigma` in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def sharpen(image: np.ndarray, sigma: float, amount: float) -> np.ndarray:
    """Unsharp mask, floats: `amount` times what a blur of `sigma` pixels takes away is added."""
    return image + amount * (image.astype(np.float32) - blur(image, sigma))


def gain_bands(image: np.ndarray, gains: Sequence[float]) -> np.ndarray:
    """The image with its octave bands of detail, from fine to coarse, times `gains`; float32.

    The bands are differences of Gaussians (Marr & Hildreth 1980) with sigma 0.7, 1.4, 2.8 pixels
    and so on, one more of them than there are gains.
    """
    image = image.astype(np.float32)
    blurred = [blur(image, FINEST * 2**k) for k in range(len(gains) + 1)]
    bands = [fine - coarse for fine, coarse in itertools.pairwise(blurred)]
    return image + sum((gain - 1) * band for gain, band in zip(gains, bands, strict=True))


def gamma(image: np.ndarray, exponent: float) -> np.ndarray:
    """Gamma correction, floats: an exponent above 1 darkens, below 1 brightens."""
    return 255 * (np.clip(image, 0, 255) / 255) ** exponent


def contrast(image: np.ndarray, gain: float, offset: float = 0.0) -> np.ndarray:
    """Contrast times `gain` around the image's mean, and `offset` gray levels added; floats."""
    mean = image.mean()
    return (image - mean) * gain + mean + offset


def affine(
    image: np.ndarray,
    *,
    zoom: Sequence[float] = (1.0, 1.0),
    angle: float = 0.0,
    shift: Sequence[float] = (0.0, 0.0),
    mirror: bool = False,
    repeat_edge: bool = False,
) -> np.ndarray:
    """Mirrored, magnified and turned around its centre, then shifted; bilinear.

    Args:
        image: square.
        zoom: magnification across and down; above 1 crops.
        angle: degrees, clockwise.
        shift: to the right and down, pixels.
        mirror: left and right change places.
        repeat_edge: what comes in from outside is as the nearest pixel; else it is black.
    """
    turn = np.deg2rad(angle)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = linear * (np.asarray(zoom) * [-1 if mirror else 1, 1])
    centre = np.full(2, (len(image) - 1) / 2)
    matrix = np.column_stack([linear, centre - linear @ centre + shift])
    outside = cv2.BORDER_REPLICATE if repeat_edge else cv2.BORDER_CONSTANT
    size = image.shape[:2]
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=outside)


def coarsen(image: np.ndarray, share: float) -> np.ndarray:
    """Shrunk by area to a `share` of its side and enlarged again, bilinear."""
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG file of `quality` 0-100; one channel, uint8."""
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)


def write_text(
    image: np.ndarray, text: str, place: Sequence[int], size: float, gray: float, stroke: int
) -> np.ndarray:
    """With burned-in letters, as markers are.

    Args:
        image: uint8.
        text: ASCII.
        place: pixel of the lower left corner, across and down.
        size: scale of OpenCV's plain font, whose capitals are 21 pixels high at 1.
        gray: 0-255.
        stroke: thickness in pixels.
    """
    copy = np.array(image, order="C")
    return cv2.putText(copy, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (gray,) * 3, stroke)


def blacken_border(image: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """With its top, bottom, left and right edge black, in shares of the side."""
    side, masked = len(image), np.zeros_like(image)
    top, bottom, left, right = np.rint(side * np.asarray(shares)).astype(int)
    inside = slice(top, side - bottom), slice(left, side - right)
    masked[inside] = image[inside]
    return masked
