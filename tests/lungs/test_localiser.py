"""The network that finds the box around the lungs: windows, training, answers, cache."""

import sys

import numpy as np
import pytest

from helpers import data, lungs, models, paths
from helpers.models import keras
from helpers.utils import UserError
from tests.builders import extent, rectangle

BOX = np.array([0.2, 0.15, 0.85, 0.7])


@pytest.mark.parametrize("seed", range(30))
def test_a_random_window_knows_where_its_lungs_are(seed):
    window, box = lungs.random_window(rectangle(BOX), BOX, np.random.default_rng(seed))
    assert window.shape == (lungs.SIDE, lungs.SIDE, 1) and window.dtype == np.uint8
    assert np.abs(extent(window) - box).max() < 2.5 / lungs.SIDE


def test_windows_differ_and_repeat_with_their_seed():
    one, again, other = (
        lungs.random_window(rectangle(BOX), BOX, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one[0] == again[0]).all() and (one[1] == again[1]).all()
    assert (one[1] != other[1]).any()


def test_the_localiser_takes_any_size_and_survives_saving(tmp_path, untrained):
    images = np.stack([rectangle(BOX, 150), rectangle(BOX / 2, 150)])
    boxes, spreads = lungs.locate(untrained, images)
    assert boxes.shape == (2, 4) and spreads.shape == (2,)
    assert np.isfinite(boxes).all() and (spreads > 0).all()
    untrained.save(tmp_path / lungs.FILE)
    again = lungs.open_localiser(tmp_path)
    np.testing.assert_allclose(lungs.locate(again, images)[0], boxes, atol=1e-6)


def test_a_folder_without_a_localiser_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match="run the notebook 11_framing first"):
        lungs.open_localiser(tmp_path)


def test_found_boxes_are_kept_on_disk_for_each_localiser(
    index, untrained, random_localiser, monkeypatch, tmp_path
):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    few = index.iloc[:5]
    boxes = lungs.load_boxes(few, untrained)
    np.testing.assert_array_equal(
        boxes, lungs.locate(untrained, data.load(few, lungs.LOOKED_AT), rounded=True)[0]
    )
    files = set(tmp_path.glob("boxes-*.npy"))
    assert len(files) == 1
    np.testing.assert_array_equal(lungs.load_boxes(few, untrained), boxes)
    other = random_localiser(5)
    assert (lungs.load_boxes(few, other) != boxes).any()
    lungs.load_boxes(few.iloc[:4], untrained)
    assert len(set(tmp_path.glob("boxes-*.npy")) - files) == 2


class Shown:
    """In place of a localiser: remembers what it is shown."""

    def __init__(self):
        self.images = []

    def get_weights(self):
        return []

    def predict_on_batch(self, images):
        self.images.append(images)
        return np.zeros((len(images), 4)), np.zeros((len(images), 1))


def test_kept_boxes_are_found_in_whole_gray_values_and_others_in_what_a_network_would_see(
    index, monkeypatch, tmp_path
):
    """Published fits were trained on crops of such boxes: with others none would come out again."""
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    kept, other = Shown(), Shown()
    lungs.load_boxes(index.iloc[:5], kept)
    lungs.locate(other, data.load(index.iloc[:5], lungs.LOOKED_AT))
    whole = np.rint(other.images[0])
    np.testing.assert_array_equal(kept.images[0], whole)
    assert (other.images[0] != whole).any()


def plain(initial, maps):
    """A network of few weights in place of the localiser."""
    picture = keras.Input((lungs.SIDE, lungs.SIDE, 1))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(16)(picture))
    return keras.Model(picture, [keras.layers.Dense(4)(x), keras.layers.Dense(1)(x)])


def test_a_finished_localiser_comes_from_the_cache(tmp_path, backend, monkeypatch):
    monkeypatch.setattr(sys.modules[lungs.fit_localiser.__module__], "localiser", plain)
    images = np.stack([rectangle(BOX * size, 140) for size in (0.8, 1, 1.1)])
    boxes = BOX * np.array([[0.8], [1], [1.1]])
    initial = models.InitialWeights()

    def fitted(seed=0):
        model = lungs.fit_localiser(images, boxes, initial, seed=seed, epochs=1, cache_dir=tmp_path)
        return lungs.locate(model, images)[0]

    first = fitted()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    fitted()
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert len(list(tmp_path.iterdir())) == 1

    def refused(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(keras.Model, "fit", refused)
    np.testing.assert_array_equal(fitted(), first)
    with pytest.raises(AssertionError, match="trained again"):
        fitted(seed=1)


@pytest.mark.real
@pytest.mark.slow
def test_the_localiser_learns_from_drawn_boxes(real_folder, real_weights, backend):
    table = data.index(real_folder)
    boxes = lungs.mean_boxes(lungs.drawn_boxes(table)).sample(200, random_state=0)
    images = data.load(table.set_index("file").loc[boxes.index], lungs.LOOKED_AT)
    initial, boxes = models.initial_weights("mobilenet"), boxes.to_numpy()
    model = lungs.fit_localiser(images[:150], boxes[:150], initial, epochs=16)
    found, spreads = lungs.locate(model, images[150:])
    guess = np.broadcast_to(boxes[:150].mean(axis=0), (50, 4))
    learnt, blind = (lungs.errors(one, boxes[150:]).mean() for one in (found, guess))
    assert learnt[lungs.EDGES].mean() < 0.8 * blind[lungs.EDGES].mean()
    assert learnt.iou > blind.iou
    assert (spreads < 0.3).all()
