"""Tell an upright frontal chest X-ray from any other picture, before the model is asked."""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

THUMBNAIL, BLUR, COMPONENTS = 16, 0.15, 16  # side; sigma as a share of it; principal components
RIDGE = 100.0
SMALLEST = 8  # side of a box that can be looked into, pixels


def fit_chest_check(
    images_train: Sequence[np.ndarray], images_val: Sequence[np.ndarray], acceptance: float = 0.995
) -> dict:
    """Learn what a frontal chest X-ray looks like from far away.

    Each picture, or the part of it inside the lungs' box (`inside`), which does not depend on how
    it is framed, becomes a small thumbnail of its local contrast. Two questions are asked of it:
    how much of it the first principal components of the training thumbnails leave unexplained
    (Jackson & Mudholkar 1979), which finds what is no chest; and whether a ridge regression that
    tells training thumbnails from their mirror images, top to bottom, calls it upright.

    Args:
        images_train: n of them, (height, width, 1) each, 0-255.
        images_val: likewise, of other patients; the limit of the first question is set on them.
        acceptance: share of them, at least, that stays within that limit.

    Returns:
        Plain lists and numbers for JSON: mean, components, upright, most_unexplained.
    """
    train = _thumbnails(images_train)
    mean = train.mean(axis=0)
    components = np.linalg.svd(train - mean, full_matrices=False)[2][:COMPONENTS]
    both = np.vstack([train, _thumbnails([image[::-1] for image in images_train])])
    target = np.repeat([1.0, -1.0], len(train))
    upright = np.linalg.solve(both.T @ both + RIDGE * np.eye(both.shape[1]), both.T @ target)
    check = {
        "mean": mean.round(4).tolist(),
        "components": components.round(4).tolist(),
        "upright": upright.round(5).tolist(),
    }
    unexplained, _ = _scores(images_val, check)
    limit = np.quantile(unexplained, acceptance, method="higher")
    return check | {"most_unexplained": float(limit)}


def inside(images: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """The part of each image inside its box, as far as the image goes.

    Args:
        images: (n, side, side, 1).
        boxes: (n, 4), shares of the side; one of less than 8 pixels gives the whole image.
    """
    side = images.shape[1]
    edges = np.clip(np.rint(side * np.asarray(boxes)), 0, side).astype(int)
    return [
        image[y0:y1, x0:x1] if min(x1 - x0, y1 - y0) >= SMALLEST else image
        for image, (x0, y0, x1, y1) in zip(images, edges, strict=True)
    ]


def is_frontal_chest(images: Sequence[np.ndarray], check: dict) -> np.ndarray:
    """Which of n images, (height, width, 1) each, pass a check of `fit_chest_check`: (n,) bools."""
    unexplained, upright = _scores(images, check)
    return (unexplained <= check["most_unexplained"]) & (upright > 0)


def _scores(images: np.ndarray, check: dict) -> tuple[np.ndarray, np.ndarray]:
    """Share of each thumbnail's variance that the components leave; above 0 it is upright."""
    thumbnails = _thumbnails(images)
    rest = thumbnails - check["mean"]
    components = np.array(check["components"])
    rest -= rest @ components.T @ components
    return (rest**2).mean(axis=1), thumbnails @ check["upright"]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Local contrast of each image, (n, pixels of a thumbnail), mean 0 and standard deviation 1.

    From each pixel its surroundings' mean is taken, and their standard deviation divides it, both
    under a Gaussian: which parts of a chest are brighter than what is around them stays the same
    when exposure, window or contrast change. A flat image gives zeros.
    """
    rows = np.stack([_local_contrast(np.asarray(image[..., 0])) for image in images])
    rows = rows.reshape(len(rows), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    spread = rows.std(axis=1, keepdims=True)
    return np.divide(rows, spread, out=np.zeros_like(rows), where=spread > 1e-6)


def _local_contrast(image: np.ndarray) -> np.ndarray:
    size = (THUMBNAIL, THUMBNAIL)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    blur = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=BLUR * THUMBNAIL)
    detail = small - blur(small)
    spread = np.sqrt(blur(detail**2))
    return detail / (spread + 0.1 * spread.mean() + 1e-6)
