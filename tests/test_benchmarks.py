"""What the benchmark makes of its measurements; the measuring itself is not tested."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import __main__ as benchmark
from benchmarks import pictures, rows
from helpers import data


def table(*found):
    return pd.DataFrame([benchmark.row(part, name, values, "") for part, name, values in found])


def test_a_row_is_the_median_between_the_lowest_and_the_highest():
    row = benchmark.row("loading", "ours", [3.0, 1.0, 8.0], "note")
    assert (row["low"], row["value"], row["high"], row["repeats"]) == (1, 3, 8, 3)
    missing = benchmark.row("loading", "ours", [], "not there")
    assert np.isnan(missing["value"]) and missing["repeats"] == 0


def test_ratios_are_to_the_first_row_of_a_part_and_shares_to_the_products():
    found = benchmark.with_ratios(
        table(
            ("machine", "matrix products, float32", [60.0, 60.0, 100.0]),
            ("machine", "matrix products, bfloat16", [400.0]),
            ("training", "usual", [20.0]),
            ("training", "ours, bfloat16", [100.0]),
        )
    ).set_index("name")
    assert list(found.ratio) == [1, 6.667, 1, 5]
    assert found.share["usual"] == pytest.approx(20 * benchmark.GFLOP / 100, abs=1e-3)
    assert found.share["ours, bfloat16"] == pytest.approx(100 * benchmark.GFLOP / 400, abs=1e-3)
    assert found.share.isna().sum() == 2


def test_what_is_measured_again_takes_the_place_of_its_part(tmp_path):
    path = tmp_path / "benchmark.csv"
    benchmark.write(table(("machine", "a", [1.0]), ("loading", "b", [2.0])), path)
    benchmark.write(table(("loading", "b", [4.0]), ("loading", "c", [8.0])), path)
    found = pd.read_csv(path)
    assert list(found.name) == ["a", "b", "c"]
    assert list(found.value) == [1, 4, 8] and list(found.ratio) == [1, 1, 2]


def test_the_arithmetic_of_the_network_is_what_its_layers_take(backend):
    from helpers import models

    counted = models.mflops(models.cnn(rows.SIDE, rows.FILTERS))
    assert pytest.approx(6 * counted / 1000, rel=1e-3) == benchmark.GFLOP


def test_the_pictures_can_be_indexed(tmp_path):
    found = data.index(pictures.write(tmp_path, 6, 64, 64))
    assert len(found) == 6 and found.patient.nunique() == 6
    assert set(found.label) == {"normal", "bacteria"} and (found.width == 64).all()


def test_the_first_repeat_does_not_count(monkeypatch):
    clock = iter([0.0, 100.0, 100.0, 102.0, 102.0, 103.0])
    monkeypatch.setattr(rows.time, "perf_counter", lambda: next(clock))
    assert rows.repeated(lambda: None, 10, repeats=2) == [5, 10]


def test_figure_shows_each_part_that_is_in_images_a_second():
    found = benchmark.with_ratios(
        table(("machine", "a", [1.0]), ("loading", "usual", [2.0]), ("loading", "ours", [99.0]))
    )
    assert [axis.get_title() for axis in benchmark.draw(found).axes] == ["loading"]


def test_every_row_of_a_part_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "measure", lambda part, name, *_: ([len(name)], "a note"))
    path = tmp_path / "benchmark.csv"
    options = ["--count", "2", "--rounds", "3", "--out", str(path)]
    assert benchmark.main(["machine", *options]) == 0
    found = pd.read_csv(path)
    assert list(found.name) == list(rows.ROWS["machine"])
    assert (found.value == found.name.str.len()).all() and (found.repeats == 3).all()
    assert found.device.notna().all()


def test_a_single_row_is_shown_and_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "measure", lambda part, name, *_: ([len(name)], "a note"))
    path = tmp_path / "benchmark.csv"
    options = ["--only", "bfloat16", "--count", "2", "--rounds", "1", "--out", str(path)]
    assert benchmark.main(["machine", *options]) == 0
    assert capsys.readouterr().out.startswith("machine, matrix products, bfloat16: [25]")
    assert not path.exists()


def test_seconds_have_no_ratio():
    found = table(("loading", "usual", [2.0]), ("series", "make run", [300.0]))
    assert benchmark.with_ratios(found).ratio.isna().tolist() == [False, True]
