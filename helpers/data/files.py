"""Where the radiographs are, and one table that describes them: one row an image."""

import hashlib
import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pandas as pd
from PIL import Image

from helpers import synthetic
from helpers.settings import CACHE, DATA, LABELS, MANIFEST, UserError, write_atomically

SPLITS = ("train", "val", "test")
FOLDERS = ("NORMAL", "PNEUMONIA")
SUFFIXES = (".jpeg", ".jpg", ".png")
PNEUMONIA_NAME = re.compile(r"(person(\d+))_(bacteria|virus)_\d+(?:_\d+)?$")
NORMAL_NAME = re.compile(r"((?:NORMAL2-)?IM-(\d+))-\d+(?:-\d+)?$")


def find() -> Path:
    """The folder that holds train/ and test/: `CHEST_XRAY_DIR`, `data/chest_xray`, or phantoms.

    Raises:
        UserError: `CHEST_XRAY_DIR` is set and holds no radiographs in a known layout.
    """
    named = os.environ.get("CHEST_XRAY_DIR")
    if named:
        return resolve(named)
    if (DATA / "chest_xray").exists():
        return resolve(DATA / "chest_xray")
    return synthetic.make(CACHE / "synthetic")


def resolve(folder: Path | str) -> Path:
    """The folder below `folder` that holds train/ and test/ (Kaggle, Mendeley or nested layout).

    Raises:
        UserError: the folder is missing, or no such folder is in it.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise UserError(f"no data folder at {folder}. Set CHEST_XRAY_DIR, or run `make data`")
    for inner in (folder, folder / "chest_xray", folder / "chest_xray" / "chest_xray"):
        if (inner / "train").is_dir() and (inner / "test").is_dir():
            return inner
    raise UserError(
        f"{folder} has no train/ and test/ folder. Expected {folder}/train/NORMAL/*.jpeg and so "
        "on: point CHEST_XRAY_DIR at the folder that holds them, or run `make data`"
    )


def patient(file: str) -> str:
    """Patient key in a file name: `person12`, `IM-0115` or `NORMAL2-IM-0383`."""
    return _parse(file)[0]


def label(file: str) -> str:
    """Label in a file name: normal, bacteria or virus."""
    return _parse(file)[2]


def _parse(file: str) -> tuple[str, int, str]:
    """Patient key, number in it, and label; raises UserError for a foreign name."""
    stem = Path(file).stem
    if found := PNEUMONIA_NAME.match(stem):
        return found[1], int(found[2]), found[3]
    if found := NORMAL_NAME.match(stem):
        return found[1], int(found[2]), "normal"
    raise UserError(
        f"the file name {file!r} tells neither patient nor label. Expected names such as "
        "person12_virus_34.jpeg or IM-0115-0001.jpeg"
    )


def index(folder: Path | str | None = None, skip_unreadable: bool = False) -> pd.DataFrame:
    """One row an image, sorted by file name; cached, and made again when any file changes.

    Args:
        folder: the data; `find()` when None.
        skip_unreadable: leave unreadable images out, with a printed line, instead of stopping.

    Returns:
        Columns file (base name, unique), path (absolute), official_split (train, val, test: the
        folder it is in), label (normal, bacteria, virus), pneumonia (bool), patient (key in the
        file name), number (the integer in that key), width, height (pixels), mode (Pillow's),
        bytes, digest (SHA-256 of the file), duplicate_group (-1, or shared by byte-identical
        files), synthetic (bool: the mark of a phantom is inside the file).

    Raises:
        UserError: a folder is missing or empty, a name cannot be read or occurs twice, or an
            image cannot be read.
    """
    folder = find() if folder is None else resolve(folder)
    try:
        listing = _listing(folder)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}. Mend it") from error
    parts = (_code(), pd.__version__, str(folder), listing)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    cached = CACHE / f"index-{key[:20]}.pkl"
    if cached.exists():
        return pd.read_pickle(cached)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(_describe, [folder / name for name, *_ in listing]))
    unreadable = [row["error"] for row in rows if "error" in row]
    if unreadable:
        _report_unreadable(unreadable, skip=skip_unreadable and len(unreadable) < len(rows))
    table = _tabulate([row for row in rows if "error" not in row])
    if not unreadable:
        write_atomically(cached, table.to_pickle)
    return table


@cache
def _code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _listing(folder: Path) -> list[tuple[str, int, int, int]]:
    """Relative name, size and times of every image file, without opening one."""
    found = []
    for split in SPLITS:
        if split == "val" and not (folder / split).exists():
            continue  # the Mendeley layout
        for name in FOLDERS:
            inner = folder / split / name
            if not inner.is_dir():
                raise UserError(f"the class folder {inner} is missing. Run `make data` again")
            entries = [
                entry
                for entry in os.scandir(inner)
                if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
            ]
            if not entries:
                raise UserError(f"the class folder {inner} holds no image. Run `make data` again")
            for entry in entries:
                stat = entry.stat()
                place = f"{split}/{name}/{entry.name}"
                found.append((place, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return sorted(found)


def _describe(path: Path) -> dict:
    """The row of one image, or its error."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            width, height, mode = *image.size, image.mode
            if b"\xff\xd9" not in content[-64:]:  # no end-of-image marker: truncated, or no JPEG
                image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return {"error": f"{path} ({error})"}
    return {
        "file": path.name,
        "path": str(path),
        "official_split": path.parent.parent.name,
        "folder": path.parent.name,
        "width": width,
        "height": height,
        "mode": mode,
        "bytes": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
        "synthetic": synthetic.MARK in content[:2048],
    }


def _report_unreadable(unreadable: list[str], skip: bool) -> None:
    few = "; ".join(unreadable[:5]) + ("; ..." if len(unreadable) > 5 else "")
    if not skip:
        raise UserError(
            f"{len(unreadable)} unreadable image(s): {few}. Replace them (`make data`), or set the "
            "parameter SKIP_UNREADABLE to leave them out"
        )
    print(f"left out {len(unreadable)} unreadable image(s): {few}")


def _tabulate(rows: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(rows).sort_values("file", ignore_index=True)
    twice = table.path[table.file.duplicated(keep=False)]
    if len(twice):
        raise UserError(
            f"the same file name twice: {twice.iloc[0]} and {twice.iloc[1]}. Take one away"
        )
    table["patient"], table["number"], table["label"] = zip(*map(_parse, table.path), strict=True)
    table["pneumonia"] = table.label != "normal"
    misplaced = table.path[table.pneumonia != (table.folder == "PNEUMONIA")]
    if len(misplaced):
        raise UserError(
            f"{misplaced.iloc[0]} is in the folder of the other class, going by its name. "
            "Move it, or run `make data` again"
        )
    first = table.groupby("digest").file.transform("min")
    groups = first.where(table.digest.duplicated(keep=False))
    table["duplicate_group"] = groups.astype("category").cat.codes.astype(int)
    columns = ["file", "path", "official_split", "label", "pneumonia", "patient", "number"]
    columns += ["width", "height", "mode", "bytes", "digest", "duplicate_group", "synthetic"]
    return table[columns]


def dataset(table: pd.DataFrame) -> str:
    """Name of the data, read from the images: synthetic, kermany, kermany_part or other.

    A phantom carries a mark inside its file, so a run on phantoms cannot pass for a real one.
    `kermany` has exactly the files of `data/manifest.csv`, `kermany_part` only some of them.

    Raises:
        UserError: phantoms and other images are mixed.
    """
    if table.synthetic.any():
        if not table.synthetic.all():
            raise UserError("the data folder mixes synthetic radiographs with others")
        return "synthetic"
    names, known = set(table.file), set(pd.read_csv(MANIFEST, usecols=["file"]).file)
    if names == known:
        return "kermany"
    return "kermany_part" if names < known else "other"


def describe(table: pd.DataFrame) -> str:
    """One line that says which radiographs a run uses."""
    name = dataset(table)
    counts = ", ".join(f"{(table.label == label).sum()} {label}" for label in LABELS)
    if name == "synthetic":
        return (
            f"SYNTHETIC radiographs ({counts}), drawn by this project: nothing here says anything "
            "about patients. Run `make data` or set CHEST_XRAY_DIR for the real ones."
        )
    return f"Radiographs of the data set {name}: {counts}."


def disjoint_files(table: pd.DataFrame) -> set[str]:
    """Official test images whose bare patient number does not occur among the training images.

    The careful reading of the names: `person12` in train and in test counts as one patient. IM and
    NORMAL2-IM numbers are kept apart.
    """
    test = table[table.official_split == "test"]
    seen = set(table.patient[table.official_split != "test"])
    return set(test.file[~test.patient.isin(seen)])
