"""The tables that readers see, from metrics.csv: comparisons, blocks, costs."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import evaluation, paths
from helpers.data import LABELS
from helpers.results.run import Run
from helpers.results.store import KEY, experiments, manifest, metrics, predictions
from helpers.results.text import format_interval
from helpers.utils import UserError

if TYPE_CHECKING:  # pandas imports jinja2 with it
    from pandas.io.formats.style import Styler

HEADLINE = ["auc", "accuracy", "recall", "specificity"]  # never one without the others
RECALLS = [f"recall_{label}" for label in LABELS]


def binary_rows(
    measured: pd.DataFrame, split: str = "test", rule: str = "0.5", disjoint: bool = False
) -> pd.DataFrame:
    """The rows of metrics on normal against pneumonia, three classes collapsed.

    Args:
        measured: a long table of metrics.
        split: val or test.
        rule: the threshold rule of rates; metrics without a threshold are there as well.
        disjoint: only the official test images whose patient is not in train, not all images.
    """
    subset = np.where(_of_three_classes(measured), "binary", "all")
    if disjoint:
        subset = np.where(subset == "binary", "binary_disjoint", "disjoint")
    return measured[
        (measured.split == split)
        & (measured.subset == subset)
        & measured.threshold_rule.isin([rule, ""])
    ]


def _of_three_classes(measured: pd.DataFrame) -> np.ndarray:
    """Which rows belong to a three-class fit: only these are collapsed as well."""
    three = measured[measured.subset == "binary"].set_index(KEY).index
    return measured.set_index(KEY).index.isin(three)


def metric(
    measured: pd.DataFrame, metric: str, split: str = "test", subset: str = "all", **key
) -> pd.Series:
    """The one row of a metric: value, low, high, n and so on.

    `key` narrows it by further columns, such as experiment, protocol, seed or threshold_rule;
    without a rule, rates at the threshold 0.5 are meant. The subset of a three-class fit as normal
    against pneumonia is `binary`.

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


def in_words(measured: pd.DataFrame, **key) -> str:
    """The figures that belong together as a sentence: AUC on validation and test, rates on test.

    `key` narrows `measured` to one fit, as in `metric`, which says what is raised.
    """
    rows = metric(measured, "auc", "val", **key), *(metric(measured, x, **key) for x in HEADLINE)
    val, auc, accuracy, recall, specificity = map(format_interval, rows)
    return (
        f"AUC {val} on validation, {auc} on test; "
        f"accuracy {accuracy}, recall {recall}, specificity {specificity}."
    )


def headline(
    measured: pd.DataFrame, split: str = "test", rule: str = "0.5", disjoint: bool = False
) -> pd.DataFrame:
    """The four figures that belong together, one row an experiment, protocol and metric.

    One fit keeps its value and 95 % interval. Several (seeds, folds) give the mean of their values,
    and low and high are one standard deviation of them away from it. Arguments as `binary_rows`.

    Returns:
        Columns experiment, protocol, metric, value, low, high, fits; best AUC first.
    """
    rows = binary_rows(measured, split, rule, disjoint)
    rows = rows[rows.metric.isin(HEADLINE)]
    keys = ["experiment", "protocol", "metric"]
    fits = {key: pooled(group) for key, group in rows.groupby(keys)}
    table = pd.DataFrame(fits.values(), index=pd.MultiIndex.from_tuples(fits, names=keys))
    auc = table.xs("auc", level="metric").value
    best_first = table.index.droplevel("metric").map(-auc)
    return table.iloc[np.argsort(best_first, kind="stable")].astype({"fits": int}).reset_index()


def comparison(
    measured: pd.DataFrame, split: str = "test", rule: str = "0.5", disjoint: bool = False
) -> pd.DataFrame:
    """A reader's table of `headline`: percent, with intervals or the spread over several fits."""
    return _reader_table(headline(measured, split, rule, disjoint), HEADLINE)


def highlighted(table: pd.DataFrame, experiment: str) -> "Styler":
    """A table of `comparison` for the eye: the rows of an experiment stand out."""
    marks = [
        "font-weight: bold; background-color: rgba(230, 159, 0, 0.35)" if own else ""
        for own in table.index.get_level_values("experiment") == experiment
    ]
    return table.style.apply(lambda _: marks).set_table_styles(
        [{"selector": "th, td", "props": "text-align: right; padding: 0.2em 0.8em"}]
    )


def compare(
    a: str,
    b: str,
    run: Run | None = None,
    *,
    protocol: str = "official",
    seed: int = 0,
    **options,
) -> pd.DataFrame:
    """The paired test of two experiments on the same images, as `evaluation.compare` has it.

    Args:
        a, b: names of experiments.
        run: where their predictions are read; what it lacks, and all without one, are published.
        protocol, seed: of both fits.
        options: of `evaluation.compare`, such as split or resamples.

    Raises:
        UserError: one has no predictions there, or they are not of the same images.
    """
    read = run.predictions if run else predictions
    both = (read(name, protocol, seed) for name in (a, b))
    table = evaluation.compare(*both, **options).set_index("metric")
    return table.rename(columns={"a": a, "b": b})


def validation_and_test(measured: pd.DataFrame, rule: str = "0.5") -> pd.DataFrame:
    """`comparison` on validation and on test, one below the other; the split comes first."""
    both = {split: comparison(measured, split, rule) for split in ("val", "test")}
    return pd.concat(both, names=["split"])


def three_class_comparison(measured: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """A reader's table of three-class fits in the given order: percent with 95 % intervals.

    Accuracy by argmax, macro AUC, and the recall of each class.

    Raises:
        UserError: there is no such fit, or an experiment has several under one protocol.
    """
    columns = ["accuracy", "auc", *RECALLS]
    rows = three_class_rows(measured, split)
    rows = rows[rows.metric.isin(columns)].assign(fits=1)
    if rows.empty or rows.duplicated(["experiment", "protocol", "metric"]).any():
        raise UserError(f"{len(rows)} rows of metrics: want three-class fits, one a protocol")
    return _reader_table(rows, columns)


def three_class_rows(measured: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """The rows of metrics of three-class fits, not collapsed."""
    rows = measured[_of_three_classes(measured)]
    return rows[(rows.split == split) & (rows.subset == "all")]


def official_metrics(folder: Path | None = None) -> pd.DataFrame:
    """The metrics under `official` of all that stands for itself (see `main_experiments`)."""
    return main_experiments(metrics(folder))


def main_experiments(measured: pd.DataFrame, protocol: str = "official") -> pd.DataFrame:
    """The rows of a long table of metrics, under a protocol, of all that stands for itself.

    Left out are the recipe changes of the ablation (`candidate_...`), and what was adapted to the
    unlabelled test images (`transductive_...`).
    """
    aside = measured.experiment.str.startswith(("candidate_", "transductive_"))
    return measured[(measured.protocol == protocol) & ~aside]


def best_per_notebook(folder: Path | None = None) -> pd.DataFrame:
    """The rows of `official_metrics` for a short look: each notebook's experiment of the best AUC.

    Beside them stands the answer that never looks at an image.
    """
    measured = official_metrics(folder)
    notebooks = experiments(folder).drop_duplicates("experiment").set_index("experiment").notebook
    best = headline(measured).drop_duplicates("experiment").experiment
    best = best[~best.map(notebooks).duplicated()]
    return measured[measured.experiment.isin([*best, "most_frequent"])]


def costs(folder: Path | None = None) -> pd.DataFrame:
    """What each network costs, with its AUC on the official test images: one row an experiment.

    Columns auc, parameters, mflops, images_per_second (measured in one go by `benchmarks/costs.py`,
    in `results/costs.csv`) and train_seconds (the mean over seeds; without the features that frozen
    layers give). Empty where nothing was measured.
    """
    columns = ["auc", "parameters", "mflops", "images_per_second", "train_seconds"]
    path = paths.RESULTS / "costs.csv"
    if not path.exists():
        return pd.DataFrame(columns=columns)
    rows = headline(official_metrics(folder)).query("metric == 'auc'").set_index("experiment")
    fits = experiments(folder).query("protocol == 'official'")
    seconds = fits.groupby("experiment").train_seconds.mean()
    measured = pd.read_csv(path, index_col="experiment")
    return measured.assign(auc=rows.value, train_seconds=seconds)[columns].dropna()


def by_block(experiment: str, folder: Path | None = None) -> pd.DataFrame:
    """The folds of `cross_validated` by where their test images come from, in percent.

    The official test images are a block of low study numbers; here each network has trained on
    others of that block.

    Returns:
        One row for the images of the official test block and one for all others: n, AUC (within
        folds, with its 95 % interval), accuracy, recall and specificity at each fold's own
        `val_balanced` threshold.
    """
    rows = binary_rows(metrics(folder), rule=evaluation.BALANCED_RULE)
    keys = {"experiment": experiment, "protocol": "cross_validated", "metric": "recall"}
    rows = rows[(rows[[*keys]] == pd.Series(keys)).all(axis=1)]
    cases = {
        (row.seed, row.fold): evaluation.outcomes(
            predictions(experiment, row.protocol, row.seed, row.fold, folder), row.threshold
        )
        for row in rows.itertuples()
    }
    cases = pd.concat(cases, names=["seed", "fold"]).reset_index(["seed", "fold"])
    cases = cases.merge(manifest(folder)[["file", "official_split"]])
    blocks = cases.official_split.eq("test").map({True: "official test", False: "all others"})
    return pd.DataFrame({name: _in_block(part) for name, part in cases.groupby(blocks)}).T


def _in_block(cases: pd.DataFrame) -> pd.Series:
    folds = cases.seed.astype(str) + " " + cases.fold.astype(str)
    area = evaluation.told_apart(cases.ill, cases.p_pneumonia, cases.patient, folds)
    right = {
        "accuracy": cases.right,
        "recall": cases.right[cases.ill],
        "specificity": cases.right[~cases.ill],
    }
    shares = {name: f"{100 * part.mean():.1f}" for name, part in right.items()}
    return pd.Series({"n": len(cases), "AUC": format_interval(area, unit=""), **shares})


def pooled(fits: pd.DataFrame) -> pd.Series:
    """Rows of one metric as one: the fit's own, or the mean and spread of several."""
    value, spread = fits.value.mean(), fits.value.std()
    one = fits.iloc[0]
    low, high = (one.low, one.high) if len(fits) == 1 else (value - spread, value + spread)
    return pd.Series({"value": value, "low": low, "high": high, "fits": len(fits)})


def cell(row) -> str:
    """What `pooled` gives, for a table of percentages."""
    if row.fits > 1:
        spread = row.high - row.value
        return f"{100 * row.value:.1f} ± {100 * spread:.1f} ({row.fits:.0f} fits)"
    return format_interval(row, unit="")


def _reader_table(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """One row an experiment and protocol, in the order of `rows`; one cell a metric."""
    group = ["experiment", "protocol"]
    cells = rows.assign(cell=[cell(row) for row in rows.itertuples()])
    wide = cells.pivot(index=group, columns="metric", values="cell")
    wide = wide.loc[rows.set_index(group).index.unique(), columns]
    return wide.rename_axis(columns=None).rename(columns={"auc": "AUC"})
