"""Merge a run's finished fits, selection, figures and model into the published ones."""

import shutil
from functools import partial
from pathlib import Path

import pandas as pd

from helpers import data, lungs, paths, plotting, predict, results
from helpers.publishing import card
from helpers.utils import UserError, sha256, write_atomically

IMAGES = ["file", "official_split", "label", "patient"]  # what metrics take from a manifest


def publish(run: Path) -> int:
    """Merge every finished fit of a run, its selection, figures and model into the published ones.

    Nothing is merged unless all can be. What is made from the published results is written by
    `pages.write_pages`.

    Returns:
        The number of fits.

    Raises:
        UserError: the run has no results, is not on the real data set, a row does not belong to
            its predictions, a final model has no selection, or a model is not the one described.
    """
    source = run / "results"
    rows = results.experiments(source).to_dict("records")
    model = run / "models"
    _check_images(run, {row["dataset"] for row in rows})
    for row in rows:
        _check_stamp(run, row)
    if (model / predict.FACTS).exists():
        card.checked_facts(model, source)
    disjoint, fits = data.disjoint_files(results.manifest()), []
    for row in rows:
        table = results.predictions(**{name: row[name] for name in results.KEY}, folder=source)
        points = results.operating_points(row["experiment"], row["protocol"], source)
        measured = results.measure(row, table, disjoint, thresholds=points)
        fits.append((row, table, measured))
    if (source / results.SELECTION).exists():
        _copy(source / results.SELECTION, paths.RESULTS)
    for fit in fits:
        results.merge(paths.RESULTS, *fit)
    for row in rows:
        known = results.provenance_name(row)
        if (source / known).exists():
            _copy(source / known, (paths.RESULTS / known).parent)
    _copy_figures(sorted((run / "figures").glob("*.png")))
    if (model / predict.FACTS).exists():
        for name in (*predict.read_facts(model / predict.FACTS).sha256, predict.FACTS):
            _copy(model / name, paths.MODELS)
    if (model / lungs.FILE).exists():
        _copy(model / lungs.FILE, paths.MODELS)
    return len(rows)


def _copy_figures(figures: list[Path]) -> None:
    """Copy figures; those that do not say what they were drawn from get a digest in a table."""
    table = paths.RESULTS / results.FIGURES
    known = pd.read_csv(table, index_col="figure").sha256.to_dict() if table.exists() else {}
    for figure in figures:
        _copy(figure, paths.IMAGES)
        known.pop(figure.stem, None)
        if not plotting.source(figure):
            known[figure.stem] = sha256(figure)
    listed = pd.Series(known, name="sha256", dtype=str).sort_index().rename_axis("figure")
    write_atomically(table, listed.to_csv)


def _copy(path: Path, folder: Path) -> None:
    write_atomically(folder / path.name, partial(shutil.copyfile, path))


def _check_images(run: Path, datasets: set[str]) -> None:
    """Raise UserError unless the run is on the images that the published manifest lists."""
    if wrong := sorted(datasets - {"kermany"}):
        raise UserError(f"{run} ran on {', '.join(wrong)}: only runs on kermany are published")
    if not results.manifest(run / "results")[IMAGES].equals(results.manifest()[IMAGES]):
        raise UserError(
            f"{run} ran on other images than {paths.MANIFEST} lists: run it again on all of them"
        )


def _check_stamp(run: Path, row: dict) -> None:
    stamp = run / "fits" / row["settings_hash"] / "predictions.sha256"
    table = run / "results" / "predictions" / results.prediction_name(row)
    if not stamp.exists() or not table.exists() or stamp.read_text() != sha256(table):
        raise UserError(
            f"the row of {row['experiment']} under {row['protocol']} (settings "
            f"{row['settings_hash']}) does not belong to {table}: run the notebook "
            f"{row['notebook']} again"
        )
