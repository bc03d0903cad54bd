"""Fits of fixed settings stay what they were, or a VERSION says that they changed."""

import dataclasses
import subprocess
import sys

import pytest

from helpers import paths
from helpers.data import augmentation, transforms
from tests.training import golden


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def found(folder):
    return golden.compute(folder)


def test_the_same_settings_give_the_same_fits_or_another_version(found):
    assert not golden.complaint(golden.read(), golden.versions(), found)


def test_every_option_is_in_use():
    for used in ([golden.FULL, golden.MIXED], [golden.AUGMENTATION]):
        for field in dataclasses.fields(used[0]):
            assert any(getattr(x, field.name) != field.default for x in used), field.name


def test_a_slightly_stronger_augmentation_is_noticed(folder, monkeypatch):
    contrast = transforms.contrast
    monkeypatch.setattr(
        transforms, "contrast", lambda image, gain, offset: contrast(image, 1.05 * gain, offset)
    )
    changed = golden.compute(folder, ["full"])
    assert golden.difference(changed, golden.read()["probabilities"]) > golden.TOLERANCE
    complaint = golden.complaint(golden.read(), golden.versions(), changed)
    assert "raise VERSION in the module that you changed (helpers.data.synthetic" in complaint


def test_another_version_asks_for_the_file_to_be_written_again(found, monkeypatch):
    monkeypatch.setattr(augmentation, "VERSION", augmentation.VERSION + 1)
    complaint = golden.complaint(golden.read(), golden.versions(), found)
    assert "another VERSION than in golden.json: helpers.data.augmentation; run" in complaint
    written = golden.read() | {"versions": golden.versions()}
    assert not golden.complaint(written, golden.versions(), found)


SCRIPT = """
import pathlib, sys
from tests.training import golden
golden.write(pathlib.Path(sys.argv[1]), threads=1)
"""


@pytest.mark.slow
def test_a_process_with_other_threads_writes_the_same(tmp_path):
    file = tmp_path / "golden.json"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file)],
        cwd=paths.PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    again, stored = golden.read(file), golden.read()
    assert again["versions"] == stored["versions"]
    difference = golden.difference(again["probabilities"], stored["probabilities"])
    assert difference < golden.TOLERANCE / 10
