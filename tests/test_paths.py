"""Everything lies in the project, but for the cache, which may be named."""

import os
import shutil
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


def test_an_installed_package_reads_what_it_ships_and_writes_to_the_users_cache(tmp_path):
    package = tmp_path / "site" / "helpers"
    package.mkdir(parents=True)
    for name in ("__init__", "paths"):
        shutil.copy(paths.PROJECT / "helpers" / f"{name}.py", package)
    command = [sys.executable, "-c", "from helpers.paths import *; print(MODELS, CACHE, RUNS)"]
    variables = {"PYTHONPATH": str(package.parent), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    variables |= {"CHEST_XRAY_CACHE": "", "CHEST_XRAY_RUNS": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True
    )
    models, *written = done.stdout.split()
    assert Path(models) == package / "shipped" / "models"
    assert all(Path(path).is_relative_to(tmp_path) for path in written)
    assert not any(Path(path).is_relative_to(package) for path in written)


@pytest.mark.parametrize(("named", "cache"), [("", paths.DATA / "cache"), ("here", Path("here"))])
def test_the_cache_may_be_named(named, cache, tmp_path):
    command = [sys.executable, "-c", "from helpers import paths; print(paths.CACHE)"]
    variables = {"CHEST_XRAY_CACHE": named, "PYTHONPATH": str(paths.PROJECT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / cache)
