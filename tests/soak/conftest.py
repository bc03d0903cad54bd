"""Disks that are full, folders that cannot be written, and commands with what they start."""

import ctypes
import os
import resource
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.soak.watched import Watched

OVERRIDE = 1 << 1  # the capability by which root writes where permissions forbid it


@pytest.fixture
def full_disk():
    """Call it with a number of bytes: while it lasts, no file can become longer."""

    @contextmanager
    def full(room):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full


@pytest.fixture
def read_only():
    """Call it with a folder: while it lasts, nothing in it can be written, not by root either."""

    @contextmanager
    def locked(folder):
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        modes = [path.stat().st_mode for path in folders]
        for path in folders:
            path.chmod(0o555)
        rights = _rights()
        _set_rights([value & ~OVERRIDE if number == 0 else value for number, value in rights])
        try:
            if os.access(folder, os.W_OK, effective_ids=True):
                pytest.skip("no folder is read-only for this user")
            yield
        finally:
            _set_rights([value for _, value in rights])
            for path, mode in zip(folders, modes, strict=True):
                path.chmod(mode)

    return locked


def _rights() -> list[tuple[int, int]]:
    """Of this thread, as Linux counts them: effective, permitted and inheritable, twice."""
    values = (ctypes.c_uint32 * 6)()
    if sys.platform == "linux":
        ctypes.CDLL(None).capget((ctypes.c_uint32 * 2)(0x20080522, 0), values)
    return list(enumerate(values))


def _set_rights(values: list[int]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).capset(
            (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*values)
        )


@pytest.fixture
def watch(tmp_path):
    """Starts commands in the project with a temporary folder of their own; ends them in the end."""
    started = []
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def start(*command, **variables):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {"TMPDIR": str(temporary), "PATH": path} | variables
        started.append(Watched(command, tmp_path / "log", Path(__file__).parents[2], **variables))
        return started[-1]

    yield start
    for made in started:
        made.kill_all()
