"""The published data set: its facts, folders and file names."""

import shutil

import pytest

from helpers.data import kermany as published
from helpers.utils import UserError


@pytest.mark.parametrize(
    ("name", "patient", "series", "number", "label"),
    [
        ("person12_virus_34.jpeg", "person12", "person", 12, "virus"),
        ("person1_bacteria_2.jpeg", "person1", "person", 1, "bacteria"),
        ("person23_bacteria_78_2.jpeg", "person23", "person", 23, "bacteria"),
        ("IM-0115-0001.jpeg", "IM-0115", "IM", 115, "normal"),
        ("IM-0429-0001-0002.jpeg", "IM-0429", "IM", 429, "normal"),
        ("NORMAL2-IM-0383-0001.jpeg", "NORMAL2-IM-0383", "NORMAL2", 383, "normal"),
    ],
)
def test_a_name_tells_patient_series_number_and_label(name, patient, series, number, label):
    expected = (patient, series, number, label)
    assert published.parse(name) == expected
    assert published.parse(f"/data/train/{name}") == expected


@pytest.mark.parametrize(
    "name", ["x.jpeg", "person_virus_3.jpeg", "person1_fungus_3.jpeg", "xIM-0001-0001.jpeg"]
)
def test_a_foreign_name_is_refused(name):
    with pytest.raises(UserError, match=name):
        published.parse(name)


def test_the_manifest_agrees_with_its_file_names(kermany):
    names = [published.parse(file) for file in kermany.file]
    assert list(kermany.patient) == [name.patient for name in names]
    assert list(kermany.number) == [name.number for name in names]
    assert list(kermany.label) == [name.label for name in names]


def test_the_manifest_has_the_count_that_is_published(kermany):
    assert len(kermany) == published.COUNT


def test_the_facts_are_those_of_the_published_zip():
    assert published.SIZE == 1_235_512_464
    assert published.URL.startswith("https://data.mendeley.com/public-files/datasets/rscbjbr9sj/")
    assert len(published.SHA256) == 64
    assert "rscbjbr9sj" in published.DOI


def test_a_listing_says_where_each_file_is_and_what_its_name_tells(folder):
    table = published.listing(folder)
    assert len(table) == 12
    row = table.set_index("file").loc["NORMAL2-IM-0383-0001-0002.jpeg"]
    assert row.path == str(folder / "train/NORMAL/NORMAL2-IM-0383-0001-0002.jpeg")
    assert row.drop("path").to_dict() == {
        "official_split": "train",
        "label": "normal",
        "patient": "NORMAL2-IM-0383",
        "series": "NORMAL2",
        "number": 383,
    }


def test_the_mendeley_layout_has_no_val(folder):
    shutil.rmtree(folder / "val")
    assert set(published.listing(folder).official_split) == {"train", "test"}


@pytest.mark.parametrize("depth", [1, 2])
def test_the_nested_layout(folder, tmp_path, depth):
    outer = tmp_path.joinpath("outer", *["chest_xray"] * (depth - 1))
    outer.mkdir(parents=True)
    folder.rename(outer / "chest_xray")
    assert published.resolve(tmp_path / "outer") == outer / "chest_xray"
    assert len(published.listing(tmp_path / "outer")) == 12


def test_stray_files_are_ignored(folder):
    for place in (folder, folder / "train", folder / "train/NORMAL", folder / "val/PNEUMONIA"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._IM-0115-0001.jpeg", "notes.txt"):
            (place / name).write_bytes(b"\x00\x05\x16\x07")
    (folder / "__MACOSX").mkdir()
    assert len(published.listing(folder)) == 12
