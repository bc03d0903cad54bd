"""Saving and showing figures."""

import matplotlib.pyplot as plt
import pytest

from helpers import plotting, results
from helpers.utils import UserError


def place(folder, dataset):
    return results.Story(folder / "results", folder / "figures", dataset)


@pytest.mark.parametrize(("dataset", "marked"), [("synthetic", True), ("kermany", False)])
def test_a_figure_of_synthetic_data_says_so(tmp_path, dataset, marked):
    figure = plt.figure()
    plotting.save(figure, place(tmp_path, dataset), "plot")
    assert (tmp_path / "figures/plot.png").exists()
    assert ("synthetic radiographs" in [text.get_text() for text in figure.texts]) == marked


def test_a_saved_figure_is_shown_and_a_missing_one_named(tmp_path):
    here = place(tmp_path, "kermany")
    plotting.save(plt.figure(figsize=(8, 2)), here, "plot")
    assert plotting.show(here, "plot").width <= 760
    with pytest.raises(UserError, match=r"other\.png.*make run"):
        plotting.show(here, "other")
