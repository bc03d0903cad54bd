"""Reads the files of a folder of results, and refuses what is damaged or of another format."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from helpers import data
from helpers.utils import UserError

AGAIN = "Delete it and run the notebooks again (`make run`): finished fits are kept"


def table(path: Path, columns: Collection[str], key: Sequence[str] = (), **options) -> pd.DataFrame:
    """A CSV file.

    Args:
        path: of the file.
        columns: that it must have.
        key: columns that no two rows share.
        options: of `pandas.read_csv`.

    Raises:
        UserError: it cannot be read, lacks a column, or has a row twice.
    """
    try:
        found = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({str(error).strip()}). {AGAIN}") from error
    missing = [name for name in columns if name not in found]
    if missing:
        raise UserError(f"{path} has no column {missing[0]}: an older version wrote it. {AGAIN}")
    if key and found.duplicated(list(key)).any():
        row = found[found.duplicated(list(key))].iloc[0]
        raise UserError(f"{path} has {' '.join(str(row[name]) for name in key)} twice. {AGAIN}")
    return found


def facts(path: Path) -> dict:
    """What a JSON file holds.

    Raises:
        UserError: it is damaged, or holds something else than named facts.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}). {AGAIN}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no named facts. {AGAIN}")
    return found


def thresholds(path: Path, experiment: str) -> dict[str, float]:
    """The operating points of a final model in the file of its selection, by name; empty without.

    Raises:
        UserError: one is no number from 0 to 1, or the file is damaged.
    """
    by_model = facts(path).get("thresholds", {}) if path.exists() else {}
    found = by_model.get(experiment, {}) if isinstance(by_model, dict) else None
    if not isinstance(found, dict):
        raise UserError(f"{path} names no thresholds as it should. {AGAIN}")
    for name, value in found.items():
        if not (isinstance(value, int | float) and 0 <= value <= 1):
            raise UserError(f"{path}: the threshold {name} is {value!r}, not from 0 to 1. {AGAIN}")
    return found


def check_images(path: Path, predictions: pd.DataFrame, manifest: pd.DataFrame, official: bool):
    """Hold the rows of a prediction table against the manifest.

    Args:
        path: of the table, for the message.
        predictions: with the columns file, split and label.
        manifest: of the same images.
        official: whether the official test images are what is tested.

    Raises:
        UserError: an image is unknown, has another label or split than it may, or a test image is
            missing.
    """
    known = manifest.set_index("file")
    unknown = predictions.file[~predictions.file.isin(known.index)]
    again = "run the notebook that predicted them again"
    if len(unknown):
        raise UserError(
            f"{path}: the manifest lacks {len(unknown)} of its images, such as {unknown.iloc[0]}; "
            f"{again}"
        )
    wrong = {
        "another label than in the manifest": predictions.label
        != predictions.file.map(known.label),
        f"a split that is none of {', '.join(data.SPLITS)}": ~predictions.split.isin(data.SPLITS),
    }
    for what, rows in wrong.items():
        if rows.any():
            raise UserError(f"{path}: {predictions.file[rows].iloc[0]} has {what}; {again}")
    tested = set(predictions.file[predictions.split == "test"])
    missing = set(known.index[known.official_split == "test"]) - tested
    if official and tested and missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the official test images, such as {min(missing)}; "
            f"{again}"
        )
