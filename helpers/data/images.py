"""Decode the radiographs once, to a memory-mapped array."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
    shape, write = (len(table), size, size, 1), partial(_decode, list(table.path), size)
    return _written(f"images-{size}-{key}", write, shape, np.uint8)


def kept(
    name: str, make: Callable[[], np.ndarray], shape: tuple[int, ...], dtype: type
) -> np.ndarray:
    """What `make()` gives, made once and kept on disk under `name`; memory-mapped, read-only.

    A file that is damaged, or holds another shape or type, is made again.

    Args:
        name: holds a digest of all that the array depends on.
        make: makes the array.
        shape, dtype: of the array.

    Raises:
        UserError: the cache cannot be written.
    """
    return _written(name, lambda path: np.save(path, arr=make()), shape, dtype)


def _written(
    name: str, write: Callable[[Path], None], shape: tuple[int, ...], dtype: type
) -> np.ndarray:
    path = paths.CACHE / f"{name}.npy"
    with suppress(OSError, ValueError, EOFError):  # not there, or damaged
        found = np.load(path, mmap_mode="r")
        if found.shape == shape and found.dtype == dtype:
            return found
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
