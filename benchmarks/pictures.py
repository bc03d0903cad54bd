"""Picture files to measure with: smooth noise in the folders of the radiographs, of any number."""

from pathlib import Path

import cv2
import numpy as np


def write(folder: Path, count: int, side: int) -> Path:
    """Write `count` JPEG files of `side` pixels below `folder`/train, one to a patient."""
    generator = np.random.default_rng(0)
    for number in range(count):
        inner, name = (
            ("NORMAL", f"IM-{number:07}-0001")
            if number % 2
            else ("PNEUMONIA", f"person{number}_virus_1")
        )
        place = folder / "train" / inner
        place.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (16, 16), dtype=np.uint8)
        picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(place / f"{name}.jpeg"), picture)
    return folder
