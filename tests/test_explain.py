"""Heat maps against automatic differentiation and hand-made networks; regions of a picture."""

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from helpers import evaluation, explain, models
from helpers.models import head, keras, layers
from helpers.settings import UserError

SIDE = 16


def network(seed, classes=3, name=None):
    """A tiny network as `models.mobilenet` ends: maps 4 x 4, `features`, `probability`."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIDE, SIDE, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for count in (4, 6):
        x = layers.Conv2D(count, 3, 2, padding="same", bias_initializer="random_normal")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, head(x, classes), name=name or f"network_{seed}")


def ensemble(members, views=(1.0,)):
    networks = [network(seed) for seed in range(members)]
    return models.ensemble(networks, views, scale=1.5, shift=-0.3)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def together():
    return ensemble(3)


def through_tape(model, pictures):
    """Evidence by automatic differentiation of everything behind the feature maps."""
    parts = explain.networks(model)
    bodies = [keras.Model(part.input, part.get_layer("features").input) for part in parts]
    maps = [tf.convert_to_tensor(body(pictures)) for body in bodies]
    with tf.GradientTape() as tape:
        tape.watch(maps)
        ends = [
            part.get_layer("probability")(part.get_layer("features")(x))
            for part, x in zip(parts, maps, strict=True)
        ]
        p = sum(ends) / len(ends)
        if model not in parts:
            p = model.get_layer("calibration")(keras.ops.log(p))
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
    model = network(7, classes)
    found = explain.evidence(model, pictures)
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, through_tape(model, pictures), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("members", [1, 3])
def test_evidence_of_an_ensemble_is_what_automatic_differentiation_gives(members, pictures):
    model = ensemble(members)
    found = explain.evidence(model, pictures)
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, through_tape(model, pictures), rtol=1e-3, atol=1e-5)


def test_evidence_of_a_view_lies_where_the_view_lies(pictures):
    seen = keras.ops.convert_to_numpy(models.view(keras.ops.cast(pictures, "float32"), 1.6))
    rim = round(SIDE * (1 - 1 / 1.6) / 2)
    found = explain.evidence(ensemble(2, views=(1.6,)), pictures)
    whole = explain.evidence(ensemble(2), seen)
    inside = np.s_[:, rim : SIDE - rim, rim : SIDE - rim]
    assert np.abs(found).max() > 0.01
    assert np.abs(found).sum() == pytest.approx(np.abs(found[inside]).sum())
    np.testing.assert_allclose(found.mean(axis=(1, 2)), whole.mean(axis=(1, 2)), atol=0.02)


@pytest.mark.parametrize("views", [(1.0,), (1.0, 1.6), (1.0, 1.25, 1.5)])
def test_evidence_of_an_ensemble_of_one_network_seen_alike_is_that_of_the_network(views):
    flat = np.full((2, SIDE, SIDE, 1), 90, np.uint8)  # the same picture at every magnification
    flat[1] = 200
    alone = explain.evidence(network(0), flat).mean(axis=(1, 2))
    found = explain.evidence(models.ensemble([network(0)], views), flat).mean(axis=(1, 2))
    np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-4)


def test_members_have_the_views_of_their_ensemble(pictures):
    model = models.ensemble([network(seed) for seed in range(2)], views=(1.0, 1.6))
    members = explain.members(model)
    assert [models.rims(member) for member in members] == 2 * [models.rims(model)]
    found = np.mean([member.predict(pictures, verbose=0) for member in members], axis=0)
    np.testing.assert_allclose(found, model.predict(pictures, verbose=0), atol=1e-5)
    assert explain.members(network(0)) == []


def test_evidence_of_a_saved_ensemble_stays(together, pictures, tmp_path):
    together.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = explain.evidence(together, pictures)
    np.testing.assert_allclose(explain.evidence(loaded, pictures), expected, rtol=1e-5, atol=1e-6)


def test_evidence_does_not_depend_on_the_batch(together, pictures, monkeypatch):
    whole = explain.evidence(together, pictures)
    monkeypatch.setattr(explain, "BATCH", 2)
    np.testing.assert_allclose(explain.evidence(together, pictures), whole, rtol=1e-4, atol=1e-6)


def test_mean_evidence_of_two_classes_adds_up_to_the_log_odds(pictures):
    model = network(7, classes=2)
    bias = model.get_layer("probability").get_weights()[1]
    means = explain.evidence(model, pictures).mean(axis=(1, 2)) + bias
    expected = explain.log_odds(model.predict(pictures, verbose=0))
    np.testing.assert_allclose(means, expected, atol=0.02)  # enlarging weighs the rim a little more


def test_heat_is_scaled_for_each_picture_and_empty_where_nothing_speaks_for_pneumonia(pictures):
    model = network(7, classes=2)
    heat = explain.grad_cam(model, pictures)
    assert heat.dtype == np.float32 and heat.shape == (5, SIDE, SIDE)
    np.testing.assert_allclose(heat.max(axis=(1, 2)), 1)
    assert heat.min() >= 0
    weights, bias = model.get_layer("probability").get_weights()
    model.get_layer("probability").set_weights([-np.abs(weights), bias])
    assert not explain.grad_cam(model, pictures).any()


def test_a_network_of_another_kind_is_refused(pictures):
    inputs = keras.Input((SIDE, SIDE, 1))
    x = layers.Flatten(name="features")(inputs)
    flat = keras.Model(inputs, head(x, 3))
    with pytest.raises(UserError, match="no mean of maps"):
        explain.evidence(flat, pictures)
    with pytest.raises(UserError, match="no layers features"):
        explain.evidence(keras.Model(inputs, head(layers.Flatten()(inputs), 3)), pictures)
    own = network(1)
    scaled = layers.Rescaling(3.0)(own.get_layer("features").output)
    with pytest.raises(UserError, match="no layer calibration"):
        both = layers.Average()([own(own.input), network(2)(own.input)])
        explain.evidence(keras.Model(own.input, both), pictures)
    with pytest.raises(UserError, match="unknown way"):
        explain.evidence(keras.Model(own.input, head(scaled, 3)), pictures)


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
    picture = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 1), dtype=np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    clean = explain.erased(picture, mask)
    assert clean.dtype == np.uint8
    assert np.array_equal(clean[:, ~mask], picture[:, ~mask])
    assert clean[:, mask].std() < 0.2 * picture[:, mask].std()


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_randomised_shuffles_from_the_output_down_and_leaves_the_model_alone(share, together):
    before = together.get_weights()
    copy = explain.randomised(together, share, seed=1)
    assert all(np.array_equal(*pair) for pair in zip(before, together.get_weights(), strict=True))
    changed = 0
    for old, new in zip(explain.networks(together), explain.networks(copy), strict=True):
        old, new = ([x for x in net.layers if x.weights] for net in (old, new))
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            pairs = list(zip(one.get_weights(), other.get_weights(), strict=True))
            assert all(np.array_equal(np.sort(a, None), np.sort(b, None)) for a, b in pairs)
            same = all(np.array_equal(a, b) for a, b in pairs)
            changed += not same
            if place < np.floor((1 - share) * len(old)):
                assert same
    assert changed >= len(explain.networks(together)) * max(1, int(share * 5) - 2)


def test_the_maps_of_shuffled_weights_differ(together, pictures):
    maps = explain.evidence(together, pictures)
    other = explain.evidence(explain.randomised(together), pictures)
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


def test_shares_of_heat_in_regions():
    side = 20
    frame, box = explain.border(side, 0.1), explain.chest(side)
    assert frame.mean() == pytest.approx(1 - 0.8**2)
    assert box.sum() == 14 * 16 and not (frame & box)[:2].any()
    even, focused, none = np.ones((side, side)), box.astype(float), np.zeros((side, side))
    table = explain.shares(np.stack([even, focused, none]), box)
    np.testing.assert_allclose(table.density[:2], [1, 400 / box.sum()])
    assert table.heat[1] == 1 and np.isnan(table.heat[2])
    assert explain.shares(even[None], np.zeros((side, side), bool)).density.isna().all()


def table_of(y, p):
    labels = np.where(y, "virus", "normal")
    files = [f"person{i}_virus_{i}.jpeg" if ill else f"IM-{i}-1.jpeg" for i, ill in enumerate(y)]
    return pd.DataFrame({"file": files, "split": "test", "label": labels, "p_pneumonia": p})


@pytest.fixture
def called():
    """100 ill, 90 of them called; 200 healthy, 20 of them called."""
    p = np.repeat([0.9, 0.1, 0.8, 0.2], [90, 10, 20, 180])
    return table_of(np.repeat([True, False], [100, 200]), p)


def test_predictive_values_are_those_of_the_table_at_its_own_prevalence(called):
    table = evaluation.predictive_values(called, 0.5, [1 / 3, 0.01], resamples=200)
    assert table.ppv[0] == pytest.approx(90 / 110)
    assert table.npv[0] == pytest.approx(180 / 190)
    assert table.ppv[1] == pytest.approx(0.009 / (0.009 + 0.099))
    assert (table.ppv_low < table.ppv).all() and (table.ppv < table.ppv_high).all()
    assert (table.npv_low < table.npv).all() and (table.npv < table.npv_high).all()


def test_predictive_values_of_calls_that_nobody_makes(called):
    none = evaluation.predictive_values(called, 1.1, [0.2], resamples=50).iloc[0]
    assert np.isnan(none.ppv) and none.npv == pytest.approx(0.8)


def test_decision_curve_by_hand(called):
    table = evaluation.decision_curve(called, [0.25, 0.5], resamples=200)
    assert table.model[0] == pytest.approx(90 / 300 - 20 / 300 / 3)
    assert table["all"][0] == pytest.approx(1 / 3 - 2 / 3 / 3)
    assert table.model[1] == pytest.approx(90 / 300 - 20 / 300)
    assert (table.low < table.model).all() and (table.model < table.high).all()
    rare = evaluation.decision_curve(called, [0.25], prevalence=0.05, resamples=50).iloc[0]
    assert rare.model == pytest.approx(0.05 * 0.9 - 0.95 * 0.1 / 3)


def test_probabilities_at_another_prevalence():
    p = np.array([0.0, 0.3, 0.5, 1.0])
    np.testing.assert_allclose(evaluation.at_prevalence(p, 0.4, 0.4), p)
    moved = evaluation.at_prevalence(p, 0.1, 0.5)
    np.testing.assert_allclose(moved[[0, 2, 3]], [0, 0.1, 1])
    np.testing.assert_allclose(evaluation.at_prevalence(moved, 0.5, 0.1), p, atol=1e-12)
