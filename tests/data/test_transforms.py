"""Each operation does what its name says, and leaves the image that it is given alone."""

import numpy as np
import pytest

from helpers import data
from helpers.data import transforms
from tests import builders

SIDE = 32
OPERATIONS = {
    "to_uint8": {},
    "blur": {"sigma": 1.5},
    "sharpen": {"sigma": 1.0, "amount": 1.5},
    "gain_bands": {"gains": [2.0, 1.0, 0.5]},
    "gamma": {"exponent": 0.5},
    "contrast": {"gain": 1.5, "offset": 10},
    "affine": {"zoom": (1.2, 0.8), "angle": 10, "shift": (2, -1), "mirror": True},
    "coarsen": {"share": 0.5},
    "compress": {"quality": 15},
    "write_text": {"text": "R", "place": (2, 20), "size": 0.5, "gray": 255, "stroke": 1},
    "blacken_border": {"shares": [0.1, 0.2, 0, 0.3]},
}
UINT8 = {"to_uint8", "blur", "affine", "coarsen", "compress", "write_text", "blacken_border"}


def image(seed=0):
    return builders.noise(1, SIDE, seed)[0, ..., 0]


def dot(row, column):
    """Black, with one white square of three pixels around a place."""
    black = np.zeros((SIDE, SIDE), np.uint8)
    black[row - 1 : row + 2, column - 1 : column + 2] = 255
    return black


def centre(picture):
    """Row and column of the centre of brightness."""
    weights, place = picture.astype(float), np.arange(SIDE)
    return weights.sum(axis=1) @ place / weights.sum(), weights.sum(axis=0) @ place / weights.sum()


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_keeps_the_shape_and_leaves_its_image_alone(name):
    before = image()
    kept = before.copy()
    after = getattr(transforms, name)(before, **OPERATIONS[name])
    assert after.shape == before.shape
    assert (after.dtype == np.uint8) == (name in UINT8)
    np.testing.assert_array_equal(before, kept)
    again = getattr(transforms, name)(before, **OPERATIONS[name])
    np.testing.assert_array_equal(again, after)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"to_uint8"}))
def test_an_operation_changes_something(name):
    assert (getattr(transforms, name)(image(), **OPERATIONS[name]) != image()).any()


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("sharpen", {"sigma": 1.0, "amount": 0.0}),
        ("gain_bands", {"gains": [1.0, 1.0, 1.0]}),
        ("gamma", {"exponent": 1.0}),
        ("contrast", {"gain": 1.0}),
        ("affine", {}),
        ("coarsen", {"share": 1.0}),
        ("blacken_border", {"shares": [0, 0, 0, 0]}),
    ],
)
def test_no_strength_is_no_change(name, strength):
    after = transforms.to_uint8(getattr(transforms, name)(image(), **strength))
    np.testing.assert_array_equal(after, image())


def test_to_uint8_rounds_and_cuts_off():
    values = np.array([[-3.0, 0.4, 0.6], [254.6, 300.0, 2.0]])
    assert transforms.to_uint8(values).tolist() == [[0, 0, 1], [255, 255, 2]]


def test_a_blur_smooths_and_a_sharpened_image_has_more_detail():
    before = data.sharpness(image()[None, ..., None])
    steps = [
        data.sharpness(change[None, ..., None])
        for change in (
            transforms.blur(image(), 1.0),
            transforms.sharpen(image(), 1.0, 1.0),
            transforms.coarsen(image(), 0.5),
        )
    ]
    assert steps[0] < before / 2 and steps[1] > 1.5 * before and steps[2] < before


def test_a_gain_acts_on_its_band_of_detail():
    across = np.indices((64, 64))[0]
    fine, coarse = across // 2 % 2, across // 16 % 2
    for pattern, band in ((fine, 0), (coarse, 3)):
        picture = (100 + 50 * pattern).astype(np.uint8)
        spreads = []
        for number in (0, 3):
            gains = np.ones(4)
            gains[number] = 3
            spreads.append(transforms.gain_bands(picture, gains).std())
        assert (spreads[0] > spreads[1]) == (band == 0)


def test_a_curve_keeps_black_and_white():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dark, bright = transforms.gamma(ramp, 2.0), transforms.gamma(ramp, 0.5)
    for curve in (dark, bright):
        assert (curve.min(), curve.max()) == (0, 255)
        assert (np.diff(curve.ravel()) > 0).all()
    assert (dark <= ramp).all() and (bright >= ramp).all()


def test_contrast_stretches_around_the_mean_and_adds_the_offset():
    picture = np.tile(np.array([80, 120], np.uint8), (4, 2))
    after = transforms.contrast(picture, 1.5, 20)
    assert after[0].tolist() == [90, 150, 90, 150]


@pytest.mark.parametrize(
    ("change", "row", "column"),
    [
        ({"shift": (5, -3)}, 7, 25),
        ({"zoom": (1.5, 1.0)}, 10, 15.5 + 1.5 * 4.5),
        ({"zoom": (0.5, 0.5)}, 15.5 - 0.5 * 5.5, 15.5 + 0.5 * 4.5),
        ({"mirror": True}, 10, 11),
        ({"angle": 90}, 20, 21),
        ({"angle": 90, "mirror": True}, 11, 21),
    ],
)
def test_an_affine_change_moves_a_dot(change, row, column):
    found = centre(transforms.affine(dot(10, 20), **change))
    assert found == pytest.approx((row, column), abs=0.1)


def test_what_comes_in_from_outside_is_black_or_the_edge():
    white = np.full((SIDE, SIDE), 200, np.uint8)
    assert transforms.affine(white, zoom=(0.5, 0.5))[0, 0] == 0
    assert (transforms.affine(white, zoom=(0.5, 0.5), repeat_edge=True) == 200).all()


def test_a_compressed_image_differs_the_more_the_lower_its_quality():
    errors = [
        np.abs(transforms.compress(image(), quality).astype(int) - image()).mean()
        for quality in (5, 50, 95)
    ]
    assert errors[0] > errors[1] > errors[2] > 0


def test_letters_are_where_they_are_wanted():
    black = np.zeros((64, 64), np.uint8)
    after = transforms.write_text(black, "R", (10, 40), 0.5, 200, 2)
    rows, columns = np.nonzero(after)
    assert after.max() == 200
    assert rows.min() > 25 and rows.max() < 44 and columns.min() > 8 and columns.max() < 26


def test_a_border_is_black_by_its_shares():
    white = np.full((20, 20), 255, np.uint8)
    after = transforms.blacken_border(white, [0.1, 0.2, 0.3, 0])
    assert (after[2:16, 6:] == 255).all()
    assert after.sum() == 14 * 14 * 255


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"compress"}))
def test_channels_are_changed_alike(name):
    colour = np.repeat(image()[..., None], 3, axis=2)
    after = getattr(transforms, name)(colour, **OPERATIONS[name])
    alone = getattr(transforms, name)(image(), **OPERATIONS[name])
    for channel in range(3):
        np.testing.assert_allclose(after[..., channel], alone, atol=1e-3)
