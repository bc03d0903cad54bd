"""Publish a run, if one is named, and write all pages: `python -m helpers.publishing [RUN]`."""

import argparse
import sys
from pathlib import Path

from helpers.publishing.pages import write_pages
from helpers.publishing.run import publish
from helpers.utils import command_line


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Publish what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.publishing",
        description="Merge the finished fits of a run into the published results, then write what "
        "is made from these: tables of the README, figures, card, final notebook, slides.",
    )
    parser.add_argument(
        "run", type=Path, nargs="?", help="e.g. runs/reference-kermany; none: only write the pages"
    )
    run = parser.parse_args(arguments).run
    if run:
        print(f"published {publish(run)} fits of {run}")
    write_pages()


if __name__ == "__main__":
    sys.exit(main())
