"""Publishing a run: what is merged, and what is refused before anything is."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from helpers import data, paths, plotting, results
from helpers.publishing.run import publish
from helpers.utils import UserError, sha256


def test_a_synthetic_run_cannot_be_published(run, published):
    with pytest.raises(UserError, match="only runs on kermany"):
        publish(run.folder)
    assert not published.exists()


def test_a_run_without_results_cannot_be_published(tmp_path):
    with pytest.raises(UserError, match=r"no experiments\.csv"):
        publish(tmp_path)


def test_a_run_on_other_images_cannot_be_published(
    run, published, pretend_real, index, tmp_path, monkeypatch
):
    pretend_real()
    monkeypatch.setattr(paths, "MANIFEST", tmp_path / "other.csv")
    data.manifest(index[1:]).to_csv(paths.MANIFEST, index=False)
    with pytest.raises(UserError, match="other images"):
        publish(run.folder)
    assert not published.exists()


def test_publishing_merges_and_measures_again(run, published, pretend_real):
    pretend_real()
    assert publish(run.folder) == 1
    assert publish(run.folder) == 1
    assert len(results.experiments(published)) == 1
    assert (published / "predictions/most_frequent/official-s0.csv").exists()
    again = results.metrics(published)
    pd.testing.assert_frame_equal(results.remeasure(published), again, atol=1e-9)


def test_the_published_table_is_the_one_of_the_run_byte_for_byte(run, published, pretend_real):
    pretend_real()
    publish(run.folder)
    name = "predictions/most_frequent/official-s0.csv"
    assert (published / name).read_bytes() == (run.results / name).read_bytes()


def test_what_fits_were_made_with_is_copied(run, published, pretend_real):
    pretend_real()
    known = results.provenance_name(results.experiments(run.results).iloc[0])
    (run.results / known).parent.mkdir()
    (run.results / known).write_text("{}")
    publish(run.folder)
    assert (published / known).read_text() == "{}"


def test_figures_are_copied(run, published, pretend_real):
    pretend_real()
    plotting.save(plt.figure(), run, "02_baseline_roc")
    plt.figure().savefig(run.figures / "01_eda_counts.png")
    publish(run.folder)
    for figure in run.figures.iterdir():
        assert (paths.IMAGES / figure.name).read_bytes() == figure.read_bytes()


def test_a_figure_that_names_no_source_is_listed_with_its_digest(run, published, pretend_real):
    pretend_real()
    run.figures.mkdir()
    plt.figure().savefig(run.figures / "01_eda_counts.png")
    publish(run.folder)
    listed = pd.read_csv(published / results.FIGURES, index_col="figure").sha256
    assert listed.to_dict() == {"01_eda_counts": sha256(run.figures / "01_eda_counts.png")}
    plotting.save(plt.figure(), run, "01_eda_counts")
    publish(run.folder)
    assert len(pd.read_csv(published / results.FIGURES)) == 0


@pytest.mark.parametrize("what", ["predictions", "row"])
def test_a_row_that_does_not_belong_to_its_predictions_is_refused(
    run, published, pretend_real, what
):
    pretend_real()
    edited = run.results / "predictions/most_frequent/official-s0.csv"
    old, new = "1.0", "0.9"
    if what == "row":
        edited = run.results / "experiments.csv"
        old = results.experiments(run.results).settings_hash[0]
        new = "0" * len(old)
    edited.write_text(edited.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match="does not belong"):
        publish(run.folder)
    assert not published.exists()


def test_nothing_is_merged_when_the_last_fit_cannot_be_measured(run, final, published):
    table = run.results / "predictions/most_frequent/official-s0.csv"  # stands behind `final`
    table.write_text(table.read_text().replace(",virus,", ",covid,"))
    stamp = next(run.fits.glob("most_frequent*/predictions.sha256"))
    stamp.write_text(sha256(table))
    with pytest.raises(UserError, match="another label than in the manifest"):
        publish(run.folder)
    assert not published.exists()


def test_the_model_and_its_selection_are_published(run, final, published):
    assert publish(run.folder) == 4
    assert results.operating_points("final")["balanced"] == 0.25
    for path in final.iterdir():
        assert (paths.MODELS / path.name).read_bytes() == path.read_bytes()


def test_a_model_that_is_not_the_one_described_is_refused(run, final, published):
    (final / "pneumonia.onnx").write_text("another")
    with pytest.raises(UserError, match=r"pneumonia\.onnx is not the file"):
        publish(run.folder)
    assert not published.exists() and not paths.MODELS.exists()


def test_a_model_with_another_threshold_is_refused(run, final, published):
    other = {"thresholds": {"final": {"balanced": 0.4, "screening": 0.125}}}
    (run.results / "selection.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="threshold"):
        publish(run.folder)
    assert not published.exists() and not paths.MODELS.exists()
