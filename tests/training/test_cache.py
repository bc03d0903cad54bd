"""Finished fits on disk: what the key of a fit follows, and that nothing is trained twice."""

import dataclasses
import gc
import importlib
import json
import platform
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from helpers import models, reading, training
from helpers.data import Augmentation, augmentation, transforms
from helpers.models import keras
from helpers.training import backend, cache
from helpers.utils import sha256
from tests import builders

IMAGES, TABLE = builders.squares()
FEATURES = IMAGES.reshape(len(IMAGES), -1) / 255
CONFIG = training.TrainingConfig(
    epochs=2, patience=2, batch_size=16, augmentation=Augmentation(rotation=10, flip=True)
)
NETWORK = builders.with_dropout


def fit(build=NETWORK, images=IMAGES, table=TABLE, config=CONFIG, seed=0, **options):
    return training.fit(build, images, table, config, seed=seed, **options)


def fit_estimator(estimator=None, table=TABLE, features=FEATURES, seed=0, **options):
    estimator = estimator or LogisticRegression(max_iter=20)
    return training.fit_estimator(estimator, features, table, seed=seed, **options)


fitting = importlib.import_module("helpers.training.fit")  # where the function hides the module
pytestmark = pytest.mark.filterwarnings("ignore:lbfgs failed to converge")


@pytest.fixture
def untrained(monkeypatch):
    """From here on, training is an error."""

    def refuse():
        def refused(*_, **__):
            raise AssertionError("trained again")

        monkeypatch.setattr(keras.Model, "fit", refused)
        monkeypatch.setattr(LogisticRegression, "fit", refused)

    return refuse


def same(first, second, inputs=IMAGES):
    return np.array_equal(first.predict(inputs), second.predict(inputs))


# Read and not trained again


def test_a_finished_fit_is_read_and_not_trained_again(tmp_path, untrained):
    first = fit(cache_dir=tmp_path)
    untrained()
    second = fit(cache_dir=tmp_path)
    assert same(first, second)
    assert (second.record, second.folder) == (first.record, first.folder)
    pd.testing.assert_frame_equal(second.history, first.history)
    with pytest.raises(AssertionError, match="trained again"):
        fit(cache_dir=tmp_path, seed=1)


def test_a_finished_estimator_is_read_and_not_fitted_again(tmp_path, untrained):
    first = fit_estimator(cache_dir=tmp_path)
    untrained()
    second = fit_estimator(cache_dir=tmp_path)
    assert same(first, second, FEATURES)
    assert (second.record, second.folder) == (first.record, first.folder)
    assert second.history.empty
    with pytest.raises(AssertionError, match="trained again"):
        fit_estimator(LogisticRegression(C=0.5), cache_dir=tmp_path)


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit_estimator().folder is None
    assert not any(tmp_path.iterdir())


def test_an_incomplete_fit_is_trained_again(tmp_path, untrained):
    first = fit_estimator(cache_dir=tmp_path)
    (first.folder / cache.RECORD).unlink()
    (first.folder / "estimator.joblib").write_bytes(b"half")
    second = fit_estimator(cache_dir=tmp_path)
    assert same(first, second, FEATURES)
    untrained()
    assert same(first, fit_estimator(cache_dir=tmp_path), FEATURES)


def test_the_record_is_written_last(tmp_path, monkeypatch):
    written, write = [], cache.write_atomically

    def record(path, writer):
        written.append(path.name)
        write(path, writer)

    monkeypatch.setattr(cache, "write_atomically", record)
    fit(cache_dir=tmp_path, config=dataclasses.replace(CONFIG, epochs=1))
    assert written[-1] == cache.RECORD and len(written) == 4


def test_what_is_written_is_read_and_replaces_what_was_there(tmp_path):
    model, folder = builders.network(0), tmp_path / "fit"
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25]})
    assert cache.read(folder, model) is None
    cache.write(folder, builders.network(2), {"seed": 2}, history[:1])
    cache.write(folder, model, {"seed": 3}, history)
    found, record, again = cache.read(folder, builders.network(1))
    np.testing.assert_array_equal(*(builders.answer(x, IMAGES[:2]) for x in (found, model)))
    assert record == {"seed": 3}
    pd.testing.assert_frame_equal(again, history)
    stamped = record | {"sha256": sha256(folder / cache.WEIGHTS)}
    assert json.loads((folder / cache.RECORD).read_text()) == stamped


@pytest.mark.parametrize("one", [fit, fit_estimator])
def test_what_a_fit_was_made_with_and_from_lies_beside_it(one, tmp_path):
    made = one(cache_dir=tmp_path)
    found = json.loads((made.folder / cache.PROVENANCE).read_text())
    assert found["libraries"]["numpy"] == np.__version__
    assert found["libraries"]["keras"] == keras.__version__
    assert found["python"] == platform.python_version()
    assert found["settings"]["data"] == cache.data_digest(TABLE, IMAGES if one is fit else FEATURES)
    assert found["settings"]["seed"] == 0
    assert len((made.folder / cache.PROVENANCE).read_bytes()) < 5000
    if one is fit:
        assert found["settings"]["config"]["batch_size"] == 16
        assert found["settings"]["config"]["augmentation"] == {"rotation": 10, "flip": True}


# The key


class Named(LogisticRegression):
    """An estimator whose description is longer than `repr` shows."""

    def __init__(self, names=()):
        super().__init__()
        self.names = names


class Stopped(Exception):
    """The key of a fit is known, and nothing is trained."""


@pytest.fixture
def key(monkeypatch):
    """The key of a fit, or of an estimator's, without training."""
    hashed = cache.settings_hash

    def stop(*arguments):
        raise Stopped(hashed(*arguments))

    def find(fit=fit, **changes):
        with monkeypatch.context() as patch, pytest.raises(Stopped) as caught:
            patch.setattr(cache, "settings_hash", stop)
            patch.setattr(gc, "collect", int)  # half a second that nothing here needs
            fit(**changes)
        return str(caught.value)

    return find


def other(column, value):
    table = TABLE.copy()
    table.loc[3, column] = value
    return table


def other_pixel():
    images = IMAGES.copy()
    images[5, 3, 3] ^= 1
    return images


def frozen():
    model = NETWORK()
    model.layers[-3].trainable = False
    return model


def other_start():
    model = NETWORK()
    model.layers[-1].bias.assign([0.5])
    return model


CONFIG_CHANGES = {
    "epochs": 3,
    "patience": 1,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "cosine_decay": True,
    "ema_momentum": 0.9,
    "warm_up": 1,
    "weight_decay": 1e-4,
    "mixup": 0.2,
    "label_smoothing": 0.1,
    "class_weights": True,
    "augmentation": None,
}


def test_the_key_changes_with_every_value_of_the_configuration(key):
    assert {field.name for field in dataclasses.fields(CONFIG)} == set(CONFIG_CHANGES)
    falling = dataclasses.replace(CONFIG, cosine_decay=True)  # a warm-up needs it
    changed = [
        dataclasses.replace(falling if name == "warm_up" else CONFIG, **{name: x})
        for name, x in CONFIG_CHANGES.items()
    ]
    changed.append(dataclasses.replace(CONFIG, augmentation=Augmentation()))
    keys = {key(config=config) for config in (CONFIG, *changed)}
    assert len(keys) == len(changed) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"weights": "imagenet"},
        {"base": models.Base("imagenet", 96, 5)},
        {"build": partial(NETWORK, 3)},
        {"build": partial(NETWORK, units=(9,))},
        {"build": frozen},
        {"build": other_start},
        {"images": other_pixel()},
        {"table": other("split", "val")},
        {"table": other("label", "virus")},
        {"table": other("digest", "x")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_key_changes_with_whatever_else_a_fit_depends_on(key, change):
    assert key(**change) != key()


@pytest.mark.parametrize("module", [fitting, reading, transforms, augmentation])
@pytest.mark.parametrize("one", [fit, fit_estimator])
def test_the_key_changes_with_the_version_of_the_code(key, monkeypatch, one, module):
    before = key(one)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert key(one) != before


def test_the_key_changes_with_the_versions_of_the_libraries(key, monkeypatch):
    before = key()
    monkeypatch.setattr(backend, "versions", lambda: ["4.0", "3.0", "2.0"])
    assert key() != before


@pytest.mark.parametrize(
    "thing", [{"threads": 1}, {"precision": "mixed_bfloat16"}, {"device": "x"}, {"backend": "jax"}]
)
def test_the_key_changes_with_the_arithmetic(key, monkeypatch, thing):
    before, facts = key(), backend.facts()
    monkeypatch.setattr(backend, "facts", lambda: facts | thing)
    assert key() != before


def test_the_key_does_not_change_with_anything_else(key, tmp_path):
    before = key()
    NETWORK(3)
    moved = TABLE.assign(path="elsewhere", width=7).set_axis(range(100, 100 + len(TABLE)))
    assert key(table=moved) == before
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert key(images=mapped, cache_dir=tmp_path) == before


def test_the_key_of_an_estimator_follows_its_options_and_data(key):
    key = partial(key, fit_estimator)
    long = [f"a name of many letters, number {number}" for number in range(25)]
    keys = [
        key(estimator=LogisticRegression()),
        key(estimator=LogisticRegression(C=0.5)),
        key(estimator=LogisticRegression(), seed=1),
        key(estimator=LogisticRegression(), classes=3),
        key(estimator=LogisticRegression(), base=models.Base("imagenet", 96, 5)),
        key(estimator=LogisticRegression(), table=other("split", "val")),
        key(estimator=LogisticRegression(), features=FEATURES * 2),
        *(key(estimator=Named([*long[:12], word, *long[12:]])) for word in ("one", "two")),
    ]
    assert len(set(keys)) == len(keys)
    assert key(estimator=LogisticRegression()) == keys[0]
    assert key(estimator=LogisticRegression()) != key(estimator=LogisticRegression(), classes=3)


def test_the_key_changes_with_soft_labels(key):
    build, labels = partial(NETWORK, 3), np.full((len(TABLE), 3), 1 / 3)
    others = np.roll(np.eye(3)[np.arange(len(TABLE)) % 3], 1, axis=1)
    keys = [key(build=build, soft_labels=x) for x in (None, labels, others)]
    assert len(set(keys)) == 3
    assert key(build=build, soft_labels=labels.copy()) == keys[1]


def test_digests_follow_values_and_their_order():
    some = np.arange(4)
    assert cache.digest(some, "a") == cache.digest(some.copy(), "a")
    different = {cache.digest(x) for x in (some, some[::-1], some.astype(float), "a", ["a"])}
    assert len(different) == 5


def test_only_what_is_chosen_counts():
    plain = training.TrainingConfig(epochs=2, patience=1, learning_rate=1e-3)
    assert cache.chosen(plain) == {"epochs": 2, "patience": 1}
    off = training.TrainingConfig(2, 1, warm_up=0, weight_decay=0.0, mixup=0.0)
    assert cache.chosen(off) == cache.chosen(plain)  # fits of before these options are found again
    turned = training.TrainingConfig(2, 1, augmentation=Augmentation(rotation=5, zoom=(1.0, 1.0)))
    assert cache.chosen(turned) == {"epochs": 2, "patience": 1, "augmentation": {"rotation": 5}}


@pytest.mark.parametrize("one", [fit, fit_estimator])
def test_of_an_older_fit_only_what_its_key_proves_is_written(one, tmp_path):
    path = one(cache_dir=tmp_path).folder / cache.PROVENANCE
    whole = json.loads(path.read_text())
    path.unlink()
    assert one(cache_dir=tmp_path).provenance == path
    found = json.loads(path.read_text())
    assert found["libraries"].keys() == {"keras", "scikit-learn", "tensorflow"}
    assert whole.keys() - found.keys() == {"python", "system"}
    assert found == {name: whole[name] for name in found} | {"libraries": found["libraries"]}
    kept = path.stat().st_mtime_ns
    one(cache_dir=tmp_path)
    assert path.stat().st_mtime_ns == kept


def test_the_order_of_a_description_does_not_change_the_key():
    description = {"model": "a", "config": {"epochs": 2, "patience": 1}}
    other = {"config": {"patience": 1, "epochs": 2}, "model": "a"}
    assert cache.settings_hash(description, 1) == cache.settings_hash(other, 1)


def test_what_is_no_json_is_written_down_as_its_text(tmp_path):
    cache.write_provenance(tmp_path, {"weights": tmp_path})
    found = json.loads((tmp_path / cache.PROVENANCE).read_text())
    assert found["settings"]["weights"] == str(tmp_path)
