"""Figures: one style, one way to save them, and those that several notebooks draw."""

from helpers.plotting.flow import flow
from helpers.plotting.images import answer, image_rows, label_counts, montage, weights_on_image
from helpers.plotting.metrics import (
    BARS,
    comparison,
    confusion,
    intervals,
    paired,
    reliability,
    roc,
    seeds,
)
from helpers.plotting.networks import COSTS, architecture, costs, learning_curves
from helpers.plotting.style import (
    COLORS,
    DPI,
    NAMES,
    WIDTH,
    AnswerLine,
    description,
    present,
    save,
    show,
    source,
)
from helpers.plotting.thresholds import operating_points, probabilities, rates, slopes

__all__ = [
    "BARS",
    "COLORS",
    "COSTS",
    "DPI",
    "NAMES",
    "WIDTH",
    "AnswerLine",
    "answer",
    "architecture",
    "comparison",
    "confusion",
    "costs",
    "description",
    "flow",
    "image_rows",
    "intervals",
    "label_counts",
    "learning_curves",
    "montage",
    "operating_points",
    "paired",
    "present",
    "probabilities",
    "rates",
    "reliability",
    "roc",
    "save",
    "seeds",
    "show",
    "slopes",
    "source",
    "weights_on_image",
]
