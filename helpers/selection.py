"""How the final model is chosen and put together: levers, ensemble, calibration, threshold.

Everything here sees training and validation images only.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, special
from sklearn.metrics import log_loss

from helpers import evaluation, models, training
from helpers.augmentation import Augmentation
from helpers.settings import LABELS, SELECTION, UserError, short_digest, write_atomically

CANDIDATES = "candidates.csv"
PLAIN_VIEW = (1.0,)
LIGHT = Augmentation(rotation=5, shift=0.05, zoom=(0.95, 1.05))


@dataclass(frozen=True)
class Recipe:
    """How a MobileNet is trained, and how it then looks at a picture.

    Attributes:
        side: of the images, pixels.
        views: the magnifications of a picture that are predicted and averaged (`together`).
        others: what `training.fit` and `models.mobilenet` are told.
    """

    side: int
    epochs: int
    batch_size: int = 32
    learning_rate: float = 3e-4
    classes: int = 3
    batch_norm_fixed: bool = True
    decay: bool = True
    averaging: float = 0.99
    label_smoothing: float = 0.0
    augment: Augmentation = LIGHT
    views: tuple[float, ...] = PLAIN_VIEW

    def with_levers(self, names: Sequence[str]) -> "Recipe":
        """The recipe with these of LEVERS put on top of each other.

        Raises UserError for a name that is not among them.
        """
        if unknown := set(names) - set(LEVERS):
            raise UserError(f"no lever {', '.join(sorted(unknown))}. There are {', '.join(LEVERS)}")
        own = {field.name for field in dataclasses.fields(self)}
        changes = {key: value for name in names for key, value in LEVERS[name].items()}
        changed = {key: value for key, value in changes.items() if key in own}
        rest = {key: value for key, value in changes.items() if key not in own}
        augment = dataclasses.replace(self.augment, **rest)
        return dataclasses.replace(self, **changed, augment=augment)

    def fit(
        self, images: np.ndarray, table: pd.DataFrame, seed: int, first: tuple, cache: Path | None
    ) -> training.Fit:
        """Train once on `images` (rows, side, side, 1); `first`: what `models.pretrained` gives.

        All epochs are run; the epoch with the lowest validation loss is kept. The views play no
        part in it.
        """
        weights, source = first
        options = dataclasses.asdict(self) | {"augment": self.augment}
        del options["views"]
        build = partial(
            models.mobilenet,
            options.pop("side"),
            options.pop("classes"),
            weights,
            batch_norm_fixed=options.pop("batch_norm_fixed"),
        )
        return training.fit(
            build,
            images,
            table,
            seed=seed,
            patience=self.epochs,
            weights=source,
            cache=cache,
            **options,
        )

    def predictor(
        self, images: np.ndarray, table: pd.DataFrame, seed: int, first: tuple, cache: Path
    ) -> training.Fit:
        """What `fit` gives, averaged over the recipe's views of a picture."""
        return together([self.fit(images, table, seed, first, cache)], self.views, cache)


LEVERS = {  # name: what it changes in the recipe or in its augmentation
    "zoom": {"zoom": (1.0, 2.0)},
    "zoom_both_ways": {"zoom": (0.8, 2.0)},
    "flip_and_turn": {"flip": True, "rotation": 15.0},
    "sharpness": {"bands": 1.0, "blur": 1.0},
    "curves": {"gamma": 0.7, "brightness": 0.15, "contrast": 0.4},
    "border": {"border": 0.2},
    "letters": {"letters": 0.5},
    "views": {"views": (1.0, 1.25, 1.5)},
    "larger": {"side": 128},
    "two_classes": {"classes": 2},
    "label_smoothing": {"label_smoothing": 0.1},
    "batch_norm_free": {"batch_norm_fixed": False},
    "unsettled": {"decay": False, "averaging": 0.0},
}
COMPARED = {"larger", "two_classes"}  # the final model has its own side, and three classes


def taken(gains: pd.DataFrame) -> list[str]:
    """The levers whose every seed gains, the largest mean gain first; not those of COMPARED.

    `gains`: one row a lever, one column a seed.
    """
    means = gains[(gains > 0).all(axis=1)].mean(axis=1).sort_values(ascending=False)
    return [name for name in means.index if name not in COMPARED]


def best(scored: pd.DataFrame) -> tuple[str, list[str]]:
    """Name and levers of the candidate, none of COMPARED, with the highest mean worst AUC."""
    own = scored[[not COMPARED.intersection(levers.split()) for levers in scored.levers]]
    name, levers = own.groupby(["candidate", "levers"]).worst_auc.mean().idxmax()
    return name, levers.split()


def save_candidates(folder: Path, scored: pd.DataFrame, light: Recipe) -> None:
    """Leave the stress scores of all candidates, with what trains them again, in a results folder.

    `scored`: columns candidate, levers (names with spaces between), seed and the scores.
    """
    table = scored.assign(side=light.side, epochs=light.epochs)
    write_atomically(folder / CANDIDATES, partial(table.to_csv, index=False))


def candidates(folder: Path) -> pd.DataFrame:
    """What `save_candidates` left. Raises UserError when there is nothing."""
    if not (folder / CANDIDATES).exists():
        raise UserError(f"no {CANDIDATES} in {folder}: run the notebook 11_stress_validation first")
    return pd.read_csv(folder / CANDIDATES, keep_default_na=False)


def calibrate(predictions: pd.DataFrame) -> tuple[float, float]:
    """Scale and shift that make three-class probabilities fit the validation images best.

    The probabilities become softmax(scale * log p + (0, shift, shift)): temperature scaling (Guo et
    al. 2017) with a shift between normal and pneumonia, by least log loss. They then hold for the
    share of pneumonias among the validation images.
    """
    rows = predictions[predictions.split == "val"]
    codes = pd.Categorical(rows.label, LABELS).codes
    p = rows[evaluation.CLASSES].to_numpy()

    def loss(parameters):
        return log_loss(codes, calibrated(p, *parameters), labels=range(len(LABELS)))

    found = optimize.minimize(loss, [1.0, 0.0], method="Nelder-Mead")
    return tuple(float(x) for x in found.x)


def calibrated(p: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Probabilities (n, 3) after calibration; the model's own layer does the same."""
    scores = scale * np.log(np.maximum(p, models.SMALLEST)) + [0, shift, shift]
    return special.softmax(scores, axis=1)


def threshold(predictions: pd.DataFrame, recall: float = evaluation.RECALL) -> float:
    """The rule `selected`: the highest threshold with that recall on the clean pneumonias.

    Validation labels come from two graders, those of the test images from three, so some validation
    pneumonias are likely to be normal images with a wrong label, and a threshold low enough to
    catch them costs specificity. Left out by the rule of confident learning (Northcutt et al.
    2021): pneumonias that look at least as normal as the average normal image does.
    """
    rows = evaluation.collapse(predictions[predictions.split == "val"])
    sick = rows.label != LABELS[0]
    doubtful = sick & (rows.p_pneumonia <= rows.p_pneumonia[~sick].mean())
    clean = rows if doubtful.sum() == sick.sum() else rows[~doubtful]  # nothing learnt: keep all
    return evaluation.recall_threshold(clean.label, clean.p_pneumonia, recall)


def together(fits: Sequence[training.Fit], views: tuple[float, ...], cache: Path) -> training.Fit:
    """Fits of one recipe, and the views each has of a picture, as one model that averages them.

    One fit with the plain view is left as it is.
    """
    if len(fits) == 1 and views == PLAIN_VIEW:
        return fits[0]
    members = [fit.model for fit in fits]
    named = short_digest(*(fit.row["settings_hash"] for fit in fits), views)
    row = fits[0].row | {
        "parameters": sum(member.count_params() for member in members),
        "train_seconds": round(sum(fit.row["train_seconds"] for fit in fits), 1),
        "settings_hash": named,
    }
    return training.Fit(models.ensemble(members, views), row, fits[0].history, cache / named)


def assemble(
    fits: Sequence[training.Fit],
    views: tuple[float, ...],
    images: np.ndarray,
    table: pd.DataFrame,
    cache: Path,
) -> tuple[training.Fit, dict[str, float]]:
    """Fits of one recipe as one calibrated model.

    Args:
        fits: of three classes, trained on the same split with other seeds.
        views: of the recipe.
        images: (rows, side, side, 1), row by row with `table`, which has the split.
        table: calibration takes its validation images.
        cache: folder of finished fits.

    Returns:
        The ensemble as a fit, and the calibration: scale and shift.
    """
    plain = together(fits, views, cache)
    scale, shift = calibrate(evaluation.predict(plain, images, table, rows=("val",)))
    named = short_digest(plain.row["settings_hash"], scale, shift)
    model = models.ensemble([fit.model for fit in fits], views, scale, shift)
    row = plain.row | {"settings_hash": named}
    fit = training.Fit(model, row, plain.history, cache / named)
    return fit, {"scale": scale, "shift": shift}


def of_two_classes(fit: training.Fit, cache: Path) -> training.Fit:
    """A three-class fit as one of normal against pneumonia, with a settings hash of its own."""
    named = short_digest(fit.row["settings_hash"], 2)
    return dataclasses.replace(
        fit, row=fit.row | {"classes": 2, "settings_hash": named}, folder=cache / named
    )


def write(folder: Path, **facts) -> dict:
    """Write the choice to `selection.json` in a folder of results; returns it."""
    text = json.dumps(facts, indent=1)
    write_atomically(folder / SELECTION, lambda path: path.write_text(text + "\n"))
    return facts
