"""How the final network is trained and looks at a picture, and the changes of it that are tried."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import models, training
from helpers.data import Augmentation
from helpers.models.ensemble import NO_ZOOM
from helpers.selection.final import average_members
from helpers.utils import UserError

LIGHT = Augmentation(rotation=5, shift=0.05, zoom=(0.95, 1.05))


@dataclass(frozen=True)
class Recipe:
    """How a pretrained network is trained, and how it then looks at a picture.

    Attributes:
        side: of the images, pixels.
        training: how it is trained, with an augmentation.
        backbone: a name in `models.BACKBONES`.
        classes: 2 or 3.
        frozen_batch_norm: see `models.classifier`.
        zooms: magnifications of a picture that are predicted and averaged (`fit_with_zooms`).
    """

    side: int
    training: training.TrainingConfig
    backbone: str = "mobilenet"
    classes: int = 3
    frozen_batch_norm: bool = True
    zooms: tuple[float, ...] = NO_ZOOM

    @classmethod
    def light(cls, side: int, epochs: int, backbone: str = "mobilenet") -> "Recipe":
        """What all changes start from: little augmentation, one look at the picture as it is.

        All epochs are run; the epoch with the lowest validation loss is kept.
        """
        config = training.TrainingConfig(
            epochs=epochs,
            patience=epochs,
            learning_rate=3e-4,
            cosine_decay=True,
            ema_momentum=0.99,
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

    def fit(
        self,
        images: np.ndarray,
        table: pd.DataFrame,
        seed: int,
        initial: models.InitialWeights,
        cache_dir: Path | None,
    ) -> training.Fit:
        """Train once; the zooms play no part in it.

        Args:
            images: (rows, side, side, 1), row by row with `table`, which has the split.
            table: an index with a split column.
            seed: of the fit.
            initial: what `models.initial_weights(recipe.backbone)` gives.
            cache_dir: folder of finished fits.
        """
        build = partial(
            models.classifier,
            self.backbone,
            self.side,
            self.classes,
            initial.path,
            frozen_batch_norm=self.frozen_batch_norm,
        )
        return training.fit(
            build,
            images,
            table,
            self.training,
            seed=seed,
            weights=initial.source,
            cache_dir=cache_dir,
        )

    def fit_with_zooms(
        self,
        images: np.ndarray,
        table: pd.DataFrame,
        seed: int,
        initial: models.InitialWeights,
        cache_dir: Path,
    ) -> training.Fit:
        """What `fit` gives, with the probabilities averaged over the recipe's zooms."""
        return average_members(
            [self.fit(images, table, seed, initial, cache_dir)], self.zooms, cache_dir
        )


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
    "zoom": RecipeChange(augmentation={"zoom": (1.0, 2.0)}),
    "zoom_both_ways": RecipeChange(augmentation={"zoom": (0.8, 2.0)}),
    "flip_and_turn": RecipeChange(augmentation={"flip": True, "rotation": 15.0}),
    "sharpness": RecipeChange(augmentation={"bands": 1.0, "blur": 1.0}),
    "curves": RecipeChange(augmentation={"gamma": 0.7, "brightness": 0.15, "contrast": 0.4}),
    "border": RecipeChange(augmentation={"border": 0.2}),
    "letters": RecipeChange(augmentation={"letters": 0.5}),
    "views": RecipeChange(recipe={"zooms": (1.0, 1.25, 1.5)}),
    "larger": RecipeChange(recipe={"side": 128}),
    "two_classes": RecipeChange(recipe={"classes": 2}),
    "label_smoothing": RecipeChange(training={"label_smoothing": 0.1}),
    "batch_norm_free": RecipeChange(recipe={"frozen_batch_norm": False}),
    "unsettled": RecipeChange(training={"cosine_decay": False, "ema_momentum": 0.0}),
}
