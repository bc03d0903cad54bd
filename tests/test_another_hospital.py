"""Radiographs of another hospital, from `labels.csv` to metrics and a figure."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import data, evaluation, models, plotting, results, training
from helpers.utils import UserError
from tests import builders

SIDE = 32
CONFIG = training.TrainingConfig(epochs=2, patience=2)


def hospital(root: Path, index: pd.DataFrame, **columns) -> Path:
    """The synthetic radiographs under other names and without their mark, with `labels.csv`."""
    builders.labelled_folder(root, index, **columns)
    for path in root.glob("*.jpeg"):
        Image.fromarray(np.asarray(Image.open(path).convert("L"))).save(path)
    return root


def fit(table: pd.DataFrame, classes: int, run: results.Run) -> tuple[training.Fit, np.ndarray]:
    images = data.load(table, SIDE)
    build = partial(models.cnn, SIDE, (4, 8), classes=classes)
    return training.fit(build, images, table, CONFIG, seed=0, cache_dir=run.fits), images


def values(measured: pd.DataFrame) -> dict[str, float]:
    """The AUC on the test images, by subset."""
    chosen = measured[(measured.split == "test") & (measured.metric == "auc")]
    return dict(zip(chosen.subset, chosen.value, strict=True))


def test_three_classes_with_test_images_of_their_own(index, tmp_path, run_folder):
    folder = hospital(tmp_path / "hospital", index, split=index.official_split)
    table = data.split(data.index(folder), "official", seed=0)
    assert set(table.file[table.split == "test"]) == set(table.file[table.official_split == "test"])
    assert data.describe(table).startswith("Radiographs of the data set other: ")
    run = results.Run("test", "test", table, resamples=50)
    assert run.folder == run_folder / "test-other"

    fitted, images = fit(table, 3, run)
    evaluated = run.evaluate(fitted, images, table, "cnn", "official")
    assert set(evaluated.predictions.patient) <= set(table.patient)
    found = values(evaluated.metrics)
    assert set(found) == {"all", "disjoint", "binary", "binary_disjoint"}
    assert all(0 <= auc <= 1 for auc in found.values())

    again = results.predictions("cnn", folder=run.results)
    pd.testing.assert_frame_equal(again, evaluated.predictions)
    before = results.metrics(run.results)
    pd.testing.assert_frame_equal(results.remeasure(run.results, resamples=50), before)
    assert results.experiments(run.results).dataset.tolist() == ["other"]

    plotting.save(plotting.roc({"CNN": evaluated.predictions}), run, "roc")
    assert (run.figures / "roc.png").stat().st_size > 1000


def test_pneumonias_of_unknown_pathogen_in_two_classes(index, tmp_path, run_folder):
    labels = np.where(index.label == "normal", "normal", data.PNEUMONIA)
    folder = hospital(tmp_path / "hospital", index, label=labels)
    known = data.index(folder)
    with pytest.raises(UserError, match="official test images"):
        data.split(known, "official", seed=0)
    table = data.split(known, "pooled_patient", seed=1)
    assert not data.seen_in(table, "test", "train").any()

    run = results.Run("test", "test", table, resamples=50)
    fitted, images = fit(table, 2, run)
    evaluated = run.evaluate(fitted, images, table, "cnn", "pooled_patient")
    assert set(evaluated.predictions.label) == {"normal", data.PNEUMONIA}
    assert set(values(evaluated.metrics)) == {"all"}
    assert (
        evaluation.confusion(evaluated.predictions).to_numpy().sum()
        == (table.split == "test").sum()
    )
    plotting.save(plotting.roc({"CNN": evaluated.predictions}), run, "roc")
    assert (run.figures / "roc.png").exists()

    with pytest.raises(UserError, match="three classes need a label out of normal, bacteria, vir"):
        fit(table, 3, run)
