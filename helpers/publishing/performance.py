"""The tables of the README that say how fast this is, from what `make benchmark` has written."""

import numpy as np
import pandas as pd

from helpers import paths

FIGURES = {"performance": "benchmark.png", "scale": "scale.png"}  # in the folder of figures
MILLION = 1_000_000
STEPS = ("index", "decode", "epoch")
MAIN = [  # what is shown first; and all of `series`
    *["training: ours, float32", "training: ours, bfloat16", "loading: ours, again"],
    "prediction: ONNX Runtime, float32",
]


def performance() -> pd.DataFrame:
    """What was measured in `results/benchmark.csv`, in the words of readers: one row each.

    Columns how fast, range, against the first of its kind, share of what products of matrices
    reach; the name of the index says which machine.
    """
    columns = ["median", "range", "against the usual one", "of the machine's matrix products"]
    path = paths.RESULTS / "benchmark.csv"
    if not path.exists():
        return pd.DataFrame(columns=columns, index=pd.Index([], name="not measured yet"))
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    keyed = table.set_index(["part", "name"])
    rows = {f"{part}: {name}": _cells(row) for (part, name), row in keyed.iterrows()}
    shown = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    machines = table[["device", "threads"]].drop_duplicates()
    named = [f"{row.device}, {row.threads} threads" for row in machines.itertuples()]
    return shown.rename_axis("; ".join(named))


def in_short() -> pd.DataFrame:
    """The rows of `performance` that say how fast ours is: median, and against the usual one."""
    table = performance()
    main = table.index.isin(MAIN) | table.index.str.startswith("series: ")
    return table.loc[main, ["median", "against the usual one"]]


def _cells(row) -> list[str]:
    note = "" if pd.isna(row.note) else f" ({row.note})"
    if np.isnan(row.value):
        return [f"-{note}", "-", "-", "-"]
    digits = 0 if row.value >= 100 else 1
    spread = f"{row.low:,.{digits}f}-{row.high:,.{digits}f}" if row.repeats > 1 else "-"
    share = "-" if pd.isna(row.share) else f"{100 * row.share:.0f} %"
    ratio = "-" if pd.isna(row.ratio) else f"{row.ratio:.2f}"
    return [f"{row.value:,.{digits}f} {row.unit}{note}", spread, ratio, share]


def scale() -> pd.DataFrame:
    """What was measured in `results/scale.csv`, and each size extended to a million files."""
    columns = [
        "pixels",
        "index, s",
        "decode, s",
        "an epoch's batches, s",
        "memory, MB",
        "cache, GB",
    ]
    path = paths.RESULTS / "scale.csv"
    if not path.exists():
        return pd.DataFrame(columns=columns, index=pd.Index([], name="not measured yet"))
    table = pd.read_csv(path)
    grown = [*(f"{step}_seconds" for step in STEPS), "cache_mb", "memory_mb"]
    sides = table.sort_values("count").groupby("side")
    first, last = sides.first(), sides.last()
    slopes = (last[grown] - first[grown]).div(last["count"] - first["count"], axis=0)
    extended = last[grown] + slopes.mul(MILLION - last["count"], axis=0)
    extended = extended.assign(count=MILLION).reset_index()
    rows = pd.concat([table, extended]).rename(columns={"count": "files"})
    shown = [
        [
            *(f"{row.files:,}" + (" (extended)" if row.files == MILLION else ""), f"{row.side}"),
            *(f"{getattr(row, f'{step}_seconds'):,.1f}" for step in STEPS),
            *(f"{row.memory_mb:,.0f}", f"{row.cache_mb / 1024:,.2f}"),
        ]
        for row in rows.itertuples()
    ]
    return pd.DataFrame(shown, columns=["files", *columns]).set_index("files")
