"""Random changes of training images: NumPy and OpenCV on uint8, many times faster than layers.

They act on training batches only and are no part of a model, saved or exported.
"""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Ranges from which each image draws its own change; the defaults change nothing.

    Attributes:
        rotation: largest angle to either side, degrees.
        shift: largest shift along each axis, share of the side.
        zoom: smallest and largest magnification, drawn for each axis by itself; above 1 crops.
        flip: mirror left and right in half of the images.
        brightness: largest change of all pixels, share of 255.
        contrast: largest relative change of the contrast around the image's mean.
        blur: largest sigma of a Gaussian blur, pixels.
        bands: largest change of each octave of detail, in octaves of its strength: 1 halves or
            doubles. The bands are differences of Gaussians with sigma 0.7, 1.4, 2.8 and 5.6 pixels.
        gamma: largest change of the intensity curve's exponent, in octaves: 1 takes 0.5 to 2.
        border: largest share of the side that is blackened along each edge, drawn edge by edge.
        letters: share of the images that a bright letter or two are written on, anywhere.
    """

    rotation: float = 0.0
    shift: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    blur: float = 0.0
    bands: float = 0.0
    gamma: float = 0.0
    border: float = 0.0
    letters: float = 0.0

    def __call__(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Changed copies of uint8 images of shape (n, side, side, channels), values 0-255."""
        return np.stack([self._change(image, generator) for image in images])

    def _change(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        matrix = self._affine(image.shape[0], generator)
        changed = cv2.warpAffine(
            image, matrix, image.shape[:2], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        sigma = generator.uniform(0, self.blur)
        if sigma > 0.2:
            changed = cv2.GaussianBlur(changed, (0, 0), sigma)
        if self.bands:
            changed = _with_gains(changed, 2 ** generator.uniform(-self.bands, self.bands, size=3))
        if self.gamma:
            exponent = 2 ** generator.uniform(-self.gamma, self.gamma)
            changed = 255 * (np.clip(changed, 0, 255) / 255) ** exponent
        gain = 1 + generator.uniform(-self.contrast, self.contrast)
        offset = 255 * generator.uniform(-self.brightness, self.brightness)
        mean = changed.mean()
        changed = np.rint((changed - mean) * gain + mean + offset)
        changed = np.clip(changed, 0, 255).astype(np.uint8)
        if self.letters and generator.random() < self.letters:
            changed = _with_letters(changed, generator)
        if self.border:
            changed = _with_border(changed, generator.uniform(0, self.border, size=4))
        return changed.reshape(image.shape)

    def _affine(self, side: int, generator: np.random.Generator) -> np.ndarray:
        """The 2 x 3 matrix that rotates, zooms, mirrors and shifts around the image's centre."""
        angle = np.deg2rad(generator.uniform(-self.rotation, self.rotation))
        zoom = generator.uniform(*self.zoom, size=2)
        shift = side * generator.uniform(-self.shift, self.shift, size=2)
        mirror = -1 if self.flip and generator.random() < 0.5 else 1
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn * (zoom * [mirror, 1])
        centre = np.full(2, (side - 1) / 2)
        return np.column_stack([linear, centre - linear @ centre + shift])


def _with_gains(image: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """The image with its bands of detail, from fine to coarse, times `gains`; float32."""
    image = image.astype(np.float32)
    blurred = [cv2.GaussianBlur(image, (0, 0), 0.7 * 2**k) for k in range(len(gains) + 1)]
    bands = [fine - coarse for fine, coarse in itertools.pairwise(blurred)]
    return image + sum((gain - 1) * band for gain, band in zip(gains, bands, strict=True))


def _with_letters(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The image with one or two capitals as burned-in markers have them, anywhere on it."""
    side = len(image)
    text = "".join(generator.choice(list("ABCDEFGHKLMPRSTVX"), generator.integers(1, 3)))
    place = [int(x) for x in side * generator.uniform([0, 0.15], [0.85, 1])]
    size, gray = side * generator.uniform(0.003, 0.006), float(generator.uniform(180, 255))
    return cv2.putText(
        np.ascontiguousarray(image), text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (gray,) * 3, 2
    )


def _with_border(image: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The image with its top, bottom, left and right edge black, in shares of the side."""
    top, bottom, left, right = np.rint(len(image) * shares).astype(int)
    side, masked = len(image), np.zeros_like(image)
    inside = slice(top, side - bottom), slice(left, side - right)
    masked[inside] = image[inside]
    return masked
