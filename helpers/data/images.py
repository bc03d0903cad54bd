"""Decode the radiographs once, to a memory-mapped array."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from helpers.settings import CACHE, UserError, write_atomically

VERSION = 2  # part of the cache's key: raise it when decoding changes


def read(path: Path | str, size: int) -> np.ndarray:
    """One image as uint8 grayscale, shape (size, size), values 0-255.

    The aspect ratio is not kept. JPEG draft mode decodes at the smallest scale that is at least
    twice the size asked for (Pillow's `Image.draft`), then an antialiased resize does the rest.

    Raises:
        UserError: the file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            drafted = image.draft("L", (2 * size, 2 * size))
            gray = image.convert("L")
        box = drafted and drafted[1]  # the picture without the padding of a scaled decode
        return np.asarray(gray.resize((size, size), Image.Resampling.BILINEAR, box=box))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"unreadable image {path} ({error}). Replace it (`make data`) or take it away"
        ) from error


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
    key = hashlib.sha256(repr((VERSION, size, list(table.digest))).encode()).hexdigest()
    cached = CACHE / f"images-{size}-{key[:20]}.npy"
    if not cached.exists():
        images = np.empty((len(table), size, size, 1), np.uint8)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, image in enumerate(pool.map(partial(read, size=size), table.path)):
                images[row, ..., 0] = image
        write_atomically(cached, partial(np.save, arr=images))
    return np.load(cached, mmap_mode="r")
