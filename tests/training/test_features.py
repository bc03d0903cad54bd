"""Features of frozen networks: computed once for the same images, weights and machine."""

import numpy as np
import pytest

from helpers import models, paths, training
from helpers.training import backend
from tests import builders

IMAGES = builders.noise(6)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """How often features were computed, into an empty cache."""
    calls = []

    def make(images, backbone, initial, seed):
        calls.append(backbone)
        values = np.random.default_rng(seed).normal(size=(len(images), 4)).astype(np.float32)
        return values, models.Base(initial.source, images.shape[1], 17)

    monkeypatch.setattr(models, "features", make)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    return calls


def test_they_are_computed_once(made, backend):
    (first, base), (again, known) = (training.features(IMAGES) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert made == ["mobilenet"] and base == known == models.Base("none", 32, 17)


@pytest.mark.parametrize(
    "other",
    [
        lambda folder: training.features(IMAGES + 1),
        lambda folder: training.features(IMAGES.reshape(3, 2 * 32, 32, 1)),
        lambda folder: training.features(IMAGES, seed=1),
        lambda folder: training.features(IMAGES, "efficientnetv2_b0"),
        lambda folder: training.features(IMAGES, initial=weights(folder, b"one")),
    ],
)
def test_other_images_networks_or_weights_give_other_features(made, backend, tmp_path, other):
    training.features(IMAGES)
    other(tmp_path)
    assert len(made) == 2


def weights(folder, content):
    path = folder / "weights.h5"
    path.write_bytes(content)
    return models.InitialWeights(str(path), "imagenet")


def test_weights_count_by_what_is_in_their_file(made, backend, tmp_path):
    for content in (b"one", b"two", b"one"):
        training.features(IMAGES, initial=weights(tmp_path, content))
    assert len(made) == 2


@pytest.mark.parametrize("fact", ["precision", "threads", "device"])
def test_another_machine_computes_its_own(made, monkeypatch, fact):
    facts = {"precision": "float32", "threads": 2, "device": "one", "backend": "tensorflow"}
    monkeypatch.setattr(backend, "facts", lambda: facts)
    training.features(IMAGES)
    facts[fact] = "another"
    training.features(IMAGES)
    assert len(made) == 2


@pytest.mark.slow
def test_they_are_those_of_the_network(tmp_path, monkeypatch, backend):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    expected, base = models.features(IMAGES, seed=3)
    for _ in range(2):
        values, known = training.features(IMAGES, seed=3)
        np.testing.assert_array_equal(values, expected)
        assert known == base
