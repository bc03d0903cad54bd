"""Lungs: boxes drawn by eye, the network that finds them, crops."""

import numpy as np
import pandas as pd
import pytest

from helpers import data, lungs, models, paths
from helpers.utils import UserError

BOX = np.array([0.2, 0.15, 0.85, 0.7])


def rectangle(box=BOX, side=200):
    """A gray picture with a bright rectangle: uint8, (side, side, 1)."""
    image = np.full((side, side, 1), 60, np.uint8)
    x0, y0, x1, y1 = np.rint(side * box).astype(int)
    image[y0:y1, x0:x1] = 200
    return image


def extent(image):
    """The box of what is brighter than halfway."""
    bright = image[..., 0] > (int(image.min()) + int(image.max())) / 2
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    side = len(image)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / side


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


def test_synthetic_radiographs_have_boxes_of_their_own(index):
    drawn = lungs.drawn_boxes(index)
    assert set(drawn.file) == set(index.file)
    assert (drawn.x0 < 0.5).all() and (drawn.x1 > 0.5).all()
    with pytest.raises(UserError, match="no box of these radiographs"):
        lungs.drawn_boxes(index.assign(file="another.jpeg"))


def test_two_readings_give_their_mean():
    drawn = pd.DataFrame([["a", 1, *BOX], ["a", 2, *(BOX + 0.02)]])
    drawn.columns = ["file", "reading", *lungs.EDGES]
    np.testing.assert_allclose(lungs.mean_boxes(drawn).loc["a"], BOX + 0.01)


@pytest.mark.parametrize("seed", range(30))
def test_a_random_window_knows_where_its_lungs_are(seed):
    window, box = lungs.random_window(rectangle(), BOX, np.random.default_rng(seed))
    assert window.shape == (lungs.SIDE, lungs.SIDE, 1) and window.dtype == np.uint8
    assert np.abs(extent(window) - box).max() < 2.5 / lungs.SIDE


def test_windows_differ_and_repeat_with_their_seed():
    one, again, other = (
        lungs.random_window(rectangle(), BOX, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one[0] == again[0]).all() and (one[1] == again[1]).all()
    assert (one[1] != other[1]).any()


def test_a_crop_holds_its_box_and_a_margin():
    images = rectangle()[None]
    assert lungs.crop(images, [BOX], 64, margin=0)[:, 2:-2, 2:-2].min() == 200
    wide = lungs.crop(images, [BOX], 64, margin=0.1)
    width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
    left, top = 0.1 / (width + 0.2), 0.1 / (height + 0.2)
    np.testing.assert_allclose(extent(wide[0]), [left, top, 1 - left, 1 - top], atol=2 / 64)


def test_what_lies_beyond_the_picture_repeats_its_edge():
    beyond = lungs.crop(rectangle()[None], [[-0.5, -0.5, 0.1, 0.1]], 32, margin=0)
    assert (beyond == 60).all()


def test_overlap_of_boxes():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 1], [0, 0, 0.2, 0.2]])
    others = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0.5, 0.5, 1, 1]])
    np.testing.assert_allclose(lungs.iou(boxes, others), [1, 0.5, 0])


def test_the_localiser_takes_any_size_and_survives_saving(tmp_path, backend):
    model = lungs.localiser(models.InitialWeights())
    images = np.stack([rectangle(side=90), rectangle(BOX / 2, side=90)])
    found = lungs.locate(model, images)
    assert found.shape == (2, 4) and np.isfinite(found).all()
    model.save(tmp_path / "lungs.keras")
    again = models.keras.saving.load_model(tmp_path / "lungs.keras")
    np.testing.assert_array_equal(lungs.locate(again, images), found)


@pytest.mark.real
def test_the_localiser_learns_from_drawn_boxes(real_folder, real_weights, backend):
    table = data.index(real_folder)
    boxes = lungs.mean_boxes(lungs.drawn_boxes(table)).sample(200, random_state=0)
    images = data.load(table.set_index("file").loc[boxes.index], 128)
    initial, boxes = models.initial_weights("mobilenet"), boxes.to_numpy()
    model = lungs.fit_localiser(images[:150], boxes[:150], initial, epochs=16)
    found = lungs.locate(model, images[150:])
    guess = np.broadcast_to(boxes[:150].mean(axis=0), (50, 4))
    learnt, blind = (lungs.errors(one, boxes[150:]).mean() for one in (found, guess))
    assert learnt[lungs.EDGES].mean() < 0.8 * blind[lungs.EDGES].mean()
    assert learnt.iou > blind.iou


def test_data_page_and_table_name_the_same_columns():
    columns = pd.read_csv(paths.LUNG_BOXES, nrows=0).columns
    told = (paths.DATA / "README.md").read_text()
    assert all(f"`{name}`" in told for name in columns)
    assert paths.LUNG_BOXES.name == data.synthetic.LUNG_BOXES
