"""Metrics of prediction tables, with 95 % intervals from a bootstrap that draws whole patients.

Intervals are 95 % percentile intervals (Efron & Tibshirani 1993, chapter 13) of a bootstrap that
draws whole patients, not images, since the images of one patient resemble each other (Field & Welsh
2007), and draws them within each label, so that every resample holds all classes. Thresholds stay
fixed in the bootstrap: an interval does not include the luck of having chosen the threshold. A rate
of exactly 0 or 1 never varies in a bootstrap and gets the interval of Clopper & Pearson (1934)
instead, which counts images as independent. An AUC or F1 of exactly 1 has an interval of no width.

A new metric is one line in one of three tables: DECISIONS (two classes at a threshold),
PROBABILITIES (two classes without one) or THREE_CLASSES. Each says how the metric follows from
weighted images. Its value is the one with all weights 1, its bootstrap draws are those with the
weights of `bootstrap_weights`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from helpers.data import LABELS, PNEUMONIA
from helpers.evaluation.predictions import (
    ALL_LABELS,
    CLASSES,
    DECIMALS,
    NORMAL,
    check,
    check_pathogens,
    collapse,
    has_three_classes,
    most_likely,
    rows_of,
    true_and_called,
    truth,
)
from helpers.utils import UserError

LEVEL = 0.95
RECALL = 0.98
RECALL_RULE = f"val_recall_{RECALL}"
BALANCED_RULE = "val_balanced"
COLUMNS = ["split", "subset", "threshold_rule", "threshold", "metric", "value", "low", "high", "n"]
COLLAPSED = {"all": "binary", "disjoint": "binary_disjoint"}  # subset -> the same as two classes


# How each metric follows from images, some of which count several times or not at all


class Metric(NamedTuple):
    """A metric as a ratio of two numbers.

    Attributes:
        ratio: gives numerator and denominator, each (draws,), from the arguments of its table.
        needs: the labels without which the metric does not exist and is left out.
        is_rate: whether it is a share of images: `numerator` of `denominator` ones. Then the
            interval at 0 and 1 is that of Clopper & Pearson.
    """

    ratio: Callable[..., tuple[np.ndarray, np.ndarray]]
    needs: tuple[str, ...] = ()
    is_rate: bool = True


def auc(y: np.ndarray, p: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a positive and a negative image in the right order, ties as half, and all pairs.

    `y`: (n,) booleans, true for the positives; `p`: (n,); `weights`: (n, draws). The ratio is the
    area under the ROC curve (Hanley & McNeil 1982).
    """
    below, up_to = _summed_up_to(p[y], p[~y], weights[~y], ("left", "right"))
    pairs = weights[y].sum(axis=0) * weights[~y].sum(axis=0)
    return np.einsum("ij,ij->j", below + up_to, weights[y]) / 2, pairs


def average_precision(y, p, weights) -> tuple[np.ndarray, np.ndarray]:
    """The precision at the score of each positive, summed, and the positives; arguments as `auc`.

    The ratio is the area under the precision-recall curve by steps, as scikit-learn has it.
    """
    (called,) = _summed_up_to(-p[y], -p, weights)
    (found,) = _summed_up_to(-p[y], -p[y], weights[y])
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return np.einsum("ij,ij->j", precision, weights[y]), weights[y].sum(axis=0)


def _summed_up_to(cuts, p, weights, sides=("right",)):
    """Summed weights of the images with p <= cut (right) or p < cut (left): (cuts, draws) each."""
    order = np.argsort(p)
    summed = np.zeros((len(p) + 1, weights.shape[1]))
    for place, image in enumerate(order):  # faster than np.cumsum, which goes down the columns
        np.add(summed[place], weights[image], out=summed[place + 1])
    return [summed[np.searchsorted(p[order], cuts, side)] for side in sides]


def brier(y, p, weights) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of the probabilities, summed, and the images (Brier 1950)."""
    return np.einsum("i,ij->j", (p - y) ** 2, weights), weights.sum(axis=0)


def macro_auc(labels, p, weights) -> tuple[np.ndarray, np.ndarray]:
    """Mean AUC of each class against the rest, over 1; `labels` (n,), `p` (n, 3) as CLASSES."""
    pairs = [auc(labels == label, p[:, k], weights) for k, label in enumerate(LABELS)]
    return np.mean([right / pairs for right, pairs in pairs], axis=0), np.ones(weights.shape[1])


def _right(labels, p, weights, among=LABELS):
    """Images of these labels that are called right by argmax, and all of these labels."""
    chosen, right = np.isin(labels, among), labels == most_likely(p)
    return weights[chosen & right].sum(axis=0), weights[chosen].sum(axis=0)


# From the numbers of true and false positives, false and true negatives, each (draws,)
DECISIONS = {
    "accuracy": Metric(lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn)),
    "recall": Metric(lambda tp, fp, fn, tn: (tp, tp + fn), (PNEUMONIA,)),
    "specificity": Metric(lambda tp, fp, fn, tn: (tn, tn + fp), (NORMAL,)),
    "precision": Metric(lambda tp, fp, fn, tn: (tp, tp + fp), (PNEUMONIA,)),
    "f1": Metric(lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn), (PNEUMONIA,), is_rate=False),
}
# From what is a pneumonia (n,), p_pneumonia (n,) and weights (n, draws)
PROBABILITIES = {
    "auc": Metric(auc, (NORMAL, PNEUMONIA), is_rate=False),
    "average_precision": Metric(average_precision, (NORMAL, PNEUMONIA), is_rate=False),
    "brier": Metric(brier, is_rate=False),
}
# From labels (n,), probabilities (n, 3) and weights (n, draws)
THREE_CLASSES = {
    "accuracy": Metric(_right),
    "auc": Metric(macro_auc, LABELS, is_rate=False),
    **{f"recall_{x}": Metric(partial(_right, among=(x,)), (x,)) for x in LABELS},
}


# The table of metrics


def metrics(predictions, disjoint=(), seed=0, resamples=2000, thresholds=None) -> pd.DataFrame:
    """Long table of metrics: split, subset, threshold_rule, threshold, metric, value, low, high, n.

    Splits val and test; subset `all`, on test also `disjoint` (the files in that set), and for
    three classes `binary` and `binary_disjoint` (the same, collapsed). Two classes: DECISIONS for
    each threshold rule (`0.5`, `val_recall_0.98`, `val_balanced`, and those in `thresholds`, a dict
    of rule -> threshold); PROBABILITIES with an empty rule and a NaN threshold. Three classes:
    THREE_CLASSES, as accuracy by argmax, auc (macro, one against rest) and the recall of each
    class. All in 0-1; low and high as said in the module's docstring; n counts the images of the
    subset, also for a recall.

    Left out: a split without rows, a metric whose class has no image there, and the rules of
    validation where it lacks a class that they need. Precision is NaN where nothing is called
    pneumonia. The same seed and images give the same draws, whatever the order of the rows. Raises
    UserError for three classes where a pathogen is not known.
    """
    predictions, binary = check(predictions), collapse(predictions)
    if has_three_classes(predictions):
        check_pathogens(predictions)
    validation = _validation_rules(binary[binary["split"] == "val"])
    rules = {"0.5": 0.5, **validation, **(thresholds or {})}
    found = []
    for split, subset, table, weights in _subsets(predictions, binary, disjoint, resamples, seed):
        for rule, threshold, name, metric, ratio in _ratios(table, rules, weights):
            value, low, high = estimate(*ratio, is_rate=metric.is_rate)
            found.append((split, subset, rule, threshold, name, value, low, high, len(table)))
    return pd.DataFrame(found, columns=COLUMNS)


def balanced_threshold(labels, p) -> float:
    """The threshold at which sensitivity and specificity are closest to each other.

    Arguments as `recall_threshold`. The result is one of the p: of several that are as good the
    lowest. Raises UserError when a class has no image.
    """
    positive, p = _positive(labels), np.asarray(p, dtype=np.float64)
    if positive.all() or not positive.any():
        raise UserError("balanced_threshold: only one class among the labels; take another split")
    cuts = np.unique(p)
    ill, normal = np.sort(p[positive]), np.sort(p[~positive])
    found = len(ill) - np.searchsorted(ill, cuts)
    cleared = np.searchsorted(normal, cuts)
    gaps = np.abs(found * len(normal) - cleared * len(ill))  # whole numbers: ties are exact
    return float(cuts[gaps.argmin()])


def recall_threshold(labels, p, recall: float = RECALL) -> float:
    """The highest threshold t at which at least `recall` (0-1) of the pneumonias have p >= t.

    `labels`: (n,) of normal, bacteria, virus, pneumonia, or booleans (pneumonia); `p`: (n,)
    p_pneumonia. The result is one of the p. Raises UserError when no image is a pneumonia.
    """
    ranked = np.sort(np.asarray(p, dtype=np.float64)[_positive(labels)])[::-1]
    if not len(ranked):
        raise UserError("recall_threshold: no pneumonia among the labels; choose another split")
    needed = int(np.ceil(recall * len(ranked) - 1e-9))
    return float(ranked[max(needed, 1) - 1])


def best_threshold(labels, p) -> tuple[float, float]:
    """The threshold with the highest accuracy on these images, and that accuracy (0-1).

    What nobody knows beforehand: the price of a threshold fixed on other images is the difference.
    Arguments as `recall_threshold`. The result is one of the p: of several the lowest.
    """
    positive, p = _positive(labels), np.asarray(p, dtype=np.float64)
    cuts = np.unique(p)
    right = ((p >= cuts[:, None]) == positive).mean(axis=1)
    return float(cuts[right.argmax()]), float(right.max())


def _positive(labels) -> np.ndarray:
    labels = np.asarray(labels)
    return labels.astype(bool) if labels.dtype.kind in "biuf" else labels != NORMAL


def summary(metrics_over_seeds: pd.DataFrame) -> pd.DataFrame:
    """Mean, std (n - 1) and count of each metric over the fits of an experiment: seeds, folds."""
    keys = ["experiment", "protocol", "split", "subset", "threshold_rule", "metric"]
    keys = [key for key in keys if key in metrics_over_seeds]
    rule = metrics_over_seeds["threshold_rule"].astype(object)  # a CSV reader may make "" a NaN
    table = metrics_over_seeds.assign(threshold_rule=rule.where(rule.notna(), "").astype(str))
    return table.groupby(keys, sort=False)["value"].agg(["mean", "std", "count"]).reset_index()


def _validation_rules(val):
    y, p = truth(val)
    rules = {RECALL_RULE: recall_threshold(y, p)} if y.any() else {}
    return rules | ({BALANCED_RULE: balanced_threshold(y, p)} if y.any() and not y.all() else {})


def _subsets(predictions, binary, disjoint, resamples, seed):
    """Split, subset, its table and weights; the collapsed table has the weights of its own one."""
    three = has_three_classes(predictions)
    for split in ("val", "test"):
        chosen = predictions["split"] == split
        rows = {"all": chosen}
        if split == "test":
            rows["disjoint"] = chosen & predictions["file"].isin(disjoint)
        rows = {name: mask for name, mask in rows.items() if mask.any()}
        weights = {name: weights_of(binary[rows[name]], resamples, seed) for name in rows}
        for name in rows:
            yield split, name, predictions[rows[name]], weights[name]
        for name in rows if three else ():
            yield split, COLLAPSED[name], binary[rows[name]], weights[name]


def _ratios(table, rules, weights):
    """The metrics of a table: rule, threshold, name, metric, and its numerator and denominator."""
    if has_three_classes(table):
        labels, p = table["label"].to_numpy(), table[CLASSES].to_numpy()
        present = set(labels)
        groups = [("", np.nan, THREE_CLASSES, (labels, p, weights))]
    else:
        y, p = truth(table)
        present = {PNEUMONIA if ill else NORMAL for ill in np.unique(y)}
        groups = [(*cut, DECISIONS, counts(y, p >= cut[1], weights)) for cut in rules.items()]
        groups.append(("", np.nan, PROBABILITIES, (y, p, weights)))
    for rule, threshold, kinds, arguments in groups:
        for name, metric in kinds.items():
            if present.issuperset(metric.needs):
                yield rule, threshold, name, metric, metric.ratio(*arguments)


def counts(y: np.ndarray, called: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted numbers of true and false positives, false and true negatives: (4, draws)."""
    cells = (y & called, ~y & called, y & ~called, ~y & ~called)
    return np.array([weights[cell].sum(axis=0) for cell in cells])


# The bootstrap


def bootstrap_weights(table: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each image is drawn: (images, resamples), whole numbers as float64.

    `table` has the columns label and patient. Within each label as many patients are drawn with
    replacement as there are, each with all of its images of that label (Davison & Hinkley 1997,
    section 3.8; Field & Welsh 2007).
    """
    return weights_of(table, resamples, seed)[:, 1:]


def weights_of(table: pd.DataFrame, resamples: int, seed: int) -> np.ndarray:
    """`bootstrap_weights` with a column of ones in front, which gives the value itself."""
    if "patient" not in table:
        raise UserError("prediction table: lacks patient; read it by results.predictions")
    rng = np.random.default_rng(seed)
    patients = table["patient"].to_numpy().astype(str)
    weights = np.ones((len(table), 1 + resamples))
    for label in ALL_LABELS:
        rows = (table["label"] == label).to_numpy()
        if rows.any():
            names, patient = np.unique(patients[rows], return_inverse=True)
            drawn = rng.integers(len(names), size=(len(names), resamples))
            cells = (drawn * resamples + np.arange(resamples)).ravel()
            times = np.bincount(cells, minlength=drawn.size).reshape(drawn.shape)
            weights[rows, 1:] = times[patient]
    return weights


def estimate(numerator, denominator, is_rate=False) -> tuple[float, float, float]:
    """Value, low and high of a ratio whose first draw is the value and whose others are resamples.

    Draws without a denominator are left out of the interval; a value without one is NaN.
    """
    with np.errstate(invalid="ignore"):
        draws = np.asarray(numerator / denominator)
    value = float(draws[0])
    if is_rate and value in (0, 1):
        return value, *clopper_pearson(numerator[0], denominator[0])
    return value, *interval(draws[1:])


def interval(draws: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of bootstrap draws, those that are not finite left out."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    low, high = np.percentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def clopper_pearson(hits: float, trials: float) -> tuple[float, float]:
    """Exact 95 % interval of a rate, `hits` of `trials` independent images; NaN without a trial."""
    if not trials:
        return np.nan, np.nan
    found = scipy.stats.binomtest(round(hits), int(trials)).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


# Tables behind the figures


def confusion(predictions: pd.DataFrame, split="test", threshold: float = 0.5) -> pd.DataFrame:
    """Numbers of images, true label by row, predicted one by column: 2 x 2, or 3 x 3 by argmax."""
    from sklearn.metrics import confusion_matrix

    table = rows_of(predictions, split)
    names = list(LABELS) if has_three_classes(table) else [NORMAL, PNEUMONIA]
    numbers = confusion_matrix(*true_and_called(table, threshold), labels=names)
    return pd.DataFrame(numbers, pd.Index(names, name="label"), pd.Index(names, name="predicted"))


def roc(predictions: pd.DataFrame, split="test") -> pd.DataFrame:
    """ROC curve of normal against pneumonia: threshold, recall and false_positive_rate (0-1).

    The first threshold is infinite. Raises UserError when the split has one class only.
    """
    from sklearn.metrics import roc_curve

    y, p = truth(collapse(rows_of(predictions, split)))
    if y.all() or not y.any():
        raise UserError(f"roc: split {split} has one class only; choose a split with both")
    false, recall, threshold = roc_curve(y, p)
    return pd.DataFrame({"threshold": threshold, "recall": recall, "false_positive_rate": false})


def reliability(predictions: pd.DataFrame, split="test", bins: int = 10) -> pd.DataFrame:
    """Reliability diagram of p_pneumonia in `bins` bins of equal width (Guo et al. 2017).

    One row a bin: bin_low, bin_high (low <= p < high, the last one closed), predicted (mean p),
    observed (share of pneumonias) with its Clopper-Pearson interval low, high, and n; NaN in an
    empty bin.
    """
    y, p = truth(collapse(rows_of(predictions, split)))
    edges = np.linspace(0, 1, bins + 1).round(DECIMALS)
    place = np.digitize(p, edges[1:-1])
    n, hits, total = (np.bincount(place, w, minlength=bins) for w in (np.ones(len(p)), y, p))
    table = pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:]})
    with np.errstate(invalid="ignore"):
        table["predicted"], table["observed"] = total / n, hits / n
    table[["low", "high"]] = [clopper_pearson(*each) for each in zip(hits, n, strict=True)]
    return table.assign(n=n.astype(int))


def ece(predictions: pd.DataFrame, split="test", bins: int = 10) -> float:
    """Expected calibration error, 0-1: the mean over images of |predicted - observed| in their bin
    of `reliability` (Guo et al. 2017, here of p_pneumonia instead of the surer class)."""
    table = reliability(predictions, split, bins)
    gaps = (table["predicted"] - table["observed"]).abs()
    return float((gaps * table["n"]).sum() / table["n"].sum())


def calibration_error(predictions: pd.DataFrame, splits=("val", "test")) -> pd.DataFrame:
    """How far p_pneumonia is from the truth: columns brier and ece (both 0-1), one row a split."""
    rows = {}
    for split in splits:
        y, p = truth(collapse(rows_of(predictions, split)))
        rows[split] = {"brier": ((p - y) ** 2).mean(), "ece": ece(predictions, split)}
    return pd.DataFrame(rows).T.rename_axis("split")
