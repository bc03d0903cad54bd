"""What all tests share: a small folder of phantoms in place of whatever this machine holds."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers import data, results, synthetic, training

REAL = os.environ.get("CHEST_XRAY_DIR")  # before phantoms take its place
THREADS = 2  # the same for all tests of a process: TensorFlow cannot change it later


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory):
    """Phantoms are the data, caches are empty, the backend runs with a known number of threads."""
    with pytest.MonkeyPatch.context() as patch:
        folder = synthetic.make(tmp_path_factory.mktemp("data") / "chest_xray", patients=80)
        patch.setenv("CHEST_XRAY_DIR", str(folder))
        cache = tmp_path_factory.mktemp("cache")
        for module in (data.files, data.images):
            patch.setattr(module, "CACHE", cache)
        training.prepare(seed=0, threads=THREADS)
        yield folder


@pytest.fixture(scope="session")
def phantoms(isolated) -> Path:
    """Folder of some 150 phantom radiographs; not to be written to."""
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
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
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
    return np.random.default_rng(0).integers(0, 256, (24, 32, 32, 1), dtype=np.uint8)


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """An index with a split column for `images`."""
    return pd.DataFrame(
        {
            "file": [f"person{number}_virus_1.jpeg" for number in range(24)],
            "label": ["normal", "bacteria", "virus"] * 8,
            "split": ["train"] * 12 + ["val"] * 6 + ["test"] * 6,
            "digest": [str(number) for number in range(24)],
        }
    )
