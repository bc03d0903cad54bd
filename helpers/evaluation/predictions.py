"""Prediction tables: what a fit says about every image, and how it compares with the label.

A prediction table has one row an image: `file`, `patient`, `split` (val or test), `label` (normal,
bacteria, virus, or pneumonia where the pathogen is not known), then `p_pneumonia`, or `p_normal,
p_bacteria, p_virus`. Everything in this package is computed from such tables. An image is called
pneumonia when `p_pneumonia >= threshold`.
"""

import numpy as np
import pandas as pd

from helpers.data import LABELS, PNEUMONIA
from helpers.utils import UserError

NORMAL = LABELS[0]
ALL_LABELS = (*LABELS, PNEUMONIA)
CLASSES = [f"p_{label}" for label in LABELS]
FACTS = ["file", "patient", "split", "label"]
DECIMALS = 6  # of a probability: a table in memory and its CSV file hold the same numbers
OUTCOMES = ("found", "missed", "cleared", "false alarm")


def predict(fit, inputs: np.ndarray, table: pd.DataFrame, rows=("val", "test")) -> pd.DataFrame:
    """Prediction table of `fit` for the images whose split is in `rows`, in the table's order.

    `inputs`: images (uint8) or features, one a row of `table`, which has file, patient, split and
    label. `fit.predict(inputs)` gives probabilities: (n,) or (n, 1) of pneumonia, or (n, 3) of
    normal, bacteria, virus. They are rounded to 6 decimals on purpose: the published CSV file then
    holds exactly the numbers that the metrics were computed from. Raises UserError when columns,
    lengths, shapes or probabilities are not such.
    """
    if len(inputs) != len(table):
        raise UserError(f"predict: {len(inputs)} images for {len(table)} rows; load both anew")
    if missing := [name for name in FACTS if name not in table]:
        raise UserError(f"predict: the table lacks {', '.join(missing)}; take it from data.split")
    chosen = table["split"].isin(rows).to_numpy()
    result = table.loc[chosen, FACTS].reset_index(drop=True)
    p = np.asarray(fit.predict(inputs[chosen]), dtype=np.float64)
    if p.shape not in [(len(result),), (len(result), 1), (len(result), 3)]:
        raise UserError(f"predict: shape {p.shape} for {len(result)} images; want 1 or 3 columns")
    if not ((p > -1e-5) & (p < 1 + 1e-5)).all():
        raise UserError("predict: p not in 0-1; the fit diverged, or ends in no sigmoid or softmax")
    columns = CLASSES if p.shape[1:] == (3,) else ["p_pneumonia"]
    result[columns] = p.reshape(-1, len(columns)).clip(0, 1)
    return check(result)


def check(predictions: pd.DataFrame, name: object = "prediction table") -> pd.DataFrame:
    """The table with its probabilities rounded: a CSV reader may have changed their last bit.

    `name` stands for the table in messages. Raises UserError for a missing column, patient or
    probability, one that is not from 0 to 1, or an unknown label.
    """
    columns = CLASSES if has_three_classes(predictions) else ["p_pneumonia"]
    if missing := [name for name in [*FACTS, *columns] if name not in predictions]:
        raise UserError(f"{name}: lacks {', '.join(missing)}; read it by results.predictions")
    p = predictions[columns].apply(pd.to_numeric, errors="coerce")
    if predictions["patient"].isna().any() or p.isna().any(axis=None):
        raise UserError(
            f"{name}: a patient or a probability is missing; predict these images anew "
            "and read the table by results.predictions"
        )
    if not p.stack().between(0, 1).all():
        raise UserError(f"{name}: a probability is not from 0 to 1; predict these images anew")
    if not predictions["label"].isin(ALL_LABELS).all():
        raise UserError(f"{name}: a label is not in {ALL_LABELS}; mend the labels")
    return predictions.assign(**p.astype(np.float64).round(DECIMALS))


def check_pathogens(predictions: pd.DataFrame) -> None:
    """Raise UserError when three classes are to be told apart and a label leaves two of them open.

    A label `pneumonia` is neither bacteria nor virus.
    """
    if (predictions["label"] == PNEUMONIA).any():
        raise UserError(
            f"prediction table: an image is labelled {PNEUMONIA}, its pathogen is not known, so "
            "three classes cannot be evaluated; use evaluation.collapse or leave such images out"
        )


def has_three_classes(predictions: pd.DataFrame) -> bool:
    """Whether the table tells normal, bacteria and virus apart."""
    return CLASSES[0] in predictions


def collapse(predictions: pd.DataFrame) -> pd.DataFrame:
    """The table as normal against pneumonia: p_pneumonia = 1 - p_normal if it has three classes.

    Raises UserError as `check` does.
    """
    table = check(predictions)
    p = 1 - table["p_normal"] if has_three_classes(table) else table["p_pneumonia"]
    return table[FACTS].assign(p_pneumonia=p.round(DECIMALS))


def rows_of(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """The checked rows of one split. Raises UserError when there are none."""
    table = check(predictions)
    table = table[table["split"] == split]
    if table.empty:
        raise UserError(f"prediction table: no rows of split {split}; predict that split first")
    return table


def truth(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of a table of two classes: which images are pneumonias, (n,) booleans, and p_pneumonia."""
    return (table["label"] != NORMAL).to_numpy(), table["p_pneumonia"].to_numpy()


def most_likely(p: np.ndarray) -> np.ndarray:
    """The label with the highest of the probabilities (n, 3), ordered as CLASSES: (n,) texts."""
    return np.array(LABELS)[p.argmax(axis=1)]


def true_and_called(table: pd.DataFrame, threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels as the table tells them apart, and the answers: by argmax if it has three classes.

    Two classes: normal and pneumonia, which is called from `threshold` on. Raises UserError for
    three classes where a pathogen is not known.
    """
    if has_three_classes(table):
        check_pathogens(table)
        return table["label"].to_numpy(), most_likely(table[CLASSES].to_numpy())
    y, p = truth(table)
    return tuple(np.where(yes, PNEUMONIA, NORMAL) for yes in (y, p >= threshold))


def prevalence(predictions: pd.DataFrame, split: str = "test") -> float:
    """The share of pneumonias among the images of a split, 0-1."""
    return float((rows_of(predictions, split)["label"] != NORMAL).mean())


def outcomes(predictions: pd.DataFrame, threshold: float = 0.5, split="test") -> pd.DataFrame:
    """The rows of a split, each with what became of it when called pneumonia from `threshold` on.

    Adds to the table's own columns p_pneumonia; ill, called and right (booleans); and outcome, a
    categorical of OUTCOMES: pneumonias are found or missed, normal images cleared or a false alarm.
    """
    table = rows_of(predictions, split)
    ill, p = truth(collapse(table))
    called = p >= threshold
    names = np.array(OUTCOMES)[2 * ~ill + (ill != called)]
    return table.assign(
        p_pneumonia=p,
        ill=ill,
        called=called,
        right=ill == called,
        outcome=pd.Categorical(names, OUTCOMES),
    )
