"""Networks: uncompiled Keras models that take raw 0-255 grayscale, and what is made of them."""

from helpers.utils import keras_import

with keras_import():
    import keras

from helpers.models.backbones import (
    BACKBONES,
    Base,
    InitialWeights,
    classifier,
    features,
    initial_weights,
)
from helpers.models.cost import images_per_second, mflops
from helpers.models.ensemble import Calibration, Ensemble, fit_calibration
from helpers.models.networks import (
    alternating_cnn,
    cnn,
    dense,
    dense_head,
    feature_head,
    head,
    linear_probe,
    resnet,
    with_dense_layers,
)

__all__ = [
    "BACKBONES",
    "Base",
    "Calibration",
    "Ensemble",
    "InitialWeights",
    "alternating_cnn",
    "classifier",
    "cnn",
    "dense",
    "dense_head",
    "feature_head",
    "features",
    "fit_calibration",
    "head",
    "images_per_second",
    "initial_weights",
    "keras",
    "linear_probe",
    "mflops",
    "resnet",
    "with_dense_layers",
]
