"""The published data set: where it is, how its folders and file names are read.

Kermany, Zhang, Goldbaum, Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for
Classification, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, licence CC BY 4.0. Everything that is
particular to it stands here. A name tells patient, series and label:
`person12_virus_34.jpeg`, `IM-0115-0001.jpeg`, `NORMAL2-IM-0383-0001.jpeg`.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers.utils import UserError

DOI = "10.17632/rscbjbr9sj.2"
URL = (
    "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
    "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded"
)
SHA256 = "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36"
SIZE = 1_235_512_464  # bytes of the zip
COUNT = 5856  # images in it

LABELS = ("normal", "bacteria", "virus")
SPLITS = ("train", "val", "test")
CLASS_FOLDERS = ("NORMAL", "PNEUMONIA")
SUFFIXES = (".jpeg", ".jpg", ".png")
LISTING = ["file", "path", "official_split", "label", "patient", "series", "number"]  # columns
PNEUMONIA_NAME = re.compile(r"(person(\d{1,9}))_(bacteria|virus)_\d+(?:_\d+)?", re.ASCII)
NORMAL_NAME = re.compile(r"((?:NORMAL2-)?IM-(\d{1,9}))-\d+(?:-\d+)?", re.ASCII)


class Name(NamedTuple):
    """What a file name tells."""

    patient: str  # key: person12, IM-0115 or NORMAL2-IM-0383
    series: str  # person, IM or NORMAL2
    number: int  # the integer in the key
    label: str  # normal, bacteria or virus


def parse(file: str | Path) -> Name:
    """Read a file name; raises UserError for a foreign one."""
    stem = Path(file).stem
    if found := PNEUMONIA_NAME.fullmatch(stem):
        return Name(found[1], "person", int(found[2]), found[3])
    if found := NORMAL_NAME.fullmatch(stem):
        return Name(found[1], found[1].split("-")[0], int(found[2]), "normal")
    raise UserError(
        f"the file name {str(file)!r} tells neither patient nor label. Expected names such as "
        "person12_virus_34.jpeg or IM-0115-0001.jpeg, or a labels.csv beside your own pictures"
    )


def resolve(folder: Path | str) -> Path:
    """The folder at or below `folder` that holds train/ and test/ (Kaggle, Mendeley or nested).

    Raises:
        UserError: the folder is missing, or no such folder is in it.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise UserError(f"no data folder at {folder}. Set CHEST_XRAY_DIR, or run `make data`")
    for inner in (folder, folder / "chest_xray", folder / "chest_xray" / "chest_xray"):
        if (inner / "train").is_dir() and (inner / "test").is_dir():
            return inner
    for name in ("train", "test"):
        _refuse_another_case(folder / name)
    raise UserError(
        f"{folder} has no train/ and test/ folder. Expected {folder}/train/NORMAL/*.jpeg and so "
        "on: point CHEST_XRAY_DIR at the folder that holds them, or run `make data`"
    )


def listing(folder: Path | str) -> pd.DataFrame:
    """What the names of the image files below `folder` tell, without opening one.

    Returns:
        One row a file: file (base name), path (absolute), official_split (train, val, test: the
        folder it is in), label, patient, series, number.

    Raises:
        UserError: a class folder is missing or empty, or a name is foreign or in the folder of the
            other class.
        OSError: a folder cannot be read.
    """
    folder, rows = resolve(folder), []
    for split in SPLITS:
        if split == "val" and not (folder / split).exists():
            continue  # the Mendeley layout
        for class_folder in CLASS_FOLDERS:
            paths = _images(folder / split / class_folder)
            rows += [_row(path, split, class_folder) for path in paths]
    return pd.DataFrame(rows, columns=LISTING)


def _refuse_another_case(folder: Path) -> None:
    """Raise UserError when `folder` is not there and one is that differs by its capitals."""
    found = {path.name.lower(): path for path in folder.parent.glob("*")}.get(folder.name.lower())
    if found and found.name != folder.name:
        raise UserError(f"there is no folder {folder.name}: rename {found} to {folder}")


def _images(folder: Path) -> list[str]:
    if not folder.is_dir():
        _refuse_another_case(folder)
        raise UserError(f"the class folder {folder} is missing. Run `make data` again")
    names = [
        name
        for name in sorted(os.listdir(folder))
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    ]
    if not names:
        raise UserError(f"the class folder {folder} holds no image. Run `make data` again")
    return [os.path.join(folder, name) for name in names]


def _row(path: str, split: str, class_folder: str) -> dict:
    name = parse(path)
    if class_folder != CLASS_FOLDERS[name.label != "normal"]:
        raise UserError(
            f"{path} is in the folder of the other class, going by its name. "
            "Move it, or run `make data` again"
        )
    place = {"file": os.path.basename(path), "path": path, "official_split": split}
    return place | name._asdict()
