"""Measure side by side and write `results/benchmark.csv` with its figure: `python -m benchmarks`.

Each row runs in a process of its own, one after the other, on synthetic pictures, and all rows of a
part again, so that a slow minute of the machine does not meet one row alone. Run it while nothing
else keeps the machine busy.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import costs, pictures, rows, scale, series
from helpers import paths
from helpers.training import backend
from helpers.utils import write_atomically

COUNT, LOADED = 480, 2_000  # pictures, and those that are loaded
ROUNDS = 2
SIZE = (1280, 960)  # pixels, about the mean of the published radiographs
GFLOP = 6 * 0.1934  # of training on one image: a forward pass and two like it backward
PRODUCTS = "matrix products, {}"
TABLE = paths.RESULTS / "benchmark.csv"
UNITS = {"machine": "GFLOP/s", "series": "s"}  # of the parts that are not in images a second
LIMIT = 600  # seconds for a row


def measure(part: str, name: str, folder: Path, threads: int) -> tuple[list[float], str]:
    """What each repeat of a row reached, and a note; nothing where the row cannot be had."""
    if "PyTorch" in name and not importlib.util.find_spec("torch"):
        return [], "PyTorch is not installed"
    environment = {"PICTURES": str(folder), "THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    if "JAX" in name:
        environment["KERAS_BACKEND"] = "jax"
    command = [sys.executable, "-m", "benchmarks.rows", part, name]
    options = {"cwd": paths.PROJECT, "capture_output": True, "text": True, "timeout": LIMIT}
    try:
        done = subprocess.run(command, env=os.environ | environment, check=True, **options)
    except subprocess.TimeoutExpired:
        return [], f"no end after {LIMIT} s"
    except subprocess.CalledProcessError as error:
        return [], f"failed: {error.stderr.strip().splitlines()[-1][:200]}"
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["values"], found["note"]


def row(part: str, name: str, values: list[float], note: str) -> dict:
    """A row of the table: the median of the repeats, the lowest and the highest."""
    low, middle, high = np.quantile(values, [0, 0.5, 1]) if values else [np.nan] * 3
    return {
        **{"part": part, "name": name, "value": middle, "low": low, "high": high},
        **{"unit": UNITS.get(part, "images/s"), "repeats": len(values), "note": note},
    }


def with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each value as a ratio to the usual row, and as a share of the arithmetic.

    Columns ratio (the first row of the part is 1; none where it is seconds) and share (0-1, of the
    most that products of matrices reach in the same precision; only where it is training).
    """
    table = table.copy()
    first = table.groupby("part").value.transform(lambda values: values.iloc[0])
    table["ratio"] = (table.value / first).round(3).where(table.unit != "s")
    most, training = table.set_index(["part", "name"]).high, table.part == "training"
    table["share"] = np.nan
    for precision in ("float32", "bfloat16"):
        reached = most.get(("machine", PRODUCTS.format(precision)), np.nan)
        one = training & (table.name.str.endswith("bfloat16") == (precision == "bfloat16"))
        table.loc[one, "share"] = (GFLOP * table.value / reached).round(3)
    return table


def machine(threads: int) -> dict:
    """What every row says of where it was measured."""
    flags = backend.cpu_field("flags").split()
    names = ("keras", "tensorflow", "torch", "onnxruntime", "jax")
    versions = []
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    units = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    return {
        **{"device": backend.device(), "threads": threads, "bfloat16_units": " ".join(units)},
        "software": ", ".join(versions),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = [*rows.ROWS, "series", "scale", "costs"]
    told = f"{', '.join(known)}; all but the last three if none is named"
    parser.add_argument("parts", nargs="*", metavar="part", help=told)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each part's rows")
    parser.add_argument("--count", type=int, help="pictures")
    parser.add_argument("--only", default="", help="rows with this name, shown and not written")
    parser.add_argument("--out", type=Path, default=TABLE, help="table to write")
    options = parser.parse_args(arguments)
    parts = options.parts or list(rows.ROWS)
    if unknown := set(parts) - set(known):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    found = []
    with tempfile.TemporaryDirectory() as place:
        for part in parts:
            number = options.count or (LOADED if part == "loading" else COUNT)
            folder = Path(place, str(number))
            if part in rows.ROWS and not folder.exists():
                pictures.write(folder, number, *SIZE)
            if part in ("scale", "costs"):  # they write tables of their own
                scale.measure() if part == "scale" else costs.measure()
            elif part == "series":
                found += [row(part, name, [value], note) for name, value, note in series.measure()]
            names = [name for name in rows.ROWS.get(part, ()) if options.only in name]
            reached = {name: [] for name in names}
            notes = {}
            for name in options.rounds * names:
                values, notes[name] = measure(part, name, folder, options.threads)
                reached[name] += values
                print(f"{part}, {name}: {values} {notes[name]}", flush=True)
            found += [row(part, name, reached[name], notes[name]) for name in names]
    if found and not options.only:
        table = pd.DataFrame(found).assign(**machine(options.threads))
        write(table, options.out)
    return 0


def write(table: pd.DataFrame, path: Path) -> None:
    """Put the measured rows into the table at `path`, in place of the same parts there."""
    if path.exists():
        before = pd.read_csv(path)
        table = pd.concat([before[~before.part.isin(table.part)], table], ignore_index=True)
    table = with_ratios(table)
    write_atomically(path, lambda aside: table.to_csv(aside, index=False, float_format="%.6g"))
    if path == TABLE:
        pictures.save(draw(table), "benchmark", path)


def draw(table: pd.DataFrame) -> Figure:
    """How many times as fast as the first row of its part each row is, one panel a part."""
    shown = table[table.unit.eq("images/s") & table.ratio.notna()]
    parts = [part for _, part in shown.groupby("part", sort=False)]
    heights = [len(part) + 1 for part in parts]
    figure, axes = plt.subplots(
        len(parts), 1, height_ratios=heights, figsize=(8, 0.34 * sum(heights)), layout="constrained"
    )
    for axis, part in zip(np.atleast_1d(axes), parts, strict=True):
        colors = ["#0072B2" if name.startswith("ours") else "#999999" for name in part.name]
        bars = axis.barh(part.name, part.ratio, color=colors)
        labels = [
            f"{ratio:.2f}  ({value:,.0f}/s)"
            for ratio, value in zip(part.ratio, part.value, strict=True)
        ]
        axis.axvline(1, color="black", linewidth=0.8)
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the line ends behind it
        axis.bar_label(bars, labels, padding=3, size=8, bbox=plain)
        axis.set(title=part.part.iloc[0], xlim=(0, 1.25 * part.ratio.max()))
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
        if part.ratio.max() > 20:
            axis.set(xscale="log", xlim=(0.5 * part.ratio.min(), 8 * part.ratio.max()))
    np.atleast_1d(axes)[-1].set_xlabel("times as fast as the usual way")
    return figure


if __name__ == "__main__":
    sys.exit(main())
