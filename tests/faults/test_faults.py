"""A quick sample of `make faults`, and what keeps it from growing stale."""

import shutil

import pytest

from helpers import paths
from tests.faults import __main__ as faults
from tests.faults.plants import FAULTS

SAMPLE = ["a parameter is misspelt in gpu.yaml", "a figure of others is edited"]


def test_every_fault_that_was_planted_was_noticed():
    known = faults.known()
    assert known and [what for what, (name, _) in known.items() if name == faults.UNNOTICED] == []
    assert faults.TABLE.read_text() == faults.written(known)


@pytest.mark.parametrize("what", FAULTS)
def test_every_fault_can_still_be_planted(what, tmp_path, monkeypatch):
    """A plant that finds nothing to change raises an error."""
    if "measured again" in what or "last layer" in what:
        pytest.skip("planted by `make faults` alone: it takes long")
    for folder in ("helpers", "notebooks", "parameters", "results", "data", "presentation"):
        (tmp_path / folder).symlink_to(paths.PROJECT / folder)
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_: None)
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: None)
    for name in ("README.md", "images", "models"):
        (tmp_path / name).symlink_to(paths.PROJECT / name)
    FAULTS[what].plant(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("what", SAMPLE)
def test_a_planted_fault_is_noticed_in_a_copy(what, tmp_path):
    files = faults.tracked()
    noticed, _ = faults.try_out(FAULTS[what], tmp_path, files)
    assert noticed.startswith("tests/")
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_without_a_fault_the_tests_of_the_sample_pass(tmp_path):
    faults.restore(tmp_path, faults.tracked())
    code, failed, _ = faults.ask(tmp_path, tuple(t for what in SAMPLE for t in FAULTS[what].tests))
    assert (code, failed) == (faults.PASSED, "")
