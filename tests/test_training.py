"""Training repeats bit for bit, is never done twice, stops early, and keeps the best epoch."""

import json
import os
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import THREADS
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import models, training
from helpers.augmentation import Augmentation
from helpers.settings import LABELS, PROJECT, UserError

SIDE = 16
OPTIONS = {"seed": 0, "epochs": 2, "patience": 2, "batch_size": 16}
AUGMENT = Augmentation(rotation=10, shift=0.1, zoom=(0.9, 1.2), flip=True, blur=1)


def net(classes=2, units=(8,)):
    """A dense layer with dropout, so that training draws random numbers."""
    inputs = keras.Input((SIDE, SIDE, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    for count in units:
        x = keras.layers.Dense(count, activation="relu")(x)
    return keras.Model(inputs, models.head(keras.layers.Dropout(0.2)(x), classes))


def examples(count=96, seed=0):
    """Images (count, 16, 16, 1) whose label can be told from a bright square, and their table."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 120, (count, SIDE, SIDE, 1), dtype=np.uint8)
    number = np.arange(count) % 3
    images[number == 1, :6, :6] += 110
    images[number == 2, -6:, -6:] += 110
    table = pd.DataFrame({"label": np.array(LABELS)[number]})
    table["digest"] = [f"{seed}-{row}" for row in range(count)]
    table["split"] = np.where(np.arange(count) % 8 == 6, "val", "train")
    table.loc[count * 3 // 4 :, "split"] = "test"
    return images, table


IMAGES, TABLE = examples()


def fit(build=net, images=IMAGES, table=TABLE, **options):
    return training.fit(build, images, table, **(OPTIONS | options))


@pytest.fixture(autouse=True)
def prepared():
    """Each test starts, and leaves, with the same seed and precision."""
    training.prepare(seed=0, threads=THREADS)
    yield
    training.prepare(seed=0, threads=THREADS)


@pytest.fixture
def untrained(monkeypatch):
    """From here on, training is an error."""

    def refuse():
        def refused(*_, **__):
            raise AssertionError("trained again")

        monkeypatch.setattr(keras.Model, "fit", refused)
        monkeypatch.setattr(LogisticRegression, "fit", refused)

    return refuse


def same(first, second):
    return np.array_equal(first.predict(IMAGES), second.predict(IMAGES))


# The same again


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_the_same_fit_gives_the_same_bits(augment):
    first = fit(augment=augment)
    np.random.default_rng().random()
    net(3)(IMAGES[:2].astype("float32"))  # built and used before: draws names and random numbers
    second = fit(augment=augment)
    assert same(first, second)
    pd.testing.assert_frame_equal(
        first.history.drop(columns="seconds"), second.history.drop(columns="seconds")
    )
    assert first.row["settings_hash"] == second.row["settings_hash"]
    assert not same(first, fit(augment=augment, seed=1))


SCRIPT = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from helpers import training
import test_training as t
training.prepare(seed=0, threads=2, precision=sys.argv[2])
fitted = t.fit(augment=t.AUGMENT, epochs=4)
np.save(sys.argv[1], fitted.predict(t.IMAGES))
print(fitted.row["backend"], fitted.row["precision"], fitted.row["settings_hash"])
print(fitted.history.loss.iloc[0] > fitted.history.loss.iloc[-1])
"""


def elsewhere(path, precision="float32", **environment):
    """Train in a fresh process; its predictions and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), precision],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(path), done.stdout.split()


def test_a_fresh_process_gives_the_same_bits(tmp_path):
    here = fit(augment=AUGMENT, epochs=4)
    probabilities, printed = elsewhere(tmp_path / "fresh.npy", PYTHONHASHSEED="1")
    np.testing.assert_array_equal(probabilities, here.predict(IMAGES))
    assert printed == ["tensorflow", "float32", here.row["settings_hash"], "True"]


def test_it_trains_on_jax_too(tmp_path):
    pytest.importorskip("jax")
    probabilities, printed = elsewhere(tmp_path / "jax.npy", KERAS_BACKEND="jax")
    assert printed[0] == "jax" and printed[3] == "True"
    assert probabilities.shape == (len(TABLE),)
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_sixteen_bits_are_used_where_they_are_asked_for():
    whole = fit()
    training.prepare(seed=0, threads=THREADS, precision="mixed_bfloat16")
    half = fit()
    assert half.row["precision"] == "mixed_bfloat16"
    layers = {layer.name: layer.compute_dtype for layer in half.model.layers}
    assert layers.pop("probability") == "float32"
    assert layers.popitem()[1] == "bfloat16"
    assert half.predict(IMAGES).dtype == np.float32
    assert not same(half, whole)
    np.testing.assert_allclose(half.predict(IMAGES), whole.predict(IMAGES), atol=0.1)
    assert half.row["settings_hash"] != whole.row["settings_hash"]


def test_threads_cannot_change_afterwards():
    with pytest.raises(UserError, match="restart the kernel"):
        training.prepare(seed=0, threads=THREADS + 1)


@pytest.mark.parametrize(
    ("device", "flags", "precision"),
    [
        ("NVIDIA H200", "", "mixed_float16"),
        ("Xeon (2 cores)", "fpu amx_bf16 sse", "mixed_bfloat16"),
        ("Xeon (2 cores)", "fpu sse", "float32"),
    ],
)
def test_auto_takes_what_the_device_is_fast_at(monkeypatch, device, flags, precision):
    monkeypatch.setattr(training, "device", lambda: device)
    monkeypatch.setattr(training, "_cpu_field", lambda name: flags)
    training.prepare(seed=0, threads=THREADS, precision="auto")
    assert keras.config.dtype_policy().name == precision
    monkeypatch.undo()
    assert fit(epochs=1).row["precision"] == precision


# The cache


def test_a_finished_fit_is_read_and_not_trained_again(tmp_path, untrained):
    first = fit(cache=tmp_path, augment=AUGMENT)
    untrained()
    second = fit(cache=tmp_path, augment=AUGMENT)
    assert same(first, second)
    assert (second.row, second.folder) == (first.row, first.folder)
    pd.testing.assert_frame_equal(second.history, first.history)
    with pytest.raises(AssertionError, match="trained again"):
        fit(cache=tmp_path, augment=AUGMENT, seed=1)


def test_a_half_written_fit_is_not_taken(tmp_path, untrained):
    first = fit(cache=tmp_path)
    (first.folder / "row.json").unlink()
    (first.folder / "model.weights.h5").write_bytes(b"half")
    second = fit(cache=tmp_path)
    assert same(first, second)
    untrained()
    assert same(first, fit(cache=tmp_path))


def test_row_json_is_written_last(tmp_path, monkeypatch):
    written, write = [], training.write_atomically

    def record(path, writer):
        written.append(path.name)
        write(path, writer)

    monkeypatch.setattr(training, "write_atomically", record)
    fit(epochs=1, cache=tmp_path)
    assert written[-1] == "row.json" and len(written) == 3


def settings_hash(monkeypatch, **changes):
    """The hash of a fit, without training."""

    class Stopped(Exception):
        pass

    def stop(description, *_):
        raise Stopped(row(description, *_)["settings_hash"])

    row = training._row
    with monkeypatch.context() as patch, pytest.raises(Stopped) as caught:
        patch.setattr(training, "_row", stop)
        fit(**changes)
    return str(caught.value)


def other(column, value):
    table = TABLE.copy()
    table.loc[3, column] = value
    return table


def other_pixel():
    images = IMAGES.copy()
    images[5, 3, 3] ^= 1
    return images


def frozen():
    model = net()
    model.layers[-3].trainable = False
    return model


def other_start():
    model = net()
    model.layers[-1].bias.assign([0.5])
    return model


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 3},
        {"patience": 1},
        {"batch_size": 8},
        {"learning_rate": 2e-3},
        {"augment": AUGMENT},
        {"augment": Augmentation()},
        {"class_weight": True},
        {"weights": "imagenet"},
        {"build": partial(net, 3)},
        {"build": partial(net, units=(9,))},
        {"build": frozen},
        {"build": other_start},
        {"images": other_pixel()},
        {"table": other("split", "val")},
        {"table": other("label", "virus")},
        {"table": other("digest", "x")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_changes_with_whatever_a_fit_depends_on(monkeypatch, change):
    assert settings_hash(monkeypatch, **change) != settings_hash(monkeypatch)


@pytest.mark.parametrize("thing", ["threads", "precision"])
def test_the_hash_changes_with_the_arithmetic(monkeypatch, thing):
    before = settings_hash(monkeypatch)
    value = {"threads": 1, "precision": "mixed_bfloat16"}[thing]
    monkeypatch.setitem(training._prepared, thing, value)
    assert settings_hash(monkeypatch) != before


def test_the_hash_changes_with_the_code(monkeypatch):
    before = settings_hash(monkeypatch)
    monkeypatch.setattr(training, "_code", lambda: "other")
    assert settings_hash(monkeypatch) != before


def test_the_hash_does_not_change_with_anything_else(monkeypatch, tmp_path):
    before = settings_hash(monkeypatch)
    net(3)
    moved = TABLE.assign(path="elsewhere", width=7).set_axis(range(100, 100 + len(TABLE)))
    assert settings_hash(monkeypatch, table=moved) == before
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert settings_hash(monkeypatch, images=mapped, cache=tmp_path) == before


# What is learnt, and when it stops


@pytest.fixture(scope="module")
def overfitted():
    """Labels of noise: the validation loss is best early, the training loss late."""
    images, table = examples(seed=3)
    table["label"] = np.random.default_rng(0).permutation(table.label)
    training.prepare(seed=0, threads=THREADS)
    build = partial(net, units=(32,))
    return fit(build, images, table, epochs=40, patience=3, learning_rate=0.01), images, table


def loss(fitted, images, table, split):
    chosen = (table.split == split).to_numpy()
    p, sick = fitted.predict(images)[chosen], (table.label != "normal")[chosen]
    return -np.log(np.where(sick, p, 1 - p)).mean()


def test_it_stops_early_and_keeps_the_best_epoch(overfitted):
    fitted, images, table = overfitted
    history = fitted.history
    assert list(history.epoch) == list(range(1, len(history) + 1))
    assert (history.seconds >= 0).all()
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)
    assert fitted.row["stop_reason"] == "early stopping"
    assert fitted.row["epochs_run"] == len(history) == history.val_loss.argmin() + 1 + 3 < 40
    assert loss(fitted, images, table, "val") == pytest.approx(history.val_loss.min(), rel=1e-4)
    assert history.val_loss.iloc[-1] > history.val_loss.min() * 1.01


def test_without_early_stopping_the_best_epoch_is_kept_too():
    images, table = examples(seed=3)
    table["label"] = np.random.default_rng(0).permutation(table.label)
    fitted = fit(
        partial(net, units=(32,)), images, table, epochs=12, patience=12, learning_rate=0.01
    )
    assert fitted.row["stop_reason"] == "all epochs run"
    assert fitted.row["epochs_run"] == 12
    assert fitted.history.val_loss.iloc[-1] > fitted.history.val_loss.min() * 1.01
    best = fitted.history.val_loss.min()
    assert loss(fitted, images, table, "val") == pytest.approx(best, rel=1e-4)


def test_averaged_weights_are_validated_and_kept():
    fitted = fit(epochs=4, patience=4, averaging=0.9)
    best = fitted.history.val_loss.min()
    assert loss(fitted, IMAGES, TABLE, "val") == pytest.approx(best, rel=1e-4)
    plain = fit(epochs=4, patience=4)
    assert plain.history.loss.equals(fitted.history.loss)  # it trains as ever
    assert not plain.history.val_loss.equals(fitted.history.val_loss)


def test_a_decayed_learning_rate_ends_at_nothing():
    fitted = fit(epochs=3, patience=3, decay=True)
    assert float(fitted.model.optimizer.learning_rate) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_smoothed_labels_keep_the_net_unsure(classes):
    build = partial(net, classes=classes)
    options = {"epochs": 30, "patience": 30, "learning_rate": 0.01}
    sure, unsure = (
        fit(build, label_smoothing=share, **options).predict(IMAGES) for share in (0.0, 0.4)
    )
    assert np.max(unsure) < np.max(sure)


def test_the_row_has_the_facts_of_the_training():
    fitted = fit(weights="imagenet")
    assert set(fitted.row) == {
        *["seed", "classes", "weights", "image_size", "parameters", "device", "backend"],
        *["precision", "threads", "settings_hash", "epochs_run", "stop_reason", "train_seconds"],
    }
    known = {name: fitted.row[name] for name in ("seed", "classes", "weights", "image_size")}
    assert known == {"seed": 0, "classes": 2, "weights": "imagenet", "image_size": SIDE}
    assert fitted.row["parameters"] == (SIDE * SIDE + 1) * 8 + 9
    assert fitted.row["threads"] == THREADS
    assert len(fitted.row["settings_hash"]) == 16
    json.dumps(fitted.row)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_what_can_be_learnt(classes):
    fitted = fit(partial(net, classes), epochs=25, patience=25, learning_rate=0.01)
    test = (TABLE.split == "test").to_numpy()
    probabilities = fitted.predict(IMAGES)[test]
    if classes == 2:
        assert probabilities.shape == (test.sum(),)
        right = (probabilities > 0.5) == (TABLE.label != "normal")[test]
    else:
        assert probabilities.shape == (test.sum(), 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        right = np.array(LABELS)[probabilities.argmax(axis=1)] == TABLE.label[test]
    assert right.mean() > 0.9
    assert fitted.row["classes"] == classes


def test_test_images_have_no_part_in_training():
    images = IMAGES.copy()
    images[(TABLE.split == "test").to_numpy()] = 0
    assert same(fit(), fit(images=images))


def test_class_weight_makes_the_rare_class_count():
    images, table = examples(240, seed=5)
    keep = (np.arange(240) % 3 > 0) | (np.arange(240) % 24 == 0)  # few normals
    images, table = images[keep] // 2 + 60, table[keep].reset_index(drop=True)
    plain, weighted = (fit(images=images, table=table, class_weight=w) for w in (False, True))
    assert weighted.predict(images).mean() < plain.predict(images).mean() - 0.1


def test_balanced_weights_give_each_class_the_same_sum():
    weights = training._balanced(np.array([0, 1, 1, 1, 2, 2]))
    assert weights == {0: 2, 1: pytest.approx(2 / 3), 2: 1}


# Batches


def test_batches_show_each_image_once_an_epoch_in_a_new_order():
    images, targets = IMAGES[:10], np.arange(10)
    batches = training.Batches(images, targets, 4, seed=0)
    epochs = []
    for _ in range(3):
        drawn = [batches[number] for number in range(len(batches))]
        epochs.append(np.concatenate([y for _, y in drawn]))
        np.testing.assert_array_equal(np.concatenate([x for x, _ in drawn]), images[epochs[-1]])
        batches.on_epoch_begin()
    assert [len(y) for _, y in drawn] == [4, 4, 2]
    assert all(sorted(order) == list(range(10)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 3


def test_batches_without_seed_keep_the_order():
    batches = training.Batches(IMAGES[:10], np.arange(10), 4)
    batches.on_epoch_begin()
    assert np.concatenate([batches[number][1] for number in range(3)]).tolist() == list(range(10))


def test_augmentation_is_drawn_anew_each_epoch():
    batches = training.Batches(IMAGES[:1], np.zeros(1), 1, AUGMENT, seed=0)
    first, again = batches[0][0], batches[0][0]
    batches.on_epoch_begin()
    np.testing.assert_array_equal(first, again)
    assert (batches[0][0] != first).any() and (first != IMAGES[:1]).any()


# Estimators


FEATURES = IMAGES.reshape(len(IMAGES), -1) / 255


def fit_estimator(estimator, table=TABLE, features=FEATURES, seed=0, **options):
    return training.fit_estimator(estimator, features, table, seed=seed, image_size=SIDE, **options)


@pytest.mark.parametrize("classes", [2, 3])
def test_an_estimator_is_fitted_on_the_training_rows(classes, tmp_path, untrained):
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    fitted = fit_estimator(estimator, classes=classes, cache=tmp_path)
    train = (TABLE.split == "train").to_numpy()
    targets = (TABLE.label != "normal") if classes == 2 else TABLE.label.map(LABELS.index)
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    expected = expected.fit(FEATURES[train], targets[train]).predict_proba(FEATURES)
    expected = expected[:, 1] if classes == 2 else expected
    np.testing.assert_allclose(fitted.predict(FEATURES), expected)
    outputs = 1 if classes == 2 else 3
    assert fitted.row["parameters"] == outputs * (SIDE * SIDE + 1)
    assert fitted.row["stop_reason"] == "converged"
    assert 0 < fitted.row["epochs_run"] < 500
    assert fitted.history.empty
    untrained()
    again = fit_estimator(estimator, classes=classes, cache=tmp_path)
    np.testing.assert_array_equal(again.predict(FEATURES), fitted.predict(FEATURES))
    assert again.row == fitted.row


def test_one_estimator_object_serves_many_fits():
    estimator = LogisticRegression(max_iter=500)
    first = fit_estimator(estimator)
    before = first.predict(FEATURES)
    fit_estimator(estimator, table=other("split", "val"))
    np.testing.assert_array_equal(first.predict(FEATURES), before)


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_an_estimator_that_used_all_iterations_says_so():
    fitted = fit_estimator(SGDClassifier("log_loss", max_iter=2, tol=None, random_state=0))
    assert (fitted.row["stop_reason"], fitted.row["epochs_run"]) == ("all iterations run", 2)


def test_the_hash_of_an_estimator_follows_its_options_and_data():
    def hashed(estimator, **options):
        return fit_estimator(estimator, **options).row["settings_hash"]

    long = [f"a name of many letters, number {number}" for number in range(25)]
    hashes = [
        hashed(LogisticRegression()),
        hashed(LogisticRegression(C=0.5)),
        hashed(LogisticRegression(), seed=1),
        hashed(LogisticRegression(), table=other("split", "val")),
        hashed(LogisticRegression(), features=FEATURES * 2),
        *(hashed(Named([*long[:12], word, *long[12:]])) for word in ("one", "two")),
    ]
    assert len(set(hashes)) == len(hashes)
    assert hashed(LogisticRegression()) == hashes[0]


class Named(LogisticRegression):
    """An estimator whose description is longer than `repr` shows."""

    def __init__(self, names=()):
        super().__init__()
        self.names = names
