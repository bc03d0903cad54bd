"""Decode a picture of any kind (JPEG, PNG, DICOM, 8 to 16 bits) to square 8-bit grayscale."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from helpers import dicom
from helpers.utils import UserError

VERSION = 3  # part of the key of decoded images: raise it when decoding changes (DICOM has its own)
STORED_SIDE, STORED_QUALITY = 224, 75  # of the JPEGs that the published model has learnt from
# What Pillow decodes by itself: for PostScript, say, it would start another program
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
ORIENTATION = 0x0112  # EXIF tag; 1 is upright

Decoded = tuple[Image.Image, tuple[int, int, int, int] | None]


def read(path: Path | str, size: int) -> np.ndarray:
    """One image as uint8 grayscale, shape (size, size), values 0-255, as training takes it.

    The aspect ratio is not kept. JPEG draft mode decodes at the smallest scale that is at least
    twice the size asked for (Pillow's `Image.draft`), then an antialiased resize does the rest.

    Any of FORMATS, and DICOM. Turned as its EXIF says; what is transparent counts as black; more
    than 8 bits are scaled (see `dicom.to_8_bits`).

    Raises:
        UserError: the file cannot be decoded, or is DICOM and pydicom is not there.
    """
    with _one_line_errors(path):
        gray, box = _decode(Path(path), draft=2 * size)
        return _resized(gray, size, box)


def read_as_stored(path: Path | str, size: int) -> np.ndarray:
    """A picture of any size and kind as the published model sees it: uint8, (size, size), 0-255.

    The model has learnt from files of 224 x 224 pixels, so any other picture is brought to that
    size and through the same JPEG compression first. For the published originals this gives the
    very pixels of their 224-pixel versions: they were made by this filter and quality. The last
    step is the one of `read`, which takes a shortcut (draft mode) for sides of up to 56 pixels.

    Raises:
        UserError: as `read`.
    """
    with _one_line_errors(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata and large pictures
        gray, _ = _decode(Path(path))
        if gray.size != (STORED_SIDE, STORED_SIDE):
            gray = _as_stored(gray)
        return _resized(gray, size)


def about(path: Path | str) -> dict[str, int | str]:
    """What a picture's header says: `width` and `height` in pixels, and more for DICOM.

    Of a DICOM file also those of `dicom.TAGS` that it has.

    Raises:
        UserError: as `read`.
    """
    with _one_line_errors(path), warnings.catch_warnings(), Path(path).open("rb") as file:
        warnings.simplefilter("ignore")
        if dicom.is_dicom(file):
            return dicom.about(file)
        width, height = _opened(file).size
    return {"width": width, "height": height}


def digest(content: bytes) -> str:
    """What a picture is known by, 64 hex digits, given as the bytes of its file: their SHA-256.

    That of a DICOM file changes with `dicom.VERSION` too.
    """
    if dicom.is_dicom(io.BytesIO(content)):
        content += bytes([dicom.VERSION])
    return hashlib.sha256(content).hexdigest()


def header(content: bytes) -> tuple[int, int, str]:
    """Width and height in pixels and mode (Pillow's) of a picture, given as the bytes of its file.

    Raises:
        Exception: of any kind, when the picture is truncated or of no known kind.
    """
    file = io.BytesIO(content)
    if dicom.is_dicom(file):
        gray = dicom.decode(file)
        return *gray.size, gray.mode
    with _opened(file) as image:
        width, height, mode = *image.size, image.mode
        if b"\xff\xd9" not in content[-64:]:  # no end-of-image marker: truncated, or no JPEG
            image.load()
    return width, height, mode


@contextmanager
def _one_line_errors(path: Path | str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise all kinds
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(
            f"cannot read {path} ({reason or type(error).__name__}). "
            "A whole JPEG, PNG or DICOM file is wanted: replace it or take it away"
        ) from error


def _resized(gray: Image.Image, size: int, box=None) -> np.ndarray:
    return np.asarray(gray.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _as_stored(gray: Image.Image) -> Image.Image:
    file = io.BytesIO()
    small = gray.resize((STORED_SIDE, STORED_SIDE), Image.Resampling.BILINEAR)
    small.save(file, "JPEG", quality=STORED_QUALITY)
    return Image.open(file)


def _opened(file: BinaryIO) -> Image.Image:
    picture = Image.open(file, formats=FORMATS)
    # A camera's MPO holds one picture, and smaller ones of it
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        raise ValueError(f"{picture.n_frames} pictures: one is wanted")
    return picture


def _decode(path: Path, draft: int | None = None) -> Decoded:
    """A picture of any kind as 8-bit grayscale, and the part of it that counts, if not all.

    An upright JPEG may be decoded at a smaller scale, with sides of at least `draft` pixels.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        if dicom.is_dicom(file):
            return dicom.decode(file), None
        with _opened(file) as picture:
            upright = picture.format == "JPEG" and picture.getexif().get(ORIENTATION, 1) == 1
            if draft and upright:
                drafted = picture.draft("L", (draft, draft))
                # the box leaves out the padding of a scaled decode
                return picture.convert("L"), drafted and drafted[1]
            picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(dicom.to_8_bits(np.asarray(picture))), None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    return picture.convert("L"), None
