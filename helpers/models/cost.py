"""What a network costs: multiply-accumulates an image, and images a second."""

import math
import time
from collections.abc import Iterator

import keras
import numpy as np
from keras import layers


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


def images_per_second(model: keras.Model, images: np.ndarray, repeats: int = 3) -> float:
    """The best of some repeats, after one that does not count: other work only slows it down.

    Args:
        model: takes `images`, (n, side, side, 1), 0-255.
        repeats: how often all images are predicted, in batches of 64.
    """
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        model.predict(images, batch_size=64, verbose=0)
        seconds.append(time.perf_counter() - start)
    return len(images) / min(seconds[1:])
