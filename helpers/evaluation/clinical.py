"""What a call is worth in use: predictive values, net benefit and cost, by the share of the ill."""

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import estimate, interval, weights_of
from helpers.evaluation.predictions import DECIMALS, collapse, rows_of, truth


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
    table = collapse(rows_of(predictions, split))
    recall, specificity = (rate[0] for rate in _rates(table, [threshold], seed, resamples))
    rows = []
    for prevalence in prevalences:
        ill, healthy = prevalence, 1 - prevalence
        found, false_alarms = ill * recall, healthy * (1 - specificity)
        cleared, missed = healthy * specificity, ill * (1 - recall)
        ppv, npv = estimate(found, found + false_alarms), estimate(cleared, cleared + missed)
        rows.append((prevalence, *ppv, *npv))
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
    The probabilities should hold for it (see `shift_predictions`).
    """
    table = collapse(rows_of(predictions, split))
    recall, specificity = _rates(table, thresholds, seed, resamples)
    ill = truth(table)[0].mean() if prevalence is None else prevalence
    harm = (np.asarray(thresholds) / (1 - np.asarray(thresholds)))[:, None]
    net = ill * recall - (1 - ill) * (1 - specificity) * harm
    low, high = np.transpose([interval(row[1:]) for row in net])
    every = ill - (1 - ill) * harm[:, 0]
    columns = {"threshold": thresholds, "model": net[:, 0], "low": low, "high": high, "all": every}
    return pd.DataFrame(columns)


def expected_cost(
    predictions: pd.DataFrame, thresholds, ratios, prevalence: float, split="test"
) -> np.ndarray:
    """Cost per 1000 children where a false alarm costs 1 and a missed pneumonia costs `ratios`.

    Right answers cost nothing. Recall and specificity are those of `split`, `prevalence` (0-1) is
    the share of the ill. Called pneumonia is p_pneumonia >= threshold.

    Args:
        thresholds: one, or one a ratio. 0 treats all, infinity none. For probabilities that hold
            for the prevalence the best one is 1 / (1 + ratio) (Elkan 2001); for others it is that,
            shifted by `at_prevalence` to the prevalence that they hold for.
        ratios: how many false alarms one missed pneumonia is worth, (n,).

    Returns:
        (n,) costs.
    """
    ratios = np.asarray(ratios, dtype=np.float64)
    y, p = truth(collapse(rows_of(predictions, split)))
    called = p >= np.broadcast_to(thresholds, ratios.shape)[:, None]
    missed, false_alarms = 1 - called[:, y].mean(axis=1), called[:, ~y].mean(axis=1)
    return 1000 * (prevalence * missed * ratios + (1 - prevalence) * false_alarms)


def at_prevalence(p, there: float, here: float) -> np.ndarray:
    """Probabilities of pneumonia that hold where a share `here` is ill, changed to `there`.

    `p`: of any shape, or a threshold. Both shares above 0 and below 1. The odds change as the odds
    of the prevalence do (Saerens, Latinne & Decaestecker 2002).
    """
    p = np.asarray(p, dtype=np.float64)
    change = there / (1 - there) * (1 - here) / here
    return p * change / (p * change + (1 - p))


def shift_predictions(predictions: pd.DataFrame, there: float, here: float) -> pd.DataFrame:
    """The collapsed prediction table with its probabilities shifted by `at_prevalence`."""
    table = collapse(predictions)
    moved = at_prevalence(table["p_pneumonia"], there, here)
    return table.assign(p_pneumonia=moved.round(DECIMALS))


def _rates(table, thresholds, seed, resamples):
    """Recall and specificity, each (thresholds, 1 + resamples): first as measured, then drawn."""
    y, p = truth(table)
    weights = weights_of(table, resamples, seed)
    called = (p >= np.asarray(thresholds)[:, None]).astype(float)
    return (
        called[:, y] @ weights[y] / weights[y].sum(axis=0),
        (1 - called[:, ~y]) @ weights[~y] / weights[~y].sum(axis=0),
    )
