"""The tables of speed: what was measured, in words, and a million files on paper."""

import pandas as pd
import pytest

from helpers import paths, results
from helpers.publishing import performance

MACHINE = {"device": "processor (2 cores)", "threads": 2}
ROWS = [
    ("training", "usual", 40.0, 38.0, 41.0, "images/s", 4, 1.0, 0.25, ""),
    ("training", "ours", 160.04, 150.0, 162.0, "images/s", 4, 4.001, 1.0, ""),
    ("training", "missing", None, None, None, "images/s", 0, None, None, "not installed"),
    ("series", "make run", 300.0, 300.0, 300.0, "s", 1, None, None, "500 CPU seconds"),
]
COLUMNS = ["part", "name", "value", "low", "high", "unit", "repeats", "ratio", "share", "note"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def test_rows_are_told_in_words(folder):
    table = pd.DataFrame(ROWS, columns=COLUMNS).assign(**MACHINE)
    table.to_csv(folder / "benchmark.csv", index=False)
    shown = performance.performance()
    assert shown.index.name == "processor (2 cores), 2 threads"
    assert list(shown.loc["training: usual"]) == ["40.0 images/s", "38.0-41.0", "1.00", "25 %"]
    assert list(shown.loc["training: ours"]) == ["160 images/s", "150-162", "4.00", "100 %"]
    assert list(shown.loc["training: missing"]) == ["- (not installed)", "-", "-", "-"]
    assert list(shown.loc["series: make run"]) == ["300 s (500 CPU seconds)", "-", "-", "-"]
    short = performance.in_short()
    assert list(short.index) == ["series: make run"]
    assert "| training: ours | 160 images/s |" in results.markdown(shown)


def test_a_million_files_lie_on_the_line_through_the_fewest_and_the_most(folder):
    columns = ["index_seconds", "decode_seconds", "epoch_seconds", "memory_mb", "cache_mb"]
    rows = [(1000, 64, 1, 2, 3, 50, 4), (10_000, 64, 10, 20, 30, 52, 40)]
    table = pd.DataFrame(rows, columns=["count", "side", *columns])
    table.to_csv(folder / "scale.csv", index=False)
    shown = performance.scale()
    assert list(shown.index) == ["1,000", "10,000", "1,000,000 (extended)"]
    assert list(shown.iloc[-1]) == ["64", "1,000.0", "2,000.0", "3,000.0", "272", "3.91"]


def test_before_anything_is_measured_the_tables_are_empty(folder):
    for table in (performance.performance(), performance.in_short(), performance.scale()):
        assert results.markdown(table).startswith("| not measured yet |")
