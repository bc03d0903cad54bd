"""The model card: computed from the results, and refused where the model is another one."""

import pytest
import yaml

from helpers import evaluation, paths, results
from helpers.publishing import card
from helpers.publishing.run import publish
from helpers.utils import UserError


def test_the_card_says_what_the_results_say(run, final, published):
    publish(run.folder)
    card.write()
    text = (paths.MODELS / "README.md").read_text()
    head, body = text.split("---\n", 2)[1:]
    (described,) = yaml.safe_load(head)["model-index"][0]["results"]
    found = described["metrics"]
    assert described["dataset"]["split"] == "test"
    assert len(found) == len(results.HEADLINE)
    measured = results.metrics(published)
    for metric, name in zip(found, results.HEADLINE, strict=True):
        rule = "" if name == "auc" else "balanced"
        key = {"experiment": "final", "protocol": "official", "threshold_rule": rule}
        row = results.metric(measured, name, subset="binary", **key)
        assert metric["value"] == round(float(row.value), 4)  # NumPy rounds 0.48125 down
    for words in (
        "Not a medical device",
        "**0.2500**",
        "**0.1250**",
        "74.2 %",
        "224 x 224",
        "(2 fits)",
    ):
        assert words in body
    assert text == card.card(paths.MODELS, published)


def test_two_classes_three_classes_and_new_patients_stand_in_the_card(run, final):
    text = card.card(final, run.results)
    own = results.metrics(run.results).query("experiment == 'final' and protocol == 'official'")
    binary = results.comparison(own, rule="balanced").AUC.iloc[0]
    new_patients = results.comparison(own, rule="balanced", disjoint=True).AUC.iloc[0]
    three = results.three_class_comparison(own).AUC.iloc[0]
    assert len({binary, new_patients, three}) == 3
    assert f"threshold `balanced` | {binary} |" in text
    assert f"whose patient number is not in training, `balanced` | {new_patients} |" in text
    assert f" | {three} |" in text
    error = evaluation.ece(results.predictions("final", folder=run.results), "test")
    assert f"{error:.3f} on the official test images" in text


def test_a_card_before_test_was_read_says_so(run, final):
    for name in ("metrics.csv", "experiments.csv"):
        path = run.results / name
        path.write_text(path.read_text().replace("final,", "other,"))
    text = card.card(final, run.results)
    assert card.NOT_READ in text
    assert "**0.2500**" in text and "threshold `balanced`" not in text
    assert "model-index" not in yaml.safe_load(text.split("---\n", 2)[1])


def test_the_facts_are_given_where_all_files_are_as_described(run, final):
    assert card.checked_facts(final, run.results).thresholds["balanced"] == 0.25


def test_a_missing_file_is_named(run, final):
    (final / "pneumonia.keras").unlink()
    with pytest.raises(UserError, match=r"no file .*pneumonia\.keras"):
        card.card(final, run.results)


def test_another_threshold_than_the_selected_one_is_refused(run, final):
    other = {"balanced": 0.4, "screening": 0.125}
    results.write_selection(run.results, thresholds={"final": other})
    with pytest.raises(UserError, match="13_final_model"):
        card.card(final, run.results)
