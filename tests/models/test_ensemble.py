"""Several networks as one calibrated model: what it says."""

import numpy as np
import pytest

from helpers import models
from helpers.data import LABELS
from helpers.models import keras
from helpers.utils import UserError
from tests import builders
from tests.builders import answer

SIDE = 32


@pytest.fixture(scope="module")
def members():
    return tuple(builders.network(seed, side=SIDE) for seed in range(3))


@pytest.fixture(scope="module")
def pictures():
    return builders.noise(5, SIDE).astype("float32")


# Calibration


def test_calibration_of_scale_one_and_no_shift_changes_nothing():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 20)
    np.testing.assert_allclose(models.Calibration()(p), p, atol=1e-6)


def test_calibration_scales_log_probabilities_and_shifts_those_of_pneumonia():
    p = np.array([[0.5, 0.3, 0.2]])
    sharper = models.Calibration(scale=2.0)(p)
    np.testing.assert_allclose(sharper, p**2 / (p**2).sum())
    shifted = models.Calibration(shift=np.log(2))(p)
    np.testing.assert_allclose(shifted, [[0.5, 0.6, 0.4]] / np.array(1.5))


def test_calibration_takes_probabilities_of_nought():
    p = models.Calibration(1.5, 0.2)(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == [0, 2]).all()


def test_fitted_calibration_finds_the_scale_and_the_shift():
    generator = np.random.default_rng(0)
    true = generator.dirichlet([1, 1, 1], 4000)
    labels = [generator.choice(LABELS, p=p) for p in true]
    seen = models.Calibration(2.0, 0.8)(true)  # too sure, and too many pneumonias
    found = models.fit_calibration(seen, labels)
    assert found.scale == pytest.approx(0.5, abs=0.05)
    assert found.shift == pytest.approx(-0.4, abs=0.1)
    assert isinstance(found.scale, float)


# One model of several


def test_the_ensemble_averages_and_calibrates(members, pictures):
    calibration = models.Calibration(1.7, -0.4)
    mean = np.mean([answer(member, pictures) for member in members], axis=0)
    model = models.Ensemble(members, calibration=calibration).to_model()
    assert model.input_shape == members[0].input_shape
    assert model.output.dtype == "float32"
    np.testing.assert_allclose(answer(model, pictures), calibration(mean), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_one_plain_network_stays_that_network(classes):
    alone = builders.network(0, classes)
    ensemble = models.Ensemble((alone,))
    assert ensemble.to_model() is alone


def test_saved_and_loaded_it_says_the_same(members, pictures, tmp_path):
    ensemble = models.Ensemble(members, models.Calibration(1.7, -0.4)).to_model()
    ensemble.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answer(again, pictures), answer(ensemble, pictures), atol=1e-6)


def test_networks_of_two_classes_are_not_averaged():
    pair = tuple(builders.network(seed, classes=2, side=SIDE) for seed in range(2))
    with pytest.raises(UserError, match="three classes"):
        models.Ensemble(pair).to_model()
