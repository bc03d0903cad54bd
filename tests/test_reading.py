"""Pictures of every kind give their gray pixels; what is no picture is one message."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from helpers import reading
from helpers.utils import UserError
from tests import builders

SIDE = 32


@pytest.fixture(params=["read", "read_as_stored"])
def reader(request):
    """Both ways to read: as training does, and as the published model sees a picture."""
    return getattr(reading, request.param)


@pytest.fixture
def gray(index):
    """A phantom as an 8-bit grayscale picture that is no square."""
    return Image.open(index.path[0]).convert("L").resize((150, 120))


@pytest.fixture
def see(reader, tmp_path):
    """Writes a picture and reads it: (SIDE, SIDE) as int, so that differences can be taken."""

    def see(picture, name="plain.png", **options):
        picture.save(tmp_path / name, **options)
        return reader(tmp_path / name, SIDE).astype(int)

    return see


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_the_mode_makes_no_difference(see, gray, mode):
    picture = gray.convert(mode)
    assert np.array_equal(see(picture, "other.png"), see(gray))


def test_cmyk_jpeg_is_no_negative(see, gray):
    picture = gray.convert("RGB").convert("CMYK")
    found = see(picture, "cmyk.jpg", quality=95)
    assert np.abs(found - see(gray)).mean() < 3


@pytest.mark.parametrize("factor", [257, 16])
def test_16_bit_png_of_16_or_12_used_bits_does_not_saturate(see, gray, factor):
    picture = Image.fromarray(np.asarray(gray).astype(np.uint16) * factor)
    assert np.array_equal(see(picture, "16.png"), see(gray))


def test_what_is_transparent_is_black(see, gray):
    black = gray.copy()
    black.paste(0, (0, 0, 75, 120))
    alpha = Image.new("L", gray.size, 255)
    alpha.paste(0, (0, 0, 75, 120))
    picture = Image.merge("LA", (gray, alpha))
    assert np.array_equal(see(picture, "alpha.png"), see(black))


def test_a_picture_is_turned_as_its_exif_says(see, gray):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees, clockwise
    lying = gray.transpose(Image.Transpose.ROTATE_90)
    found = see(lying, "lying.png", exif=exif)
    assert np.array_equal(found, see(gray))


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (SIDE, SIDE)])
def test_any_size_is_read(see, gray, size):
    assert see(gray.resize(size), "size.png").shape == (SIDE, SIDE)


def test_a_file_of_the_data_set_is_decoded_as_for_training(tmp_path, gray):
    path = tmp_path / "stored.jpeg"
    gray.convert("RGB").resize((224, 224)).save(path)
    assert np.array_equal(reading.read_as_stored(path, 64), reading.read(path, 64))


@pytest.mark.real
def test_originals_give_the_pixels_of_their_small_versions(real_folder):
    pairs = builders.original_pairs(real_folder)
    if not pairs:
        pytest.skip("no full-size originals beside the radiographs")
    for original, small in pairs:
        found = reading.read_as_stored(original, 160)
        assert np.array_equal(found, reading.read(small, 160)), original


@pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1"])
def test_dicom_of_8_bits_gives_the_picture(tmp_path, gray, see, reader, kind):
    values = np.asarray(gray)
    stored = 255 - values if kind == "MONOCHROME1" else values
    found = reader(builders.save_dicom(tmp_path / "film", stored, kind), SIDE)
    assert np.array_equal(found, see(gray))


def test_dicom_of_12_bits_goes_through_rescale_and_window(tmp_path, gray, see, reader):
    values = 1000 + 8 * np.asarray(gray).astype(np.uint16)
    window = {"WindowCenter": 1020, "WindowWidth": 2041}  # 0 to 2040, after rescaling
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1000}
    path = builders.save_dicom(tmp_path / "x.dcm", values, BitsStored=12, **window, **rescale)
    stretched = np.asarray(gray).astype(float)
    stretched = 255 * (stretched - stretched.min()) / np.ptp(stretched)
    expected = see(Image.fromarray(stretched.round().astype(np.uint8)))
    assert np.abs(reader(path, SIDE).astype(int) - expected).max() <= 2


def test_dicom_in_colour_is_read_as_gray(tmp_path, gray, see, reader):
    path = builders.save_dicom(tmp_path / "colour.dcm", np.asarray(gray.convert("RGB")), "RGB")
    assert np.array_equal(reader(path, SIDE), see(gray))


def test_dicom_without_pydicom_names_the_extra(tmp_path, gray, reader, monkeypatch):
    path = builders.save_dicom(tmp_path / "film", np.asarray(gray))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"\[dicom\]"):
        reader(path, SIDE)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_without_draft_mode_pixels_are_exactly_those_of_pillow(tmp_path, mode):
    builders.picture(0, 90, 70, mode).save(tmp_path / "x.jpeg")
    with Image.open(tmp_path / "x.jpeg") as image:
        whole = image.convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(
        reading.read(tmp_path / "x.jpeg", 64).astype(int), whole, atol=mode == "RGB"
    )


def test_draft_mode_gives_nearly_the_same_picture(tmp_path):
    path = tmp_path / "large.jpeg"
    large = builders.picture(3, 1200, 900)
    grain = np.random.default_rng(0).normal(0, 8, (900, 1200))
    Image.fromarray(np.clip(np.asarray(large) + grain, 0, 255).astype(np.uint8)).save(path)
    with Image.open(path) as image:
        whole = image.resize((64, 64), Image.Resampling.BILINEAR)
    difference = reading.read(path, 64).astype(int) - np.asarray(whole, dtype=int)
    assert 0 < abs(difference).mean() < 1.5


@pytest.fixture
def unreadable(tmp_path, gray):
    """A path of every kind that cannot be read."""
    whole = io.BytesIO()
    gray.save(whole, "JPEG")
    (tmp_path / "magic.dcm").write_bytes(bytes(128) + b"DICM and then nothing")
    return builders.unreadable_files(tmp_path, whole.getvalue())


def test_what_cannot_be_read_is_one_line_that_names_the_file(reader, unreadable):
    assert len(unreadable) == 10
    for path in unreadable:
        with pytest.raises(UserError) as caught:
            reader(path, SIDE)
        message = str(caught.value)
        assert message.startswith(f"cannot read {path} (") and "\n" not in message
        assert message.endswith("replace it or take it away")


def test_a_header_has_size_and_mode(tmp_path, gray):
    gray.convert("RGB").save(tmp_path / "x.png")
    assert reading.header((tmp_path / "x.png").read_bytes()) == (150, 120, "RGB")
    builders.save_dicom(tmp_path / "x.dcm", np.asarray(gray))
    assert reading.header((tmp_path / "x.dcm").read_bytes()) == (150, 120, "L")


def test_a_header_of_a_broken_picture_is_refused(unreadable):
    for path in unreadable:
        if path.is_file() and path.name != "infinite.tiff":  # whole, but no picture of gray values
            with pytest.raises(Exception):  # noqa: B017 - decoders raise all kinds
                reading.header(path.read_bytes())
