"""Figures that are drawn from a network, its training or its costs."""

from types import SimpleNamespace

import pandas as pd
from matplotlib.text import Annotation

from helpers import models, plotting


def texts(axis):
    return [t.get_text() for t in axis.texts if not isinstance(t, Annotation)]


def test_architecture_of_a_residual_network_shows_each_block():
    axis = plotting.architecture(models.resnet(32, (4, 8, 16), blocks=2)).axes[0]
    arrows = [text for text in axis.texts if isinstance(text, Annotation)]
    assert len(arrows) == texts(axis).count("+") == 6
    assert texts(axis).count("1 x 1") == 2  # where a stage changes the shape, the first does not
    assert len(axis.patches) == 2 + 2 * 6 + 2  # stem, convolutions of the blocks, mean, dense
    assert "conv 3 x 3 / 2  8 x 8 x 8" in texts(axis)
    assert "conv 3 x 3  4 x 4 x 16" in texts(axis)


def test_architecture_of_a_plain_network_has_no_skip_connection():
    axis = plotting.architecture(models.cnn(32, (4, 8), batch_norm=True, dropout=0.2)).axes[0]
    assert not [text for text in axis.texts if isinstance(text, Annotation)]
    assert len(axis.patches) == 2 * 2 + 2
    assert texts(axis)[-1] == "dense  1"


def test_learning_curves_mark_the_epoch_that_was_kept():
    history = {"epoch": [1, 2, 3], "loss": [3, 2, 1], "val_loss": [3, 1, 2]}
    history |= {"accuracy": [0.5, 0.6, 0.7], "val_accuracy": [0.4, 0.6, 0.5]}
    fit = SimpleNamespace(history=pd.DataFrame(history), kept_epoch=2)
    figure = plotting.learning_curves({"cnn": fit})
    for axis, value in zip(figure.axes, (1, 0.6), strict=True):
        best = axis.lines[2]
        assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, value)


def test_costs_names_each_network_without_overlap():
    names = [f"network_{number}" for number in range(12)]
    column = pd.Series([10.0, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 1000], names)
    table = pd.DataFrame({"auc": 0.9 + column / 1e5, "parameters": column * 1e4})
    table = table.assign(**dict.fromkeys(plotting.COSTS, column))
    for axis in plotting.costs(table).axes:
        shown = [text for text in axis.texts if text.get_text()]
        assert [text.get_text() for text in shown] == names
        boxes = [text.get_window_extent() for text in shown]
        assert not any(box.count_overlaps(boxes[:place]) for place, box in enumerate(boxes))
