"""A small model, exported once, and pictures to ask it about."""

import numpy as np
import pytest

from helpers import data, models, predict
from tests import builders

SIDE = 32


@pytest.fixture(scope="session")
def pictures(phantoms):
    """Some 150 synthetic radiographs as arrays, their paths and which train the chest check."""
    table = data.split(data.index(phantoms), "official", seed=0)
    return np.asarray(data.load(table, SIDE)), table.path.to_numpy(), table.split.to_numpy()


@pytest.fixture(scope="session")
def check(pictures):
    images, _, split = pictures
    return predict.fit_chest_check(images[split == "train"], images[split == "val"], 1.0)


@pytest.fixture(scope="session")
def network():
    """An ensemble as the published one is built, with the state of an optimizer."""
    members = tuple(builders.network(seed, side=SIDE) for seed in range(3))
    for member in members:
        weights, bias = member.layers[-1].get_weights()
        member.layers[-1].set_weights([8 * weights, bias])  # answers that differ
    model = models.Ensemble(members, (1.0, 1.2), models.Calibration(1.1, 0.2)).to_model()
    model.compile("adam", "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="session")
def exported(network, check, tmp_path_factory):
    """A folder with the three files of a model, made by the export."""
    folder = tmp_path_factory.mktemp("models") / "models"
    predict.export(network, folder, 0.5, check)
    return folder


@pytest.fixture(scope="session")
def films(pictures, check):
    """Paths of synthetic radiographs that pass the chest check."""
    images, paths, _ = pictures
    return [str(path) for path in paths[predict.is_frontal_chest(images, check)]]
