"""What a fit leaves behind: written, replaced, read, published, refused."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from sklearn.dummy import DummyClassifier

from helpers import card, data, evaluation, publishing, results, training
from helpers.settings import PROJECT, UserError, sha256


@pytest.fixture
def table(index):
    return data.official(index, seed=0)


def constant_fit(table, cache, strategy="most_frequent", seed=0):
    features = data.metadata(table)
    estimator = DummyClassifier(strategy=strategy, random_state=seed)
    fit = training.fit_estimator(estimator, features, table, seed=seed, image_size=16, cache=cache)
    return fit, evaluation.predict(fit, features, table)


@pytest.fixture
def run(index, table, run_folder):
    run = results.Run("02_baseline", "test", index, resamples=50)
    run.save(*constant_fit(table, run.fits), "most_frequent", "official")
    return run


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Empty folders in place of the published results and figures."""
    monkeypatch.setattr(publishing, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(publishing, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(publishing, "MODELS", tmp_path / "models")
    return tmp_path / "results"


@pytest.fixture
def manifest(run, monkeypatch):
    """The manifest of the phantoms in place of the real one."""
    monkeypatch.setattr(publishing, "MANIFEST", run.folder / "manifest.csv")
    frame = data.index()[["file", "official_split", "label", "patient"]]
    frame.to_csv(publishing.MANIFEST, index=False)


@pytest.fixture
def final(run, table):
    """A run with a stand-in of the final model; returns the folder of its model."""
    chosen = {"threshold": 0.25, "prevalence": 0.742}
    (run.results / "selection.json").write_text(json.dumps(chosen))
    fit, predictions = constant_fit(table, run.fits, "stratified")
    run.save(fit, predictions, "final", "official")
    for fold in (0, 1):
        run.save(fit, predictions, "final", "cross_validated", fold=fold)
    pretend_real(run)
    folder = run.folder / "models"
    folder.mkdir()
    for name in ("pneumonia.keras", "pneumonia.onnx"):
        (folder / name).write_text(name)
    facts = {"threshold": 0.25, "image_size": 160, "labels": ["normal", "bacteria", "virus"]}
    facts["sha256"] = {path.name: sha256(path) for path in folder.iterdir()}
    (folder / card.FACTS).write_text(json.dumps(facts))
    return folder


def pretend_real(run):
    path = run.results / "experiments.csv"
    path.write_text(path.read_text().replace("synthetic", "kermany"))


def test_tables_follow_the_contract(run):
    row = results.experiments(run.results).iloc[0]
    assert list(row.index) == results.EXPERIMENT_COLUMNS
    assert (row.experiment, row.protocol, row.seed, row.fold) == (
        "most_frequent",
        "official",
        0,
        "",
    )
    assert row.dataset == "synthetic"
    measured = results.metrics(run.results)
    assert list(measured.columns) == results.METRIC_COLUMNS
    assert set(measured.subset) == {"all", "disjoint"}
    predictions = results.predictions("most_frequent", folder=run.results)
    assert list(predictions.columns) == ["file", "split", "label", "p_pneumonia"]
    assert set(predictions.split) == {"val", "test"}


def test_a_fit_replaces_the_one_with_its_key_and_no_other(run, table):
    before = results.metrics(run.results)
    run.save(*constant_fit(table, run.fits, seed=1), "most_frequent", "official")
    run.save(*constant_fit(table, run.fits), "most_frequent", "cross_validated", fold=2)
    run.save(*constant_fit(table, run.fits), "most_frequent", "official")
    assert len(results.experiments(run.results)) == 3
    after = results.metrics(run.results)
    same = after[(after.seed == 0) & (after.protocol == "official")].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, before, check_dtype=False)


def test_the_disjoint_subset_counts_only_on_the_official_test_images(run, table):
    fit, predictions = constant_fit(table, run.fits)
    measured = run.save(fit, predictions, "most_frequent", "pooled")
    assert set(measured.subset) == {"all"}


def test_number_wants_exactly_one_row(run):
    measured = results.metrics(run.results)
    assert results.number(measured, "recall").value == 1
    assert results.number(measured, "auc", "val").value == 0.5
    with pytest.raises(UserError, match="0 rows"):
        results.number(measured, "auc", experiment="other")
    with pytest.raises(UserError, match="one is wanted"):
        results.number(pd.concat([measured, measured]), "auc")


def test_reading_where_nothing_is_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="make run"):
        results.metrics(tmp_path)
    with pytest.raises(UserError, match="no predictions of cnn"):
        results.predictions("cnn", folder=tmp_path)


def test_a_synthetic_run_cannot_be_published(run, published):
    with pytest.raises(UserError, match="only runs on kermany"):
        publishing.publish(run.folder)
    assert not published.exists()


def test_publishing_merges_and_measures_again(run, published, manifest):
    pretend_real(run)
    assert publishing.publish(run.folder) == 1
    assert publishing.publish(run.folder) == 1
    assert len(results.experiments(published)) == 1
    assert (published / "predictions/most_frequent/official-s0.csv").exists()


@pytest.mark.parametrize("what", ["predictions", "row"])
def test_a_row_that_does_not_belong_to_its_predictions_is_refused(run, published, what):
    pretend_real(run)
    edited = run.results / "predictions/most_frequent/official-s0.csv"
    old, new = "1.0", "0.9"
    if what == "row":
        edited = run.results / "experiments.csv"
        old = results.experiments(run.results).settings_hash[0]
        new = "0" * len(old)
    edited.write_text(edited.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match="does not belong"):
        publishing.publish(run.folder)
    assert not published.exists()


def test_the_command_line_prints_one_line(tmp_path, capsys):
    assert publishing.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: no experiments.csv in {tmp_path}")


def test_reading_results_and_drawing_figures_needs_no_keras():
    code = "import sys, helpers.results, helpers.plotting; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_a_final_model_is_measured_at_the_selected_threshold(run, table):
    fit, predictions = constant_fit(table, run.fits, "stratified")
    with pytest.raises(UserError, match=r"selection\.json"):
        run.save(fit, predictions, "final", "official")
    (run.results / "selection.json").write_text(json.dumps({"threshold": 0.25}))
    measured = run.save(fit, predictions, "final", "official")
    assert results.number(measured, "recall", threshold_rule="selected").threshold == 0.25
    assert "selected" not in set(run.save(fit, predictions, "other", "official").threshold_rule)


def test_the_ladder_holds_what_stands_for_itself(run, table):
    for experiment, protocol in [
        ("ablation_blur", "official"),
        ("transductive_norm", "official"),
        ("cnn_1", "by_image"),
        ("cnn_1", "official"),
    ]:
        run.save(*constant_fit(table, run.fits), experiment, protocol)
    chosen = results.ladder(run.results)
    assert set(chosen.experiment) == {"most_frequent", "cnn_1"}
    assert set(chosen.protocol) == {"official"}
    other = results.Run("04_cnn_iterations", "test", data.index(), resamples=50)
    other.save(*constant_fit(table, run.fits, "stratified"), "cnn_3", "official")
    other.save(*constant_fit(table, run.fits, "prior"), "cnn_2", "official")
    auc = results.headline(results.ladder(run.results)).query("metric == 'auc'")
    best = auc[auc.experiment.isin(["cnn_2", "cnn_3"])].experiment.iloc[0]
    first = auc[auc.experiment.isin(["cnn_1", "most_frequent"])].experiment.iloc[0]
    assert set(results.rungs(run.results).experiment) == {"most_frequent", first, best}


def test_replication_gives_the_systems_that_were_run(run, table):
    assert results.replication(run.results).empty
    run.save(*constant_fit(table, run.fits), "resnet", "official")
    claims = results.replication(run.results)
    assert list(claims.index) == ["Residual network from scratch"]
    assert claims["as its authors do"].iloc[0] == "-"
    assert claims["official"].iloc[0].count(".") == 3


def test_our_best_stands_above_what_others_publish(run, final):
    own = results.standing(run.results).iloc[:3]
    rules = ["selected", "0.5", "selected"]
    assert list(own.index) == [f"**ours, `final`, threshold {rule}**" for rule in rules]
    assert list(own.protocol) == ["official", "official", "cross_validated"]
    assert own.AUC.iloc[2].endswith("(2 fits)")


def test_without_a_final_model_the_best_is_named_as_what_it_is(run):
    table = results.standing(run.results)
    assert table.index[0] == "**ours, `most_frequent`, threshold 0.5**"
    assert "not the final model" in table.note.iloc[0]
    assert list(table.index[1:]) == list(pd.read_csv(results.ELSEWHERE).work)


def test_publishing_takes_the_model_and_writes_its_card(run, final, published, manifest):
    assert publishing.publish(run.folder) == 4
    assert results.selection(published)["threshold"] == 0.25
    assert card.facts(publishing.MODELS) == card.facts(final)
    text = (publishing.MODELS / "README.md").read_text()
    head, body = text.split("---\n", 2)[1:]
    found = yaml.safe_load(head)["model-index"][0]["results"][0]["metrics"]
    measured = results.metrics(published)
    for metric, name in zip(found, results.HEADLINE, strict=True):
        rule = "" if name == "auc" else "selected"
        key = {"experiment": "final", "protocol": "official", "threshold_rule": rule}
        assert metric["value"] == round(results.number(measured, name, **key).value, 4)
    for words in ("Not a medical device", "**0.2500**", "74.2 %", "160 x 160", "(2 fits)"):
        assert words in body
    assert text == card.card(publishing.MODELS, published)


def test_a_model_that_is_not_the_one_described_is_refused(run, final, published, manifest):
    (final / "pneumonia.onnx").write_text("another")
    with pytest.raises(UserError, match=r"pneumonia\.onnx is not the file"):
        publishing.publish(run.folder)


def test_a_model_with_another_threshold_is_refused(run, final, published, manifest):
    (run.results / "selection.json").write_text(json.dumps({"threshold": 0.4}))
    with pytest.raises(UserError, match="threshold"):
        publishing.publish(run.folder)
    assert not (publishing.MODELS / "README.md").exists()


def test_costs_are_joined_with_the_test_auc(run, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "COSTS", tmp_path / "costs.csv")
    assert results.costs(run.results).empty
    row = {"experiment": "most_frequent", "parameters": 3, "mflops": 0.5, "images_per_second": 9.0}
    pd.DataFrame([row, row | {"experiment": "never run"}]).to_csv(results.COSTS, index=False)
    found = results.costs(run.results)
    assert list(found.index) == ["most_frequent"]
    assert (found.auc.iloc[0], found.mflops.iloc[0]) == (0.5, 0.5)
