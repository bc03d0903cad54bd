"""Random changes of training images: NumPy and OpenCV on uint8, many times faster than layers.

They act on training batches only and are no part of a model, saved or exported.
"""

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
    """

    rotation: float = 0.0
    shift: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    blur: float = 0.0

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
        gain = 1 + generator.uniform(-self.contrast, self.contrast)
        offset = 255 * generator.uniform(-self.brightness, self.brightness)
        mean = changed.mean()
        changed = np.rint((changed - mean) * gain + mean + offset)
        return np.clip(changed, 0, 255).astype(np.uint8).reshape(image.shape)

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
