"""The networks that are built layer by layer: functions that give an uncompiled Keras model.

All take raw 0-255 grayscale of shape (side, side, 1), hold their own rescaling, and end in float32:
one sigmoid unit (probability of pneumonia) for two classes, a softmax over normal, bacteria and
virus for three.
"""

from collections.abc import Sequence

import keras
from keras import layers
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.utils import UserError


def dense(side: int, units: Sequence[int] = (128, 64), classes: int = 2) -> keras.Model:
    """Dense layers only: every pixel is an input of its own, and neighbourhood means nothing."""
    inputs = keras.Input((side, side, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Flatten()(x)
    for count in units:
        x = layers.Dense(count, activation="relu")(x)
    return keras.Model(inputs, head(x, classes), name="dense")


def cnn(
    side: int,
    filters: Sequence[int] = (16, 32, 64, 128),
    activation: str = "relu",
    batch_norm: bool = False,
    dropout: float = 0.0,
    classes: int = 2,
) -> keras.Model:
    """A plain CNN: convolution blocks, the mean of each feature map, dropout, output.

    Args:
        side: of the images, pixels; each block halves it.
        filters: of the convolution of each block.
        activation: relu or leaky_relu.
        batch_norm: normalise between convolution and activation.
        dropout: share of the last features left out in training (Srivastava et al. 2014).
        classes: 2 or 3.
    """
    inputs = keras.Input((side, side, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for count in filters:
        x = conv_block(x, count, activation, batch_norm)
    x = layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, head(x, classes), name="cnn")


def conv_block(
    x: keras.KerasTensor, filters: int, activation: str = "relu", batch_norm: bool = False
) -> keras.KerasTensor:
    """Convolution 3 x 3, activation, max pooling: (s, s, c) becomes (s // 2, s // 2, filters)."""
    x = convolution(x, filters, batch_norm=batch_norm)
    return layers.MaxPooling2D()(activate(x, activation))


def resnet(
    side: int,
    filters: Sequence[int] = (16, 32, 64, 128),
    blocks: int = 2,
    dropout: float = 0.0,
    classes: int = 2,
) -> keras.Model:
    """A residual network (He et al. 2016): a stem, stages of residual blocks, mean, output.

    Args:
        side: of the images, pixels; the stem and each stage but the first halve it.
        filters: of the convolutions of each stage.
        blocks: residual blocks a stage.
        dropout: share of the last features left out in training.
        classes: 2 or 3.
    """
    inputs = keras.Input((side, side, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = conv_block(x, filters[0], batch_norm=True)
    for stage, count in enumerate(filters):
        for block in range(blocks):
            x = residual_block(x, count, stride=2 if stage and not block else 1)
    x = layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, head(x, classes), name="resnet")


def residual_block(x: keras.KerasTensor, filters: int, stride: int = 1) -> keras.KerasTensor:
    """Two 3 x 3 convolutions whose result is added to the block's own input.

    Where the shape changes, a 1 x 1 convolution fits the input to it (He et al. 2016, option B).
    The last batch norm starts at zero (Goyal et al. 2017, section 5.1), so that an untrained block
    hands its input on.
    """
    skip = x
    if stride > 1 or x.shape[-1] != filters:
        skip = convolution(x, filters, kernel=1, stride=stride, batch_norm=True)
    x = activate(convolution(x, filters, stride=stride, batch_norm=True))
    x = convolution(x, filters, batch_norm=True, gamma="zeros")
    return activate(layers.Add()([skip, x]))


def convolution(
    x: keras.KerasTensor,
    filters: int,
    kernel: int = 3,
    stride: int = 1,
    batch_norm: bool = False,
    gamma: str = "ones",
) -> keras.KerasTensor:
    """A convolution, with batch norm (Ioffe & Szegedy 2015) in place of its bias if asked for."""
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=not batch_norm)(x)
    if batch_norm:
        x = layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma)(x)
    return x


def activate(x: keras.KerasTensor, activation: str = "relu") -> keras.KerasTensor:
    """ReLU, or LeakyReLU (Maas et al. 2013) with the slope 0.3, the default of Keras's layer."""
    kinds = {"relu": layers.ReLU, "leaky_relu": layers.LeakyReLU}
    if activation not in kinds:
        raise UserError(f"activation must be one of {', '.join(kinds)}, not {activation!r}")
    return kinds[activation]()(x)


def head(x: keras.KerasTensor, classes: int, dropout: float = 0.0) -> keras.KerasTensor:
    """The output layer, in float32 whatever the precision of the rest, behind dropout if any."""
    if dropout:
        x = layers.Dropout(dropout)(x)
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    return layers.Dense(units, activation=activation, dtype="float32", name="probability")(x)


def alternating_cnn(
    side: int,
    filters: Sequence[int] = (16, 32, 64, 128, 128),
    units: Sequence[int] = (64,),
    classes: int = 3,
) -> keras.Model:
    """Convolution and pooling in turns, ending in a convolution, then dense layers.

    Its layers, counted as authors do (those with weights and the poolings): n convolutions, n - 1
    poolings, the dense layers of `units` and the output.

    Args:
        side: of the images in pixels, at least 2 ** (n - 1); each pooling halves it.
        filters: of the n convolutions.
        units: of the dense layers before the output.
        classes: 2 or 3.
    """
    inputs = keras.Input((side, side, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for number, count in enumerate(filters):
        if number:
            x = layers.MaxPooling2D()(x)
        x = activate(convolution(x, count))
    x = layers.Flatten(name="features")(x)
    return keras.Model(inputs, dense_head(x, units, classes), name="alternating_cnn")


def with_dense_layers(
    network: keras.Model, units: Sequence[int], classes: int = 3, head_weights: Sequence = ()
) -> keras.Model:
    """A network whose layer `features` is followed by dense layers instead of its own head.

    Args:
        network: such as `classifier("mobilenet", ...)`; its weights are shared, not copied.
        units: of the dense layers before the output.
        classes: 2 or 3.
        head_weights: of the new dense layers, as `feature_head(...).get_weights()` gives them;
            random without.
    """
    x = network.get_layer("features").output
    model = keras.Model(network.input, dense_head(x, units, classes), name=network.name)
    if len(head_weights):
        dense_layers = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
        weights = [weight for layer in dense_layers for weight in layer.weights]
        for weight, value in zip(weights, head_weights, strict=True):
            weight.assign(value)
    return model


def feature_head(features: int, units: Sequence[int] = (), classes: int = 3) -> keras.Model:
    """The dense layers of `with_dense_layers` alone: they take (features,) computed before."""
    inputs = keras.Input((features,), name="features")
    return keras.Model(inputs, dense_head(inputs, units, classes), name="feature_head")


def dense_head(x: keras.KerasTensor, units: Sequence[int], classes: int) -> keras.KerasTensor:
    """Dense layers with ReLU, then the output layer."""
    for number, count in enumerate(units, start=1):
        x = layers.Dense(count, activation="relu", name=f"dense_{number}")(x)
    return head(x, classes)


def linear_probe(strength: float = 0.01) -> Pipeline:
    """Logistic regression on standardised features, unfitted (Alain & Bengio 2017).

    Args:
        strength: scikit-learn's C; the smaller, the more the weights are held back.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
