"""Figures: one style, one way to save them, and those that several notebooks draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Image
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from sklearn.metrics import auc

from helpers import evaluation, results
from helpers.settings import LABELS, UserError, write_atomically

if TYPE_CHECKING:  # Keras takes seconds to import, and most figures need no network
    import keras

    from helpers.training import Fit

# Okabe & Ito (2008): told apart with colour-blind eyes and in gray
COLORS = {"normal": "#0072B2", "bacteria": "#D55E00", "virus": "#009E73", "pneumonia": "#D55E00"}
NAMES = {"auc": "AUC"}
BARS = ["value", "low", "high"]
WIDTH = 8.0  # inches
DPI = 110

sns.set_theme("notebook", "whitegrid", palette="colorblind", rc={"figure.dpi": DPI})
plt.rcParams.update({"figure.constrained_layout.use": True, "savefig.facecolor": "white"})


def save(figure: Figure, place: results.Run | results.Story, name: str) -> None:
    """Write a figure as `<name>.png` into the place's figures; phantoms are named on it."""
    if place.dataset == "synthetic":
        figure.text(1, 1, "synthetic radiographs", ha="right", va="bottom", color="crimson", size=9)
    write_atomically(
        place.figures / f"{name}.png", partial(figure.savefig, dpi=DPI, bbox_inches="tight")
    )


def show(place: results.Run | results.Story, name: str) -> Image:
    """A saved figure, for a notebook's output; a full one is 760 pixels wide, a small one less.

    Raises UserError when it is not there.
    """
    path = place.figures / f"{name}.png"
    if not path.exists():
        raise UserError(f"no figure {path}: run the notebook that draws it first (`make run`)")
    return Image(path, width=min(760, round(0.85 * plt.imread(path).shape[1])))


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
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=9)
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


def comparison(measured: pd.DataFrame) -> Figure:
    """Each experiment's test metrics, best AUC on top: 95 % intervals, or spread over seeds."""
    rows = results.headline(measured)
    names = rows.experiment.unique()[::-1]
    figure, axes = plt.subplots(
        1, len(results.HEADLINE), figsize=(WIDTH, 1.2 + 0.3 * len(names)), sharey=True
    )
    for axis, metric, color in zip(axes, results.HEADLINE, sns.color_palette(), strict=False):
        chosen = 100 * rows[rows.metric == metric].set_index("experiment").loc[names, BARS]
        errors = [chosen.value - chosen.low, chosen.high - chosen.value]
        axis.errorbar(chosen.value, range(len(names)), xerr=errors, fmt="o", color=color)
        axis.set_xlabel(f"{NAMES.get(metric, metric)}, %", size=11)
        axis.set_yticks(range(len(names)), names)
        axis.tick_params(labelsize=10)
    _cut_off(axes[0], 100 * rows[rows.metric == "auc"].set_index("experiment").value.loc[names])
    for label in axes[0].get_yticklabels():
        label.set_weight("bold" if label.get_text() == "final" else "normal")
    return figure


def _cut_off(axis, values: pd.Series, low: float = 80) -> None:
    """Begin the axis at `low` and show what lies below it as an arrow with its number."""
    if values.max() > low:
        axis.set_xlim(left=low - 1)
        for place, value in enumerate(values):
            if value < low:
                axis.plot(low, place, "<", color=sns.color_palette()[0])
                axis.text(low + 1, place, f"{value:.1f}", size=9, va="center")


COSTS = {  # panels of `costs`
    "mflops": "million multiply-accumulates an image",
    "train_seconds": "seconds to train",
    "images_per_second": "images a second to predict",
}


def costs(table: pd.DataFrame) -> Figure:
    """AUC of each network against what it costs, one panel a cost; parameters as the marker's area.

    Args:
        table: as `results.costs` gives it.
    """
    figure, axes = plt.subplots(len(COSTS), 1, figsize=(WIDTH, 3.6 * len(COSTS)))
    for axis, (cost, meaning) in zip(axes, COSTS.items(), strict=True):
        colors = [COLORS["bacteria" if name == "final" else "normal"] for name in table.index]
        areas = 12 + 6 * np.sqrt(table.parameters / 1e4)
        axis.scatter(table[cost], 100 * table.auc, areas, colors, alpha=0.6, linewidth=0)
        axis.set(xscale="log", xlabel=meaning, ylabel="AUC on test, %")
        axis.margins(0.12)
    figure.canvas.draw()  # settles the layout, which the places of the names depend on
    for axis, cost in zip(axes, COSTS, strict=True):
        _name_points(axis, table[cost], 100 * table.auc)
    return figure


def _name_points(axis, x: pd.Series, y: pd.Series) -> None:
    """Write the index of `x` beside the points drawn, each at the nearest place still free."""
    centers = axis.transData.transform(np.column_stack([x, y]))
    radii = np.sqrt(axis.collections[0].get_sizes()) / 2 * axis.figure.dpi / 72  # pixels
    taken = [Bbox([xy - r, xy + r]) for xy, r in zip(centers, radii, strict=True)]
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    shifts = [r * np.array([np.cos(a), np.sin(a)]) for r in range(7, 120, 6) for a in angles]
    line = {"arrowstyle": "-", "color": "gray", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
    for name, *point in zip(x.index, x, y, strict=True):
        for shift in shifts:
            side = "left" if shift[0] >= 0 else "right"
            style = {"size": 8, "ha": side, "va": "center", "in_layout": False}
            text = axis.annotate(name, point, shift, textcoords="offset points", **style)
            box = text.get_window_extent().padded(1)
            inside = all(axis.bbox.contains(*corner) for corner in (box.min, box.max))
            if inside and not box.count_overlaps(taken):
                axis.annotate("", point, shift, textcoords="offset points", arrowprops=line)
                taken.append(box)
                break
            text.remove()


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
    bar.set_label("weight (+ pneumonia)", size=10)
    bar.ax.tick_params(labelsize=9)
    return figure


def seeds(measured: pd.DataFrame, metrics: Sequence[str], split: str = "test") -> Figure:
    """Each metric in a panel: one gray line a seed across the experiments, and the means."""
    rows = results.binary_rows(measured, split)
    figure, axes = plt.subplots(1, len(metrics), figsize=(WIDTH, 3.2), squeeze=False)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        chosen = rows[rows.metric == metric]
        table = 100 * chosen.pivot(index="experiment", columns="seed", values="value")
        table = table.loc[chosen.experiment.unique()]
        axis.plot(range(len(table)), table, "o-", color="gray", alpha=0.6, linewidth=1)
        axis.plot(table.mean(axis=1).to_numpy(), "_", color=COLORS["pneumonia"], ms=28, mew=3)
        axis.set(title=NAMES.get(metric, metric), xlim=(-0.5, len(table) - 0.5))
        axis.set_xticks(range(len(table)), table.index)
        axis.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel(f"% on {split}")
    return figure


def architecture(model: keras.Model) -> Figure:
    """A network from left to right, as its layers are joined.

    One bar a layer, as high as the side of its feature maps (logarithmic), and an arch for each
    shortcut, with the convolution on it if there is one.
    """
    shortcuts = _shortcuts(model)
    aside = {layer for path in shortcuts.values() for layer in path[:-1]}
    drawn = [x for x in model.layers if type(x).__name__ in KINDS and x not in aside]
    figure, axis = plt.subplots(figsize=(WIDTH, 3.0))
    for place, layer in enumerate(drawn):
        kind, color = KINDS[type(layer).__name__]
        height = np.log2(layer.output.shape[1]) if len(layer.output.shape) == 4 else 0.6
        if kind == "add":
            axis.text(place, 0, "+", ha="center", va="center", size=14)
        else:
            axis.bar(place, height, 0.7, bottom=-height / 2, color=color, zorder=2)
        axis.text(place, -4, _layer_text(layer, kind), rotation=90, ha="center", va="top", size=8)
    for addition, path in shortcuts.items():
        _arch(axis, drawn.index(_ancestor(path[-1], drawn)) + 0.5, drawn.index(addition), path[:-1])
    axis.plot([-1, len(drawn)], [0, 0], color="gray", linewidth=1, zorder=1)
    axis.set(ylim=(-8.5, 5), xlim=(-1, len(drawn)))
    axis.axis("off")
    return figure


KINDS = {  # layers that `architecture` draws; the others belong to the one before them
    "Conv2D": ("conv", "#56B4E9"),
    "MaxPooling2D": ("max pool", "#E69F00"),
    "GlobalAveragePooling2D": ("mean of maps", "#E69F00"),
    "Dense": ("dense", "#009E73"),
    "Add": ("add", "none"),
}


def _shortcuts(model: keras.Model) -> dict[keras.Layer, list[keras.Layer]]:
    """For each addition the shortest way back to where the network forked, the fork at its end."""
    used = Counter(parent for layer in model.layers for parent in _parents(layer))

    def back_to_fork(layer):
        path = [layer]
        while used[path[-1]] == 1:
            path.append(_parents(path[-1])[0])
        return path

    additions = [layer for layer in model.layers if type(layer).__name__ == "Add"]
    return {x: min(map(back_to_fork, _parents(x)), key=len) for x in additions}


def _parents(layer: keras.Layer) -> list[keras.Layer]:
    if type(layer).__name__ == "InputLayer":
        return []
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation for tensor in tensors]


def _ancestor(layer: keras.Layer, drawn: Sequence[keras.Layer]) -> keras.Layer:
    while layer not in drawn:
        layer = _parents(layer)[0]
    return layer


def _layer_text(layer: keras.Layer, kind: str) -> str:
    shape = " x ".join(map(str, layer.output.shape[1:]))
    if kind == "conv":
        kernel, stride = layer.kernel_size[0], layer.strides[0]
        kind = f"conv {kernel} x {kernel}" + (f" / {stride}" if stride > 1 else "")
    return f"{kind}  {shape}" if kind != "add" else ""


def _arch(axis, start: float, end: float, convolutions: Sequence[keras.Layer]) -> None:
    top = 3.6
    axis.plot([start, start, end], [0, top, top], color="black", linewidth=1, zorder=3)
    axis.annotate("", (end, 0.5), (end, top), arrowprops={"arrowstyle": "->", "color": "black"})
    if kernels := [x.kernel_size[0] for x in convolutions if type(x).__name__ == "Conv2D"]:
        text = ", ".join(f"{kernel} x {kernel}" for kernel in kernels)
        axis.text((start + end) / 2, top + 0.2, text, ha="center", va="bottom", size=8)


def shares(table: pd.DataFrame, column: str) -> Figure:
    """How many images of each label there are in each value of `column`."""
    counts = table.groupby([column, "label"]).size().unstack(fill_value=0)[list(LABELS)]
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    counts.plot.bar(ax=axis, color=[COLORS[label] for label in LABELS], rot=0)
    for bars in axis.containers:
        axis.bar_label(bars, size=9)
    axis.set(ylabel="images", xlabel=column.replace("_", " "))
    return figure
