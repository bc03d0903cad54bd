"""Would we notice? Plants faults in a copy, one at a time: `python -m tests.faults [WORDS]`.

Writes `tests/faults/NOTICED.md` after each of them, a row a fault. WORDS choose those whose
description has one of them; the rows of the others stay. Ends with 1 when a fault went unnoticed.
"""

import argparse
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from helpers import paths
from tests import tried
from tests.faults.plants import FAULTS, Fault

TABLE = Path(__file__).with_name("NOTICED.md")
UNNOTICED = "**nothing**"
FAILED, PASSED = 1, 0  # exit codes of pytest


def tracked() -> list[str]:
    """The files of the project that git does not ignore."""
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (paths.PROJECT / name).is_file()]


def restore(root: Path, files: list[str], origin: Path = paths.PROJECT) -> None:
    """Make a copy like its origin again."""
    for name in files:
        source, target = origin / name, root / name
        if target.exists():
            facts = [(x.stat().st_size, x.stat().st_mtime_ns) for x in (source, target)]
            if facts[0] == facts[1]:
                continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def ask(root: Path, tests: tuple[str, ...]) -> tuple[int, str, float]:
    """Exit code of the tests in a copy, the first one that failed, and seconds."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=1800
    )
    if done.returncode not in (PASSED, FAILED):
        print(done.stdout[-4000:], done.stderr[-4000:], file=sys.stderr)
    found = re.search(r"(?m)^(?:FAILED|ERROR) (\S+)", done.stdout)
    return done.returncode, found[1] if found else "", time.monotonic() - start


def try_out(
    fault: Fault, root: Path, files: list[str], origin: Path = paths.PROJECT
) -> tuple[str, float]:
    """The test that notices a fault in a copy, or UNNOTICED, and seconds.

    Raises RuntimeError if the tests could not run.
    """
    restore(root, files, origin)
    fault.plant(root)
    code, failed, seconds = ask(root, fault.tests)
    if code not in (PASSED, FAILED):
        raise RuntimeError(f"the tests could not run: exit code {code}")
    return failed if code == FAILED else UNNOTICED, seconds


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose description has one of them")
    parser.add_argument("--jobs", type=int, default=2, help="copies side by side")
    options = parser.parse_args(arguments)
    chosen = [x for x in FAULTS.values() if any(word in x.what for word in options.words or [""])]
    files, copies, rows = tracked(), queue.Queue(), {}
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:
        origin = Path(place) / "origin"  # what is edited meanwhile has no part in it
        restore(origin, files)
        for number in range(options.jobs):
            copies.put(Path(place) / str(number))

        def in_a_copy(fault: Fault) -> tuple[str, float]:
            copy = copies.get()
            try:
                return try_out(fault, copy, files, origin)
            finally:
                copies.put(copy)

        asked = tuple(dict.fromkeys(test for fault in chosen for test in fault.tests))
        unharmed = Fault("(no fault)", lambda root: None, asked)
        tasks = {pool.submit(in_a_copy, fault): fault.what for fault in (*chosen, unharmed)}
        failed = []
        for task in as_completed(tasks):
            what = tasks[task]
            if task.exception():
                failed.append(f"{what}: {task.exception()}")
                continue
            noticed, seconds = rows[what] = task.result()
            print(f"{seconds:5.0f} s  {what}: {noticed}", flush=True)
            TABLE.write_text(written(known() | rows))
            tried.note([outcome()])
    if rows.pop(unharmed.what, (UNNOTICED,))[0] != UNNOTICED:
        failed.append("a test fails without any fault")
    failed += [f"{what}: not noticed" for what, (name, _) in rows.items() if name == UNNOTICED]
    print(*failed, f"{len(rows)} of {len(chosen)} faults planted", sep="\n")
    return bool(failed)


def known() -> dict[str, list]:
    """The rows of the table as it is, of faults that there still are: noticed by, and seconds."""
    text = TABLE.read_text() if TABLE.exists() else ""
    rows = re.findall(r"(?m)^\| (.*) \| (.*) \| (\d+) \|$", text)
    return {what: [name.strip("`"), float(time)] for what, name, time in rows if what in FAULTS}


def outcome() -> tried.Outcome:
    """The row of the faults among all that was tried."""
    names = [name for name, _ in known().values()]
    lost = names.count(UNNOTICED)
    return tried.Outcome("faults planted", len(names), 0, lost, len(names) - lost, "make faults")


def written(rows: dict[str, list]) -> str:
    """The table of faults as a page, in the order of FAULTS."""
    rows = {what: rows[what] for what in FAULTS if what in rows}
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
    for what, (name, seconds) in rows.items():
        shown = name if name == UNNOTICED else f"`{name}`"
        lines.append(f"| {what} | {shown} | {seconds:.0f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
