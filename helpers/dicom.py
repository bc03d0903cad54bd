"""DICOM: its one picture as 8-bit grayscale, and what its header says of it."""

from typing import BinaryIO

import numpy as np
from PIL import Image

VERSION = 2  # part of the digest of a DICOM file (see `reading.digest`): raise it as there
DEPTHS = (8, 10, 12, 14, 16)  # bits of a gray value
UNWINDOWED = (0.5, 99.5)  # percentiles that become black and white where no window is given
WINDOW = ("WindowCenter", "WindowWidth")
DEFLATED = b"1.2.840.10008.1.2.1.99"  # unpacked without a limit when it is read: a zip bomb's way
TAGS = ("BodyPartExamined", "PatientAge", "ViewPosition")


def is_dicom(file: BinaryIO) -> bool:
    """Whether an open file begins as DICOM does; it stays at its beginning."""
    head = file.read(132)
    file.seek(0)
    return head[128:] == b"DICM"


def decode(file: BinaryIO) -> Image.Image:
    """The picture, bright where more of the rays were absorbed: 8-bit grayscale.

    Its modality, window and presentation transformations are applied in that order. More than 8
    bits without a window are spread from their 0.5 to their 99.5 percentile.

    Raises:
        Exception: of any kind, when there is no one picture of gray or RGB values.
    """
    dataset = _read(file)
    for name in (*WINDOW, "VOILUTSequence"):  # given and empty is as good as not given
        if name in dataset and dataset[name].is_empty:
            del dataset[name]
    kind, count = dataset.PhotometricInterpretation, int(dataset.get("NumberOfFrames") or 1)
    if count != 1:
        raise ValueError(f"{count} frames: one picture is wanted")
    if dataset.Rows * dataset.Columns > 2 * Image.MAX_IMAGE_PIXELS:  # where Pillow stops as well
        raise ValueError(f"{dataset.Columns} x {dataset.Rows} pixels are too many")
    values = dataset.pixel_array
    if values.ndim == 3 and dataset.SamplesPerPixel == 3:
        return Image.fromarray(to_8_bits(values)).convert("L")
    if values.ndim != 2 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"{kind}, {values.shape}: one gray or RGB picture is wanted")
    gray = to_8_bits(_presented(values, dataset))
    return Image.fromarray(255 - gray if kind == "MONOCHROME1" and not _inverts(dataset) else gray)


def about(file: BinaryIO) -> dict[str, int | str]:
    """What the header says: `width` and `height` in pixels, and those of `TAGS` that it has.

    These are texts in capitals, as they were written.
    """
    dataset = _read(file, stop_before_pixels=True, specific_tags=["Columns", "Rows", *TAGS])
    found = {name: str(dataset.get(name) or "").strip().upper() for name in TAGS}
    found = {name: value for name, value in found.items() if value}
    return {"width": dataset.Columns, "height": dataset.Rows, **found}


def _read(file: BinaryIO, **options):
    try:
        from pydicom import dcmread
    except ImportError as error:
        raise ImportError(
            "DICOM needs pydicom, which `pip install -e .[dicom]` installs"
        ) from error
    if DEFLATED in file.read():
        raise ValueError("deflated DICOM is not read")
    file.seek(0)
    return dcmread(file, **options)


def _presented(values: np.ndarray, dataset) -> np.ndarray:
    """Gray values as they are to be shown, but for the meaning of MONOCHROME1."""
    from pydicom.pixels import apply_modality_lut, apply_presentation_lut, apply_voi_lut

    values = apply_modality_lut(values, dataset)
    if "VOILUTSequence" in dataset or all(name in dataset for name in WINDOW):
        values = apply_voi_lut(values, dataset)
    elif dataset.BitsStored > 8:
        low, high = np.percentile(values, UNWINDOWED)
        values = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    return apply_presentation_lut(values, dataset)


def _inverts(dataset) -> bool:
    """Whether the presentation transformation has made of MONOCHROME1 what is bright when high."""
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    return "PresentationLUTSequence" in dataset or shape == "INVERSE"


def to_8_bits(values: np.ndarray) -> np.ndarray:
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
