"""Paired comparisons of two models: on the same test images, or over the same seeds."""

import itertools

import numpy as np
import pandas as pd
import scipy

from helpers.evaluation.metrics import LEVEL, auc, interval, macro_auc, weights_of
from helpers.evaluation.predictions import (
    CLASSES,
    check_pathogens,
    collapse,
    has_three_classes,
    rows_of,
    true_and_called,
    truth,
)
from helpers.utils import UserError


def compare(a, b, disjoint=None, *, split="test", threshold=0.5, classes=2, seed=0, resamples=2000):
    """Paired comparison of two prediction tables on the same images: rows auc and accuracy.

    Columns: metric, a, b, difference (a - b), low, high, p_bootstrap, p_mcnemar, n. Three-class
    tables are collapsed; `classes=3` compares the macro AUC and the accuracy by argmax instead.
    `disjoint`: a set of files to keep. `split`: val or test. Interval: patients drawn alike for
    both tables. p_bootstrap: two-sided, the level at which the percentile interval reaches zero
    (Efron & Tibshirani 1993, chapter 15), at least 2 / (resamples + 1). p_mcnemar: exact test on
    the images that only one of the two gets right (McNemar 1947), which counts images as
    independent.
    Raises UserError when the images or their labels differ, one class only is there, or
    `classes=3` and a table has two classes or an image whose pathogen is not known.
    """
    a, b = (_rows(predictions, split, disjoint, classes) for predictions in (a, b))
    if not a[["file", "label"]].equals(b[["file", "label"]]):
        raise UserError(
            f"compare: the tables have other {split} images or labels; use one protocol"
        )
    weights = weights_of(a, resamples, seed)
    aucs_a, aucs_b = _aucs(a, weights), _aucs(b, weights)
    right_a, right_b = (np.equal(*true_and_called(table, threshold)) for table in (a, b))
    gains = right_a.astype(float) - right_b
    discordant = int(np.abs(gains).sum())
    exact = scipy.stats.binomtest(int((gains > 0).sum()), discordant).pvalue if discordant else 1.0
    drawn = gains @ weights / weights.sum(axis=0)
    rows = [
        ("auc", aucs_a[0], aucs_b[0], (aucs_a - aucs_b)[1:], np.nan),
        ("accuracy", right_a.mean(), right_b.mean(), drawn[1:], exact),
    ]
    columns = ["metric", "a", "b", "difference", "low", "high", "p_bootstrap", "p_mcnemar", "n"]
    rows = [
        (name, x, y, x - y, *interval(draws), _two_sided(draws), p_mcnemar, len(a))
        for name, x, y, draws, p_mcnemar in rows
    ]
    return pd.DataFrame(rows, columns=columns)


def compare_seeds(values_a, values_b) -> pd.Series:
    """Paired comparison of one metric over fits that share their seeds, (n,) each, n >= 2.

    Returns difference (mean of a - b), low, high (95 %, Student t), p_t (paired t test; NaN when
    the differences do not vary), p_sign_flip (two-sided sign-flip permutation test, Fisher 1935;
    exact up to 16 fits, 65,536 random flips above) and n. With n seeds p_sign_flip is at least
    2 / 2**n: 0.0625 for 5. It tells of the luck in training, not in the test images; over folds,
    whose training sets overlap, p is too small (Nadeau & Bengio 2003). Two Series are paired by
    their index.
    Raises UserError when the values cannot be paired.
    """
    if isinstance(values_a, pd.Series) and isinstance(values_b, pd.Series):
        values_a, values_b = values_a.sort_index(), values_b.sort_index()
        if not (values_a.index.is_unique and values_a.index.equals(values_b.index)):
            raise UserError("compare_seeds: want the same seeds, each once, as index of both")
    a, b = (np.asarray(values, dtype=np.float64) for values in (values_a, values_b))
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2 or not np.isfinite(a - b).all():
        raise UserError(f"compare_seeds: shapes {a.shape}, {b.shape}; want the same n >= 2 numbers")
    gaps, n = a - b, len(a)
    mean, error = gaps.mean(), gaps.std(ddof=1) / np.sqrt(n)
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, n - 1) * error
    p_t = 2 * scipy.stats.t.sf(abs(mean) / error, n - 1) if error > 1e-12 else np.nan
    if n <= 16:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
    else:
        signs = np.random.default_rng(0).choice((1, -1), size=(2**16, n))
    p_flip = (np.abs((signs * gaps).mean(axis=1)) >= abs(mean) - 1e-12).mean()
    names = ["difference", "low", "high", "p_t", "p_sign_flip", "n"]
    return pd.Series([mean, mean - half, mean + half, p_t, p_flip, n], names)


def rank_correlation(a, b) -> pd.Series:
    """Spearman's rank correlation of two sequences, (n,) each: value, low, high (95 %).

    The interval is Fisher's, with the variance for ranks of Fieller, Hartley & Pearson (1957);
    with three or fewer values there is none. A constant has no ranks: NaN.
    """
    value, low, high = np.nan, -1.0, 1.0
    if np.ptp(a) and np.ptp(b):
        value = scipy.stats.spearmanr(a, b).statistic
    if len(a) > 3:
        reach = scipy.stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(1.06 / (len(a) - 3))
        middle = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
        low, high = np.tanh([middle - reach, middle + reach])
    return pd.Series({"value": value, "low": low, "high": high})


def _rows(predictions, split, disjoint, classes):
    if classes == 3 and not has_three_classes(predictions):
        raise UserError("compare: classes=3 needs p_normal, p_bacteria, p_virus in both tables")
    table = rows_of(predictions if classes == 3 else collapse(predictions), split)
    if classes == 3:
        check_pathogens(table)
    kept = table if disjoint is None else table[table["file"].isin(disjoint)]
    return kept.sort_values("file", ignore_index=True)


def _aucs(table, weights):
    """AUC, macro one against rest if three classes, for each column of weights."""
    three = has_three_classes(table)
    if table["label"].nunique() < 3 if three else len(np.unique(truth(table)[0])) < 2:
        raise UserError("AUC: a class has no image; use more images or another split")
    if three:
        right, pairs = macro_auc(table["label"].to_numpy(), table[CLASSES].to_numpy(), weights)
    else:
        right, pairs = auc(*truth(table), weights)
    return right / pairs


def _two_sided(draws):
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    return min(1.0, 2 * (1 + tail) / (1 + len(draws)))
