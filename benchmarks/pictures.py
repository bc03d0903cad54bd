"""Picture files to measure with, smooth noise, and the figures of what was measured."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import paths, results
from helpers.utils import sha256


def write(folder: Path, count: int, side: int) -> Path:
    """Write `count` JPEG files of `side` pixels to `folder`/train, by class, and their table."""
    generator, rows = np.random.default_rng(0), []
    for number in range(count):
        label = ("normal", "bacteria")[number % 2]
        rows.append({"file": f"train/{label}/{number:07}.jpeg", "label": label, "patient": number})
        place = folder / rows[-1]["file"]
        place.parent.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (16, 16), dtype=np.uint8)
        picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(place), picture)
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def save(figure: Figure, name: str, table: Path) -> None:
    """Write a figure as `<name>.png` into the published ones; it names the table behind it."""
    told = {"Source": sha256(table)[: results.SHORT]}
    figure.savefig(paths.IMAGES / f"{name}.png", dpi=110, bbox_inches="tight", metadata=told)
