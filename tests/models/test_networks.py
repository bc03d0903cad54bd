"""The networks built layer by layer: what goes in and comes out, their size, saving and loading."""

from functools import partial

import numpy as np
import pytest
from keras import layers

from helpers import models
from helpers.models import keras, networks
from helpers.utils import UserError
from tests import builders
from tests.builders import answer

SIDE = 32
NETWORKS = {
    "dense": models.dense,
    "cnn": models.cnn,
    "cnn_full": partial(models.cnn, activation="leaky_relu", batch_norm=True, dropout=0.3),
    "resnet": partial(models.resnet, filters=(4, 8)),
    "alternating_cnn": partial(models.alternating_cnn, filters=(4, 4), units=(4,)),
}


@pytest.fixture(autouse=True)
def float32_again():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def pictures():
    return builders.noise(5, SIDE)


# In and out


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_raw_images_become_probabilities_in_float32(name, classes, precision, pictures):
    keras.config.set_dtype_policy(precision)
    model = NETWORKS[name](SIDE, classes=classes)
    assert model.input_shape == (None, SIDE, SIDE, 1)
    assert model.output.dtype == "float32"
    assert not model.compiled
    p = answer(model, pictures)
    assert p.shape == (5, 1 if classes == 2 else 3)
    assert p.dtype == np.float32
    assert ((p >= 0) & (p <= 1)).all()
    if classes == 3:
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_pixels_are_rescaled_inside(name, pictures):
    model = NETWORKS[name](SIDE, classes=2)
    rescaling = [layer for layer in model.layers if isinstance(layer, layers.Rescaling)]
    assert [layer.scale for layer in rescaling] == [1 / 255]
    as_float = answer(model, pictures.astype(np.float32))
    np.testing.assert_array_equal(answer(model, pictures), as_float)


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_and_loaded_it_says_the_same(name, pictures, tmp_path):
    model = NETWORKS[name](SIDE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before, after = (answer(net, pictures) for net in (model, loaded))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("side", [16, 37, 96])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_side(name, side):
    assert NETWORKS[name](side, classes=2).output_shape == (None, 1)


# Convolutions


def test_parameter_counts():
    first, second, output = 9 * 1 * 4 + 4, 9 * 4 * 8 + 8, 8 + 1
    assert models.cnn(SIDE, (4, 8)).count_params() == first + second + output
    normalised = 9 * 1 * 4 + 4 * 4, 9 * 4 * 8 + 4 * 8, 8 + 1  # batch norm: 4 numbers a map
    assert models.cnn(SIDE, (4, 8), batch_norm=True).count_params() == sum(normalised)
    stem, blocks = 9 * 4 + 16, 2 * 2 * (9 * 4 * 4 + 16)
    assert models.resnet(SIDE, (4,)).count_params() == stem + blocks + 4 + 1
    projected = 4 * 8 + 32 + 9 * 4 * 8 + 32 + 3 * (9 * 8 * 8 + 32)
    assert models.resnet(SIDE, (4, 8)).count_params() == stem + blocks + projected + 8 + 1


def test_leaky_relu_differs_from_relu_in_the_activation_alone():
    relu, leaky = (models.cnn(SIDE, activation=name) for name in ("relu", "leaky_relu"))
    kinds = [[type(layer).__name__ for layer in model.layers] for model in (relu, leaky)]
    assert kinds[1] == ["LeakyReLU" if kind == "ReLU" else kind for kind in kinds[0]]
    assert relu.count_params() == leaky.count_params()


def test_unknown_activation():
    with pytest.raises(UserError, match="relu, leaky_relu, not 'swish'"):
        models.cnn(SIDE, activation="swish")


def test_dropout_acts_in_training_only(pictures):
    model = models.cnn(SIDE, dropout=0.5)
    still = [answer(model, pictures) for _ in range(2)]
    moved = [np.asarray(model(pictures, training=True)) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert not np.array_equal(*moved)


def block(shape, **options):
    inputs = keras.Input(shape)
    return keras.Model(inputs, networks.residual_block(inputs, **options))


def test_fresh_residual_block_hands_its_input_on():
    x = np.random.default_rng(0).random((2, 6, 6, 8), dtype=np.float32)  # ReLU keeps what is >= 0
    model = block((6, 6, 8), filters=8)
    np.testing.assert_array_equal(answer(model, x), x)
    gamma = next(w for w in reversed(model.trainable_weights) if w.name == "gamma")
    gamma.assign(np.ones(8))
    assert not np.allclose(answer(model, x), x)


@pytest.mark.parametrize(
    ("filters", "stride", "shape"),
    [(8, 1, (6, 6, 8)), (16, 1, (6, 6, 16)), (8, 2, (3, 3, 8)), (16, 2, (3, 3, 16))],
)
def test_residual_block_shape_and_skip_connection(filters, stride, shape):
    model = block((6, 6, 8), filters=filters, stride=stride)
    assert model.output_shape[1:] == shape
    kernels = [layer.kernel_size for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert kernels.count((1, 1)) == (shape != (6, 6, 8))  # a projection only where it must be


def kinds(model):
    counted = (layers.Conv2D, layers.MaxPooling2D, layers.Dense)
    return [type(layer).__name__ for layer in model.layers if isinstance(layer, counted)]


@pytest.mark.parametrize(
    ("filters", "units", "conv_and_pool", "dense"),
    [((2, 2, 2, 2, 2), (4,), 9, 2), ((2, 2, 2, 2, 2, 2), (4, 4), 11, 3)],
)
def test_convolution_and_pooling_take_turns(filters, units, conv_and_pool, dense):
    found = kinds(models.alternating_cnn(SIDE, filters, units))
    turns = ["Conv2D", "MaxPooling2D"] * len(filters)
    assert found == turns[:conv_and_pool] + ["Dense"] * dense


def test_parameter_count_of_the_alternating_cnn():
    model = models.alternating_cnn(8, (2, 3), (5,))
    convolutions = 9 * 2 + 2 + 9 * 2 * 3 + 3
    assert model.count_params() == convolutions + (4 * 4 * 3 * 5 + 5) + (5 * 3 + 3)


# Heads


@pytest.mark.parametrize("classes", [2, 3])
def test_dropout_before_the_output_acts_in_training_only(classes):
    inputs = keras.Input((400,))
    plain, dropping = (
        keras.Model(inputs, models.head(inputs, classes, **options))
        for options in ({}, {"dropout": 0.25})
    )
    dropping.set_weights(plain.get_weights())
    ones = np.ones((200, 400), np.float32)
    np.testing.assert_array_equal(answer(dropping, ones), answer(plain, ones))
    np.testing.assert_array_equal(plain(ones, training=True), answer(plain, ones))
    seen = keras.Model(inputs, dropping.get_layer("probability").input)
    seen = np.asarray(seen(ones, training=True))
    assert (seen == 0).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(seen[seen > 0], 1 / 0.75, rtol=1e-6)
    assert dropping.output.dtype == "float32"


def test_a_head_without_dropout_has_no_layer_for_it():
    inputs = keras.Input((5,), name="features")
    heads = [keras.Model(inputs, models.head(inputs, 3, x)) for x in (0.0, 0.5)]
    kinds = [[type(layer).__name__ for layer in head.layers] for head in heads]
    assert kinds == [["InputLayer", "Dense"], ["InputLayer", "Dropout", "Dense"]]


@pytest.mark.parametrize(("classes", "units"), [(2, 1), (3, 3)])
def test_new_dense_layers_give_probabilities(classes, units, pictures):
    network = models.alternating_cnn(SIDE, (2, 2), (4,))
    p = answer(models.with_dense_layers(network, (4, 4), classes), pictures)
    assert p.shape == (5, units)
    assert p.dtype == np.float32
    assert ((p >= 0) & (p <= 1)).all()
    if classes == 3:
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_a_head_trained_on_features_is_taken_over_into_the_network(pictures):
    """The network with the head must say what the head says of the network's features."""
    network = models.alternating_cnn(SIDE, (4, 4), ())
    extract = keras.Model(network.input, network.get_layer("features").output)
    features = answer(extract, pictures)
    head = models.feature_head(features.shape[1], (8, 4))
    generator = np.random.default_rng(0)  # biases too, which start at zero
    head.set_weights([generator.normal(size=weight.shape) for weight in head.get_weights()])
    whole = models.with_dense_layers(network, (8, 4), head_weights=head.get_weights())
    expected = answer(head, features)
    np.testing.assert_allclose(answer(whole, pictures), expected, atol=1e-5)
    fresh = models.with_dense_layers(network, (8, 4))
    assert not np.allclose(answer(fresh, pictures), expected, atol=1e-5)


def test_a_head_of_another_shape_is_refused():
    network = models.alternating_cnn(SIDE, (2, 2), ())
    other = models.feature_head(7, (4,)).get_weights()
    with pytest.raises(ValueError):
        models.with_dense_layers(network, (4,), head_weights=other)
    with pytest.raises(ValueError):
        models.with_dense_layers(network, (4, 4), head_weights=other)


# The linear probe


def test_a_linear_probe_is_logistic_regression_on_standardised_features():
    generator = np.random.default_rng(0)
    features = generator.normal(5, 3, (80, 4)) * [1, 10, 100, 1000]
    labels = features[:, 3] > 5000
    probe = models.linear_probe(strength=1.0).fit(features, labels)
    scaled = models.linear_probe(strength=1.0).fit(features / [1, 10, 100, 1000], labels)
    np.testing.assert_allclose(
        probe.predict_proba(features),
        scaled.predict_proba(features / [1, 10, 100, 1000]),
        atol=1e-5,
    )
    assert (probe.predict(features) == labels).mean() > 0.95


def test_a_weaker_linear_probe_holds_its_weights_back():
    features = np.random.default_rng(0).normal(size=(80, 4))
    sizes = [
        np.abs(models.linear_probe(*strength).fit(features, features[:, 0] > 0)[-1].coef_).max()
        for strength in [(0.001,), (), (1.0,)]
    ]
    assert sizes[0] < sizes[1] < sizes[2]
