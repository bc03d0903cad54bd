"""Picture files to measure with, drawn, and the figures of what was measured."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import paths, results
from helpers.utils import sha256

GRAIN = 3  # standard deviation of the noise in gray levels; the files get as large as radiographs
GRAINS = 16  # fields of noise, drawn once: each picture gets one of them, shifted


def write(folder: Path, count: int, width: int, height: int) -> Path:
    """Write `count` JPEG files to `folder`/train, by class, and their table.

    They are smooth and grainy: at 1,280 x 960 pixels some 200 KB, as the published radiographs.
    """
    noise = np.random.default_rng(0).normal(0, GRAIN, (GRAINS, height, width))
    grains = [cv2.GaussianBlur(np.float32(one), (0, 0), 0.7) for one in noise]
    numbers = range(count)
    labels = [("normal", "bacteria")[number % 2] for number in numbers]
    files = [f"train/{labels[number]}/{number:07}.jpeg" for number in numbers]

    def draw(number: int) -> None:
        generator = np.random.default_rng(number)
        coarse = np.float32(generator.integers(0, 256, (16, 16)))
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        picture += np.roll(grains[number % GRAINS], generator.integers(width), axis=1)
        cv2.imwrite(str(folder / files[number]), picture.clip(0, 255).astype(np.uint8))

    for label in set(labels):
        (folder / "train" / label).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(draw, numbers))
    table = pd.DataFrame({"file": files, "label": labels, "patient": numbers})
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def save(figure: Figure, name: str, table: Path) -> None:
    """Write a figure as `<name>.png` into the published ones; it names the table behind it."""
    told = {"Source": sha256(table)[: results.SHORT]}
    figure.savefig(paths.IMAGES / f"{name}.png", dpi=110, bbox_inches="tight", metadata=told)
