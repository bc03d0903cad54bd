"""Runs that are killed, stopped and repeated, against one that nobody disturbed: `make soak`.

`python -m tests.soak [CASE ...] [--kills 20] [--seed 0]`. Everything is written into a scratch
folder, and the counts into the table of `tests/README.md`, one row a case. A case is lost when what
it leaves differs by a byte, or when the next run does not finish.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from helpers.paths import PROJECT
from tests.soak import cases
from tests.tried import note


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code is 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases.CASES)}")
    parser.add_argument("--kills", type=int, default=20, help="of each case that kills")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments; the clock's if none"
    )
    parser.add_argument("--undisturbed", type=Path, help="folder of a run to compare with")
    parser.add_argument("--notebooks", default="", help="instead of all; what they need is run too")
    options = parser.parse_args(arguments)
    if unknown := set(options.cases) - set(cases.CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}")
    seed = int(time.time()) if options.seed is None else options.seed
    print(f"seed {seed}, code {PROJECT}")
    outcomes = []
    for name in options.cases or cases.CASES:
        with tempfile.TemporaryDirectory(prefix=f"soak-{name}-") as scratch:
            setting = cases.Setting(
                Path(scratch),
                options.kills,
                random.Random(seed),
                options.undisturbed,
                options.notebooks,
            )
            start = time.monotonic()
            found = cases.CASES[name](setting)
            print(f"{name}: {found}, {time.monotonic() - start:.0f} s", flush=True)
            note(found)
            outcomes += found
    return int(any(outcome.lost for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
