"""Figures of decisions: probabilities beside thresholds, rates against them, ROC with points."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import evaluation
from helpers.data import LABELS
from helpers.plotting.style import COLORS, WIDTH

MARKS = dict(zip(LABELS, "o^s", strict=True))  # classes are told apart in gray
LINES = ["-", "--", ":"]
SPLITS = {"val": "validation", "test": "test"}
NEAR = 1e-3  # probabilities closer to 0 or 1 are drawn there


def probabilities(
    predictions: pd.DataFrame,
    points: Mapping[str, float],
    splits: Sequence[str] = ("val", "test"),
    seed: int = 0,
) -> Figure:
    """The probability of pneumonia of each image, a strip a label, and thresholds across them.

    The axis is that of log-odds, so that the crowds near 0 and 1 are seen.

    Args:
        predictions: a prediction table of two or three classes.
        points: thresholds by name.
        splits: a panel each.
        seed: of the scatter across a strip, which means nothing.
    """
    figure, axes = plt.subplots(
        len(splits), 1, figsize=(WIDTH, 2.2 * len(splits) + 0.4), sharex=True, squeeze=False
    )
    generator = np.random.default_rng(seed)
    for axis, split in zip(axes.flat, splits, strict=True):
        rows = evaluation.collapse(predictions[predictions.split == split])
        labels = [label for label in MARKS if label in set(rows.label)]
        for place, label in enumerate(labels):
            p = rows.p_pneumonia[rows.label == label].clip(NEAR, 1 - NEAR)
            scatter = place + generator.uniform(-0.33, 0.33, len(p))
            style = {"marker": MARKS[label], "color": COLORS[label], "s": 9, "alpha": 0.6}
            axis.scatter(p, scatter, linewidths=0, **style)
        axis.set_yticks(range(len(labels)), labels)
        axis.set(xscale="logit", xlim=(0.8 * NEAR, 1 - 0.8 * NEAR), title=SPLITS.get(split, split))
        axis.xaxis.set_minor_formatter("")
        _mark(axis, points)
    ticks = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999]
    axes[-1, 0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[-1, 0].set_xlabel("probability of pneumonia")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def rates(
    predictions: pd.DataFrame,
    points: Mapping[str, float],
    splits: Sequence[str] = ("val", "test"),
) -> Figure:
    """Accuracy, sensitivity and specificity against the threshold, a panel each.

    Args:
        predictions: a prediction table of two or three classes.
        points: thresholds by name.
        splits: a line each.
    """
    cuts = np.linspace(0.005, 0.995, 199)
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.2), sharey=True)
    for split, line, color in zip(splits, LINES, ("gray", "#0072B2", "#D55E00"), strict=False):
        rows = evaluation.collapse(predictions[predictions.split == split])
        ill, p = rows.label.to_numpy() != LABELS[0], rows.p_pneumonia.to_numpy()
        called = p[:, None] >= cuts
        shares = [(called == ill[:, None]).mean(0), called[ill].mean(0), 1 - called[~ill].mean(0)]
        for axis, share in zip(axes, shares, strict=True):
            axis.plot(cuts, 100 * share, line, color=color, label=SPLITS.get(split, split), lw=2)
    for axis, name in zip(axes, ("accuracy", "sensitivity", "specificity"), strict=True):
        _mark(axis, points)
        axis.set(title=name, xlabel="threshold", xlim=(0, 1))
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes[0].set(ylabel="%", ylim=(50, 101))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def operating_points(axis: Axes, predictions: pd.DataFrame, points: Mapping[str, float]) -> None:
    """Mark thresholds on the axis of a ROC curve, with 95 % intervals both ways.

    Args:
        axis: whose x is 1 - specificity and whose y is sensitivity.
        predictions: a prediction table; its test rows are drawn.
        points: thresholds by name.
    """
    found = evaluation.metrics(evaluation.collapse(predictions), thresholds=dict(points))
    found = found[(found.split == "test") & (found.subset == "all")]
    for (name, threshold), mark in zip(points.items(), "osD", strict=False):
        rows = found[found.threshold_rule == name].set_index("metric")
        sensitivity, specificity = rows.loc["recall"], rows.loc["specificity"]
        x, y = 1 - specificity.value, sensitivity.value
        across = [[x - (1 - specificity.high)], [(1 - specificity.low) - x]]
        up = [[y - sensitivity.low], [sensitivity.high - y]]
        style = {"color": "black", "capsize": 2, "markersize": 6, "zorder": 5}
        axis.errorbar(x, y, up, across, mark, label=f"{name} (p from {threshold:.2f})", **style)


def slopes(axis: Axes, table: pd.DataFrame, highlight: Mapping[str, str]) -> None:
    """Draw a line a row between two values, such as what validation promises and test keeps.

    Args:
        axis: to draw on.
        table: two columns, whose names become the ticks, in the unit of the axis.
        highlight: what rows are called in the legend, by their name; the others are gray.
    """
    axis.plot([0, 1], table.drop(index=[*highlight], errors="ignore").T, ".-", color="#BBBBBB")
    colors = ["#D55E00", "#0072B2", "#009E73", "black"]
    shown = {name: text for name, text in highlight.items() if name in table.index}
    for (name, text), mark, color in zip(shown.items(), "os^D", colors, strict=False):
        axis.plot([0, 1], table.loc[name], f"{mark}-", color=color, lw=2.5, label=text)
    axis.set_xticks([0, 1], table.columns)
    axis.set_xlim(-0.1, 1.1)
    axis.grid(axis="x", visible=False)
    if shown:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=10)


def _mark(axis: Axes, points: Mapping[str, float]) -> None:
    """A vertical line at each threshold, named in the legend."""
    for (name, threshold), line in zip(points.items(), LINES[1:], strict=False):
        axis.axvline(threshold, color="black", ls=line, lw=1.2, label=f"{name}, {threshold:.2f}")
