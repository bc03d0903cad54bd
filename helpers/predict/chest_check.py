"""Tell an upright frontal chest X-ray from any other picture, before the model is asked."""

from functools import partial

import cv2
import numpy as np

THUMBNAIL, BLUR, COMPONENTS = 16, 0.15, 16  # side; sigma as a share of it; principal components
RIDGE = 100.0


def fit_chest_check(
    images_train: np.ndarray, images_val: np.ndarray, acceptance: float = 0.995
) -> dict:
    """Learn what a frontal chest X-ray looks like from far away.

    Each picture becomes a small thumbnail of its local contrast. Two questions are asked of it:
    how much of it the first principal components of the training thumbnails leave unexplained
    (Jackson & Mudholkar 1979), which finds what is no chest; and whether a ridge regression that
    tells training thumbnails from their mirror images, top to bottom, calls it upright.

    Args:
        images_train: (n, side, side, 1), 0-255.
        images_val: of other patients; the limit of the first question is set on them.
        acceptance: share of them, at least, that stays within that limit.

    Returns:
        Plain lists and numbers for JSON: mean, components, upright, most_unexplained.
    """
    train = _thumbnails(images_train)
    mean = train.mean(axis=0)
    components = np.linalg.svd(train - mean, full_matrices=False)[2][:COMPONENTS]
    both = np.vstack([train, _thumbnails(images_train[:, ::-1])])
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


def is_frontal_chest(images: np.ndarray, check: dict) -> np.ndarray:
    """Which of the images (n, side, side, 1), 0-255, pass a check of `fit_chest_check`: bools."""
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
