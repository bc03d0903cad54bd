"""Finding and indexing radiographs; what happens when they are not right."""

import hashlib
import os
import shutil
import time

import pandas as pd
import pytest
from PIL import Image

from helpers import data, paths
from helpers.utils import UserError
from tests import bad_data, builders

COLUMNS = [
    *["file", "path", "official_split", "label", "pneumonia", "patient", "series", "number"],
    *["width", "height", "mode", "bytes", "digest", "duplicate_group", "synthetic"],
]


# Where the data is


def test_the_kaggle_layout(folder):
    table = data.index(folder)
    assert list(table.columns) == COLUMNS
    assert list(table.file) == sorted(
        f"{name}.jpeg" for names in builders.FOLDERS.values() for name in names
    )
    assert table.official_split.value_counts().to_dict() == {"train": 6, "test": 4, "val": 2}
    row = table.set_index("file").loc["NORMAL2-IM-0383-0001-0002.jpeg"]
    content = (folder / "train/NORMAL/NORMAL2-IM-0383-0001-0002.jpeg").read_bytes()
    assert row.path == str(folder / "train/NORMAL/NORMAL2-IM-0383-0001-0002.jpeg")
    assert (row.label, row.pneumonia, row.patient) == ("normal", False, "NORMAL2-IM-0383")
    assert row.series == "NORMAL2"
    assert (row.number, row.width, row.height, row["mode"]) == (383, 61, 41, "L")
    assert (row.bytes, row.digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert (row.duplicate_group, row.synthetic) == (-1, False)
    assert table.set_index("file")["mode"]["person1_bacteria_1.jpeg"] == "RGB"


def test_find_takes_the_environment_variable_first(folder, monkeypatch):
    monkeypatch.setenv("CHEST_XRAY_DIR", str(folder))
    assert data.find() == folder
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("CHEST_XRAY_DIR", "chest_xray")
    assert data.find() == folder  # absolute
    monkeypatch.setenv("CHEST_XRAY_DIR", "elsewhere")
    with pytest.raises(UserError, match=f"no data folder at {folder.parent}/elsewhere"):
        data.find()


def test_find_without_it_takes_the_download_and_then_phantoms(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CHEST_XRAY_DIR", "")
    monkeypatch.setattr(paths, "DATA", folder.parent)
    assert data.find() == folder
    made = []
    monkeypatch.setattr(data.synthetic, "make", made.append)
    monkeypatch.setattr(paths, "DATA", tmp_path / "nothing")
    data.find()
    assert made == [paths.CACHE / "synthetic"]


# Unreadable images; other bad input: tests/bad_data.py


MAKE = {"folder": builders.kermany_folder, "labels": bad_data.labelled_folder}
UNREADABLE = [case for case in bad_data.CASES if case.outcome.startswith(bad_data.UNREADABLE)]


@pytest.mark.parametrize("case", UNREADABLE, ids=lambda case: case.name)
def test_unreadable_images_may_be_left_out(tmp_path, case, capsys):
    folder = MAKE[case.kind](tmp_path / "place")
    case.make(folder)
    table = data.index(folder, skip_unreadable=True)
    assert len(table) == {"folder": 11, "labels": 3}[case.kind]
    assert f"left out 1 unreadable image(s): {folder}" in capsys.readouterr().out
    with pytest.raises(UserError):  # what was allowed once is not remembered
        data.index(folder)


def test_a_folder_without_one_readable_image_is_refused(folder):
    for path in folder.glob("*/*/*.jpeg"):
        path.write_text("no picture")
    with pytest.raises(UserError, match=r"12 unreadable image\(s\).*; \.\.\."):
        data.index(folder, skip_unreadable=True)


# The cached index


def test_the_index_is_read_from_its_cache(folder, monkeypatch):
    first = data.index(folder)
    monkeypatch.setattr(Image, "open", None)  # no image is opened
    pd.testing.assert_frame_equal(data.index(folder), first)


def test_a_replaced_file_of_the_same_size_and_time_is_seen(folder):
    path = folder / "train/NORMAL/IM-0115-0001.jpeg"
    before, stat = data.index(folder), path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = data.index(folder).set_index("file").digest["IM-0115-0001.jpeg"]
    assert after == hashlib.sha256(content).hexdigest()
    assert after not in set(before.digest)


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_other_files_give_another_index(folder, change):
    data.index(folder)
    path = folder / "train/PNEUMONIA/person80_virus_150.jpeg"
    other = path.with_name("person81_virus_151.jpeg")
    {"added": lambda: shutil.copy(path, other), "removed": path.unlink}.get(
        change, lambda: path.rename(other)
    )()
    expected = {"added": 13, "removed": 11, "renamed": 12}[change]
    table = data.index(folder)
    assert len(table) == expected
    assert (other.name in set(table.file)) == (change != "removed")
    assert table.duplicate_group.max() == (0 if change == "added" else -1)


def test_duplicates_share_a_group(index):
    groups = index[index.duplicate_group >= 0].groupby("duplicate_group")
    assert [len(group) for _, group in groups] == [2, 2]
    assert all(group.digest.nunique() == 1 for _, group in groups)
    assert not index[index.duplicate_group < 0].digest.duplicated().any()


def test_time_is_linear_in_the_files(folder):
    least = []
    for count in (2_500, 10_000):
        bad_data.many_empty(folder, count)
        seconds = []
        for _ in range(3):
            start = time.process_time()
            with pytest.raises(UserError, match=rf"^{count} unreadable"):
                data.index(folder)
            seconds.append(time.process_time() - start)
        least.append(min(seconds))
    assert least[1] < 8 * least[0]  # four times as many


# The data set


def test_the_manifest_has_the_known_counts(kermany):
    assert list(pd.read_csv(paths.MANIFEST).columns) == [
        *["file", "official_split", "label", "patient", "number", "duplicate_group"]
    ]
    assert len(kermany) == kermany.file.nunique() == 5856
    assert kermany.groupby(["official_split", "pneumonia"]).size().to_dict() == {
        ("train", False): 1341,
        ("train", True): 3875,
        ("val", False): 8,
        ("val", True): 8,
        ("test", False): 234,
        ("test", True): 390,
    }
    assert kermany.patient.nunique() == 3118
    duplicates = kermany[kermany.duplicate_group >= 0].groupby("duplicate_group")
    assert len(duplicates) == 30 and duplicates.size().sum() == 62
    assert (duplicates.size() > 1).all()
    assert (duplicates.official_split.nunique() == 1).all()
    assert len(data.disjoint_files(kermany)) == 304


def test_the_manifest_of_an_index_has_its_columns_and_is_made_of_what_the_index_holds(index):
    columns = list(pd.read_csv(paths.MANIFEST).columns)
    pd.testing.assert_frame_equal(data.manifest(index), index[columns])


@pytest.mark.real
def test_the_manifest_is_that_of_the_real_radiographs(real_folder):
    table = data.index(real_folder)
    assert data.dataset(table) == "kermany"
    pd.testing.assert_frame_equal(data.manifest(table), pd.read_csv(paths.MANIFEST))


def test_disjoint_files_are_test_images_of_patients_seen_nowhere_else(kermany):
    chosen = kermany[kermany.file.isin(data.disjoint_files(kermany))]
    rest = kermany[kermany.official_split != "test"]
    assert set(chosen.official_split) == {"test"}
    assert not set(chosen.patient) & set(rest.patient)
    left = kermany[(kermany.official_split == "test") & ~kermany.file.isin(chosen.file)]
    assert set(left.patient) <= set(rest.patient)


def test_the_data_set_has_a_name(kermany, index, folder):
    assert data.dataset(kermany) == "kermany"
    assert data.dataset(kermany.iloc[5:]) == "kermany_part"
    assert data.dataset(kermany.replace({"file": {"IM-0001-0001.jpeg": "x.jpeg"}})) == "other"
    extra = kermany.head(1).assign(file="person5000_virus_1.jpeg")
    assert data.dataset(pd.concat([kermany, extra])) == "other"
    assert data.dataset(index) == "synthetic"
    assert data.dataset(kermany.assign(synthetic=True)) == "synthetic"
    with pytest.raises(UserError, match="mixes synthetic"):
        data.dataset(pd.concat([kermany, index]))


def test_labels_are_those_that_occur_in_their_order(index):
    assert data.labels(index[::-1]) == list(data.LABELS)
    unknown = index.assign(label=index.label.where(index.label != "virus", "pneumonia"))
    assert data.labels(unknown) == ["normal", "bacteria", "pneumonia"]


def test_what_a_notebook_needs_is_asked_for_at_once(index):
    data.require(index, test=True, pathogens=True)
    for lacking, needed in (
        (index[index.official_split != "test"], {"test": True}),
        (index.replace({"label": {"virus": "pneumonia"}}), {"pathogens": True}),
    ):
        data.require(lacking)
        with pytest.raises(UserError, match=r"this notebook needs .*labels.csv.*template"):
            data.require(lacking, **needed)


def test_a_run_says_which_radiographs_it_uses(kermany, index):
    assert "SYNTHETIC" in data.describe(index)
    counts = kermany.label.value_counts()
    assert data.describe(kermany) == (
        f"Radiographs of the data set kermany: {counts['normal']} normal, "
        f"{counts['bacteria']} bacteria, {counts['virus']} virus."
    )
