"""Figures that are drawn from prediction tables and metrics."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import plotting, results
from tests import builders

ROWS = pd.DataFrame({"value": [0.5, 0.8], "low": [0.4, 0.7], "high": [0.7, 0.95]}, ["a", "b"])


def long_table(values):
    """Rows of metrics.csv for values by experiment, seed and metric."""
    rows = [
        {"experiment": name, "seed": seed, "metric": metric, "value": value}
        | {"threshold_rule": "" if metric == "auc" else "0.5"}
        for (name, seed, metric), value in values.items()
    ]
    common = {"protocol": "official", "fold": "", "split": "test", "subset": "all"}
    table = pd.DataFrame(rows).assign(**common)
    return table.assign(low=table.value - 0.1, high=table.value + 0.05)


def bars(axis):
    """Start and end of each interval drawn."""
    segments = [segment for drawn in axis.collections for segment in drawn.get_segments()]
    return np.round([[*segment[0], *segment[1]] for segment in segments], 6).tolist()


def test_intervals_lie_beside_their_names():
    axis = plt.subplots()[1]
    plotting.intervals(axis, ROWS, color="gray")
    assert bars(axis) == [[0.4, 0, 0.7, 0], [0.7, 1, 0.95, 1]]
    assert list(axis.lines[0].get_xdata()) == [0.5, 0.8]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_intervals_stand_upright_at_given_places():
    axis = plt.subplots()[1]
    plotting.intervals(axis, ROWS, [2, 5], vertical=True, label="ours")
    assert bars(axis) == [[2, 0.4, 2, 0.7], [5, 0.7, 5, 0.95]]
    assert axis.get_legend_handles_labels()[1] == ["ours"]


def test_an_interval_beside_its_value_can_be_drawn():
    axis = plt.subplots()[1]
    plotting.intervals(axis, ROWS.assign(low=[0.6, 0.7]))
    assert bars(axis)[0] == [0.5, 0, 0.7, 0]


@pytest.mark.parametrize("highlight", ["final", "mine"])
def test_comparison_has_the_best_on_top_and_one_name_in_bold(highlight):
    values = {"final": 0.95, "mine": 0.9, "dense": 0.5}
    table = long_table(
        {(name, 0, metric): v for name, v in values.items() for metric in results.HEADLINE}
    )
    figure = plotting.comparison(table, highlight)
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["dense", "mine", "final"]
    assert [x.get_text() for x in labels if x.get_weight() == "bold"] == [highlight]
    assert [text.get_text() for text in figure.axes[0].texts] == ["50.0"]  # cut off, and named


def test_comparison_of_another_split():
    table = long_table({("mine", 0, metric): 0.9 for metric in results.HEADLINE})
    on_val = plotting.comparison(table.assign(split="val"), "mine", "val")
    assert bars(on_val.axes[0]) == bars(plotting.comparison(table, "mine").axes[0])


def test_the_final_model_is_highlighted_if_nothing_is_said():
    table = long_table({("final", 0, metric): 0.9 for metric in results.HEADLINE})
    assert plotting.comparison(table).axes[0].get_yticklabels()[0].get_weight() == "bold"


def test_paired_joins_each_column_and_marks_the_means():
    axis = plt.subplots()[1]
    plotting.paired(axis, pd.DataFrame({0: [1.0, 2.0], 1: [3.0, 6.0]}, ["a", "b"]))
    assert [list(line.get_ydata()) for line in axis.lines] == [[1, 2], [3, 6], [2, 4]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]


def test_seeds_draws_each_value_and_the_means():
    values = {("b", 0): 0.5, ("b", 1): 0.7, ("a", 0): 0.9, ("a", 1): 0.8}
    table = long_table({(*key, "auc"): value for key, value in values.items()})
    axis = plotting.seeds(table, ["auc"]).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["b", "a"]
    drawn = [list(line.get_ydata().round(6)) for line in axis.lines]
    assert drawn == [[50, 90], [70, 80], [60, 85]]


def test_reliability_has_a_panel_a_split_and_a_line_a_table():
    tables = dict.fromkeys(("before", "after"), builders.validation_and_test())
    figure = plotting.reliability(tables)
    assert [axis.get_title() for axis in figure.axes] == ["val", "test"]
    assert figure.axes[0].get_legend_handles_labels()[1] == ["before", "after"]
    diagonal = figure.axes[0].lines[0]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]


def test_confusion_counts_every_image_of_the_split():
    table = builders.validation_and_test()
    figure = plotting.confusion({"cnn": table}, splits=("val", "test"))
    assert [axis.get_title() for axis in figure.axes[:2]] == ["cnn, val", "cnn, test"]
    counts = [int(text.get_text().split("\n")[0]) for text in figure.axes[1].texts]
    assert sum(counts) == (table.split == "test").sum()


def test_roc_names_the_best_auc_first():
    good = builders.predictions()
    bad = good.assign(p_pneumonia=1 - good.p_pneumonia)
    labels = plotting.roc({"bad": bad, "good": good}).axes[0].get_legend_handles_labels()[1]
    assert [label.split(",")[0] for label in labels] == ["good", "bad"]
