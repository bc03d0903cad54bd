"""The published results: every number follows from the published predictions."""

import shutil
import subprocess
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from helpers import card, data, publishing, results, slides
from helpers.settings import MANIFEST, PROJECT, RESULTS

MEGABYTE = 1_000_000


def wrong_metrics(folder: Path, experiment: str = "") -> list[str]:
    """Fits (of one experiment) of which a published metric does not follow from predictions."""
    disjoint = data.disjoint_files(pd.read_csv(MANIFEST))
    measured = results.metrics(folder)
    rows = results.experiments(folder)
    wrong = []
    if experiment:
        rows = rows[rows.experiment == experiment]
    for row in rows.to_dict("records"):
        name = results.prediction_name(row)
        rules = results.selected_threshold(row["experiment"], folder)
        table = pd.read_csv(folder / "predictions" / name)
        again = results.measure(row, table, disjoint, thresholds=rules)
        key = [row[column] for column in results.KEY]
        same = (measured[results.KEY] == key).all(axis=1)
        try:
            pd.testing.assert_frame_equal(
                measured[same].reset_index(drop=True),
                again.fillna({"threshold_rule": ""}),
                check_dtype=False,
                atol=1e-9,
            )
        except AssertionError:
            wrong.append(name)
    return wrong


def test_every_metric_follows_from_the_predictions():
    assert wrong_metrics(RESULTS) == []


def test_each_fit_has_predictions_and_each_prediction_a_fit():
    rows = results.experiments().to_dict("records")
    files = {str(path.relative_to(RESULTS / "predictions")) for path in RESULTS.rglob("*-s*.csv")}
    assert {results.prediction_name(row) for row in rows} == files
    assert {row["dataset"] for row in rows} == {"kermany"}


@pytest.mark.parametrize("table", ["metrics.csv", "predictions/texture_logistic/official-s0.csv"])
def test_an_edited_file_is_found(tmp_path, table):
    folder = shutil.copytree(RESULTS, tmp_path / "results")
    rows = pd.read_csv(folder / table, keep_default_na=False)
    column = "value" if table == "metrics.csv" else "p_pneumonia"
    rows.loc[len(rows) - 1, column] = 0.123456
    rows.to_csv(folder / table, index=False)
    edited = rows.experiment.iloc[-1] if "experiment" in rows else "texture_logistic"
    assert len(wrong_metrics(folder, edited)) == 1


def test_the_readme_shows_the_published_results():
    assert publishing.shown_tables() == publishing.readme_tables()


@pytest.mark.parametrize("name", publishing.TABLES)
def test_an_edited_readme_is_found(tmp_path, name):
    edited = Path(shutil.copy(publishing.README, tmp_path / "README.md"))
    number = publishing.shown_tables()[name].rsplit("(", 1)[1][:4]
    edited.write_text(edited.read_text().replace(f"({number}", "(99.9"))
    assert publishing.shown_tables(edited)[name] != publishing.readme_tables()[name]
    publishing.write_readme(edited)
    assert edited.read_text() == publishing.README.read_text()


def test_the_slides_show_the_published_results():
    assert slides.page() == (slides.FOLDER / "slides.html").read_text()
    assert (slides.FOLDER / "slides.pdf").stat().st_size < 5 * MEGABYTE


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.mark.skipif(
    git("rev-parse", "--is-shallow-repository") != "false", reason="the history is not here"
)
def test_the_choice_was_committed_before_the_test_predictions():
    paths = ["results/selection.json", "results/predictions/final/official-s0.csv"]
    chosen, tested = (git("log", "-1", "--format=%H", "--", path) for path in paths)
    assert chosen != tested
    assert git("merge-base", chosen, tested) == chosen


def test_the_model_is_the_one_that_its_card_describes():
    assert (card.MODELS / "pneumonia.keras").stat().st_size <= 25 * MEGABYTE
    assert (card.MODELS / "README.md").read_text() == card.card()


def test_the_final_notebook_shows_what_its_cells_give(tmp_path):
    copy = shutil.copy(publishing.FINAL, tmp_path / "final.ipynb")
    stored = nbformat.read(copy, as_version=4)
    publishing.execute_final(Path(copy))
    again = nbformat.read(copy, as_version=4)
    assert texts(again) == texts(stored)
    assert publishing.FINAL.stat().st_size < 3 * MEGABYTE


def texts(notebook) -> list:
    """Source and text outputs of every cell; pictures may differ by a renderer's version."""
    return [
        (
            cell.source,
            [
                output.get("text") or output.get("data", {}).get("text/markdown")
                for output in cell.get("outputs", [])
            ],
        )
        for cell in notebook.cells
    ]
