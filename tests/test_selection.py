"""Stress validation and the choice of the final model: what they promise, on small examples."""

import dataclasses

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, models, results, selection, stress, training
from helpers.settings import LABELS, UserError

SIDE = 32


def table(count=60):
    number = np.arange(count) % 3
    rows = pd.DataFrame({"label": np.array(LABELS)[number]})
    names = {
        "normal": "IM-{:04d}-0001",
        "bacteria": "person{}_bacteria_1",
        "virus": "person{}_virus_1",
    }
    rows["file"] = [names[x].format(k) + ".jpeg" for k, x in enumerate(rows.label)]
    rows["split"] = np.where(np.arange(count) < count // 2, "val", "test")
    return rows


def images(count=60, seed=0):
    return np.random.default_rng(seed).integers(20, 230, (count, SIDE, SIDE, 1), dtype=np.uint8)


class Brightness:
    """Calls an image the more a pneumonia the brighter it is."""

    def predict(self, pictures):
        return pictures.mean(axis=(1, 2, 3)) / 255


def predictions(p_normal, label, split="val"):
    rest = 1 - np.asarray(p_normal)
    rows = pd.DataFrame({"label": label, "split": split, "p_normal": p_normal})
    rows["p_bacteria"], rows["p_virus"] = rest * 0.7, rest * 0.3
    return rows.assign(file=[f"IM-{k:04d}-0001.jpeg" for k in range(len(rows))])


# Stress


@pytest.mark.parametrize("name", stress.STRESSES)
def test_each_stress_changes_every_image_the_same_way_and_keeps_its_form(name):
    before = images(3)
    after = stress.changed(before, name)
    assert after.shape == before.shape and after.dtype == np.uint8
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
    np.testing.assert_array_equal(stress.changed(before[1:2], name), after[1:2])


def test_stresses_do_what_their_names_say():
    picture = images(1)
    assert stress.changed(picture, "darker").mean() < picture.mean()
    assert stress.changed(picture, "brighter").mean() > picture.mean()
    assert stress.changed(picture, "more contrast").std() > picture.std()
    assert stress.changed(picture, "less contrast").std() < picture.std()
    assert stress.changed(picture, "smaller")[0, 0, 0, 0] == 0


def test_a_model_that_reads_brightness_is_caught_when_one_class_is_changed():
    pictures, rows = images() // 4, table()
    sick = (rows.label != "normal").to_numpy()
    pictures[sick] += 20  # pneumonias are brighter, and that is all it knows
    found = stress.predict(Brightness(), pictures, rows)
    assert set(found.file) == set(rows.file[rows.split == "val"])
    aucs = stress.aucs(found)
    assert aucs.loc[stress.UNCHANGED].eq(1).all()
    assert aucs.loc["darker", "all"] == 1  # all alike: the order stays
    assert aucs.loc["brighter", "normal"] < 0.1
    assert aucs.loc["brighter", "pneumonia"] == 1
    scores = stress.scores(found)
    assert scores["val_auc"] == 1
    assert scores["worst_auc"] == aucs.to_numpy().min() < scores["stress_auc"] < 1


def test_a_subgroup_is_ranked_against_the_other_class():
    rows = table(12).assign(split="val")
    rows["p_pneumonia"] = np.where(rows.label == "normal", 0.2, 0.8)
    worst = rows.index[rows.label == "normal"][0]
    rows.loc[worst, "p_pneumonia"] = 0.9
    groups = pd.DataFrame({"kind": np.where(rows.index == worst, "odd", "usual")})
    found = stress.group_aucs(rows, groups)
    first = found.iloc[0]
    assert (first.group, first.label, first.n, first.auc) == ("odd", "normal", 1, 0)
    assert found[(found.group == "usual") & (found.label == "normal")].auc.item() == 1


def test_groups_tell_naming_number_sharpness_and_brightness():
    rows, pictures = table(12), images(12)
    pictures[0] = 250
    found = stress.groups(rows, pictures)
    assert set(found.naming) == {"IM", "person"}
    assert set(found.number) == {"low", "middle", "high"}
    assert (found.sharpness[0], found.brightness[0]) == ("blurred", "bright")


# The choice


def test_levers_change_the_recipe_and_its_augmentation():
    light = selection.Recipe(side=SIDE, epochs=2)
    both = light.with_levers(["zoom", "unsettled"])
    assert light.decay and not both.decay and both.augment.zoom == (1.0, 2.0)
    assert both.augment.rotation == light.augment.rotation
    assert light.with_levers([]) == light
    for name in selection.LEVERS:
        assert light.with_levers([name]) != light
    with pytest.raises(UserError, match="no lever zom"):
        light.with_levers(["zom"])


def test_a_lever_is_taken_when_every_seed_gains_and_the_largest_gain_comes_first():
    gains = {0: [0.1, 0.1, 0.2, 0.3], 1: [0.1, -0.01, 0.2, 0.3]}
    gains = pd.DataFrame(gains, ["border", "letters", "zoom", "two_classes"])
    assert selection.taken(gains) == ["zoom", "border"]
    assert selection.taken(-gains) == []


def test_the_best_candidate_has_the_highest_worst_auc_and_is_not_only_there_to_compare(tmp_path):
    compared = ["two_classes", "zoom_and_larger"]
    scored = pd.DataFrame(
        {
            "candidate": ["light", "light", "combined", "combined", *compared],
            "levers": ["", "", "zoom border", "zoom border", "two_classes", "zoom larger"],
            "seed": [0, 1, 0, 1, 0, 0],
            "worst_auc": [0.9, 0.8, 0.84, 0.88, 0.99, 0.99],
        }
    )
    assert selection.best(scored) == ("combined", ["zoom", "border"])
    with pytest.raises(UserError, match="11_stress_validation"):
        selection.candidates(tmp_path)
    selection.save_candidates(tmp_path, scored, selection.Recipe(side=SIDE, epochs=2))
    again = selection.candidates(tmp_path)
    assert selection.best(again) == ("combined", ["zoom", "border"])
    assert set(again.side) == {SIDE} and set(again.epochs) == {2}


def test_calibration_finds_the_scale_and_the_shift():
    generator = np.random.default_rng(0)
    true = selection.calibrated(generator.dirichlet([1, 1, 1], 4000), 1, 0)
    label = [generator.choice(LABELS, p=p) for p in true]
    seen = selection.calibrated(true, 2.0, 0.8)  # too sure, and too many pneumonias
    rows = pd.DataFrame(seen, columns=evaluation.CLASSES).assign(label=label, split="val")
    scale, shift = selection.calibrate(rows)
    assert scale == pytest.approx(0.5, abs=0.05)
    assert shift == pytest.approx(-0.4, abs=0.1)


def test_doubtful_pneumonias_do_not_pull_the_threshold_down():
    normal, sick = np.full(50, 0.95), np.linspace(0.02, 0.4, 98)
    wrong = np.full(4, 0.99)  # called pneumonia, and look more normal than normal images do
    label = ["normal"] * 50 + ["bacteria"] * 102
    rows = predictions(np.concatenate([normal, sick, wrong]), label)
    chosen = selection.threshold(rows)
    kept = (1 - sick).round(6)
    assert (kept >= chosen).mean() >= 0.98
    assert chosen == pytest.approx(np.sort(kept)[1], abs=1e-6)
    assert evaluation.recall_threshold(rows.label, 1 - rows.p_normal) < 0.05


def test_a_model_that_learnt_nothing_still_gets_a_threshold():
    rows = predictions(np.full(10, 0.3), ["normal"] * 5 + ["virus"] * 5)
    assert selection.threshold(rows) == pytest.approx(0.7)


def three_classes(seed):
    keras.utils.set_random_seed(seed)
    return models.cnn(SIDE, (4, 8), classes=3)


def test_the_ensemble_averages_and_calibrates():
    parts = [three_classes(seed) for seed in range(3)]
    pictures = images(5).astype("float32")
    mean = np.mean([part.predict(pictures, verbose=0) for part in parts], axis=0)
    found = models.ensemble(parts, scale=1.7, shift=-0.4).predict(pictures, verbose=0)
    np.testing.assert_allclose(found, selection.calibrated(mean, 1.7, -0.4), atol=1e-5)


def test_a_view_is_the_middle_of_the_picture_at_its_whole_side():
    part, pictures = three_classes(0), images(5).astype("float32")
    model = models.ensemble([part], views=(1.0, 1.5))
    rim = round(SIDE / 6)
    assert sorted(models.rims(model)) == [0, rim]
    middle = np.stack([cv2.resize(x[rim:-rim, rim:-rim, 0], (SIDE, SIDE)) for x in pictures])
    both = [part.predict(x, verbose=0) for x in (pictures, middle[..., None])]
    np.testing.assert_allclose(model.predict(pictures, verbose=0), np.mean(both, 0), atol=1e-5)
    assert models.rims(part) == [0]


def fits_of(names):
    row = {"seed": 0, "classes": 3, "train_seconds": 2.0}
    return [
        training.Fit(three_classes(seed), row | {"settings_hash": name}, None)
        for seed, name in enumerate(names)
    ]


def test_one_fit_with_the_plain_view_stays_and_others_get_hashes_of_their_own(tmp_path):
    fits = fits_of("ab")
    assert selection.together(fits[:1], (1.0,), tmp_path) is fits[0]
    others = [
        selection.together(fits[:1], (1.0, 1.5), tmp_path),
        selection.together(fits, (1.0,), tmp_path),
        selection.together(fits, (1.0, 1.5), tmp_path),
    ]
    assert len({fit.row["settings_hash"] for fit in (*fits, *others)}) == 5
    assert [fit.row["train_seconds"] for fit in others] == [2.0, 4.0, 4.0]


def test_the_assembled_fit_has_its_own_hash_and_the_sums_of_its_members(tmp_path):
    pictures, rows, fits = images(), table(), fits_of("ab")
    fit, calibration = selection.assemble(fits, (1.0,), pictures, rows, tmp_path)
    assert fit.row["train_seconds"] == 4.0
    assert fit.row["parameters"] == 2 * fits[0].model.count_params()
    assert fit.row["settings_hash"] not in "ab"
    binary = selection.of_two_classes(fit, tmp_path)
    assert binary.row["classes"] == 2
    assert len({fit.folder, binary.folder, tmp_path}) == 3
    again, same = selection.assemble(fits, (1.0,), pictures, rows, tmp_path)
    assert again.row == fit.row and same == calibration
    assert dataclasses.is_dataclass(binary)


def test_what_is_written_is_what_results_read(tmp_path):
    selection.write(tmp_path, threshold=0.25, levers=["zoom"])
    assert results.selection(tmp_path) == {"threshold": 0.25, "levers": ["zoom"]}
    assert results.selected_threshold("final", tmp_path) == {"selected": 0.25}
