"""How far a picture's features lie from those of the pictures that a classifier has learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COMPONENTS, FLAGGED, FOLDS = 64, 0.01, 5
NEGLIGIBLE = 1e-6  # variance along a direction, as a share of the largest, that counts as none


@dataclass(frozen=True)
class Familiarity:
    """The space in which distances are measured, and the distance that is too large.

    Attributes:
        kernel: (features, components), from centred features to whitened principal components.
        bias: (components,), of the centring.
        centres: (classes, components), the mean of each class.
        limit: the largest squared distance that is familiar.
    """

    kernel: np.ndarray
    bias: np.ndarray
    centres: np.ndarray
    limit: float = np.inf

    def distances(self, features: np.ndarray) -> np.ndarray:
        """The smallest squared distance of each row of features (n, features) to a class: (n,)."""
        places = np.asarray(features, np.float64) @ self.kernel + self.bias
        return np.square(places[:, None] - self.centres).sum(axis=2).min(axis=1)


def fit(
    features: np.ndarray, labels: Sequence[str], groups: Sequence, flagged: float = FLAGGED
) -> Familiarity:
    """Learn where the features of training images lie.

    The distance is Mahalanobis's to the nearest class, with one covariance for all classes (Lee et
    al. 2018), in the space of the first 64 principal components within the classes: what varies
    less hardly varies at all, and would count most.

    Args:
        features: (n, features), as the classifier's layer `features` gives them.
        labels: n of them.
        groups: n patients; each lies in one fold.
        flagged: share of the images that lies beyond the limit, where each image's distance is
            that in a space of the four fifths without its patient.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    distances, fold = np.empty(len(features)), folds(labels, groups)
    for number in range(FOLDS):
        out = fold == number
        distances[out] = _space(features[~out], labels[~out]).distances(features[out])
    limit = float(np.quantile(distances, 1 - flagged))
    space = _space(features, labels)
    return Familiarity(space.kernel, space.bias, space.centres, limit)


def folds(labels: Sequence[str], groups: Sequence) -> np.ndarray:
    """The fold, 0 to 4, of each image: stratified by label, a group in one fold; always the same.

    Args:
        labels: n of them.
        groups: n patients.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    found, cutter = (
        np.empty(len(labels), int),
        StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0),
    )
    for number, (_, rows) in enumerate(cutter.split(np.zeros(len(labels)), labels, groups)):
        found[rows] = number
    return found


def _space(features: np.ndarray, labels: np.ndarray) -> Familiarity:
    """The space of these images, without a limit."""
    classes, codes = np.unique(labels, return_inverse=True)
    means = np.stack([features[codes == code].mean(axis=0) for code in range(len(classes))])
    inside = features - means[codes]
    variances, directions = np.linalg.eigh(inside.T @ inside / len(inside))
    kept = np.flatnonzero(variances > NEGLIGIBLE * variances[-1])[-COMPONENTS:]
    kernel = directions[:, kept] / np.sqrt(variances[kept])
    bias = -features.mean(axis=0) @ kernel
    return Familiarity(kernel, bias, means @ kernel + bias)


def with_distance(classifier, familiarity: Familiarity):
    """The classifier with a second answer, and layers of Keras alone.

    |z - c|^2 is |z|^2 plus a dense layer of z, whose kernel is -2 c and bias |c|^2.

    Args:
        classifier: a Keras model with a layer `features`.
        familiarity: of such features.

    Returns:
        A Keras model, outputs by name: probabilities (n, classes), and distance (n, 1), squared.
    """
    from helpers.models import keras

    layers, ops = keras.layers, keras.ops
    features = classifier.get_layer("features").output
    components = familiarity.kernel.shape[1]
    whitened = layers.Dense(components, dtype="float32", trainable=False, name="whitened")
    to_classes = layers.Dense(
        len(familiarity.centres), dtype="float32", trainable=False, name="to_classes"
    )
    places = whitened(features)
    nearest = ops.min(to_classes(places), axis=1, keepdims=True)
    distance = ops.relu(ops.sum(ops.square(places), axis=1, keepdims=True) + nearest)
    whitened.set_weights([familiarity.kernel, familiarity.bias])
    centres = familiarity.centres
    to_classes.set_weights([-2 * centres.T, np.square(centres).sum(axis=1)])
    said = {"probabilities": classifier.output, "distance": distance}
    return keras.Model(classifier.input, said, name="classifier")
