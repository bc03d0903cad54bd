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
        UserError: as `labelled_pictures`, or a split is unknown, or two pictures have one name.
    """
    table = labelled_pictures(folder)
    names = table.file.map(lambda file: PurePosixPath(file).name)
    splits = table.get("split", pd.Series("train", table.index))
    wrong = {
        f"has a split that is none of {', '.join(SPLITS)}": ~splits.isin(SPLITS),
        "has the file name of an earlier one, if folders are left out": names.duplicated(),
    }
    _refuse(Path(folder).absolute() / TABLE, table, wrong)
    numbers = pd.factorize(table.patient)[0] + 1
    listed = table.assign(file=names, official_split=splits, series="other", number=numbers)
    return listed[LISTING]


def labelled_pictures(
    folder: Path | str, labels: Path | str | None = None, patients: bool = True
) -> pd.DataFrame:
    """The pictures that a table names, none of them opened.

    Args:
        folder: of the pictures.
        labels: the table; None for `labels.csv` in the folder.
        patients: whether the column patient is needed; without it each picture is a patient.

    Returns:
        The table's columns, file, label and patient among them, and path (absolute).

    Raises:
        UserError: the table cannot be read, is empty or lacks a column, a cell is empty, a label is
            unknown, or a picture is missing, outside the folder or named twice.
    """
    folder = Path(folder).absolute()
    source = Path(labels).absolute() if labels else folder / TABLE
    table = _read(source, COLUMNS if patients else COLUMNS[:2])
    if "patient" not in table:
        table["patient"] = table.file
    paths = table.file.map(lambda file: str(folder / file))
    known = (*LABELS, PNEUMONIA)
    wrong = {
        "lacks a file, label or patient": (table[list(COLUMNS)] == "").any(axis=1),
        f"has a label that is none of {', '.join(known)}": ~table.label.isin(known),
        "has the file name of an earlier one": table.file.duplicated(),
        f"leads out of {folder}": table.file.map(_leads_out),
        f"names a file that is not in {folder}": ~paths.map(os.path.isfile),
    }
    _refuse(source, table, wrong)
    return table.assign(path=paths)


def _leads_out(file: str) -> bool:
    return PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts


def _refuse(source: Path, table: pd.DataFrame, wrong: dict[str, pd.Series]) -> None:
    """Raise UserError for the first row that something is wrong with."""
    for what, rows in wrong.items():
        if rows.any():
            row = rows.to_numpy().argmax()
            raise UserError(f"{source}: picture {row + 1}, {table.file[row]!r}, {what}. Correct it")


def _read(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """The table as text, without blanks around it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path} ({error}). Save it as CSV in UTF-8") from error
    header, *rows = [line for line in lines if any(line)] or [[]]
    missing = [column for column in needed if column not in header]
    if missing:
        further = " and ".join((*COLUMNS, "split")[len(needed) :])
        raise UserError(
            f"{path} has no column {missing[0]}. Needed: {', '.join(needed)}, and {further} if "
            f"there is one, with commas between them; found: {', '.join(header) or 'nothing'}"
        )
    if twice := [column for column in needed if header.count(column) > 1]:
        raise UserError(f"{path} has the column {twice[0]} twice. Rename the one not to be read")
    if not rows:
        raise UserError(f"{path} names no picture: give it one row for each")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UserError(
                f"{path}: picture {number} has {len(row)} cells for {len(header)} columns. "
                "Correct it; a comma within a cell needs quotes around the cell"
            )
    return pd.DataFrame(rows, columns=header)
