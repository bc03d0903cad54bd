"""How time and memory grow with the number of images: `python -m benchmarks scale`.

Files are written, indexed, decoded to the cache, and made into the augmented batches of an epoch,
each size in a process of its own. Writes `results/scale.csv` and `images/scale.png`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmarks import pictures
from helpers import paths
from helpers.utils import write_atomically

COUNTS = (1_000, 10_000)  # files; SCALE_COUNTS=1000,10000,100000 in the environment asks for more
SIDES = (64, 224, 512)  # of the decoded images, pixels
FILE_SIDE = 512
MOST = 30e9  # bytes of decoded images that are still measured
STEPS = ("index", "decode", "epoch")


def measure() -> None:
    """Measure every number of files at every size, and write the table and the figure."""
    counts = [int(n) for n in os.environ.get("SCALE_COUNTS", "").split(",") if n] or COUNTS
    found = []
    for number in counts:
        with tempfile.TemporaryDirectory() as place:
            folder = pictures.write(Path(place), number, FILE_SIDE, FILE_SIDE)
            for side in SIDES:
                if number * side**2 > MOST:
                    continue
                command = [sys.executable, "-m", "benchmarks.scale", str(folder), str(side)]
                done = subprocess.run(
                    command, cwd=paths.PROJECT, check=True, stdout=subprocess.PIPE, text=True
                )
                found.append(json.loads(done.stdout.strip().splitlines()[-1]))
                print(found[-1], flush=True)
                shutil.rmtree(folder / "cache")
    table = pd.DataFrame(found)
    path = paths.RESULTS / "scale.csv"
    write_atomically(path, lambda aside: table.to_csv(aside, index=False, float_format="%.4g"))
    pictures.save(draw(table), "scale", path)


def draw(table: pd.DataFrame):
    """Seconds of each step and the memory against the number of files, extended to a million."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
    for marker, (side, rows) in zip("os^", table.groupby("side"), strict=False):
        for axis, name in zip(
            axes, [*(f"{step}_seconds" for step in STEPS), "memory_mb"], strict=True
        ):
            line = axis.plot(rows["count"], rows[name], f"{marker}-", label=f"{side} pixels")[0]
            first, last = rows.iloc[0], rows.iloc[-1]
            slope = (last[name] - first[name]) / (last["count"] - first["count"])
            end = last[name] + slope * (1e6 - last["count"])
            ends = [last["count"], 1e6], [last[name], end]
            axis.plot(*ends, ":", color=line.get_color())
    for axis, title in zip(
        axes, [*(f"{step}, seconds" for step in STEPS), "memory, MB"], strict=True
    ):
        axis.set(xscale="log", yscale="log", xlabel="files", title=title)
    axes[-1].set_ylim(1, 10_000)
    axes[0].legend()
    return figure


class Memory(threading.Thread):
    """Watches the most memory, in MB, that the process itself has had: not the mapped files."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most = 0.0

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            self.most = max(self.most, int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024)
            time.sleep(0.02)


def main(folder: Path, side: int) -> None:
    """Measure one folder at one size; prints a line of JSON."""
    paths.CACHE = folder / "cache"
    from benchmarks import rows
    from helpers import data
    from helpers.training.batches import Batches

    memory = Memory()
    before = int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    memory.start()
    times = [time.perf_counter()]
    table = data.index(folder)
    times.append(time.perf_counter())
    images = data.load(table, side)
    times.append(time.perf_counter())
    batches = Batches(images, np.zeros(len(images), np.int32), rows.light())
    rows.through(batches[number] for number in range(len(batches)))
    times.append(time.perf_counter())
    seconds = dict(zip([f"{step}_seconds" for step in STEPS], np.diff(times).tolist(), strict=True))
    facts = {"count": len(images), "side": side, **seconds, "memory_mb": memory.most - before}
    print(json.dumps(facts | {"cache_mb": images.nbytes / 2**20}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
