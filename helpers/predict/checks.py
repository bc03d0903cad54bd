"""What speaks against an answer, and why: no chest, too little detail, no lungs, unfamiliar."""

import cv2
import numpy as np

from helpers.predict.chest_check import inside, is_frontal_chest

NO_CHEST = "does not look like a frontal chest X-ray"
NO_DETAIL = "has too little detail (enlarged from a small picture?)"
NO_LUNGS = "no lungs are found in it"
UNFAMILIAR = "unlike the children's X-rays it has learnt from"


def detail(images: np.ndarray) -> np.ndarray:
    """Standard deviation of each image's Laplacian over that of its gray values: (n,), 0 if flat.

    Enlarging a picture adds pixels and no detail, so that it falls; contrast does not change it.

    Args:
        images: uint8, (n, side, side, 1); the side matters.
    """
    return np.array([_detail(np.asarray(image[..., 0])) for image in images])


def _detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image, cv2.CV_32F).std() / max(image.std(), 1e-6))


def of_pictures(images: np.ndarray, boxes: np.ndarray, facts) -> list[str]:
    """What is against each image as it is: a reason, "" where there is none.

    Args:
        images: uint8, (n, side, side, 1).
        boxes: (n, 4), around their lungs.
        facts: those of the model.
    """
    chests = is_frontal_chest(inside(images, boxes), facts.chest_check)
    sharp = detail(images) >= facts.least_detail
    return [
        NO_CHEST if not chest else NO_DETAIL if not enough else ""
        for chest, enough in zip(chests, sharp, strict=True)
    ]


def of_answer(spread: float, distance: float, facts) -> str:
    """What is against an answer: a reason, or "".

    Args:
        spread: of the lungs' box.
        distance: of the features, squared.
        facts: those of the model.
    """
    if not spread <= facts.most_spread:
        return NO_LUNGS
    return "" if distance <= facts.most_distance else UNFAMILIAR
