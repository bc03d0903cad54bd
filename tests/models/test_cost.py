"""The cost of a network: multiply-accumulates against a count by hand, and images a second."""

import time

import numpy as np
import pytest
from keras import layers

from helpers import models
from helpers.models import keras


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


def test_mflops_counts_every_member():
    members = tuple(models.cnn(32, (4,), classes=3) for _ in range(2))
    calibration = 9 / 1e6  # a dense layer of 3 x 3
    several = models.Ensemble(members).to_model()
    assert models.mflops(several) == pytest.approx(2 * models.mflops(members[0]) + calibration)


def test_mflops_grows_with_the_square_of_the_side():
    small, large = (models.mflops(models.cnn(side, (4, 8))) for side in (32, 64))
    output = 8 / 1e6
    assert large - output == pytest.approx(4 * (small - output))


def test_images_per_second_takes_the_best_repeat_and_not_the_first(monkeypatch):
    clock, takes = [0.0], [1.0, 10.0, 4.0, 8.0]

    class Slow:
        def predict(self, images, **options):
            clock[0] += takes.pop(0)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert models.images_per_second(Slow(), np.zeros((20, 8, 8, 1))) == 5
    assert not takes  # one that does not count, and three repeats
