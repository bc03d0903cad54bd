"""Odd and broken pictures, made by code from a good one: each with what the predictor is to do."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from helpers.predict import NO_CHEST, NO_DETAIL
from helpers.predict.checks import NARROW
from tests import builders

ANSWERED, REFUSED, UNREAD, ANY = (
    "answered",
    "no decision",
    "not read",
    "any of the three, in a line",
)
SYNTAXES = {  # of compressed DICOM, by their names in GDCM
    "JPEG Lossless": "JPEGLosslessProcess14_1",
    "JPEG-LS": "JPEGLSLossless",
    "JPEG 2000": "JPEG2000Lossless",
    "RLE": "RLELossless",
}


class Case(NamedTuple):
    """A picture and what is to come of it.

    Attributes:
        name: of the case.
        make: writes it into a folder, given a good film (grayscale), and gives its path.
        outcome: one of ANSWERED (as the film is), REFUSED, UNREAD and ANY.
        says: a part of the line.
    """

    name: str
    make: Callable[[Path, Image.Image], Path]
    outcome: str
    says: str = ""


def _save(name: str, change=lambda film: film, **options):
    """A maker that saves the film, changed, under a name."""

    def make(folder: Path, film: Image.Image) -> Path:
        change(film).save(folder / name, **options)
        return folder / name

    return make


def _bytes(name: str, change, source=None):
    """A maker that changes the bytes of what another one, or one of PNG, writes."""

    def make(folder: Path, film: Image.Image) -> Path:
        path = (source or _save("source.png"))(folder, film)
        content = change(path.read_bytes())
        path.unlink()
        (folder / name).write_bytes(content)
        return folder / name

    return make


def flipped(content: bytes, *places: float) -> bytes:
    """Bytes with a bit flipped at each place, a share of their number."""
    changed = bytearray(content)
    for place in places:
        changed[int(place * len(changed))] ^= 8
    return bytes(changed)


def _deep(factor: int):
    return lambda film: Image.fromarray(np.asarray(film).astype(np.uint16) * factor)


def _array(make_values):
    return lambda _: Image.fromarray(np.asarray(make_values()).astype(np.uint8))


def _radial() -> np.ndarray:
    y, x = np.mgrid[:500, :500]
    return 255 - 255 * np.hypot(y - 250, x - 250) / 354


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width))


def _bomb(folder: Path, film: Image.Image) -> Path:
    """The header of a PNG of 20,000 x 20,000 pixels, and no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        size, check = len(content), zlib.crc32(kind + content)
        return struct.pack(">I", size) + kind + content + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    rest = chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + rest)
    return folder / "bomb.png"


def _several(name: str):
    """A maker of a file with three pictures."""

    def make(folder: Path, film: Image.Image) -> Path:
        others = [film.rotate(angle) for angle in (1, 2)]
        film.save(folder / name, save_all=True, append_images=others)
        return folder / name

    return make


def _link(target: str):
    def make(folder: Path, film: Image.Image) -> Path:
        film.save(folder / "film.png")
        (folder / "link.png").symlink_to(target)
        return folder / "link.png"

    return make


def _folder(folder: Path, film: Image.Image) -> Path:
    (folder / "folder.png").mkdir()
    return folder / "folder.png"


def _pipe(folder: Path, film: Image.Image) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def _dicom(kind: str = "MONOCHROME2", factor: int = 1, offset: int = 0, change=None, **tags):
    """A maker of DICOM; more than 8 bits where there is a factor or an offset."""

    def make(folder: Path, film: Image.Image) -> Path:
        values = np.asarray(film)
        if change:
            values = change(values)
        if factor > 1 or offset:
            values = values.astype(np.uint16) * factor + offset
        return builders.save_dicom(folder / "film.dcm", values, kind, **tags)

    return make


def _inverted(values: np.ndarray) -> np.ndarray:
    return 255 - values


def _compressed(syntax: str):
    """A maker of DICOM of 12 bits in one of SYNTAXES."""

    def make(folder: Path, film: Image.Image) -> Path:
        import gdcm

        path = _dicom(factor=16, BitsStored=12, **FULL)(folder, film)
        reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(path))
        assert reader.Read()
        kind = getattr(gdcm.TransferSyntax, SYNTAXES[syntax])
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
        return path

    return make


def _edited(edit):
    """A maker that changes the dataset of a good DICOM file."""

    def make(folder: Path, film: Image.Image) -> Path:
        import pydicom

        path = _dicom()(folder, film)
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(path)
        return path

    return make


def _without_pixels(dataset) -> None:
    del dataset.PixelData


def _cut_short(dataset) -> None:
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]


def _enormous(dataset) -> None:
    dataset.Rows = dataset.Columns = 20_000


def _deflated(dataset) -> None:
    import pydicom

    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian


def _as_jpeg(dataset) -> None:
    import pydicom

    file = io.BytesIO()
    Image.fromarray(dataset.pixel_array).save(file, "JPEG", quality=95)
    dataset.PixelData = pydicom.encaps.encapsulate([file.getvalue()])
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit


def _palette(dataset) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"


FULL = {"WindowCenter": 2048, "WindowWidth": 4096}  # of 12 bits
PICTURES = [
    Case("JPEG", _save("x.jpeg", quality=95), ANSWERED),
    Case("JPEG cut off", _bytes("x.jpeg", lambda x: x[:900], _save("y.jpeg")), UNREAD, "truncated"),
    Case("JPEG cut off near its end", _bytes("x.jpeg", lambda x: x[:-99], _save("y.jpeg")), UNREAD),
    Case(
        "JPEG, a bit of its first byte flipped",
        _bytes("x.jpeg", lambda x: flipped(x, 0), _save("y.jpeg")),
        UNREAD,
    ),
    Case(
        "JPEG, three bits of its pixels flipped",
        _bytes("x.jpeg", lambda x: flipped(x, 0.3, 0.6, 0.9), _save("y.jpeg")),
        ANY,
    ),
    Case("PNG cut off", _bytes("x.png", lambda x: x[: len(x) // 2]), UNREAD),
    Case("PNG, a bit of its pixels flipped", _bytes("x.png", lambda x: flipped(x, 0.5)), UNREAD),
    Case("PNG named .jpeg", _save("x.jpeg", format="PNG"), ANSWERED),
    Case("JPEG named .dcm", _save("x.dcm", format="JPEG", quality=95), ANSWERED),
    Case("PNG of 16 bits", _save("x.png", _deep(257)), ANSWERED),
    Case("PNG of 16 bits, 12 in use", _save("x.png", _deep(16)), ANSWERED),
    Case("JPEG in CMYK", _save("x.jpg", lambda x: x.convert("CMYK"), quality=95), ANSWERED),
    Case("PNG with a palette", _save("x.png", lambda x: x.convert("P")), ANSWERED),
    Case("PNG with alpha", _save("x.png", lambda x: x.convert("LA")), ANSWERED),
    Case("JPEG 2000", _save("x.jp2"), ANSWERED),
    Case("TIFF", _save("x.tiff"), ANSWERED),
    Case("GIF", _save("x.gif"), ANSWERED),
    Case("animated GIF", _several("x.gif"), UNREAD, "3 pictures: one is wanted"),
    Case("animated PNG", _several("x.png"), UNREAD, "3 pictures: one is wanted"),
    Case("TIFF of several pages", _several("x.tiff"), UNREAD, "3 pictures: one is wanted"),
    Case(
        "TIFF with values that are not finite",
        _save("x.tiff", lambda _: Image.fromarray(np.full((9, 9), np.nan, np.float32))),
        UNREAD,
        "not finite",
    ),
    Case("PostScript, which a program would run", _save("x.eps"), UNREAD, "cannot identify"),
    Case("1 x 1 pixel", _save("x.png", lambda x: x.resize((1, 1))), REFUSED, NO_CHEST),
    Case("20,000 x 20,000 pixels, only a header", _bomb, UNREAD, "exceeds limit"),
    Case("3 x 3,000 pixels", _save("x.png", _array(partial(_noise, 3000, 3))), REFUSED, NARROW),
    Case(
        "a strip of a film", _save("x.png", lambda x: x.crop((0, 60, x.width, 90))), REFUSED, NARROW
    ),
    Case("a radial gradient", _save("x.png", _array(_radial)), REFUSED, NO_CHEST),
    Case("noise", _save("x.png", _array(partial(_noise, 300, 300))), REFUSED, NO_CHEST),
    Case("black", _save("x.png", lambda x: x.point(lambda _: 0)), REFUSED, NO_CHEST),
    Case(
        "enlarged from 28 pixels",
        _save("x.png", lambda x: x.resize((28, 28)).resize((500, 500))),
        REFUSED,
        NO_DETAIL,
    ),
    Case("no bytes", _bytes("x.png", lambda _: b""), UNREAD),
    Case("a text", _bytes("x.png", lambda _: b"no picture\nat all"), UNREAD),
    Case("a folder", _folder, UNREAD, "Is a directory"),
    Case("nothing", lambda folder, _: folder / "missing.png", UNREAD, "No such file"),
    Case("a pipe", _pipe, UNREAD, "not a regular file"),
    Case("a link to a film", _link("film.png"), ANSWERED),
    Case("a link to nothing", _link("missing.png"), UNREAD, "No such file"),
    Case("a link to itself", _link("link.png"), UNREAD, "symbolic links"),
    Case("the name -", lambda *_: Path("-"), UNREAD, "cannot read - (No such file"),
    Case(
        "a name in other scripts", _save("胸部 رئة лёгкие 🫁.png"), ANSWERED, "胸部 رئة лёгкие 🫁"
    ),
    Case("a name of two lines", _save("one\ntwo\r\x1b[2J.png"), ANSWERED, r"one\ntwo\r\x1b[2J.png"),
    Case("a name with quotes", _save("""it's "$(x)" `y` %s {z}.png"""), ANSWERED, "$(x)"),
    Case("a name that is no text", _save(os.fsdecode(b"\xff\xfe.png")), ANSWERED, r"\udcff"),
    Case("a name of 255 bytes", _save("é" * 125 + "x.png"), ANSWERED),
]
DICOM = [
    Case("MONOCHROME2, 8 bits", _dicom(), ANSWERED),
    Case("MONOCHROME1, 8 bits", _dicom("MONOCHROME1", change=_inverted), ANSWERED),
    Case(
        "MONOCHROME1 that is inverted by its presentation too",
        _dicom("MONOCHROME1", change=_inverted, PresentationLUTShape="INVERSE"),
        ANSWERED,
    ),
    Case(
        "MONOCHROME2 that is inverted by its presentation",
        _dicom(change=_inverted, PresentationLUTShape="INVERSE"),
        ANSWERED,
    ),
    Case("12 bits with a window", _dicom(factor=16, BitsStored=12, **FULL), ANSWERED),
    Case("16 bits without a window", _dicom(factor=257), ANSWERED),
    Case("12 bits without a window", _dicom(factor=16, BitsStored=12), ANSWERED),
    Case(
        "12 bits without a window, narrow",
        _dicom(offset=1500, change=lambda values: values // 4, BitsStored=12),
        ANSWERED,
    ),
    Case("a window without values", _dicom(WindowCenter=None, WindowWidth=None), ANSWERED),
    Case("a window of width 0", _dicom(WindowCenter=9, WindowWidth=0), UNREAD, "Window Width"),
    *(Case(f"{name}, 12 bits", _compressed(name), ANSWERED) for name in SYNTAXES),
    Case("JPEG, 8 bits", _edited(_as_jpeg), ANSWERED),
    Case(
        "JPEG Lossless, bits flipped",
        _bytes("x.dcm", lambda x: flipped(x, 0.5, 0.8), _compressed("JPEG Lossless")),
        ANY,
    ),
    Case(
        "JPEG-LS, cut off",
        _bytes("x.dcm", lambda x: x[: len(x) // 2], _compressed("JPEG-LS")),
        UNREAD,
    ),
    Case("in colour", _dicom("RGB", change=lambda x: np.stack([x] * 3, axis=-1)), ANSWERED),
    Case(
        "two frames",
        _dicom(change=lambda x: np.stack([x, x]), NumberOfFrames=2),
        UNREAD,
        "2 frames: one picture is wanted",
    ),
    Case("no pixels", _edited(_without_pixels), UNREAD),
    Case("too few pixels", _edited(_cut_short), UNREAD),
    Case("20,000 x 20,000 pixels in its header", _edited(_enormous), UNREAD, "too many"),
    Case("deflated", _edited(_deflated), UNREAD, "deflated"),
    Case("a palette", _edited(_palette), UNREAD, "one gray or RGB picture is wanted"),
    Case("only its first bytes", _bytes("x.dcm", lambda _: bytes(128) + b"DICM no more"), UNREAD),
    Case("a chest from the front", _dicom(BodyPartExamined="CHEST", ViewPosition="PA"), ANSWERED),
    Case("a lateral view", _dicom(ViewPosition="LL"), REFUSED, "says view LL, not a frontal one"),
    Case("a skull", _dicom(BodyPartExamined="SKULL"), REFUSED, "says body part SKULL, not chest"),
    Case("an adult", _dicom(PatientAge="045Y"), REFUSED, "says 45 years"),
    Case("a child in months", _dicom(PatientAge="036M"), ANSWERED),
    Case("a child in years", _dicom(PatientAge="004Y"), ANSWERED),
]
CASES = PICTURES + [case._replace(name=f"DICOM: {case.name}") for case in DICOM]
