"""The interactive page: its numbers are the published ones, its arithmetic is the package's."""

import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, results
from helpers.publishing import interactive
from helpers.utils import UserError
from tests.publishing.browser import BROWSER, rendered

THRESHOLDS = (0.001, 0.2, 0.349524, 0.5, 0.9, 0.999)
PREVALENCES = (0.02, 0.625, 0.9)
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def known():
    """What the page knows of the published results."""
    return json.loads(json.dumps(interactive.facts()))


@pytest.fixture(scope="module")
def table():
    """The published test predictions of the model that the page shows."""
    predictions = results.predictions(interactive.model())
    return evaluation.collapse(predictions.query("split == 'test'"))


def test_the_final_model_is_shown_as_soon_as_it_has_test_predictions(monkeypatch):
    def official(*names):
        rows = pd.DataFrame({"experiment": names, "protocol": "official"})
        monkeypatch.setattr(results, "experiments", lambda folder: rows)

    official("cnn_1", "final_v1")
    assert interactive.model() == "final_v1"
    official("final_v1", "final")
    assert interactive.model() == "final"
    official("cnn_1")
    with pytest.raises(UserError, match="run 13_final_model"):
        interactive.model()


def test_the_images_are_those_of_the_published_predictions(known, table):
    assert len(table) == 624
    shown = pd.DataFrame(known["images"])
    assert (shown.file.tolist(), shown.label.tolist()) == (
        table.file.tolist(),
        table.label.tolist(),
    )
    assert shown.p.tolist() == table.p_pneumonia.tolist()


def test_operating_points_and_intervals_are_the_published_ones(known):
    name = interactive.model()
    points = results.operating_points(name)
    assert {rule: known["points"][rule] for rule in points} == points
    measured = results.metrics().query("experiment == @name and protocol == 'official'")
    cuts = known["intervals"]["cuts"]
    for rule, threshold in [*points.items(), ("0.5", 0.5)]:
        place = int(np.searchsorted(cuts, threshold))
        for metric in interactive.METRICS:
            row = results.metric(measured, metric, subset="binary", threshold_rule=rule)
            found = known["intervals"][metric][place]
            assert found == pytest.approx([row.low, row.high], abs=1e-4), (rule, metric)


def expected(table, threshold, prevalence, learnt):
    """What `helpers.evaluation` says at a threshold, under the names of the page."""
    counts = evaluation.outcomes(table, threshold).outcome.value_counts()
    value = evaluation.predictive_values(table, threshold, [prevalence], resamples=2).iloc[0]
    shifted = evaluation.at_prevalence(table.p_pneumonia, prevalence, learnt)
    here = float(evaluation.at_prevalence(threshold, prevalence, learnt))
    options = {"prevalence": prevalence, "resamples": 2}
    moved = table.assign(p_pneumonia=shifted)
    cut = here - 1e-6 if (table.p_pneumonia == threshold).any() else here
    net = evaluation.decision_curve(moved, [cut], **options).iloc[0]
    return {
        **{"found": counts["found"], "missed": counts["missed"]},
        **{"cleared": counts["cleared"], "alarms": counts["false alarm"]},
        **{"ppv": value.ppv, "npv": value.npv, "here": here},
        **{"model": net.model, "all": net["all"]},
        "accuracy": evaluation.outcomes(table, threshold).right.mean(),
    }


@pytest.mark.skipif(not NODE, reason="node is not installed")
def test_the_arithmetic_of_the_page_is_that_of_the_package(known, table):
    asked = [(t, q) for t in THRESHOLDS for q in PREVALENCES]
    given = {"images": known["images"], "asked": asked, "learnt": known["learnt"]}
    script = f"""{(interactive.HERE / "interactive.js").read_text()}
    const {{ images, asked, learnt }} = JSON.parse(require("fs").readFileSync(0));
    const ill = images.label.map((name) => name !== "normal");
    console.log(JSON.stringify(asked.map(([threshold, prevalence]) => {{
      const counts = outcomes(ill, images.p, threshold), shares = rates(counts);
      const here = atPrevalence(threshold, prevalence, learnt);
      const values = predictiveValues(shares, prevalence);
      return {{ ...counts, ...values, here, ...netBenefit(shares, prevalence, here), ...shares }};
    }})));"""
    done = subprocess.run(
        [NODE, "-e", script], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    for (threshold, prevalence), found in zip(asked, json.loads(done.stdout), strict=True):
        wanted = expected(table, threshold, prevalence, known["learnt"])
        for name, value in wanted.items():
            shown = np.nan if found[name] is None else found[name]
            assert shown == pytest.approx(value, abs=2e-5, nan_ok=True), (name, threshold)


@pytest.mark.skipif(not NODE, reason="node is not installed")
@pytest.mark.parametrize(
    ("threshold", "place"), [(0.1, 0), (0.25, 0), (0.3, 1), (0.5, 1), (0.6, 2)]
)
def test_a_threshold_finds_its_interval(threshold, place):
    script = (interactive.HERE / "interactive.js").read_text()
    script += f"console.log(place([0.25, 0.5], {threshold}))"
    done = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == place == np.searchsorted([0.25, 0.5], threshold)


def opened(path, address: str) -> dict[str, str]:
    """The values that the page shows in a browser, by name."""
    values = re.findall(r'data-value="(\w+)"[^>]*>([^<]*)<', rendered(path, address))
    return {name: html.unescape(text) for name, text in values}


@pytest.mark.skipif(not BROWSER, reason="no Chromium or Chrome")
@pytest.mark.parametrize(("threshold", "prevalence"), [(0.349524, 0.16), (0.9, 0.625)])
def test_the_page_shows_them_from_a_file(known, table, tmp_path, threshold, prevalence):
    path = tmp_path / "page.html"
    path.write_text(interactive.page(interactive.fragment(known, charts="")))
    shown = opened(path, f"#threshold={threshold}&prevalence={prevalence}")
    wanted = expected(table, threshold, prevalence, known["learnt"])
    for name in ("found", "missed", "cleared", "alarms"):
        assert shown[name] == str(wanted[name])
    for name in ("ppv", "npv", "accuracy"):
        assert float(shown[name]) == pytest.approx(100 * wanted[name], abs=0.06)
    assert float(shown["net"]) == pytest.approx(wanted["model"], abs=6e-4)
    assert float(shown["net_all"]) == pytest.approx(wanted["all"], abs=6e-4)
    assert shown["threshold"] == f"{threshold:.3f}"


def test_the_page_needs_no_other_file_and_no_network(known):
    page = interactive.page(interactive.fragment(known, charts="const charts = 1;"))
    assert "{{" not in page
    assert "const charts = 1;" in page
    assert not re.search(r'(?:src|href)="|@import|fetch\(|https?://', page)


def test_nothing_that_is_embedded_ends_its_script(known):
    known = known | {"told": "</script><b>"}
    page = interactive.fragment(known, charts='"</script>"')
    assert page.count("</script>") == 3


def test_without_the_chart_library_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match="make site"):
        interactive.library()
