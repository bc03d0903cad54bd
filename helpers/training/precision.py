"""The precision that a processor trains fastest in: measured once, and remembered."""

import json
import platform
import time
from pathlib import Path

import numpy as np

from helpers import models, paths
from helpers.models import keras
from helpers.utils import alone, short_digest, write_atomically

UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # what Linux calls the units for bfloat16
PRECISIONS = ("float32", "mixed_bfloat16")
GAIN = 1.2  # how many times as fast bfloat16 has to be


def fastest(device: str, flags: str, threads: int) -> str:
    """float32, or mixed_bfloat16 where the processor has units for it and trains faster by them.

    The answer is kept beside the decoded images, so that later fits are made in the same precision.

    Args:
        device: name of the processor.
        flags: what Linux knows of it, in words.
        threads: that train.
    """
    if not set(UNITS) & set(flags.split()):
        return "float32"
    key = short_digest(platform.node(), device, threads, keras.backend.backend(), keras.__version__)
    path = paths.CACHE / f"precision-{key}.json"
    seconds = _remembered(path)
    if not seconds:
        with alone(path.parent):  # side by side each would measure the load of the others
            seconds = _remembered(path) or _measured(path)
    return "mixed_bfloat16" if seconds["float32"] > GAIN * seconds["mixed_bfloat16"] else "float32"


def _remembered(path: Path) -> dict[str, float] | None:
    """The seconds of each precision; None where they were not kept, or the file is damaged."""
    try:
        found = json.loads(path.read_bytes())
        return {name: float(found[name]) for name in PRECISIONS}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _measured(path: Path) -> dict[str, float]:
    seconds = {name: _seconds(name) for name in PRECISIONS}
    write_atomically(path, lambda aside: aside.write_text(json.dumps(seconds)))
    return seconds


def _seconds(precision: str, steps: int = 5) -> float:
    """The fastest of some training steps of a small CNN."""
    keras.config.set_dtype_policy(precision)
    network, jit = models.cnn(64, (32, 64, 64)), keras.backend.backend() != "tensorflow"
    network.compile("adam", "binary_crossentropy", jit_compile=jit)
    images, targets = np.zeros((32, 64, 64, 1), np.uint8), np.zeros(32, np.int32)
    found = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        network.train_on_batch(images, targets)
        found.append(time.perf_counter() - start)
    return min(found[1:])
