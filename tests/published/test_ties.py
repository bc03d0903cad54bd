"""Published files are tied to what made them: each tie holds, and breaks on an edited copy."""

import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import costs
from helpers import data, evaluation, models, paths, plotting, predict, results
from helpers.utils import UserError
from tests.published import checks

CHECKS = {
    check.__name__: check
    for check in (
        checks.fits,
        checks.borrowed,
        checks.rows_of_images,
        checks.held_out,
        checks.choice,
        checks.facts,
        checks.provenance,
    )
}
FINAL = "predictions/final/official-s0.csv"


@pytest.mark.parametrize("name", CHECKS)
def test_published_results_hold_together(name):
    assert CHECKS[name](paths.RESULTS) == []


def edit_row(name, value, experiment="final", table="experiments.csv"):
    """Edits the first row of an experiment in a table."""

    def edit(folder: Path) -> None:
        rows = pd.read_csv(folder / table, dtype=str, keep_default_na=False)
        rows.loc[(rows.experiment == experiment).idxmax(), name] = value
        rows.to_csv(folder / table, index=False)

    return edit


def edit_choice(**changed):
    def edit(folder: Path) -> None:
        chosen = json.loads((folder / "selection.json").read_text())
        for name, value in changed.items():
            *outer, last = name.split("__")
            inner = chosen
            for step in outer:
                inner = inner[step]
            inner[last] = value
        (folder / "selection.json").write_text(json.dumps(chosen))

    return edit


def provenance(folder: Path) -> Path:
    """What the final model was made with and from."""
    row = results.experiments(folder).query("experiment == 'final'").iloc[0]
    return folder / results.provenance_name(row)


def edit_provenance(change):
    def edit(folder: Path) -> None:
        path = provenance(folder)
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return edit


def copy_over(source, target):
    return lambda folder: shutil.copy(
        folder / "predictions" / source, folder / "predictions" / target
    )


def change_table(name, change):
    def edit(folder: Path) -> None:
        change(pd.read_csv(folder / name)).to_csv(folder / name, index=False)

    return edit


def sealed(edit):
    """The edit by one who knows the digests and writes them anew."""

    def both(folder: Path) -> None:
        edit(folder)
        rows = pd.read_csv(folder / "experiments.csv", dtype=str, keep_default_na=False)
        rows["digest"] = [results.fit_digest(row, folder) for row in rows.to_dict("records")]
        rows.to_csv(folder / "experiments.csv", index=False)

    return both


EDITS = {  # what is edited in a copy: the edit, and the check that notices it
    "another fit under final": (
        copy_over("final_ensemble/official-s0.csv", "final/official-s0.csv"),
        "fits",
    ),
    "another fit under resnet": (
        copy_over("cnn_4/official-s0.csv", "resnet/official-s0.csv"),
        "fits",
    ),
    "another fit under resnet, sealed": (
        sealed(copy_over("cnn_4/official-s0.csv", "resnet/official-s0.csv")),
        "borrowed",
    ),
    "a probability": (
        change_table(FINAL, lambda x: x.assign(p_normal=x.p_normal.where(x.index > 0, 0.5))),
        "fits",
    ),
    "seconds of training": (edit_row("train_seconds", "12.0"), "fits"),
    "commit of the code": (edit_row("code_version", "0123456789"), "fits"),
    "epochs, sealed": (sealed(edit_row("epochs_run", "1")), "facts"),
    "image size, sealed": (sealed(edit_row("image_size", "512", "resnet")), "facts"),
    "parameters of a baseline, sealed": (
        sealed(edit_row("parameters", "9", "texture_logistic")),
        "facts",
    ),
    "what a fit was made with": (edit_provenance(lambda x: x | {"threads": 9}), "provenance"),
    "what a fit was made from": (
        edit_provenance(lambda x: x | {"settings": x["settings"] | {"seed": 9}}),
        "provenance",
    ),
    "no word of what a fit was made from": (lambda x: provenance(x).unlink(), "provenance"),
    "test images deleted, sealed": (
        sealed(change_table(FINAL, lambda x: x[:-1])),
        "rows_of_images",
    ),
    "a label changed, sealed": (
        sealed(change_table(FINAL, lambda x: x.assign(label=x.label.where(x.index > 0, "virus")))),
        "rows_of_images",
    ),
    "a fold twice, sealed": (
        sealed(
            copy_over(
                "final_member/cross_validated-s0-f0.csv", "final_member/cross_validated-s0-f1.csv"
            )
        ),
        "held_out",
    ),
    "the choice, after it was used": (edit_choice(chosen_by="the best on test"), "fits"),
    "threshold chosen on test, sealed": (
        sealed(edit_choice(thresholds__final__balanced=0.91)),
        "choice",
    ),
    "threshold of the ensemble, sealed": (
        sealed(edit_choice(thresholds__final_ensemble__screening=0.4)),
        "choice",
    ),
    "score of a candidate, sealed": (sealed(edit_choice(candidates__mixup__auc=0.999)), "choice"),
    "frame score of a candidate, sealed": (
        sealed(edit_choice(candidates__wide_margin__framing_auc=0.98)),
        "choice",
    ),
    "calibration, sealed": (sealed(edit_choice(calibration__scale=1.0)), "choice"),
    "prevalence, sealed": (sealed(edit_choice(prevalence=0.5)), "choice"),
    "candidate, sealed": (sealed(edit_choice(candidate="light", changes=[])), "choice"),
    "settings, sealed": (sealed(edit_choice(settings__epochs=40)), "choice"),
    "hash, sealed": (sealed(edit_choice(settings_hashes__final_ensemble="0" * 16)), "choice"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_an_edited_copy_is_noticed(name, tmp_path):
    edit, check = EDITS[name]
    folder = shutil.copytree(paths.RESULTS, tmp_path / "results")
    edit(folder)
    try:
        assert CHECKS[check](folder) != []
    except UserError as error:  # noticed when it is read
        assert f"{folder}/" in str(error)


def test_measuring_again_seals_nothing(tmp_path):
    """Only a fit that is saved or published gets a digest."""
    folder = shutil.copytree(paths.RESULTS, tmp_path / "results")
    rows = results.experiments(folder)
    rows[rows.experiment == "resnet"].to_csv(folder / "experiments.csv", index=False)
    EDITS["another fit under resnet"][0](folder)
    results.remeasure(folder, resamples=50)
    assert checks.fits(folder) == ["resnet/official-s0.csv"]


# Facts that cost something to compute


SMALL = (
    "dense",
    "cnn_1",
    "cnn_2",
    "cnn_4",
    "relu",
    "leakyrelu",
    "resnet",
    "three_class_a",
    "three_class_f",
)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_has_the_parameters_and_the_cost_that_are_published(name, backend):
    fit = results.experiments().query("experiment == @name and protocol == 'official'").iloc[0]
    network = costs.build(fit)
    row = pd.read_csv(paths.RESULTS / "costs.csv", index_col="experiment").loc[name]
    assert network.count_params() == fit.parameters == row.parameters
    assert round(models.mflops(network), 2) == row.mflops
    assert fit.image_size == row.image_size


# The model that is shipped


@pytest.fixture(scope="module")
def shipped():
    return predict.open_model()


def test_the_shipped_model_takes_ill_phantoms_for_more_ill(shipped, index):
    """No figure of merit; a model that was turned round, or another kind of model, fails it."""
    some = index[index.label.isin(["normal", "bacteria"])].groupby("label").head(12)
    images = np.asarray(data.load(some, shipped.facts.image_size))
    p = 1 - shipped.probabilities(images)[:, 0]
    assert roc_auc_score(some.label != "normal", p) > 0.8
    assert predict.largest_difference(paths.MODELS, images[:4]) < 1e-4


@pytest.mark.real
def test_the_shipped_model_says_what_is_published(shipped, real_folder):
    published = results.predictions(results.FINAL)
    sample = published.groupby(["split", "label"]).sample(8, random_state=0).set_index("file")
    index = data.index(real_folder)
    index = index[index.file.isin(sample.index)]
    said = shipped.probabilities(data.load(index, shipped.facts.image_size))
    expected = sample.loc[index.file, evaluation.CLASSES].to_numpy()
    np.testing.assert_allclose(said, expected, atol=1e-3)
    assert len(index) == len(sample) == 48


def test_the_shipped_model_has_the_parameters_and_the_cost_that_are_published():
    shipped = predict.open_model(paths.MODELS / predict.FILES[0])
    fit = results.experiments().query("experiment == 'final'").iloc[0]
    assert shipped.classifier.count_params() == fit.parameters
    known = pd.read_csv(paths.RESULTS / "costs.csv", index_col="experiment")
    for row in known[known.index == results.FINAL].itertuples():
        assert shipped.network.count_params() == row.parameters
        assert round(models.mflops(shipped.network), 2) == row.mflops


# Figures


def test_every_figure_was_drawn_from_the_published_results():
    assert checks.figures(paths.RESULTS) == []


@pytest.mark.parametrize("nameless", [True, False])
def test_a_figure_of_an_older_run_is_noticed(tmp_path, nameless):
    """One that names other tables, and one that names none and is not listed."""
    images, name = tmp_path / "images", "03_dense_roc"
    images.mkdir()
    where = results.Story(tmp_path, images, "kermany")
    (tmp_path / "metrics.csv").write_text("of an older run")
    shutil.copy(paths.IMAGES / "01_eda_counts.png", images)
    if nameless:
        plt.figure().savefig(images / f"{name}.png")
    else:
        plotting.save(plt.figure(), where, name)
    assert checks.figures(paths.RESULTS, images) == [name]


def test_a_figure_in_place_of_another_is_noticed(tmp_path):
    names = ["02_baseline_roc", "06_roc"]
    for name in names:
        shutil.copy(paths.IMAGES / "02_baseline_roc.png", tmp_path / f"{name}.png")
    assert checks.figures(paths.RESULTS, tmp_path) == names
