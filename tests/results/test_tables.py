"""The tables that readers see."""

import pandas as pd
import pytest

from helpers import evaluation, paths, results
from helpers.utils import UserError
from tests import builders


def test_a_metric_is_exactly_one_row(folder):
    measured = results.metrics(folder)
    row = results.metric(measured, "recall")
    assert (row.threshold_rule, row.subset, row.n) == ("0.5", "all", 60)
    assert results.metric(measured, "auc", "val").split == "val"
    with pytest.raises(UserError, match="0 rows"):
        results.metric(measured, "auc", experiment="other")
    with pytest.raises(UserError, match="one is wanted"):
        results.metric(pd.concat([measured, measured]), "auc")


def test_a_metric_of_three_classes_as_two_is_asked_by_its_subset(folder):
    measured = builders.save_fit(folder, "cnn", classes=3)
    found = {x: results.metric(measured, "auc", subset=x).value for x in ("all", "binary")}
    assert found["all"] != found["binary"]
    assert results.metric(measured, "recall", subset="binary_disjoint").n == 48


def test_one_fit_in_words_has_all_its_intervals(folder):
    measured = pd.concat([results.metrics(folder), builders.save_fit(folder, "cnn")])
    words = results.in_words(measured, experiment="cnn", protocol="official")
    for name, split in (("auc", "val"), *((name, "test") for name in results.HEADLINE)):
        row = results.metric(measured, name, split, experiment="cnn")
        assert results.format_interval(row) in words
    with pytest.raises(UserError, match="one is wanted"):
        results.in_words(measured)


@pytest.mark.parametrize("classes", [2, 3])
def test_binary_rows_are_those_of_two_classes_on_all_or_on_new_patients(folder, classes):
    measured = builders.save_fit(folder, "cnn", classes=classes)
    for disjoint, n in ((False, 60), (True, 48)):
        rows = results.binary_rows(measured, disjoint=disjoint)
        assert set(rows.n) == {n} and set(rows.threshold_rule) == {"", "0.5"}
        assert {"auc", "recall", "specificity"} <= set(rows.metric)
        assert rows.metric.is_unique
    subset = "disjoint" if classes == 2 else "binary_disjoint"
    expected = results.format_interval(results.metric(measured, "auc", subset=subset), unit="")
    assert results.comparison(measured, disjoint=True).AUC.iloc[0] == expected


def test_the_headline_gives_one_fit_its_interval_and_several_their_spread(folder):
    several = [builders.save_fit(folder, "two", seed=seed, signal=1 + seed) for seed in (0, 1)]
    measured = pd.concat([builders.save_fit(folder, "one"), *several])
    rows = results.headline(measured).query("metric == 'auc'").set_index("experiment")
    one = results.metric(measured, "auc", experiment="one")
    assert list(rows.loc["one", ["value", "low", "high"]]) == [one.value, one.low, one.high]
    values = measured.query("experiment == 'two' and metric == 'auc' and split == 'test'")
    values = values[values.subset == "all"].value
    assert rows.value["two"] == pytest.approx(values.mean())
    assert rows.high["two"] - rows.value["two"] == pytest.approx(values.std())
    assert rows.fits["two"] == 2
    assert results.comparison(measured).AUC["two", "official"].endswith("(2 fits)")


def test_the_best_auc_stands_first(folder):
    weak, strong = (
        builders.save_fit(folder, "weak", signal=0.2),
        builders.save_fit(folder, "strong", signal=4),
    )
    shown = results.comparison(pd.concat([weak, strong]))
    assert list(shown.index) == [("strong", "official"), ("weak", "official")]
    assert list(shown.columns) == ["AUC", "accuracy", "recall", "specificity"]


def test_validation_stands_above_test(folder):
    measured = builders.save_fit(folder, "cnn")
    both = results.validation_and_test(measured)
    assert list(both.index.names) == ["split", "experiment", "protocol"]
    for split in ("val", "test"):
        pd.testing.assert_frame_equal(both.loc[split], results.comparison(measured, split))


def test_official_metrics_are_of_what_stands_for_itself(folder):
    for experiment in ("candidate_blur", "transductive_norm", "cnn_1"):
        builders.save_fit(folder, experiment)
    builders.save_fit(folder, "cnn_1", "by_image")
    chosen = results.official_metrics(folder)
    assert set(chosen.experiment) == {"most_frequent", "cnn_1"}
    assert set(chosen.protocol) == {"official"}


def test_the_best_of_each_notebook_stands_beside_the_constant_answer(folder):
    builders.save_fit(folder, "cnn_1", signal=1)
    builders.save_fit(folder, "cnn_2", notebook="04_cnn_iterations", signal=1)
    builders.save_fit(folder, "cnn_3", notebook="04_cnn_iterations", signal=3)
    chosen = set(results.best_per_notebook(folder).experiment)
    assert chosen == {"most_frequent", "cnn_1", "cnn_3"}


def test_folds_are_told_by_where_their_images_come_from(folder):
    rows = builders.validation_and_test(n=60, classes=3)
    facts = {"official_split": "train", "number": 0, "duplicate_group": 0}
    table = rows[["file", "patient", "label"]].assign(**facts)
    table.loc[table.index[rows.split == "test"][:20], "official_split"] = "test"
    table.to_csv(folder / "manifest.csv", index=False)
    for fold in (0, 1):
        builders.save_fit(folder, "final_member", "cross_validated", fold=fold, classes=3)
    found = results.by_block("final_member", folder)
    assert list(found.index) == ["all others", "official test"] and list(found.n) == [80, 40]
    measured = results.metrics(folder).query("experiment == 'final_member'")
    one_fold = measured[measured.fold.astype(str) == "0"]
    rule = evaluation.BALANCED_RULE
    cut = results.metric(one_fold, "recall", subset="binary", threshold_rule=rule).threshold
    right = evaluation.outcomes(rows, cut).right[:20]
    assert found.accuracy["official test"] == f"{100 * right.mean():.1f}"


def test_costs_are_joined_with_the_test_auc(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    assert results.costs(folder).empty
    row = {"experiment": "most_frequent", "parameters": 3, "mflops": 0.5, "images_per_second": 9.0}
    table = pd.DataFrame([row, row | {"experiment": "never run"}])
    table.to_csv(tmp_path / "costs.csv", index=False)
    found = results.costs(folder)
    assert list(found.index) == ["most_frequent"]
    auc = results.metric(results.metrics(folder), "auc").value
    assert (found.auc.iloc[0], found.mflops.iloc[0]) == (auc, 0.5)
    assert found.train_seconds.iloc[0] == 2


def measured_three(names=("one", "two")):
    """Three classes of which viral is always called bacterial."""
    rows = builders.index_table().query("split != 'train'")[["file", "patient", "split", "label"]]
    answers = {"normal": [0.8, 0.1, 0.1], "bacteria": [0.1, 0.8, 0.1], "virus": [0.1, 0.8, 0.1]}
    rows[evaluation.CLASSES] = [answers[label] for label in rows.label]
    parts = []
    for name in names:
        row = {"experiment": name, "protocol": "pooled", "seed": 0, "fold": ""}
        parts.append(results.measure(row, rows, set(), resamples=50))
    return pd.concat(parts)


def test_three_class_comparison():
    shown = results.three_class_comparison(measured_three())
    assert list(shown.columns) == ["accuracy", "AUC", *results.RECALLS]
    assert list(shown.index) == [("one", "pooled"), ("two", "pooled")]
    assert shown.accuracy.iloc[0].startswith("66.7 (")
    assert shown.recall_virus.iloc[0].startswith("0.0 (0.0-")
    assert shown.recall_normal.iloc[0].startswith("100.0 (")


def test_three_class_comparison_leaves_binary_fits_out():
    measured = measured_three(["one"])
    binary = measured[measured.subset == "binary"].assign(experiment="binary", subset="all")
    shown = results.three_class_comparison(pd.concat([measured, binary]))
    assert list(shown.index) == [("one", "pooled")]
    with pytest.raises(UserError, match="three-class"):
        results.three_class_comparison(binary)


def test_three_class_comparison_does_not_mix_seeds():
    measured = measured_three(["one"])
    with pytest.raises(UserError, match="one a protocol"):
        results.three_class_comparison(pd.concat([measured, measured.assign(seed=1)]))


def test_main_experiments_can_be_of_another_protocol(folder):
    builders.save_fit(folder, "candidate_blur", "by_image")
    builders.save_fit(folder, "cnn_1", "by_image")
    chosen = results.main_experiments(results.metrics(folder), "by_image")
    assert set(chosen.experiment) == {"cnn_1"} and set(chosen.protocol) == {"by_image"}


def test_the_rows_of_an_experiment_stand_out(folder):
    builders.save_fit(folder, "mine", signal=1)
    table = results.comparison(results.metrics(folder))
    page = results.highlighted(table, "mine").to_html()
    marked, _, _ = page.partition("font-weight: bold")
    row = list(table.index.get_level_values("experiment")).index("mine")
    assert f"row{row}_col0" in marked and f"row{1 - row}_col0" not in marked


def test_two_names_are_compared_on_the_same_images(folder, monkeypatch):
    builders.save_fit(folder, "good", signal=3)
    monkeypatch.setattr(paths, "RESULTS", folder)
    monkeypatch.setattr(results.store, "manifest", lambda _: manifest_of_all())
    found = results.compare("good", "most_frequent", resamples=50)
    both = [results.predictions(name) for name in ("good", "most_frequent")]
    expected = evaluation.compare(*both, resamples=50).set_index("metric")
    assert list(found.columns[:2]) == ["good", "most_frequent"]
    assert found.difference.equals(expected.difference) and found.difference.auc > 0
    on_val = results.compare("good", "most_frequent", split="val", resamples=50)
    assert on_val.difference.auc != found.difference.auc
    with pytest.raises(UserError, match="no predictions of absent"):
        results.compare("good", "absent")


def manifest_of_all():
    """The images of `builders.validation_and_test`."""
    rows = builders.validation_and_test(n=60)
    return rows[["file", "patient", "label"]].assign(official_split=rows.split)
