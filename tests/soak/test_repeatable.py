"""Small notebooks give the same tables alone, beside others, and after they were killed."""

import sys
import time

import nbformat
import pytest
import yaml

from helpers import paths
from helpers.parameters import PARAMETERS
from tests.soak.cases import digests

pytestmark = pytest.mark.notebooks
SECONDS = 400  # at most, also on a busy machine
SMALL = {"IMAGE_SIZE": 32, "EPOCHS": 3, "RESAMPLES": 50, "THREADS": 2, "PARAMETERS": "smoke"}


@pytest.fixture
def run(tmp_path, watch):
    """Starts a notebook of the series with few epochs, writing below a folder for itself."""

    def start(name, place):
        source = paths.NOTEBOOKS / f"{name}.ipynb"
        own = nbformat.read(source, as_version=4).cells
        text = next(x.source for x in own if "parameters" in x.metadata.get("tags", []))
        given = {key: value for key, value in SMALL.items() if f"{key} =" in text}
        assert given.keys() <= PARAMETERS.keys()
        (tmp_path / place).mkdir(exist_ok=True)
        copy = str(tmp_path / place / f"{name}.ipynb")
        return watch(
            *(sys.executable, "-m", "helpers.execute", str(source), copy, "-y"),
            yaml.safe_dump(given),
            CHEST_XRAY_RUNS=str(tmp_path / place),
            CHEST_XRAY_CACHE=str(tmp_path / place / "cache"),
        )

    return start


def test_tables_are_the_same_alone_beside_others_and_after_a_kill(run, tmp_path):
    folders = {place: tmp_path / place / "smoke-synthetic" for place in ("beside", "killed")}
    beside = [run(name, "beside") for name in ("02_baseline", "03_dense")]
    killed = run("03_dense", "killed")
    end = time.monotonic() + SECONDS
    while not list(folders["killed"].glob("fits/*/model.weights.h5")):  # trained, not yet kept
        assert killed.process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    killed.kill_all()
    assert not digests(folders["killed"])
    again = run("03_dense", "killed")
    assert [made.returncode(SECONDS) for made in (*beside, again)] == [0, 0, 0]
    alone = digests(folders["killed"])
    assert len(alone) == 1
    assert alone < digests(folders["beside"])
