"""Shifts between parts of a collection: groups told apart, and gains over several fits."""

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from helpers import evaluation
from helpers.utils import UserError
from tests.builders import predictions, validation_and_test

GENERATOR = np.random.default_rng(0)
INSIDE = np.arange(200) % 4 == 0
PATIENTS = np.arange(200) // 2
SCORES = GENERATOR.normal(size=200) + INSIDE


def test_the_auc_is_that_of_scikit_learn_and_its_interval_holds_it():
    found = evaluation.told_apart(INSIDE, SCORES, PATIENTS, resamples=300)
    assert found.value == pytest.approx(sk.roc_auc_score(INSIDE, SCORES))
    assert found.low < found.value < found.high


def test_within_strata_only_their_own_pairs_count():
    strata = GENERATOR.integers(3, size=200)
    pairs = [
        (float(SCORES[i] > SCORES[j]), strata[i] == strata[j])
        for i in np.flatnonzero(INSIDE)
        for j in np.flatnonzero(~INSIDE)
    ]
    expected = np.mean([right for right, together in pairs if together])
    found = evaluation.told_apart(INSIDE, SCORES, PATIENTS, strata, resamples=50)
    assert found.value == pytest.approx(expected)
    explained = evaluation.told_apart(INSIDE, strata, PATIENTS, strata, resamples=50)
    assert explained.value == 0.5


def test_scores_are_of_images_whose_patient_was_not_met():
    own = np.eye(100)[PATIENTS]  # names the patient, and says nothing of another one
    of_patient = (np.arange(100) % 2 == 0)[PATIENTS]
    scores = evaluation.out_of_fold_scores(LogisticRegression(), own, of_patient, PATIENTS)
    assert abs(evaluation.told_apart(of_patient, scores, PATIENTS, resamples=50).value - 0.5) < 0.2
    assert len(set(scores)) > 2  # how much, not only which
    scores = evaluation.out_of_fold_scores(
        LogisticRegression(), of_patient[:, None].astype(float), of_patient, PATIENTS
    )
    assert evaluation.told_apart(of_patient, scores, PATIENTS, resamples=50).value == 1


@pytest.mark.parametrize("few", [3, 197])
def test_too_small_a_group_is_said(few):
    with pytest.raises(UserError, match=f"{few} of 200 images"):
        evaluation.out_of_fold_scores(
            LogisticRegression(), SCORES[:, None], np.arange(200) < few, PATIENTS
        )


def test_the_gain_of_one_pair_is_that_of_compare():
    a, b = validation_and_test(signal=3), validation_and_test(signal=0.5)
    found = evaluation.mean_gain([(a, b)], resamples=200)
    row = evaluation.compare(a, b, resamples=200).set_index("metric").loc["auc"]
    np.testing.assert_allclose(found, row[["difference", "low", "high"]].astype(float))


def test_the_gain_of_several_pairs_is_their_mean():
    pairs = [(predictions(seed=s, signal=3), predictions(seed=s, signal=1)) for s in (0, 1)]
    single = [evaluation.mean_gain([pair], resamples=50).value for pair in pairs]
    found = evaluation.mean_gain(pairs, resamples=50)
    assert found.value == pytest.approx(np.mean(single))
    assert evaluation.mean_gain([(a, a) for a, _ in pairs], resamples=50).high == 0
    with pytest.raises(UserError, match="other images"):
        evaluation.mean_gain([(pairs[0][0], predictions(80))])
