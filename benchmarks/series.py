"""How long the whole series and its tests take on synthetic radiographs: what users wait for."""

import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import joblib

from helpers import paths

CHANGED = "03_dense"  # the notebook that is run again


def measure() -> list[tuple[str, float, str]]:
    """Name, seconds and a note of each: `make run` three times in an empty folder, `make test`."""
    with tempfile.TemporaryDirectory() as place:
        folders = {"CHEST_XRAY_RUNS": f"{place}/runs", "CHEST_XRAY_CACHE": f"{place}/cache"}
        environment = {k: v for k, v in os.environ.items() if k != "CHEST_XRAY_DIR"} | folders
        found = [_timed("make run, from nothing", ["make", "run"], environment)]
        found.append(_timed("make run, unchanged", ["make", "run"], environment))
        for path in Path(place, "runs").rglob(f"done/{CHANGED}"):
            path.unlink()
        found.append(_timed("make run, one notebook changed", ["make", "run"], environment))
    return [*found, _timed("make test", ["make", "test"], os.environ)]


def _timed(name: str, command: list[str], environment) -> tuple[str, float, str]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    options = {"cwd": paths.PROJECT, "env": environment, "capture_output": True}
    done = subprocess.run(command, **options, text=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    note = f"{worked:.0f} CPU seconds, on {joblib.cpu_count()} cores"
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).splitlines()[-40:]))
        note += f"; FAILED ({done.returncode})"
    return name, seconds, note
