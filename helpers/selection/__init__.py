"""The choice of the final model: recipe changes, robustness, ensemble, threshold; tuning.

`helpers.selection.tuning` is imported by itself: it brings KerasTuner along.
"""

from helpers.selection import robustness
from helpers.selection.final import accepted, average_members, best, calibrated_ensemble, threshold
from helpers.selection.recipe import RECIPE_CHANGES, Recipe, RecipeChange

__all__ = [
    "RECIPE_CHANGES",
    "Recipe",
    "RecipeChange",
    "accepted",
    "average_members",
    "best",
    "calibrated_ensemble",
    "robustness",
    "threshold",
]
