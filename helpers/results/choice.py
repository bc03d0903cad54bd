"""What was chosen before test was read: the candidates, the choice, its operating points."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers import paths
from helpers.results import checked
from helpers.utils import UserError, write_atomically

if TYPE_CHECKING:  # Keras takes seconds to import, and most readers of results train nothing
    from helpers.selection import Recipe

FINAL = "final"  # the model that is shipped; its thresholds were fixed before test was read
SELECTION = "selection.json"  # in a folder of results: what was chosen before test was read
SELECTIONS = {  # of each final model the file that holds its operating points
    FINAL: SELECTION,
    "final_ensemble": SELECTION,
    "final_v1": "selection_v1.json",  # the first final model: whole pictures
}
CANDIDATES = "candidates.csv"  # in a run's results: what the selection chose from


def selection(folder: Path | None = None, experiment: str = FINAL) -> dict:
    """What was chosen for a final model before test was read: `selection.json`, or nothing.

    Raises:
        UserError: the file is damaged.
    """
    path = (folder or paths.RESULTS) / SELECTIONS[experiment]
    return checked.facts(path) if path.exists() else {}


def write_selection(folder: Path, **facts) -> dict:
    """Write the choice to `selection.json` in a folder of results; returns it."""
    text = json.dumps(facts, indent=1)
    write_atomically(folder / SELECTION, lambda path: path.write_text(text + "\n"))
    return facts


def operating_points(
    experiment: str, protocol: str = "official", folder: Path | None = None
) -> dict[str, float]:
    """The thresholds of a final model by name, as its selection has them; none for others.

    They belong to the official test images; under other protocols they would have been fixed on the
    images that are tested.

    Raises:
        UserError: it is a final model, and nothing was selected yet, or a threshold is none.
    """
    if experiment not in SELECTIONS or protocol != "official":
        return {}
    path = (folder or paths.RESULTS) / SELECTIONS[experiment]
    known = checked.thresholds(path, experiment)
    if not known:
        raise UserError(
            f"no thresholds for {experiment} in {path}: run the notebook that selects first, "
            "since the choice is written down before test is read"
        )
    return known


def save_candidates(folder: Path, scored: pd.DataFrame, recipe: "Recipe") -> None:
    """Leave the robustness scores of all candidates in a run's results.

    Args:
        folder: of the run's results.
        scored: one row a candidate and seed, with the changes that it makes and its scores.
        recipe: what all start from; backbone, image size and epochs are written down with them.
    """
    facts = {"backbone": recipe.backbone, "side": recipe.side, "epochs": recipe.training.epochs}
    table = scored.assign(**facts)
    write_atomically(folder / CANDIDATES, partial(table.to_csv, index=False))


def candidates(folder: Path, backbone: str) -> pd.DataFrame:
    """What `save_candidates` left.

    Raises:
        UserError: there is nothing, or the candidates were judged on another backbone.
    """
    if not (folder / CANDIDATES).exists():
        raise UserError(f"no {CANDIDATES} in {folder}: run the notebook 12_robustness first")
    needed = ["candidate", "changes", "auc", "framing_auc", "backbone"]
    table = checked.table(folder / CANDIDATES, needed, keep_default_na=False)
    judged = ", ".join(table.backbone.unique())
    if judged != backbone:
        raise UserError(
            f"{folder / CANDIDATES} judges {judged}, not {backbone}: give 12_robustness and "
            "13_final_model the same BACKBONE (under `all` in the parameters file)"
        )
    return table
