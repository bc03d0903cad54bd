"""Prediction tables: made, checked, collapsed and compared with the label."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers import evaluation
from helpers.data import PNEUMONIA
from helpers.utils import UserError
from tests import builders

FACTS = ["file", "patient", "split", "label"]


def fit_of(p):
    """Gives p[i] for the i-th of `images_of`."""
    return SimpleNamespace(predict=lambda images: np.asarray(p, dtype=np.float32)[images[:, 0, 0]])


def images_of(n):
    return np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)


def index_table():
    """Six rows: train, val, test, train, val, test."""
    return builders.index_table(6).assign(split=["train", "val", "test"] * 2, width=1)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
def test_predict_gives_the_chosen_rows_rounded(shape):
    p = np.linspace(0, 1, np.prod(shape)).reshape(shape)
    table = evaluation.predict(fit_of(p), images_of(6), index_table())
    rows = index_table().iloc[[1, 2, 4, 5]].reset_index(drop=True)
    pd.testing.assert_frame_equal(table[FACTS], rows[FACTS])
    columns = evaluation.CLASSES if shape == (6, 3) else ["p_pneumonia"]
    assert list(table.columns) == [*FACTS, *columns]
    expected = p.reshape(6, -1)[[1, 2, 4, 5]].astype(np.float32).astype(float).round(6)
    np.testing.assert_array_equal(table[columns].to_numpy(), expected)


def test_predict_of_one_split_or_of_none():
    fit = fit_of(np.full(6, 0.25))
    assert set(evaluation.predict(fit, images_of(6), index_table(), ["test"])["split"]) == {"test"}
    assert evaluation.predict(fit, images_of(6), index_table(), ()).empty


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (np.full(6, np.nan), "not in 0-1"),
        (np.full(6, 1.5), "not in 0-1"),
        (np.full(6, -0.5), "not in 0-1"),
        (np.zeros((6, 2)), "want 1 or 3 columns"),
    ],
)
def test_predict_refuses_what_is_no_probability(p, message):
    with pytest.raises(UserError, match=message):
        evaluation.predict(fit_of(p), images_of(6), index_table())


def test_predict_clips_what_arithmetic_adds():
    table = evaluation.predict(fit_of([0, 1 + 4e-6, -4e-6, 0, 1, 0]), images_of(6), index_table())
    assert table["p_pneumonia"].tolist() == [1, 0, 1, 0]


def test_predict_refuses_other_images_and_a_table_without_patients():
    with pytest.raises(UserError, match="5 images for 6 rows"):
        evaluation.predict(fit_of(np.zeros(6)), images_of(5), index_table())
    with pytest.raises(UserError, match="lacks patient"):
        evaluation.predict(fit_of(np.zeros(6)), images_of(6), index_table().drop(columns="patient"))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_csv_file_gives_the_same_metrics_bit_for_bit(classes):
    table = builders.validation_and_test(classes=classes)
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    first, second = (evaluation.metrics(x, resamples=50) for x in (table, again))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_collapse_keeps_the_facts_and_adds_the_probabilities_of_pneumonia():
    table = builders.predictions(9, classes=3)
    binary = evaluation.collapse(table)
    assert list(binary.columns) == [*FACTS, "p_pneumonia"]
    np.testing.assert_array_equal(binary["p_pneumonia"], (1 - table["p_normal"]).round(6))
    pd.testing.assert_frame_equal(evaluation.collapse(binary), binary)


@pytest.mark.parametrize(
    "broken",
    [
        builders.predictions(9).drop(columns="p_pneumonia"),
        builders.predictions(9, classes=3).drop(columns="p_virus"),
        builders.predictions(9).assign(p_pneumonia=np.nan),
        builders.predictions(9).assign(patient=None),
        builders.predictions(9).assign(label="covid"),
    ],
)
def test_a_broken_table_is_refused(broken):
    uses = (evaluation.collapse, evaluation.metrics, evaluation.confusion, evaluation.ece)
    for use in (*uses, evaluation.outcomes):
        with pytest.raises(UserError, match="prediction table"):
            use(broken)


def test_a_table_without_patients_says_how_to_read_one():
    table = builders.predictions(9).drop(columns="patient")
    for use in (evaluation.collapse, evaluation.metrics, evaluation.bootstrap_weights):
        with pytest.raises(UserError, match=r"lacks patient; read it by results\.predictions"):
            use(table)


# Labels whose pathogen is not known


def of_unknown_pathogen(table):
    return table.assign(label=table["label"].where(table["label"] == "normal", PNEUMONIA))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_pneumonia_of_unknown_pathogen_counts_as_pneumonia(classes):
    known = evaluation.collapse(builders.validation_and_test(classes=classes))
    unknown = evaluation.collapse(
        of_unknown_pathogen(builders.validation_and_test(classes=classes))
    )
    first, second = (evaluation.metrics(x, resamples=200) for x in (known, unknown))
    columns = ["split", "metric", "threshold_rule", "threshold", "value", "n"]
    pd.testing.assert_frame_equal(first[columns], second[columns])
    assert second[["low", "high"]].notna().all(axis=None)
    same = first["metric"] == "specificity"  # normal images are drawn first, so they are the same
    pd.testing.assert_frame_equal(first[same], second[same])
    pd.testing.assert_frame_equal(evaluation.confusion(known), evaluation.confusion(unknown))
    assert set(evaluation.compare(known, known, resamples=50)["n"]) == {120}


def test_three_classes_cannot_be_evaluated_without_the_pathogen():
    table = of_unknown_pathogen(builders.predictions(classes=3))
    uses = (
        evaluation.metrics,
        evaluation.confusion,
        lambda table: evaluation.compare(table, table, classes=3),
    )
    for use in uses:
        with pytest.raises(UserError, match="pathogen is not known"):
            use(table)
    assert set(evaluation.compare(table, table, resamples=50)["difference"]) == {0}


# Beside the label


def test_outcomes_name_every_image_of_the_split():
    table = builders.validation_and_test(classes=3)
    found = evaluation.outcomes(table, 0.7)
    assert set(found["split"]) == {"test"} and len(found) == 120
    assert set(table.columns) <= set(found.columns)
    counts = evaluation.confusion(evaluation.collapse(table), threshold=0.7)
    expected = {
        "found": counts.loc["pneumonia", "pneumonia"],
        "missed": counts.loc["pneumonia", "normal"],
        "cleared": counts.loc["normal", "normal"],
        "false alarm": counts.loc["normal", "pneumonia"],
    }
    assert found["outcome"].value_counts().to_dict() == expected
    assert tuple(expected) == evaluation.OUTCOMES
    np.testing.assert_array_equal(found["right"], found["outcome"].isin(["found", "cleared"]))
    np.testing.assert_array_equal(found["ill"], found["label"] != "normal")
    np.testing.assert_array_equal(found["called"], found["p_pneumonia"] >= 0.7)


def test_outcomes_that_never_happen_are_counted_as_zero():
    table = builders.predictions(9).assign(p_pneumonia=1.0)
    counts = evaluation.outcomes(table)["outcome"].value_counts()
    assert (counts["missed"], counts["cleared"], counts["found"]) == (0, 0, 5)
    with pytest.raises(UserError, match="no rows of split val"):
        evaluation.outcomes(table, split="val")


def test_prevalence_is_the_share_of_pneumonias_of_a_split():
    table = builders.validation_and_test()
    kept = table[(table["split"] == "test") | (table["label"] != "virus")]
    assert evaluation.prevalence(kept) == pytest.approx(2 / 3)
    assert evaluation.prevalence(kept, "val") == pytest.approx(1 / 2)
