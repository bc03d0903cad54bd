"""Figures: one style, one way to save them, and those that several notebooks draw."""

from collections.abc import Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Image
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from sklearn.metrics import auc

from helpers import evaluation, results
from helpers.settings import LABELS, UserError, write_atomically
from helpers.training import Fit

# Okabe & Ito (2008): told apart with colour-blind eyes and in gray
COLORS = {"normal": "#0072B2", "bacteria": "#D55E00", "virus": "#009E73", "pneumonia": "#D55E00"}
WIDTH = 8.0  # inches
DPI = 110

sns.set_theme("notebook", "whitegrid", palette="colorblind", rc={"figure.dpi": DPI})
plt.rcParams.update({"figure.constrained_layout.use": True, "savefig.facecolor": "white"})


def save(figure: Figure, place: "results.Run | results.Story", name: str) -> None:
    """Write a figure as `<name>.png` into the place's figures; phantoms are named on it."""
    if place.dataset == "synthetic":
        figure.text(0.995, 0.005, "synthetic radiographs", ha="right", color="crimson", size=9)
    write_atomically(
        place.figures / f"{name}.png", partial(figure.savefig, dpi=DPI, bbox_inches="tight")
    )


def show(place: "results.Run | results.Story", name: str) -> Image:
    """A saved figure, for a notebook's output. Raises UserError when it is not there."""
    path = place.figures / f"{name}.png"
    if not path.exists():
        raise UserError(f"no figure {path}: run the notebook that draws it first (`make run`)")
    return Image(path, width=760)


def montage(images: np.ndarray, titles: Sequence[str], columns: int = 6) -> Figure:
    """Images (n, side, side, 1) of 0-255 with a title each, in rows of `columns`."""
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 1.12 * WIDTH * rows / columns), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(np.squeeze(image), cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, size=9, color=COLORS.get(title.split()[0], "black"))
    return figure


def learning_curves(fits: dict[str, Fit]) -> Figure:
    """Loss and accuracy an epoch of each fit, training dashed and validation full."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for color, (name, fit) in zip(sns.color_palette(), fits.items(), strict=False):
        epochs, best = fit.history.epoch, fit.history.val_loss.idxmin()
        for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
            validation = fit.history[f"val_{metric}"]
            axis.plot(epochs, fit.history[metric], "--", color=color, alpha=0.7)
            axis.plot(epochs, validation, color=color, label=name)
            axis.plot(epochs[best], validation[best], "o", color=color)
            axis.set(xlabel="epoch", ylabel=metric)
    axes[0].plot([], [], "--", color="gray", label="training (dashed)")
    axes[0].plot([], [], "o", color="gray", label="best epoch, kept")
    axes[0].legend(fontsize=9)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def confusion(
    tables: dict[str, pd.DataFrame],
    splits: Sequence[str] = ("test",),
    threshold: float = 0.5,
) -> Figure:
    """Confusion matrix of each prediction table on each split: counts, and shares of each row."""
    pairs = [(name, split) for name in tables for split in splits]
    width = min(WIDTH, 3.6 * len(pairs))
    figure, axes = plt.subplots(1, len(pairs), figsize=(width, 3.0), squeeze=False)
    for axis, (name, split) in zip(axes.flat, pairs, strict=True):
        counts = evaluation.confusion(tables[name], split, threshold)
        shares = counts.div(counts.sum(axis=1), axis=0)
        texts = counts.astype(str) + "\n" + (100 * shares).round(1).astype(str) + " %"
        sns.heatmap(shares, annot=texts, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, ax=axis)
        axis.set(title=f"{name}, {split}", xlabel="predicted", ylabel="true")
        axis.tick_params(axis="y", rotation=0)
    return figure


def comparison(measured: pd.DataFrame, metrics: Sequence[str] = ("auc", "accuracy")) -> Figure:
    """Each experiment's test metrics with their 95 % intervals, best AUC on top."""
    rows = results.binary_rows(measured)
    names = rows[rows.metric == "auc"].sort_values("value").experiment
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(WIDTH, 1.2 + 0.32 * len(names)), sharey=True
    )
    for axis, metric, color in zip(axes, metrics, sns.color_palette(), strict=False):
        chosen = rows[rows.metric == metric].set_index("experiment").loc[names]
        errors = np.abs(chosen[["low", "high"]].sub(chosen.value, axis=0).to_numpy().T)
        axis.errorbar(
            100 * chosen.value, range(len(names)), xerr=100 * errors, fmt="o", color=color
        )
        axis.set(xlabel=f"{metric.replace('_', ' ')} on test, %", yticks=range(len(names)))
        axis.set_yticklabels(names)
    return figure


def shares(table: pd.DataFrame, column: str) -> Figure:
    """How many images of each label there are in each value of `column`."""
    counts = table.groupby([column, "label"]).size().unstack(fill_value=0)[list(LABELS)]
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    counts.plot.bar(ax=axis, color=[COLORS[label] for label in LABELS], rot=0)
    for bars in axis.containers:
        axis.bar_label(bars, size=9)
    axis.set(ylabel="images", xlabel=column.replace("_", " "))
    return figure


def roc(tables: dict[str, pd.DataFrame], split: str = "test") -> Figure:
    """ROC curve of each prediction table, normal against pneumonia, best AUC first."""
    curves = {name: evaluation.roc(table, split) for name, table in tables.items()}
    areas = {name: auc(c.false_positive_rate, c.recall) for name, c in curves.items()}
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


def weights_on_image(weights: np.ndarray, image: np.ndarray) -> Figure:
    """A linear model's weights (s, s), the image (s, s) of 0-1 they act on, and both together."""
    colors = [COLORS["normal"], "white", COLORS["pneumonia"]]
    colormap = LinearSegmentedColormap.from_list("normal-pneumonia", colors)
    limit = np.abs(weights).max()
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6))
    for axis, title in zip(axes, ("mean image", "weights", "both"), strict=True):
        axis.set_title(title)
        axis.axis("off")
    for axis in (axes[0], axes[2]):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)
    axes[1].imshow(weights, cmap=colormap, vmin=-limit, vmax=limit)
    strength = np.minimum(1, 2 * np.abs(weights) / limit)  # half of the largest weight hides all
    axes[2].imshow(weights, cmap=colormap, vmin=-limit, vmax=limit, alpha=strength)
    bar = figure.colorbar(axes[1].images[0], ax=axes, shrink=0.8)
    bar.set_label("weight towards pneumonia")
    return figure
