"""The final model: which recipe, its operating points and its calibration, all out of fold.

Everything here sees predictions of training images only, each by a network that has seen neither it
nor another image of its patient (`data.split(..., "out_of_fold", ...)`).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from helpers import evaluation, models, training
from helpers.data import LABELS
from helpers.training.cache import write_provenance
from helpers.utils import UserError, short_digest

ONLY_COMPARED = {"whole_picture", "not_standardised"}  # not what the final model looks at
GUARD = 0.01  # of framing_auc, below the best candidate's, that a choice may give up


def accepted(gains: pd.DataFrame) -> list[str]:
    """The recipe changes whose mean gain exceeds its standard error, the largest first.

    Those of ONLY_COMPARED are not among them, and of several margins the best is.

    Args:
        gains: of out-of-fold AUC; one row a change, one column a fold and seed.
    """
    mean, error = gains.mean(axis=1), gains.sem(axis=1, ddof=min(1, gains.shape[1] - 1))
    names = mean[mean > error.fillna(0)].sort_values(ascending=False).index
    names = [name for name in names if name not in ONLY_COMPARED]
    margins = [name for name in names if name.endswith("margin")]
    return [name for name in names if name not in margins[1:]]


def guarded(scored: pd.DataFrame) -> pd.DataFrame:
    """The rows of candidates that may be chosen.

    Left aside are those whose worst AUC under a corruption of the frame is more than GUARD below
    the best one's, since they read the frame, and those with a change of ONLY_COMPARED.

    Args:
        scored: columns candidate, changes (names with spaces between), auc and framing_auc (of
            `robustness.scores`); one row a candidate.
    """
    own = scored[[not ONLY_COMPARED.intersection(changes.split()) for changes in scored.changes]]
    return own[own.framing_auc >= own.framing_auc.max() - GUARD]


def best(scored: pd.DataFrame) -> tuple[str, list[str]]:
    """Name and recipe changes of the candidate with the highest mean out-of-fold AUC.

    Args:
        scored: of all candidates, as for `guarded`, which says which of them may be chosen.
    """
    may_win = guarded(scored)
    row = may_win.loc[may_win.auc.idxmax()]
    return row.candidate, row.changes.split()


def doubtful(predictions: pd.DataFrame) -> set[str]:
    """The files whose label is in doubt, by confident learning (Northcutt et al. 2021).

    A normal image that looks at least as ill as the average pneumonia does, or the reverse.

    Args:
        predictions: out of fold; all rows are used.
    """
    rows = evaluation.collapse(predictions)
    ill, p = (rows.label != LABELS[0]).to_numpy(), rows.p_pneumonia.to_numpy()
    wrong = np.where(ill, p <= p[~ill].mean(), p >= p[ill].mean())
    return set(rows.file[wrong])


def operating_points(predictions: pd.DataFrame) -> dict[str, float]:
    """Two thresholds on p_pneumonia, fixed out of fold.

    `balanced`: sensitivity equals specificity; `screening`: the highest with a sensitivity of 0.98.

    Args:
        predictions: out of fold; all rows are used.
    """
    rows = evaluation.collapse(predictions)
    return {
        "balanced": evaluation.balanced_threshold(rows.label, rows.p_pneumonia),
        "screening": evaluation.recall_threshold(rows.label, rows.p_pneumonia),
    }


def nested_calibration(folds: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Log loss and ECE of pneumonia before and after a calibration that was fitted elsewhere.

    Each fold's probabilities are calibrated by what was fitted on the other folds.

    Args:
        folds: prediction tables of three classes, one a fold; their test rows are used.

    Returns:
        Index before, after; columns log_loss and ece.

    Raises:
        UserError: there is one fold only.
    """
    if len(folds) < 2:
        raise UserError("nested_calibration takes two folds or more: raise FOLDS")
    folds, after = [table[table.split == "test"] for table in folds], []
    for number, fold in enumerate(folds):
        others = pd.concat(folds[:number] + folds[number + 1 :])
        calibration = models.fit_calibration(others[evaluation.CLASSES].to_numpy(), others.label)
        p = calibration(fold[evaluation.CLASSES].to_numpy())
        after.append(fold.assign(**dict(zip(evaluation.CLASSES, p.T, strict=True))))
    tables = {"before": pd.concat(folds), "after": pd.concat(after)}
    return pd.DataFrame({name: _losses(table) for name, table in tables.items()}).T


def _losses(table: pd.DataFrame) -> dict[str, float]:
    p = table[evaluation.CLASSES].to_numpy()
    codes = pd.Index(LABELS).get_indexer(table.label)
    p = p / p.sum(axis=1, keepdims=True)  # they are rounded
    return {
        "log_loss": log_loss(codes, p, labels=range(len(LABELS))),
        "ece": evaluation.ece(table, "test"),
    }


def ensemble(
    fits: Sequence[training.Fit], calibration: models.Calibration | None, cache_dir: Path
) -> training.Fit:
    """Fits of one recipe as one that averages their probabilities; one alone stays as it is.

    Args:
        fits: of three classes.
        calibration: of the mean; None leaves it as it is.
        cache_dir: folder of finished fits.
    """
    if len(fits) == 1 and not calibration:
        return fits[0]
    members = tuple(fit.model for fit in fits)
    numbers = dataclasses.astuple(calibration) if calibration else ()
    hashes = [fit.record["settings_hash"] for fit in fits]
    key = short_digest(*hashes, *numbers)
    write_provenance(cache_dir / key, {"members": hashes, "calibration": numbers})
    record = fits[0].record | {
        "parameters": sum(member.count_params() for member in members),
        "train_seconds": round(sum(fit.record["train_seconds"] for fit in fits), 1),
        "settings_hash": key,
    }
    model = models.Ensemble(members, calibration).to_model()
    return training.Fit(model, record, fits[0].history, cache_dir / key)


def soft_labels(table: pd.DataFrame, out_of_fold: pd.DataFrame, share: float = 0.5) -> np.ndarray:
    """What a network is to say of each image that learns from others: (rows, 3), sums of 1.

    Args:
        table: rows of an index.
        out_of_fold: predictions of three classes by networks that have not seen the image; images
            without one keep their label.
        share: weight of these predictions beside the labels, 0-1.
    """
    labels = np.eye(len(LABELS))[pd.Index(LABELS).get_indexer(table.label)]
    said = out_of_fold.set_index("file")[evaluation.CLASSES].reindex(table.file).to_numpy()
    said = np.where(np.isnan(said), labels, said)
    return (1 - share) * labels + share * said / said.sum(axis=1, keepdims=True)


def matched(
    points: dict[str, float], before: pd.DataFrame, after: pd.DataFrame
) -> dict[str, float]:
    """The operating points of another model: those that call as many images; no label is used.

    Args:
        points: thresholds on p_pneumonia, by name.
        before: the predictions that they belong to.
        after: the other model's predictions of the same images.
    """
    old, new = (evaluation.collapse(table).p_pneumonia.to_numpy() for table in (before, after))
    ranked = np.sort(new)[::-1]
    called = {name: int((old >= threshold).sum()) for name, threshold in points.items()}
    return {name: float(ranked[max(count, 1) - 1]) for name, count in called.items()}
