"""Simple features of radiographs."""

import numpy as np
import pandas as pd
import pytest

from helpers import data
from helpers.data import features


def test_pixels_are_shrunk_by_area():
    image = np.zeros((1, 16, 16, 1), np.uint8)
    image[0, :4, 4:8] = 255
    flat = data.pixels(image, 4)
    assert flat.shape == (1, 16) and flat.dtype == np.float32
    assert flat[0].tolist() == [0, 1] + [0] * 14


@pytest.mark.parametrize("side", [16, 24, 33, 64])
def test_texture_tells_fine_from_coarse_at_any_side(side):
    across = np.indices((side, side))[0]
    fine, coarse = across // 2 % 2, across // (side // 2)
    stack = (100 + 50 * np.stack([fine, coarse])[..., None]).astype(np.uint8)
    bands = data.texture(stack)
    assert bands.shape == (2, features.BANDS) and np.isfinite(bands).all()
    assert bands[0, 0] > bands[1, 0]
    assert bands[0, 2] < bands[1, 2]


def test_texture_does_not_know_the_brightness():
    image = np.random.default_rng(0).integers(0, 100, (1, 64, 64, 1), dtype=np.uint8)
    np.testing.assert_allclose(data.texture(image), data.texture(image + 100), atol=1e-4)


def test_sharpness_is_the_mean_step_between_rows():
    rows = np.zeros((2, 8, 8, 1), np.uint8)
    rows[0, ::2] = 10  # lines across
    rows[1, :, ::2] = 10  # lines down
    assert data.sharpness(rows).tolist() == [10, 0]


def test_brightness_is_the_mean_gray_level():
    images = np.zeros((2, 4, 4, 1), np.uint8)
    images[1, :2] = 100
    assert data.brightness(images).tolist() == [0, 50]


def test_metadata_is_size_and_shape():
    table = pd.DataFrame({"width": [100, 200], "height": [100, 100]})
    expected = np.log([[100, 100, 1], [200, 100, 2]])
    np.testing.assert_allclose(data.metadata(table), expected)
    assert data.has_originals(table)
    assert not data.has_originals(table.head(1))
