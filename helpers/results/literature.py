"""Ours beside others: what is published on these images, and what earlier projects claim."""

from pathlib import Path

import pandas as pd

from helpers import evaluation, paths
from helpers.results.choice import FINAL
from helpers.results.store import claims, experiments, metrics
from helpers.results.tables import (
    cell,
    comparison,
    headline,
    official_metrics,
    pooled,
    three_class_rows,
)

OWN_ROWS = [  # of the literature table: experiment, protocol, threshold rule, whether it compares
    (FINAL, "official", "balanced", "yes; our second look at these images"),
    (FINAL, "official", "0.5", "the same, at the threshold that most others take"),
    (FINAL, "official", "screening", "the same"),
    ("final_ensemble", "official", "balanced", "the same"),
    ("final_member", "cross_validated", evaluation.BALANCED_RULE, "no: five folds over all images"),
    ("final_v1", "official", "selected", "yes; our first look; a threshold for few misses"),
]


def literature_table(folder: Path | None = None) -> pd.DataFrame:
    """Our best model above what others publish on these images, in percent, with the protocols.

    Ours are the final models, else the highest AUC so far, named as such. The others are typed into
    `results/published_elsewhere.csv`, in their order, each with its source and whether it compares.
    """
    others = pd.read_csv(paths.RESULTS / "published_elsewhere.csv", dtype=str).fillna("-")
    others.index = pd.Index(f"[{row.work}]({row.source})" for row in others.itertuples())
    others = others.rename(columns={"auc": "AUC", "three_class_accuracy": "three classes"})
    table = pd.concat([_own_literature(folder), others]).fillna("-").rename_axis("work")
    columns = ["protocol", "AUC", "accuracy", "recall", "specificity", "three classes"]
    return table[[*columns, "comparable"]]


def _own_literature(folder: Path | None) -> pd.DataFrame:
    """The rows of `literature_table` that were measured here."""
    measured, wanted = metrics(folder), OWN_ROWS
    if not measured.experiment.isin([name for name, *_ in OWN_ROWS]).any():
        best = headline(official_metrics(folder)).experiment[0]
        wanted = [(best, "official", "0.5", "our highest AUC, not the final model")]
    rows = []
    for experiment, protocol, rule, comparable in wanted:
        own = measured[(measured.experiment == experiment) & (measured.protocol == protocol)]
        if not (own.threshold_rule == rule).any():
            continue
        name = f"**ours, `{experiment}`, threshold {rule}**"
        row = comparison(own, rule=rule).rename(index={experiment: name})
        three = three_class_rows(own).query("metric == 'accuracy'")
        three = cell(pooled(three)) if len(three) else "-"
        rows.append(row.assign(**{"three classes": three, "comparable": comparable}))
    return pd.concat(rows).reset_index("protocol")


def replication(folder: Path | None = None) -> pd.DataFrame:
    """What earlier projects claim, beside the same recipe here: one row a system that was run.

    A cell gives the metric on test in percent with its interval, or the spread over seeds; `-`
    where the experiment was not run under that protocol. `run with` says what the recipe was given
    here, which may be less than its authors gave it.
    """
    claimed, measured = claims(), metrics(folder)
    rows = measured[(measured.split == "test") & (measured.subset == "all")]
    rows = rows[rows.threshold_rule.isin(["0.5", ""]) & rows.experiment.isin(claimed.experiment)]
    keys, ours = ["experiment", "protocol", "metric"], ["as its authors do", "official"]
    cells = {key: cell(pooled(group)) for key, group in rows.groupby(keys)}
    for name, asked in zip(ours, (claimed, claimed.assign(protocol="official")), strict=True):
        claimed[name] = [cells.get(key, "-") for key in asked[keys].itertuples(index=False)]
    claimed = claimed[(claimed[ours] != "-").any(axis=1)]
    fits = experiments(folder).drop_duplicates("experiment").set_index("experiment")
    claimed["run with"] = [_given(fits.loc[name]) for name in claimed.experiment]
    return claimed.set_index("system")[["claim", "protocol", "run with", *ours, "why"]]


def _given(fit) -> str:
    """Pixels, epochs and initial weights of a row of experiments.csv."""
    start = {"imagenet": "ImageNet weights", "none": "random weights"}.get(fit.weights, fit.weights)
    return f"{fit.image_size} pixels, {fit.epochs_run} epochs, {start}"
