"""Everything lies in the project, but for the cache, which may be named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import paths

PUBLISHED = ["MANIFEST", "NOTEBOOKS", "PARAMETERS", "RESULTS", "IMAGES", "MODELS", "PRESENTATION"]


@pytest.mark.parametrize("name", ["PROJECT", "DATA", "README", *PUBLISHED])
def test_what_is_stored_is_there(name):
    path = getattr(paths, name)
    assert path.is_absolute() and path.exists() and path.is_relative_to(paths.PROJECT)


@pytest.mark.parametrize(("named", "cache"), [("", paths.DATA / "cache"), ("here", Path("here"))])
def test_the_cache_may_be_named(named, cache, tmp_path):
    command = [sys.executable, "-c", "from helpers import paths; print(paths.CACHE)"]
    variables = {"CHEST_XRAY_CACHE": named, "PYTHONPATH": str(paths.PROJECT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / cache)
