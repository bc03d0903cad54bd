"""The command that computes the metrics of a folder again."""

import shutil

import pandas as pd

from helpers import paths, results
from helpers.results.__main__ import main


def test_it_prints_one_line_and_writes_the_metrics(tmp_path, capsys):
    """A folder with one published fit, and metrics that were edited."""
    published = results.experiments()
    row = published[published.experiment == "cnn_1"].iloc[:1]
    row.to_csv(tmp_path / "experiments.csv", index=False)
    name = results.prediction_name(row.iloc[0])
    (tmp_path / "predictions" / name).parent.mkdir(parents=True)
    shutil.copy(paths.RESULTS / "predictions" / name, tmp_path / "predictions" / name)
    (tmp_path / "metrics.csv").write_text("edited")
    assert main([str(tmp_path)]) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "of 1 fits" in line and str(tmp_path / "metrics.csv") in line
    measured, before = results.metrics(tmp_path), results.metrics()
    same = (before[results.KEY] == row[results.KEY].iloc[0]).all(axis=1)
    pd.testing.assert_frame_equal(measured, before[same].reset_index(drop=True), atol=1e-9)


def test_a_folder_without_results_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: no experiments.csv in {tmp_path}")
