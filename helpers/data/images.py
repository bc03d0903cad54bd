"""Decode the radiographs once, to a memory-mapped array."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd

from helpers import paths, reading
from helpers.utils import short_digest, write_atomically


def load(table: pd.DataFrame, size: int) -> np.ndarray:
    """The images of `table` (an index), row by row.

    Decoded in parallel once and kept on disk under a key of the files' contents, so that a
    changed file can never give an old picture.

    Args:
        table: at least the columns path and digest.
        size: side in pixels.

    Returns:
        uint8 array of shape (rows, size, size, 1), values 0-255, memory-mapped and read-only.

    Raises:
        UserError: an image cannot be decoded, or the cache cannot be written.
    """
    key = short_digest(reading.VERSION, size, list(table.digest))
    return kept(f"images-{size}-{key}", partial(_decoded, table.path, size))


def kept(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `make()` gives, made once and kept on disk under `name`; memory-mapped, read-only.

    Args:
        name: holds a digest of all that the array depends on.
        make: makes the array.
    """
    path = paths.CACHE / f"{name}.npy"
    if not path.exists():
        write_atomically(path, partial(np.save, arr=make()))
    return np.load(path, mmap_mode="r")


def _decoded(files: Collection[str], size: int) -> np.ndarray:
    images = np.empty((len(files), size, size, 1), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, image in enumerate(pool.map(partial(reading.read, size=size), files)):
            images[row, ..., 0] = image
    return images
