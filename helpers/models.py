"""The networks: each function gives an uncompiled Keras model that takes raw 0-255 grayscale.

All take images of shape (side, side, 1), hold their own rescaling, and end in float32: one
sigmoid unit (probability of pneumonia) for two classes, a softmax over normal, bacteria and virus
for three.
"""

import io
import math
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from helpers.settings import PROJECT, UserError, native_messages_hidden

with native_messages_hidden():
    import keras
    from keras import layers

SMALLEST = 1e-7  # of a probability whose logarithm is taken
_APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications"
PRETRAINED = {  # network: file in PRETRAINED_DIR, and the address of Keras's own
    "mobilenet": (
        "mobilenet_0.75_224_imagenet_no_top.weights.h5",
        f"{_APPLICATIONS}/mobilenet/mobilenet_7_5_224_tf_no_top.h5",
    ),
    "inception_resnet_v2": (
        "inception_resnet_v2_imagenet_no_top.weights.h5",
        f"{_APPLICATIONS}/inception_resnet_v2/"
        "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
}


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
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = convolution(x, filters, kernel=1, stride=stride, batch_norm=True)
    x = activate(convolution(x, filters, stride=stride, batch_norm=True))
    x = convolution(x, filters, batch_norm=True, gamma="zeros")
    return activate(layers.Add()([shortcut, x]))


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


def mflops(model: keras.Model) -> float:
    """Millions of multiply-accumulates that one image costs, one of them counted as one.

    Counted are the layers that make up nearly all of it: convolutions (depthwise and separable ones
    too) and dense layers. A kernel's every weight acts once at each place of the layer's output.
    Biases, normalisation, activations and pooling are left out.
    """
    return sum(_multiply_accumulates(layer) for layer in _flat(model)) / 1e6


def _multiply_accumulates(layer: keras.Layer) -> int:
    counted = layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense
    if not isinstance(layer, counted):
        return 0
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    places = math.prod(layer.output.shape[1:-1])
    return places * sum(math.prod(kernel.shape) for kernel in kernels)


def _flat(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model and of the models inside it, each as often as it is called."""
    described = model.get_config()["layers"]
    nodes = {one["config"]["name"]: one.get("inbound_nodes") for one in described}
    for layer in model.layers:
        for _ in nodes[layer.name] or [None]:  # inputs are not called
            yield from _flat(layer) if isinstance(layer, keras.Model) else [layer]


def head(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The output layer, in float32 whatever the precision of the rest."""
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    return layers.Dense(units, activation=activation, dtype="float32", name="probability")(x)


def mobilenet(
    side: int,
    classes: int = 2,
    weights: str | None = None,
    trainable: int | None = None,
    batch_norm_fixed: bool = True,
) -> keras.Model:
    """MobileNet of width 0.75 (Howard et al. 2017): 13 blocks of a depthwise and a pointwise step.

    Its layer `features` gives what the head sees: (768,) an image.

    Args:
        side: of the images in pixels, at least 32.
        classes: 2 or 3.
        weights: None for random ones, or what `pretrained("mobilenet")` gives.
        trainable: how many of its 27 last convolutions learn, with what lies between them; 0 leaves
            the head alone, None lets everything learn.
        batch_norm_fixed: batch norm keeps the statistics, scales and shifts that it comes with
            instead of adapting to the batches.
    """
    inputs = keras.Input((side, side, 1), name="image")
    base = keras.applications.MobileNet(
        input_tensor=_three_channels(inputs),
        input_shape=(side, side, 3),
        alpha=0.75,
        include_top=False,
        weights=weights,
    )
    _freeze(base, trainable, batch_norm_fixed)
    x = layers.GlobalAveragePooling2D(name="features")(base.output)
    return keras.Model(inputs, head(x, classes), name="mobilenet")


def inception_resnet_v2(
    side: int = 75, classes: int = 2, weights: str | None = None, end: str = "conv_7b_ac"
) -> keras.Model:
    """InceptionResNetV2 (Szegedy et al. 2017), all of it trainable.

    Args:
        side: of the images in pixels, at least 75.
        classes: 2 or 3.
        weights: None for random ones, or what `pretrained("inception_resnet_v2")` gives.
        end: name of the layer that the head is put on; an earlier one than the last gives a
            smaller net, for a quick try.
    """
    inputs = keras.Input((side, side, 1), name="image")
    base = keras.applications.InceptionResNetV2(
        input_tensor=_three_channels(inputs),
        input_shape=(side, side, 3),
        include_top=False,
        weights=weights,
    )
    x = layers.GlobalAveragePooling2D(name="features")(base.get_layer(end).output)
    return keras.Model(inputs, head(x, classes), name="inception_resnet_v2")


def pretrained(name: str) -> tuple[str | None, str]:
    """The ImageNet weights of `mobilenet` or `inception_resnet_v2`, as far as they can be had.

    The file in the folder `PRETRAINED_DIR` (relative to the project, if not absolute) comes first,
    then Keras's own file, kept in its folder or downloaded there. One printed line says which.

    Returns:
        What the network's function takes as `weights` (a path or None), and what the column
        `weights` of the results says: imagenet or none.
    """
    file, url = PRETRAINED[name]
    folder = os.environ.get("PRETRAINED_DIR")
    if folder and (path := PROJECT / folder / file).is_file():
        print(f"{name}: ImageNet weights from {file}")
        return str(path), "imagenet"
    try:
        path = _downloaded(url)
        print(f"{name}: ImageNet weights of Keras ({Path(path).name})")
        return path, "imagenet"
    except Exception as error:  # Keras raises nothing narrower
        print(
            f"{name}: NO PRETRAINED WEIGHTS, starts from random ones. {file} is not in the folder "
            f"PRETRAINED_DIR ({folder or 'not set'}), and Keras could not download its own: {error}"
        )
        return None, "none"


def _downloaded(url: str) -> str:
    """Path of Keras's copy of a file; gives up soon where there is no network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)
    try:
        with redirect_stdout(io.StringIO()):  # a progress bar of many lines
            return keras.utils.get_file(url.rsplit("/", 1)[1], url, cache_subdir="models")
    finally:
        socket.setdefaulttimeout(before)


def _three_channels(gray: keras.KerasTensor) -> keras.KerasTensor:
    """Gray 0-255 as three equal channels of -1 to 1, the range of these pretrained networks."""
    x = layers.Rescaling(1 / 127.5, offset=-1)(gray)
    return layers.Concatenate(name="three_channels")([x, x, x])


def _freeze(base: keras.Model, trainable: int | None, batch_norm_fixed: bool) -> None:
    """Freeze what lies before the last `trainable` convolutions, and batch norm if it is fixed.

    A frozen batch-norm layer also normalises with its stored statistics while training.
    """
    convolutions = [x for x in base.layers if isinstance(x, layers.Conv2D | layers.DepthwiseConv2D)]
    frozen = 0
    if trainable is not None:
        learning = convolutions[len(convolutions) - trainable :]
        frozen = base.layers.index(learning[0]) if learning else len(base.layers)
    for place, layer in enumerate(base.layers):
        fixed = batch_norm_fixed and isinstance(layer, layers.BatchNormalization)
        layer.trainable = place >= frozen and not fixed


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
        network: such as `mobilenet(...)`; its weights are shared, not copied.
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


def ensemble(
    members: Sequence[keras.Model],
    views: Sequence[float] = (1.0,),
    scale: float = 1.0,
    shift: float = 0.0,
) -> keras.Model:
    """Networks and their views of a picture as one: the mean of all probabilities, calibrated.

    A network trained on magnified pictures is at its best on pictures a little magnified (Touvron
    et al. 2019); several magnifications averaged are test-time augmentation. The last layer,
    `calibration`, is softmax(scale * log p + (0, shift, shift)).

    Args:
        members: networks with the same input and three classes.
        views: magnifications, 1 or above, around the centre of the picture.
        scale: above 1 makes it surer, below 1 less sure.
        shift: added to the logarithms of both pneumonias.
    """
    inputs = keras.Input(members[0].input_shape[1:], name="image")
    parts = [
        keras.Model(member.input, member.output, name=f"member_{number}")
        for number, member in enumerate(members, start=1)
    ]
    seen = [view(inputs, magnification) for magnification in views]
    found = [part(x) for part in parts for x in seen]
    p = layers.Average()(found) if len(found) > 1 else found[0]
    logarithms = keras.ops.log(keras.ops.maximum(p, SMALLEST))
    calibration = layers.Dense(p.shape[-1], "softmax", dtype="float32", name="calibration")
    model = keras.Model(inputs, calibration(logarithms), name="pneumonia")
    calibration.set_weights([scale * np.eye(p.shape[-1]), np.array([0, shift, shift])])
    return model


def view(x: keras.KerasTensor, magnification: float) -> keras.KerasTensor:
    """The middle of a picture, enlarged to its whole side; magnification 1 or above."""
    return without_rim(x, round(x.shape[1] * (1 - 1 / magnification) / 2))


def without_rim(x: keras.KerasTensor, rim: int) -> keras.KerasTensor:
    """The view that leaves out `rim` pixels along each edge; of tensors with values as well."""
    middle = layers.Cropping2D(rim, name=f"view_{rim}")(x)
    return layers.Resizing(x.shape[1], x.shape[1])(middle) if rim else middle


def rims(model: keras.Model) -> list[int]:
    """What each view of an `ensemble` leaves out along each edge, pixels; [0] for a network."""
    crops = [layer for layer in model.layers if isinstance(layer, layers.Cropping2D)]
    return [crop.cropping[0][0] for crop in crops] or [0]
