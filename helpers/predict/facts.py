"""What belongs to a published model besides its weights: `NAME.json` beside its files."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.predict.chest_check import THUMBNAIL
from helpers.utils import UserError

FACTS = "pneumonia.json"
POINTS = BALANCED, SCREENING = "balanced", "screening"  # operating points; the first is the default
CLASSES = ("normal", "bacteria", "virus")
MOST_SIDE = 1024  # pixels, of the pictures that a model may ask for


@dataclass(frozen=True)
class Facts:
    """What belongs to a model besides its weights.

    Attributes:
        thresholds: on p_pneumonia, from which on the decision is pneumonia, by operating point.
        image_size: side of the square pictures that it takes, pixels.
        margin: kept around the lungs' box on each edge, share of the picture.
        labels: of its probabilities, in order.
        sha256: of each file of the model, by its name.
        chest_check: what `fit_chest_check` found.
        least_detail: of a picture (see `checks.detail`), below which there is no decision.
        most_spread: of the lungs' box, beyond which no lungs are found.
        most_distance: of a picture's features, squared, beyond which there is no decision.
    """

    thresholds: dict[str, float]
    image_size: int
    margin: float
    labels: tuple[str, ...]
    sha256: dict[str, str]
    chest_check: dict
    least_detail: float
    most_spread: float
    most_distance: float

    def decision(self, p: float, point: str) -> str:
        """Pneumonia or normal, for a probability of pneumonia (0-1) at an operating point."""
        return "pneumonia" if p >= self.thresholds[point] else "normal"


def read_facts(path: Path | str | None = None) -> Facts:
    """The facts in a file `NAME.json`; those of the published model where no file is named.

    Raises:
        UserError: the file is missing or incomplete, or one of its facts cannot be.
    """
    path = existing(path or paths.MODELS / FACTS)
    try:
        found = json.loads(path.read_text())
        known = {field.name: found[field.name] for field in fields(Facts)}
        facts = Facts(**known | {"labels": tuple(known["labels"])})
        wrong = ", ".join(_wrong(facts))
    except KeyError as error:
        wrong = f"no {error.args[0]}"
    except Exception as error:  # as many kinds as there are ways to write nonsense
        wrong = type(error).__name__
    if wrong:
        raise UserError(
            f"{path} does not describe a model ({wrong}): get it and the model's files again"
        )
    return facts


def _wrong(facts: Facts) -> Iterator[str]:
    """The names of facts that cannot be."""
    cuts, check = facts.thresholds, facts.chest_check
    if not all(_number(cuts[point]) and 0 <= cuts[point] <= 1 for point in POINTS):
        yield "thresholds"
    if type(facts.image_size) is not int or not 0 < facts.image_size <= MOST_SIDE:
        yield "image_size"
    if not _number(facts.margin) or not 0 <= facts.margin < 1:
        yield "margin"
    if sorted(facts.labels) != sorted(CLASSES):
        yield "labels"
    if not facts.sha256 or not all(type(x) is str for pair in facts.sha256.items() for x in pair):
        yield "sha256"
    parts = [np.array(check[name], float) for name in ("mean", "components", "upright")]
    shapes = [(THUMBNAIL**2,), (len(parts[1]), THUMBNAIL**2), (THUMBNAIL**2,)]
    if [part.shape for part in parts] != shapes or not _number(check["most_unexplained"]):
        yield "chest_check"
    for name in ("least_detail", "most_spread", "most_distance"):
        if not _number(getattr(facts, name)):
            yield name


def _number(value: object) -> bool:
    """Whether a value from JSON is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def existing(path: Path | str) -> Path:
    """The path of a file of a model.

    Raises:
        UserError: there is none.
    """
    if not Path(path).is_file():
        raise UserError(
            f"no file {path}: run 13_final_model, or name a model and its .json by --model"
        )
    return Path(path)
