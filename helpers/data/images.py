"""Decode the radiographs once, to a memory-mapped array."""

import os
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
    cached = paths.CACHE / f"images-{size}-{key}.npy"
    if not cached.exists():
        images = np.empty((len(table), size, size, 1), np.uint8)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, image in enumerate(pool.map(partial(reading.read, size=size), table.path)):
                images[row, ..., 0] = image
        write_atomically(cached, partial(np.save, arr=images))
    return np.load(cached, mmap_mode="r")
