"""Splits: their sizes, what they share and what they must not share."""

import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import data
from helpers.utils import UserError

BY_PATIENT = ("official", "pooled_patient", "cross_validated")
RESPLITS = (*BY_PATIENT, "by_image", "pooled")
LEAK_STUDY = ("leak_by_image", "leak_by_patient", "leak_by_duplicate")
FOLDED = {"cross_validated", "out_of_fold"}
each_resplit = pytest.mark.parametrize("name", RESPLITS)


def cut(table, name, seed):
    """The table under a protocol; of folds, the second one."""
    return data.split(table, name, seed, fold=1 if data.PROTOCOLS[name].folds else None)


@pytest.fixture(scope="module")
def split_tables(kermany):
    return {name: cut(kermany, name, 0) for name in RESPLITS}


def shared(table, column):
    """Values of a column that occur in more than one split."""
    values = [set(rows) for _, rows in table.groupby("split")[column]]
    return set().union(*(a & b for a, b in combinations(values, 2)))


@each_resplit
def test_a_protocol_adds_the_column_split_and_nothing_else(name, kermany, split_tables):
    table = split_tables[name]
    assert set(table.split) == {"train", "val", "test"}
    pd.testing.assert_frame_equal(table.drop(columns="split"), kermany)
    assert "split" not in kermany


@each_resplit
def test_the_seed_decides_and_nothing_else(name, index):
    first = cut(index, name, 0)
    np.random.default_rng(1).random()
    np.random.seed(1)  # noqa: NPY002
    pd.testing.assert_frame_equal(cut(index, name, 0), first)
    assert (cut(index, name, 1).split != first.split).any()


@pytest.mark.parametrize("name", ["official", "by_image"])
def test_the_official_test_images_are_the_test_set(name, split_tables):
    table = split_tables[name]
    assert ((table.split == "test") == (table.official_split == "test")).all()


@pytest.mark.parametrize("name", BY_PATIENT)
def test_no_patient_or_duplicate_is_shared(name, split_tables, index):
    for table in (split_tables[name], cut(index, name, 3)):
        others = table[table.split != "test"] if name == "official" else table
        assert not shared(others, "patient")
        assert not shared(others, "digest")


@pytest.mark.parametrize("name", ["by_image", "pooled"])
def test_splits_by_image_share_patients(name, split_tables):
    assert len(shared(split_tables[name], "patient")) > 100


@pytest.mark.parametrize(
    ("name", "share"), [("official", 0.15), ("by_image", 0.2), ("cross_validated", 0.15)]
)
def test_validation_has_its_share_of_every_label(name, share, split_tables):
    table = split_tables[name]
    others = table[table.split != "test"]
    assert (others.split == "val").mean() == pytest.approx(share, abs=0.002)
    of_label = (others.split == "val").groupby(others.label).mean()
    assert of_label.to_dict() == pytest.approx(dict.fromkeys(data.LABELS, share), abs=0.01)


@pytest.mark.parametrize("name", ["pooled", "pooled_patient"])
def test_pooled_sizes_are_those_of_the_claim(name, kermany, split_tables):
    for table in (split_tables[name], cut(kermany, name, 7)):
        assert table.split.value_counts().to_dict() == {"train": 5153, "val": 632, "test": 71}


def test_pooled_is_stratified(split_tables):
    table = split_tables["pooled"]
    shares = pd.crosstab(table.split, table.label, normalize="index")
    assert np.allclose(shares, table.label.value_counts(normalize=True)[shares.columns], atol=0.01)


def test_folds_test_every_image_once_and_share_no_patient(index):
    tables = [data.split(index, "cross_validated", 5, fold) for fold in range(5)]
    tested = sum((table.split == "test").astype(int) for table in tables)
    assert (tested == 1).all()
    for table in tables:
        assert (table.split == "test").mean() == pytest.approx(0.2, abs=0.03)
        assert not shared(table, "patient")


@pytest.mark.parametrize("fold", [-1, 5, None])
@pytest.mark.parametrize("name", sorted(FOLDED))
def test_a_fold_is_named_where_there_are_folds(index, name, fold):
    with pytest.raises(UserError, match="needs a fold from 0 to 4"):
        data.split(index, name, 0, fold)


@pytest.mark.parametrize("name", sorted(data.PROTOCOLS.keys() - FOLDED))
def test_no_fold_is_named_where_there_are_none(index, name):
    with pytest.raises(UserError, match="has no folds"):
        data.split(index, name, 0, 0)


def test_an_unknown_protocol_is_refused_by_naming_the_known_ones(index):
    with pytest.raises(UserError, match="unknown protocol 'by_chance'"):
        data.split(index, "by_chance", 0)


@pytest.mark.parametrize("name", data.PROTOCOLS)
def test_the_table_of_protocols_says_what_is_tested(name, index):
    table, protocol = cut(index, name, 0), data.PROTOCOLS[name]
    test = table[table.split == "test"]
    official = index[index.official_split == "test"]
    assert (set(test.file) == set(official.file)) == protocol.official_test
    assert (protocol.folds > 0) == (name in FOLDED)


@pytest.mark.parametrize("name", ["official", "by_image"])
def test_without_official_test_images_there_is_no_official_split(index, name):
    with pytest.raises(UserError, match=r"official test images .* Name some in the data folder"):
        data.split(index[index.official_split != "test"], name, 0)


@pytest.mark.parametrize("name", ["official", *sorted(FOLDED)])
def test_too_few_patients_for_a_split_is_a_user_error(folder, name):
    with (
        pytest.raises(UserError, match="are too few to split by patient"),
        warnings.catch_warnings(action="ignore"),  # five folds of a label of three images
    ):
        cut(data.index(folder), name, 0)


@pytest.mark.parametrize("name", ["by_image", "pooled"])
def test_too_few_images_for_a_split_is_a_user_error(folder, name):
    with pytest.raises(UserError, match="too few to draw some of every label"):
        cut(data.index(folder).groupby("label").head(1).assign(official_split="train"), "pooled", 0)
    few = data.index(folder).drop_duplicates(["label", "official_split"])
    with pytest.raises(UserError, match="too few to draw some of every label"):
        cut(few, name, 0)


def test_an_image_is_seen_when_the_other_split_has_its_value():
    table = pd.DataFrame(
        {
            "split": ["train", "test", "val", "test", "test"],
            "patient": ["a", "a", "b", "b", "c"],
            "digest": ["1", "2", "3", "4", "1"],
        }
    )
    seen = data.seen_in(table, of="test", within="train")
    assert seen.to_dict() == {1: True, 3: False, 4: False}
    assert data.seen_in(table, of="test", within="val").to_dict() == {1: False, 3: True, 4: False}
    by_content = data.seen_in(table, of="test", within="train", column="digest")
    assert by_content.to_dict() == {1: False, 3: False, 4: True}


def union_find(pairs):
    """For each (patient, content), the smallest row that it is linked to."""
    parent = list(range(len(pairs)))

    def root(row):
        while parent[row] != row:
            row = parent[row]
        return row

    for a, b in combinations(range(len(pairs)), 2):
        if pairs[a][0] == pairs[b][0] or pairs[a][1] == pairs[b][1]:
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    return [root(row) for row in range(len(pairs))]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25))
def test_groups_are_linked_by_patient_or_bytes(pairs):
    table = pd.DataFrame(pairs, columns=["patient", "digest"]).astype(str)
    table.index = table.index[::-1] + 3
    groups = data.patient_or_duplicate(table)
    assert list(groups.index) == list(table.index)
    expected = union_find(pairs)
    pd.testing.assert_series_equal(
        pd.Series(pd.factorize(groups)[0]), pd.Series(pd.factorize(np.array(expected))[0])
    )


# Out of fold: five folds over all but the official test images


@pytest.fixture(scope="module")
def fewer(kermany):
    """Every third patient: folds of all take seconds."""
    return kermany[kermany.patient.isin(kermany.patient.unique()[::3])]


@pytest.fixture(scope="module")
def folds(fewer):
    return [data.split(fewer, "out_of_fold", 0, fold) for fold in range(5)]


def test_out_of_fold_leaves_out_the_official_test_images_and_nothing_else(folds, fewer):
    others = fewer[fewer.official_split != "test"]
    assert 0 < len(others) < len(fewer)
    for table in folds:
        pd.testing.assert_frame_equal(table.drop(columns="split"), others)  # and its index


def test_each_other_image_is_held_out_in_one_of_the_five_folds(folds):
    held_out = pd.concat([table[table.split == "test"] for table in folds])
    assert held_out.index.is_unique
    pd.testing.assert_index_equal(held_out.index.sort_values(), folds[0].index)


def test_out_of_fold_shares_no_patient_or_duplicate_and_has_its_shares_of_every_label(folds):
    for table in folds:
        assert not shared(table, "patient")
        assert not shared(table, "digest")
        for _, rows in table.groupby("label"):
            assert (rows.split == "test").mean() == pytest.approx(0.2, abs=0.01)
            rest = rows[rows.split != "test"]
            assert (rest.split == "val").mean() == pytest.approx(0.15, abs=0.02)


def test_out_of_fold_follows_the_seed_and_needs_no_official_test_images(index):
    others = index[index.official_split != "test"].assign(official_split="train")
    for seed in (0, 1):
        first = data.split(index, "out_of_fold", seed, 2)
        np.testing.assert_array_equal(first.split, data.split(others, "out_of_fold", seed, 2).split)
        np.testing.assert_array_equal(
            first.split, data.split(others, "cross_validated", seed, 2).split
        )
    assert (data.split(index, "out_of_fold", 0, 2).split != first.split).any()


# The leak study: one held-out set, three training sets of one size


@pytest.fixture(scope="module", params=[0, 3])
def leak_tables(kermany, request):
    return {group: data.split(kermany, group, request.param) for group in LEAK_STUDY}


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


def test_held_out_images_and_sizes_are_the_same(leak_tables):
    first = leak_tables["leak_by_image"]
    sizes = part(first, "train").label.value_counts().to_dict()
    for table in leak_tables.values():
        assert set(table.split) == {"train", "val", "test"}
        for split in ("val", "test"):
            pd.testing.assert_frame_equal(part(table, split), part(first, split))
        assert part(table, "train").label.value_counts().to_dict() == sizes


def test_a_tenth_of_each_label_is_held_out(leak_tables, kermany):
    pool = kermany[kermany.official_split != "test"]
    tenth = (0.1 * pool.label.value_counts()).round().astype(int).to_dict()
    for split in ("val", "test"):
        assert part(leak_tables["leak_by_patient"], split).label.value_counts().to_dict() == tenth


def test_official_test_images_are_left_out(leak_tables):
    for table in leak_tables.values():
        assert (table.official_split != "test").all()


def test_rows_of_a_leak_study_are_those_of_the_index(leak_tables, kermany):
    for table in leak_tables.values():
        assert table.index.is_monotonic_increasing and table.index.is_unique
        pd.testing.assert_frame_equal(table.drop(columns="split"), kermany.loc[table.index])


def test_what_leaks_is_what_the_name_says(leak_tables):
    for group, table in leak_tables.items():
        train, val, test = (part(table, split) for split in ("train", "val", "test"))
        assert not val.patient.isin(test.patient).any()
        for held_out in (val, test):
            met = held_out.patient.isin(train.patient).mean()
            assert met > 0.3 if group == "leak_by_image" else met == 0
            if group == "leak_by_duplicate":
                assert not held_out.digest.isin(train.digest).any()


def test_copies_across_patients_leak_unless_split_by_duplicate():
    table = made_up()
    copies = {}
    for group in LEAK_STUDY:
        split = data.split(table, group, 0)
        train, held_out = part(split, "train"), split[split.split != "train"]
        copies[group] = held_out.digest.isin(train.digest).sum()
        assert held_out.patient.isin(train.patient).any() == (group == "leak_by_image")
    assert copies["leak_by_patient"] > 0
    assert copies["leak_by_duplicate"] == 0


def test_the_seed_decides_a_leak_study(index):
    for group in LEAK_STUDY:
        first, again, other = (data.split(index, group, seed) for seed in (0, 0, 1))
        pd.testing.assert_frame_equal(first, again)
        assert not first.index.equals(other.index)


def test_too_few_images_for_a_leak_study_is_a_user_error(index):
    for few in (index[:3], index[index.official_split == "test"]):
        with pytest.raises(UserError, match="too few for a leak study"):
            data.split(few, "leak_by_image", 0)


def test_the_test_images_of_a_leak_study_are_not_the_official_ones(index):
    table = data.split(index, "leak_by_image", 0)
    official = set(index.file[index.official_split == "test"])
    assert not official & set(table.file)
