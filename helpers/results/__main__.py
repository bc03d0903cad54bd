"""Metrics of a folder of results, computed again from its predictions: `python -m helpers.results`.

`make metrics` does it for the published results.
"""

import argparse
import sys
from pathlib import Path

from helpers import paths
from helpers.results.store import KEY, remeasure
from helpers.utils import command_line


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Measure again what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.results", description="write metrics.csv again from the predictions"
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=paths.RESULTS, help="default: the published results"
    )
    folder = parser.parse_args(arguments).folder
    measured = remeasure(folder)
    fits = len(measured.drop_duplicates(KEY))
    print(f"{len(measured):,} metrics of {fits} fits in {folder / 'metrics.csv'}")


if __name__ == "__main__":
    sys.exit(main())
