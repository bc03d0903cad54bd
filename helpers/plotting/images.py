"""Figures of the images and their labels: montage, rows of images, weights, counts of labels."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from helpers.plotting.style import COLORS, WIDTH


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


def image_rows(
    rows: dict[str, Sequence[np.ndarray]],
    titles: Sequence[str],
    colors: Sequence[str] | None = None,
    legend: Mapping[str, tuple[int, int, int] | None] | None = None,
) -> Figure:
    """Images in named rows, such as pictures and below them their heat maps.

    Args:
        rows: by their name, images (side, side) of gray, 0-255, or (side, side, 3) of RGB.
        titles: of the columns, above the first row.
        colors: of the titles; None for black.
        legend: what colors in the images mean, below them: RGB of 0-255, None for an outline.
    """
    size = (WIDTH * len(titles) / 6 + 0.3, 1.4 * len(rows) + (0.6 if legend else 0.3))
    figure, axes = plt.subplots(len(rows), len(titles), figsize=size, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, size=10)
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, title, color in zip(axes[0], titles, colors or ["black"] * len(titles), strict=True):
        axis.set_title(title, size=9, color=color)
    if legend:
        fill = {name: np.divide(rgb, 255) if rgb else "none" for name, rgb in legend.items()}
        patches = [Patch(fc=color, ec="gray", label=name) for name, color in fill.items()]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(legend), fontsize=9)
    return figure


def answer(
    picture: np.ndarray, box: Sequence[float], crop: np.ndarray, shares: Mapping[str, float]
) -> Figure:
    """From a picture to its answer: the box around the lungs, the crop, and the probabilities.

    Args:
        picture: (side, side), gray, 0-255.
        box: left, top, right, bottom of the crop, shares of the picture's side.
        crop: (own side, own side), gray, 0-255.
        shares: probability of each label, 0-1.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7), width_ratios=[1, 1, 1.1])
    for axis, image, title in zip(axes, (picture, crop), ("picture", "lung crop"), strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title)
        axis.axis("off")
    low, high = np.array(box[:2]) * len(picture), np.array(box[2:]) * len(picture)
    axes[0].add_patch(Rectangle(low, *(high - low), fill=False, ec="#E69F00", lw=2))
    bars = axes[2].barh([*shares], [*shares.values()], color=[COLORS[name] for name in shares])
    axes[2].bar_label(bars, [f"{100 * share:.0f} %" for share in shares.values()], padding=3)
    axes[2].set(title="probability", xlim=(0, 1.25), xticks=[])
    axes[2].invert_yaxis()
    axes[2].grid(visible=False)
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


def label_counts(table: pd.DataFrame, column: str) -> Figure:
    """How many images of each label there are in each value of `column`."""
    counts = table.groupby([column, "label"]).size().unstack(fill_value=0)
    counts = counts[[label for label in COLORS if label in counts]]
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    counts.plot.bar(ax=axis, color=[COLORS[label] for label in counts], rot=0)
    for bars in axis.containers:
        axis.bar_label(bars, size=9)
    axis.set(ylabel="images", xlabel=column.replace("_", " "))
    return figure
