"""Predictions, metrics and intervals, comparisons, and the tables behind the figures."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from helpers import evaluation
from helpers.settings import LABELS, UserError

BINARY = ["accuracy", "recall", "specificity", "precision", "f1"]
RANKING = ["auc", "average_precision", "brier"]
THREE = ["accuracy", "auc", "recall_normal", "recall_bacteria", "recall_virus"]
quick = settings(max_examples=60, deadline=None)


def files(labels, patients):
    """Names as in the data set, for labels (n,) and patient numbers (n,)."""
    return [
        f"IM-{patient:04d}-{i:04d}.jpeg"
        if label == "normal"
        else f"person{patient}_{label}_{i}.jpeg"
        for i, (label, patient) in enumerate(zip(labels, patients, strict=True))
    ]


def predictions(n=120, seed=0, signal=1.5, classes=2, *, split="test", per_patient=2):
    """A prediction table of random images, better than chance by `signal`."""
    rng = np.random.default_rng(seed)
    labels = np.array(LABELS)[np.arange(n) // per_patient % 3]
    score = rng.normal(size=(n, 3)) + signal * (labels[:, None] == np.array(LABELS))
    p = (np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)).round(6)
    table = pd.DataFrame({"file": files(labels, np.arange(n) // per_patient)})
    table["split"], table["label"] = split, labels
    if classes == 3:
        return table.assign(p_normal=p[:, 0], p_bacteria=p[:, 1], p_virus=p[:, 2])
    return table.assign(p_pneumonia=1 - p[:, 0]).round(6)


def both(**options):
    """Validation and test rows; other patients by their number."""
    val = predictions(split="val", seed=1, **options)
    val["file"] = val["file"].str.replace("person", "person9").str.replace("IM-", "IM-9")
    return pd.concat([val, predictions(**options)], ignore_index=True)


def truth(table):
    return (table["label"] != "normal").to_numpy(), table["p_pneumonia"].to_numpy()


def get(table, metric, split="test", subset="all", rule=None):
    """The one row of a metric."""
    rule = rule if rule is not None else ("0.5" if metric in BINARY else "")
    found = table.query("metric == @metric and split == @split and subset == @subset")
    found = found[found["threshold_rule"] == rule]
    assert len(found) == 1
    return found.iloc[0]


# Predictions


def fit_of(p):
    return SimpleNamespace(predict=lambda images: np.asarray(p, dtype=np.float32)[images[:, 0, 0]])


def index_table(n=6):
    table = predictions(n)[["file", "label"]]
    return table.assign(split=["train", "val", "test"] * (n // 3), width=1)


def images_of(n):
    return np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
def test_predict_gives_the_chosen_rows_rounded(shape):
    p = np.linspace(0, 1, np.prod(shape)).reshape(shape)
    table = evaluation.predict(fit_of(p), images_of(6), index_table())
    assert list(table["split"]) == ["val", "test", "val", "test"]
    assert list(table["file"]) == list(index_table()["file"].iloc[[1, 2, 4, 5]])
    columns = evaluation.CLASSES if shape == (6, 3) else ["p_pneumonia"]
    assert list(table.columns) == ["file", "split", "label", *columns]
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
        (np.zeros((6, 2)), "want 1 or 3 columns"),
    ],
)
def test_predict_refuses_what_is_no_probability(p, message):
    with pytest.raises(UserError, match=message):
        evaluation.predict(fit_of(p), images_of(6), index_table())


def test_predict_clips_what_arithmetic_adds():
    table = evaluation.predict(fit_of([0, 1 + 4e-6, -4e-6, 0, 1, 0]), images_of(6), index_table())
    assert table["p_pneumonia"].tolist() == [1, 0, 1, 0]


def test_predict_refuses_other_images():
    with pytest.raises(UserError, match="5 images for 6 rows"):
        evaluation.predict(fit_of(np.zeros(6)), images_of(5), index_table())


@pytest.mark.parametrize("classes", [2, 3])
def test_a_csv_file_gives_the_same_metrics_bit_for_bit(classes):
    table = both(classes=classes)
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    first, second = (evaluation.metrics(x, resamples=50) for x in (table, again))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_collapse():
    table = predictions(9, classes=3)
    binary = evaluation.collapse(table)
    assert list(binary.columns) == ["file", "split", "label", "p_pneumonia"]
    np.testing.assert_array_equal(binary["p_pneumonia"], (1 - table["p_normal"]).round(6))
    pd.testing.assert_frame_equal(evaluation.collapse(binary), binary)


@pytest.mark.parametrize(
    "broken",
    [
        predictions(9).drop(columns="p_pneumonia"),
        predictions(9, classes=3).drop(columns="p_virus"),
        predictions(9).assign(p_pneumonia=np.nan),
        predictions(9).assign(label="covid"),
    ],
)
def test_a_broken_table_is_refused(broken):
    for use in (evaluation.collapse, evaluation.metrics, evaluation.confusion, evaluation.ece):
        with pytest.raises(UserError, match="prediction table"):
            use(broken)


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
    for labels in (table["label"], y, y.astype(int)):
        assert evaluation.recall_threshold(labels, p) == evaluation.recall_threshold(y, p)


def test_the_rule_is_chosen_on_validation_alone():
    table = both()
    found = evaluation.metrics(table, resamples=50, thresholds={"selected": 0.3})
    y, p = truth(table[table["split"] == "val"])
    rows = found[found["threshold_rule"] == "val_recall_0.98"]
    assert set(rows["threshold"]) == {evaluation.recall_threshold(y, p)}
    assert get(found, "recall", "val", rule="val_recall_0.98")["value"] >= 0.98
    assert set(found[found["threshold_rule"] == "selected"]["threshold"]) == {0.3}


# Metrics


def test_metrics_of_two_classes_are_those_of_scikit_learn():
    table = both()
    kept = set(table[table["split"] == "test"]["file"].iloc[::2])
    found = evaluation.metrics(table, disjoint=kept, resamples=50)
    assert list(found.columns) == evaluation.COLUMNS
    subsets = found[["split", "subset"]].drop_duplicates().to_numpy().tolist()
    assert subsets == [["val", "all"], ["test", "all"], ["test", "disjoint"]]
    for (split, subset), rows in found.groupby(["split", "subset"]):
        part = table[(table["split"] == split) & (table["file"].isin(kept) | (subset == "all"))]
        y, p = truth(part)
        assert set(rows["n"]) == {len(part)}
        assert list(rows["metric"]) == BINARY + BINARY + RANKING
        for rule in ("0.5", "val_recall_0.98"):
            threshold = get(found, "accuracy", split, subset, rule)["threshold"]
            expected = (
                sk.accuracy_score(y, p >= threshold),
                sk.recall_score(y, p >= threshold),
                sk.recall_score(y, p >= threshold, pos_label=False),
                sk.precision_score(y, p >= threshold),
                sk.f1_score(y, p >= threshold),
            )
            for name, value in zip(BINARY, expected, strict=True):
                assert get(found, name, split, subset, rule)["value"] == value
        scores = (sk.roc_auc_score, sk.average_precision_score, sk.brier_score_loss)
        for name, score in zip(RANKING, scores, strict=True):
            assert get(found, name, split, subset)["value"] == score(y, p)
            assert np.isnan(get(found, name, split, subset)["threshold"])


def test_metrics_of_three_classes_and_their_collapse():
    table = both(classes=3)
    kept = set(table["file"].iloc[120:200])
    found = evaluation.metrics(table, disjoint=kept, resamples=50)
    assert set(found[found["split"] == "test"]["subset"]) == {"all", "disjoint", "binary"}
    test = table[table["split"] == "test"]
    p = test[evaluation.CLASSES].to_numpy()
    number = test["label"].map(LABELS.index).to_numpy()
    rows = found.query("split == 'test' and subset == 'all'")
    assert list(rows["metric"]) == THREE
    assert set(rows["threshold_rule"]) == {""}
    expected = sk.roc_auc_score(number, p / p.sum(axis=1, keepdims=True), multi_class="ovr")
    assert get(found, "auc")["value"] == pytest.approx(expected, abs=1e-3)
    assert get(found, "accuracy", rule="")["value"] == np.mean(p.argmax(axis=1) == number)
    recalls = sk.recall_score(number, p.argmax(axis=1), average=None)
    for label, recall in zip(LABELS, recalls, strict=True):
        assert get(found, f"recall_{label}")["value"] == pytest.approx(recall)
    collapsed = evaluation.metrics(evaluation.collapse(table), resamples=50)
    binary = found[found["subset"] == "binary"].assign(subset="all").reset_index(drop=True)
    pd.testing.assert_frame_equal(binary, collapsed)


@pytest.mark.parametrize("classes", [2, 3])
def test_order_of_rows_does_not_matter_and_seed_does(classes):
    table = both(classes=classes)
    shuffled = table.sample(frac=1, random_state=0)
    first, second = (evaluation.metrics(x, resamples=100) for x in (table, shuffled))
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=1e-12)
    other = evaluation.metrics(table, seed=1, resamples=100)
    assert (first["value"] == other["value"]).all()
    assert (first["low"] != other["low"]).any()


def test_a_disjoint_set_that_is_elsewhere_is_left_out():
    table = both()
    val = set(table[table["split"] == "val"]["file"])
    assert set(evaluation.metrics(table, val, resamples=50)["subset"]) == {"all"}
    assert set(evaluation.metrics(both(), {"IM-1.jpeg"}, resamples=50)["subset"]) == {"all"}


def test_without_validation_there_is_no_validation_rule():
    found = evaluation.metrics(predictions(), resamples=50)
    assert set(found["threshold_rule"]) == {"0.5", ""}
    assert set(found["split"]) == {"test"}
    table = both()
    healthy = table[(table["split"] == "test") | (table["label"] == "normal")]
    assert "val_recall_0.98" not in set(evaluation.metrics(healthy, resamples=50)["threshold_rule"])


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
    table = both(classes=3)
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


@quick
@given(weighted(30))
def test_weighted_ranking_is_that_of_scikit_learn(images):
    y, p, weights = unpack(images)
    auc, average = evaluation._ranking(y, p, weights)
    for i, w in enumerate(weights.T):
        assert auc[i] == pytest.approx(sk.roc_auc_score(y, p, sample_weight=w))
        assert average[i] == pytest.approx(sk.average_precision_score(y, p, sample_weight=w))


@quick
@given(weighted(30))
def test_ranking_ignores_a_monotone_change_of_the_scores(images):
    y, p, weights = unpack(images)
    changed = 1 / (1 + np.exp(-5 * p**3))
    for before, after in zip(
        evaluation._ranking(y, p, weights), evaluation._ranking(y, changed, weights), strict=True
    ):
        np.testing.assert_array_equal(before, after)


@quick
@given(weighted(30))
def test_weighted_decisions_are_those_of_scikit_learn(images):
    y, p, weights = unpack(images)
    samples = {row[0]: row[2] for row in evaluation._decisions(y, p >= 0.5, weights)}
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


def test_weights_draw_whole_patients_within_each_label():
    labels = np.array(["normal"] * 6 + ["bacteria"] * 5 + ["virus"] * 4)
    patients = np.array([1, 1, 1, 2, 3, 3, 1, 1, 2, 3, 4, 1, 1, 5, 5])
    table = pd.DataFrame({"file": files(labels, patients), "label": labels})
    weights = evaluation.bootstrap_weights(table, 500)
    frame = pd.DataFrame(weights).groupby([labels, patients])
    assert (frame.max() == frame.min()).all(axis=None)  # all images of a patient alike
    drawn = frame.first().groupby(level=0).sum()
    assert (drawn.T == [4, 3, 2]).all(axis=None)  # as many patients of a label as there are
    assert np.abs(weights.mean(axis=1) - 1).max() < 0.15
    pairs = frame.first().T  # person1 has bacterial and viral images: drawn apart
    assert abs(np.corrcoef(pairs["bacteria", 1], pairs["virus", 1])[0, 1]) < 0.15


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
    table = pd.DataFrame({"file": files(labels, patients), "split": "test", "label": labels})
    return table.assign(p_pneumonia=p.round(6))


def auc_interval(table):
    y, p = truth(table)
    weights = evaluation.bootstrap_weights(table, 300)
    return evaluation._interval(0.5, evaluation._ranking(y, p, weights)[0])


def test_coverage_of_the_cluster_bootstrap():
    rng = np.random.default_rng(0)
    expected = stats.norm.cdf(1 / np.sqrt(2 * (1 + 0.25)))
    intervals = [auc_interval(clustered(rng)) for _ in range(200)]
    covered = np.mean([low <= expected <= high for low, high in intervals])
    assert 0.87 <= covered <= 0.99


def test_patients_give_wider_intervals_than_images_when_their_images_agree():
    table = clustered(np.random.default_rng(0), n_patients=60, images=4, spread=2)
    alone = table.assign(file=files(table["label"], np.arange(len(table))))
    widths = [np.diff(auc_interval(x))[0] for x in (table, alone)]
    assert widths[0] > 1.4 * widths[1]


# Comparisons


def test_compare_with_itself_finds_no_difference():
    for classes in (2, 3):
        table = predictions(classes=classes)
        found = evaluation.compare(table, table.sample(frac=1, random_state=0), classes=classes)
        assert list(found["metric"]) == ["auc", "accuracy"]
        assert (found[["difference", "low", "high"]] == 0).all(axis=None)
        assert (found["p_bootstrap"] == 1).all()
        assert found["p_mcnemar"].tolist()[1] == 1


def test_compare_values_mcnemar_and_sign():
    a, b = predictions(300, 0, signal=3), predictions(300, 1, signal=0.3)
    found = evaluation.compare(a, b).set_index("metric")
    y, p = truth(a)
    q = truth(b)[1]
    assert found.loc["auc", "a"] == sk.roc_auc_score(y, p)
    assert found.loc["auc", "b"] == sk.roc_auc_score(y, q)
    right_a, right_b = (p >= 0.5) == y, (q >= 0.5) == y
    assert found.loc["accuracy", "difference"] == pytest.approx(right_a.mean() - right_b.mean())
    only_a, only_b = (right_a & ~right_b).sum(), (right_b & ~right_a).sum()
    exact = min(1, 2 * stats.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5))
    assert found.loc["accuracy", "p_mcnemar"] == pytest.approx(exact)
    assert np.isnan(found.loc["auc", "p_mcnemar"])
    assert (found["low"] > 0).all()
    assert (found["p_bootstrap"] == 2 / 2001).all()
    back = evaluation.compare(b, a).set_index("metric")
    for name, other in (("difference", "difference"), ("low", "high"), ("high", "low")):
        np.testing.assert_allclose(back[name], -found[other])
    np.testing.assert_allclose(back["p_bootstrap"], found["p_bootstrap"])


def test_compare_collapses_three_classes_or_keeps_them():
    three, two = predictions(classes=3), predictions(seed=1)
    mixed = evaluation.compare(three, two, resamples=50)
    pd.testing.assert_frame_equal(
        mixed, evaluation.compare(evaluation.collapse(three), two, resamples=50)
    )
    other = predictions(seed=2, classes=3)
    found = evaluation.compare(three, other, classes=3, resamples=50).set_index("metric")
    scores = evaluation.metrics(three, resamples=50)
    assert found.loc["auc", "a"] == get(scores, "auc")["value"]
    assert found.loc["accuracy", "a"] == get(scores, "accuracy", rule="")["value"]
    with pytest.raises(UserError, match="classes=3 needs"):
        evaluation.compare(three, two, classes=3)


def test_compare_on_a_subset_and_on_other_images():
    a, b = both(), both(signal=0.5)
    kept = set(a["file"].iloc[120:200])
    found = evaluation.compare(a, b, disjoint=kept, resamples=50)
    assert set(found["n"]) == {80}
    with pytest.raises(UserError, match="other test images"):
        evaluation.compare(a, b.iloc[:-1])
    with pytest.raises(UserError, match="no rows of split test"):
        evaluation.compare(a, b[b["split"] == "val"])
    with pytest.raises(UserError, match="a class has no image"):
        evaluation.compare(a, b, disjoint=())


def test_two_equal_models_seldom_differ():
    p = []
    for seed in range(100):
        a, b = (predictions(90, 2 * seed + i, per_patient=1) for i in (0, 1))
        p.append(evaluation.compare(a, b, resamples=200)[["p_bootstrap", "p_mcnemar"]].to_numpy())
    p = np.array(p)
    for values in (p[:, 0, 0], p[:, 1, 0], p[:, 1, 1]):
        assert np.mean(values <= 0.05) <= 0.13
    assert 0.3 < p[:, 0, 0].mean() < 0.7


def test_compare_seeds_is_the_paired_t_test_and_the_exact_permutation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.93, 0.01, 7), rng.normal(0.92, 0.01, 7)
    found = evaluation.compare_seeds(a, b)
    t = stats.ttest_rel(a, b)
    interval = t.confidence_interval()
    assert found["difference"] == pytest.approx((a - b).mean())
    assert found["p_t"] == pytest.approx(t.pvalue)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    flips = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert found["p_sign_flip"] == pytest.approx(flips.pvalue)
    assert found["n"] == 7


def test_compare_seeds_of_few_many_and_equal_fits():
    assert evaluation.compare_seeds(np.arange(5) + 1.0, np.zeros(5))["p_sign_flip"] == 2 / 2**5
    many = evaluation.compare_seeds(np.arange(20.0), np.zeros(20))
    assert many["p_sign_flip"] < 0.001
    same = evaluation.compare_seeds([0.9, 0.8], [0.9, 0.8])
    assert same["p_sign_flip"] == 1
    assert np.isnan(same["p_t"])
    assert same[["difference", "low", "high"]].tolist() == [0, 0, 0]


def test_compare_seeds_pairs_series_by_their_index():
    a = pd.Series([0.9, 0.8, 0.7], index=[0, 1, 2])
    b = pd.Series([0.6, 0.7, 0.85], index=[2, 1, 0])
    expected = evaluation.compare_seeds(a.to_numpy(), b.sort_index().to_numpy())
    pd.testing.assert_series_equal(evaluation.compare_seeds(a, b), expected)
    for other in ({0: 3}, {0: 1}):
        with pytest.raises(UserError, match="the same seeds, each once"):
            evaluation.compare_seeds(a, b.rename(other))


@pytest.mark.parametrize("b", [[0.9], [0.9, 0.8, 0.7], [0.9, np.nan]])
def test_compare_seeds_refuses_what_cannot_be_paired(b):
    with pytest.raises(UserError, match="same n >= 2"):
        evaluation.compare_seeds([0.9, 0.8][: len(b)], b)


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
    labels = np.array(["virus", "normal", "normal", "normal", "virus", "virus", "virus", "normal"])
    small = pd.DataFrame({"file": files(labels, range(8)), "split": "test", "label": labels})
    small["p_pneumonia"] = [0.2] * 4 + [0.9] * 4
    assert evaluation.ece(small) == pytest.approx((0.05 * 4 + 0.15 * 4) / 8)
