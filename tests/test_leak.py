"""The splits of the leak study: one held-out set, three training sets of one size."""

import numpy as np
import pandas as pd
import pytest

from helpers import data, results
from helpers.settings import MANIFEST, UserError

GROUPS = ("image", "patient", "duplicate")


@pytest.fixture(scope="module")
def kermany():
    """The 5,856 rows of the manifest, with a digest that duplicates share."""
    table = pd.read_csv(MANIFEST)
    unique = table.file.where(table.duplicate_group < 0, table.duplicate_group.astype(str))
    return table.assign(digest=unique)


@pytest.fixture(scope="module", params=[0, 3])
def tables(kermany, request):
    return {group: data.leak_study(kermany, request.param, group) for group in GROUPS}


def part(table, split):
    return table[table.split == split]


def made_up(patients=90):
    """Two images a patient, half of them normal; every third patient shares a file with the next.

    Copies across patients are what the real pool lacks.
    """
    rows = [(patient, image) for patient in range(patients) for image in range(2)]
    table = pd.DataFrame(rows, columns=["patient", "image"])
    table["label"] = np.where(table.patient % 6 < 3, "normal", "virus")
    copied = (table.patient % 3 == 1) & (table.image == 0)
    original = table.patient - copied
    table["digest"] = [f"{who}-{image}" for who, image in zip(original, table.image, strict=True)]
    return table.assign(official_split="train", patient="p" + table.patient.astype(str))


def test_held_out_images_and_sizes_are_the_same(tables):
    first = tables["image"]
    sizes = part(first, "train").label.value_counts().to_dict()
    for table in tables.values():
        assert set(table.split) == {"train", "val", "test"}
        for split in ("val", "test"):
            pd.testing.assert_frame_equal(part(table, split), part(first, split))
        assert part(table, "train").label.value_counts().to_dict() == sizes


def test_a_tenth_of_each_label_is_held_out(tables, kermany):
    pool = kermany[kermany.official_split != "test"]
    tenth = (0.1 * pool.label.value_counts()).round().astype(int).to_dict()
    for split in ("val", "test"):
        assert part(tables["patient"], split).label.value_counts().to_dict() == tenth


def test_official_test_images_are_left_out(tables):
    for table in tables.values():
        assert (table.official_split != "test").all()


def test_rows_are_those_of_the_index(tables, kermany):
    for table in tables.values():
        assert table.index.is_monotonic_increasing and table.index.is_unique
        pd.testing.assert_frame_equal(table.drop(columns="split"), kermany.loc[table.index])


def test_what_leaks_is_what_the_name_says(tables):
    for group, table in tables.items():
        train, val, test = (part(table, split) for split in ("train", "val", "test"))
        assert not val.patient.isin(test.patient).any()
        for held_out in (val, test):
            met = held_out.patient.isin(train.patient).mean()
            assert met > 0.3 if group == "image" else met == 0
            if group == "duplicate":
                assert not held_out.digest.isin(train.digest).any()


def test_copies_across_patients_leak_unless_split_by_duplicate():
    table = made_up()
    copies = {}
    for group in GROUPS:
        split = data.leak_study(table, 0, group)
        train, held_out = part(split, "train"), split[split.split != "train"]
        copies[group] = held_out.digest.isin(train.digest).sum()
        assert held_out.patient.isin(train.patient).any() == (group == "image")
    assert copies["patient"] > 0
    assert copies["duplicate"] == 0


def test_the_seed_decides(index):
    for group in GROUPS:
        first, again, other = (data.leak_study(index, seed, group) for seed in (0, 0, 1))
        pd.testing.assert_frame_equal(first, again)
        assert not first.index.equals(other.index)


def test_what_cannot_be_split_is_refused(index):
    with pytest.raises(UserError, match="image, patient, duplicate, not 'person'"):
        data.leak_study(index, 0, "person")
    for few in (index[:3], index[index.official_split == "test"]):
        with pytest.raises(UserError, match="too few"):
            data.leak_study(few, 0, "image")


def test_its_test_images_are_not_the_official_ones(index):
    assert not {f"leak_by_{group}" for group in GROUPS} & set(results.TEST_OF_OFFICIAL)
    table = data.leak_study(index, 0, "image")
    official = set(index.file[index.official_split == "test"])
    assert not official & set(table.file)
