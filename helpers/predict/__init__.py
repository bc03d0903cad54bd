"""The published model: export it, open it, ask it. `python -m helpers.predict` is its command.

TensorFlow, ONNX Runtime, pydicom and the rest of `helpers` are imported when they are needed, so
that help and mistakes come at once.
"""

from helpers.predict.chest_check import fit_chest_check, is_frontal_chest
from helpers.predict.model import (
    BATCH,
    FACTS,
    FILES,
    NO_CHEST,
    Facts,
    Model,
    check_file,
    export,
    largest_difference,
    open_model,
    predict,
    read_facts,
)

__all__ = [
    "BATCH",
    "FACTS",
    "FILES",
    "NO_CHEST",
    "Facts",
    "Model",
    "check_file",
    "export",
    "fit_chest_check",
    "is_frontal_chest",
    "largest_difference",
    "open_model",
    "predict",
    "read_facts",
]
