"""Figures of images and of how many there are."""

import numpy as np
import pandas as pd

from helpers import plotting
from tests import builders


def test_a_montage_has_rows_of_the_given_length_and_colored_titles(images):
    figure = plotting.montage(images[:5], ["normal", "virus a", "b", "c", "d"], columns=3)
    assert len(figure.axes) == 6
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 1, 1, 0]
    colors = [axis.title.get_color() for axis in figure.axes[:3]]
    assert colors == [plotting.COLORS["normal"], plotting.COLORS["virus"], "black"]


def test_image_rows_names_its_rows_and_titles_its_columns(images):
    gray = images[:3, ..., 0]
    color = np.repeat(images[:3], 3, axis=-1)
    figure = plotting.image_rows({"picture": gray, "heat": color}, ["a", "b", "c"], ["red"] * 3)
    shown = np.array(figure.axes).reshape(2, 3)
    assert [axis.get_ylabel() for axis in shown[:, 0]] == ["picture", "heat"]
    assert [axis.get_title() for axis in shown[0]] == ["a", "b", "c"]
    assert shown[0, 0].title.get_color() == "red"
    assert np.array_equal(shown[1, 2].images[0].get_array(), color[2])


def test_image_rows_has_black_titles_unless_told_otherwise(images):
    figure = plotting.image_rows({"picture": images[:1, ..., 0]}, ["a"])
    assert figure.axes[0].title.get_color() == "black"


def test_image_rows_says_what_its_colors_mean(images):
    legend = {"ill": (255, 0, 0), "seen": None}
    [named] = plotting.image_rows({"x": images[:1, ..., 0]}, ["a"], legend=legend).legends
    assert [text.get_text() for text in named.get_texts()] == ["ill", "seen"]
    ill, seen = named.get_patches()
    assert ill.get_facecolor() == (1, 0, 0, 1) and seen.get_facecolor()[3] == 0


def test_weights_are_drawn_around_zero():
    weights = np.array([[-1.0, 0.5], [0.0, 0.25]])
    figure = plotting.weights_on_image(weights, np.zeros((2, 2)))
    assert figure.axes[1].images[0].get_clim() == (-1, 1)


def test_label_counts_has_the_images_of_each_label():
    table = pd.DataFrame(
        {
            "official_split": ["train", "train", "test", "test"],
            "label": ["normal", "pneumonia", "normal", "normal"],
        }
    )
    axis = plotting.label_counts(table, "official_split").axes[0]
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axis.containers}
    assert heights == {"normal": [2, 1], "pneumonia": [0, 1]}
    assert axis.get_xlabel() == "official split"


def test_an_answer_shows_box_crop_and_probabilities():
    picture, crop = builders.noise(1, 100)[0, ..., 0], builders.noise(1, 50)[0, ..., 0]
    shares = {"normal": 0.1, "bacteria": 0.7, "virus": 0.2}
    whole, part, chances = plotting.answer(picture, [0.1, 0.2, 0.7, 0.9], crop, shares).axes
    assert np.allclose(whole.patches[0].get_bbox().extents, [10, 20, 70, 90])
    np.testing.assert_array_equal(part.images[0].get_array(), crop)
    assert [bar.get_width() for bar in chances.patches] == [0.1, 0.7, 0.2]
    assert [text.get_text() for text in chances.texts] == ["10 %", "70 %", "20 %"]
