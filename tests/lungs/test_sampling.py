"""Parts of pictures, resampled; gray values brought to one mean and spread."""

import keras
import numpy as np
import pytest
from PIL import Image

from helpers.lungs import sampling
from tests import builders

INSIDE = np.float32([[0.1, 0.2, 0.85, 0.9], [0.33, 0.05, 0.61, 0.97], [0.4, 0.4, 0.6, 0.5]])


def pictures(side=96):
    return np.stack([np.asarray(builders.picture(seed, side, side)) for seed in range(3)])[
        ..., None
    ]


@pytest.mark.parametrize("side", [20, 64, 150])
def test_inside_a_picture_it_resizes_as_pillow_does(side):
    """Pillow keeps 8-bit gray levels between its two passes."""
    images = pictures()
    found = sampling.sample(images.astype(np.float32), INSIDE, side)[..., 0]
    for image, box, one in zip(images[..., 0], 96 * INSIDE, found, strict=True):
        resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR, tuple(box))
        gap = np.abs(one - np.asarray(resized, np.float32))
        assert gap.max() < 1.3 and gap.mean() < 0.4


def test_a_whole_picture_at_its_own_size_stays_as_it_is():
    images = pictures().astype(np.float32)
    whole = np.repeat(np.float32([[0, 0, 1, 1]]), 3, axis=0)
    np.testing.assert_allclose(sampling.sample(images, whole, 96), images, atol=1e-3)


def test_beyond_the_picture_its_edge_is_repeated():
    images = pictures().astype(np.float32)[:1]
    left = sampling.sample(images, np.float32([[-0.5, 0, 0, 1]]), 96)
    np.testing.assert_allclose(left, np.repeat(images[:, :, :1], 96, axis=2), atol=1e-3)


def test_arrays_and_networks_get_the_same_numbers(backend):
    images, boxes = pictures().astype(np.float32), INSIDE + np.float32([-0.3, 0, 0.3, 0.1])
    for side in (32, 120):
        part = sampling.sample(images, boxes, side)
        same = keras.ops.convert_to_numpy(sampling.sample(images, boxes, side, keras.ops))
        np.testing.assert_allclose(same, part, atol=2e-3)
        gray = keras.ops.convert_to_numpy(sampling.standardise(part, keras.ops))
        np.testing.assert_allclose(gray, sampling.standardise(part), atol=2e-3)


def test_standardising_takes_gain_and_offset_out():
    images = 60 + 0.4 * pictures().astype(np.float32)
    plain, exposed = sampling.standardise(images), sampling.standardise(1.5 * images - 40)
    assert np.abs(plain - exposed).max() <= 2  # the 1 beside the spread is not scaled
    for gray in (plain, exposed):
        assert gray.min() >= 0 and gray.max() <= 255
        np.testing.assert_allclose(gray.mean(axis=(1, 2, 3)), sampling.MEAN, atol=3)
        np.testing.assert_allclose(gray.std(axis=(1, 2, 3)), sampling.SPREAD, atol=4)


def test_a_flat_picture_stays_flat():
    flat = np.full((1, 8, 8, 1), 200, np.float32)
    assert (sampling.standardise(flat) == sampling.MEAN).all()
