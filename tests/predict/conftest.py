"""A small model, exported once, and pictures to ask it about."""

import json

import numpy as np
import pytest

from helpers import data, predict
from helpers.predict.facts import Facts
from tests import builders

SIDE, CROP = 224, 32
BOX, MARGIN = (0.1, 0.15, 0.9, 0.85), 0.03  # of all lungs, as the localiser here finds them
THRESHOLDS = {"balanced": 0.5, "screening": 0.3}


@pytest.fixture(scope="session")
def table(phantoms):
    return data.split(data.index(phantoms), "official", seed=0)


@pytest.fixture(scope="session")
def pictures(table):
    """Some 150 synthetic radiographs as arrays, their paths and which train the chest check."""
    return np.asarray(data.load(table, SIDE)), table.path.to_numpy(), table.split.to_numpy()


@pytest.fixture(scope="session")
def check(pictures):
    images, _, split = pictures
    return predict.fit_chest_check(images[split == "train"], images[split == "val"], 1.0)


@pytest.fixture(scope="session")
def network():
    """A classifier of crops, with the state of an optimizer."""
    model = builders.network(0, side=CROP)
    weights, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([8 * weights, bias])  # answers that differ
    model.compile("adam", "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="session")
def training(table, pictures):
    """What the export takes of the training images."""
    rows = (table.split != "test").to_numpy()
    known = table[rows]
    return {"images": pictures[0][rows], "labels": known.label, "groups": known.patient}


@pytest.fixture(scope="session")
def exported(network, training, tmp_path_factory):
    """A folder with the three files of a model, made by the export."""
    folder = tmp_path_factory.mktemp("models") / "models"
    finder = builders.box_finder(BOX)
    predict.export(folder, network, finder, thresholds=THRESHOLDS, margin=MARGIN, **training)
    return folder


@pytest.fixture(scope="session")
def films(pictures, exported):
    """Paths of synthetic radiographs that get an answer."""
    model = predict.open_model(exported / "pneumonia.onnx")
    return [row["file"] for row, _ in predict.predict(model, pictures[1]) if row["prediction"]]


@pytest.fixture
def with_facts(exported, tmp_path):
    """Call it to get the path of the ONNX model with other facts."""

    def change(**facts):
        path = tmp_path / "changed" / "pneumonia.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((exported / path.name).read_bytes())
        known = json.loads((exported / predict.FACTS).read_text())
        assert facts.keys() <= known.keys() == set(Facts.__dataclass_fields__)
        path.with_suffix(".json").write_text(json.dumps(known | facts))
        return path

    return change
