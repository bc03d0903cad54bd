"""Resample the part of a picture inside a box, and standardise its gray values.

One formula serves arrays, in training, and networks, in the published model: the argument `ops`,
NumPy or `keras.ops`, says which.
"""

from types import ModuleType

import numpy as np

VERSION = 1  # raise it when the same box gives other pixels: fits made with the old are redone
MEAN, SPREAD = 128.0, 56.0  # of the gray values after `standardise`


def sample(images, boxes, side: int, ops: ModuleType = np):
    """The part of each picture inside its box: floats, (n, side, side, 1).

    Bilinear with antialiasing, as Pillow's resize does it: a triangle that is as wide as the step
    between two samples, at least one pixel to either side. The aspect ratio is not kept. What lies
    beyond a picture repeats its edge.

    Args:
        images: (n, own side, own side, 1), any numbers.
        boxes: (n, 4), shares of the side; may reach beyond the picture.
        side: of what is given back, pixels.
        ops: numpy or keras.ops.
    """
    own = images.shape[1]
    across = _weights(boxes[:, 0], boxes[:, 2], own, side, ops)
    down = _weights(boxes[:, 1], boxes[:, 3], own, side, ops)
    pixels = ops.matmul(down, images[..., 0])
    return ops.matmul(pixels, ops.swapaxes(across, 1, 2))[..., None]


def widened(boxes, margin: float):
    """The boxes (n, 4) with a margin, a share of the picture, around each; arrays or tensors."""
    return boxes + margin * np.float32([[-1, -1, 1, 1]])


def _weights(low, high, own: int, side: int, ops: ModuleType):
    """How much each of `own` pixels counts for each of `side` samples: (n, side, own)."""
    step = (high - low)[:, None, None] * (own / side)
    places = (np.arange(side, dtype=np.float32) + 0.5)[None, :, None]  # NumPy's: constants
    centres = ops.clip(low[:, None, None] * own + step * places, 0.5, own - 0.5)
    pixels = (np.arange(own, dtype=np.float32) + 0.5)[None, None, :]
    weights = ops.maximum(0.0, 1.0 - ops.abs(centres - pixels) / ops.maximum(step, 1.0))
    return weights / ops.sum(weights, axis=2, keepdims=True)


def standardise(images, ops: ModuleType = np):
    """Gray values of 0-255 whose mean is near 128 and standard deviation near 56, as floats.

    Exposure and contrast of the film, linear changes of the gray values, are taken out; what comes
    out beyond 0-255 is cut off.

    Args:
        images: (n, side, side, 1).
        ops: numpy or keras.ops.
    """
    values = images[..., 0]  # ONNX Runtime is slow where the last axis has one element
    centred = values - ops.mean(values, axis=(1, 2), keepdims=True)
    spread = ops.sqrt(ops.mean(ops.square(centred), axis=(1, 2), keepdims=True))
    return ops.clip(MEAN + centred * (SPREAD / (spread + 1.0)), 0.0, 255.0)[..., None]
