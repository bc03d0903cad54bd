"""Random changes of training images do what they say, and no more."""

import dataclasses

import numpy as np
import pytest

from helpers.data import Augmentation
from tests import builders

SIDE = 24
EVERYTHING = {
    "rotation": 20.0,
    "shift": 0.2,
    "zoom": (0.7, 1.4),
    "flip": True,
    "brightness": 0.2,
    "contrast": 0.5,
    "blur": 1.5,
    "bands": 1.0,
    "gamma": 1.0,
    "border": 0.2,
    "letters": 0.9,
}


def random_images(count=4, channels=1, seed=0):
    return builders.noise(count, SIDE, seed, channels)


def dots(count=200, row=11, column=11, radius=1):
    """Black images with one white square."""
    images = np.zeros((count, SIDE, SIDE, 1), np.uint8)
    images[:, row - radius : row + radius + 1, column - radius : column + radius + 1] = 255
    return images


def centres(images):
    """Row and column of the centre of brightness of each image."""
    weights = images[..., 0].astype(float)
    place = np.arange(SIDE)
    total = weights.sum(axis=(1, 2))
    return (weights.sum(axis=2) @ place) / total, (weights.sum(axis=1) @ place) / total


def changed(images, seed=0, **options):
    return Augmentation(**options)(images, np.random.default_rng(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_defaults_change_nothing(channels):
    for darkness in (1, 10, 100):
        images = random_images(20, channels) // darkness
        np.testing.assert_array_equal(changed(images), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_uint8_of_their_shape(channels):
    images = random_images(4, channels)
    before = images.copy()
    after = changed(images, **EVERYTHING)
    assert after.dtype == np.uint8 and after.shape == images.shape
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("option", [field.name for field in dataclasses.fields(Augmentation)])
def test_each_option_changes_something_and_follows_the_seed(option):
    images, options = random_images(), {option: EVERYTHING[option]}
    assert EVERYTHING.keys() == {field.name for field in dataclasses.fields(Augmentation)}
    after = changed(images, 1, **options)
    assert (after != images).any()
    np.testing.assert_array_equal(changed(images, 1, **options), after)
    assert (changed(images, 2, **options) != after).any()


def test_each_image_draws_its_own_change():
    images = np.repeat(random_images(1), 5, axis=0)
    after = changed(images, **EVERYTHING)
    assert len(np.unique(after.reshape(5, -1), axis=0)) == 5


def test_flip_mirrors_left_and_right_in_half_of_the_images():
    images = random_images(200)
    after = changed(images, flip=True)
    kept = (after == images).all(axis=(1, 2, 3))
    mirrored = (after == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 70 < kept.sum() < 130


def test_shift_moves_up_to_its_share_of_the_side_along_each_axis():
    rows, columns = centres(changed(dots(), shift=0.25))
    for moved in (rows - 11, columns - 11):
        assert abs(moved).max() <= 6.1
        assert moved.min() < -5 and moved.max() > 5
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.3


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_zoom_magnifies_around_the_centre(zoom):
    rows, columns = centres(changed(dots(1, row=8, column=15), zoom=(zoom, zoom)))
    middle = (SIDE - 1) / 2
    assert rows[0] == pytest.approx(middle + zoom * (8 - middle), abs=0.1)
    assert columns[0] == pytest.approx(middle + zoom * (15 - middle), abs=0.1)


def test_zoom_is_drawn_for_each_axis_by_itself():
    rows, columns = centres(changed(dots(row=8, column=15), zoom=(1.0, 2.0)))
    middle = (SIDE - 1) / 2
    tall, wide = (rows - middle) / (8 - middle), (columns - middle) / (15 - middle)
    for drawn in (tall, wide):
        assert 0.95 <= drawn.min() < 1.1 and 1.9 < drawn.max() <= 2.05
    assert abs(np.corrcoef(tall, wide)[0, 1]) < 0.3


def test_rotation_turns_around_the_centre_by_at_most_its_angle():
    rows, columns = centres(changed(dots(row=11, column=19), rotation=30.0))
    middle = (SIDE - 1) / 2
    radius = np.hypot(rows - middle, columns - middle)
    np.testing.assert_allclose(radius, np.hypot(0.5, 7.5), atol=0.1)
    angle = np.rad2deg(np.arctan2(rows - middle, columns - middle) - np.arctan2(-0.5, 7.5))
    assert abs(angle).max() <= 31
    assert angle.min() < -25 and angle.max() > 25


def test_brightness_adds_up_to_its_share():
    images = np.full((200, SIDE, SIDE, 1), 100, np.uint8)
    added = changed(images, brightness=0.2).astype(int).mean(axis=(1, 2, 3)) - 100
    assert -52 <= added.min() < -45 and 45 < added.max() <= 51
    bright = np.full((50, SIDE, SIDE, 1), 250, np.uint8)
    assert changed(bright, brightness=0.5).max() == 255  # clipped, not wrapped around
    assert changed(bright, brightness=0.5).min() > 120


def test_contrast_stretches_around_the_mean():
    images = np.full((200, SIDE, SIDE, 1), 80, np.uint8)
    images[:, :, ::2] = 120
    after = changed(images, contrast=0.5).astype(int)
    np.testing.assert_allclose(after.mean(axis=(1, 2, 3)), 100, atol=1)
    gain = (after[:, 0, 0, 0] - after[:, 0, 1, 0]) / 40
    assert 0.47 <= gain.min() < 0.6 and 1.4 < gain.max() <= 1.53


def test_blur_only_smooths():
    after = changed(random_images(50), blur=2.0).astype(int)
    before = random_images(50).astype(int)
    step = abs(np.diff(after, axis=1)).mean(axis=(1, 2, 3))
    assert (step <= abs(np.diff(before, axis=1)).mean(axis=(1, 2, 3))).all()
    assert step.max() > 4 * step.min()
    np.testing.assert_allclose(after.mean(), before.mean(), atol=2)


def test_bands_change_the_detail_and_keep_the_mean():
    images = dots()
    flat = np.full_like(images, 90)
    np.testing.assert_array_equal(changed(flat, bands=2.0), flat)
    after = changed(images // 4 + 60, bands=1.0).astype(float)  # leaves room on both sides
    contrast = np.ptp(after, axis=(1, 2)).ravel() / np.ptp((images // 4)[0])
    assert contrast.min() < 0.9 and contrast.max() > 1.2
    assert np.abs(after.mean(axis=(1, 2)) - (images // 4 + 60).mean()).max() < 0.5


def test_gamma_bends_the_curve_and_keeps_black_and_white():
    ramp = np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(1, SIDE, SIDE, 1)
    after = changed(np.repeat(ramp, 100, axis=0), gamma=1.0)
    assert (after[:, 0, 0] == 0).all() and (after[:, -1, -1] == 255).all()
    middle = after[:, SIDE // 2, 0, 0]
    assert middle.min() < 90 and middle.max() > 160  # 127 ** 2 / 255 = 64, (127 * 255) ** .5 = 180
    assert (np.diff(after.reshape(100, -1).astype(int), axis=1) >= 0).all()


def test_a_border_is_black_up_to_its_share():
    white = np.full((50, SIDE, SIDE, 1), 255, np.uint8)
    after = changed(white, border=0.25)
    assert set(np.unique(after)) == {0, 255}
    edge = SIDE // 4
    assert (after[:, edge:-edge, edge:-edge] == 255).all()
    for side in (after[:, 0], after[:, -1], after[:, :, 0], after[:, :, -1]):
        assert (side == 0).any()


def test_letters_are_bright_and_on_their_share_of_the_images():
    black = np.zeros((300, 64, 64, 1), np.uint8)
    after = changed(black, letters=0.5).reshape(300, -1)
    assert 120 < (after.max(axis=1) >= 170).sum() < 180
    assert (after > 0).mean() < 0.1
