"""The published model: export it, open it, ask it. `python -m helpers.predict` is its command.

Keras, ONNX Runtime, pydicom and what else takes long to import are imported when they are needed,
so that help and mistakes come at once.
"""

from helpers.predict.checks import NO_CHEST, NO_DETAIL, NO_LUNGS, UNFAMILIAR, detail
from helpers.predict.chest_check import fit_chest_check, is_frontal_chest
from helpers.predict.facts import BALANCED, FACTS, POINTS, SCREENING, Facts, read_facts
from helpers.predict.model import (
    BATCH,
    FILES,
    MEANINGS,
    NOTE,
    Model,
    check_file,
    open_model,
    predict,
)
from helpers.predict.writing import export, largest_difference

__all__ = [
    "BALANCED",
    "BATCH",
    "FACTS",
    "FILES",
    "MEANINGS",
    "NOTE",
    "NO_CHEST",
    "NO_DETAIL",
    "NO_LUNGS",
    "POINTS",
    "SCREENING",
    "UNFAMILIAR",
    "Facts",
    "Model",
    "check_file",
    "detail",
    "export",
    "fit_chest_check",
    "is_frontal_chest",
    "largest_difference",
    "open_model",
    "predict",
    "read_facts",
]
