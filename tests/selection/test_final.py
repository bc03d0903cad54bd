"""The choice of the final model: what is promised of it, on small examples."""

import keras
import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, models, selection, training
from helpers.models import Calibration, Ensemble

SIDE = 32


def test_a_change_is_accepted_when_every_seed_gains_and_the_largest_gain_comes_first():
    gains = {0: [0.1, 0.1, 0.2, 0.3], 1: [0.1, -0.01, 0.2, 0.3]}
    gains = pd.DataFrame(gains, ["border", "letters", "zoom", "two_classes"])
    assert selection.accepted(gains) == ["zoom", "border"]
    assert selection.accepted(-gains) == []


def test_the_best_candidate_has_the_highest_worst_case_auc_and_is_not_only_there_to_compare():
    compared = ["two_classes", "zoom_and_larger"]
    scored = pd.DataFrame(
        {
            "candidate": ["light", "light", "combined", "combined", *compared],
            "changes": ["", "", "zoom border", "zoom border", "two_classes", "zoom larger"],
            "seed": [0, 1, 0, 1, 0, 0],
            "worst_case_auc": [0.9, 0.8, 0.84, 0.88, 0.99, 0.99],
        }
    )
    assert selection.best(scored) == ("combined", ["zoom", "border"])
    light = scored[~scored.candidate.eq("combined")]
    assert selection.best(light) == ("light", [])


def predictions(p_normal, label, split="val"):
    rest = 1 - np.asarray(p_normal)
    rows = pd.DataFrame({"label": label, "split": split, "p_normal": p_normal})
    rows["p_bacteria"], rows["p_virus"] = rest * 0.7, rest * 0.3
    names = [f"IM-{k:04d}" for k in range(len(rows))]
    return rows.assign(file=[f"{name}-0001.jpeg" for name in names], patient=names)


def test_doubtful_pneumonias_do_not_pull_the_threshold_down():
    normal, ill = np.full(50, 0.95), np.linspace(0.02, 0.4, 98)
    wrong = np.full(4, 0.99)  # called pneumonia, and look more normal than normal images do
    label = ["normal"] * 50 + ["bacteria"] * 102
    rows = predictions(np.concatenate([normal, ill, wrong]), label)
    chosen = selection.threshold(rows)
    kept = (1 - ill).round(6)
    assert (kept >= chosen).mean() >= 0.98
    assert chosen == pytest.approx(np.sort(kept)[1], abs=1e-6)
    assert evaluation.recall_threshold(rows.label, 1 - rows.p_normal) < 0.05


def test_test_images_do_not_move_the_threshold():
    rows = predictions(np.linspace(0.1, 0.9, 20), ["virus"] * 10 + ["normal"] * 10)
    test = predictions(np.full(20, 0.99), ["virus"] * 20, split="test")
    assert selection.threshold(pd.concat([rows, test])) == selection.threshold(rows)
    assert selection.threshold(rows, recall=0.5) > selection.threshold(rows)


def test_a_model_that_learnt_nothing_still_gets_a_threshold():
    rows = predictions(np.full(10, 0.3), ["normal"] * 5 + ["virus"] * 5)
    assert selection.threshold(rows) == pytest.approx(0.7)


@pytest.fixture(scope="module")
def fits():
    """Two untrained fits of three classes."""

    def one(seed):
        keras.utils.set_random_seed(seed)
        record = {"seed": seed, "classes": 3, "train_seconds": 2.0, "settings_hash": "ab"[seed]}
        return training.Fit(models.cnn(SIDE, (4, 8), classes=3), record, pd.DataFrame())

    return [one(0), one(1)]


def test_one_fit_without_zooms_stays_and_others_get_hashes_of_their_own(fits, tmp_path):
    assert selection.average_members(fits[:1], (1.0,), tmp_path) is fits[0]
    others = [
        selection.average_members(fits[:1], (1.0, 1.5), tmp_path),
        selection.average_members(fits, (1.0,), tmp_path),
        selection.average_members(fits, (1.0, 1.5), tmp_path),
    ]
    assert len({fit.record["settings_hash"] for fit in (*fits, *others)}) == 5
    assert [fit.record["train_seconds"] for fit in others] == [2.0, 4.0, 4.0]


def test_averaged_members_give_the_mean_of_their_probabilities(fits, images, tmp_path):
    averaged = selection.average_members(fits, (1.0,), tmp_path)
    mean = np.mean([fit.predict(images) for fit in fits], axis=0)
    np.testing.assert_allclose(averaged.predict(images), mean, atol=1e-6)


def test_the_calibrated_ensemble_has_its_own_hash_and_the_sums_of_its_members(
    fits, images, table, tmp_path
):
    fit, calibration = selection.calibrated_ensemble(fits, (1.0,), images, table, tmp_path)
    assert fit.record["train_seconds"] == 4.0
    assert fit.record["parameters"] == 2 * fits[0].model.count_params()
    averaged = selection.average_members(fits, (1.0,), tmp_path)
    hashes = {one.record["settings_hash"] for one in (*fits, averaged, fit)}
    assert len(hashes) == 4 and fit.folder == tmp_path / fit.record["settings_hash"]
    again, same = selection.calibrated_ensemble(fits, (1.0,), images, table, tmp_path)
    assert again.record == fit.record and same == calibration
    expected = calibration(averaged.predict(images))
    np.testing.assert_allclose(fit.predict(images), expected, atol=1e-5)


def test_only_validation_images_calibrate(fits, images, table, tmp_path):
    fit, calibration = selection.calibrated_ensemble(fits[:1], (1.0,), images, table, tmp_path)
    other = table.assign(label=table.label.where(table.split == "val", "virus"))
    same = selection.calibrated_ensemble(fits[:1], (1.0,), images, other, tmp_path)[1]
    assert same == calibration != Calibration()
    parts = Ensemble.from_model(fit.model)
    assert parts.calibration.scale == pytest.approx(calibration.scale)
