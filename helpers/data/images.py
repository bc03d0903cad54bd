"""Decode the radiographs once, to a memory-mapped array."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import paths, reading
from helpers.utils import short_digest, write_atomically

AT_ONCE = 256  # files that are decoded before they are written


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
    return _written(f"images-{size}-{key}", partial(_decode, list(table.path), size))


def kept(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `make()` gives, made once and kept on disk under `name`; memory-mapped, read-only.

    Args:
        name: holds a digest of all that the array depends on.
        make: makes the array.
    """
    return _written(name, lambda path: np.save(path, arr=make()))


def _written(name: str, write: Callable[[Path], None]) -> np.ndarray:
    path = paths.CACHE / f"{name}.npy"
    if not path.exists():
        write_atomically(path, write)
    return np.load(path, mmap_mode="r")


def _decode(files: Sequence[str], size: int, path: Path) -> None:
    """Decode files to an array on disk, some at a time, so that memory does not grow with them."""
    shape = (len(files), size, size, 1)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with open(path, "wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(files), AT_ONCE):
            part = files[start : start + AT_ONCE]
            for image in pool.map(partial(reading.read, size=size), part):
                file.write(image.tobytes())
