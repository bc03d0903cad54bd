"""Loading radiographs: pixels, order, and the cache of decoded images."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import data, paths, reading
from helpers.data import images
from helpers.utils import UserError
from tests import builders


def test_images_are_uint8_and_memory_mapped(index):
    loaded = data.load(index, 32)
    assert isinstance(loaded, np.memmap) and not loaded.flags.writeable
    assert (loaded.dtype, loaded.shape) == (np.uint8, (len(index), 32, 32, 1))


@pytest.mark.parametrize(("size", "tolerance"), [(128, 0.5), (32, 4)])
def test_pixels_are_those_of_pillow_for_gray_and_colour(index, size, tolerance):
    chosen = pd.concat([index[index["mode"] == mode].head(3) for mode in ("L", "RGB")])
    assert set(chosen["mode"]) == {"L", "RGB"}
    for path, loaded in zip(chosen.path, data.load(chosen, size), strict=True):
        with Image.open(path) as image:
            whole = image.convert("L").resize((size, size), Image.Resampling.BILINEAR)
        difference = loaded[..., 0].astype(int) - np.asarray(whole, dtype=int)
        assert abs(difference).mean() < tolerance  # the smaller size is decoded in draft mode


def test_rows_follow_the_table(index):
    loaded = data.load(index, 16)
    order = np.random.default_rng(0).permutation(len(index))[:40]
    np.testing.assert_array_equal(data.load(index.iloc[order], 16), loaded[order])


def test_decoded_images_are_kept_by_content(folder, monkeypatch):
    table = data.index(folder)
    first = np.array(data.load(table, 16))
    moved = shutil.copytree(folder, folder.parent / "moved")
    monkeypatch.setattr(reading, "read", None)  # nothing is decoded
    np.testing.assert_array_equal(data.load(data.index(moved), 16), first)


def test_the_file_is_what_numpy_would_save_whatever_is_decoded_at_once(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(images, "AT_ONCE", 5)
    table = data.index(folder)
    loaded = data.load(table, 18)
    np.save(tmp_path / "saved.npy", loaded)
    assert Path(loaded.filename).read_bytes() == (tmp_path / "saved.npy").read_bytes()
    for path, image in zip(table.path, loaded, strict=True):
        np.testing.assert_array_equal(image[..., 0], reading.read(path, size=18))


def test_a_changed_file_gives_its_new_picture(folder):
    before = np.array(data.load(data.index(folder), 16))
    builders.picture(99).save(folder / "train/NORMAL/IM-0115-0001.jpeg")
    table = data.index(folder)
    after = data.load(table, 16)
    changed = (after != before).any(axis=(1, 2, 3))
    assert list(table.file[changed]) == ["IM-0115-0001.jpeg"]


def test_a_full_disk_leaves_no_half_array(folder, monkeypatch):
    def full(file, header):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    before = set(paths.CACHE.iterdir())
    table = data.index(folder).head(7)
    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(UserError, match="No space left"):
        data.load(table, 19)
    left = set(paths.CACHE.iterdir()) - before
    assert not [path for path in left if "images" in path.name]


def test_an_image_that_breaks_later_is_named_when_it_is_loaded(folder):
    table = data.index(folder)
    place = folder / "test/PNEUMONIA/person1_virus_6.jpeg"
    place.write_text("404 not found")
    with pytest.raises(UserError, match=f"cannot read {place}"):
        data.load(table, 21)
