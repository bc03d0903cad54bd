"""What holds for any data: splits, metrics, and what is written and read again."""

import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from helpers import data, evaluation, paths, reading
from helpers.data import LABELS
from helpers.utils import UserError
from tests import builders

quick = settings(max_examples=10, deadline=None, derandomize=True)
pytestmark = pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")


# Splits


@st.composite
def indexes(draw) -> pd.DataFrame:
    """Indexes of 40 to 60 patients with some images each, a few of them copies of others'."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    patients = draw(st.integers(40, 60))
    images = generator.integers(1, draw(st.integers(2, 5)), patients)
    table = pd.DataFrame({"patient": np.repeat([f"p{n}" for n in range(patients)], images)})
    table["label"] = np.repeat(generator.choice(LABELS, patients), images)
    table["official_split"] = generator.choice(["train", "test"], len(table), p=[0.8, 0.2])
    table["digest"] = [f"content {n}" for n in range(len(table))]
    copies = generator.choice(len(table), draw(st.integers(0, 5)), replace=False)
    table.loc[copies, "digest"] = table.digest.to_numpy()[generator.permutation(copies)]
    table["file"] = [f"{n:03d}.jpeg" for n in generator.permutation(len(table))]
    return table.sort_values("file", ignore_index=True)


def cut(table: pd.DataFrame, protocol: str, seed: int, fold: int = 1) -> pd.DataFrame:
    try:
        return data.split(table, protocol, seed, fold if data.PROTOCOLS[protocol].folds else None)
    except UserError:  # too few for it: refused, and nothing to hold against
        assume(False)


seeds = st.integers(0, 99)
protocols = st.sampled_from(sorted(data.PROTOCOLS))
ALL = list(combinations(("train", "val", "test"), 2))
APART = {  # between which splits no patient and no copy is shared
    "official": [("train", "val")],
    "leak_by_duplicate": [("train", "val"), ("train", "test")],
    "pooled_patient": ALL,
    "cross_validated": ALL,
    "out_of_fold": ALL,
}


@quick
@given(indexes(), protocols, seeds)
def test_a_split_is_complete_and_disjoint(table, protocol, seed):
    parts = cut(table, protocol, seed)
    assert parts.file.is_unique and set(parts.split) == {"train", "val", "test"}
    pd.testing.assert_frame_equal(parts.drop(columns="split"), table.loc[parts.index])
    left_out = table.drop(parts.index)
    if protocol == "out_of_fold":
        assert (left_out.official_split == "test").all()
    elif not protocol.startswith("leak"):
        assert left_out.empty


@quick
@given(indexes(), st.sampled_from(sorted(APART)), seeds)
def test_no_patient_and_no_copy_is_on_two_sides(table, protocol, seed):
    parts = cut(table, protocol, seed)
    for one, other in APART[protocol]:
        for column in ("patient", "digest"):
            assert not data.seen_in(parts, one, other, column).any()


@quick
@given(indexes(), protocols, seeds)
def test_a_split_is_stable_under_the_order_of_the_files(table, protocol, seed):
    parts = cut(table, protocol, seed).set_index("file").split
    mixed = table.sample(frac=1, random_state=seed).sort_values("file", ignore_index=True)
    pd.testing.assert_series_equal(cut(mixed, protocol, seed).set_index("file").split, parts)


@quick
@given(indexes(), st.sampled_from(["by_image", "pooled"]), seeds)
def test_a_split_by_image_has_the_share_of_every_label(table, protocol, seed):
    parts = cut(table, protocol, seed)
    others = parts[parts.split != "test"] if protocol == "by_image" else parts
    share = (others.split == "val").mean()
    drawn = (others.split == "val").groupby(others.label).sum()
    expected = others.label.value_counts().reindex(drawn.index) * share
    assert (drawn - expected).abs().max() <= 1.5


@quick
@given(indexes(), seeds)
def test_folds_by_patient_have_about_the_share_of_every_label(table, seed):
    folds = [cut(table, "cross_validated", seed, fold) for fold in range(5)]
    tested = pd.concat([fold[fold.split == "test"] for fold in folds])
    assert sorted(tested.index) == list(table.index)
    largest = table.groupby(data.patient_or_duplicate(table)).size().max()
    fifth = table.label.value_counts() / 5
    for fold in folds:
        counted = fold[fold.split == "test"].label.value_counts()
        assert counted.sub(fifth, fill_value=0).abs().max() <= 2 * largest


# Metrics


@st.composite
def prediction_tables(draw) -> pd.DataFrame:
    """Prediction tables of two classes, with ties, a few images a patient, and both classes."""
    images = draw(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60))
    assume(len({ill for ill, _ in images}) == 2)
    table = pd.DataFrame(images, columns=["ill", "p_pneumonia"])
    table["p_pneumonia"] /= 20
    table["label"] = np.where(table.pop("ill"), draw(st.sampled_from(LABELS[1:])), "normal")
    table["file"] = [f"{row}.jpeg" for row in range(len(table))]
    table["patient"] = [f"{label} {row // 2}" for row, label in enumerate(table.label)]
    return table.assign(split="test")


def measured(table: pd.DataFrame) -> pd.DataFrame:
    found = evaluation.metrics(table, resamples=100)
    return found.set_index(["threshold_rule", "metric"])


@quick
@given(prediction_tables())
def test_metrics_are_those_of_scikit_learn(table):
    found = measured(table).value
    y, p = table.label != "normal", table.p_pneumonia
    called = p >= 0.5
    decisions = {
        "accuracy": sk.accuracy_score(y, called),
        "recall": sk.recall_score(y, called),
        "specificity": sk.recall_score(~y, ~called),
        "f1": sk.f1_score(y, called),
        "precision": sk.precision_score(y, called, zero_division=np.nan),
    }
    ranking = {
        "auc": sk.roc_auc_score(y, p),
        "average_precision": sk.average_precision_score(y, p),
        "brier": sk.brier_score_loss(y, p),
    }
    assert found["0.5"].to_dict() == pytest.approx(decisions, nan_ok=True)
    assert found[""].to_dict() == pytest.approx(ranking)


@quick
@given(prediction_tables())
def test_metrics_and_their_intervals_lie_within_bounds(table):
    found = measured(table).dropna(subset="value")
    assert found[["value", "low", "high"]].stack().between(0, 1).all()
    assert (found.low <= found.high).all()
    rates = found.drop(["f1", "auc", "average_precision", "brier"], level="metric")
    exact = rates[rates.value.isin([0, 1])]  # Clopper & Pearson
    assert ((exact.low <= exact.value) & (exact.value <= exact.high)).all()
    assert (exact.low < exact.high).all()


@quick
@given(prediction_tables(), seeds)
def test_metrics_do_not_follow_the_order_of_the_rows(table, seed):
    mixed = table.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(measured(mixed), measured(table))


@quick
@given(prediction_tables())
def test_metrics_do_not_follow_the_name_of_the_pathogen(table):
    unknown = table.assign(label=table.label.where(table.label == "normal", data.PNEUMONIA))
    pd.testing.assert_series_equal(measured(unknown).value, measured(table).value)


@quick
@given(prediction_tables())
def test_the_auc_follows_the_order_of_the_probabilities_alone(table):
    squared = table.assign(p_pneumonia=table.p_pneumonia**2)
    chosen = [("", "auc"), ("", "average_precision")]
    pd.testing.assert_frame_equal(measured(squared).loc[chosen], measured(table).loc[chosen])


# What is written and read again


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@quick
@given(st.integers(1, 8), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_an_array_is_kept_as_it_was_made(rows, side, seed):
    made = builders.noise(rows, side, seed)
    name = f"array-{rows}-{side}-{seed}"
    for make in (lambda: made, None):  # the second time it is not made
        found = data.kept(name, make, made.shape, np.uint8)
        np.testing.assert_array_equal(found, made)
    (paths.CACHE / f"{name}.npy").unlink()


# Broken pictures


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(["JPEG", "PNG"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4),
    st.floats(0, 1),
)
def test_a_broken_picture_is_read_or_refused_in_one_line(folder, kind, flips, kept):
    path = folder / f"picture.{kind.lower()}"
    builders.picture(0).save(path)
    content = bytearray(path.read_bytes())
    for place, bits in flips:
        content[int(place * len(content))] ^= bits
    path.write_bytes(content[: int(kept * len(content))] if kept < 0.9 else content)
    with warnings.catch_warnings(action="ignore"):
        try:
            assert reading.read(path, 16).shape == (16, 16)
        except UserError as error:
            assert str(error).isprintable() and str(path) in str(error)
