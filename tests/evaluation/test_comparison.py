"""Paired comparisons: of two models on the same images, and over the same seeds."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from helpers import evaluation
from helpers.utils import UserError
from tests.builders import predictions, validation_and_test


def truth(table):
    return (table["label"] != "normal").to_numpy(), table["p_pneumonia"].to_numpy()


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
    assert found.loc["auc", "a"] == pytest.approx(sk.roc_auc_score(y, p), 1e-12)
    assert found.loc["auc", "b"] == pytest.approx(sk.roc_auc_score(y, q), 1e-12)
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


def test_compare_looks_at_one_split():
    a, b = validation_and_test(), validation_and_test(signal=0.3)
    val, test = (evaluation.compare(a, b, split=split, resamples=50) for split in ("val", "test"))
    as_test = [rows[rows.split == "val"].assign(split="test") for rows in (a, b)]
    pd.testing.assert_frame_equal(val, evaluation.compare(*as_test, resamples=50))
    assert not val.equals(test)


def test_compare_collapses_three_classes_or_keeps_them():
    three, two = predictions(classes=3), predictions(seed=1)
    mixed = evaluation.compare(three, two, resamples=50)
    pd.testing.assert_frame_equal(
        mixed, evaluation.compare(evaluation.collapse(three), two, resamples=50)
    )
    other = predictions(seed=2, classes=3)
    found = evaluation.compare(three, other, classes=3, resamples=50).set_index("metric")
    scores = evaluation.metrics(three, resamples=50).query("subset == 'all'").set_index("metric")
    for metric in ("auc", "accuracy"):
        assert found.loc[metric, "a"] == pytest.approx(scores.loc[metric, "value"], 1e-12)
    with pytest.raises(UserError, match="classes=3 needs"):
        evaluation.compare(three, two, classes=3)


def test_compare_on_a_subset_and_on_other_images():
    a, b = validation_and_test(), validation_and_test(signal=0.5)
    kept = set(a["file"].iloc[120:200])
    found = evaluation.compare(a, b, disjoint=kept, resamples=50)
    assert set(found["n"]) == {80}
    with pytest.raises(UserError, match="other test images"):
        evaluation.compare(a, b.iloc[:-1])
    with pytest.raises(UserError, match="no rows of split test"):
        evaluation.compare(a, b[b["split"] == "val"])
    with pytest.raises(UserError, match="a class has no image"):
        evaluation.compare(a, b, disjoint=())


@pytest.mark.parametrize(("classes", "gone"), [(2, "normal"), (3, "virus")])
def test_compare_needs_images_of_every_class(classes, gone):
    table = predictions(classes=3)
    table = table[table["label"] != gone]
    with pytest.raises(UserError, match="a class has no image"):
        evaluation.compare(table, table, classes=classes)


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


def test_rank_correlation_is_spearmans_with_an_interval_that_narrows():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    b = a + rng.normal(size=200)
    found = evaluation.rank_correlation(a, b)
    assert found.value == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found.low < found.value < found.high
    few = evaluation.rank_correlation(a[:10], b[:10])
    assert few.high - few.low > 2 * (found.high - found.low)


def test_the_interval_of_a_rank_correlation_covers_none_at_its_level():
    rng = np.random.default_rng(1)
    drawn = [evaluation.rank_correlation(*rng.normal(size=(2, 12))) for _ in range(400)]
    assert np.mean([one.low <= 0 <= one.high for one in drawn]) == pytest.approx(0.95, abs=0.03)


def test_few_ranks_say_nothing():
    assert np.isnan(evaluation.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)
    assert list(evaluation.rank_correlation([1, 2], [3, 4])) == pytest.approx([1, -1, 1])
