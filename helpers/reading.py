"""Decode a picture of any kind (JPEG, PNG, DICOM, 8 to 16 bits) to square 8-bit grayscale."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from helpers.utils import UserError

VERSION = 3  # part of the key of decoded images: raise it when decoding changes
STORED_SIDE, STORED_QUALITY = 224, 75  # of the JPEGs that the published model has learnt from
DEPTHS = (8, 10, 12, 14, 16)  # bits of a gray value
ORIENTATION = 0x0112  # EXIF tag; 1 is upright

Decoded = tuple[Image.Image, tuple[int, int, int, int] | None]


def read(path: Path | str, size: int) -> np.ndarray:
    """One image as uint8 grayscale, shape (size, size), values 0-255, as training takes it.

    The aspect ratio is not kept. JPEG draft mode decodes at the smallest scale that is at least
    twice the size asked for (Pillow's `Image.draft`), then an antialiased resize does the rest.

    JPEG, PNG, whatever else Pillow knows, and DICOM. Turned as its EXIF says; what is transparent
    counts as black; more than 8 bits are scaled (see `_to_8_bits`).

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


def header(content: bytes) -> tuple[int, int, str]:
    """Width and height in pixels and mode (Pillow's) of a picture, given as the bytes of its file.

    Raises:
        Exception: of any kind, when the picture is truncated or of no known kind.
    """
    file = io.BytesIO(content)
    if _is_dicom(file):
        gray = _decode_dicom(file)
        return *gray.size, gray.mode
    with Image.open(file) as image:
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


def _decode(path: Path, draft: int | None = None) -> Decoded:
    """A picture of any kind as 8-bit grayscale, and the part of it that counts, if not all.

    An upright JPEG may be decoded at a smaller scale, with sides of at least `draft` pixels.
    """
    with path.open("rb") as file:
        if _is_dicom(file):
            return _decode_dicom(file), None
        with Image.open(file) as picture:
            upright = picture.format == "JPEG" and picture.getexif().get(ORIENTATION, 1) == 1
            if draft and upright:
                drafted = picture.draft("L", (draft, draft))
                # the box leaves out the padding of a scaled decode
                return picture.convert("L"), drafted and drafted[1]
            picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bits(np.asarray(picture))), None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    return picture.convert("L"), None


def _is_dicom(file: BinaryIO) -> bool:
    head = file.read(132)
    file.seek(0)
    return head[128:] == b"DICM"


def _decode_dicom(file: BinaryIO) -> Image.Image:
    """One DICOM picture, after its modality and window transformations, white on black."""
    try:
        from pydicom import dcmread
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError as error:
        raise ImportError(
            "DICOM needs pydicom, which `pip install -e .[dicom]` installs"
        ) from error
    dataset = dcmread(file)
    values = dataset.pixel_array
    kind = dataset.PhotometricInterpretation
    if values.ndim == 3 and dataset.SamplesPerPixel == 3:
        return Image.fromarray(_to_8_bits(values)).convert("L")
    if values.ndim != 2 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"{kind}, {values.shape}: one gray or RGB picture is wanted")
    gray = _to_8_bits(apply_voi_lut(apply_modality_lut(values, dataset), dataset))
    return Image.fromarray(255 - gray if kind == "MONOCHROME1" else gray)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Gray values of any range as 0-255.

    Whole values from 0 on are scaled by their depth, the least of 8, 10, 12, 14 and 16 bits that
    holds all of them: 12 bits may come in a 16-bit file. Others, such as what a DICOM window
    gives, are scaled by their own range.
    """
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise ValueError("values that are not finite")
    if low >= 0 and high < 2 ** DEPTHS[-1] and (values == np.floor(values)).all():
        depth = next(depth for depth in DEPTHS if high < 2**depth)
        return (values.astype(np.uint16) >> (depth - 8)).astype(np.uint8)
    scaled = 255 * (values - float(low)) / max(float(high) - float(low), 1e-12)
    return scaled.round().astype(np.uint8)
