"""How the final network is trained, and the changes of it that are tried."""

import dataclasses
import inspect

import numpy as np
import pytest

from helpers import models
from helpers.data import Augmentation
from helpers.models import Ensemble, InitialWeights
from helpers.selection import RECIPE_CHANGES, Recipe
from helpers.training import TrainingConfig
from helpers.utils import UserError

SIDE = 32
LIGHT = Recipe.light(side=SIDE, epochs=2)


def test_the_light_recipe_runs_all_its_epochs():
    light = Augmentation(rotation=5, shift=0.05, zoom=(0.95, 1.05))
    assert LIGHT.training == TrainingConfig(
        epochs=2,
        patience=2,
        batch_size=32,
        learning_rate=3e-4,
        cosine_decay=True,
        ema_momentum=0.99,
        augmentation=light,
    )
    assert Recipe(SIDE, LIGHT.training, "mobilenet", 3, True, (1.0,)) == LIGHT


@pytest.mark.parametrize("name", RECIPE_CHANGES)
def test_each_change_alters_what_it_names_and_nothing_else(name):
    change, changed = RECIPE_CHANGES[name], LIGHT.with_changes([name])
    assert changed != LIGHT
    for values, before, after in (
        (change.recipe, LIGHT, changed),
        (change.training, LIGHT.training, changed.training),
        (change.augmentation, LIGHT.training.augmentation, changed.training.augmentation),
    ):
        for field in dataclasses.fields(before):
            if field.name not in ("training", "augmentation"):
                expected = values.get(field.name, getattr(before, field.name))
                assert getattr(after, field.name) == expected


def test_changes_are_put_on_top_of_each_other():
    both = LIGHT.with_changes(["zoom", "unsettled", "views"])
    assert not both.training.cosine_decay and both.training.ema_momentum == 0
    assert both.training.augmentation.zoom == (1.0, 2.0)
    assert both.training.augmentation.rotation == LIGHT.training.augmentation.rotation
    assert both.zooms == (1.0, 1.25, 1.5)
    assert LIGHT.with_changes([]) == LIGHT
    assert LIGHT.with_changes(["zoom", "zoom_both_ways"]).training.augmentation.zoom == (0.8, 2.0)


def test_an_unknown_change_is_named():
    with pytest.raises(UserError, match=r"no recipe change zom\. There are zoom, "):
        LIGHT.with_changes(["zom"])


def test_a_change_is_shown_as_its_values():
    assert str(RECIPE_CHANGES["unsettled"]) == "cosine_decay False, ema_momentum 0.0"
    assert str(RECIPE_CHANGES["views"]) == "zooms (1.0, 1.25, 1.5)"


@pytest.fixture
def tiny(monkeypatch):
    """In place of a backbone: a tiny network; what is asked of it."""
    asked, signature = [], inspect.signature(models.classifier)

    def classifier(*given, **options):
        asked.append(signature.bind(*given, **options).arguments)
        return models.cnn(asked[-1]["side"], (4,), classes=asked[-1]["classes"])

    monkeypatch.setattr(models, "classifier", classifier)
    return asked


def test_a_fit_follows_the_recipe(tiny, images, table, tmp_path):
    recipe = LIGHT.with_changes(["batch_norm_free", "two_classes"])
    fit = recipe.fit(images, table, 5, InitialWeights("a file", "imagenet"), tmp_path)
    expected = {"backbone": "mobilenet", "side": SIDE, "classes": 2, "weights": "a file"}
    assert tiny == [expected | {"frozen_batch_norm": False}]
    facts = ("seed", "classes", "weights", "image_size", "epochs_run", "stop_reason")
    found = [fit.record[name] for name in facts]
    assert found == [5, 2, "imagenet", SIDE, 2, "all epochs run"]


def test_a_fit_with_zooms_averages_what_it_says_to_each(tiny, images, table, tmp_path):
    given = images, table, 0, InitialWeights(), tmp_path
    fit = LIGHT.fit(*given)
    expected = fit.predict(images)
    np.testing.assert_allclose(LIGHT.fit_with_zooms(*given).predict(images), expected, atol=1e-6)
    zoomed = LIGHT.with_changes(["views"]).fit_with_zooms(*given)
    expected = Ensemble((fit.model,), (1.0, 1.25, 1.5)).to_model().predict(images, verbose=0)
    np.testing.assert_allclose(zoomed.predict(images), expected, atol=1e-6)
    assert zoomed.record["settings_hash"] != fit.record["settings_hash"]
