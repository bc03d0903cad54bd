"""Random changes of training images: NumPy and OpenCV on uint8, many times faster than layers.

They act on training batches only and are no part of a model, saved or exported.
"""

from dataclasses import dataclass

import numpy as np

from helpers.data import transforms

VERSION = 1  # raise it when a change is drawn in another way: fits made with the old are redone
CAPITALS = "ABCDEFGHKLMPRSTVX"


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
        changed = self._move(image, generator)
        sigma = generator.uniform(0, self.blur)
        if sigma > 0.2:
            changed = transforms.blur(changed, sigma)
        if self.bands:
            gains = 2 ** generator.uniform(-self.bands, self.bands, size=3)
            changed = transforms.gain_bands(changed, gains)
        if self.gamma:
            changed = transforms.gamma(changed, 2 ** generator.uniform(-self.gamma, self.gamma))
        gain = 1 + generator.uniform(-self.contrast, self.contrast)
        offset = 255 * generator.uniform(-self.brightness, self.brightness)
        changed = transforms.to_uint8(transforms.contrast(changed, gain, offset))
        if self.letters and generator.random() < self.letters:
            changed = _with_letters(changed, generator)
        if self.border:
            shares = generator.uniform(0, self.border, size=4)
            changed = transforms.blacken_border(changed, shares)
        return changed.reshape(image.shape)

    def _move(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        angle = generator.uniform(-self.rotation, self.rotation)
        zoom = generator.uniform(*self.zoom, size=2)
        shift = len(image) * generator.uniform(-self.shift, self.shift, size=2)
        mirror = self.flip and generator.random() < 0.5
        return transforms.affine(
            image, zoom=zoom, angle=angle, shift=shift, mirror=mirror, repeat_edge=True
        )


def _with_letters(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The image with one or two capitals as burned-in markers have them, anywhere on it."""
    side = len(image)
    text = "".join(generator.choice(list(CAPITALS), generator.integers(1, 3)))
    place = [int(x) for x in side * generator.uniform([0, 0.15], [0.85, 1])]
    size, gray = side * generator.uniform(0.003, 0.006), float(generator.uniform(180, 255))
    return transforms.write_text(image, text, place, size, gray, stroke=2)
