"""The choice of the final model: what is promised of it, on small examples."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from helpers import evaluation, models, selection, training
from helpers.data import LABELS
from helpers.models import Calibration, keras
from helpers.selection import final
from helpers.utils import UserError
from tests import builders

SIDE = 32


# Which recipe


def gains(**changes):
    """A row a change, a column a fold."""
    return pd.DataFrame(changes).T


def test_a_change_is_accepted_when_its_mean_gain_exceeds_its_standard_error():
    table = gains(
        sure=[0.02, 0.02, 0.02, 0.02],
        wavering=[0.3, -0.1, 0.1, -0.1],  # 0.05, give or take 0.096
        with_a_loss=[0.06, -0.01, 0.05, 0.06],  # 0.04, give or take 0.017
        nothing=[0.0, 0.0, 0.0, 0.0],
        harmful=[-0.02, -0.02, -0.02, -0.02],
    )
    assert selection.accepted(table) == ["with_a_loss", "sure"]
    assert selection.accepted(-table) == ["harmful"]


def test_the_standard_error_is_that_of_a_sample():
    fold = np.array([0.01, 0.03, 0.02, 0.05])
    error = fold.std(ddof=1) / 2
    above, below = fold - fold.mean() + 1.001 * error, fold - fold.mean() + 0.999 * error
    assert selection.accepted(gains(above=above, below=below)) == ["above"]


def test_one_fold_alone_has_no_error_and_decides_by_its_sign():
    assert selection.accepted(gains(some=[0.01], none=[0.0], less=[-0.01])) == ["some"]
    assert selection.accepted(gains(once=[0.01, np.nan], never=[-0.01, np.nan])) == ["once"]


def test_what_is_only_compared_is_not_accepted():
    assert "whole_picture" in final.ONLY_COMPARED
    table = gains(whole_picture=[0.5, 0.5], mixup=[0.1, 0.1])
    assert selection.accepted(table) == ["mixup"]


def test_only_the_best_of_several_margins_is_accepted():
    table = gains(no_margin=[0.1, 0.1], wide_margin=[0.2, 0.2], mixup=[0.05, 0.05])
    assert selection.accepted(table) == ["wide_margin", "mixup"]
    assert selection.accepted(table.drop("wide_margin")) == ["no_margin", "mixup"]


def scored(**candidates):
    """Of each candidate its changes, AUC, and worst AUC under corruption of the frame."""
    rows = [(name, *values) for name, values in candidates.items()]
    return pd.DataFrame(rows, columns=["candidate", "changes", "auc", "framing_auc"])


def test_the_best_candidate_has_the_highest_auc():
    table = scored(
        light=("", 0.96, 0.9),
        combined=("mixup curves", 0.98, 0.9),
        curves=("curves", 0.97, 0.9),
    )
    assert selection.best(table) == ("combined", ["mixup", "curves"])
    assert selection.best(table[table.candidate == "light"]) == ("light", [])


@pytest.mark.parametrize(("worst", "chosen"), [(0.891, "combined"), (0.889, "light")])
def test_a_choice_gives_up_one_point_of_framing_auc_and_no_more(worst, chosen):
    assert final.GUARD == 0.01
    table = scored(light=("", 0.96, 0.9), combined=("mixup", 0.99, worst))
    assert selection.best(table)[0] == chosen


def test_what_is_only_compared_is_neither_chosen_nor_a_guard():
    table = scored(
        whole_picture=("whole_picture", 0.99, 0.99),
        both=("mixup whole_picture", 0.99, 0.99),
        light=("", 0.9, 0.8),
        mixup=("mixup", 0.91, 0.8),
    )
    assert selection.best(table) == ("mixup", ["mixup"])


# Labels in doubt


def table_of(p_pneumonia, label, split="test"):
    """Predictions of three classes."""
    p = np.asarray(p_pneumonia, float)
    rows = pd.DataFrame({"label": label, "split": split, "p_normal": 1 - p})
    rows["p_bacteria"], rows["p_virus"] = p * 0.7, p * 0.3
    names = [f"IM-{k:04d}" for k in range(len(rows))]
    return rows.assign(file=[f"{name}-0001.jpeg" for name in names], patient=names)


def test_a_label_is_in_doubt_where_the_image_looks_like_the_average_of_the_other_class():
    normal, ill = [0.1, 0.1, 0.6, 0.9], [0.9, 0.8, 0.9, 0.4, 0.3]  # on average 0.425 and 0.66
    rows = table_of(normal + ill, ["normal"] * 4 + ["virus"] * 3 + ["bacteria"] * 2)
    doubted = {rows.file[k] for k in (3, 7, 8)}  # not 0.6, though it is called pneumonia
    assert selection.doubtful(rows) == doubted
    assert selection.doubtful(evaluation.collapse(rows)) == doubted
    assert selection.doubtful(rows.assign(split="val")) == doubted


@pytest.mark.parametrize(
    ("p", "doubted"), [([0.5, 0.1, 0.5, 0.5], 0), ([0.5, 0.5, 0.5, 0.9], 2)], ids=["normal", "ill"]
)
def test_a_label_is_in_doubt_where_the_image_is_the_average_of_the_other_class(p, doubted):
    rows = table_of(p, ["normal", "normal", "virus", "bacteria"])
    assert selection.doubtful(rows) == {rows.file[doubted]}


def test_where_the_classes_are_told_apart_no_label_is_in_doubt():
    rows = table_of([0.1, 0.4, 0.5, 0.9], ["normal", "normal", "virus", "bacteria"])
    assert selection.doubtful(rows) == set()


# Operating points


def test_operating_points_are_where_both_rates_meet_and_where_few_are_missed():
    rows = evaluation.collapse(builders.predictions(600, classes=3))
    points = selection.operating_points(builders.predictions(600, classes=3))
    assert list(points) == ["balanced", "screening"]
    ill, p = (rows.label != "normal").to_numpy(), rows.p_pneumonia.to_numpy()
    balanced, screening = points.values()
    assert (p[ill] >= balanced).mean() == pytest.approx((p[~ill] < balanced).mean(), abs=0.01)
    assert (p[ill] >= screening).mean() >= 0.98 > (p[ill] > screening).mean()
    assert screening < balanced


def test_matched_points_call_as_many_images_of_another_model():
    before, after = (builders.predictions(300, signal=signal, classes=3) for signal in (1, 3))
    points = selection.operating_points(before)
    found = selection.matched(points, before, after)
    assert list(found) == list(points) and found != points
    for name in points:
        called = [
            (evaluation.collapse(rows).p_pneumonia >= cut).sum()
            for rows, cut in ((before, points[name]), (after, found[name]))
        ]
        assert called[0] == called[1] > 0
    other = after.assign(label=np.roll(after.label, 1))
    assert selection.matched(points, before, other) == found


# Soft labels


def test_soft_labels_are_the_mean_of_labels_and_predictions_out_of_fold():
    index = builders.index_table(3)
    said = pd.DataFrame({"file": index.file[::-1], "p_normal": [0.2, 0.1, 0.6]})
    said["p_bacteria"], said["p_virus"] = [0.3, 0.7, 0.3], [0.5, 0.2, 0.1]
    expected = [[0.8, 0.15, 0.05], [0.05, 0.85, 0.1], [0.1, 0.15, 0.75]]
    np.testing.assert_allclose(selection.soft_labels(index, said), expected)
    np.testing.assert_allclose(selection.soft_labels(index, said, share=0.0), np.eye(3))
    np.testing.assert_allclose(selection.soft_labels(index, said, share=1.0)[0], [0.6, 0.3, 0.1])


def test_images_without_a_prediction_keep_their_label_and_rounded_ones_sum_to_one():
    index = builders.index_table(3)
    said = pd.DataFrame({"file": index.file[1:2], "p_normal": 0.333333})
    said = said.assign(p_bacteria=0.333333, p_virus=0.333333)
    found = selection.soft_labels(index, said)
    np.testing.assert_array_equal(found[[0, 2]], np.eye(3)[[0, 2]])
    np.testing.assert_allclose(found[1], [1 / 6, 4 / 6, 1 / 6])
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


# Calibration


@pytest.fixture(scope="module")
def folds():
    """Three folds of predictions that are surer than they are right, in different degrees."""
    signals = enumerate((0.4, 0.5, 0.7))
    return [builders.predictions(300, seed, x, classes=3, per_patient=1) for seed, x in signals]


def test_calibration_by_the_other_folds_mends_probabilities_that_are_too_sure(folds):
    found = selection.nested_calibration(folds)
    assert list(found.index) == ["before", "after"]
    assert list(found.columns) == ["log_loss", "ece"]
    assert (found.loc["after"] < found.loc["before"]).all()
    assert found.ece["before"] == evaluation.ece(pd.concat(folds))
    assert found.ece["after"] < 0.6 * found.ece["before"]


def test_each_fold_is_calibrated_by_the_others_only(folds):
    def losses(fitted_on):
        calibrated, codes = [], []
        for number, fold in enumerate(folds):
            rows = pd.concat([folds[other] for other in fitted_on(number)])
            calibration = models.fit_calibration(rows[evaluation.CLASSES].to_numpy(), rows.label)
            calibrated.append(calibration(fold[evaluation.CLASSES].to_numpy()))
            codes += [LABELS.index(label) for label in fold.label]
        return log_loss(codes, np.concatenate(calibrated))

    others = losses(lambda number: {0, 1, 2} - {number})
    found = selection.nested_calibration(folds).log_loss["after"]
    assert found == pytest.approx(others, abs=1e-9)
    assert found > losses(lambda number: {number}) + 1e-4
    assert found != pytest.approx(losses(lambda number: {0, 1, 2}), abs=1e-6)


def test_only_test_rows_count_for_calibration(folds):
    wrong = [table.assign(split="val", label="virus") for table in folds]
    both = [pd.concat(pair) for pair in zip(folds, wrong, strict=True)]
    expected = selection.nested_calibration(folds)
    pd.testing.assert_frame_equal(selection.nested_calibration(both), expected)


def test_one_fold_has_no_others_to_be_calibrated_by(folds):
    with pytest.raises(UserError, match="two folds or more"):
        selection.nested_calibration(folds[:1])
    assert np.isfinite(selection.nested_calibration(folds[:2])).all(axis=None)


# The ensemble


@pytest.fixture(scope="module")
def fits():
    """Two untrained fits of three classes."""

    def one(seed):
        keras.utils.set_random_seed(seed)
        record = {"seed": seed, "classes": 3, "train_seconds": 2.0, "settings_hash": "ab"[seed]}
        return training.Fit(models.cnn(SIDE, (4, 8), classes=3), record, pd.DataFrame())

    return [one(0), one(1)]


def test_one_fit_without_calibration_stays_and_others_get_hashes_of_their_own(fits, tmp_path):
    assert selection.ensemble(fits[:1], None, tmp_path) is fits[0]
    others = [
        selection.ensemble(fits[:1], Calibration(1.5, 0.1), tmp_path),
        selection.ensemble(fits, None, tmp_path),
        selection.ensemble(fits, Calibration(1.5, 0.1), tmp_path),
        selection.ensemble(fits, Calibration(1.5, 0.2), tmp_path),
    ]
    hashes = [fit.record["settings_hash"] for fit in (*fits, *others)]
    assert len(set(hashes)) == 6
    assert [fit.folder for fit in others] == [tmp_path / name for name in hashes[2:]]
    again = selection.ensemble(fits, Calibration(1.5, 0.2), tmp_path)
    assert again.record == others[-1].record


def test_the_record_of_an_ensemble_has_the_sums_of_its_members(fits, tmp_path):
    fit = selection.ensemble(fits, Calibration(1.5, 0.1), tmp_path)
    assert fit.record["train_seconds"] == 4.0
    assert fit.record["parameters"] == 2 * fits[0].model.count_params()
    assert fit.record["seed"] == 0 and fit.record["classes"] == 3
    assert "parameters" not in fits[0].record  # left as it was


def test_an_ensemble_gives_the_calibrated_mean_of_its_members(fits, images, tmp_path):
    mean = np.mean([fit.predict(images) for fit in fits], axis=0)
    averaged = selection.ensemble(fits, None, tmp_path)
    np.testing.assert_allclose(averaged.predict(images), mean, atol=1e-6)
    calibration = Calibration(1.5, 0.1)
    calibrated = selection.ensemble(fits, calibration, tmp_path)
    np.testing.assert_allclose(calibrated.predict(images), calibration(mean), atol=1e-5)
