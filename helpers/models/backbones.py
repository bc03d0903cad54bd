"""Pretrained networks: one table, one classifier on top of them, and their features.

A backbone is an entry of `BACKBONES`. Every classifier has a layer `features`, the mean of each of
the backbone's last feature maps, and the head of all networks behind it.
"""

import io
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import applications, layers

from helpers import paths
from helpers.models.networks import head
from helpers.utils import UserError

BATCH = 64
_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"
_RANGE_ONE = (1 / 127.5, -1.0)  # 0-255 becomes -1 to 1
_IMAGENET_STD = (0.229, 0.224, 0.225)  # of red, green, blue in 0-1, as the mean below
_IMAGENET_MEAN = (0.485, 0.456, 0.406)


@dataclass(frozen=True)
class Backbone:
    """One pretrained network of `keras.applications`.

    Attributes:
        build: its function there; called with input_tensor, input_shape, include_top and weights.
        scaling: factor and offset, one for all or one a channel, that bring gray values of 0-255
            to the range that the network was trained in.
        file: name of its ImageNet weights in the folder `PRETRAINED_DIR`.
        url: where Keras keeps them.
        checksum: MD5 of that file, as Keras has it; empty where Keras has none. Either way the
            weights' own digest is part of the key of a fit.
        licence: of the weights.
        smallest: side of the smallest image that it takes, pixels.
        end: name of the layer whose feature maps are taken; empty for the last.
    """

    build: Callable[..., keras.Model]
    scaling: tuple[float | Sequence[float], float | Sequence[float]]
    file: str
    url: str
    checksum: str = ""
    licence: str = "Apache-2.0"
    smallest: int = 32
    end: str = ""


_MOBILENET = Backbone(  # Howard et al. 2017, at three quarters of its width
    partial(applications.MobileNet, alpha=0.75),
    _RANGE_ONE,
    "mobilenet_0.75_224_imagenet_no_top.weights.h5",
    f"{_ADDRESS}/mobilenet/mobilenet_7_5_224_tf_no_top.h5",
)

BACKBONES = {
    "mobilenet": _MOBILENET,
    "mobilenet_start": replace(_MOBILENET, end="conv_pw_3_relu"),  # three of 13 blocks: quick
    "mobilenet_v2": Backbone(  # Sandler et al. 2018
        applications.MobileNetV2,
        _RANGE_ONE,
        "mobilenet_v2_imagenet_no_top.weights.h5",
        f"{_ADDRESS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    ),
    "efficientnet_v2_b0": Backbone(  # Tan & Le 2021; rescales by itself
        applications.EfficientNetV2B0,
        (1.0, 0.0),
        "efficientnet_v2_b0_imagenet_no_top.weights.h5",
        f"{_ADDRESS}/efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
    "densenet_121": Backbone(  # Huang et al. 2017
        applications.DenseNet121,
        (
            [1 / (255 * std) for std in _IMAGENET_STD],
            [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)],
        ),
        "densenet_121_imagenet_no_top.weights.h5",
        f"{_ADDRESS}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "30ee3e1110167f948a6b9946edeeb738",
        licence="BSD-3-Clause",
    ),
    "resnet_50_v2": Backbone(  # He et al. 2016, identity mappings
        applications.ResNet50V2,
        _RANGE_ONE,
        "resnet_50_v2_imagenet_no_top.weights.h5",
        f"{_ADDRESS}/resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "fac2f116257151a9d068a22e544a4917",
    ),
    "inception_resnet_v2": Backbone(  # Szegedy et al. 2017
        applications.InceptionResNetV2,
        _RANGE_ONE,
        "inception_resnet_v2_imagenet_no_top.weights.h5",
        f"{_ADDRESS}/inception_resnet_v2/"
        "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "d19885ff4a710c122648d3b5c3b684e4",
        smallest=75,
    ),
}


class InitialWeights(NamedTuple):
    """Where training starts from: a weights file or None, and the source for the results."""

    path: str | None = None
    source: str = "none"  # imagenet or none


RANDOM = InitialWeights()


class Base(NamedTuple):
    """What made the features that a fit starts from: facts for its record."""

    weights: str  # imagenet or none
    image_size: int  # pixels
    parameters: int


def find_backbone(name: str) -> Backbone:
    """The entry of `BACKBONES`. Raises UserError for a name that is not among them."""
    if name not in BACKBONES:
        raise UserError(f"no backbone {name!r}: choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def classifier(
    backbone: str,
    side: int,
    classes: int = 2,
    weights: str | None = None,
    trainable: int | None = None,
    frozen_batch_norm: bool = True,
    end: str = "",
    dropout: float = 0.0,
) -> keras.Model:
    """A backbone, the mean of each of its last feature maps (layer `features`), and the head.

    Args:
        backbone: a name in `BACKBONES`.
        side: of the images, pixels; at least the backbone's `smallest`.
        classes: 2 or 3.
        weights: a weights file, as `initial_weights(backbone).path` gives it; None for random ones.
        trainable: how many of its last convolutions learn, with what lies between them; 0 leaves
            the head alone, None lets everything learn.
        frozen_batch_norm: batch norm keeps the statistics, scales and shifts that it comes with
            instead of adapting to the batches.
        end: name of the layer whose feature maps are taken, if not the backbone's own; an earlier
            one gives a smaller network.
        dropout: share of the features that is left out at random in training (Srivastava et al.
            2014).

    Raises:
        UserError: no such backbone, or the images are too small for it.
    """
    entry = find_backbone(backbone)
    if side < entry.smallest:
        raise UserError(f"{backbone} takes images of {entry.smallest} pixels or more, not {side}")
    inputs = keras.Input((side, side, 1), name="image")
    gray = layers.Concatenate(name="three_channels")([inputs] * 3)
    base = entry.build(
        input_tensor=layers.Rescaling(*entry.scaling)(gray),
        input_shape=(side, side, 3),
        include_top=False,
        weights=weights,
    )
    end = end or entry.end
    maps = base.get_layer(end).output if end else base.output
    _freeze(keras.Model(inputs, maps), trainable, frozen_batch_norm)
    x = layers.GlobalAveragePooling2D(name="features")(maps)
    return keras.Model(inputs, head(x, classes, dropout), name=backbone)


def _freeze(network: keras.Model, trainable: int | None, frozen_batch_norm: bool) -> None:
    """Freeze what lies before the last `trainable` convolutions, and batch norm if asked for.

    A frozen batch-norm layer also normalises with its stored statistics while training.
    """
    kinds = layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D
    places = [place for place, layer in enumerate(network.layers) if isinstance(layer, kinds)]
    first = 0
    if trainable is not None:
        first = [*places, len(network.layers)][max(len(places) - trainable, 0)]
    for place, layer in enumerate(network.layers):
        fixed = frozen_batch_norm and isinstance(layer, layers.BatchNormalization)
        layer.trainable = place >= first and not fixed


def features(
    images: np.ndarray,
    backbone: str = "mobilenet",
    initial: InitialWeights = RANDOM,
    seed: int = 0,
) -> tuple[np.ndarray, Base]:
    """What a frozen backbone gives for each image: the mean of each of its last feature maps.

    Args:
        images: (n, side, side, 1), raw 0-255.
        backbone: a name in `BACKBONES`.
        initial: as `initial_weights(backbone)` gives it.
        seed: of the weights, where they are random.

    Returns:
        float32, (n, features), and what they were made by.
    """
    keras.utils.set_random_seed(seed)
    network = classifier(backbone, images.shape[1], weights=initial.path, trainable=0)
    extract = keras.Model(network.input, network.get_layer("features").output)
    values = extract.predict(np.asarray(images), batch_size=BATCH, verbose=0)
    return values, Base(initial.source, images.shape[1], extract.count_params())


def initial_weights(backbone: str) -> InitialWeights:
    """The ImageNet weights of a backbone; one printed line says which.

    The file in the folder `PRETRAINED_DIR` (relative to the project, if not absolute) comes first,
    then Keras's own file, kept in its folder or downloaded there. Random weights are given only
    where `PRETRAINED_DIR` is `none`.

    Raises:
        UserError: no such backbone, or its weights are nowhere to be had.
    """
    entry = find_backbone(backbone)
    folder = os.environ.get("PRETRAINED_DIR")
    if folder == "none":
        print(f"{backbone}: random weights, since PRETRAINED_DIR is none")
        return RANDOM
    if folder and (path := paths.PROJECT / folder / entry.file).is_file():
        print(f"{backbone}: ImageNet weights from {entry.file}")
        return InitialWeights(str(path), "imagenet")
    try:
        path = _download(entry)
    except Exception as error:  # Keras raises nothing narrower
        raise UserError(
            f"no pretrained weights of {backbone}: {entry.file} is not in the folder "
            f"PRETRAINED_DIR ({folder or 'not set'}), and {entry.url} could not be downloaded "
            f"({error}). Set PRETRAINED_DIR to a folder that holds the file, go online, or set "
            "PRETRAINED_DIR=none to start from random weights"
        ) from error
    print(f"{backbone}: ImageNet weights of Keras ({Path(path).name})")
    return InitialWeights(path, "imagenet")


def _download(entry: Backbone) -> str:
    """Path of Keras's copy of the weights, checked; gives up soon where there is no network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)
    try:
        with redirect_stdout(io.StringIO()):  # a progress bar of many lines
            return keras.utils.get_file(
                entry.url.rsplit("/", 1)[1],
                entry.url,
                cache_subdir="models",
                file_hash=entry.checksum or None,
            )
    finally:
        socket.setdefaulttimeout(before)
