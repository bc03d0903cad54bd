"""Find the radiographs, and describe them in one table, the index: one row an image."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from helpers import dicom, paths, reading
from helpers.data import folder as labelled
from helpers.data import kermany, synthetic
from helpers.utils import UserError, short_digest, write_atomically

VERSION = 1  # part of the cache's key: raise it when what is found inside a file changes
LARGEST = 2**31  # bytes of one file; no radiograph comes near
COLUMNS = ["file", "path", "official_split", "label", "pneumonia", "patient", "series", "number"]
COLUMNS += ["width", "height", "mode", "bytes", "digest", "duplicate_group", "synthetic"]
INSIDE = {"width", "height", "mode", "bytes", "digest", "synthetic"}  # what a file itself tells
MANIFEST_COLUMNS = ["file", "official_split", "label", "patient", "number", "duplicate_group"]


def find() -> Path:
    """The folder of the radiographs: `CHEST_XRAY_DIR`, `data/chest_xray`, or synthetic ones.

    Raises:
        UserError: `CHEST_XRAY_DIR` is set and holds no radiographs in a known layout.
    """
    named = os.environ.get("CHEST_XRAY_DIR")
    if named:
        return _resolve(named)
    if (paths.DATA / "chest_xray").exists():
        return _resolve(paths.DATA / "chest_xray")
    return synthetic.make(paths.CACHE / "synthetic")


def index(folder: Path | str | None = None, skip_unreadable: bool = False) -> pd.DataFrame:
    """One row an image, sorted by file name; cached, and made again when any file changes.

    Args:
        folder: the published data set (`kermany`), or one with a `labels.csv` (`folder`); `find()`
            when None.
        skip_unreadable: leave unreadable images out, with a printed line, instead of stopping.

    Returns:
        Columns file (base name, unique), path (absolute), official_split (train, val, test),
        label (normal, bacteria, virus, or pneumonia of an unknown pathogen), pneumonia (bool),
        patient (key), series (person, IM, NORMAL2, or other), number (integer of the patient),
        width, height (pixels), mode (Pillow's), bytes, digest (SHA-256 of the file),
        duplicate_group (-1, or shared by byte-identical files), synthetic (bool: the mark of a
        synthetic radiograph is inside the file).

    Raises:
        UserError: a folder is missing or empty, a name cannot be read or occurs twice, or an
            image cannot be read.
    """
    folder = find() if folder is None else _resolve(folder)
    try:
        listing = _listing(folder)
        states = [_state(path) for path in listing.path]
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}. Mend it") from error
    key = short_digest(VERSION, dicom.VERSION, listing.to_dict("list"), states)
    cached = paths.CACHE / f"index-{key}.json"
    if found := _inspected(cached, len(listing)):
        return _tabulate(listing, found)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        contents = list(pool.map(_inspect, listing.path))
    unreadable = [content["error"] for content in contents if "error" in content]
    if unreadable:
        _report_unreadable(unreadable, skip=skip_unreadable and len(unreadable) < len(contents))
    else:
        write_atomically(cached, lambda path: path.write_text(json.dumps(contents)))
    return _tabulate(listing, contents)


def _inspected(cached: Path, count: int) -> list[dict] | None:
    """What was found inside `count` files before; None when it was not kept, or is damaged."""
    try:
        contents = json.loads(cached.read_bytes())
        whole = len(contents) == count and all(content.keys() == INSIDE for content in contents)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return contents if whole else None


def _resolve(folder: Path | str) -> Path:
    folder = Path(folder).absolute()
    return folder if (folder / labelled.TABLE).is_file() else kermany.resolve(folder)


def _listing(folder: Path) -> pd.DataFrame:
    source = labelled if (folder / labelled.TABLE).is_file() else kermany
    table = source.listing(folder).sort_values("file", ignore_index=True)
    twice = table.path[table.file.duplicated(keep=False)]
    if len(twice):
        raise UserError(
            f"the same file name twice: {twice.iloc[0]} and {twice.iloc[1]}. Take one away"
        )
    return table


def _state(path: str) -> tuple[int, int, int]:
    """What changes with a file: its size and its times."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _inspect(path: str) -> dict:
    """What is inside one file, or its error."""
    try:
        state = os.stat(path)
        if not stat.S_ISREG(state.st_mode) or state.st_size > LARGEST:
            raise ValueError("no regular file, or too large")  # such as a pipe: it may never end
        if not state.st_size:
            raise ValueError("the file is empty")
        content = Path(path).read_bytes()
        width, height, mode = reading.header(content)
    except Exception as error:  # decoders raise all kinds
        return {"error": f"{path} ({error})"}
    return {
        "width": width,
        "height": height,
        "mode": mode,
        "bytes": len(content),
        "digest": reading.digest(content),
        "synthetic": synthetic.is_synthetic(content),
    }


def _report_unreadable(unreadable: list[str], skip: bool) -> None:
    few = "; ".join(unreadable[:5]) + ("; ..." if len(unreadable) > 5 else "")
    if not skip:
        raise UserError(
            f"{len(unreadable)} unreadable image(s): {few}. Replace them (`make data`), or set the "
            "parameter SKIP_UNREADABLE to leave them out"
        )
    print(f"left out {len(unreadable)} unreadable image(s): {few}")


def _tabulate(listing: pd.DataFrame, contents: list[dict]) -> pd.DataFrame:
    """The listing beside what is inside its files, without those that cannot be read."""
    readable = ["error" not in content for content in contents]
    inside = pd.DataFrame([content for content in contents if "error" not in content])
    table = listing[readable].reset_index(drop=True).join(inside)
    table["pneumonia"] = table.label != "normal"
    first = table.groupby("digest").file.transform("first")  # the listing is sorted
    groups = first.where(table.digest.duplicated(keep=False))
    table["duplicate_group"] = groups.astype("category").cat.codes.astype(int)
    return table[COLUMNS]


def manifest(table: pd.DataFrame) -> pd.DataFrame:
    """What `data/manifest.csv` holds of an index: who is in which official split, and copies."""
    return table[MANIFEST_COLUMNS]


def dataset(table: pd.DataFrame) -> str:
    """Name of the data, read from the images: synthetic, kermany, kermany_part or other.

    A synthetic radiograph carries a mark inside its file, so a run on them cannot pass for a real
    one. `kermany` has exactly the files of `data/manifest.csv`, `kermany_part` only some of them.

    Raises:
        UserError: synthetic and other images are mixed.
    """
    if table.synthetic.any():
        if not table.synthetic.all():
            raise UserError("the data folder mixes synthetic radiographs with others")
        return "synthetic"
    names, known = set(table.file), set(pd.read_csv(paths.MANIFEST, usecols=["file"]).file)
    if names == known:
        return "kermany"
    return "kermany_part" if names < known else "other"


def labels(table: pd.DataFrame) -> list[str]:
    """The labels that occur, in the order normal, bacteria, virus, pneumonia."""
    return [x for x in (*kermany.LABELS, labelled.PNEUMONIA) if (table.label == x).any()]


def require(table: pd.DataFrame, test: bool = False, pathogens: bool = False) -> None:
    """Stop where these radiographs cannot answer what is asked.

    Args:
        table: an index.
        test: official test images are needed.
        pathogens: every pneumonia has to be bacterial or viral.

    Raises:
        UserError: there are none, or a pathogen is not known.
    """
    lacking = {
        "official test images": test and not (table.official_split == "test").any(),
        "the pathogen of every pneumonia": pathogens and (table.label == labelled.PNEUMONIA).any(),
    }
    for what, lacks in lacking.items():
        if lacks:
            raise UserError(
                f"this notebook needs {what}, which these radiographs do not have: name them in "
                f"{labelled.TABLE} (see data/README.md), or begin with the template"
            )


def describe(table: pd.DataFrame) -> str:
    """One line that says which radiographs a run uses."""
    name, counted = dataset(table), table.label.value_counts()
    counts = ", ".join(f"{counted[label]} {label}" for label in labels(table))
    if name == "synthetic":
        return (
            f"SYNTHETIC radiographs ({counts}), drawn by this project: nothing here says anything "
            "about patients. Run `make data` or set CHEST_XRAY_DIR for the real ones."
        )
    return f"Radiographs of the data set {name}: {counts}."


def disjoint_files(table: pd.DataFrame) -> set[str]:
    """Official test images whose patient does not occur among the training images.

    In the published data set this is the careful reading of the names: `person12` in train and in
    test counts as one patient. IM and NORMAL2-IM numbers are kept apart.
    """
    test = table[table.official_split == "test"]
    seen = set(table.patient[table.official_split != "test"])
    return set(test.file[~test.patient.isin(seen)])
