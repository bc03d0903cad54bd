"""Shifts between parts of a collection: how well they are told apart, what a change gains on each.

All intervals come from the bootstrap over patients of `metrics`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.data import PNEUMONIA
from helpers.evaluation.metrics import auc, estimate, weights_of
from helpers.evaluation.predictions import NORMAL, collapse, rows_of, truth
from helpers.utils import UserError

BARS = ["value", "low", "high"]


def out_of_fold_scores(estimator, features, inside, patients, seed: int = 0, folds: int = 5):
    """How much each image looks like the group `inside` to an estimator that has not met it: (n,).

    Cross-validated: a patient's images are in one fold together.

    Args:
        estimator: of scikit-learn, with a decision function; clones are fitted.
        features: (n, features).
        inside: (n,) booleans, which images belong to the group.
        patients: (n,) keys.
        seed: of the folds.
        folds: how many.

    Raises:
        UserError: there are too few images of either kind.
    """
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    features, inside, patients = (np.asarray(values) for values in (features, inside, patients))
    if min(inside.sum(), (~inside).sum()) < folds:
        raise UserError(f"{inside.sum()} of {len(inside)} images: want {folds} of either kind")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    rows = list(splitter.split(features, inside, patients))
    return cross_val_predict(estimator, features, inside, cv=rows, method="decision_function")


def told_apart(
    inside, scores, patients, strata=None, seed: int = 0, resamples: int = 2000
) -> pd.Series:
    """AUC at which scores tell the images of a group from the others: value, low, high.

    Args:
        inside: (n,) booleans, which images belong to the group.
        scores: (n,), the higher, the more like the group.
        patients: (n,) keys.
        strata: (n,) anything; only pairs of images of one stratum are then compared. A score that
            knows nothing but the strata has 0.5.
        seed, resamples: of the bootstrap over patients, drawn within and outside the group.
    """
    inside, scores = np.asarray(inside, bool), np.asarray(scores, np.float64)
    labels = np.where(inside, PNEUMONIA, NORMAL)  # the bootstrap draws within each label
    table = pd.DataFrame({"label": labels, "patient": np.asarray(patients)})
    weights = weights_of(table, resamples, seed)
    parts = np.zeros(len(inside)) if strata is None else np.asarray(strata)
    members = [parts == part for part in np.unique(parts)]
    counted = [auc(inside[rows], scores[rows], weights[rows]) for rows in members]
    right, pairs = np.sum(counted, axis=0)
    return pd.Series(estimate(right, pairs), BARS)


def mean_gain(
    pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    split: str = "test",
    seed: int = 0,
    resamples: int = 2000,
) -> pd.Series:
    """By how much the AUC of the first of two prediction tables is the higher: value, low, high.

    The mean over pairs of tables, such as one a seed. The interval tells of the luck in drawing
    patients, alike for both tables of a pair, and not of the luck in training.

    Raises:
        UserError: the tables of a pair have other images.
    """
    draws = []
    for pair in pairs:
        a, b = (collapse(rows_of(table, split)).sort_values("file") for table in pair)
        if list(a.file) != list(b.file):
            raise UserError("mean_gain: the tables have other images; use one protocol")
        weights = weights_of(a, resamples, seed)
        counted = [auc(*truth(table), weights) for table in (a, b)]
        better, worse = (right / every for right, every in counted)
        draws.append(better - worse)
    mean = np.mean(draws, axis=0)
    return pd.Series(estimate(mean, np.ones_like(mean)), BARS)
