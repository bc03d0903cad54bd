"""The networks: what goes in and comes out, their size, their cost, saving and loading."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from helpers import models
from helpers.settings import UserError

SIDE = 32
NETS = {
    "dense": models.dense,
    "cnn": models.cnn,
    "cnn_full": partial(models.cnn, activation="leaky_relu", batch_norm=True, dropout=0.3),
    "resnet": models.resnet,
}


@pytest.fixture(autouse=True)
def policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 1), dtype=np.uint8)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NETS)
def test_raw_images_become_probabilities_in_float32(name, classes, precision, images):
    keras.config.set_dtype_policy(precision)
    model = NETS[name](SIDE, classes=classes)
    assert model.input_shape == (None, SIDE, SIDE, 1)
    assert model.output.dtype == "float32"
    assert not model.compiled
    p = model.predict(images, verbose=0)
    assert p.shape == (5, 1 if classes == 2 else 3)
    assert p.dtype == np.float32
    assert ((p >= 0) & (p <= 1)).all()
    if classes == 3:
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_pixels_are_rescaled_inside(name, images):
    model = NETS[name](SIDE)
    rescaling = [layer for layer in model.layers if isinstance(layer, layers.Rescaling)]
    assert [layer.scale for layer in rescaling] == [1 / 255]
    as_float = model.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_array_equal(model.predict(images, verbose=0), as_float)


@pytest.mark.parametrize("name", NETS)
def test_saved_and_loaded_it_says_the_same(name, images, tmp_path):
    model = NETS[name](SIDE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before, after = (net.predict(images, verbose=0) for net in (model, loaded))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("side", [16, 37, 96])
@pytest.mark.parametrize("name", NETS)
def test_any_side(name, side):
    assert NETS[name](side).output_shape == (None, 1)


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


def test_dropout_acts_in_training_only(images):
    model = models.cnn(SIDE, dropout=0.5)
    still = [np.asarray(model(images, training=False)) for _ in range(2)]
    moved = [np.asarray(model(images, training=True)) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert not np.array_equal(*moved)


def block(shape, **options):
    inputs = keras.Input(shape)
    return keras.Model(inputs, models.residual_block(inputs, **options))


def test_fresh_residual_block_hands_its_input_on():
    x = np.random.default_rng(0).random((2, 6, 6, 8), dtype=np.float32)  # ReLU keeps what is >= 0
    model = block((6, 6, 8), filters=8)
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)
    gamma = next(w for w in reversed(model.trainable_weights) if w.name == "gamma")
    gamma.assign(np.ones(8))
    assert not np.allclose(model.predict(x, verbose=0), x)


@pytest.mark.parametrize(
    ("filters", "stride", "shape"),
    [(8, 1, (6, 6, 8)), (16, 1, (6, 6, 16)), (8, 2, (3, 3, 8)), (16, 2, (3, 3, 16))],
)
def test_residual_block_shape_and_shortcut(filters, stride, shape):
    model = block((6, 6, 8), filters=filters, stride=stride)
    assert model.output_shape[1:] == shape
    kernels = [layer.kernel_size for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert kernels.count((1, 1)) == (shape != (6, 6, 8))  # a projection only where it must be


def test_mflops_of_known_layers():
    inputs = keras.Input((10, 10, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)  # 100 places x 3 x 3 x 3 x 4
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)  # 25 x 3 x 3 x 4
    x = layers.SeparableConv2D(6, 3, padding="same")(x)  # 25 x (3 x 3 x 4 + 4 x 6)
    x = layers.BatchNormalization()(layers.ReLU()(x))
    x = layers.Dense(2)(layers.Flatten()(x))  # 150 x 2
    counted = 100 * 108 + 25 * 36 + 25 * (36 + 24) + 300
    model = keras.Model(inputs, x)
    assert models.mflops(model) == pytest.approx(counted / 1e6)
    outer = keras.Input((10, 10, 3))
    assert models.mflops(keras.Model(outer, layers.Dense(5)(model(outer)))) == pytest.approx(
        (counted + 10) / 1e6
    )


def test_mflops_counts_every_view_of_every_member():
    one = models.cnn(32, (4,), classes=3)
    calibration = 9 / 1e6  # a dense layer of 3 x 3
    several = models.ensemble([one, models.cnn(32, (4,), classes=3)], views=(1.0, 1.25, 1.5))
    assert models.mflops(several) == pytest.approx(6 * models.mflops(one) + calibration)


def test_mflops_grows_with_the_square_of_the_side():
    small, large = (models.mflops(models.cnn(side, (4, 8))) for side in (32, 64))
    output = 8 / 1e6
    assert large - output == pytest.approx(4 * (small - output))
