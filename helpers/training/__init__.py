"""Training: a network or an estimator is fitted once, and remembered."""

from helpers.training.backend import device, room, set_up
from helpers.training.config import TrainingConfig
from helpers.training.curves import epochs_table
from helpers.training.features import features
from helpers.training.fit import Fit, fit, fit_estimator
from helpers.training.parallel import call_all, fit_all

__all__ = [
    "Fit",
    "TrainingConfig",
    "call_all",
    "device",
    "epochs_table",
    "features",
    "fit",
    "fit_all",
    "fit_estimator",
    "room",
    "set_up",
]
