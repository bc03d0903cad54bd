"""What speaks against an answer: its header, no chest, little detail, no lungs, unfamiliar."""

import re
from collections.abc import Mapping

import cv2
import numpy as np

from helpers.predict.chest_check import inside, is_frontal_chest
from helpers.utils import shown

NO_CHEST = "does not look like a frontal chest X-ray"
NO_DETAIL = "has too little detail (enlarged from a small picture?)"
NO_LUNGS = "no lungs are found in it"
UNFAMILIAR = "unlike the children's X-rays it has learnt from"
NARROW = "is too narrow for a chest X-ray"
NARROWEST = 4  # times as long as wide, or as wide as long; X-rays of the collection reach 3.4
ADULT = 18  # years
CHESTS = ("CHEST", "THORA", "TORAX", "LUNG", "PULM")  # in a body part's name
LATERAL = ("LL", "RL", "LLO", "RLO")  # views: from the sides, and obliquely


def of_header(about: Mapping[str, int | str]) -> str:
    """What is against a picture by its header: a reason, or "".

    Args:
        about: of `reading.about`.
    """
    sides = about["width"], about["height"]
    if max(sides) > NARROWEST * min(sides):
        return NARROW
    part, view = about.get("BodyPartExamined", ""), about.get("ViewPosition", "")
    if part and not any(name in part for name in CHESTS):
        return f"its header says body part {shown(part[:16])}, not chest"
    if view in LATERAL or "LAT" in view or "OBL" in view:
        return f"its header says view {shown(view[:16])}, not a frontal one"
    years = re.fullmatch(r"(\d{1,3})Y?", about.get("PatientAge", ""))
    if years and int(years[1]) >= ADULT:
        return f"its header says {int(years[1])} years, and the model has learnt from children"
    return ""


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
