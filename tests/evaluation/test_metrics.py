"""Metrics and their intervals, and the tables behind the figures; scikit-learn is the oracle."""

import io
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from helpers import evaluation
from helpers.data import LABELS
from helpers.evaluation.metrics import (
    DECISIONS,
    PROBABILITIES,
    THREE_CLASSES,
    Metric,
    auc,
    average_precision,
    counts,
    interval,
)
from helpers.utils import UserError
from tests.builders import predictions, validation_and_test

BINARY = ["accuracy", "recall", "specificity", "precision", "f1"]
RANKING = ["auc", "average_precision", "brier"]
THREE = ["accuracy", "auc", "recall_normal", "recall_bacteria", "recall_virus"]
quick = settings(max_examples=60, deadline=None)


def truth(table):
    return (table["label"] != "normal").to_numpy(), table["p_pneumonia"].to_numpy()


def get(table, metric, split="test", subset="all", rule=None):
    """The one row of a metric."""
    rule = rule if rule is not None else ("0.5" if metric in BINARY else "")
    found = table.query("metric == @metric and split == @split and subset == @subset")
    found = found[found["threshold_rule"] == rule]
    assert len(found) == 1
    return found.iloc[0]


# The threshold


@quick
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.9, 0.98, 1.0]),
)
def test_recall_threshold_is_the_highest_that_reaches_the_recall(images, recall):
    y, p = np.array([i[0] for i in images]), np.array([i[1] / 20 for i in images])
    if not y.any():
        with pytest.raises(UserError, match="no pneumonia"):
            evaluation.recall_threshold(y, p)
        return
    threshold = evaluation.recall_threshold(y, p, recall)
    assert sk.recall_score(y, p >= threshold) >= recall
    assert sk.recall_score(y, p >= np.nextafter(threshold, 2)) < recall


def test_recall_threshold_takes_labels_booleans_and_numbers():
    table = predictions()
    y, p = truth(table)
    for labels in (table["label"], y, y.astype(int), np.where(y, "pneumonia", "normal")):
        assert evaluation.recall_threshold(labels, p) == evaluation.recall_threshold(y, p)


def gap(y, p, threshold):
    """Between sensitivity and specificity, exact."""
    found, cleared = int((p[y] >= threshold).sum()), int((p[~y] < threshold).sum())
    return abs(Fraction(found, int(y.sum())) - Fraction(cleared, int((~y).sum())))


@quick
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60))
def test_balanced_threshold_is_the_lowest_p_with_the_least_gap(images):
    y, p = np.array([i[0] for i in images]), np.array([i[1] / 20 for i in images])
    if y.all() or not y.any():
        with pytest.raises(UserError, match="only one class"):
            evaluation.balanced_threshold(y, p)
        return
    cuts = np.unique(p)
    gaps = [gap(y, p, cut) for cut in cuts]
    assert evaluation.balanced_threshold(y, p) == cuts[gaps.index(min(gaps))]


def test_of_balanced_thresholds_that_are_as_good_the_lowest_is_taken():
    assert evaluation.balanced_threshold(np.array([False, True, True]), [0.2, 0.6, 0.8]) == 0.6
    y = np.array([0, 0, 1, 1, 1, 1, 0, 1, 0, 1], bool)
    p = np.array([0.25, 0.75, 0.45, 0.45, 0.4, 0.85, 0.2, 0.6, 0.75, 0.4])
    assert gap(y, p, 0.45) == gap(y, p, 0.6) == Fraction(1, 6)  # as floats they differ
    assert evaluation.balanced_threshold(y, p) == 0.45


def test_the_best_threshold_is_the_lowest_with_the_most_right():
    y, p = np.array([False, True, False, True, True]), np.array([0.1, 0.3, 0.4, 0.6, 0.9])
    assert evaluation.best_threshold(y, p) == (0.3, 0.8)  # 0.6 is as good
    assert evaluation.best_threshold(["virus", "normal"], [0.2, 0.7]) == (0.2, 0.5)


def test_balanced_threshold_takes_labels_booleans_and_numbers():
    table = predictions()
    y, p = truth(table)
    for labels in (table["label"], y.astype(int), np.where(y, "pneumonia", "normal")):
        assert evaluation.balanced_threshold(labels, p) == evaluation.balanced_threshold(y, p)


def test_the_rule_is_chosen_on_validation_alone():
    table = validation_and_test()
    found = evaluation.metrics(table, resamples=50, thresholds={"selected": 0.3})
    y, p = truth(table[table["split"] == "val"])
    assert evaluation.RECALL_RULE == f"val_recall_{evaluation.RECALL}" == "val_recall_0.98"
    rows = found[found["threshold_rule"] == "val_recall_0.98"]
    assert set(rows["threshold"]) == {evaluation.recall_threshold(y, p)}
    assert get(found, "recall", "val", rule="val_recall_0.98")["value"] >= 0.98
    assert set(found[found["threshold_rule"] == "selected"]["threshold"]) == {0.3}
    assert evaluation.BALANCED_RULE == "val_balanced"
    rows = found[found["threshold_rule"] == "val_balanced"]
    assert set(rows["threshold"]) == {evaluation.balanced_threshold(y, p)}
    both = [get(found, x, "val", rule="val_balanced")["value"] for x in ("recall", "specificity")]
    assert both[0] == pytest.approx(both[1], abs=0.02)


# Metrics


def test_metrics_of_two_classes_are_those_of_scikit_learn():
    table = validation_and_test()
    kept = set(table[table["split"] == "test"]["file"].iloc[::2])
    found = evaluation.metrics(table, disjoint=kept, resamples=50)
    assert list(found.columns) == evaluation.COLUMNS
    subsets = found[["split", "subset"]].drop_duplicates().to_numpy().tolist()
    assert subsets == [["val", "all"], ["test", "all"], ["test", "disjoint"]]
    for (split, subset), rows in found.groupby(["split", "subset"]):
        part = table[(table["split"] == split) & (table["file"].isin(kept) | (subset == "all"))]
        y, p = truth(part)
        assert set(rows["n"]) == {len(part)}
        assert list(rows["metric"]) == 3 * BINARY + RANKING
        for rule in ("0.5", "val_recall_0.98", "val_balanced"):
            threshold = get(found, "accuracy", split, subset, rule)["threshold"]
            expected = (
                sk.accuracy_score(y, p >= threshold),
                sk.recall_score(y, p >= threshold),
                sk.recall_score(y, p >= threshold, pos_label=False),
                sk.precision_score(y, p >= threshold),
                sk.f1_score(y, p >= threshold),
            )
            for name, value in zip(BINARY, expected, strict=True):
                assert get(found, name, split, subset, rule)["value"] == pytest.approx(value, 1e-12)
        scores = (sk.roc_auc_score, sk.average_precision_score, sk.brier_score_loss)
        for name, score in zip(RANKING, scores, strict=True):
            assert get(found, name, split, subset)["value"] == pytest.approx(score(y, p), 1e-12)
            assert np.isnan(get(found, name, split, subset)["threshold"])


def test_metrics_of_three_classes_are_those_of_scikit_learn():
    table = validation_and_test(classes=3)
    found = evaluation.metrics(table, resamples=50)
    test = table[table["split"] == "test"]
    p = test[evaluation.CLASSES].to_numpy()
    number = test["label"].map(LABELS.index).to_numpy()
    rows = found.query("split == 'test' and subset == 'all'")
    assert list(rows["metric"]) == THREE
    assert set(rows["threshold_rule"]) == {""}
    one_against_rest = [sk.roc_auc_score(number == k, p[:, k]) for k in range(3)]
    assert get(found, "auc")["value"] == pytest.approx(np.mean(one_against_rest), 1e-12)
    expected = sk.roc_auc_score(number, p / p.sum(axis=1, keepdims=True), multi_class="ovr")
    assert get(found, "auc")["value"] == pytest.approx(expected, abs=1e-3)
    assert get(found, "accuracy", rule="")["value"] == np.mean(p.argmax(axis=1) == number)
    recalls = sk.recall_score(number, p.argmax(axis=1), average=None)
    for label, recall in zip(LABELS, recalls, strict=True):
        assert get(found, f"recall_{label}")["value"] == pytest.approx(recall)


def test_three_classes_are_also_measured_collapsed_on_all_and_on_the_disjoint_files():
    table = validation_and_test(classes=3)
    kept = set(table["file"].iloc[120:200])
    found = evaluation.metrics(table, disjoint=kept, resamples=50)
    subsets = found[["split", "subset"]].drop_duplicates().to_numpy().tolist()
    of_test = ["all", "disjoint", "binary", "binary_disjoint"]
    assert subsets == [["val", "all"], ["val", "binary"], *(["test", name] for name in of_test)]
    collapsed = evaluation.metrics(evaluation.collapse(table), disjoint=kept, resamples=50)
    for ours, theirs in {"binary": "all", "binary_disjoint": "disjoint"}.items():
        rows = found[found["subset"] == ours].assign(subset=theirs).reset_index(drop=True)
        expected = collapsed[collapsed["subset"] == theirs].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, expected)
    assert set(found[found["subset"] == "binary_disjoint"]["n"]) == {80}


def test_a_new_metric_is_one_line(monkeypatch):
    negative_predictive_value = Metric(lambda tp, fp, fn, tn: (tn, tn + fn), ("normal",))
    monkeypatch.setitem(DECISIONS, "npv", negative_predictive_value)
    absolute_error = Metric(
        lambda y, p, weights: (np.abs(p - y) @ weights, weights.sum(axis=0)), is_rate=False
    )
    monkeypatch.setitem(PROBABILITIES, "absolute_error", absolute_error)
    table = predictions()
    found = evaluation.metrics(table, resamples=50)
    y, p = truth(table)
    row = get(found, "npv", rule="0.5")
    assert row["value"] == pytest.approx(sk.precision_score(~y, p < 0.5))
    assert row["low"] < row["value"] < row["high"]
    row = get(found, "absolute_error")
    assert row["value"] == pytest.approx(sk.mean_absolute_error(y, p))
    assert row["low"] < row["value"] < row["high"]
    ill = evaluation.metrics(table[y], resamples=50)
    assert "npv" not in set(ill["metric"]) and "absolute_error" in set(ill["metric"])


def test_the_tables_of_metrics_are_in_the_order_of_the_long_table():
    assert [list(x) for x in (DECISIONS, PROBABILITIES, THREE_CLASSES)] == [BINARY, RANKING, THREE]


@pytest.mark.parametrize("classes", [2, 3])
def test_order_of_rows_does_not_matter_and_seed_does(classes):
    table = validation_and_test(classes=classes)
    shuffled = table.sample(frac=1, random_state=0)
    first, second = (evaluation.metrics(x, resamples=100) for x in (table, shuffled))
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=1e-12)
    other = evaluation.metrics(table, seed=1, resamples=100)
    assert (first["value"] == other["value"]).all()
    assert (first["low"] != other["low"]).any()


def test_a_disjoint_set_that_is_elsewhere_is_left_out():
    table = validation_and_test()
    val = set(table[table["split"] == "val"]["file"])
    for elsewhere in (val, {"IM-1.jpeg"}):
        assert set(evaluation.metrics(table, elsewhere, resamples=50)["subset"]) == {"all"}


def test_without_validation_there_is_no_validation_rule():
    found = evaluation.metrics(predictions(), resamples=50)
    assert set(found["threshold_rule"]) == {"0.5", ""}
    assert set(found["split"]) == {"test"}
    table = validation_and_test()
    normal = table["label"] == "normal"
    healthy, ill = (table[(table["split"] == "test") | own] for own in (normal, ~normal))
    rules = [set(evaluation.metrics(x, resamples=50)["threshold_rule"]) for x in (healthy, ill)]
    assert rules == [{"0.5", ""}, {"0.5", "val_recall_0.98", ""}]


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("normal", ["accuracy", "specificity", "brier"]),
        ("virus", ["accuracy", "recall", "precision", "f1", "brier"]),
    ],
)
def test_one_class_alone_gives_the_metrics_that_exist(label, kept):
    table = predictions()
    found = evaluation.metrics(table[table["label"] == label], resamples=50)
    assert list(found["metric"]) == kept
    assert found["value"].notna().all()


def test_three_classes_without_viral_images():
    table = validation_and_test(classes=3)
    table = table[(table["split"] == "test") | (table["label"] != "virus")]
    found = evaluation.metrics(table, resamples=50).query("subset == 'all'")
    assert list(found[found["split"] == "val"]["metric"]) == [
        name for name in THREE if name not in ("auc", "recall_virus")
    ]
    assert list(found[found["split"] == "test"]["metric"]) == THREE


def test_precision_without_a_call_is_undefined_and_f1_zero():
    found = evaluation.metrics(predictions().assign(p_pneumonia=0.1), resamples=50)
    assert get(found, "precision")[["value", "low", "high"]].isna().all()
    assert get(found, "f1")["value"] == 0
    assert get(found, "auc")[["value", "low", "high"]].tolist() == [0.5] * 3


def test_resamples_without_a_call_are_left_out_of_the_interval():
    table = predictions().assign(p_pneumonia=0.1)
    table.loc[(table["label"] == "virus").idxmax(), "p_pneumonia"] = 0.9
    found = get(evaluation.metrics(table, resamples=200), "precision")
    assert found[["value", "low", "high"]].notna().all()


@pytest.mark.parametrize("classes", [2, 3])
def test_a_rate_of_one_or_zero_has_the_interval_of_clopper_and_pearson(classes):
    table = predictions(classes=classes)
    right = (table["label"].to_numpy()[:, None] == np.array(LABELS)).astype(float)
    if classes == 3:
        table[evaluation.CLASSES] = right
    names = THREE[2:] if classes == 3 else ["recall", "specificity", "precision"]
    for flip in (False, True):
        if classes == 2:
            table["p_pneumonia"] = right[:, 0] if flip else 1 - right[:, 0]
        elif flip:
            table[evaluation.CLASSES] = np.roll(right, 1, axis=1)
        found = evaluation.metrics(table, resamples=50)
        trials = {"specificity": 40, "accuracy": 120} | {f"recall_{label}": 40 for label in LABELS}
        trials |= {"recall": 80, "precision": 40 if flip else 80}
        for name in ["accuracy", *names]:
            row = get(found, name, rule="" if classes == 3 else "0.5")
            edge = 0.025 ** (1 / trials[name])  # closed form at 0 and at n of n
            expected = [0, 0, 1 - edge] if flip else [1, edge, 1]
            np.testing.assert_allclose(row[["value", "low", "high"]].astype(float), expected)


def test_clopper_pearson_of_known_numbers_and_of_no_trial():
    exact = stats.binomtest(7, 20).proportion_ci()
    assert evaluation.clopper_pearson(7, 20) == (exact.low, exact.high)
    assert evaluation.clopper_pearson(71, 71) == pytest.approx((0.025 ** (1 / 71), 1))
    assert np.isnan(evaluation.clopper_pearson(0, 0)).all()


# Intervals


def weighted(draw_count):
    """Labels, scores with many ties, and weights with zeros; both classes present."""
    image = st.tuples(st.integers(0, 6), st.lists(st.integers(0, 3), min_size=3, max_size=3))
    return st.tuples(
        st.lists(image, min_size=1, max_size=draw_count),
        st.lists(image, min_size=1, max_size=draw_count),
    )


def unpack(images):
    sick, healthy = images
    y = np.arange(len(sick) + len(healthy)) < len(sick)
    p = np.array([i[0] for i in sick + healthy]) / 6
    weights = np.array([i[1] for i in sick + healthy], dtype=float)
    weights[0] += 1
    weights[-1] += 1  # at least one image of each class in each resample
    return y, p, weights


def ratio(parts):
    numerator, denominator = parts
    with np.errstate(invalid="ignore"):
        return numerator / denominator


@quick
@given(weighted(30))
def test_weighted_probability_metrics_are_those_of_scikit_learn(images):
    y, p, weights = unpack(images)
    found = {name: ratio(metric.ratio(y, p, weights)) for name, metric in PROBABILITIES.items()}
    scores = (sk.roc_auc_score, sk.average_precision_score, sk.brier_score_loss)
    for name, score in zip(RANKING, scores, strict=True):
        expected = [score(y, p, sample_weight=w) for w in weights.T]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12)


@quick
@given(weighted(30))
def test_ranking_ignores_a_monotone_change_of_the_scores(images):
    y, p, weights = unpack(images)
    changed = 1 / (1 + np.exp(-5 * p**3))
    for score in (auc, average_precision):
        for before, after in zip(score(y, p, weights), score(y, changed, weights), strict=True):
            np.testing.assert_allclose(before, after, rtol=1e-12)


@quick
@given(weighted(30))
def test_weighted_decisions_are_those_of_scikit_learn(images):
    y, p, weights = unpack(images)
    cells = counts(y, p >= 0.5, weights)
    samples = {name: ratio(metric.ratio(*cells)) for name, metric in DECISIONS.items()}
    for i, w in enumerate(weights.T):
        given_w = {"sample_weight": w, "zero_division": np.nan}
        expected = {
            "accuracy": sk.accuracy_score(y, p >= 0.5, sample_weight=w),
            "recall": sk.recall_score(y, p >= 0.5, **given_w),
            "specificity": sk.recall_score(~y, p < 0.5, **given_w),
            "precision": sk.precision_score(y, p >= 0.5, **given_w),
            "f1": sk.f1_score(y, p >= 0.5, **given_w),
        }
        for name, value in expected.items():
            assert samples[name][i] == pytest.approx(value, nan_ok=True)


@quick
@given(st.integers(0, 10_000), st.integers(9, 40))
def test_weighted_metrics_of_three_classes_are_those_of_scikit_learn(seed, n):
    table = predictions(n, seed, classes=3)
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 4, (n, 3)).astype(float)
    labels, p = table["label"].to_numpy(), table[evaluation.CLASSES].to_numpy()
    called = np.array(LABELS)[p.argmax(axis=1)]
    found = {
        name: ratio(metric.ratio(labels, p, weights)) for name, metric in THREE_CLASSES.items()
    }
    for i, w in enumerate(weights.T):
        aucs = [sk.roc_auc_score(labels == x, table[f"p_{x}"], sample_weight=w) for x in LABELS]
        options = {"sample_weight": w, "labels": list(LABELS), "average": None}
        recalls = sk.recall_score(labels, called, **options)
        expected = [sk.accuracy_score(labels, called, sample_weight=w), np.mean(aucs), *recalls]
        np.testing.assert_allclose([found[name][i] for name in THREE], expected)


def test_values_are_the_draws_with_all_weights_one():
    table = predictions()
    y, p = truth(table)
    found = evaluation.metrics(table, resamples=50)
    ones = np.ones((len(table), 1))
    for name, metric in DECISIONS.items():
        assert get(found, name)["value"] == ratio(metric.ratio(*counts(y, p >= 0.5, ones)))[0]
    for name, metric in PROBABILITIES.items():
        assert get(found, name)["value"] == pytest.approx(ratio(metric.ratio(y, p, ones))[0], 1e-12)


def test_weights_draw_whole_patients_within_each_label():
    labels = np.array(["normal"] * 6 + ["bacteria"] * 5 + ["virus"] * 4)
    patients = np.array([1, 1, 1, 2, 3, 3, 1, 1, 2, 3, 4, 1, 1, 5, 5])
    table = pd.DataFrame({"patient": patients, "label": labels})
    weights = evaluation.bootstrap_weights(table, 500)
    assert weights.shape == (15, 500)
    frame = pd.DataFrame(weights).groupby([labels, patients])
    assert (frame.max() == frame.min()).all(axis=None)  # all images of a patient alike
    drawn = frame.first().groupby(level=0).sum()
    assert (drawn.T == [4, 3, 2]).all(axis=None)  # as many patients of a label as there are
    assert np.abs(weights.mean(axis=1) - 1).max() < 0.15
    pairs = frame.first().T  # patient 1 has bacterial and viral images: drawn apart
    assert abs(np.corrcoef(pairs["bacteria", 1], pairs["virus", 1])[0, 1]) < 0.15


def test_draws_follow_the_column_patient_and_no_name_of_a_file():
    table = predictions()
    other = table.assign(file=[f"scan-{row}.png" for row in range(len(table))])
    first, second = (evaluation.bootstrap_weights(x, 20) for x in (table, other))
    np.testing.assert_array_equal(first, second)


def test_draws_are_pinned():
    """Published intervals rest on these draws."""
    table = pd.DataFrame({"patient": list("abcabcab"), "label": ["normal"] * 3 + ["virus"] * 5})
    rng = np.random.default_rng(3)
    drawn = [rng.integers(n, size=(n, 4)) for n in (3, 3)]
    expected = [
        (drawn[label == "virus"] == "abc".index(patient)).sum(axis=0)
        for patient, label in table.itertuples(index=False)
    ]
    np.testing.assert_array_equal(evaluation.bootstrap_weights(table, 4, 3), expected)


@quick
@given(st.integers(0, 10_000), st.integers(12, 60), st.sampled_from([2, 3]), st.floats(0, 3))
def test_intervals_are_ordered_and_in_range(seed, n, classes, signal):
    table = predictions(n, seed, signal, classes)
    found = evaluation.metrics(table, resamples=60).dropna(subset="value")
    assert (found["low"] <= found["high"]).all()
    values = found[["value", "low", "high"]].to_numpy()
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("n", [15, 30, 60, 90])
def test_a_perfect_ranking_is_worth_one_and_not_a_bit_more(n):
    table = predictions(n)
    p = np.where(truth(table)[0], 0.9, 0.1) + np.arange(n) / 1000
    found = evaluation.metrics(table.assign(p_pneumonia=p), resamples=50)
    for name in ("auc", "average_precision"):
        assert get(found, name)[["value", "low", "high"]].tolist() == [1, 1, 1]


def test_intervals_hold_the_value():
    for seed in range(5):
        for classes in (2, 3):
            found = evaluation.metrics(predictions(300, seed, classes=classes), resamples=500)
            assert (found["low"] <= found["value"]).all()
            assert (found["value"] <= found["high"]).all()


def clustered(rng, n_patients=40, images=3, spread=1.0):
    """Images of a patient share a part of their score; the AUC of an image pair is known."""
    labels = np.repeat(np.where(np.arange(n_patients) % 2, "virus", "normal"), images)
    patients = np.repeat(np.arange(n_patients), images)
    score = rng.normal(size=n_patients)[patients] * spread + rng.normal(size=len(labels)) * 0.5
    p = stats.norm.cdf(score + 1.0 * (labels == "virus"))
    return pd.DataFrame({"patient": patients, "label": labels, "p_pneumonia": p.round(6)})


def auc_interval(table):
    return interval(ratio(auc(*truth(table), evaluation.bootstrap_weights(table, 300))))


def test_coverage_of_the_cluster_bootstrap():
    rng = np.random.default_rng(0)
    expected = stats.norm.cdf(1 / np.sqrt(2 * (1 + 0.25)))
    intervals = [auc_interval(clustered(rng)) for _ in range(200)]
    covered = np.mean([low <= expected <= high for low, high in intervals])
    assert 0.87 <= covered <= 0.99


def test_patients_give_wider_intervals_than_images_when_their_images_agree():
    table = clustered(np.random.default_rng(0), n_patients=60, images=4, spread=2)
    alone = table.assign(patient=np.arange(len(table)))
    widths = [np.diff(auc_interval(x))[0] for x in (table, alone)]
    assert widths[0] > 1.4 * widths[1]


def test_summary_over_seeds():
    fits = [
        evaluation.metrics(predictions(seed=seed), resamples=50).assign(
            experiment="dense", protocol="official", seed=seed
        )
        for seed in range(3)
    ]
    table = pd.read_csv(io.StringIO(pd.concat(fits).to_csv(index=False)))
    found = evaluation.summary(table)
    row = get(found, "auc")
    values = [sk.roc_auc_score(*truth(predictions(seed=seed))) for seed in range(3)]
    assert row[["mean", "std"]].tolist() == pytest.approx([np.mean(values), np.std(values, ddof=1)])
    assert row["count"] == 3
    assert len(found) == len(fits[0])
    one = evaluation.summary(fits[0])
    assert one["std"].isna().all()


# Tables behind the figures


def test_confusion_of_two_and_three_classes():
    table = predictions()
    y, p = truth(table)
    found = evaluation.confusion(table, threshold=0.7)
    assert found.loc["normal", "pneumonia"] == (~y & (p >= 0.7)).sum()
    assert found.loc["pneumonia", "normal"] == (y & (p < 0.7)).sum()
    assert found.to_numpy().sum() == len(table)
    assert (found.index.name, found.columns.name) == ("label", "predicted")
    three = predictions(classes=3)
    found = evaluation.confusion(three)
    assert list(found.index) == list(found.columns) == list(LABELS)
    called = three[evaluation.CLASSES].to_numpy().argmax(axis=1)
    assert found.loc["virus", "bacteria"] == ((three["label"] == "virus") & (called == 1)).sum()
    assert evaluation.confusion(three[three["label"] == "normal"]).shape == (3, 3)


def test_roc_has_the_area_of_the_auc():
    for classes in (2, 3):
        table = predictions(classes=classes)
        found = evaluation.roc(table)
        area = np.trapezoid(found["recall"], found["false_positive_rate"])
        assert area == pytest.approx(sk.roc_auc_score(*truth(evaluation.collapse(table))))
    with pytest.raises(UserError, match="one class only"):
        evaluation.roc(table[table["label"] == "normal"])
    with pytest.raises(UserError, match="no rows of split val"):
        evaluation.roc(table, "val")


def test_reliability_counts_every_image_once():
    table = predictions(200)
    found = evaluation.reliability(table, bins=10)
    assert found["n"].sum() == len(table)
    y, p = truth(table)
    for row in found.itertuples():
        chosen = (p >= row.bin_low) & ((p < row.bin_high) | (row.bin_high == 1))
        assert row.n == chosen.sum()
        if row.n:
            assert row.predicted == pytest.approx(p[chosen].mean())
            assert row.observed == y[chosen].mean()
            exact = stats.binomtest(int(y[chosen].sum()), row.n).proportion_ci()
            assert (row.low, row.high) == (exact.low, exact.high)


def test_reliability_of_values_on_an_edge_and_of_an_empty_bin():
    table = predictions(11).assign(p_pneumonia=np.arange(11) / 10)
    assert evaluation.reliability(table)["n"].tolist() == [1] * 9 + [2]
    empty = evaluation.reliability(table.assign(p_pneumonia=0.05))
    assert empty["n"].tolist() == [11] + [0] * 9
    assert empty.loc[1:, ["predicted", "observed", "low", "high"]].isna().all(axis=None)


def test_ece_of_known_tables():
    table = predictions(120)
    share = truth(table)[0].mean()
    assert evaluation.ece(table.assign(p_pneumonia=0.05)) == pytest.approx(share - 0.05)
    assert evaluation.ece(table.assign(p_pneumonia=truth(table)[0].astype(float))) == 0
    small = predictions(8, per_patient=1).assign(p_pneumonia=[0.2] * 2 + [0.9] * 6)
    small["label"] = ["virus", "normal"] + ["virus"] * 5 + ["normal"]
    assert evaluation.ece(small) == pytest.approx((0.3 * 2 + (0.9 - 5 / 6) * 6) / 8)


@pytest.mark.parametrize("classes", [2, 3])
def test_calibration_error_gives_brier_and_ece_of_each_split(classes):
    table = validation_and_test(classes=classes)
    found = evaluation.calibration_error(table)
    assert list(found.index) == ["val", "test"] and list(found.columns) == ["brier", "ece"]
    measured = evaluation.metrics(evaluation.collapse(table), resamples=10)
    for split in found.index:
        assert found.loc[split, "brier"] == pytest.approx(get(measured, "brier", split)["value"])
        assert found.loc[split, "ece"] == evaluation.ece(table, split)
    alone = evaluation.calibration_error(table, ["test"])
    pd.testing.assert_frame_equal(alone, found.loc[["test"]])
