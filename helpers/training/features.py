"""Features of frozen pretrained networks: computed once, kept for every notebook and seed."""

from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from helpers import models, paths
from helpers.models import Base, InitialWeights
from helpers.models.backbones import RANDOM
from helpers.training import backend, cache
from helpers.utils import sha256, short_digest, write_atomically

VERSION = 1  # raise it when the same images and network give other features


def features(
    images: np.ndarray,
    backbone: str = "mobilenet",
    initial: InitialWeights = RANDOM,
    seed: int = 0,
) -> tuple[np.ndarray, Base]:
    """What `models.features` gives, kept beside the decoded images.

    The key holds the images, the weights, and all that the last bits depend on: device, precision,
    threads and versions.

    Args:
        images: (n, side, side, 1), raw 0-255.
        backbone: a name in `models.BACKBONES`.
        initial: as `models.initial_weights(backbone)` gives it.
        seed: of the weights, where they are random.

    Returns:
        float32, (n, features), and what they were made by.
    """
    weights = sha256(Path(initial.path)) if initial.path else seed
    facts = sorted(backend.facts().items()), backend.versions()
    key = short_digest(VERSION, cache.digest(images), images.shape, backbone, weights, *facts)
    path = paths.CACHE / f"features-{key}.npz"
    with (
        suppress(OSError, ValueError, KeyError, EOFError, BadZipFile),  # not there, or damaged
        np.load(path) as found,
    ):
        return found["values"], Base(initial.source, images.shape[1], int(found["parameters"]))
    values, base = models.features(images, backbone, initial, seed)
    kept = {"values": values, "parameters": base.parameters}
    write_atomically(path, lambda aside: np.savez(aside, **kept))
    return values, base
