"""Figures of predictions and metrics: intervals, comparison, confusion, ROC, reliability, seeds."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import evaluation, results
from helpers.plotting.style import COLORS, NAMES, WIDTH

BARS = ["value", "low", "high"]


def confusion(
    tables: dict[str, pd.DataFrame],
    splits: Sequence[str] = ("test",),
    threshold: float = 0.5,
) -> Figure:
    """Confusion matrix of each prediction table on each split: counts, and shares of each row."""
    pairs = [(name, split) for name in tables for split in splits]
    columns = min(len(pairs), 3)
    rows = math.ceil(len(pairs) / columns)
    alike = len({evaluation.CLASSES[0] in table for table in tables.values()}) == 1
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH * columns / 3 + 1, 2.7 * rows), sharey=alike, squeeze=False
    )
    for axis in axes.flat[len(pairs) :]:
        axis.axis("off")
    for axis, (name, split) in zip(axes.flat, pairs, strict=False):
        counts = evaluation.confusion(tables[name], split, threshold)
        shares = counts.div(counts.sum(axis=1), axis=0)
        texts = counts.astype(str) + "\n" + (100 * shares).round(1).astype(str) + " %"
        style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False, "annot_kws": {"size": 10}}
        sns.heatmap(shares, annot=texts, fmt="", ax=axis, **style)
        axis.set_title(f"{name}, {split}", size=11)
        axis.set(xlabel="predicted", ylabel="true" if axis in axes[:, 0] else "")
        axis.tick_params(axis="both", labelsize=10, rotation=0)
    return figure


def intervals(
    axis: Axes,
    table: pd.DataFrame,
    places: Sequence[float] | None = None,
    *,
    vertical=False,
    **style,
) -> None:
    """Draw a dot for each row of a table, with its interval.

    Args:
        axis: to draw on.
        table: columns value, low and high, in the unit of the axis; its index names the rows.
        places: of the rows on the other axis; None stands for 0, 1, ... with their names as ticks.
        vertical: values go up instead of to the right.
        style: such as label, color, or fmt of matplotlib's `errorbar`.
    """
    at = range(len(table)) if places is None else places
    errors = [table.value - table.low, table.high - table.value]
    errors = [length.clip(lower=0) for length in errors]  # a percentile interval may miss its value
    if vertical:
        axis.errorbar(at, table.value, yerr=errors, **{"fmt": "o"} | style)
    else:
        axis.errorbar(table.value, at, xerr=errors, **{"fmt": "o"} | style)
    if places is None:
        (axis.set_xticks if vertical else axis.set_yticks)(at, table.index)


def comparison(
    measured: pd.DataFrame, highlight: str = results.FINAL, split: str = "test"
) -> Figure:
    """Each experiment's metrics, best AUC on top: 95 % intervals, or spread over seeds.

    Args:
        measured: a long table of metrics, of one protocol.
        highlight: the experiment whose name is bold.
        split: val or test.
    """
    rows = results.headline(measured, split)
    names = rows.experiment.unique()[::-1]
    figure, axes = plt.subplots(
        1, len(results.HEADLINE), figsize=(WIDTH, 1.2 + 0.3 * len(names)), sharey=True
    )
    for axis, metric, color in zip(axes, results.HEADLINE, sns.color_palette(), strict=False):
        chosen = 100 * rows[rows.metric == metric].set_index("experiment").loc[names, BARS]
        intervals(axis, chosen, color=color)
        axis.set_xlabel(f"{NAMES.get(metric, metric)}, %", size=11)
        axis.tick_params(labelsize=10)
    _cut_off(axes[0], 100 * rows[rows.metric == "auc"].set_index("experiment").value.loc[names])
    for label in axes[0].get_yticklabels():
        label.set_weight("bold" if label.get_text() == highlight else "normal")
    return figure


def _cut_off(axis, values: pd.Series, low: float = 80) -> None:
    """Begin the axis at `low` and show what lies below it as an arrow with its number."""
    if values.max() > low:
        axis.set_xlim(left=low - 1)
        for place, value in enumerate(values):
            if value < low:
                axis.plot(low, place, "<", color=sns.color_palette()[0])
                axis.text(low + 1, place, f"{value:.1f}", size=9, va="center")


def roc(tables: dict[str, pd.DataFrame], split: str = "test") -> Figure:
    """ROC curve of each prediction table, normal against pneumonia, best AUC first."""
    curves = {name: evaluation.roc(table, split) for name, table in tables.items()}
    areas = {name: np.trapezoid(c.recall, c.false_positive_rate) for name, c in curves.items()}
    figure, axis = plt.subplots(figsize=(0.7 * WIDTH, 4.6))
    for name in sorted(areas, key=areas.get, reverse=True):
        curve = curves[name]
        axis.plot(
            curve.false_positive_rate, curve.recall, label=f"{name}, AUC {areas[name]:.3f}", lw=2
        )
    axis.plot([0, 1], [0, 1], ":", color="gray", zorder=0)
    axis.set(xlabel="false positive rate (1 - specificity)", ylabel="recall", title=split)
    axis.set_aspect("equal")
    axis.legend(loc="lower right", fontsize=9)
    return figure


def reliability(tables: dict[str, pd.DataFrame], splits: Sequence[str] = ("val", "test")) -> Figure:
    """Reliability diagram of each prediction table, one panel a split, with 95 % intervals.

    Predicted probability of pneumonia against the share of pneumonias, in ten bins.
    """
    figure, axes = plt.subplots(
        1, len(splits), figsize=(WIDTH * len(splits) / 2, 3.8), sharey=True, squeeze=False
    )
    for axis, split in zip(axes.flat, splits, strict=True):
        axis.plot([0, 1], [0, 1], ":", color="gray")
        for color, (name, table) in zip(
            ("gray", *sns.color_palette()), tables.items(), strict=False
        ):
            bins = evaluation.reliability(table, split).dropna()
            bins = bins.rename(columns={"observed": "value"})
            intervals(axis, bins, bins.predicted, vertical=True, fmt="o-", color=color, label=name)
        axis.set(title=split, xlabel="predicted probability of pneumonia")
    axes[0, 0].set_ylabel("share of pneumonias")
    axes[0, 0].legend()
    return figure


def paired(axis: Axes, table: pd.DataFrame) -> None:
    """Draw one gray line a column of a table across its rows, and a bar at the mean of each row.

    Args:
        axis: to draw on.
        table: in the unit of the axis; its index names the ticks, its columns may be seeds.
    """
    axis.plot(range(len(table)), table, "o-", color="gray", alpha=0.6, linewidth=1)
    axis.plot(table.mean(axis=1).to_numpy(), "_", color=COLORS["pneumonia"], ms=28, mew=3)
    axis.set_xlim(-0.5, len(table) - 0.5)
    axis.set_xticks(range(len(table)), table.index)
    axis.grid(axis="x", visible=False)


def seeds(measured: pd.DataFrame, metrics: Sequence[str], split: str = "test") -> Figure:
    """Each metric in a panel: one gray line a seed across the experiments, and the means."""
    rows = results.binary_rows(measured, split)
    figure, axes = plt.subplots(1, len(metrics), figsize=(WIDTH, 3.2), squeeze=False)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        chosen = rows[rows.metric == metric]
        table = 100 * chosen.pivot(index="experiment", columns="seed", values="value")
        table = table.loc[chosen.experiment.unique()]
        paired(axis, table)
        axis.set_title(NAMES.get(metric, metric))
    axes[0, 0].set_ylabel(f"% on {split}")
    return figure
