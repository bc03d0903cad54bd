"""Slides: Markdown, figures of the results, and what is said where a result is missing."""

import re
import subprocess
import sys

import pytest

from helpers import paths, results
from helpers.publishing import slides
from tests.publishing.browser import BROWSER, rendered

OVERFULL = """<script>
  const footer = 36;
  const bottom = (node) => node.getBoundingClientRect().bottom;
  const full = [...document.querySelectorAll("section")].filter((slide) =>
    [...slide.querySelectorAll("*")].some((node) => bottom(node) > bottom(slide) - footer));
  document.body.dataset.overfull = full.map((slide) => slide.innerText.split("\\n")[0]).join("; ");
</script></body>"""


def test_fields_are_filled_from_the_published_tables():
    table = results.comparison(results.official_metrics()).droplevel("protocol")
    slide = slides.page("# {images} images\n\nAUC {AUC[cnn_4]} %")
    assert "<h2>5,856 images</h2>" in slide
    assert f"AUC {table.AUC['cnn_4']} %" in slide
    assert 'class="plain"' in slide
    assert "<table>" in slides.page("# Title\n\n{literature}")
    assert "<table>" in slides.page("# Title\n\n{replication}")


def test_three_classes_and_the_first_final_model_have_fields():
    official = results.official_metrics().query("experiment == 'final_v1'")
    three = results.three_class_comparison(official).accuracy.iloc[0]
    recall = results.comparison(official, rule="selected").recall.iloc[0]
    slide = slides.page("# Title\n\n{three_accuracy[final_v1]} {v1_recall}")
    assert f"{three} {recall}" in slide


def test_a_line_without_its_result_is_left_out_and_the_slide_says_so():
    slide = slides.page("# Title\n\n- AUC {AUC[nothing]} %\n- kept")
    assert "AUC" not in slide
    assert "kept" in slide
    assert "not in these results yet" in slide


def test_a_figure_is_inside_the_file_or_is_said_to_be_missing():
    shown = slides.page("# Title\n\n![all experiments](comparison.png)")
    assert 'class="below"' in shown
    assert 'alt="all experiments" src="data:image/png;base64,iVBOR' in shown
    assert "not in these results yet" not in shown
    missing = slides.page("# Title\n\n![nothing](nothing.png)")
    assert "<img" not in missing
    assert "not in these results yet" in missing


def test_a_line_of_three_dashes_begins_a_slide():
    assert slides.page("# One\n---\n# Two\n---\n# Three").count("<section") == 3


def test_the_published_slides_lack_nothing():
    assert "not in these results yet" not in slides.page()


@pytest.mark.skipif(not BROWSER, reason="no Chromium or Chrome")
@pytest.mark.parametrize(
    ("source", "overfull"), [("", ""), ("# Much\n\n" + "- a line\n" * 40, "Much")]
)
def test_nothing_reaches_below_its_slide(tmp_path, source, overfull):
    path = tmp_path / "slides.html"
    path.write_text(slides.page(source).replace("</body>", OVERFULL))
    assert re.search('data-overfull="(.*?)"', rendered(path))[1] == overfull


def test_without_a_browser_the_html_is_written_and_one_line_says_what_is_lacking(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(slides, "BROWSERS", ("no-such-browser",))
    slides.write(tmp_path)
    assert (tmp_path / "slides.html").read_text().count("<section") >= 10
    assert not (tmp_path / "slides.pdf").exists()
    assert "install Chromium" in capsys.readouterr().out


def test_slides_that_are_up_to_date_stay_as_they_are(tmp_path, capsys):
    (tmp_path / "slides.html").write_text(slides.page())
    (tmp_path / "slides.pdf").write_text("printed before")
    slides.write(tmp_path)
    assert (tmp_path / "slides.pdf").read_text() == "printed before"
    assert capsys.readouterr().out == ""


def test_the_command_starts_without_a_warning():
    code = "import sys, helpers.publishing; sys.exit('helpers.publishing.slides' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, check=False)
    assert done.returncode == 0
