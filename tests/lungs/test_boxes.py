"""Boxes drawn by eye: what is published, their mean, and how far others are from them."""

import numpy as np
import pandas as pd
import pytest

from helpers import data, lungs, paths
from helpers.utils import UserError
from tests.builders import extent, rectangle

BOX = np.array([0.2, 0.15, 0.85, 0.7])


def test_the_published_boxes_are_of_training_images_and_their_edges_are_in_order():
    drawn = pd.read_csv(paths.LUNG_BOXES, keep_default_na=False)
    known = pd.read_csv(paths.MANIFEST).set_index("file")
    assert len(drawn) == 528 and drawn.file.nunique() == 480
    assert set(known.official_split[drawn.file]) == {"train"}
    assert drawn[lungs.EDGES].stack().between(0, 1).all()
    assert (drawn.x0 < drawn.x1).all() and (drawn.y0 < drawn.y1).all()


def test_the_second_reading_differs_as_the_data_page_says():
    drawn = pd.read_csv(paths.LUNG_BOXES, keep_default_na=False).set_index("file")
    first, second = (drawn[drawn.reading == number] for number in (1, 2))
    first = first.loc[second.index]
    found = lungs.errors(second[lungs.EDGES].to_numpy(), first[lungs.EDGES].to_numpy())
    told = (paths.DATA / "README.md").read_text()
    differences = " / ".join(f"{100 * value:.1f}" for value in found[lungs.EDGES].mean())
    assert f"{differences} %" in told
    assert f"{found.iou.mean():.2f} on average" in told


def test_data_page_and_table_name_the_same_columns():
    columns = pd.read_csv(paths.LUNG_BOXES, nrows=0).columns
    told = (paths.DATA / "README.md").read_text()
    assert all(f"`{name}`" in told for name in columns)
    assert paths.LUNG_BOXES.name == data.synthetic.LUNG_BOXES


def test_synthetic_radiographs_have_boxes_of_their_own(index):
    drawn = lungs.drawn_boxes(index)
    trained_on = set(index.file[index.official_split == "train"])
    assert set(drawn.file) < trained_on
    assert len(drawn) == -(-len(trained_on) // data.synthetic.BOXED)
    assert set(index.set_index("file").label[drawn.file]) == set(data.LABELS)
    assert (drawn.x0 < 0.5).all() and (drawn.x1 > 0.5).all()
    with pytest.raises(UserError, match="no box of these radiographs"):
        lungs.drawn_boxes(index.assign(file="another.jpeg"))


def test_two_readings_give_their_mean():
    drawn = pd.DataFrame([["a", 1, *BOX], ["a", 2, *(BOX + 0.02)]])
    drawn.columns = ["file", "reading", *lungs.EDGES]
    np.testing.assert_allclose(lungs.mean_boxes(drawn).loc["a"], BOX + 0.01)


def test_overlap_of_boxes():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 1], [0, 0, 0.2, 0.2]])
    others = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0.5, 0.5, 1, 1]])
    np.testing.assert_allclose(lungs.iou(boxes, others), [1, 0.5, 0])


def test_errors_are_of_each_edge():
    found = lungs.errors(BOX[None] + [0.1, 0, -0.05, 0], BOX[None], index=["a"])
    np.testing.assert_allclose(found.loc["a", lungs.EDGES].astype(float), [0.1, 0, 0.05, 0])
    assert 0 < found.iou["a"] < 1


@pytest.mark.parametrize(
    "change",
    [{}, {"mirror": True}, {"zoom": (0.8, 0.8)}, {"zoom": (1.1, 1.3), "mirror": True}],
)
def test_a_box_moves_as_its_picture_does(change):
    image = data.transforms.affine(rectangle(BOX), **change)[..., None]
    moved = lungs.moved_boxes(BOX[None], **change)[0]
    np.testing.assert_allclose(extent(image), moved, atol=1.5 / 200)


@pytest.mark.parametrize("angle", [-10, 5, 15])
def test_the_box_of_turned_lungs_depends_on_how_they_fill_theirs(angle):
    image = data.transforms.affine(rectangle(BOX), angle=angle)[..., None]
    corners = lungs.moved_boxes(BOX[None], angle=angle)
    np.testing.assert_allclose(extent(image), corners[0], atol=2.5 / 200)
    middle, half = (BOX[:2] + BOX[2:]) / 2, (BOX[2:] - BOX[:2]) / 2
    rows, columns = np.mgrid[:200, :200]
    places = (np.stack([columns, rows], -1) + 0.5) / 200
    ellipse = (((places - middle) / half) ** 2).sum(axis=-1) < 1
    image = data.transforms.affine(np.uint8(200 * ellipse[..., None]), angle=angle)[..., None]
    oval = lungs.moved_boxes(BOX[None], angle=angle, oval=True)
    np.testing.assert_allclose(extent(image), oval[0], atol=2.5 / 200)
    assert lungs.iou(oval, corners)[0] < 1


def test_a_moved_box_ends_at_the_edge_of_the_picture():
    np.testing.assert_allclose(lungs.moved_boxes(BOX[None], zoom=(3, 3)), [[0, 0, 1, 1]])
