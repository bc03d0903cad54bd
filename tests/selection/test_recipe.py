"""How the final network is trained, and the changes of it that are tried."""

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest

from helpers import data, lungs, models, selection, training
from helpers.data import Augmentation
from helpers.models import InitialWeights
from helpers.selection import RECIPE_CHANGES, Recipe
from helpers.training import TrainingConfig
from helpers.utils import UserError
from tests import builders

SIDE = 32
LIGHT = Recipe.light(side=SIDE, epochs=2)


# The recipe and its changes


def test_the_light_recipe_runs_all_its_epochs_on_standardised_lung_crops():
    light = Augmentation(
        rotation=10, shift=0.05, zoom=(0.9, 1.25), flip=True, brightness=0.1, contrast=0.25
    )
    assert LIGHT.training == TrainingConfig(
        epochs=2,
        patience=2,
        batch_size=32,
        learning_rate=3e-4,
        cosine_decay=True,
        warm_up=1,
        weight_decay=1e-4,
        augmentation=light,
    )
    expected = Recipe(
        side=SIDE,
        training=LIGHT.training,
        backbone="mobilenet",
        margin=0.03,
        standardised=True,
        classes=3,
        dropout=0.3,
        frozen_batch_norm=True,
        cleaned=False,
    )
    assert expected == LIGHT
    assert Recipe.light(SIDE, 2, "densenet_121").backbone == "densenet_121"


def test_one_epoch_alone_is_not_spent_on_a_warm_up():
    assert [Recipe.light(SIDE, epochs).training.warm_up for epochs in (1, 2, 9)] == [0, 1, 1]


@pytest.mark.parametrize("name", RECIPE_CHANGES)
def test_each_change_alters_what_it_names_and_nothing_else(name):
    change, changed = RECIPE_CHANGES[name], LIGHT.with_changes([name])
    assert changed != LIGHT
    for values, before, after in (
        (change.recipe, LIGHT, changed),
        (change.training, LIGHT.training, changed.training),
        (change.augmentation, LIGHT.training.augmentation, changed.training.augmentation),
    ):
        for value_name, value in values.items():
            assert getattr(before, value_name) != value  # each is a change
        for field in dataclasses.fields(before):
            if field.name not in ("training", "augmentation"):
                expected = values.get(field.name, getattr(before, field.name))
                assert getattr(after, field.name) == expected


def test_changes_are_put_on_top_of_each_other():
    both = LIGHT.with_changes(["strong_zoom", "high_dropout", "sharpness"])
    assert (both.dropout, both.training.weight_decay) == (0.5, 1e-3)
    augmentation = both.training.augmentation
    assert (augmentation.zoom, augmentation.shift) == ((0.8, 1.6), 0.1)
    assert (augmentation.bands, augmentation.blur) == (1.0, 1.0)
    assert augmentation.rotation == LIGHT.training.augmentation.rotation
    assert LIGHT.with_changes([]) == LIGHT
    zooms = [
        LIGHT.with_changes(names).training.augmentation.zoom
        for names in (["strong_zoom", "whole_picture"], ["whole_picture", "strong_zoom"])
    ]
    assert zooms == [(1.0, 2.0), (0.8, 1.6)]  # the last one counts


def test_an_unknown_change_is_named():
    with pytest.raises(UserError, match=r"no recipe change zom\. There are whole_picture, "):
        LIGHT.with_changes(["mixup", "zom"])


def test_a_change_is_shown_as_its_values():
    assert str(RECIPE_CHANGES["high_dropout"]) == "dropout 0.5, weight_decay 0.001"
    assert str(RECIPE_CHANGES["whole_picture"]) == "margin None, zoom (1.0, 2.0)"


# What the network is shown


@pytest.fixture
def located(index, monkeypatch):
    """Some radiographs of the index, whole, and boxes that stand for those of a localiser."""
    table = index.iloc[::30]
    edges = np.random.default_rng(0).uniform(0.05, 0.25, (len(table), 4))
    boxes = np.abs([0, 0, 1, 1] - edges).astype(np.float32)
    load_boxes = inspect.getmodule(lungs.load_crops)
    monkeypatch.setattr(load_boxes, "load_boxes", lambda given, model: boxes)
    monkeypatch.setattr(load_boxes.cache, "digest", lambda *parts: "boxes")
    return table, data.load(table, lungs.LOOKED_AT), boxes


@pytest.mark.parametrize(
    "changes", [[], ["no_margin"], ["wide_margin"], ["not_standardised"]], ids=str
)
def test_it_loads_the_lung_crops_that_it_shows(located, changes):
    table, pictures, boxes = located
    recipe = LIGHT.with_changes(changes)
    loaded = recipe.load(table, "a localiser")
    assert loaded.shape == (len(table), SIDE, SIDE, 1) and loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, recipe.show(pictures, boxes))
    margin = {"no_margin": 0.0, "wide_margin": 0.08}.get("".join(changes), 0.03)
    standardised = changes != ["not_standardised"]
    expected = lungs.crop(pictures, boxes, SIDE, margin, standardised)
    np.testing.assert_array_equal(loaded, expected)


def test_whole_pictures_are_shown_as_they_are_loaded_whatever_the_boxes(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        builders.picture(seed, lungs.LOOKED_AT, lungs.LOOKED_AT).save(path)
    table = pd.DataFrame({"path": paths, "digest": [str(path) for path in paths]})
    recipe = LIGHT.with_changes(["whole_picture"])
    loaded = recipe.load(table, None)
    np.testing.assert_array_equal(loaded, data.load(table, SIDE))
    pictures, boxes = data.load(table, lungs.LOOKED_AT), np.tile([0.3, 0.3, 0.6, 0.6], (3, 1))
    shown = recipe.show(pictures, boxes)
    assert np.abs(shown.astype(int) - loaded).max() <= 1  # two ways to resize
    np.testing.assert_array_equal(recipe.show(pictures, boxes / 2), shown)


# Training


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
    recipe = LIGHT.with_changes(["batch_norm_free", "high_dropout"])
    recipe = dataclasses.replace(recipe, classes=2)
    fit = recipe.fit(images, table, 5, InitialWeights("a file", "imagenet"), tmp_path)
    expected = {"backbone": "mobilenet", "side": SIDE, "classes": 2, "weights": "a file"}
    assert tiny == [expected | {"frozen_batch_norm": False, "dropout": 0.5}]
    facts = ("seed", "classes", "weights", "image_size", "epochs_run", "stop_reason")
    found = [fit.record[name] for name in facts]
    assert found == [5, 2, "imagenet", SIDE, 2, "all epochs run"]
    assert fit.folder.parent == tmp_path


@pytest.mark.slow
def test_the_whole_network_of_the_final_model_is_trained(images, table):
    """The smoke run trains its first blocks alone."""
    before = {weight.path: weight.numpy() for weight in initial(LIGHT).weights}
    fit = Recipe.light(SIDE, 1).fit(images, table, 0, InitialWeights(), None)
    after = {weight.path: weight.numpy() for weight in fit.model.weights}
    same = {path for path in before if np.array_equal(before[path], after[path])}
    assert same == {path for path in before if "_bn/" in path}
    assert len(before) - len(same) == 29  # 27 convolutions, and weights and biases of the head
    probabilities = fit.predict(images)
    assert probabilities.shape == (len(images), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def initial(recipe):
    """The network before its training with seed 0."""
    training.backend.start_fit(0)
    return models.classifier(recipe.backbone, recipe.side, recipe.classes, dropout=recipe.dropout)


@pytest.fixture
def asked(monkeypatch):
    """What `training.fit` is asked for, instead of a fit."""
    found = []

    def fit(build, inputs, table, config, **options):
        found.append({"inputs": inputs, "table": table, "config": config} | options)
        return len(found)

    monkeypatch.setattr(training, "fit", fit)
    return found


def test_a_fit_takes_the_images_that_the_index_labels_name(asked, images, table):
    chosen, soft = table.iloc[[7, 2, 9]], np.full((3, 3), 1 / 3)
    LIGHT.fit(images, chosen, 0, InitialWeights(), None, soft_labels=soft)
    (call,) = asked
    np.testing.assert_array_equal(call["inputs"], images[[7, 2, 9]])
    assert call["table"] is chosen and call["config"] is LIGHT.training
    assert call["soft_labels"] is soft and call["seed"] == 0


@pytest.fixture
def serial(monkeypatch):
    """Fits of folds are trained one after the other, on images that name their row and margin."""

    def load(recipe, index, localiser):
        assert localiser == "a localiser"
        return np.arange(len(index)) + 1000 * (recipe.margin or 0)

    monkeypatch.setattr(Recipe, "load", load)
    monkeypatch.setattr(training.backend, "room", lambda: 1)


@pytest.mark.parametrize("protocol", ["out_of_fold", "cross_validated"])
def test_each_recipe_is_fitted_on_each_fold_with_each_seed(asked, serial, index, protocol):
    recipes = {"light": LIGHT, "wide": LIGHT.with_changes(["wide_margin", "mixup"])}
    given = index, "a localiser", protocol, [0, 4], InitialWeights(None, "imagenet"), None
    fits = selection.fit_folds(recipes, *given, folds=3)
    keys = [(0, 0), (0, 1), (0, 2), (4, 0), (4, 1), (4, 2)]
    assert {name: list(found) for name, found in fits.items()} == {"light": keys, "wide": keys}
    assert sorted(fit for found in fits.values() for fit in found.values()) == list(range(1, 13))
    for name, recipe in recipes.items():
        for (seed, fold), number in fits[name].items():
            call = asked[number - 1]  # the fits are the numbers of what was asked for
            expected = data.split(index, protocol, seed, fold)
            assert call["table"].equals(expected) and call["config"] is recipe.training
            np.testing.assert_array_equal(call["inputs"], expected.index + 1000 * recipe.margin)
            assert (call["seed"], call["weights"], call["soft_labels"]) == (seed, "imagenet", None)


def test_all_five_folds_are_fitted_unless_fewer_are_wanted(asked, serial, index):
    given = index, "a localiser", "out_of_fold", [2], InitialWeights(), None
    fits = selection.fit_folds({"light": LIGHT}, *given)
    assert list(fits["light"]) == [(2, fold) for fold in range(5)]


def test_a_cleaned_recipe_leaves_files_in_doubt_out_of_training_only(asked, serial, index):
    in_doubt = set(index.file[::4])
    recipes = {"light": LIGHT, "cleaned": LIGHT.with_changes(["cleaned"])}
    given = index, "a localiser", "out_of_fold", [0], InitialWeights(), None, 2, in_doubt
    fits = selection.fit_folds(recipes, *given)
    for key, number in fits["light"].items():
        before, call = asked[number - 1]["table"], asked[fits["cleaned"][key] - 1]
        assert before.equals(data.split(index, "out_of_fold", *key))
        train, doubted = before.split == "train", before.file.isin(in_doubt)
        assert (train & doubted).any() and (~train & doubted).any()
        assert call["table"].equals(before[~(train & doubted)])
        np.testing.assert_allclose(call["inputs"], call["table"].index + 1000 * LIGHT.margin)
