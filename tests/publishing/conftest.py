"""A finished run with stand-ins of fits and of a final model, and empty places to publish to."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers import data, paths, predict, results, training
from helpers.utils import sha256

POINTS = {"balanced": 0.25, "screening": 0.125}
FACTS = {
    "thresholds": POINTS,
    "image_size": 224,
    "margin": 0.03,
    "labels": ["normal", "bacteria", "virus"],
    "chest_check": {"mean": [0] * 256, "components": [[0] * 256], "upright": [0] * 256}
    | {"most_unexplained": 1},
    "least_detail": 0.1,
    "most_spread": 0.1,
    "most_distance": 100.0,
}


@pytest.fixture
def run(index, run_folder):
    """A run that holds the constant answer."""
    run = results.Run("02_baseline", "test", index, resamples=50)
    save(run, index, "most_frequent")
    return run


def save(run, index, experiment, classes=2, protocol="official", fold=None):
    """Save random predictions of an experiment as if a fit had made them."""
    table = data.split(index, "official", seed=0)
    rows = table.loc[table.split != "train", ["file", "patient", "split", "label"]]
    p = np.random.default_rng(fold).dirichlet(np.ones(3), len(rows)).round(6)
    if classes == 3:
        rows = rows.assign(**dict(zip(("p_normal", "p_bacteria", "p_virus"), p.T, strict=True)))
    else:
        rows = rows.assign(p_pneumonia=1.0)
    facts = {"seed": 0, "classes": classes, "weights": "imagenet", "parameters": 1000}
    facts |= {"train_seconds": 2.0, "device": "a processor", "precision": "float32"}
    facts |= {"settings_hash": f"{experiment}-{protocol}-{fold}"}
    record = dict.fromkeys(results.EXPERIMENT_COLUMNS, "") | facts
    for name in ("experiment", "notebook", "dataset", "protocol", "fold", "code_version", "digest"):
        del record[name]  # the run says these
    fit = training.Fit(None, record, pd.DataFrame(), run.fits / record["settings_hash"])
    run.save(fit, rows, experiment, protocol, fold)


@pytest.fixture
def pretend_real(run):
    """Call it to let the fits of the run look as if they were of the real data set."""

    def pretend():
        path = run.results / "experiments.csv"
        path.write_text(path.read_text().replace("synthetic", "kermany"))

    return pretend


@pytest.fixture
def final(run, index, pretend_real):
    """A stand-in of the final model in the run; gives the folder of its files."""
    results.write_selection(run.results, thresholds={"final": POINTS}, prevalence=0.742)
    save(run, index, "final", classes=3)
    for fold in (0, 1):
        save(run, index, "final_member", classes=3, protocol="cross_validated", fold=fold)
    pretend_real()
    folder = run.folder / "models"
    folder.mkdir()
    for name in predict.FILES:
        (folder / name).write_text(name)
    digests = {path.name: sha256(path) for path in folder.iterdir()}
    facts = FACTS | {"sha256": digests}
    (folder / predict.FACTS).write_text(json.dumps(facts))
    return folder


@pytest.fixture
def published(run, tmp_path, monkeypatch):
    """Empty folders in place of the published results, figures and model; gives the results."""
    for name in ("RESULTS", "IMAGES", "MODELS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "MANIFEST", run.results / "manifest.csv")
    return tmp_path / "results"
