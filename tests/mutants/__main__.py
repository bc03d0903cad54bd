"""Would a test notice a small change of the code? Mutants of `helpers`: `make mutants`.

mutmut makes them from functions of the modules that `pyproject.toml` names, and asks the tests that
reach each. Of every module EACH are tried, drawn by the digests of their names. Writes
`tests/mutants/SURVIVORS.md`; what is typed there of a survivor stays as long as it survives.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers import paths
from helpers.utils import short_digest
from tests import tried

TABLE = Path(__file__).with_name("SURVIVORS.md")
EACH = 15
KILLED = ("killed", "timeout")
ANY = "helpers.results.checked.*__mutmut_1"  # with the first run all mutants are made
HEAD = """\
# Which mutants survive

A mutant is the code with one small change, such as `<` for `<=`; it is killed when a test fails or
takes far too long. Made by `make mutants`, {each} of each module at most, drawn by the digests of
their names, in functions of the modules that decide numbers.

| module | tried | killed | score |
|---|---|---|---|
{scores}

## Survivors

| function | before | after | why it lives |
|---|---|---|---|
{survivors}
"""


def mutmut(*arguments: str, told: bool = False) -> str:
    """What a command of mutmut prints, if it is not told to the terminal."""
    command = ["mutmut", *arguments]
    output = None if told else subprocess.PIPE
    done = subprocess.run(command, cwd=paths.PROJECT, stdout=output, text=True, check=True)
    return done.stdout or ""


def outcomes() -> dict[str, str]:
    """What became of each mutant, by its name: killed, survived, not checked, ..."""
    lines = mutmut("results", "--all", "true").splitlines()
    return dict(line.strip().split(": ") for line in lines if "__mutmut_" in line)


def module(name: str) -> str:
    return name.rpartition(".")[0]


def drawn(names: list[str], each: int) -> list[str]:
    """At most so many of each module; which ones follows from their names alone."""
    order = pd.Series(sorted(names, key=short_digest))
    return [*order.groupby(order.map(module)).head(each)]


def change(name: str) -> tuple[str, str, str]:
    """A mutant's function, and its lines before and after."""
    lines = [line for line in mutmut("show", name).splitlines() if line]
    sides = [
        " ".join(x[1:].strip() for x in lines if x[0] == sign and not x.startswith(sign * 3))
        for sign in "-+"
    ]
    function = re.sub(r"\.xǁ?(\w+?ǁ)?_?(\w+)__mutmut_\d+$", r".\2", name)
    return function, *(side.replace("|", r"\|") for side in sides)


def known() -> dict[tuple[str, ...], str]:
    """What the table says of survivors."""
    text = TABLE.read_text() if TABLE.exists() else ""
    rows = re.findall(r"(?m)^\| `(.*)` \| `(.*)` \| `(.*)` \| (.*) \|$", text)
    return {tuple(row[:3]): row[3] for row in rows}


def written(states: dict[str, str], changes: list[tuple[str, str, str]], each: int = EACH) -> str:
    """The page.

    Args:
        states: what became of each mutant, by its name.
        changes: of those that were not killed.
        each: how many of a module were tried at most.
    """
    killed = Counter(module(name) for name, state in states.items() if state in KILLED)
    counts = Counter(map(module, states))
    rows = [(f"`{name}`", counts[name], killed[name]) for name in sorted(counts)]
    rows.append(("all", len(states), sum(killed.values())))
    reasons = known()
    return HEAD.format(
        each=each,
        scores="\n".join(f"| {x} | {n} | {k} | {k / n:.0%} |" for x, n, k in rows),
        survivors="\n".join(
            f"| `{x}` | `{old}` | `{new}` | {reasons.get((x, old, new), 'not looked at')} |"
            for x, old, new in sorted(changes)
        ),
    )


def outcome() -> tried.Outcome:
    """The row of the mutants among all that was tried; equivalent ones do no harm."""
    count, killed = re.findall(r"(?m)^\| all \| (\d+) \| (\d+) \|", TABLE.read_text())[0]
    equal = sum(reason.startswith("equivalent") for reason in known().values())
    lost = int(count) - int(killed) - equal
    return tried.Outcome("mutants", int(count), equal, lost, int(killed), "make mutants")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 1 where nothing is said of a survivor."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--each", type=int, default=EACH, help="mutants of a module, at most")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args(arguments)
    folder = paths.PROJECT / "mutants"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    mutmut("run", ANY, told=True)
    sample = drawn(list(outcomes()), options.each)
    mutmut("run", "--max-children", str(options.jobs), *sample, told=True)
    became = outcomes()
    states = {name: became[name] for name in sample}
    page = written(
        states, [change(name) for name in sample if states[name] not in KILLED], options.each
    )
    TABLE.write_text(page)
    tried.note([outcome()])
    print(*Counter(states.values()).items(), f"wrote {TABLE}", sep="\n")
    return int("not looked at" in page)


if __name__ == "__main__":
    sys.exit(main())
