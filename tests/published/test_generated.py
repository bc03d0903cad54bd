"""The published results: every number follows from the published predictions."""

import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from helpers import paths, results
from helpers.publishing import card, pages, readme, slides

MEGABYTE = 1_000_000
MEASURED = ("literature", "results", "replication")
SPEED = ("speed", "performance", "scale")
FILES = {"README.md": (*MEASURED, *SPEED), "CONTRIBUTING.md": ("modules",)}


def wrong_fits(
    folder: Path, scratch: Path, chosen: pd.Series | None = None, resamples: int = 2000
) -> list[str]:
    """Fits (the chosen ones) of which a published metric does not follow from predictions.

    Fewer resamples are quicker, and intervals are then not compared.
    """
    unlike = [] if resamples == 2000 else ["low", "high"]
    published = results.metrics(folder).set_index(results.KEY).sort_index().drop(columns=unlike)
    again = shutil.copytree(folder, scratch / "again", dirs_exist_ok=True)
    if chosen is not None:
        results.experiments(folder)[chosen].to_csv(again / "experiments.csv", index=False)
    wrong = []
    for key, rows in results.remeasure(again, resamples).groupby(results.KEY):
        rows = rows.drop(columns=unlike).reset_index(drop=True)
        try:
            pd.testing.assert_frame_equal(published.loc[[key]].reset_index(), rows, atol=1e-9)
        except AssertionError:
            wrong.append(results.prediction_name(dict(zip(results.KEY, key, strict=True))))
    return wrong


@pytest.mark.slow
def test_every_metric_follows_from_the_predictions(tmp_path):
    """The intervals are those of the first fit of each experiment and protocol."""
    rows = results.experiments()
    first = ~rows.duplicated(["experiment", "protocol"])
    assert wrong_fits(paths.RESULTS, tmp_path, first) == []
    assert wrong_fits(paths.RESULTS, tmp_path, ~first, resamples=50) == []
    measured = results.metrics()
    fits = (set(table[results.KEY].itertuples(index=False)) for table in (rows, measured))
    assert next(fits) == next(fits)


def test_each_fit_has_predictions_and_each_prediction_a_fit():
    rows = results.experiments().to_dict("records")
    folder = paths.RESULTS / "predictions"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.csv")}
    assert {results.prediction_name(row) for row in rows} == files
    assert {row["dataset"] for row in rows} == {"kermany"}


@pytest.mark.parametrize("table", ["metrics.csv", "predictions/texture_logistic/official-s0.csv"])
def test_an_edited_file_is_found(tmp_path, table):
    folder = shutil.copytree(paths.RESULTS, tmp_path / "results")
    rows = pd.read_csv(folder / table, keep_default_na=False)
    column = "value" if table == "metrics.csv" else "p_pneumonia"
    rows.loc[len(rows) - 1, column] = 0.123456
    rows.to_csv(folder / table, index=False)
    edited = rows.experiment.iloc[-1] if "experiment" in rows else "texture_logistic"
    of_it = results.experiments(folder).experiment == edited
    assert len(wrong_fits(folder, tmp_path, of_it, resamples=50)) == 1


@pytest.fixture(scope="module")
def generated():
    """The tables of the pages, as the published results give them."""
    return readme.tables()


@pytest.mark.parametrize("file", FILES)
def test_the_pages_show_what_is_generated(file, generated):
    assert readme.shown(paths.PROJECT / file) == {name: generated[name] for name in FILES[file]}


@pytest.mark.parametrize("name", MEASURED)
def test_an_edited_readme_is_found(tmp_path, name, generated):
    edited = Path(shutil.copy(paths.README, tmp_path / "README.md"))
    interval = re.findall(r"\((\d+\.\d)-", readme.shown(paths.README)[name])[-1]
    edited.write_text(edited.read_text().replace(f"({interval}", "(99.9"))
    assert readme.shown(edited)[name] != generated[name]
    readme.write(edited, generated)
    assert edited.read_text() == paths.README.read_text()


def test_the_slides_show_the_published_results():
    assert slides.page() == (paths.PRESENTATION / "slides.html").read_text()
    assert (paths.PRESENTATION / "slides.pdf").stat().st_size < 5 * MEGABYTE


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=paths.PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.mark.skipif(
    git("rev-parse", "--is-shallow-repository") != "false", reason="the history is not here"
)
def test_the_choice_was_committed_before_the_test_predictions():
    files = ["results/selection.json", "results/predictions/final/official-s0.csv"]
    if not (paths.PROJECT / files[1]).exists():
        pytest.skip("the test images have not been read with the final model yet")
    chosen, tested = (git("log", "-1", "--format=%H", "--", file) for file in files)
    assert chosen != tested
    assert git("merge-base", chosen, tested) == chosen


def test_the_model_is_the_one_that_its_card_describes():
    assert (paths.MODELS / "pneumonia.keras").stat().st_size <= 25 * MEGABYTE
    assert (paths.MODELS / "README.md").read_text() == card.card()


@pytest.mark.notebooks
def test_the_final_notebook_shows_what_its_cells_give(tmp_path):
    copy = shutil.copy(pages.final_notebook(), tmp_path / "final.ipynb")
    stored = nbformat.read(copy, as_version=4)
    pages.execute(Path(copy))
    again = nbformat.read(copy, as_version=4)
    assert texts(again) == texts(stored)
    assert pages.final_notebook().stat().st_size < 3 * MEGABYTE


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
