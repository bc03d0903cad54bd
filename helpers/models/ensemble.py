"""Ensemble: networks of one kind as one calibrated model."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from scipy import optimize, special
from sklearn.metrics import log_loss

from helpers.data import LABELS
from helpers.utils import UserError

EPSILON = 1e-7  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class Calibration:
    """A scale and a shift of log-probabilities: softmax(scale * log p + (0, shift, shift)).

    Platt scaling (Platt 1999) of three classes with one shift between normal and pneumonia; with
    the shift 0 it is temperature scaling (Guo et al. 2017).

    Attributes:
        scale: above 1 makes the probabilities surer, below 1 less sure.
        shift: added to the logarithms of both pneumonias.
    """

    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """Probabilities (n, 3) after calibration."""
        scores = self.scale * np.log(np.maximum(p, EPSILON)) + [0, self.shift, self.shift]
        return special.softmax(scores, axis=1)


def fit_calibration(p: np.ndarray, labels: Sequence[str]) -> Calibration:
    """The calibration with the least log loss.

    The probabilities then hold for the share of pneumonias among these images.

    Args:
        p: (n, 3), normal, bacteria, virus.
        labels: n of them.
    """
    codes = [LABELS.index(label) for label in labels]

    def loss(parameters):
        return log_loss(codes, Calibration(*parameters)(p), labels=range(len(LABELS)))

    found = optimize.minimize(loss, [1.0, 0.0], method="Nelder-Mead")
    return Calibration(*(float(x) for x in found.x))


@dataclass(frozen=True)
class Ensemble:
    """Networks of one kind: the mean of their probabilities, calibrated.

    Attributes:
        members: networks with the same input and the same classes, three unless it is one alone.
        calibration: of the mean; None leaves it as it is.
    """

    members: tuple[keras.Model, ...]
    calibration: Calibration | None = None

    def to_model(self) -> keras.Model:
        """One Keras model; a single network without calibration is that network.

        Raises:
            UserError: the members are averaged or calibrated and have no three classes.
        """
        if len(self.members) == 1 and not self.calibration:
            return self.members[0]
        if any(member.output_shape[-1] != len(LABELS) for member in self.members):
            raise UserError("an ensemble averages and calibrates three classes: train three")
        inputs = keras.Input(self.members[0].input_shape[1:], name="image")
        parts = [
            keras.Model(member.input, member.output, name=f"member_{number}")
            for number, member in enumerate(self.members, start=1)
        ]
        found = [part(inputs) for part in parts]
        p = layers.Average()(found) if len(found) > 1 else found[0]
        calibration = self.calibration or Calibration()
        logarithms = keras.ops.log(keras.ops.maximum(p, EPSILON))
        layer = layers.Dense(p.shape[-1], "softmax", dtype="float32", name="calibration")
        model = keras.Model(inputs, layer(logarithms), name="pneumonia")
        shift = np.array([0, calibration.shift, calibration.shift])
        layer.set_weights([calibration.scale * np.eye(p.shape[-1]), shift])
        return model
