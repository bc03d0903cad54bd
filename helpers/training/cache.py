"""Finished fits on disk, under a key of everything that decides what a fit is."""

import dataclasses
import hashlib
import io
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from helpers import reading
from helpers.data import augmentation, transforms
from helpers.models import keras
from helpers.training import backend
from helpers.utils import sha256, write_atomically

MODULES = (reading, transforms, augmentation)  # whose VERSION decides, beside that of `fit`
RECORD, WEIGHTS, ESTIMATOR = "record.json", "model.weights.h5", "estimator.joblib"
PROVENANCE = "provenance.json"
KEYED = ("keras", "scikit-learn")  # libraries whose versions are part of the key, and the backend
LIBRARIES = (*KEYED, "numpy", "opencv-python-headless", "pandas", "pillow", "scipy")
_only_finished = ContextVar("only_finished", default=False)


class NotFinished(Exception):
    """A fit that is not in the cache, asked for inside `finished_only`."""


@contextmanager
def finished_only() -> Iterator[None]:
    """Inside it nothing is trained: a fit that is not in the cache raises NotFinished."""
    token = _only_finished.set(True)
    try:
        yield
    finally:
        _only_finished.reset(token)


def digest(*parts) -> str:
    """SHA-256, in hex, of arrays and of values with a faithful repr."""
    total = hashlib.sha256()
    for part in parts:
        array = isinstance(part, np.ndarray)
        total.update(np.ascontiguousarray(part).data if array else repr(part).encode())
    return total.hexdigest()


def chosen(settings) -> dict:
    """The fields of a dataclass that are not at their default, inner dataclasses likewise.

    A new option that is off by default then leaves the keys of finished fits as they are.
    """
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    return {
        name: chosen(value) if dataclasses.is_dataclass(value) else value
        for name, value in values.items()
        if value != defaults[name]
    }


def data_digest(table: pd.DataFrame, inputs: np.ndarray) -> str:
    """Of files, split, labels and what is made of them."""
    return digest(list(table.digest), list(table.split), list(table.label), np.asarray(inputs))


def settings_hash(description: Mapping, version: int) -> str:
    """The key of a fit, 16 hex digits: its description, the machine, and the code's versions.

    The code counts by the numbers called `VERSION`, not by its text: a comment costs nothing.

    Args:
        description: what JSON can hold, or what has a faithful text.
        version: of the module that trains.
    """
    content = {
        **description,
        **backend.facts(),
        "versions": [version, *(module.VERSION for module in MODULES), *backend.versions()],
    }
    written = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def write_provenance(folder: Path, description: Mapping, made_here: bool = True) -> None:
    """Write what a fit was made with and from into its folder, to be read by people.

    Args:
        folder: of the fit.
        description: what its key follows; of the network only a digest is kept.
        made_here: by this process; else nothing is written that the key does not prove.
    """
    libraries = (*(LIBRARIES if made_here else KEYED), backend.facts()["backend"])
    large = {
        name: digest(description[name]) for name in ("model", "trainable") & description.keys()
    }
    system = {"python": platform.python_version(), "system": platform.platform()}
    content = {
        **(system if made_here else {}),
        "libraries": {name: metadata.version(name) for name in sorted(libraries)},
        **backend.facts(),
        "settings": {**description, **large},
    }
    text = json.dumps(content, indent=1, sort_keys=True, default=str)
    write_atomically(folder / PROVENANCE, lambda path: path.write_text(text + "\n"))


def read(folder: Path, model: keras.Model | None) -> tuple | None:
    """What `write` left: model, record and history; None where there is nothing, or it is damaged.

    An estimator is read with joblib, which runs what the file says: caches are our own, and never
    taken from others.

    Args:
        folder: of the fit.
        model: built as the finished one was, to take its weights; None for an estimator. Where
            None is returned it is as it was.

    Raises:
        NotFinished: instead of None, inside `finished_only`.
    """
    found = _read(folder, model) if (folder / RECORD).exists() else None
    if found is None and _only_finished.get():
        raise NotFinished(folder)
    return found


def _read(folder: Path, model: keras.Model | None) -> tuple | None:
    """A finished fit; None, and the model as it was, where it is damaged."""
    initial = model and model.get_weights()
    try:
        record, history = json.loads((folder / RECORD).read_text()), pd.DataFrame()
        file = folder / (WEIGHTS if model else ESTIMATOR)
        if record.pop("sha256", None) not in (None, sha256(file)):  # earlier records have none
            raise ValueError(f"{file.name} is not what was written")
        if model:
            model.load_weights(file)
            history = pd.read_csv(folder / "history.csv")
        else:
            model = joblib.load(file)
    except Exception as error:  # loaders raise all kinds
        print(f"the finished fit in {folder} is damaged and made again: {error}")
        if model:
            model.set_weights(initial)
        return None
    return model, record, history


class _Weights(io.BytesIO):
    """A file in memory, for Keras: where a disk fills up below it, HDF5 crashes the process."""

    def __str__(self) -> str:
        return WEIGHTS  # Keras takes the format from the name


def write(folder: Path, model, record: dict, history: pd.DataFrame) -> None:
    """Keep a finished fit; the record comes last and says that the rest is complete, and its hash.

    Each file replaces the one that is there, so that another process may read the same fit
    meanwhile.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    if isinstance(model, keras.Model):
        weights = _Weights()
        model.save_weights(weights)
        file = folder / WEIGHTS
        write_atomically(file, lambda path: path.write_bytes(weights.getbuffer()))
        write_atomically(folder / "history.csv", partial(history.to_csv, index=False))
    else:
        file = folder / ESTIMATOR
        write_atomically(file, partial(joblib.dump, model))
    text = json.dumps({**record, "sha256": sha256(file)}, indent=1)
    write_atomically(folder / RECORD, lambda path: path.write_text(text))
