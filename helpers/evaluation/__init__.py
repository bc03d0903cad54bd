"""Prediction tables, metrics with intervals, paired comparisons and the worth of a call in use."""

from helpers.evaluation.clinical import (
    at_prevalence,
    decision_curve,
    expected_cost,
    predictive_values,
    shift_predictions,
)
from helpers.evaluation.comparison import compare, compare_seeds
from helpers.evaluation.metrics import (
    COLUMNS,
    RECALL,
    RECALL_RULE,
    bootstrap_weights,
    calibration_error,
    clopper_pearson,
    confusion,
    ece,
    metrics,
    recall_threshold,
    reliability,
    roc,
    summary,
)
from helpers.evaluation.predictions import (
    CLASSES,
    OUTCOMES,
    collapse,
    most_likely,
    outcomes,
    predict,
    prevalence,
)

__all__ = [
    "CLASSES",
    "COLUMNS",
    "OUTCOMES",
    "RECALL",
    "RECALL_RULE",
    "at_prevalence",
    "bootstrap_weights",
    "calibration_error",
    "clopper_pearson",
    "collapse",
    "compare",
    "compare_seeds",
    "confusion",
    "decision_curve",
    "ece",
    "expected_cost",
    "metrics",
    "most_likely",
    "outcomes",
    "predict",
    "predictive_values",
    "prevalence",
    "recall_threshold",
    "reliability",
    "roc",
    "shift_predictions",
    "summary",
]
