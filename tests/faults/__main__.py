"""Would we notice? Plants faults in a copy, one at a time: `python -m tests.faults [WORDS]`.

Writes `tests/faults/NOTICED.md`, a row a fault. WORDS choose those whose description has one of
them; the rows of the others stay. Ends with 1 when a fault went unnoticed.
"""

import argparse
import io
import multiprocessing
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from helpers import paths
from tests.faults.plants import FAULTS, Fault

TABLE = Path(__file__).with_name("NOTICED.md")
UNNOTICED = "**nothing**"
FAILED, PASSED = 1, 0  # exit codes of pytest
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["pytest", "keras", "sklearn.metrics", "scipy.stats", "matplotlib"]
)


def tracked() -> list[str]:
    """The files of the project that git does not ignore."""
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (paths.PROJECT / name).is_file()]


def restore(root: Path, files: list[str]) -> None:
    """Make a copy like the project again."""
    for name in files:
        source, target = paths.PROJECT / name, root / name
        if target.exists():
            facts = [(x.stat().st_size, x.stat().st_mtime_ns) for x in (source, target)]
            if facts[0] == facts[1]:
                continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def ask(root: Path, tests: tuple[str, ...]) -> tuple[int, str, float]:
    """Exit code of the tests in a copy, the first one that failed, and seconds.

    It runs in a process of its own, forked from one that has imported the libraries already.
    """
    reader, writer = PROCESSES.Pipe(duplex=False)
    start = time.monotonic()
    child = PROCESSES.Process(target=_ask, args=(root, tests, writer))
    child.start()
    writer.close()
    try:
        code, told = reader.recv()
    except EOFError:
        code, told = -1, "the process ended without an answer"
    child.join()
    if code not in (PASSED, FAILED):
        print(told[-4000:], file=sys.stderr)
    found = re.search(r"(?m)^FAILED (\S+)", told)
    return code, found[1] if found else "", time.monotonic() - start


def _ask(root: Path, tests: tuple[str, ...], writer) -> None:
    os.chdir(root)
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("helpers", "tests"):
            del sys.modules[name]
    sys.path[:] = [str(root), *(place for place in sys.path if place != str(paths.PROJECT))]
    told = io.StringIO()
    with redirect_stdout(told):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])
    writer.send((int(code), told.getvalue()))


def try_out(fault: Fault, root: Path, files: list[str]) -> tuple[str, float]:
    """The test that notices a fault in a copy, or UNNOTICED, and seconds."""
    restore(root, files)
    fault.plant(root)
    code, failed, seconds = ask(root, fault.tests)
    if code not in (PASSED, FAILED):
        raise SystemExit(f"error: the tests of {fault.what!r} could not run: exit code {code}")
    return failed if code == FAILED else UNNOTICED, seconds


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose description has one of them")
    parser.add_argument("--jobs", type=int, default=2, help="copies side by side")
    options = parser.parse_args(arguments)
    chosen = [x for x in FAULTS.values() if any(word in x.what for word in options.words or [""])]
    files, copies = tracked(), queue.Queue()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:
        for number in range(options.jobs):
            restore(Path(place) / str(number), files)
            copies.put(Path(place) / str(number))

        def one(fault: Fault) -> tuple[str, str, float]:
            copy = copies.get()
            try:
                noticed, seconds = try_out(fault, copy, files)
            finally:
                copies.put(copy)
            print(f"{seconds:5.0f} s  {fault.what}: {noticed}", flush=True)
            return fault.what, noticed, seconds

        rows = {}
        for what, noticed, seconds in pool.map(one, chosen):
            rows[what] = [noticed, seconds]
            TABLE.write_text(written(known() | rows))
    unnoticed = [what for what, (noticed, _) in rows.items() if noticed == UNNOTICED]
    print(f"{len(rows)} faults planted, {len(rows) - len(unnoticed)} noticed")
    return bool(unnoticed)


def known() -> dict[str, list]:
    """The rows of the table as it is, of faults that there still are: noticed by, and seconds."""
    text = TABLE.read_text() if TABLE.exists() else ""
    rows = re.findall(r"(?m)^\| (.*) \| (.*) \| (\d+) \|$", text)
    return {what: [name.strip("`"), float(time)] for what, name, time in rows if what in FAULTS}


def written(rows: dict[str, list]) -> str:
    """The table of faults as a page, in the order of FAULTS."""
    noticed = sum(name != UNNOTICED for name, _ in rows.values())
    lines = [
        "# Would we notice?",
        "",
        f"{len(rows)} of {len(FAULTS)} faults were planted, one at a time, in a copy of the "
        f"project; {noticed} were noticed.",
        "Made by `make faults`; the seconds are those of the tests until the first of them failed.",
        "",
        "| fault | noticed by | seconds |",
        "|---|---|---|",
    ]
    for what in (what for what in FAULTS if what in rows):
        name, seconds = rows[what]
        shown = name if name == UNNOTICED else f"`{name}`"
        lines.append(f"| {what} | {shown} | {seconds:.0f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
