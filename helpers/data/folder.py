"""Radiographs of any other hospital: a folder of pictures and a `labels.csv` that describes them.

`labels.csv` has one row a picture, in UTF-8, with the columns

- file: path relative to the folder; its last part, the name of the file, is unique;
- label: normal, bacteria or virus, or pneumonia where the pathogen is not known;
- patient: any text that all pictures of one patient share and no others;
- split (may be left out): train, val or test.
"""

import csv
import os
from pathlib import Path, PurePosixPath

import pandas as pd

from helpers.data.kermany import LABELS, LISTING, SPLITS
from helpers.utils import UserError

PNEUMONIA = "pneumonia"  # the label of a pneumonia whose pathogen is not known
TABLE = "labels.csv"
COLUMNS = ("file", "label", "patient")


def listing(folder: Path | str) -> pd.DataFrame:
    """What `labels.csv` tells of the pictures in `folder`, without opening one.

    Returns:
        One row a picture: file (base name), path (absolute), official_split (the column split;
        train where there is none), label, patient, series ("other"), number (of the patient, in the
        order of the file, from 1).

    Raises:
        UserError: the file cannot be read, is empty or lacks a column, a cell is empty or unknown,
            a picture is missing, or two have the same name.
    """
    folder = Path(folder).absolute()
    table = _read(folder / TABLE)
    names = table.file.map(lambda file: PurePosixPath(file).name)
    paths = table.file.map(lambda file: str(folder / file))
    splits = table.get("split", pd.Series("train", table.index))
    labels = (*LABELS, PNEUMONIA)
    wrong = {
        "lacks a file, label or patient": (table[list(COLUMNS)] == "").any(axis=1),
        f"has a label that is none of {', '.join(labels)}": ~table.label.isin(labels),
        f"has a split that is none of {', '.join(SPLITS)}": ~splits.isin(SPLITS),
        "has the file name of an earlier one, if folders are left out": names.duplicated(),
        f"names a file that is not in {folder}": ~paths.map(os.path.isfile),
    }
    for what, rows in wrong.items():
        if rows.any():
            row = rows.to_numpy().argmax()
            raise UserError(
                f"{folder / TABLE}: picture {row + 1}, {table.file[row]!r}, {what}. Correct it"
            )
    numbers = pd.factorize(table.patient)[0] + 1
    listed = table.assign(file=names, path=paths, official_split=splits, series="other")
    return listed.assign(number=numbers)[LISTING]


def _read(path: Path) -> pd.DataFrame:
    """The table as text, without blanks around it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path} ({error}). Save it as CSV in UTF-8") from error
    header, *rows = [line for line in lines if any(line)] or [[]]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]}. Needed: {', '.join(COLUMNS)}, and split if there "
            f"is one, with commas between them; found: {', '.join(header) or 'nothing'}"
        )
    if not rows:
        raise UserError(f"{path} names no picture: give it one row for each")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UserError(
                f"{path}: picture {number} has {len(row)} cells for {len(header)} columns. "
                "Correct it; a comma within a cell needs quotes around the cell"
            )
    return pd.DataFrame(rows, columns=header)
