"""Would we notice? Plants faults in a copy, one at a time: `python -m tests.faults [WORDS]`.

Writes `tests/faults/NOTICED.md`, a row a fault, when all are planted. WORDS choose those whose
description has them. Ends with 1 when a fault went unnoticed.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers import paths
from tests.faults.plants import FAULTS, Fault

TABLE = Path(__file__).with_name("NOTICED.md")
UNNOTICED = "**nothing**"
FAILED, PASSED = 1, 0  # exit codes of pytest


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
    """Exit code of the tests in a copy, the first one that failed, and seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = re.search(r"(?m)^FAILED (\S+)", done.stdout)
    if done.returncode not in (PASSED, FAILED):
        print(done.stdout[-3000:] + done.stderr[-2000:], file=sys.stderr)
    return done.returncode, found[1] if found else "", time.monotonic() - start


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

        rows = list(pool.map(one, chosen))
    unnoticed = [what for what, noticed, _ in rows if noticed == UNNOTICED]
    print(f"{len(rows)} faults planted, {len(rows) - len(unnoticed)} noticed")
    if not options.words:
        TABLE.write_text(written(rows))
    return bool(unnoticed)


def written(rows: list[tuple[str, str, float]]) -> str:
    """The table of faults as a page."""
    noticed = sum(name != UNNOTICED for _, name, _ in rows)
    lines = [
        "# Would we notice?",
        "",
        f"{len(rows)} faults, planted one at a time in a copy of the project; {noticed} were "
        "noticed. Made by `make faults`; the seconds are those of the tests until the first of "
        "them failed, two copies side by side.",
        "",
        "| fault | noticed by | seconds |",
        "|---|---|---|",
    ]
    shown = [
        (what, name if name == UNNOTICED else f"`{name}`", seconds) for what, name, seconds in rows
    ]
    return "\n".join(
        [*lines, *(f"| {what} | {name} | {seconds:.0f} |" for what, name, seconds in shown), ""]
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
