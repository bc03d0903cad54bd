"""What a call is worth: predictive values, net benefit, cost, and another prevalence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import evaluation
from tests import builders

quick = settings(max_examples=60, deadline=None)
shares = st.floats(0.01, 0.99)


@pytest.fixture
def called():
    """100 ill, 90 of them called; 200 healthy, 20 of them called."""
    return pd.DataFrame(
        {
            "file": [f"{row}.jpeg" for row in range(300)],
            "patient": [f"case {row}" for row in range(300)],
            "split": "test",
            "label": np.repeat(["virus", "normal"], [100, 200]),
            "p_pneumonia": np.repeat([0.9, 0.1, 0.8, 0.2], [90, 10, 20, 180]),
        }
    )


def test_predictive_values_are_those_of_the_table_at_its_own_prevalence(called):
    table = evaluation.predictive_values(called, 0.5, [1 / 3, 0.01], resamples=200)
    assert table.ppv[0] == pytest.approx(90 / 110)
    assert table.npv[0] == pytest.approx(180 / 190)
    assert table.ppv[1] == pytest.approx(0.009 / (0.009 + 0.099))
    assert (table.ppv_low < table.ppv).all() and (table.ppv < table.ppv_high).all()
    assert (table.npv_low < table.npv).all() and (table.npv < table.npv_high).all()


def test_predictive_values_of_calls_that_nobody_makes(called):
    none = evaluation.predictive_values(called, 1.1, [0.2], resamples=50).iloc[0]
    assert np.isnan(none.ppv) and none.npv == pytest.approx(0.8)


def test_decision_curve_by_hand(called):
    table = evaluation.decision_curve(called, [0.25, 0.5], resamples=200)
    assert table.model[0] == pytest.approx(90 / 300 - 20 / 300 / 3)
    assert table["all"][0] == pytest.approx(1 / 3 - 2 / 3 / 3)
    assert table.model[1] == pytest.approx(90 / 300 - 20 / 300)
    assert (table.low < table.model).all() and (table.model < table.high).all()
    rare = evaluation.decision_curve(called, [0.25], prevalence=0.05, resamples=50).iloc[0]
    assert rare.model == pytest.approx(0.05 * 0.9 - 0.95 * 0.1 / 3)


def test_expected_cost_by_hand(called):
    cost = evaluation.expected_cost(called, 0.5, [1, 10], prevalence=0.2)
    np.testing.assert_allclose(cost, [200 * 0.1 + 800 * 0.1, 200 * 0.1 * 10 + 800 * 0.1])
    two = evaluation.expected_cost(called, [0.5, 0.15], [1, 10], prevalence=0.2)
    np.testing.assert_allclose(two, [cost[0], 200 * 0.1 * 10 + 800])


def test_expected_cost_of_treating_all_or_none(called):
    ratios = np.geomspace(0.5, 200, 20)
    everyone = evaluation.expected_cost(called, 0, ratios, prevalence=0.2)
    np.testing.assert_allclose(everyone, 800)
    nobody = evaluation.expected_cost(called, np.inf, ratios, prevalence=0.2)
    np.testing.assert_allclose(nobody, 200 * ratios)


@quick
@given(st.integers(0, 100), shares, st.floats(0.5, 200))
def test_cost_and_net_benefit_say_the_same(seed, prevalence, ratio):
    """Where the threshold is 1 / (1 + ratio), cost = ratio * (what all missed cost - benefit)."""
    table, cut = builders.predictions(30, seed), 1 / (1 + ratio)
    cost = evaluation.expected_cost(table, cut, [ratio], prevalence)[0]
    curve = evaluation.decision_curve(table, [cut], prevalence, resamples=10)
    assert cost == pytest.approx(1000 * ratio * (prevalence - curve.model[0]), abs=1e-6)


def test_probabilities_at_another_prevalence():
    p = np.array([0.0, 0.3, 0.5, 1.0])
    np.testing.assert_allclose(evaluation.at_prevalence(p, 0.4, 0.4), p)
    moved = evaluation.at_prevalence(p, 0.1, 0.5)
    np.testing.assert_allclose(moved[[0, 2, 3]], [0, 0.1, 1])
    np.testing.assert_allclose(evaluation.at_prevalence(moved, 0.5, 0.1), p, atol=1e-12)
    assert evaluation.at_prevalence(0.5, 0.1, 0.5) == pytest.approx(0.1)


@quick
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), shares, shares)
def test_another_prevalence_keeps_the_order_and_can_be_undone(p, there, here):
    p = np.sort(p)
    moved = evaluation.at_prevalence(p, there, here)
    assert ((moved >= 0) & (moved <= 1)).all()
    assert (np.diff(moved) >= -1e-12).all()
    np.testing.assert_allclose(evaluation.at_prevalence(moved, here, there), p, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_shifted_predictions_are_the_collapsed_table_at_another_prevalence(classes):
    table = builders.validation_and_test(classes=classes)
    before, after = evaluation.collapse(table), evaluation.shift_predictions(table, 0.1, 2 / 3)
    expected = evaluation.at_prevalence(before["p_pneumonia"], 0.1, 2 / 3).round(6)
    pd.testing.assert_frame_equal(after, before.assign(p_pneumonia=expected))
    aucs = [
        evaluation.metrics(x, resamples=10).query("metric == 'auc'").value for x in (before, after)
    ]
    np.testing.assert_allclose(*aucs, atol=1e-3)  # only ties may come in by rounding
