"""What a fit leaves behind: written, replaced, read, measured again, refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from helpers import data, evaluation, paths, results, selection, training
from helpers.utils import UserError, sha256

POINTS = {"balanced": 0.25, "screening": 0.125}


@pytest.fixture
def table(index):
    return data.split(index, "official", seed=0)


def constant_fit(table, cache_dir, strategy="most_frequent", seed=0):
    features = data.metadata(table)
    estimator = DummyClassifier(strategy=strategy, random_state=seed)
    fit = training.fit_estimator(
        estimator, features, table, seed=seed, image_size=16, cache_dir=cache_dir
    )
    return fit, evaluation.predict(fit, features, table)


@pytest.fixture
def run(index, table, run_folder):
    run = results.Run("02_baseline", "test", index, resamples=50)
    run.save(*constant_fit(table, run.fits), "most_frequent", "official")
    return run


def test_tables_follow_the_contract(run):
    row = results.experiments(run.results).iloc[0]
    assert list(row.index) == results.EXPERIMENT_COLUMNS
    key = [row[name] for name in results.KEY]
    assert key == ["most_frequent", "official", 0, ""]
    assert row.dataset == "synthetic"
    measured = results.metrics(run.results)
    assert list(measured.columns) == results.METRIC_COLUMNS
    assert set(measured.subset) == {"all", "disjoint"}
    saved = pd.read_csv(run.results / "predictions/most_frequent/official-s0.csv")
    assert list(saved.columns) == ["file", "split", "label", "p_pneumonia"]
    assert set(saved.split) == {"val", "test"}


def test_test_images_may_be_left_unread(run, index, table):
    fit, _ = constant_fit(table, run.fits)
    features = data.metadata(table)
    done = run.evaluate(fit, features, table, "mine", "official", rows=("val",))
    assert set(done.metrics.split) == set(done.predictions.split) == {"val"}
    assert set(results.predictions("mine", folder=run.results).split) == {"val"}


def test_the_manifest_gives_the_patients_back(run, table):
    predictions = results.predictions("most_frequent", folder=run.results)
    assert list(predictions.columns) == ["file", "patient", "split", "label", "p_pneumonia"]
    pd.testing.assert_frame_equal(
        predictions[["file", "patient", "split", "label"]],
        table.loc[table.split != "train", ["file", "patient", "split", "label"]].reset_index(
            drop=True
        ),
    )


def test_published_predictions_have_the_patients_of_the_published_manifest():
    predictions = results.predictions("most_frequent")
    manifest = pd.read_csv(paths.MANIFEST).set_index("file").patient
    assert (predictions.patient == predictions.file.map(manifest)).all()


def test_a_run_writes_its_manifest_once_and_anew_for_another_index(run, index):
    target = run.results / "manifest.csv"
    pd.testing.assert_frame_equal(
        results.manifest(run.results), data.manifest(index), check_dtype=False
    )
    written = target.stat().st_mtime_ns
    results.Run("03_dense", "test", index)
    assert target.stat().st_mtime_ns == written
    results.Run("03_dense", "test", index[:-1])
    assert len(results.manifest(run.results)) == len(index) - 1


def test_an_image_that_the_manifest_lacks_is_named(run, index):
    tested = index[index.official_split == "test"]
    results.Run("02_baseline", "test", index.drop(tested.index[0]))
    with pytest.raises(UserError, match=tested.file.iloc[0]):
        results.predictions("most_frequent", folder=run.results)


def test_evaluate_predicts_and_saves_in_one_call(run, table):
    features = data.metadata(table)
    fit, predictions = constant_fit(table, run.fits, seed=1)
    found = run.evaluate(fit, features, table, "most_frequent", "official")
    assert found.fit is fit
    pd.testing.assert_frame_equal(found.predictions, predictions)
    saved = results.metrics(run.results).query("seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(found.metrics.astype({"fold": str}), saved, check_dtype=False)


def test_the_cached_fit_is_stamped_with_its_predictions(run, table):
    fit, _ = constant_fit(table, run.fits)
    saved = run.results / "predictions/most_frequent/official-s0.csv"
    assert (fit.folder / "predictions.sha256").read_text() == sha256(saved)


def test_what_a_fit_was_made_with_is_kept_beside_its_predictions(run, table):
    fit, _ = constant_fit(table, run.fits)
    row = results.experiments(run.results).iloc[0]
    kept = run.results / "provenance" / f"{row.settings_hash}.json"
    assert kept == run.results / results.provenance_name(row)
    assert kept.read_bytes() == (fit.folder / "provenance.json").read_bytes()


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


def test_an_unknown_protocol_is_refused(run, table):
    fit, predictions = constant_fit(table, run.fits)
    with pytest.raises(UserError, match=r"unknown protocol 'offical'.*pooled_patient"):
        run.save(fit, predictions, "most_frequent", "offical")


def test_reading_where_nothing_is_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="make run"):
        results.metrics(tmp_path)
    with pytest.raises(UserError, match="no predictions of cnn"):
        results.predictions("cnn", folder=tmp_path)
    with pytest.raises(UserError, match="12_robustness"):
        results.candidates(tmp_path, "mobilenet")


def test_a_final_model_is_measured_at_its_operating_points(run, table):
    fit, predictions = constant_fit(table, run.fits, "stratified")
    with pytest.raises(UserError, match=r"selection\.json"):
        run.save(fit, predictions, "final", "official")
    results.write_selection(run.results, thresholds={"final": POINTS})
    measured = run.save(fit, predictions, "final", "official")
    for point, threshold in POINTS.items():
        assert results.metric(measured, "recall", threshold_rule=point).threshold == threshold
    folds = run.save(fit, predictions, "final", "cross_validated", fold=0)
    for rows in (folds, run.save(fit, predictions, "other", "official")):
        assert not POINTS.keys() & set(rows.threshold_rule)


def test_what_was_selected_is_read_again(tmp_path):
    assert results.selection(tmp_path) == {}
    results.write_selection(tmp_path, thresholds={"final": POINTS}, changes=["curves"])
    assert results.selection(tmp_path) == {"thresholds": {"final": POINTS}, "changes": ["curves"]}
    assert results.operating_points("final", folder=tmp_path) == POINTS
    assert results.operating_points("cnn_1", folder=tmp_path) == {}
    with pytest.raises(UserError, match="no thresholds for final_ensemble"):
        results.operating_points("final_ensemble", folder=tmp_path)


def test_candidates_are_read_again_with_what_trains_them(tmp_path):
    scored = pd.DataFrame(
        {
            "candidate": ["light", "combined"],
            "changes": ["", "curves sharpness"],
            "auc": [0.97, 0.98],
            "framing_auc": [0.8, 0.9],
        }
    )
    recipe = selection.Recipe(side=32, training=training.TrainingConfig(epochs=2, patience=2))
    results.save_candidates(tmp_path, scored, recipe)
    again = results.candidates(tmp_path, "mobilenet")
    facts = {"backbone": "mobilenet", "side": 32, "epochs": 2}
    pd.testing.assert_frame_equal(again, scored.assign(**facts))
    with pytest.raises(UserError, match="judges mobilenet, not xception"):
        results.candidates(tmp_path, "xception")
    assert selection.best(again) == ("combined", ["curves", "sharpness"])


def test_measuring_again_gives_the_same_metrics(run, table):
    results.write_selection(run.results, thresholds={"final": POINTS})
    fit, predictions = constant_fit(table, run.fits, "stratified")
    run.save(fit, predictions, "final", "official")
    run.save(fit, predictions, "final", "cross_validated", fold=1)
    target = run.results / "metrics.csv"
    before = target.read_text()
    target.unlink()
    measured = results.remeasure(run.results, resamples=50)
    assert target.read_text() == before
    pd.testing.assert_frame_equal(measured, results.metrics(run.results))


def test_measuring_again_needs_the_predictions_of_every_fit(run):
    (run.results / "predictions/most_frequent/official-s0.csv").unlink()
    with pytest.raises(UserError, match="no predictions of most_frequent"):
        results.remeasure(run.results)


def test_claims_have_their_figure_in_percent_and_the_images_behind_it():
    claims = results.claims().set_index("experiment")
    assert claims.value["cnn_4"] == 91.6
    assert claims.value.drop("resnet").between(0, 100).all() and np.isnan(claims.value["resnet"])
    assert claims.n["inception_resnet_v2"] == 71
    assert set(claims.n.drop("inception_resnet_v2")) == {624}
    for claim, value in zip(claims.claim, claims.value, strict=True):
        assert np.isnan(value) or f"{value:g} %" in claim


def test_a_run_shows_the_published_metrics_of_its_own_data_only(run):
    assert set(run.metrics().experiment) == {"most_frequent"}
    run.dataset = "kermany"
    everything = run.metrics()
    assert "cnn_4" in set(everything.experiment)
    own = everything[everything.experiment == "most_frequent"]
    assert len(own) == len(results.metrics(run.results))


def test_a_run_remembers_the_tables_that_it_wrote_and_read(run, index):
    own = run.results / "predictions/most_frequent/official-s0.csv"
    published = paths.RESULTS / "predictions/cnn_4/official-s0.csv"
    assert run.sources == {sha256(own)[: results.SHORT]}
    later = results.Run("14_explanation", "test", index)
    assert later.sources == set()
    for name in ("most_frequent", "cnn_4"):
        later.predictions(name)
    assert later.sources == {sha256(path)[: results.SHORT] for path in (own, published)}


@pytest.mark.parametrize(("what", "same"), [("nothing", True), ("row", False), ("table", False)])
def test_the_digest_of_a_fit_is_of_its_row_and_its_predictions(run, what, same):
    row = results.experiments(run.results).iloc[0].to_dict()
    path = run.results / "predictions/most_frequent/official-s0.csv"
    if what == "row":
        row["epochs_run"] = 99
    if what == "table":
        path.write_text(path.read_text().replace("1.0", "0.9", 1))
    assert (results.fit_digest(row, run.results) == row["digest"]) == same


def test_the_digest_of_a_final_model_is_of_its_selection_too(run, table):
    fit = constant_fit(table, run.fits)
    results.write_selection(run.results, thresholds={"final": POINTS})
    run.save(*fit, "final", "official")
    row = results.experiments(run.results).set_index("experiment", drop=False).loc["final"]
    assert results.fit_digest(row.to_dict(), run.results) == row.digest
    results.write_selection(run.results, thresholds={"final": POINTS}, candidate="light")
    assert results.fit_digest(row.to_dict(), run.results) != row.digest


def test_a_run_falls_back_on_published_predictions(run):
    own = run.predictions("most_frequent")
    pd.testing.assert_frame_equal(own, results.predictions("most_frequent", folder=run.results))
    pd.testing.assert_frame_equal(run.predictions("cnn_4"), results.predictions("cnn_4"))


def test_a_story_is_told_from_a_run_or_from_what_is_published(run, tmp_path):
    assert results.story().dataset == "kermany"
    told = results.story(str(run.folder))
    assert (told.results, told.dataset) == (run.results, "synthetic")
    assert results.story(str(tmp_path / "empty")).dataset == ""
