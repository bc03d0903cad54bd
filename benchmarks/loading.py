"""Seconds to index and load radiographs, cold and warm: `python benchmarks/loading.py FOLDER`.

Takes any folder of images, lays them out anew with links (each as often as needed to reach
`--images`), and reads them with an empty cache and then with a full one.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from helpers import data, paths


def lay_out(source: Path, target: Path, count: int) -> None:
    """Links to the images of `source` as a data folder with train/ and test/."""
    files = sorted(path.resolve() for path in source.rglob("*.jpeg"))
    for number, file in enumerate(itertools.islice(itertools.cycle(files), count)):
        folder, name = ("NORMAL", "IM-{}-0001") if number % 2 else ("PNEUMONIA", "person{}_virus_1")
        inner = target / ("test" if number % 10 > 7 else "train") / folder
        inner.mkdir(parents=True, exist_ok=True)
        (inner / f"{name.format(number)}.jpeg").symlink_to(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=5856)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        paths.CACHE = Path(place, "cache")  # an empty one
        lay_out(arguments.folder, Path(place, "data"), arguments.images)
        for state in ("cold", "warm"):
            start = time.perf_counter()
            table = data.index(Path(place, "data"))
            indexed = time.perf_counter()
            data.load(table, arguments.size)
            loaded = time.perf_counter()
            print(
                f"{state}: index {indexed - start:.2f} s, load {loaded - indexed:.2f} s, "
                f"{arguments.images / (loaded - start):,.0f} images a second"
            )


if __name__ == "__main__":
    main()
