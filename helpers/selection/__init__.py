"""The choice of the final model: recipe changes, robustness, operating points; tuning.

`helpers.selection.tuning` is imported by itself: it brings KerasTuner along.
"""

from helpers.selection import robustness
from helpers.selection.final import (
    accepted,
    best,
    doubtful,
    ensemble,
    nested_calibration,
    operating_points,
)
from helpers.selection.recipe import RECIPE_CHANGES, Recipe, RecipeChange

__all__ = [
    "RECIPE_CHANGES",
    "Recipe",
    "RecipeChange",
    "accepted",
    "best",
    "doubtful",
    "ensemble",
    "nested_calibration",
    "operating_points",
    "robustness",
]
