"""Training repeats bit for bit, stops early, keeps the best epoch, learns what can be learnt."""

import json
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import evaluation, models, training
from helpers.data import LABELS, PNEUMONIA, Augmentation
from helpers.models import keras
from helpers.training.batches import AHEAD, Batches
from helpers.training.fit import EpochLog
from helpers.utils import UserError
from tests import builders

SIDE = 16
AUGMENTATION = Augmentation(rotation=10, shift=0.1, zoom=(0.9, 1.2), flip=True, blur=1)
NETWORK = builders.with_dropout
IMAGES, TABLE = builders.squares()


def fit(build=NETWORK, images=IMAGES, table=TABLE, *, epochs=2, patience=None, **options):
    """A quick fit; some of the options are those of `training.fit`, the rest the configuration."""
    names = ("weights", "base", "cache_dir", "soft_labels")
    own = {name: options.pop(name) for name in names if name in options}
    seed, options = options.pop("seed", 0), {"batch_size": 16} | options
    config = training.TrainingConfig(epochs, patience or epochs, **options)
    return training.fit(build, images, table, config, seed=seed, **own)


def same(first, second):
    return np.array_equal(first.predict(IMAGES), second.predict(IMAGES))


# The same again


def test_the_same_fit_gives_the_same_bits():
    first = fit(augmentation=AUGMENTATION)
    np.random.default_rng().random()
    NETWORK(3)(IMAGES[:2].astype("float32"))  # built and used before: draws names and numbers
    second = fit(augmentation=AUGMENTATION)
    assert same(first, second)
    pd.testing.assert_frame_equal(
        first.history.drop(columns="seconds"), second.history.drop(columns="seconds")
    )
    assert first.record["settings_hash"] == second.record["settings_hash"]
    assert not same(first, fit(augmentation=AUGMENTATION, seed=1))


@pytest.fixture(scope="module")
def plain():
    """A quick fit of two classes, for whatever can be said of any."""
    return fit(weights="imagenet")


def test_a_training_step_is_traced_once_and_its_learning_rate_in_it_too(monkeypatch):
    """Either takes seconds for a large network."""
    traced, schedule = [], keras.optimizers.schedules.CosineDecay

    def note(owner, name):
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given: traced.append(name) or function(*given))

    note(keras.Model, "train_step")
    note(schedule, "__call__")
    fit(epochs=1, cosine_decay=True, weight_decay=0.1)
    assert sorted(traced) == ["__call__", "train_step"]


def test_test_images_have_no_part_in_training(plain):
    images = IMAGES.copy()
    images[(TABLE.split == "test").to_numpy()] = 0
    other = fit(images=images)
    assert same(plain, other)
    assert plain.history.val_loss.equals(other.history.val_loss)


# What is learnt, and when it stops


def noisy_labels():
    """The validation loss is best early, the training loss late."""
    images, table = builders.squares(seed=3)
    table["label"] = np.random.default_rng(0).permutation(table.label)
    return images, table


@pytest.fixture(scope="module")
def overfitted():
    images, table = noisy_labels()
    build = partial(NETWORK, units=(32,))
    fitted = fit(build, images, table, epochs=40, patience=3, learning_rate=0.01)
    return fitted, images, table


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
    assert fitted.record["stop_reason"] == "early stopping"
    assert fitted.record["epochs_run"] == len(history) == history.val_loss.argmin() + 1 + 3 < 40
    assert loss(fitted, images, table, "val") == pytest.approx(history.val_loss.min(), rel=1e-4)
    assert history.val_loss.iloc[-1] > history.val_loss.min() * 1.01


def test_without_early_stopping_the_best_epoch_is_kept_too():
    images, table = noisy_labels()
    fitted = fit(partial(NETWORK, units=(32,)), images, table, epochs=12, learning_rate=0.01)
    assert fitted.record["stop_reason"] == "all epochs run"
    assert fitted.record["epochs_run"] == 12
    assert fitted.history.val_loss.iloc[-1] > fitted.history.val_loss.min() * 1.01
    best = fitted.history.val_loss.min()
    assert loss(fitted, images, table, "val") == pytest.approx(best, rel=1e-4)


def test_a_loss_that_is_no_number_ends_it():
    def broken():
        model = NETWORK()
        model.layers[-1].bias.assign([np.nan])
        return model

    fitted = fit(broken, epochs=5)
    assert fitted.record["stop_reason"] == "loss not finite"
    assert fitted.record["epochs_run"] == 1


def test_averaged_weights_are_validated_and_kept(plain):
    fitted = fit(ema_momentum=0.9)
    best = fitted.history.val_loss.min()
    assert loss(fitted, IMAGES, TABLE, "val") == pytest.approx(best, rel=1e-4)
    assert plain.history.loss.equals(fitted.history.loss)  # it trains as ever
    assert not plain.history.val_loss.equals(fitted.history.val_loss)


STEPS = -(-(TABLE.split == "train").sum() // 16)  # of an epoch


def learning_rates(fitted, steps):
    """At each step of a training that is over."""
    optimizer = fitted.model.optimizer
    rates = []
    for step in range(steps):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    return rates


def test_a_decayed_learning_rate_falls_along_half_a_cosine_and_ends_at_nothing():
    fitted = fit(epochs=2, cosine_decay=True, learning_rate=0.01)
    assert int(fitted.model.optimizer.iterations) == 2 * STEPS
    assert float(fitted.model.optimizer.learning_rate) == pytest.approx(0, abs=1e-8)
    cosine = 0.005 * (1 + np.cos(np.linspace(0, np.pi, 2 * STEPS + 1)))
    np.testing.assert_allclose(learning_rates(fitted, 2 * STEPS + 1), cosine, atol=1e-7)


def test_a_warm_up_rises_from_nothing_before_the_cosine_which_still_ends_at_nothing():
    fitted = fit(epochs=3, cosine_decay=True, warm_up=1, learning_rate=0.01)
    assert int(fitted.model.optimizer.iterations) == 3 * STEPS
    assert float(fitted.model.optimizer.learning_rate) == pytest.approx(0, abs=1e-8)
    cosine = 0.005 * (1 + np.cos(np.linspace(0, np.pi, 2 * STEPS + 1)))
    expected = [*np.linspace(0, 0.01, STEPS + 1), *cosine[1:]]
    np.testing.assert_allclose(learning_rates(fitted, 3 * STEPS + 1), expected, atol=1e-7)


@pytest.mark.parametrize("ema_momentum", [0.0, 0.5])
def test_weight_decay_shrinks_what_nothing_else_changes(ema_momentum):
    """On black images the first kernel has no gradient."""
    training.backend.start_fit(0)
    before = NETWORK().get_weights()[0]
    options = {"epochs": 1, "learning_rate": 0.01, "ema_momentum": ema_momentum}
    kernels = [
        fit(images=np.zeros_like(IMAGES), weight_decay=decay, **options).model.get_weights()[0]
        for decay in (0.0, 2.0)
    ]
    np.testing.assert_array_equal(kernels[0], before)
    share = 0.98
    for step in range(2, STEPS + 1):
        share = ema_momentum * share + (1 - ema_momentum) * 0.98**step
    np.testing.assert_allclose(kernels[1], before * share, rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_what_can_be_learnt(classes):
    build = partial(NETWORK, classes, units=(32,))
    fitted = fit(build, epochs=8, batch_size=8, learning_rate=0.01)
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
    assert fitted.record["classes"] == classes


@pytest.mark.parametrize("classes", [2, 3])
def test_smoothed_labels_spread_a_share_of_each_target_over_all_classes(classes):
    build = partial(NETWORK, classes)
    fitted = fit(build, epochs=1, learning_rate=0.0, label_smoothing=0.3)
    val = (TABLE.split == "val").to_numpy()
    p = fitted.predict(IMAGES)[val]
    p = np.stack([1 - p, p], axis=1) if classes == 2 else p
    labels = pd.Categorical(TABLE.label[val], LABELS).codes
    targets = np.eye(classes)[np.minimum(labels, classes - 1)] * 0.7 + 0.3 / classes
    expected = -(targets * np.log(p)).sum(axis=1).mean()
    assert fitted.history.val_loss.item() == pytest.approx(expected, rel=1e-4)


def soft(table, turned=0):
    """Labels as probabilities, moved on by some classes."""
    return np.roll(np.eye(3)[pd.Categorical(table.label, LABELS).codes], turned, axis=1)


def test_soft_labels_are_trained_towards_and_validation_keeps_the_labels():
    build = partial(NETWORK, 3, units=(32,))
    images, table = builders.squares(480)
    labels = soft(table, turned=1)
    options = {"epochs": 1, "batch_size": 4, "learning_rate": 0.01}
    fitted = fit(build, images, table, **options, soft_labels=labels)
    p = fitted.predict(images)
    train, val = ((table.split == name).to_numpy() for name in ("train", "val"))
    assert (p.argmax(axis=1) == labels.argmax(axis=1))[train].mean() > 0.9
    expected = -np.log(p[val][soft(table)[val] == 1]).mean()
    assert fitted.history.val_loss.item() == pytest.approx(expected, rel=1e-4)


def test_soft_labels_that_are_the_labels_change_nothing_and_count_in_training_only():
    build, labels = partial(NETWORK, 3), soft(TABLE)
    hard = fit(build)
    labels[(TABLE.split != "train").to_numpy()] = np.nan
    assert same(hard, fit(build, soft_labels=labels))
    blurred = fit(build, soft_labels=0.5 * soft(TABLE) + 0.5 / 3)
    assert not same(hard, blurred)
    assert hard.record["settings_hash"] != blurred.record["settings_hash"]


@pytest.mark.parametrize("classes", [2, 3])
def test_soft_labels_of_another_shape_are_refused(classes):
    labels = soft(TABLE)[:-1] if classes == 3 else soft(TABLE)
    with pytest.raises(UserError, match=f"soft labels .* and {classes} classes"):
        fit(partial(NETWORK, classes), soft_labels=labels)


def test_class_weights_make_the_rare_class_count():
    images, table = builders.squares(240, seed=5)
    keep = (np.arange(240) % 3 > 0) | (np.arange(240) % 24 == 0)  # few normals
    images, table = images[keep] // 2 + 60, table[keep].reset_index(drop=True)
    plain, weighted = (fit(images=images, table=table, class_weights=w) for w in (False, True))
    assert weighted.predict(images).mean() < plain.predict(images).mean() - 0.1


@pytest.mark.parametrize(
    ("classes", "expected"), [(2, {0: 12 / 4, 1: 12 / 20}), (3, {0: 2, 1: 2 / 3, 2: 1})]
)
def test_class_weights_give_each_class_the_same_sum(classes, expected, monkeypatch):
    class Seen(Exception):
        pass

    def see(self, *_, class_weight=None, **options):
        raise Seen(class_weight)

    monkeypatch.setattr(keras.Model, "fit", see)
    labels = ["normal"] * 2 + ["bacteria"] * 6 + ["virus"] * 4
    table = TABLE[:13].assign(label=[*labels, "virus"], split=["train"] * 12 + ["val"])
    with pytest.raises(Seen) as caught:
        fit(partial(NETWORK, classes), IMAGES[:13], table, class_weights=True)
    assert caught.value.args[0] == pytest.approx(expected)


# Labels


def test_pneumonia_of_unknown_pathogen_is_learnt_by_two_classes(plain):
    unknown = TABLE.assign(label=np.where(TABLE.label == "normal", "normal", PNEUMONIA))
    assert same(plain, fit(table=unknown))


@pytest.mark.parametrize(
    "fitted",
    [
        lambda table: fit(partial(NETWORK, 3), table=table),
        lambda table: fit_estimator(LogisticRegression(), table, classes=3),
    ],
)
def test_pneumonia_of_unknown_pathogen_is_refused_by_three_classes(fitted):
    unknown = TABLE.assign(label=TABLE.label.where(TABLE.index != 4, PNEUMONIA))
    with pytest.raises(UserError, match=r"1 of 96 have another one. Train two classes"):
        fitted(unknown)


# The record


FACTS = {
    *("seed", "classes", "weights", "image_size", "parameters", "device", "backend"),
    *("precision", "threads", "settings_hash", "epochs_run", "stop_reason", "train_seconds"),
}


def test_the_record_has_the_facts_of_the_training(plain):
    record = plain.record
    assert set(record) == FACTS
    known = {name: record[name] for name in ("seed", "classes", "weights", "image_size")}
    assert known == {"seed": 0, "classes": 2, "weights": "imagenet", "image_size": SIDE}
    assert record["parameters"] == (SIDE * SIDE + 1) * 8 + 9
    assert record["threads"] == builders.THREADS
    assert len(record["settings_hash"]) == 16
    json.dumps(record)


def test_the_network_that_made_the_features_counts_in_the_record():
    base = models.Base("imagenet", 96, 1000)
    features = IMAGES.reshape(len(IMAGES), -1)[:, :5] / 255
    head = fit(partial(models.feature_head, 5, classes=2), features, base=base)
    probe = fit_estimator(LogisticRegression(), features=features, base=base, image_size=1)
    for fitted in (head, probe):
        assert set(fitted.record) == FACTS
        assert fitted.record["parameters"] == 1000 + 6
        assert (fitted.record["weights"], fitted.record["image_size"]) == ("imagenet", 96)


def test_features_can_be_trained_on_and_predicted_from(table, tmp_path):
    """Features that give the class away are learnt, and the fit comes back from the cache."""
    features = np.eye(3, dtype=np.float32)[pd.Categorical(table.label, LABELS).codes]
    build = partial(models.feature_head, 3, (8,))
    options = {"epochs": 12, "batch_size": 2, "learning_rate": 0.05, "cache_dir": tmp_path}
    first, again = (fit(build, features, table, **options) for _ in range(2))
    predictions = evaluation.predict(first, features, table)
    assert set(predictions.columns) >= set(evaluation.CLASSES)
    np.testing.assert_array_equal(evaluation.confusion(predictions), 2 * np.eye(3))
    pd.testing.assert_frame_equal(predictions, evaluation.predict(again, features, table))


# Batches and the log


def settings(batch_size=4, **options):
    return training.TrainingConfig(1, 1, batch_size, **options)


def test_batches_show_each_image_once_an_epoch_in_a_new_order():
    images, targets = IMAGES[:10], np.arange(10)
    batches = Batches(images, targets, settings(), seed=0)
    epochs = []
    for _ in range(3):
        drawn = [batches[number] for number in range(len(batches))]
        epochs.append(np.concatenate([y for _, y in drawn]))
        np.testing.assert_array_equal(np.concatenate([x for x, _ in drawn]), images[epochs[-1]])
        batches.on_epoch_begin()
    assert [len(y) for _, y in drawn] == [4, 4, 2]
    assert all(sorted(order) == list(range(10)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 3


def test_batches_without_a_configuration_keep_the_order_and_the_images():
    images = np.concatenate([IMAGES, IMAGES, IMAGES])
    batches = Batches(images, np.arange(len(images)), seed=3)
    batches.on_epoch_begin()
    drawn = [batches[number] for number in range(len(batches))]
    assert [len(y) for _, y in drawn] == [128, 128, 32]
    np.testing.assert_array_equal(np.concatenate([y for _, y in drawn]), np.arange(len(images)))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in drawn]), images)


class Slow:
    """An augmentation whose first batch takes longest; it knows the threads that it ran on."""

    def __init__(self):
        self.threads = []

    def __call__(self, images, generator):
        self.threads.append(threading.current_thread())
        time.sleep(0.2 if len(self.threads) == 1 else 0)
        return images + generator.integers(0, 9, images.shape, np.uint8)


def test_batches_are_made_ahead_on_other_threads_and_stay_what_they_are():
    config, slow = settings(4, augmentation=AUGMENTATION), Slow()
    batches = Batches(IMAGES[:40], np.arange(40), replace(config, augmentation=slow), seed=3)
    drawn = [batches[number] for number in range(len(batches))]
    assert threading.main_thread() not in slow.threads
    asked = Batches(IMAGES[:40], np.arange(40), replace(config, augmentation=slow), seed=3)
    asked[0]
    asked.pool.shutdown()  # when all that has begun is done
    assert len(slow.threads) == 10 + 1 + AHEAD
    for number in reversed(range(10)):  # each by itself, in another order
        alone = Batches(IMAGES[:40], np.arange(40), replace(config, augmentation=slow), seed=3)
        for part, other in zip(alone[number], drawn[number], strict=True):
            np.testing.assert_array_equal(part, other)


def test_batches_of_an_earlier_epoch_never_come_in_a_later_one():
    batches = Batches(IMAGES, np.arange(len(IMAGES)), settings(4), seed=0)
    first = [batches[number][1] for number in range(3)]  # the next ones are on their way
    batches.on_epoch_begin()
    rest = np.concatenate([batches[number][1] for number in range(len(batches))])
    assert sorted(rest) == list(range(len(IMAGES)))
    assert (np.concatenate(first) != rest[:12]).any()


def test_batches_take_the_rows_that_they_are_told():
    rows = np.array([3, 5, 8, 13, 21])
    seen = [Batches(IMAGES, np.arange(len(IMAGES)), c, 0, rows)[0][1] for c in (None, settings(5))]
    assert list(seen[0]) == list(rows) and sorted(seen[1]) == list(rows)
    alone = Batches(IMAGES[rows], np.arange(5), settings(5), 0)
    np.testing.assert_array_equal(rows[alone[0][1]], seen[1])


def test_many_images_are_predicted_in_parts_for_the_same_numbers(plain, monkeypatch):
    together = plain.predict(IMAGES)
    monkeypatch.setattr(sys.modules["helpers.training.fit"], "PART", 64)
    np.testing.assert_array_equal(plain.predict(IMAGES), together)


def test_augmentation_is_drawn_anew_each_epoch():
    batches = Batches(IMAGES[:1], np.zeros(1), settings(1, augmentation=AUGMENTATION), seed=0)
    first, again = batches[0][0], batches[0][0]
    batches.on_epoch_begin()
    np.testing.assert_array_equal(first, again)
    assert (batches[0][0] != first).any() and (first != IMAGES[:1]).any()


def blended(strength=1.0, count=12, batch_size=6, seed=0, **options):
    """Batches of some images; each target names its image."""
    config = settings(batch_size, mixup=strength, **options)
    return Batches(IMAGES[:count], np.eye(count), config, seed=seed)


def test_mixup_blends_inputs_and_targets_by_one_share_in_one_order():
    batches, plain = blended(), blended(0.0)
    for number in range(2):
        inputs, targets = batches[number]
        own = plain[number][1] > 0  # the image at this place before the blend
        np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(targets.sum(axis=0), own.sum(axis=0), rtol=1e-6)  # an order
        shares = targets[own][targets[own] < 0.999]  # the others met themselves
        assert len(shares) >= 2 and 0 < shares[0] < 1
        np.testing.assert_allclose(shares, shares[0], rtol=1e-6)
        expected = np.tensordot(targets, IMAGES[:12].astype(float), 1)
        np.testing.assert_allclose(inputs, expected, atol=1e-3)
        assert inputs.dtype == targets.dtype == np.float32


def test_mixup_takes_augmented_images_and_leaves_their_changes_as_they_are():
    batches, plain = (blended(x, augmentation=AUGMENTATION) for x in (1.0, 0.0))
    (inputs, targets), (changed, whose) = batches[1], plain[1]
    assert (changed != np.tensordot(whose, IMAGES[:12], 1)).any()
    expected = np.tensordot(targets @ whose.T, changed.astype(float), 1)
    np.testing.assert_allclose(inputs, expected, atol=1e-3)


def test_mixup_follows_from_seed_epoch_and_batch_alone():
    batches, again = blended(), blended()
    again[1], again[0]  # asked in another order, and twice
    for number in range(2):
        for first, second in zip(batches[number], again[number], strict=True):
            np.testing.assert_array_equal(first, second)

    def share(batches, number):
        targets = batches[number][1]
        return round(float(targets[targets < 0.999].max()), 6)

    found = [share(batches, 0), share(batches, 1), share(blended(seed=1), 0)]
    batches.on_epoch_begin()
    assert len({*found, share(batches, 0)}) == 4


@pytest.mark.parametrize("strength", [0.2, 5.0])
def test_the_shares_of_mixup_are_drawn_from_a_beta_distribution(strength):
    images, targets = np.zeros((2000, 1)), np.tile([0.0, 1.0], 1000)
    batches = Batches(images, targets, settings(2, mixup=strength), seed=0)
    drawn = np.concatenate([batches[number][1] for number in range(len(batches))])
    other = drawn[(drawn > 0) & (drawn < 1)]  # of pairs that are not blended with their like
    assert len(other) > 300
    assert ((other - 0.5) ** 2).mean() == pytest.approx(1 / (8 * strength + 4), rel=0.15)


def test_what_is_validated_is_neither_augmented_nor_blended():
    fitted = fit(epochs=1, mixup=0.4, augmentation=AUGMENTATION)
    expected = loss(fitted, IMAGES, TABLE, "val")
    assert fitted.history.val_loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("kernel", "session", "terminal", "shown"),
    [
        (False, False, True, True),  # a script, watched
        (False, False, False, False),  # a script whose output goes to a file
        (True, True, False, True),  # JupyterLab
        (True, False, True, False),  # papermill
    ],
)
def test_the_live_line_shows_where_a_person_watches(monkeypatch, kernel, session, terminal, shown):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    if session:
        monkeypatch.setenv("JPY_SESSION_NAME", "notebook")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    log = EpochLog(3)
    assert log.bar.disable != shown
    log.bar.close()
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as processes side by side have it
    assert EpochLog(3).bar.disable


def test_the_live_line_ends_full_also_after_early_stopping(monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["helpers.training.fit"], "_watched", lambda: True)
    log = EpochLog(epochs=20)
    for epoch in range(3):
        log.on_epoch_begin(epoch)
        log.on_epoch_end(epoch, {"val_loss": 0.5})
    log.on_train_end()
    last = capsys.readouterr().err.rstrip().split("\r")[-1]
    assert last.startswith("100%") and "3/3" in last


# Estimators


FEATURES = IMAGES.reshape(len(IMAGES), -1) / 255


def fit_estimator(estimator, table=TABLE, features=FEATURES, **options):
    options = {"seed": 0, "image_size": SIDE} | options
    return training.fit_estimator(estimator, features, table, **options)


@pytest.mark.parametrize("classes", [2, 3])
def test_an_estimator_is_fitted_on_the_training_rows(classes):
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    fitted = fit_estimator(estimator, classes=classes)
    train = (TABLE.split == "train").to_numpy()
    targets = (TABLE.label != "normal") if classes == 2 else TABLE.label.map(LABELS.index)
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    expected = expected.fit(FEATURES[train], targets[train]).predict_proba(FEATURES)
    expected = expected[:, 1] if classes == 2 else expected
    np.testing.assert_allclose(fitted.predict(FEATURES), expected)
    outputs = 1 if classes == 2 else 3
    assert fitted.record["parameters"] == outputs * (SIDE * SIDE + 1)
    assert fitted.record["stop_reason"] == "converged"
    assert fitted.record["weights"] == "none" and fitted.record["image_size"] == SIDE
    assert 0 < fitted.record["epochs_run"] < 500
    assert fitted.history.empty


def test_one_estimator_object_serves_many_fits():
    estimator = LogisticRegression(max_iter=500)
    first = fit_estimator(estimator)
    before = first.predict(FEATURES)
    fit_estimator(estimator, table=TABLE.assign(split=np.roll(TABLE.split, 1)))
    np.testing.assert_array_equal(first.predict(FEATURES), before)


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_an_estimator_that_used_all_iterations_says_so():
    fitted = fit_estimator(SGDClassifier("log_loss", max_iter=2, tol=None, random_state=0))
    assert (fitted.record["stop_reason"], fitted.record["epochs_run"]) == ("all iterations run", 2)
