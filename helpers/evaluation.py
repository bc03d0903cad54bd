"""Predictions, metrics with intervals, paired comparisons and the tables behind the figures.

A prediction table has one row an image: `file`, `split` (val or test), `label` (normal, bacteria,
virus), then `p_pneumonia`, or `p_normal, p_bacteria, p_virus`. Everything here is computed from
such tables. An image is called pneumonia when `p_pneumonia >= threshold`.

Intervals are 95 % percentile intervals (Efron & Tibshirani 1993, chapter 13) of a bootstrap that
draws whole patients, not images, since the images of one patient resemble each other (Field & Welsh
2007), and draws them within each label, so that every resample holds all classes. Thresholds stay
fixed in the bootstrap: an interval does not include the luck of having chosen the threshold. A rate
of exactly 0 or 1 never varies in a bootstrap and gets the interval of Clopper & Pearson (1934)
instead, which counts images as independent. An AUC or F1 of exactly 1 has an interval of no width.
"""

import itertools

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics as sklearn_metrics

from helpers import data
from helpers.settings import LABELS, UserError

DECIMALS = 6  # of a probability: a table in memory and its CSV file hold the same numbers
LEVEL = 0.95
RECALL = 0.98
COLUMNS = ["split", "subset", "threshold_rule", "threshold", "metric", "value", "low", "high", "n"]
CLASSES = [f"p_{label}" for label in LABELS]


def predict(fit, images: np.ndarray, table: pd.DataFrame, rows=("val", "test")) -> pd.DataFrame:
    """Prediction table of `fit` for the images whose split is in `rows`, in the table's order.

    `images`: uint8, one a row of `table`, which has file, split and label. `fit.predict(images)`
    gives probabilities: (n,) or (n, 1) of pneumonia, or (n, 3) of normal, bacteria, virus. They are
    rounded to 6 decimals on purpose: the published CSV file then holds exactly the numbers that the
    metrics were computed from. Raises UserError when lengths, shapes or probabilities are not such.
    """
    if len(images) != len(table):
        raise UserError(f"predict: {len(images)} images for {len(table)} rows; load both anew")
    chosen = table["split"].isin(rows).to_numpy()
    result = table.loc[chosen, ["file", "split", "label"]].reset_index(drop=True)
    p = np.asarray(fit.predict(images[chosen]), dtype=np.float64)
    if p.shape not in [(len(result),), (len(result), 1), (len(result), 3)]:
        raise UserError(f"predict: shape {p.shape} for {len(result)} images; want 1 or 3 columns")
    if not ((p > -1e-5) & (p < 1 + 1e-5)).all():
        raise UserError("predict: p not in 0-1; the fit diverged, or ends in no sigmoid or softmax")
    columns = CLASSES if p.shape[1:] == (3,) else ["p_pneumonia"]
    result[columns] = p.reshape(-1, len(columns)).clip(0, 1)
    return _checked(result)


def collapse(predictions: pd.DataFrame) -> pd.DataFrame:
    """The table as normal against pneumonia: p_pneumonia = 1 - p_normal if it has three classes.

    Raises UserError for a missing column or probability or an unknown label.
    """
    table = _checked(predictions)
    p = (1 - table["p_normal"]).round(DECIMALS) if _three(table) else table["p_pneumonia"]
    return table[["file", "split", "label"]].assign(p_pneumonia=p)


def recall_threshold(labels, p, recall: float = RECALL) -> float:
    """The highest threshold t at which at least `recall` (0-1) of the pneumonias have p >= t.

    `labels`: (n,) of normal, bacteria, virus, or booleans (pneumonia); `p`: (n,) p_pneumonia. The
    result is one of the p. Raises UserError when no image is a pneumonia.
    """
    labels = np.asarray(labels)
    positive = labels.astype(bool) if labels.dtype.kind in "biuf" else labels != LABELS[0]
    ranked = np.sort(np.asarray(p, dtype=np.float64)[positive])[::-1]
    if not len(ranked):
        raise UserError("recall_threshold: no pneumonia among the labels; choose another split")
    needed = int(np.ceil(recall * len(ranked) - 1e-9))
    return float(ranked[max(needed, 1) - 1])


def metrics(predictions, disjoint=(), seed=0, resamples=2000, thresholds=None) -> pd.DataFrame:
    """Long table of metrics: split, subset, threshold_rule, threshold, metric, value, low, high, n.

    Splits val and test; subset `all`, on test also `disjoint` (the files in that set), and for
    three classes `binary` (collapsed). Binary: accuracy, recall, specificity, precision, f1 for
    each threshold rule (`0.5`, `val_recall_0.98`, and those in `thresholds`, a dict of rule ->
    threshold); auc, average_precision and brier with an empty rule and a NaN threshold. Three
    classes: accuracy by argmax, auc (macro, one against rest), recall_normal, recall_bacteria,
    recall_virus. Values by scikit-learn, all in 0-1; low and high as said in the module's
    docstring; n counts the images of the subset, also for a recall.

    Left out: a split without rows, a metric whose class has no image there, and `val_recall_0.98`
    where validation has no pneumonia. Precision is NaN where nothing is called pneumonia. The same
    seed and images give the same draws, whatever the order of the rows.
    """
    predictions, binary = _checked(predictions), collapse(predictions)
    rules = {"0.5": 0.5, **_recall_rule(binary[binary["split"] == "val"]), **(thresholds or {})}
    found = []
    for split, subset, table in _subsets(predictions, binary, disjoint):
        weights = bootstrap_weights(table, resamples, seed)
        scores = _scores_three(table, weights) if _three(table) else _scores(table, rules, weights)
        for rule, threshold, name, value, samples, trials in scores:
            low, high = _interval(value, samples, trials)
            found.append((split, subset, rule, threshold, name, value, low, high, len(table)))
    return pd.DataFrame(found, columns=COLUMNS)


def bootstrap_weights(table: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each image is drawn: (images, resamples), whole numbers as float64.

    Within each label as many patients are drawn with replacement as there are, each with all of its
    images of that label (Davison & Hinkley 1997, section 3.8; Field & Welsh 2007).
    """
    rng = np.random.default_rng(seed)
    patients = np.array([data.patient(file) for file in table["file"]], dtype=str)
    weights = np.zeros((len(table), resamples))
    for label in LABELS:
        rows = (table["label"] == label).to_numpy()
        if rows.any():
            names, patient = np.unique(patients[rows], return_inverse=True)
            drawn = rng.integers(len(names), size=(len(names), resamples))
            cells = (drawn * resamples + np.arange(resamples)).ravel()
            times = np.bincount(cells, minlength=drawn.size).reshape(drawn.shape)
            weights[rows] = times[patient]
    return weights


def compare(a, b, disjoint=None, *, threshold=0.5, classes=2, seed=0, resamples=2000):
    """Paired comparison of two prediction tables on the same test images: rows auc and accuracy.

    Columns: metric, a, b, difference (a - b), low, high, p_bootstrap, p_mcnemar, n. Three-class
    tables are collapsed; `classes=3` compares the macro AUC and the accuracy by argmax instead.
    `disjoint`: a set of files to keep. Interval: patients drawn alike for both tables. p_bootstrap:
    two-sided, the level at which the percentile interval reaches zero (Efron & Tibshirani 1993,
    chapter 15), at least 2 / (resamples + 1). p_mcnemar: exact test on the images that only one of
    the two gets right (McNemar 1947), which counts images as independent.
    Raises UserError when the test images or their labels differ or one class only is there.
    """
    a, b = (_test_rows(predictions, disjoint, classes) for predictions in (a, b))
    if not a[["file", "label"]].equals(b[["file", "label"]]):
        raise UserError("compare: the tables have other test images or labels; use one protocol")
    weights = bootstrap_weights(a, resamples, seed)
    (auc_a, draws_a), (auc_b, draws_b) = _auc(a, weights), _auc(b, weights)
    right_a, right_b = _right(a, threshold), _right(b, threshold)
    gains = right_a.astype(float) - right_b
    discordant = int(np.abs(gains).sum())
    exact = stats.binomtest(int((gains > 0).sum()), discordant).pvalue if discordant else 1.0
    rows = [
        ("auc", auc_a, auc_b, draws_a - draws_b, np.nan),
        ("accuracy", right_a.mean(), right_b.mean(), _mean(gains, weights), exact),
    ]
    columns = ["metric", "a", "b", "difference", "low", "high", "p_bootstrap", "p_mcnemar", "n"]
    rows = [
        (name, x, y, x - y, *_interval(x - y, draws), _two_sided(draws), p_mcnemar, len(a))
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
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * error
    p_t = 2 * stats.t.sf(abs(mean) / error, n - 1) if error > 1e-12 else np.nan
    if n <= 16:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
    else:
        signs = np.random.default_rng(0).choice((1, -1), size=(2**16, n))
    p_flip = (np.abs((signs * gaps).mean(axis=1)) >= abs(mean) - 1e-12).mean()
    names = ["difference", "low", "high", "p_t", "p_sign_flip", "n"]
    return pd.Series([mean, mean - half, mean + half, p_t, p_flip, n], names)


def summary(metrics_over_seeds: pd.DataFrame) -> pd.DataFrame:
    """Mean, std (n - 1) and count of each metric over the fits of an experiment: seeds, folds."""
    keys = ["experiment", "protocol", "split", "subset", "threshold_rule", "metric"]
    keys = [key for key in keys if key in metrics_over_seeds]
    rule = metrics_over_seeds["threshold_rule"].astype(object)  # a CSV reader may make "" a NaN
    table = metrics_over_seeds.assign(threshold_rule=rule.where(rule.notna(), "").astype(str))
    return table.groupby(keys, sort=False)["value"].agg(["mean", "std", "count"]).reset_index()


def confusion(predictions: pd.DataFrame, split="test", threshold: float = 0.5) -> pd.DataFrame:
    """Numbers of images, true label by row, predicted one by column: 2 x 2, or 3 x 3 by argmax."""
    table = _rows(predictions, split)
    names = list(LABELS) if _three(table) else [LABELS[0], "pneumonia"]
    counts = sklearn_metrics.confusion_matrix(*_true_and_called(table, threshold), labels=names)
    return pd.DataFrame(counts, pd.Index(names, name="label"), pd.Index(names, name="predicted"))


def roc(predictions: pd.DataFrame, split="test") -> pd.DataFrame:
    """ROC curve of normal against pneumonia: threshold, recall and false_positive_rate (0-1).

    The first threshold is infinite. Raises UserError when the split has one class only.
    """
    y, p = _labels_and_p(collapse(_rows(predictions, split)))
    if y.all() or not y.any():
        raise UserError(f"roc: split {split} has one class only; choose a split with both")
    false, recall, threshold = sklearn_metrics.roc_curve(y, p)
    return pd.DataFrame({"threshold": threshold, "recall": recall, "false_positive_rate": false})


def reliability(predictions: pd.DataFrame, split="test", bins: int = 10) -> pd.DataFrame:
    """Reliability diagram of p_pneumonia in `bins` bins of equal width (Guo et al. 2017).

    One row a bin: bin_low, bin_high (low <= p < high, the last one closed), predicted (mean p),
    observed (share of pneumonias) with its Clopper-Pearson interval low, high, and n; NaN in an
    empty bin.
    """
    y, p = _labels_and_p(collapse(_rows(predictions, split)))
    edges = np.linspace(0, 1, bins + 1).round(DECIMALS)
    place = np.digitize(p, edges[1:-1])
    n, hits, total = (np.bincount(place, w, minlength=bins) for w in (np.ones(len(p)), y, p))
    table = pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:]})
    with np.errstate(invalid="ignore"):
        table["predicted"], table["observed"] = total / n, hits / n
    table[["low", "high"]] = [_clopper_pearson(*counts) for counts in zip(hits, n, strict=True)]
    return table.assign(n=n.astype(int))


def ece(predictions: pd.DataFrame, split="test", bins: int = 10) -> float:
    """Expected calibration error, 0-1: the mean over images of |predicted - observed| in their bin
    of `reliability` (Guo et al. 2017, here of p_pneumonia instead of the surer class)."""
    table = reliability(predictions, split, bins)
    gaps = (table["predicted"] - table["observed"]).abs()
    return float((gaps * table["n"]).sum() / table["n"].sum())


def _checked(predictions):
    """The table with its probabilities rounded: a CSV reader may have changed their last bit."""
    columns = CLASSES if _three(predictions) else ["p_pneumonia"]
    missing = [name for name in ["file", "split", "label", *columns] if name not in predictions]
    if missing:
        raise UserError(f"prediction table: lacks {', '.join(missing)}; save it by helpers.results")
    if predictions[columns].isna().any(axis=None) or not predictions["label"].isin(LABELS).all():
        raise UserError(f"prediction table: a probability is missing or a label is not in {LABELS}")
    return predictions.assign(**predictions[columns].astype(np.float64).round(DECIMALS))


def _three(table):
    return "p_normal" in table


def _labels_and_p(table):
    return (table["label"] != LABELS[0]).to_numpy(), table["p_pneumonia"].to_numpy()


def _rows(predictions, split):
    table = _checked(predictions)
    table = table[table["split"] == split]
    if table.empty:
        raise UserError(f"prediction table: no rows of split {split}; predict that split first")
    return table


def _test_rows(predictions, disjoint, classes):
    table = _rows(predictions if classes == 3 else collapse(predictions), "test")
    if classes == 3 and not _three(table):
        raise UserError("compare: classes=3 needs p_normal, p_bacteria, p_virus in both tables")
    kept = table if disjoint is None else table[table["file"].isin(disjoint)]
    return kept.sort_values("file", ignore_index=True)


def _subsets(predictions, binary, disjoint):
    for split in ("val", "test"):
        chosen = predictions["split"] == split
        found = {"all": predictions[chosen]}
        if split == "test":
            found["disjoint"] = predictions[chosen & predictions["file"].isin(disjoint)]
        if _three(predictions):
            found["binary"] = binary[chosen]
        yield from ((split, subset, table) for subset, table in found.items() if len(table))


def _recall_rule(val):
    y, p = _labels_and_p(val)
    return {f"val_recall_{RECALL}": recall_threshold(y, p)} if y.any() else {}


def _scores(table, rules, weights):
    """Binary metrics: (rule, threshold, metric, value, bootstrap samples, trials if a rate)."""
    y, p = _labels_and_p(table)
    for rule, threshold in rules.items():
        yield from ((rule, threshold, *score) for score in _decisions(y, p >= threshold, weights))
    if y.any() and not y.all():
        auc, average_precision = _ranking(y, p, weights)
        yield "", np.nan, "auc", sklearn_metrics.roc_auc_score(y, p), auc, None
        value = min(1.0, sklearn_metrics.average_precision_score(y, p))  # may be 1 + 2e-16
        yield "", np.nan, "average_precision", value, average_precision, None
    value = sklearn_metrics.brier_score_loss(y, p, pos_label=True)
    yield "", np.nan, "brier", value, _mean((p - y) ** 2, weights), None


def _decisions(y, called, weights):
    cells = np.array([y & called, ~y & called, y & ~called, ~y & ~called], dtype=float)
    tp, fp, fn, tn = cells @ weights
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        y, called, average="binary", pos_label=True, zero_division=np.nan
    )
    specificity = sklearn_metrics.recall_score(~y, ~called, zero_division=np.nan)
    accuracy = sklearn_metrics.accuracy_score(y, called)
    with np.errstate(invalid="ignore"):  # a resample without a call has no precision
        yield "accuracy", accuracy, (tp + tn) / (tp + fp + fn + tn), len(y)
        if y.any():
            yield "recall", recall, tp / (tp + fn), y.sum()
        if not y.all():
            yield "specificity", specificity, tn / (tn + fp), (~y).sum()
        if y.any():
            yield "precision", precision, tp / (tp + fp), called.sum()
            yield "f1", f1, 2 * tp / (2 * tp + fp + fn), None


def _scores_three(table, weights):
    labels, right = table["label"].to_numpy(), _right(table)
    yield "", np.nan, "accuracy", right.mean(), _mean(right, weights), len(right)
    if set(labels) == set(LABELS):
        yield "", np.nan, "auc", *_auc(table, weights), None
    for label in LABELS:
        own = labels == label
        if own.any():
            samples = _mean(right[own], weights[own])
            yield "", np.nan, f"recall_{label}", right[own].mean(), samples, own.sum()


def _true_and_called(table, threshold=0.5):
    if _three(table):
        return table["label"].to_numpy(), np.array(LABELS)[table[CLASSES].to_numpy().argmax(axis=1)]
    y, p = _labels_and_p(table)
    return tuple(np.where(yes, "pneumonia", LABELS[0]) for yes in (y, p >= threshold))


def _right(table, threshold=0.5):
    true, called = _true_and_called(table, threshold)
    return true == called


def _mean(values, weights):
    return values.astype(float) @ weights / weights.sum(axis=0)


def _auc(table, weights):
    """AUC, macro one against rest if three classes, and its samples."""
    if _three(table):
        pairs = [((table["label"] == x).to_numpy(), table[f"p_{x}"].to_numpy()) for x in LABELS]
    else:
        pairs = [_labels_and_p(table)]
    if not all(y.any() and not y.all() for y, _ in pairs):
        raise UserError("AUC: a class has no image; use more images or another split")
    value = np.mean([sklearn_metrics.roc_auc_score(y, p) for y, p in pairs])
    return value, np.mean([_ranking(y, p, weights)[0] for y, p in pairs], axis=0)


def _ranking(y, p, weights):
    """AUC and average precision for each column of `weights` (images, resamples), ties included."""
    order = np.argsort(-p, kind="stable")
    last = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))  # of each run of equal p
    weights, y = weights[order], y[order]
    drawn = np.cumsum(weights, axis=0)[last]
    hits = np.cumsum(weights * y[:, None], axis=0)[last]
    steps = np.diff(hits, axis=0, prepend=0)
    false_steps = np.diff(drawn, axis=0, prepend=0) - steps
    area = np.einsum("ij,ij->j", false_steps, hits - steps / 2)
    precision = np.divide(hits, drawn, out=np.zeros_like(hits), where=drawn > 0)
    average = np.einsum("ij,ij->j", steps, precision)
    return area / (hits[-1] * (drawn[-1] - hits[-1])), average / hits[-1]


def _interval(value, samples, trials=None):
    if trials and value in (0, 1):
        return _clopper_pearson(value * trials, trials)
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return np.nan, np.nan
    return tuple(np.percentile(samples, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]))


def _clopper_pearson(hits, trials):
    if not trials:
        return np.nan, np.nan
    found = stats.binomtest(round(hits), int(trials)).proportion_ci(LEVEL, method="exact")
    return found.low, found.high


def _two_sided(samples):
    tail = min((samples <= 0).sum(), (samples >= 0).sum())
    return min(1.0, 2 * (1 + tail) / (1 + len(samples)))


def predictive_values(
    predictions: pd.DataFrame, threshold: float, prevalences, split="test", seed=0, resamples=2000
) -> pd.DataFrame:
    """What a call is worth where another share of the children is ill (Altman & Bland 1994).

    Recall and specificity are measured on `split` and taken to be the same everywhere, which holds
    if the ill and the healthy are alike; Bayes' theorem does the rest. Columns: prevalence (0-1);
    ppv, the share of pneumonias among the images called pneumonia; npv, of normals among the
    others; each with its interval, ppv_low and so on, from bootstrapped recall and specificity. A
    value of exactly 1 has an interval of no width, one of nothing called so is NaN.
    """
    table = collapse(_rows(predictions, split))
    recall, specificity = (rate[0] for rate in _rates(table, [threshold], seed, resamples))
    rows = []
    for prevalence in prevalences:
        ill, healthy = prevalence, 1 - prevalence
        with np.errstate(invalid="ignore"):
            right, wrong = ill * recall, healthy * (1 - specificity)
            ppv = right / (right + wrong)
            right, wrong = healthy * specificity, ill * (1 - recall)
            npv = right / (right + wrong)
        values = [(x[0], *_interval(x[0], x[1:])) for x in (ppv, npv)]
        rows.append((prevalence, *values[0], *values[1]))
    names = [f"{name}{end}" for name in ("ppv", "npv") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["prevalence", *names])


def decision_curve(
    predictions: pd.DataFrame, thresholds, prevalence=None, split="test", seed=0, resamples=2000
) -> pd.DataFrame:
    """Net benefit of treating those with p_pneumonia >= threshold (Vickers & Elkin 2006).

    At a threshold t one finds (1 - t) / t needless treatments as bad as one missed pneumonia, and
    the net benefit counts in rightly treated children per child: share of right treatments minus
    share of needless ones times t / (1 - t). One row a threshold (above 0, below 1): threshold,
    model, low, high, all (treat every child); treating none is 0.

    `prevalence`: share of pneumonias (0-1) for which the curve is drawn; None is that of the split.
    The probabilities should hold for it (see `at_prevalence`).
    """
    table = collapse(_rows(predictions, split))
    recall, specificity = _rates(table, thresholds, seed, resamples)
    ill = (table["label"] != LABELS[0]).mean() if prevalence is None else prevalence
    harm = (np.asarray(thresholds) / (1 - np.asarray(thresholds)))[:, None]
    net = ill * recall - (1 - ill) * (1 - specificity) * harm
    low, high = np.transpose([_interval(row[0], row[1:]) for row in net])
    every = ill - (1 - ill) * harm[:, 0]
    columns = {"threshold": thresholds, "model": net[:, 0], "low": low, "high": high, "all": every}
    return pd.DataFrame(columns)


def at_prevalence(p, there: float, here: float) -> np.ndarray:
    """Probabilities of pneumonia (n,) that hold where a share `here` is ill, changed to `there`.

    The odds change as the odds of the prevalence do (Saerens, Latinne & Decaestecker 2002).
    """
    p = np.asarray(p, dtype=np.float64)
    change = there / (1 - there) * (1 - here) / here
    return p * change / (p * change + 1 - p)


def _rates(table, thresholds, seed, resamples):
    """Recall and specificity, each (thresholds, 1 + resamples): first as measured, then drawn."""
    y, p = _labels_and_p(table)
    weights = np.column_stack([np.ones(len(y)), bootstrap_weights(table, resamples, seed)])
    called = (p >= np.asarray(thresholds)[:, None]).astype(float)
    return (
        called[:, y] @ weights[y] / weights[y].sum(axis=0),
        (1 - called[:, ~y]) @ weights[~y] / weights[~y].sum(axis=0),
    )
