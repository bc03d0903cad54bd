"""Metrics of a folder of results, computed again from its predictions: `python -m helpers.results`.

`make metrics` does it for the published results.
"""

import argparse
import sys
from pathlib import Path

from helpers import paths
from helpers.results.store import KEY, remeasure
from helpers.utils import UserError


def main(arguments: list[str] | None = None) -> int:
    """Measure again what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.results", description="write metrics.csv again from the predictions"
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=paths.RESULTS, help="default: the published results"
    )
    folder = parser.parse_args(arguments).folder
    try:
        measured = remeasure(folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    fits = len(measured.drop_duplicates(KEY))
    print(f"{len(measured):,} metrics of {fits} fits in {folder / 'metrics.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
