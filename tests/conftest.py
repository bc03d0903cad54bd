"""What all tests share: a small folder of phantoms in place of whatever this machine holds."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from helpers import data, paths
from tests import builders

REAL = os.environ.get("CHEST_XRAY_DIR")  # before phantoms take its place
WEIGHTS = os.environ.get("PRETRAINED_DIR")  # before random weights take its place


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory):
    """Phantoms (synthetic radiographs) are the data, caches are empty.

    The workers of pytest-xdist share the phantoms: the first one draws them.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    with FileLock(place / "phantoms.lock"):
        folder = data.synthetic.make(place / "phantoms" / "chest_xray", builders.PATIENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHEST_XRAY_DIR", str(folder))
        patch.setenv("PRETRAINED_DIR", "none")  # random weights
        patch.setattr(paths, "CACHE", tmp_path_factory.mktemp("cache"))
        yield folder


@pytest.fixture(scope="session")
def backend():
    """Keras runs with a known seed and number of threads; for a test that loads it by itself."""
    from helpers import training

    training.set_up(seed=0, threads=builders.THREADS)


@pytest.fixture(scope="session", autouse=True)
def _backend_where_keras_is_imported(request):
    """Tests that import nothing of Keras do not wait for it."""
    if "keras" in sys.modules:
        request.getfixturevalue("backend")


@pytest.fixture(scope="session")
def phantoms(isolated) -> Path:
    """Folder of some 180 synthetic radiographs; not to be written to."""
    return isolated


@pytest.fixture(scope="session")
def _index(phantoms):
    return data.index(phantoms)


@pytest.fixture
def index(_index) -> pd.DataFrame:
    """The index of `phantoms`, a copy for each test."""
    return _index.copy()


@pytest.fixture
def run_folder(tmp_path, monkeypatch) -> Path:
    """The folder of all runs, empty."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def real_folder() -> Path:
    """The real radiographs, where `CHEST_XRAY_DIR` named them."""
    if not REAL:
        pytest.skip("CHEST_XRAY_DIR names no real radiographs")
    return Path(REAL)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """24 images of noise, 32 pixels wide: for what needs no picture."""
    return builders.noise()


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """An index with a split column for `images`: 12 train, 6 val, 6 test."""
    return builders.index_table()


@pytest.fixture
def real_weights(monkeypatch) -> None:
    """The real ImageNet weights, where `PRETRAINED_DIR` named them."""
    if not WEIGHTS:
        pytest.skip("PRETRAINED_DIR names no pretrained weights")
    monkeypatch.setenv("PRETRAINED_DIR", WEIGHTS)
