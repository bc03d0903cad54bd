"""Lung crops: as arrays, on disk, and as part of a network."""

import keras
import numpy as np

from helpers import data, lungs, paths
from helpers.lungs import sampling
from tests.builders import answer, extent, picture, rectangle

BOX = np.array([0.2, 0.15, 0.85, 0.7])


def test_a_crop_holds_its_box_and_a_margin():
    images = rectangle(BOX)[None]
    inner = lungs.crop(images, [BOX], 64, margin=0, standardised=False)
    assert inner[:, 2:-2, 2:-2].min() == 200
    for standardised in (False, True):
        wide = lungs.crop(images, [BOX], 64, margin=0.1, standardised=standardised)
        width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
        left, top = 0.1 / (width + 0.2), 0.1 / (height + 0.2)
        np.testing.assert_allclose(extent(wide[0]), [left, top, 1 - left, 1 - top], atol=2 / 64)


def test_what_lies_beyond_the_picture_repeats_its_edge():
    boxes = [[-0.5, -0.5, 0.1, 0.1]]
    beyond = lungs.crop(rectangle(BOX)[None], boxes, 32, margin=0, standardised=False)
    assert (beyond == 60).all()


def test_more_crops_than_a_batch_are_those_of_single_pictures():
    images = np.stack([np.asarray(picture(seed, 40, 40)) for seed in range(70)])[..., None]
    boxes = np.random.default_rng(0).uniform([0, 0, 0.6, 0.6], [0.4, 0.4, 1, 1], (70, 4))
    together = lungs.crop(images, boxes, 24)
    assert together.shape == (70, 24, 24, 1) and together.dtype == np.uint8
    for row in (0, 63, 64, 69):
        alone = lungs.crop(images[row : row + 1], boxes[row : row + 1], 24)
        np.testing.assert_array_equal(together[row], alone[0])


def test_standardised_crops_have_one_mean_and_spread():
    images = np.stack([np.asarray(picture(seed, 80, 80)) // 3 for seed in range(4)])[..., None]
    plain, standard = (
        lungs.crop(images, [BOX] * 4, 48, standardised=one).astype(float) for one in (False, True)
    )
    np.testing.assert_allclose(standard.mean(axis=(1, 2, 3)), sampling.MEAN, atol=3)
    np.testing.assert_allclose(standard.std(axis=(1, 2, 3)), sampling.SPREAD, atol=4)
    assert plain.mean() < sampling.MEAN - 20


def test_crops_are_kept_on_disk_for_each_localiser(
    index, untrained, random_localiser, monkeypatch, tmp_path
):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    few = index.iloc[:5]
    crops = lungs.load_crops(few, untrained, 40)
    assert crops.shape == (5, 40, 40, 1) and not crops.flags.writeable
    images, boxes = data.load(few, lungs.LOOKED_AT), lungs.load_boxes(few, untrained)
    np.testing.assert_array_equal(crops, lungs.crop(images, boxes, 40))
    kept = list(tmp_path.glob("crops-*.npy"))
    np.testing.assert_array_equal(lungs.load_crops(few, untrained, 40), crops)
    assert list(tmp_path.glob("crops-*.npy")) == kept
    other = lungs.load_crops(few, random_localiser(5), 40)
    assert (other != crops).any()
    lungs.load_crops(few, untrained, 40, margin=0.1)
    lungs.load_crops(few, untrained, 40, standardised=False)
    assert len(list(tmp_path.glob("crops-*.npy"))) == 4


def finder():
    """A localiser whose boxes follow from the brightness of a picture."""
    image = keras.Input((lungs.SIDE, lungs.SIDE, 1))
    mean = keras.ops.mean(image, axis=(1, 2)) / 255
    return keras.Model(image, [mean * 0.2 + np.float32([[0.1, 0, 0.7, 0.8]]), mean])


def judge():
    """A classifier that weighs each pixel."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 1))
    x = keras.layers.Flatten()(image / 255)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))


def test_one_network_finds_crops_and_answers(index, tmp_path):
    """`crop` rounds to whole gray values, the network does not."""
    images = np.asarray(data.load(index.iloc[:4], lungs.LOOKED_AT))
    localiser, classifier = finder(), judge()
    whole = lungs.with_crop(classifier, localiser)
    found = answer(whole, images)
    boxes, spreads = lungs.locate(localiser, images)
    np.testing.assert_allclose(found["boxes"], boxes, atol=1e-3)
    np.testing.assert_allclose(found["spread"][:, 0], spreads, atol=1e-3)
    expected = answer(classifier, lungs.crop(images, found["boxes"], 32))
    np.testing.assert_allclose(found["probabilities"], expected, atol=5e-3)
    assert np.ptp(expected, axis=0).max() > 0.01  # else nothing could differ
    whole.save(tmp_path / "whole.keras")
    again = answer(keras.saving.load_model(tmp_path / "whole.keras", compile=False), images)
    assert again.keys() == found.keys() == {"probabilities", "boxes", "spread"}
    for name, values in found.items():
        np.testing.assert_allclose(again[name], values, atol=1e-5)


def test_the_parts_of_that_network_can_be_had():
    whole = lungs.with_crop(judge(), finder())
    assert whole.get_layer("localiser").input_shape[1:] == (lungs.SIDE, lungs.SIDE, 1)
    assert whole.get_layer("classifier").input_shape[1:] == (32, 32, 1)
