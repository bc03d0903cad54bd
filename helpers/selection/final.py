"""The final model: which recipe, an ensemble of its fits, their calibration and the threshold.

Everything here sees training and validation images only.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import evaluation, models, training
from helpers.data import LABELS
from helpers.models.ensemble import NO_ZOOM
from helpers.utils import short_digest

ONLY_COMPARED = {"larger", "two_classes"}  # the final model has its own side, and three classes


def accepted(gains: pd.DataFrame) -> list[str]:
    """The recipe changes whose every seed gains, the largest mean gain first.

    Those of ONLY_COMPARED are not among them. `gains`: one row a change, one column a seed.
    """
    means = gains[(gains > 0).all(axis=1)].mean(axis=1).sort_values(ascending=False)
    return [name for name in means.index if name not in ONLY_COMPARED]


def best(scored: pd.DataFrame) -> tuple[str, list[str]]:
    """Name and recipe changes of the candidate with the highest mean worst-case AUC.

    Candidates with a change of ONLY_COMPARED are left aside.

    Args:
        scored: columns candidate, changes (names with spaces between) and worst_case_auc; one row
            a candidate and seed.
    """
    own = scored[[not ONLY_COMPARED.intersection(changes.split()) for changes in scored.changes]]
    name, changes = own.groupby(["candidate", "changes"]).worst_case_auc.mean().idxmax()
    return name, changes.split()


def average_members(
    fits: Sequence[training.Fit], zooms: tuple[float, ...], cache_dir: Path
) -> training.Fit:
    """Fits of one recipe and their zooms of a picture as one fit that averages probabilities.

    One fit that sees the picture as it is stays as it is.

    Args:
        fits: trained on the same split with other seeds.
        zooms: of the recipe; others than (1.0,) need three classes, and so do several fits.
        cache_dir: folder of finished fits.
    """
    if len(fits) == 1 and zooms == NO_ZOOM:
        return fits[0]
    members = tuple(fit.model for fit in fits)
    key = short_digest(*(fit.record["settings_hash"] for fit in fits), zooms)
    record = fits[0].record | {
        "parameters": sum(member.count_params() for member in members),
        "train_seconds": round(sum(fit.record["train_seconds"] for fit in fits), 1),
        "settings_hash": key,
    }
    model = models.Ensemble(members, zooms).to_model()
    return training.Fit(model, record, fits[0].history, cache_dir / key)


def calibrated_ensemble(
    fits: Sequence[training.Fit],
    zooms: tuple[float, ...],
    images: np.ndarray,
    table: pd.DataFrame,
    cache_dir: Path,
) -> tuple[training.Fit, models.Calibration]:
    """Fits of one recipe as one calibrated model.

    Args:
        fits: of three classes, trained on the same split with other seeds.
        zooms: of the recipe.
        images: (rows, side, side, 1), row by row with `table`, which has the split.
        table: calibration takes its validation images.
        cache_dir: folder of finished fits.

    Returns:
        The ensemble as a fit, and its calibration.
    """
    averaged = average_members(fits, zooms, cache_dir)
    validated = evaluation.predict(averaged, images, table, rows=("val",))
    p = validated[evaluation.CLASSES].to_numpy()
    calibration = models.fit_calibration(p, validated.label)
    members = tuple(fit.model for fit in fits)
    key = short_digest(averaged.record["settings_hash"], *dataclasses.astuple(calibration))
    record = averaged.record | {"settings_hash": key}
    model = models.Ensemble(members, zooms, calibration).to_model()
    return training.Fit(model, record, averaged.history, cache_dir / key), calibration


def threshold(predictions: pd.DataFrame, recall: float = evaluation.RECALL) -> float:
    """The rule `selected`: the highest threshold with that recall on the clean pneumonias.

    Validation labels come from two graders, those of the test images from three, so some validation
    pneumonias are likely to be normal images with a wrong label, and a threshold low enough to
    catch them costs specificity. Left out by the rule of confident learning (Northcutt et al.
    2021): pneumonias that look at least as normal as the average normal image does.

    Args:
        predictions: with validation rows; the others are left aside.
        recall: sensitivity, 0-1.
    """
    rows = evaluation.collapse(predictions[predictions.split == "val"])
    ill = rows.label != LABELS[0]
    doubtful = ill & (rows.p_pneumonia <= rows.p_pneumonia[~ill].mean())
    clean = rows if doubtful.sum() == ill.sum() else rows[~doubtful]  # nothing learnt: keep all
    return evaluation.recall_threshold(clean.label, clean.p_pneumonia, recall)
