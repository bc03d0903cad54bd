"""Figures of decisions: what is drawn is what the prediction tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, plotting
from tests import builders

POINTS = {"balanced": 0.6, "screening": 0.2}


@pytest.mark.parametrize("classes", [2, 3])
def test_each_image_is_a_mark_on_its_labels_strip(classes):
    table = builders.validation_and_test(classes=classes)
    figure = plotting.probabilities(table, POINTS)
    for axis, split in zip(figure.axes, ("val", "test"), strict=True):
        rows = evaluation.collapse(table[table.split == split])
        strips = [drawn.get_offsets().data for drawn in axis.collections]
        names = [label.get_text() for label in axis.get_yticklabels()]
        assert names == ["normal", "bacteria", "virus"]
        for place, (name, strip) in enumerate(zip(names, strips, strict=True)):
            p = rows.p_pneumonia[rows.label == name].clip(0.001, 0.999)
            np.testing.assert_allclose(np.sort(strip[:, 0]), np.sort(p))
            assert np.abs(strip[:, 1] - place).max() < 0.4
        assert [line.get_xdata()[0] for line in axis.lines] == [*POINTS.values()]


def test_labels_that_are_not_there_have_no_strip():
    table = builders.predictions()
    table = table[table.label != "virus"]
    axis = plotting.probabilities(table, POINTS, ["test"]).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["normal", "bacteria"]


def test_rates_are_those_at_the_threshold():
    table = builders.validation_and_test()
    figure = plotting.rates(table, POINTS)
    cases = evaluation.outcomes(table, 0.6)
    expected = {
        "accuracy": cases.right.mean(),
        "sensitivity": cases.right[cases.ill].mean(),
        "specificity": cases.right[~cases.ill].mean(),
    }
    for axis in figure.axes:
        line = next(line for line in axis.lines if line.get_label() == "test")
        at = np.abs(line.get_xdata() - 0.6).argmin()
        assert line.get_ydata()[at] == pytest.approx(100 * expected[axis.get_title()], abs=1.5)


def test_operating_points_stand_at_their_rates_with_both_intervals():
    table = builders.predictions(300)
    axis = plotting.roc({"it": table}).axes[0]
    plotting.operating_points(axis, table, POINTS)
    for drawn, threshold in zip(axis.containers, POINTS.values(), strict=True):
        cases = evaluation.outcomes(table, threshold)
        place = 1 - cases.right[~cases.ill].mean(), cases.right[cases.ill].mean()
        assert drawn.lines[0].get_xydata()[0] == pytest.approx(place)
        across, up = (bars.get_segments()[0] for bars in drawn.lines[2])
        assert across[0, 0] < place[0] < across[1, 0] and up[0, 1] < up[1, 1]


def test_slopes_name_what_is_highlighted_and_only_that():
    table = pd.DataFrame({"validation": [99, 98], "test": [95, 97]}, index=["mine", "other"])
    axis = plt.subplots()[1]
    plotting.slopes(axis, table, {"mine": "my network", "absent": "not there"})
    handles, names = axis.get_legend_handles_labels()
    assert names == ["my network"] and list(handles[0].get_ydata()) == [99, 95]
    assert sorted(list(line.get_ydata()) for line in axis.lines) == [[98, 97], [99, 95]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["validation", "test"]


def test_slopes_without_a_highlight_have_no_legend(recwarn):
    axis = plt.subplots()[1]
    plotting.slopes(axis, pd.DataFrame({"validation": [99], "test": [95]}, index=["other"]), {})
    assert axis.get_legend() is None and not recwarn.list
