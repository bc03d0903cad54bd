"""Localisers of random weights, for what needs no trained one."""

import pytest

from helpers import lungs, models
from helpers.models import keras


@pytest.fixture(scope="session")
def random_localiser(backend):
    """Makes a localiser from a seed: its boxes are wrong, and differ from picture to picture."""

    def make(seed=0):
        keras.utils.set_random_seed(seed)
        model = lungs.localiser(models.InitialWeights())
        for layer in model.layers:
            if "Conv" in type(layer).__name__:  # random ones let the picture fade
                layer.set_weights([3 * weights for weights in layer.get_weights()])
        return model

    return make


@pytest.fixture(scope="session")
def untrained(random_localiser):
    """One of them; not to be changed."""
    return random_localiser()
