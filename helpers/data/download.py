"""Get the radiographs: download the published zip, or take a zip or folder that is already here.

    python -m helpers.data.download [--from ZIP_OR_FOLDER] [--target DIR]

Everything is written aside and renamed when complete, so the target never holds half the data.
"""

import argparse
import errno
import shutil
import stat
import sys
import time
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import BinaryIO
from urllib.parse import urljoin

import pooch
import requests
from tqdm import tqdm

from helpers import paths
from helpers.data.kermany import (
    CLASS_FOLDERS,
    COUNT,
    DOI,
    SHA256,
    SIZE,
    SPLITS,
    SUFFIXES,
    URL,
    resolve,
)
from helpers.utils import UserError, command_line

BY_HAND = (
    f"To get the data by hand, open https://doi.org/{DOI} or "
    "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia in a browser, download "
    "the chest X-ray zip and run `make data FROM=/path/to.zip`, or unpack it and set "
    "CHEST_XRAY_DIR to the folder that holds train/ and test/"
)
LAYOUT = "Expected images in train/NORMAL, train/PNEUMONIA, test/NORMAL and test/PNEUMONIA"

MOST_TIMES, FREE_SIZE = 20, 10**8  # a zip may unpack to so many times its bytes, and these bytes

Images = dict[str, tuple[int, Callable[[], BinaryIO]]]  # train/NORMAL/x.jpeg: bytes, how to open


def download(
    target: Path | str | None = None,
    source: Path | str | None = None,
    url: str = URL,
    sha256: str = SHA256,
    size: int = SIZE,
    *,
    attempts: int = 3,
    pause: float = 5,
) -> Path:
    """Put the radiographs into `target` as {train,val,test}/{NORMAL,PNEUMONIA}/*, if not yet there.

    Args:
        target: the new folder, data/chest_xray when None; it must be missing, empty, or hold the
            data already.
        source: a zip or folder that is already here; None downloads `url`.
        url, sha256, size: address, hash (hexadecimal) and bytes of the zip.
        attempts: how often a failing connection is tried.
        pause: seconds between attempts.

    Returns:
        The absolute path of `target`.

    Raises:
        UserError: the download fails, leaves https or gives other bytes, the source is no zip or
            folder with the data, a zip is unsafe, or the disk is full or read-only. `target` is as
            it was before.
    """
    target = Path(target or paths.DATA / "chest_xray").expanduser().absolute()
    workspace = target.with_name(f"{target.name}.download")
    try:
        if _is_done(target):
            return target
        workspace.mkdir(parents=True, exist_ok=True)
        if source is None:
            zip_path = _fetch(url, sha256, size, workspace, attempts=attempts, pause=pause)
            _take_zip(zip_path, workspace, target)
        else:
            _take_own(Path(source).expanduser().absolute(), sha256, workspace, target)
        shutil.rmtree(workspace, ignore_errors=True)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error
        raise UserError(
            f"cannot put the data into {target}: {reason}. Free some disk space or make the folder "
            "writable, or choose another one with --target DIR"
        ) from error
    finally:
        with suppress(OSError):
            workspace.rmdir()  # unless it keeps the checked zip for the next call
    return target


def _is_done(target: Path) -> bool:
    """Whether the data is there; UserError when something else is."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    try:
        images = _in_folder(target)
    except UserError as error:
        raise UserError(
            f"{target} exists and does not hold all of the data. {LAYOUT}. Move or delete it, or "
            "choose another folder with --target DIR"
        ) from error
    print(f"The data is already in {target} ({_count(images)}); nothing to do.")
    return True


def _fetch(url: str, sha256: str, size: int, folder: Path, *, attempts: int, pause: float) -> Path:
    """Download the zip; its name appears only once its hash is right (pooch.retrieve)."""
    if not url.startswith("https://"):
        raise UserError(f"{url} is no https address: give one. {BY_HAND}")
    zip_path = folder / "chest_xray.zip"
    _check_room(folder, 1.1 * size if zip_path.exists() else 2.1 * size)  # JPEG hardly compresses
    pooch.get_logger().setLevel("WARNING")
    for attempt in range(1, attempts + 1):
        print(f"Downloading {url} ({size / 1e9:.2f} GB), attempt {attempt} of {attempts}")
        try:
            with tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
                downloader = pooch.HTTPDownloader(bar, 2**20, hooks={"response": _check_https})
                pooch.retrieve(url, sha256, zip_path.name, folder, downloader=downloader)
            return zip_path
        except (requests.RequestException, ValueError) as error:  # ValueError: another hash
            reason = error
        if not _is_passing(reason):
            break
        if attempt < attempts:
            time.sleep(pause)
    raise UserError(
        f"the download of {url} failed: {str(reason).rstrip('.')}. Run again later. {BY_HAND}"
    )


def _check_https(answer: requests.Response, **_) -> None:
    """Raise ValueError when a server leads to another address, and not over https."""
    onward = urljoin(answer.url, answer.headers.get("Location", ""))
    if not onward.startswith("https://"):
        raise ValueError(f"it leads to {onward}, which is no https address")


def _is_passing(error: Exception) -> bool:
    """Whether another attempt may help: no for other bytes or an answer such as 404."""
    response = getattr(error, "response", None)
    refused = response is not None and response.status_code < 500
    return isinstance(error, requests.RequestException) and not refused


def _take_own(source: Path, sha256: str, workspace: Path, target: Path) -> None:
    """Fill `target` from the user's zip or folder, which stays as it is."""
    if source.is_dir():
        print(f"Copying. CHEST_XRAY_DIR={source} would also do, without a copy.")
        _fill(_in_folder(source), workspace, target)
    elif source.is_file():
        known = pooch.file_hash(str(source)) == sha256
        other = "another zip than Mendeley's (as Kaggle's is), so its contents are not verified"
        print(f"{source} is {'the published Mendeley zip (SHA-256 verified)' if known else other}.")
        _take_zip(source, workspace, target)
    else:
        raise UserError(f"no zip or folder at {source}. {BY_HAND}")


def _take_zip(zip_path: Path, workspace: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(zip_path) as archive:
            _fill(_in_zip(archive), workspace, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise UserError(f"{zip_path} is no zip or a broken one ({error}). {BY_HAND}") from error


def _in_zip(archive: zipfile.ZipFile) -> Images:
    """The images in the uppermost folder of the zip that holds train/ and test/."""
    folders = defaultdict(dict)
    for member in archive.infolist():
        path = PureWindowsPath(member.filename)  # knows / and \ and drive letters
        link = stat.S_ISLNK(member.external_attr >> 16)
        if path.anchor or ".." in path.parts or ":" in member.filename or link:
            raise _unsafe(archive, f"{member.filename!r} is a link or leads out of the folder")
        if _is_image(path) and not member.is_dir():
            image = (member.file_size, partial(archive.open, member))
            held, place = folders[path.parts[:-3]], "/".join(path.parts[-3:])
            if place in held:
                raise _unsafe(archive, f"{member.filename!r} is in it twice")
            held[place] = image
    packed = Path(archive.filename).stat().st_size
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_TIMES * packed + FREE_SIZE:  # pictures hardly compress
        raise _unsafe(archive, f"it unpacks to {unpacked / 1e9:.1f} GB, as no pictures do")
    for _, images in sorted(folders.items(), key=lambda item: len(item[0])):
        if _is_complete(images):
            return images
    raise UserError(f"{archive.filename} does not hold the data. {LAYOUT}. {BY_HAND}")


def _unsafe(archive: zipfile.ZipFile, why: str) -> UserError:
    return UserError(f"{archive.filename} is unsafe: {why}. Nothing was unpacked. {BY_HAND}")


def _in_folder(folder: Path) -> Images:
    root = resolve(folder)
    paths = (path for path in root.glob("*/*/*") if _is_image(path) and path.is_file())
    images = {
        path.relative_to(root).as_posix(): (path.stat().st_size, partial(path.open, "rb"))
        for path in paths
    }
    if not _is_complete(images):
        raise UserError(f"{folder} does not hold all of the data. {LAYOUT}")
    return images


def _is_image(path) -> bool:
    """Whether a path ends like train/NORMAL/x.jpeg and is none of the hidden files of macOS."""
    if len(path.parts) < 3 or "__MACOSX" in path.parts or path.name.startswith("."):
        return False
    *_, split, name, file = path.parts
    return split in SPLITS and name in CLASS_FOLDERS and file.lower().endswith(SUFFIXES)


def _is_complete(images: Images) -> bool:
    held = {tuple(place.split("/")[:2]) for place in images}
    return held >= {(split, name) for split in ("train", "test") for name in CLASS_FOLDERS}


def _fill(images: Images, workspace: Path, target: Path) -> None:
    """Write the images aside, then rename the folder to `target`."""
    _check_room(workspace, sum(size for size, _ in images.values()))
    with TemporaryDirectory(dir=workspace) as aside:
        ready = Path(aside) / "ready"
        for place, (_, open_image) in tqdm(images.items(), unit="image", disable=None):
            path = ready / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_image() as original, path.open("wb") as copy:
                shutil.copyfileobj(original, copy)
        if target.is_dir():
            target.rmdir()  # it is empty
        ready.rename(target)
    print(f"The data is in {target} ({_count(images)}).")


def _count(images: Images) -> str:
    note = "" if len(images) == COUNT else f"; the published set has {COUNT:,}"
    return f"{len(images):,} images{note}"


def _check_room(folder: Path, needed: float) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder.parent} has {free / 1e9:.2f} GB free and the data needs {needed / 1e9:.2f} "
            "GB. Free some disk space, or choose a folder on another disk with --target DIR"
        )


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m helpers.data.download", description=summary)
    parser.add_argument(
        "--from", dest="source", metavar="ZIP_OR_FOLDER", help="data that is already here"
    )
    parser.add_argument(
        "--target", metavar="DIR", default=paths.DATA / "chest_xray", help="new folder"
    )
    options = parser.parse_args(arguments)
    download(options.target, options.source or None)


if __name__ == "__main__":
    sys.exit(main())
