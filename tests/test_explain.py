"""Heat maps against automatic differentiation and hand-made networks; regions of a picture."""

import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from helpers import explain
from helpers.models import Calibration, Ensemble, head, keras
from helpers.utils import UserError
from tests.builders import network, noise

layers = keras.layers

SIDE = 16


def ensemble(members):
    networks = tuple(network(seed) for seed in range(members))
    return Ensemble(networks, Calibration(scale=1.5, shift=-0.3))


def alone(*given, **options):
    return Ensemble((network(*given, **options),))


@pytest.fixture(scope="module")
def pictures():
    return noise(5, SIDE)


@pytest.fixture(scope="module")
def trio():
    return ensemble(3)


def by_differentiation(parts, pictures):
    """Evidence by automatic differentiation of everything behind the feature maps."""
    bodies = [keras.Model(part.input, part.get_layer("features").input) for part in parts.members]
    maps = [tf.convert_to_tensor(body(pictures)) for body in bodies]
    with tf.GradientTape() as tape:
        tape.watch(maps)
        ends = [
            part.get_layer("probability")(part.get_layer("features")(x))
            for part, x in zip(parts.members, maps, strict=True)
        ]
        p = sum(ends) / len(ends)
        if parts.calibration:
            scale, shift = dataclasses.astuple(parts.calibration)
            p = tf.nn.softmax(scale * tf.math.log(p) + [0, shift, shift])
        if p.shape[1] == 1:
            odds = tf.math.log(p[:, 0] / (1 - p[:, 0]))
        else:
            odds = tf.math.log((p[:, 1] + p[:, 2]) / p[:, 0])
    gradients = tape.gradient(odds, maps)
    total = np.zeros(pictures.shape[:3])
    for x, gradient in zip(maps, gradients, strict=True):
        weights = gradient.numpy().sum(axis=(1, 2), keepdims=True)  # of the mean of a map
        total += [cv2.resize(y, (SIDE, SIDE)) for y in (weights * x.numpy()).sum(axis=3)]
    return total


@pytest.mark.parametrize("classes", [2, 3])
def test_evidence_of_one_network_is_what_automatic_differentiation_gives(classes, pictures):
    single = alone(7, classes)
    found = explain.evidence(single, pictures)
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, by_differentiation(single, pictures), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("calibration", [None, Calibration(scale=1.5, shift=-0.3)])
@pytest.mark.parametrize("members", [1, 3])
def test_evidence_of_an_ensemble_is_what_automatic_differentiation_gives(
    members, calibration, pictures
):
    several = dataclasses.replace(ensemble(members), calibration=calibration)
    found = explain.evidence(several, pictures)
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, by_differentiation(several, pictures), rtol=1e-3, atol=1e-5)


def test_evidence_does_not_depend_on_the_batch(trio, pictures, monkeypatch):
    whole = explain.evidence(trio, pictures)
    monkeypatch.setattr(explain, "BATCH", 2)
    np.testing.assert_allclose(explain.evidence(trio, pictures), whole, rtol=1e-4, atol=1e-6)


def test_mean_evidence_of_two_classes_adds_up_to_the_log_odds(pictures):
    model = network(7, classes=2)
    bias = model.get_layer("probability").get_weights()[1]
    means = explain.evidence(Ensemble((model,)), pictures).mean(axis=(1, 2)) + bias
    expected = explain.log_odds(model.predict(pictures, verbose=0))
    np.testing.assert_allclose(means, expected, atol=0.02)  # enlarging weighs the rim a little more


def test_heat_is_scaled_for_each_picture_and_empty_where_nothing_speaks_for_pneumonia(pictures):
    model = network(7, classes=2)
    heat = explain.scaled(explain.evidence(Ensemble((model,)), pictures))
    assert heat.dtype == np.float32 and heat.shape == (5, SIDE, SIDE)
    np.testing.assert_allclose(heat.max(axis=(1, 2)), 1)
    assert heat.min() >= 0
    weights, bias = model.get_layer("probability").get_weights()
    model.get_layer("probability").set_weights([-np.abs(weights), bias])
    assert not explain.scaled(explain.evidence(Ensemble((model,)), pictures)).any()


def test_a_network_of_another_kind_is_refused(pictures):
    def refused(*given):
        explain.evidence(Ensemble((keras.Model(*given),)), pictures)

    inputs, own = keras.Input((SIDE, SIDE, 1)), network(1)
    with pytest.raises(UserError, match="no mean of maps"):
        refused(inputs, head(layers.Flatten(name="features")(inputs), 3))
    with pytest.raises(UserError, match="no layers features"):
        refused(inputs, head(layers.Flatten()(inputs), 3))
    with pytest.raises(UserError, match="no layers features"):
        refused(own.input, layers.Average()([own(own.input), network(2)(own.input)]))
    with pytest.raises(UserError, match="unknown way"):
        refused(own.input, head(layers.Rescaling(3.0)(own.get_layer("features").output), 3))


def test_log_odds_of_two_and_three_classes_and_at_the_ends():
    three = explain.log_odds(np.array([[0.2, 0.3, 0.5], [1, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(three[0], np.log(0.8 / 0.2))
    assert np.isfinite(three).all() and three[1] < -20 < 20 < three[2]
    np.testing.assert_allclose(
        explain.log_odds(np.array([[0.8], [0.5]])), [np.log(4), 0], atol=1e-9
    )


def looks_at(row, column, size=8, side=40):
    """A network whose log-odds follow the contrast in one patch and nothing else."""
    mask = np.zeros((side, side, 1), np.float32)
    mask[row : row + size, column : column + size] = 1
    mask[row : row + size, column : column + size : 2] = -1  # against its stripes
    inputs = keras.Input((side, side, 1))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    out = layers.Dense(1, activation="sigmoid", name="probability")
    model = keras.Model(inputs, out(x))
    out.set_weights([mask.reshape(-1, 1) * 0.1, np.zeros(1)])
    return model


def test_occlusion_finds_the_one_patch_that_counts():
    picture = np.full((2, 40, 40, 1), 100, np.uint8)
    picture[0, :, 1::2] = 200  # stripes: the patch speaks for pneumonia, in the second it does not
    drop = explain.occlusion(looks_at(8, 24), picture, patch=0.2, stride=0.1)
    assert drop.shape == (2, 40, 40)
    assert np.all(np.abs(np.array(np.unravel_index(drop[0].argmax(), (40, 40))) - (12, 28)) <= 5)
    assert drop[0, 8:16, 24:32].mean() > 3 * drop[0].mean() > 0
    assert drop[0, 25:, :16].max() < 1e-6 and np.abs(drop[1]).max() < 1e-6


def test_erased_blurs_where_it_is_told_to():
    picture = noise(2, 40)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    clean = explain.erased(picture, mask)
    assert clean.dtype == np.uint8
    assert np.array_equal(clean[:, ~mask], picture[:, ~mask])
    assert clean[:, mask].std() < 0.2 * picture[:, mask].std()


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_randomised_shuffles_from_the_output_down_and_leaves_the_model_alone(share, trio):
    before = [weights for member in trio.members for weights in member.get_weights()]
    copy = explain.randomised(trio, share, seed=1)
    after = [weights for member in trio.members for weights in member.get_weights()]
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert copy.calibration == trio.calibration
    changed = 0
    for old, new in zip(trio.members, copy.members, strict=True):
        old, new = ([x for x in net.layers if x.weights] for net in (old, new))
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            pairs = list(zip(one.get_weights(), other.get_weights(), strict=True))
            assert all(np.array_equal(np.sort(a, None), np.sort(b, None)) for a, b in pairs)
            same = all(np.array_equal(a, b) for a, b in pairs)
            changed += not same
            if place < np.floor((1 - share) * len(old)):
                assert same
    assert changed >= len(trio.members) * max(1, int(share * 5) - 2)


def test_the_maps_of_shuffled_weights_differ(trio, pictures):
    maps = explain.evidence(trio, pictures)
    other = explain.evidence(explain.randomised(trio), pictures)
    np.testing.assert_allclose(explain.similarity(maps, maps), 1)
    assert np.abs(explain.similarity(maps, other)).mean() < 0.9
    np.testing.assert_allclose(explain.similarity(maps, -maps), -1)
    assert not explain.similarity(maps, np.ones_like(maps)).any()


def test_overlay_shows_the_plain_picture_without_heat_and_colour_with_it(pictures):
    picture = pictures[0, ..., 0]
    plain = explain.overlay(picture, np.zeros((SIDE, SIDE)))
    assert plain.dtype == np.uint8
    assert np.array_equal(plain, np.repeat(picture[..., None], 3, axis=2))
    for heat, more, less in ((1, 0, 2), (-1, 2, 0)):  # orange, blue; on black and on white
        hot = explain.overlay(picture, np.full((SIDE, SIDE), heat)).astype(int)
        assert (hot[..., more] > hot[..., less] + 100).all()
        assert hot.std(axis=(0, 1)).min() > 0  # the picture shines through


def test_scaled_keeps_what_is_above_zero_and_balanced_the_sign():
    maps = np.array([[[-4.0, 2.0]], [[0.0, 0.0]], [[-1.0, -2.0]]])
    np.testing.assert_allclose(explain.scaled(maps), [[[0, 1]], [[0, 0]], [[0, 0]]])
    np.testing.assert_allclose(explain.balanced(maps), [[[-1, 0.5]], [[0, 0]], [[-0.5, -1]]])


def drawn(side=160):
    """A chest as smooth shapes with soft ribs, without and with an R and a line of text."""
    y, x = np.mgrid[:side, :side] / side
    body = (
        60 + 100 * np.exp(-(((x - 0.5) / 0.35) ** 4)) + 15 * np.sin(40 * y) * (abs(x - 0.5) < 0.4)
    )
    plain = cv2.GaussianBlur(body.astype(np.uint8), (0, 0), 2)
    marked = plain.copy()
    cv2.putText(marked, "R", (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 250, 1)
    cv2.putText(marked, "KV", (140, 156), cv2.FONT_HERSHEY_SIMPLEX, 0.3, 250, 1)
    return np.stack([plain, marked])[..., None]


def test_markers_are_found_where_they_are_drawn_and_nowhere_else():
    images = drawn()
    masks = explain.markers(images)
    letters = np.abs(images[1, ..., 0].astype(int) - images[0, ..., 0]) > 60
    assert masks.shape == (2, 160, 160) and masks.dtype == bool
    assert not masks[0].any()
    assert (masks[1] & letters).sum() > 0.9 * letters.sum()
    assert masks[1].sum() < 6 * letters.sum()
    assert not masks[1, 30:140].any()


def test_parts_of_a_crop_are_the_lungs_box_its_margin_and_thirds():
    boxes = np.array([[0.2, 0.1, 0.8, 0.9], [0.0, 0.3, 1.0, 0.7]])
    masks = explain.parts(boxes, margin=0.1, side=200)
    inside = masks["lungs' box"]
    whole = [[1 / 8, 7 / 8, 0.1, 0.9], [1 / 12, 11 / 12, 1 / 6, 5 / 6]]
    for mask, (x0, x1, y0, y1) in zip(inside, whole, strict=True):
        columns, rows = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
        edges = [columns[0], columns[-1] + 1, rows[0], rows[-1] + 1]
        np.testing.assert_allclose(edges, 200 * np.array([x0, x1, y0, y1]), atol=0.51)
    assert np.array_equal(masks["margin"], ~inside)
    down = [masks[f"{name} third"] for name in ("top", "middle", "bottom")]
    across = [masks[f"{name} third"] for name in ("left", "centre", "right")]
    for thirds in (down, across):
        assert (np.sum(thirds, axis=0) == 1).all()
        assert all(third.mean() == pytest.approx(1 / 3, abs=0.01) for third in thirds)
    assert down[0][0, 0].all() and across[2][0, :, -1].all()


def test_without_a_margin_the_box_is_the_whole_crop():
    masks = explain.parts(np.array([[0.2, 0.1, 0.8, 0.9]]), margin=0, side=20)
    assert masks["lungs' box"].all() and not masks["margin"].any()


def test_shares_of_heat_in_regions():
    side = 20
    box = explain.parts(np.array([[0.2, 0.1, 0.8, 0.9]]), 0.1, side)["lungs' box"][0]
    even, focused, none = np.ones((side, side)), box.astype(float), np.zeros((side, side))
    table = explain.shares(np.stack([even, focused, none]), box)
    np.testing.assert_allclose(table.density[:2], [1, 400 / box.sum()])
    assert table.heat[1] == 1 and np.isnan(table.heat[2])
    assert explain.shares(even[None], np.zeros((side, side), bool)).density.isna().all()


def test_even_evidence_has_the_density_that_each_region_gets_for_nothing(trio):
    region = np.zeros((SIDE, SIDE), bool)
    region[:3, 4:] = True
    for even in (explain.even_evidence(trio, SIDE), explain.even_occlusion(SIDE, 0.3, 0.2)):
        assert even.shape == (1, SIDE, SIDE)
        np.testing.assert_allclose(explain.shares(even, region).density, 1)


def test_the_heat_of_others_is_laid_on_each_region():
    left, right, none = np.zeros((3, 1, 4))
    left[0, :2], right[0, 2:] = 1, 1
    heat = np.stack([left, right, right, none, left])
    masks = np.array([left, right, right, left, left], bool)
    own = explain.shares(heat, masks).heat
    others = explain.shares_of_others(heat, masks, np.array([0, 0, 0, 0, 1]))
    np.testing.assert_allclose(own, [1, 1, 1, np.nan, 1])
    np.testing.assert_allclose(others, [0, 0.5, 0.5, np.nan, np.nan])
    alike = explain.shares_of_others(heat[:3], np.array([True, False, False, True]), np.zeros(3))
    np.testing.assert_allclose(alike, 0.5)
