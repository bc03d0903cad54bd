"""The results contract: what a fit leaves behind, and how it is read.

A folder of results holds `experiments.csv` (one row a fit), `metrics.csv` (long) and
`predictions/<experiment>/<protocol>-s<seed>[-f<fold>].csv`. A run has such a folder of its own,
`runs/<parameters>-<dataset>/results`; the published one is `results/`. A fit is known by
(experiment, protocol, seed, fold).
"""

import json
import subprocess
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filelock import FileLock

from helpers import data, evaluation
from helpers.settings import (
    IMAGES,
    LABELS,
    PROJECT,
    RESULTS,
    RUNS,
    SELECTION,
    UserError,
    sha256,
    write_atomically,
)

if TYPE_CHECKING:  # Keras takes seconds to import, and most readers of results train nothing
    from helpers.training import Fit

KEY = ["experiment", "protocol", "seed", "fold"]
EXPERIMENT_COLUMNS = [
    *["experiment", "notebook", "dataset", "protocol", "seed", "fold", "classes", "weights"],
    *["image_size", "parameters", "epochs_run", "stop_reason", "train_seconds", "device"],
    *["backend", "precision", "threads", "settings_hash", "code_version"],
]
METRIC_COLUMNS = [*KEY, *evaluation.COLUMNS]
CLAIMS = RESULTS / "claims.csv"  # typed: what earlier projects report
ELSEWHERE = RESULTS / "published_elsewhere.csv"  # typed: what others publish on these images
COSTS = RESULTS / "costs.csv"  # measured by benchmarks/costs.py
HEADLINE = ["auc", "accuracy", "recall", "specificity"]  # never one without the others
RECALLS = [f"recall_{label}" for label in LABELS]
OWN_ROWS = [("official", "selected"), ("official", "0.5"), ("cross_validated", "selected")]
TEST_OF_OFFICIAL = ("official", "by_image")  # protocols whose test set is the official one


class Run:
    """One run's folder: where a notebook's fits, tables and figures go.

    Attributes:
        notebook: name of the notebook that writes.
        dataset: read from the images themselves (`data.dataset`).
        folder: `runs/<parameters>-<dataset>`.
        results, figures, fits: the folders below it; `fits` is the cache of finished fits.
    """

    def __init__(self, notebook: str, parameters: str, table: pd.DataFrame, resamples: int = 2000):
        self.notebook, self.resamples = notebook, resamples
        self.dataset = data.dataset(table)
        self.folder = RUNS / f"{parameters}-{self.dataset}"
        self.results, self.figures = self.folder / "results", self.folder / "figures"
        self.fits = self.folder / "fits"
        self._disjoint = data.disjoint_files(table)

    def save(
        self,
        fit: "Fit",
        predictions: pd.DataFrame,
        experiment: str,
        protocol: str,
        fold: int | None = None,
    ) -> pd.DataFrame:
        """Write the fit's row, predictions and metrics into the run's results.

        Returns:
            The metrics of this fit (columns of metrics.csv).

        Raises:
            UserError: a final model is saved before `selection.json` says how it was chosen.
        """
        row = {
            "experiment": experiment,
            "notebook": self.notebook,
            "dataset": self.dataset,
            "protocol": protocol,
            "fold": "" if fold is None else fold,
            "code_version": code_version(),
            **fit.row,
        }
        rules = selected_threshold(experiment, self.results)
        measured = measure(row, predictions, self._disjoint, self.resamples, rules)
        merge(self.results, row, predictions, measured)
        if fit.folder:
            stamp = sha256(self.results / "predictions" / prediction_name(row))
            target = fit.folder / "predictions.sha256"
            write_atomically(target, lambda path: path.write_text(stamp))
        return measured

    def metrics(self) -> pd.DataFrame:
        """Metrics of this run, and the published ones of the same data set for what it lacks."""
        tables = [_table(self.results, "metrics.csv")]
        if story().dataset == self.dataset:
            published = metrics(RESULTS)
            tables.append(published[~published.experiment.isin(tables[0].experiment)])
        return pd.concat(tables, ignore_index=True)

    def predictions(self, experiment: str, protocol: str = "official", seed: int = 0):
        """Prediction table of one fit of this run, else of the published fit."""
        try:
            return predictions(experiment, protocol, seed, folder=self.results)
        except UserError:
            return predictions(experiment, protocol, seed)


@dataclass(frozen=True)
class Story:
    """Where the final notebook reads tables and figures: a run's, or the published ones."""

    results: Path
    figures: Path
    dataset: str


def story(run: str = "") -> Story:
    """The results of a run (its folder), or the published ones; without any, dataset is empty."""
    folder = PROJECT / run
    place = (folder / "results", folder / "figures") if run else (RESULTS, IMAGES)
    names = (
        experiments(place[0]).dataset.unique() if (place[0] / "experiments.csv").exists() else []
    )
    return Story(*place, dataset=", ".join(names))


def measure(
    row: dict,
    predictions: pd.DataFrame,
    disjoint: set[str],
    resamples: int = 2000,
    thresholds: dict[str, float] | None = None,
) -> pd.DataFrame:
    """The metrics of one fit, with the columns of metrics.csv.

    Args:
        row: gives the fit's key.
        predictions: its prediction table.
        disjoint: the official test images whose patient is not in train, which counts only for
            protocols that test on the official test images.
        resamples: of the bootstrap behind the intervals.
        thresholds: further threshold rules, such as those of `selected_threshold`.
    """
    if row["protocol"] not in TEST_OF_OFFICIAL:
        disjoint = set()
    measured = evaluation.metrics(predictions, disjoint, resamples=resamples, thresholds=thresholds)
    return measured.assign(**{name: row[name] for name in KEY})[METRIC_COLUMNS]


def selection(folder: Path = RESULTS) -> dict:
    """What was chosen before test was read: the content of `selection.json`, or nothing."""
    path = folder / SELECTION
    return json.loads(path.read_text()) if path.exists() else {}


def selected_threshold(experiment: str, folder: Path = RESULTS) -> dict[str, float]:
    """The rule `selected` of a final model, as `folder/selection.json` has it; none for others.

    Raises:
        UserError: the model is a final one, and nothing was selected yet.
    """
    if not experiment.startswith("final"):
        return {}
    chosen = selection(folder)
    if "threshold" not in chosen:
        raise UserError(
            f"no threshold for {experiment} in {folder / SELECTION}: run the notebook that "
            "selects first, since the choice is written down before test is read"
        )
    return {"selected": float(chosen["threshold"])}


def merge(folder: Path, row: dict, predictions: pd.DataFrame, measured: pd.DataFrame) -> None:
    """Put one fit into a folder of results, in place of an earlier one with the same key."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # notebooks may run side by side
        target = folder / "predictions" / prediction_name(row)
        write_atomically(target, partial(predictions.to_csv, index=False))
        _replace(folder / "metrics.csv", measured, METRIC_COLUMNS)
        _replace(folder / "experiments.csv", pd.DataFrame([row]), EXPERIMENT_COLUMNS)


def _replace(path: Path, new: pd.DataFrame, columns: list[str]) -> None:
    """Write `new` over the rows of the table at `path` that have the same key, sorted by key."""
    new = new[columns].astype({"fold": str})
    if path.exists():
        old = _read(path)
        same = old.set_index(KEY).index.isin(new.set_index(KEY).index)
        new = pd.concat([old[~same], new])
    new = new.sort_values(KEY, kind="stable")
    write_atomically(path, partial(new.to_csv, index=False))


def _read(path: Path) -> pd.DataFrame:
    texts = ["fold", "threshold_rule", "settings_hash", "code_version"]
    empty = {name: [""] for name in ("threshold", "value", "low", "high")}
    return pd.read_csv(
        path, dtype={name: str for name in texts}, keep_default_na=False, na_values=empty
    )


def experiments(folder: Path = RESULTS) -> pd.DataFrame:
    """One row a fit. Raises UserError when the folder has no results."""
    return _table(folder, "experiments.csv")


def metrics(folder: Path = RESULTS) -> pd.DataFrame:
    """The long table of metrics. Raises UserError when the folder has no results."""
    return _table(folder, "metrics.csv")


def _table(folder: Path, name: str) -> pd.DataFrame:
    if not (folder / name).exists():
        raise UserError(f"no {name} in {folder}: run the notebooks that train first (`make run`)")
    return _read(folder / name)


def predictions(experiment: str, protocol: str = "official", seed=0, fold="", folder=RESULTS):
    """The prediction table of one fit. Raises UserError when it is not there."""
    row = {"experiment": experiment, "protocol": protocol, "seed": seed, "fold": fold}
    path = folder / "predictions" / prediction_name(row)
    if not path.exists():
        raise UserError(f"no predictions of {experiment} under {protocol} in {folder}")
    return pd.read_csv(path)


def prediction_name(row: dict) -> str:
    """Path of a fit's predictions below `predictions/`."""
    fold = "" if row["fold"] == "" else f"-f{row['fold']}"
    return f"{row['experiment']}/{row['protocol']}-s{row['seed']}{fold}.csv"


def binary_rows(measured: pd.DataFrame, split: str = "test", rule: str = "0.5") -> pd.DataFrame:
    """The rows of metrics on normal against pneumonia over all images, three classes collapsed."""
    three = measured[measured.subset == "binary"].set_index(KEY).index
    is_three = measured.set_index(KEY).index.isin(three)
    subset = np.where(is_three, "binary", "all")
    return measured[
        (measured.split == split)
        & (measured.subset == subset)
        & measured.threshold_rule.isin([rule, ""])
    ]


def number(
    measured: pd.DataFrame, metric: str, split: str = "test", subset: str = "all", **key
) -> pd.Series:
    """The one row of a metric: value, low, high, n and so on.

    `key` narrows it by further columns, such as experiment, protocol, seed or threshold_rule;
    without a rule, rates at the threshold 0.5 are meant.

    Raises:
        UserError: no row fits, or several do.
    """
    key |= {"metric": metric, "split": split, "subset": subset}
    if "threshold_rule" not in key:
        measured = measured[measured.threshold_rule.isin(["", "0.5"])]
    rows = measured[np.logical_and.reduce([measured[name] == key[name] for name in key])]
    if len(rows) != 1:
        raise UserError(f"{len(rows)} rows of metrics fit {key}; one is wanted")
    return rows.iloc[0]


def headline(measured: pd.DataFrame, split: str = "test", rule: str = "0.5") -> pd.DataFrame:
    """The four figures that belong together, one row an experiment, protocol and metric.

    One fit keeps its value and 95 % interval. Several (seeds, folds) give the mean of their values,
    and low and high are one standard deviation of them away from it.

    Returns:
        Columns experiment, protocol, metric, value, low, high, fits; best AUC first.
    """
    rows = binary_rows(measured, split, rule)
    rows = rows[rows.metric.isin(HEADLINE)]
    keys = ["experiment", "protocol", "metric"]
    pooled = {key: _pooled(group) for key, group in rows.groupby(keys)}
    table = pd.DataFrame(pooled.values(), index=pd.MultiIndex.from_tuples(pooled, names=keys))
    auc = table.xs("auc", level="metric").value
    best_first = table.index.droplevel("metric").map(-auc)
    return table.iloc[np.argsort(best_first, kind="stable")].astype({"fits": int}).reset_index()


def comparison(measured: pd.DataFrame, split: str = "test", rule: str = "0.5") -> pd.DataFrame:
    """A reader's table of `headline`: percent, with intervals or the spread over several fits.

    Args:
        measured: a long table of metrics.
        split: val or test.
        rule: the threshold rule of accuracy, recall and specificity.
    """
    return _reader_table(headline(measured, split, rule), HEADLINE)


def ladder(folder: Path = RESULTS) -> pd.DataFrame:
    """The metrics under `official` of all that stands for itself.

    Left out are the levers of the ablation, and what was adapted to the unlabelled test images.
    """
    measured = metrics(folder)
    aside = measured.experiment.str.startswith(("ablation_", "transductive_"))
    return measured[(measured.protocol == "official") & ~aside]


def rungs(folder: Path = RESULTS) -> pd.DataFrame:
    """The rows of `ladder` for a short look: of each notebook the experiment with the best AUC.

    Beside them the answer that never looks at an image; the final model once, with two classes.
    """
    measured = ladder(folder)
    measured = measured[measured.experiment != "final_three_class"]
    notebooks = experiments(folder).drop_duplicates("experiment").set_index("experiment").notebook
    best = headline(measured).drop_duplicates("experiment").experiment
    best = best[~best.map(notebooks).duplicated()]
    return measured[measured.experiment.isin([*best, "most_frequent"])]


def costs(folder: Path = RESULTS) -> pd.DataFrame:
    """What each network costs, with its AUC on the official test images: one row an experiment.

    Columns auc, parameters, mflops, images_per_second (measured in one go by `benchmarks/costs.py`)
    and train_seconds (the mean over seeds; without the features that frozen layers give). Empty
    where nothing was measured.
    """
    columns = ["auc", "parameters", "mflops", "images_per_second", "train_seconds"]
    if not COSTS.exists():
        return pd.DataFrame(columns=columns)
    rows = headline(ladder(folder)).query("metric == 'auc'").set_index("experiment")
    fits = experiments(folder).query("protocol == 'official'")
    seconds = fits.groupby("experiment").train_seconds.mean()
    measured = pd.read_csv(COSTS, index_col="experiment")
    return measured.assign(auc=rows.value, train_seconds=seconds)[columns].dropna()


def standing(folder: Path = RESULTS) -> pd.DataFrame:
    """Our best model above what others publish on these images, in percent, with the protocols.

    Ours is `final`, else the highest AUC so far, named as such. The others stand in
    `results/published_elsewhere.csv`, in their order.
    """
    others = pd.read_csv(ELSEWHERE, dtype=str).fillna("-").set_index("work")
    others = others.rename(columns={"auc": "AUC", "three_class_accuracy": "three classes"})
    table = pd.concat([_own_standing(folder), others]).fillna("-")
    return table[["protocol", "AUC", "accuracy", "recall", "specificity", "three classes", "note"]]


def _own_standing(folder: Path) -> pd.DataFrame:
    """The rows of `standing` that were measured here."""
    measured = metrics(folder)
    best, note = "final", "-"
    if best not in set(measured.experiment):
        best, note = headline(ladder(folder)).experiment[0], "our highest AUC, not the final model"
    own = measured[measured.experiment == best]
    rows = [
        comparison(own[own.protocol == protocol], rule=rule).rename(
            index={best: f"**ours, `{best}`, threshold {rule}**"}
        )
        for protocol, rule in OWN_ROWS
        if ((own.protocol == protocol) & (own.threshold_rule == rule)).any()
    ]
    table = pd.concat(rows).reset_index("protocol").assign(note=note)
    three = measured[
        (measured.experiment == "final_three_class") & measured.protocol.eq("official")
    ]
    if len(three):
        cell = three_class_comparison(three).accuracy.iloc[0]
        table["three classes"] = np.where(table.protocol == "official", cell, "-")
    return table.rename_axis("work")


def replication(folder: Path = RESULTS) -> pd.DataFrame:
    """What earlier projects claim, beside the same recipe here: one row a system that was run.

    The claims stand in `results/claims.csv`, with the experiment that follows each. A cell gives
    the metric on test in percent with its interval, or the spread over seeds; `-` where the
    experiment was not run under that protocol.
    """
    claims = pd.read_csv(CLAIMS)
    measured = metrics(folder)
    rows = measured[(measured.split == "test") & (measured.subset == "all")]
    rows = rows[rows.threshold_rule.isin(["0.5", ""])]
    keys, ours = ["experiment", "protocol", "metric"], ["as its authors do", "official"]
    cells = {key: _cell(_pooled(group)) for key, group in rows.groupby(keys)}
    for name, asked in zip(ours, (claims, claims.assign(protocol="official")), strict=True):
        claims[name] = [cells.get(key, "-") for key in asked[keys].itertuples(index=False)]
    claims = claims[(claims[ours] != "-").any(axis=1)]
    return claims.set_index("system")[["claim", "protocol", *ours, "why"]]


def _pooled(fits: pd.DataFrame) -> pd.Series:
    """Rows of one metric as one: the fit's own, or the mean and spread of several."""
    value, spread = fits.value.mean(), fits.value.std()
    one = fits.iloc[0]
    low, high = (one.low, one.high) if len(fits) == 1 else (value - spread, value + spread)
    return pd.Series({"value": value, "low": low, "high": high, "fits": len(fits)})


def _cell(row) -> str:
    value, low, high = (100 * number for number in (row.value, row.low, row.high))
    if row.fits > 1:
        return f"{value:.1f} ± {high - value:.1f} ({row.fits:.0f} fits)"
    return f"{value:.1f} ({low:.1f}-{high:.1f})"


def three_class_comparison(measured: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """A reader's table of three-class fits in the given order: percent with 95 % intervals.

    Accuracy by argmax, macro AUC, and the recall of each class.

    Raises:
        UserError: there is no such fit, or an experiment has several under one protocol.
    """
    three = measured[measured.subset == "binary"].set_index(KEY).index  # only these are collapsed
    rows = measured[measured.set_index(KEY).index.isin(three)]
    rows = rows[(rows.split == split) & (rows.subset == "all")]
    columns = ["accuracy", "auc", *RECALLS]
    rows = rows[rows.metric.isin(columns)].assign(fits=1)
    if rows.empty or rows.duplicated(["experiment", "protocol", "metric"]).any():
        raise UserError(f"{len(rows)} rows of metrics: want three-class fits, one a protocol")
    return _reader_table(rows, columns)


def _reader_table(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """One row an experiment and protocol, in the order of `rows`; one cell a metric."""
    group = ["experiment", "protocol"]
    cells = rows.assign(cell=[_cell(row) for row in rows.itertuples()])
    wide = cells.pivot(index=group, columns="metric", values="cell")
    wide = wide.loc[rows.set_index(group).index.unique(), columns]
    return wide.rename_axis(columns=None).rename(columns={"auc": "AUC"})


def markdown(table: pd.DataFrame) -> str:
    """A table of texts, its index first, as Markdown."""
    lines = [f"| {table.index.name} | " + " | ".join(table.columns) + " |"]
    lines.append("|---|" + "---|" * len(table.columns))
    lines += [f"| {' | '.join(cells)} |" for cells in table.itertuples()]
    return "\n".join(lines)


@cache
def code_version() -> str:
    """Short commit of the code, with `+` when files differ from it; `unknown` without git."""
    try:
        git = partial(subprocess.run, cwd=PROJECT, capture_output=True, text=True, check=True)
        commit = git(["git", "rev-parse", "--short=10", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "helpers", "notebooks"]).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")
