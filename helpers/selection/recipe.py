"""How the final network is trained, and the changes of it that are tried."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import data, lungs, models, training
from helpers.data import Augmentation
from helpers.models import keras
from helpers.utils import UserError

LIGHT = Augmentation(
    rotation=10, shift=0.05, zoom=(0.9, 1.25), flip=True, brightness=0.1, contrast=0.25
)


@dataclass(frozen=True)
class Recipe:
    """What a pretrained network is shown, and how it is trained.

    Attributes:
        side: of the lung crops, pixels.
        training: how it is trained, with an augmentation.
        backbone: a name in `models.BACKBONES`.
        margin: kept around the lungs, share of the picture; None takes the whole picture.
        standardised: whether crops have standardised gray values (see `lungs.crop`).
        classes: 2 or 3.
        dropout: before the output layer (see `models.classifier`).
        frozen_batch_norm: likewise.
        cleaned: whether it is trained without the images whose label is in doubt (`doubtful`).
    """

    side: int
    training: training.TrainingConfig
    backbone: str = "mobilenet"
    margin: float | None = lungs.MARGIN
    standardised: bool = True
    classes: int = 3
    dropout: float = 0.3
    frozen_batch_norm: bool = True
    cleaned: bool = False

    @classmethod
    def light(cls, side: int, epochs: int, backbone: str = "mobilenet") -> "Recipe":
        """What all changes start from: standardised lung crops, light augmentation.

        All epochs are run; the epoch with the lowest validation loss is kept.
        """
        config = training.TrainingConfig(
            epochs=epochs,
            patience=epochs,
            learning_rate=3e-4,
            cosine_decay=True,
            warm_up=min(1, epochs - 1),
            weight_decay=1e-4,
            augmentation=LIGHT,
        )
        return cls(side, config, backbone)

    def with_changes(self, names: Sequence[str]) -> "Recipe":
        """The recipe with these of `RECIPE_CHANGES`, one after the other.

        Raises:
            UserError: a name is not among them.
        """
        if unknown := set(names) - set(RECIPE_CHANGES):
            raise UserError(
                f"no recipe change {', '.join(sorted(unknown))}. "
                f"There are {', '.join(RECIPE_CHANGES)}"
            )
        recipe = self
        for name in names:
            recipe = RECIPE_CHANGES[name].apply(recipe)
        return recipe

    def load(self, table: pd.DataFrame, localiser: keras.Model) -> np.ndarray:
        """What the network is shown of the images of `table` (an index), row by row.

        Returns:
            uint8, (rows, side, side, 1), values 0-255, memory-mapped and read-only.
        """
        if self.margin is None:
            return data.load(table, self.side)
        return lungs.load_crops(table, localiser, self.side, self.margin, self.standardised)

    def show(self, pictures: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """As `load`, of whole pictures (n, 224, 224, 1), uint8, and the boxes (n, 4) in them."""
        if self.margin is None:
            return lungs.crop(
                pictures, np.tile(lungs.WHOLE, (len(pictures), 1)), self.side, 0, False
            )
        return lungs.crop(pictures, boxes, self.side, self.margin, self.standardised)

    def fit(
        self,
        images: np.ndarray,
        table: pd.DataFrame,
        seed: int,
        initial: models.InitialWeights,
        cache_dir: Path | None,
        soft_labels: np.ndarray | None = None,
    ) -> training.Fit:
        """Train once.

        Args:
            images: (images, side, side, 1), as `load` gives them for the whole index.
            table: rows of the index with a split column; its index labels say which images.
            seed: of the fit.
            initial: what `models.initial_weights(recipe.backbone)` gives.
            cache_dir: folder of finished fits.
            soft_labels: (rows of the table, 3), see `training.fit`.
        """
        build = partial(
            models.classifier,
            self.backbone,
            self.side,
            self.classes,
            initial.path,
            frozen_batch_norm=self.frozen_batch_norm,
            dropout=self.dropout,
        )
        return training.fit(
            build,
            images[table.index],
            table,
            self.training,
            seed=seed,
            weights=initial.source,
            soft_labels=soft_labels,
            cache_dir=cache_dir,
        )


def fit_folds(
    recipes: Mapping[str, Recipe],
    index: pd.DataFrame,
    localiser: keras.Model,
    protocol: str,
    seeds: Sequence[int],
    initial: models.InitialWeights,
    cache_dir: Path,
    folds: int = 5,
    in_doubt: Collection[str] = (),
) -> dict[str, dict[tuple[int, int], training.Fit]]:
    """Train each recipe on each fold with each seed, several side by side.

    Args:
        recipes: by name.
        index: all radiographs.
        localiser: finds the lungs.
        protocol: out_of_fold or cross_validated.
        seeds: of the folds and the fits.
        initial: of all recipes, as in `Recipe.fit`.
        cache_dir: folder of finished fits.
        folds: how many of the five.
        in_doubt: files that a `cleaned` recipe is not trained on.

    Returns:
        For each name the fits by seed and fold.
    """
    keys, jobs = [], []
    for name, recipe in recipes.items():
        images = recipe.load(index, localiser)
        for seed, fold in itertools.product(seeds, range(folds)):
            table = data.split(index, protocol, seed, fold)
            if recipe.cleaned:
                table = table[~((table.split == "train") & table.file.isin(in_doubt))]
            keys.append((name, seed, fold))
            jobs.append((recipe, images, table, seed, initial, cache_dir))
    found = {name: {} for name in recipes}
    for (name, *key), fit in zip(keys, training.fit_all(Recipe.fit, jobs), strict=True):
        found[name][tuple(key)] = fit
    return found


@dataclass(frozen=True)
class RecipeChange:
    """New values of some fields of a recipe, of its training and of its augmentation."""

    recipe: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    augmentation: dict = field(default_factory=dict)

    def apply(self, recipe: Recipe) -> Recipe:
        """The changed recipe."""
        augmentation = replace(recipe.training.augmentation, **self.augmentation)
        config = replace(recipe.training, **self.training, augmentation=augmentation)
        return replace(recipe, **self.recipe, training=config)

    def __str__(self) -> str:
        values = self.recipe | self.training | self.augmentation
        return ", ".join(f"{name} {value}" for name, value in values.items())


RECIPE_CHANGES = {
    "whole_picture": RecipeChange(recipe={"margin": None}, augmentation={"zoom": (1.0, 2.0)}),
    "no_margin": RecipeChange(recipe={"margin": 0.0}),
    "wide_margin": RecipeChange(recipe={"margin": 0.08}),
    "wider_margin": RecipeChange(recipe={"margin": 0.12}),
    "not_standardised": RecipeChange(recipe={"standardised": False}),
    "strong_zoom": RecipeChange(augmentation={"zoom": (0.8, 1.6), "shift": 0.1}),
    "sharpness": RecipeChange(augmentation={"bands": 1.0, "blur": 1.0}),
    "curves": RecipeChange(augmentation={"gamma": 0.7, "contrast": 0.4}),
    "mixup": RecipeChange(training={"mixup": 0.2}),
    "label_smoothing": RecipeChange(training={"label_smoothing": 0.1}),
    "weight_average": RecipeChange(training={"ema_momentum": 0.99}),
    "high_dropout": RecipeChange(recipe={"dropout": 0.5}, training={"weight_decay": 1e-3}),
    "cleaned": RecipeChange(recipe={"cleaned": True}),
    "batch_norm_free": RecipeChange(recipe={"frozen_batch_norm": False}),
}
