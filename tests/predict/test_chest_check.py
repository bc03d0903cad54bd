"""The chest check: upright frontal chests pass, whatever their exposure, and nothing else does."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from helpers import data, predict
from helpers.predict import chest_check
from tests import builders


def no_chests(images):
    """Pictures that are no upright frontal chest X-rays, by kind, made from those that are."""
    generator = np.random.default_rng(0)
    photographs = [
        Image.fromarray(photo[top : top + size, left : left + size]).convert("L")
        for photo in load_sample_images().images
        for size in (120, 200, 400)
        for top in range(0, 427 - size, 60)
        for left in range(0, 640 - size, 60)
    ]
    side = images.shape[1]
    small = [np.asarray(photo.resize((side, side)))[..., None] for photo in photographs]
    return {
        "turned by 90 degrees": np.rot90(images, 1, (1, 2)),
        "turned by 270 degrees": np.rot90(images, 3, (1, 2)),
        "turned by 180 degrees": np.rot90(images, 2, (1, 2)),
        "upside down": images[:, ::-1],
        "negative": 255 - images,
        "noise": generator.integers(0, 256, (50, side, side, 1), dtype=np.uint8),
        "flat": np.full((3, side, side, 1), [[[[0]]], [[[100]]], [[[255]]]], np.uint8),
        "photographs": np.stack(small),
    }


def test_synthetic_radiographs_pass_and_other_pictures_do_not(pictures, check):
    images, _, split = pictures
    test = images[split == "test"]
    assert predict.is_frontal_chest(test, check).mean() > 0.85
    for kind, others in no_chests(test).items():
        assert not predict.is_frontal_chest(others, check).any(), kind


def test_exposure_does_not_matter(pictures, check):
    images = pictures[0][pictures[2] == "train"]
    for exponent in (0.5, 2):
        changed = (255 * (images / 255) ** exponent).astype(np.uint8)
        assert predict.is_frontal_chest(changed, check).mean() > 0.9


def test_the_share_that_was_asked_for_is_accepted(pictures):
    images, _, split = pictures
    train, val = images[split == "train"], images[split == "val"]
    strict, lenient = (predict.fit_chest_check(train, val, share) for share in (0.5, 1.0))
    assert strict["most_unexplained"] < lenient["most_unexplained"]


def test_the_check_is_the_same_after_json(pictures, check):
    images = pictures[0]
    again = json.loads(json.dumps(check))
    assert again == check
    assert np.array_equal(
        predict.is_frontal_chest(images, again), predict.is_frontal_chest(images, check)
    )


@pytest.mark.real
def test_the_check_on_real_radiographs(real_folder):
    table = data.split(data.index(real_folder), "official", seed=0)[::3]
    images = data.load(table, 64)
    parts = (images[(table.split == part).to_numpy()] for part in ("train", "val", "test"))
    train, val, test = parts
    check = predict.fit_chest_check(train, val)
    assert predict.is_frontal_chest(test, check).mean() > 0.98
    for kind, others in no_chests(test[::2]).items():
        assert predict.is_frontal_chest(others, check).mean() < 0.02, kind


def test_what_is_inside_a_box_does_not_depend_on_the_frame():
    image = builders.noise(1, 100)
    framed = np.pad(image, [(0, 0), (20, 30), (10, 40), (0, 0)])
    boxes = np.array([[0.1, 0.2, 0.6, 0.9]])
    shifted = (100 * boxes + [10, 20, 10, 20]) / 150
    (one,), (other,) = chest_check.inside(image, boxes), chest_check.inside(framed, shifted)
    np.testing.assert_array_equal(one, other)
    assert one.shape == (70, 50, 1)


def test_a_box_beyond_the_picture_is_cut_off_and_one_without_size_is_left_aside():
    image = builders.noise(1, 100)
    (beyond,) = chest_check.inside(image, np.array([[-0.2, 0.5, 1.3, 1.1]]))
    np.testing.assert_array_equal(beyond, image[0, 50:])
    (whole,) = chest_check.inside(image, np.array([[0.5, 0.2, 0.52, 0.9]]))
    np.testing.assert_array_equal(whole, image[0])
