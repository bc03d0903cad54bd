"""Picture files to measure with, drawn, and the figures of what was measured."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import paths, results
from helpers.utils import sha256

GRAIN = 3  # standard deviation of the noise in gray levels; the files get as large as radiographs


def write(folder: Path, count: int, width: int, height: int) -> Path:
    """Write `count` JPEG files to `folder`/train, by class, and their table.

    They are smooth and grainy: at 1,280 x 960 pixels some 200 KB, as the published radiographs.
    """
    generator, rows = np.random.default_rng(0), []
    for number in range(count):
        label = ("normal", "bacteria")[number % 2]
        rows.append({"file": f"train/{label}/{number:07}.jpeg", "label": label, "patient": number})
        place = folder / rows[-1]["file"]
        place.parent.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (16, 16), dtype=np.uint8)
        picture = cv2.resize(
            coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        picture += cv2.GaussianBlur(generator.normal(0, GRAIN, picture.shape), (0, 0), 0.7)
        cv2.imwrite(str(place), picture.clip(0, 255).astype(np.uint8))
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def save(figure: Figure, name: str, table: Path) -> None:
    """Write a figure as `<name>.png` into the published ones; it names the table behind it."""
    told = {"Source": sha256(table)[: results.SHORT]}
    figure.savefig(paths.IMAGES / f"{name}.png", dpi=110, bbox_inches="tight", metadata=told)
