"""Figures as text."""

import pandas as pd
import pytest

from helpers import results


def test_an_interval_is_written_in_percent():
    row = pd.Series({"value": 0.98251, "low": 0.97396, "high": 0.99049})
    assert results.format_interval(row) == "98.3 % (97.4-99.0)"
    assert results.format_interval(row, unit="") == "98.3 (97.4-99.0)"
    assert results.format_interval(row, digits=2) == "98.25 % (97.40-99.05)"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.004, 0.006, "zero lies inside the interval"),
        (0.0001, 0.006, "zero lies just outside the interval: weak evidence"),
        (0.002, 0.006, "zero lies outside the interval"),
        (-0.006, -0.002, "zero lies outside the interval"),
    ],
)
def test_a_difference_says_where_zero_lies(low, high, said):
    row = {"difference": 0.003, "low": low, "high": high}
    text = results.format_difference(row)
    assert text == f"+0.3 points ({100 * low:+.1f} to {100 * high:+.1f}; {said})"


def test_markdown_puts_the_index_first():
    table = pd.DataFrame({"AUC": ["98.3"]}, pd.Index(["`final`"], name="experiment"))
    expected = "| experiment | AUC |\n|---|---|\n| `final` | 98.3 |"
    assert results.markdown(table) == expected
