"""The choice of the final model: recipe changes, robustness, operating points; tuning.

`helpers.selection.tuning` is imported by itself: it brings KerasTuner along.
"""

from helpers.selection import robustness
from helpers.selection.final import (
    accepted,
    best,
    doubtful,
    ensemble,
    guarded,
    matched,
    nested_calibration,
    operating_points,
    soft_labels,
)
from helpers.selection.recipe import RECIPE_CHANGES, Recipe, RecipeChange, fit_folds

__all__ = [
    "RECIPE_CHANGES",
    "Recipe",
    "RecipeChange",
    "accepted",
    "best",
    "doubtful",
    "ensemble",
    "fit_folds",
    "guarded",
    "matched",
    "nested_calibration",
    "operating_points",
    "robustness",
    "soft_labels",
]
