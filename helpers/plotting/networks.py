"""Figures of networks: how they are built, how they learnt and what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from helpers import results
from helpers.plotting.style import COLORS, WIDTH

if TYPE_CHECKING:  # Keras takes seconds to import, and most figures need no network
    import keras

    from helpers.training import Fit


def learning_curves(fits: dict[str, Fit]) -> Figure:
    """Loss and accuracy an epoch of each fit, training dashed and validation full."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for color, (name, fit) in zip(sns.color_palette(), fits.items(), strict=False):
        epochs, best = fit.history.epoch, fit.kept_epoch - 1
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
        colors = [COLORS["bacteria" if name == results.FINAL else "normal"] for name in table.index]
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
    occupied = [Bbox([xy - r, xy + r]) for xy, r in zip(centers, radii, strict=True)]
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
            if inside and not box.count_overlaps(occupied):
                axis.annotate("", point, shift, textcoords="offset points", arrowprops=line)
                occupied.append(box)
                break
            text.remove()


def architecture(model: keras.Model) -> Figure:
    """A network from left to right, as its layers are joined.

    One bar a layer, as high as the side of its feature maps (logarithmic), and an arch for each
    skip connection, with the convolution on it if there is one.
    """
    skips = _skip_connections(model)
    aside = {layer for path in skips.values() for layer in path[:-1]}
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
    for addition, path in skips.items():
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


def _skip_connections(model: keras.Model) -> dict[keras.Layer, list[keras.Layer]]:
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
