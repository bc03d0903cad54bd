"""Radiographs of another hospital: described by a `labels.csv`, then treated like any others."""

import numpy as np
import pandas as pd
import pytest

from helpers import data, dicom
from helpers.data import folder as labelled
from helpers.data import kermany
from helpers.utils import UserError
from tests import builders

ROWS = [
    ("first/one.png", "normal", "a"),
    ("first/two.png", "pneumonia", "b"),
    ("second/three.png", "virus", "a"),
    ("four.png", "bacteria", "c d"),
]


@pytest.fixture
def hospital(tmp_path):
    """Four pictures in folders of their own, without a column split."""
    for seed, (file, *_) in enumerate(ROWS):
        path = tmp_path / "hospital" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        builders.picture(seed).save(path)
    return describe(tmp_path / "hospital")


def describe(root, rows=ROWS, columns=("file", "label", "patient")):
    """Write `labels.csv` into `root`; gives `root`."""
    pd.DataFrame(rows, columns=columns).to_csv(root / "labels.csv", index=False)
    return root


def test_the_listing_has_the_columns_of_the_published_data_set(hospital, folder):
    table = labelled.listing(hospital)
    assert list(table.columns) == list(kermany.listing(folder).columns)
    assert list(table.file) == ["one.png", "two.png", "three.png", "four.png"]
    assert list(table.path) == [str(hospital / file) for file, *_ in ROWS]
    assert list(table.label) == ["normal", "pneumonia", "virus", "bacteria"]
    assert list(table.patient) == ["a", "b", "a", "c d"]
    assert list(table.number) == [1, 2, 1, 3]
    assert set(table.series) == {"other"} and set(table.official_split) == {"train"}


def test_a_column_split_gives_the_official_split(hospital):
    splits = ["train", "test", "val", "test"]
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    describe(hospital, rows, ["file", "label", "patient", "split"])
    assert list(labelled.listing(hospital).official_split) == splits


def test_blanks_further_columns_and_a_byte_order_mark_do_no_harm(hospital):
    text = "note, file ,label,patient\nx, one.png , normal, 07 \n"
    (hospital / "one.png").write_bytes((hospital / "four.png").read_bytes())
    (hospital / "labels.csv").write_text(text.replace(" file ", "file"), encoding="utf-8-sig")
    row = labelled.listing(hospital).iloc[0]
    assert (row.file, row.label, row.patient) == ("one.png", "normal", "07")


def test_a_patient_called_na_is_a_patient(hospital):
    text = 'file,label,patient\n\nfour.png,normal,NA\nfirst/one.png,virus,"N, A"\n,,\n'
    (hospital / "labels.csv").write_text(text)
    assert list(labelled.listing(hospital).patient) == ["NA", "N, A"]


@pytest.mark.parametrize(("row", "cells"), [("four.png,normal", 2), ("four.png,normal,N, A", 4)])
def test_a_row_of_another_length_is_refused(hospital, row, cells):
    (hospital / "labels.csv").write_text(f"file,label,patient\nfirst/one.png,virus,a\n{row}\n")
    with pytest.raises(UserError, match=f"picture 2 has {cells} cells for 3 columns"):
        labelled.listing(hospital)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("one.png", "normal", "a")], "picture 1, 'one.png', names a file that is not in"),
        ([*ROWS, ("first", "normal", "a")], "picture 5, 'first', names a file that is not in"),
        ([*ROWS, ("first/one.png", "normal", "a")], "picture 5, .*file name of an earlier one"),
        ([("first/one.png", "fungus", "a")], "label that is none of normal, .*, pneumonia"),
        ([("first/one.png", "normal", "")], "lacks a file, label or patient"),
        ([("", "normal", "a")], "lacks a file, label or patient"),
        ([], "names no picture"),
    ],
)
def test_a_wrong_table_is_one_message_that_names_the_place(hospital, rows, message):
    with pytest.raises(UserError, match=message) as caught:
        data.index(describe(hospital, rows))
    assert str(hospital / "labels.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_name_in_two_folders_is_refused(hospital):
    (hospital / "second/one.png").write_bytes((hospital / "four.png").read_bytes())
    describe(hospital, [*ROWS, ("second/one.png", "normal", "e")])
    with pytest.raises(UserError, match="file name of an earlier one"):
        labelled.listing(hospital)


def test_an_unknown_split_is_refused(hospital):
    rows = [(*row, "training") for row in ROWS]
    describe(hospital, rows, ["file", "label", "patient", "split"])
    with pytest.raises(UserError, match="split that is none of train, val, test"):
        labelled.listing(hospital)


@pytest.mark.parametrize("column", ["file", "label", "patient"])
def test_a_missing_column_is_named(hospital, column):
    path = hospital / "labels.csv"
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(UserError, match=f"no column {column}. Needed: file, label, patient"):
        labelled.listing(hospital)


@pytest.mark.parametrize("content", [b"", b"file\xff,label\n", b"\x00\x01"])
def test_what_is_no_table_is_refused(hospital, content):
    (hospital / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"(cannot read .*labels\.csv|no column file)"):
        labelled.listing(hospital)


def test_a_changed_label_is_seen_although_the_index_is_cached(hospital):
    assert data.index(hospital).pneumonia.sum() == 3
    describe(hospital, [(file, "normal", patient) for file, _, patient in ROWS])
    assert data.index(hospital).pneumonia.sum() == 0


def test_another_reading_of_dicom_is_seen_although_the_index_is_cached(hospital, monkeypatch):
    builders.save_dicom(hospital / "five.dcm", np.asarray(builders.picture(9)))
    describe(hospital, [*ROWS, ("five.dcm", "normal", "e")])
    before = data.index(hospital)
    monkeypatch.setattr(dicom, "VERSION", dicom.VERSION + 1)
    after = data.index(hospital)
    assert list(after.file[after.digest != before.digest]) == ["five.dcm"]


def test_pictures_of_every_kind_are_indexed_and_loaded(hospital):
    values = np.asarray(builders.picture(9))
    builders.save_dicom(hospital / "five.dcm", values)
    table = data.index(describe(hospital, [*ROWS, ("five.dcm", "normal", "e")]))
    five = table.set_index("file").loc["five.dcm"]
    assert (five.width, five.height, five["mode"]) == (60, 40, "L")
    assert data.load(table, 24).shape == (5, 24, 24, 1)
    assert data.dataset(table) == "other"
    assert data.describe(table) == (
        "Radiographs of the data set other: 2 normal, 1 bacteria, 1 virus, 1 pneumonia."
    )


def test_a_broken_picture_may_be_left_out(hospital, capsys):
    (hospital / "four.png").write_text("no picture")
    with pytest.raises(UserError, match=r"1 unreadable image\(s\)"):
        data.index(hospital)
    assert len(data.index(hospital, skip_unreadable=True)) == 3
    assert "four.png" in capsys.readouterr().out


@pytest.fixture(scope="module")
def renamed(phantoms, tmp_path_factory):
    """The phantoms as another hospital would hand them over: neutral names and a table."""
    root = tmp_path_factory.mktemp("renamed")
    return builders.labelled_folder(root, data.index(phantoms))


def test_renamed_radiographs_give_the_same_index(renamed, index, monkeypatch):
    monkeypatch.setenv("CHEST_XRAY_DIR", str(renamed))
    assert data.find() == renamed
    table = data.index()
    assert list(table.columns) == list(index.columns)
    assert not table.file.isin(index.file).any()
    same = ["label", "pneumonia", "width", "height", "mode", "bytes", "digest", "synthetic"]
    pd.testing.assert_frame_equal(table[same], index[same])
    assert data.dataset(table) == "synthetic" and "SYNTHETIC" in data.describe(table)
    assert (pd.factorize(table.patient)[0] == pd.factorize(index.patient)[0]).all()


@pytest.mark.parametrize("protocol", ["pooled_patient", "cross_validated"])
def test_renamed_radiographs_are_split_by_patient_and_loaded(renamed, protocol):
    table = data.index(renamed)
    fold = 0 if data.PROTOCOLS[protocol].folds else None
    cut = data.split(table, protocol, 0, fold)
    assert set(cut.split) == {"train", "val", "test"}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not data.seen_in(cut, of=other, within=one).any()
    assert data.load(cut, 16).shape == (len(table), 16, 16, 1)


def test_without_official_test_images_the_protocol_says_so(renamed):
    for protocol in ("official", "by_image"):
        with pytest.raises(UserError, match=r"needs official test images .*pooled_patient"):
            data.split(data.index(renamed), protocol, 0)


def test_pneumonias_of_an_unknown_pathogen_can_be_split(phantoms, tmp_path):
    index = data.index(phantoms)
    labels = index.label.where(index.label == "normal", data.PNEUMONIA)
    splits = index.official_split
    root = builders.labelled_folder(tmp_path / "two", index, label=labels, split=splits)
    table = data.index(root)
    assert set(table.label) == {"normal", "pneumonia"}
    assert (table.pneumonia == index.pneumonia).all()
    for protocol in ("official", "by_image", "pooled", "pooled_patient"):
        assert set(data.split(table, protocol, 0).split) == {"train", "val", "test"}


def test_labels_may_lie_elsewhere_and_patients_may_be_unknown(hospital, tmp_path):
    (hospital / "labels.csv").unlink()
    rows = [(file, label) for file, label, _ in ROWS]
    pd.DataFrame(rows, columns=["file", "label"]).to_csv(tmp_path / "table.csv", index=False)
    table = data.labelled_pictures(hospital, tmp_path / "table.csv", patients=False)
    assert list(table.file) == list(table.patient) == [file for file, *_ in ROWS]
    assert list(table.path) == [str(hospital / file) for file in table.file]
    with pytest.raises(UserError, match="no column patient"):
        data.labelled_pictures(hospital, tmp_path / "table.csv")


def test_names_that_differ_by_their_folder_are_no_bar_to_an_evaluation(hospital):
    (hospital / "second/one.png").write_bytes((hospital / "four.png").read_bytes())
    describe(hospital, [*ROWS, ("second/one.png", "normal", "e")])
    assert len(data.labelled_pictures(hospital)) == 5
