"""Slides: Markdown, figures of the results, and what is said where a result is missing."""

import pytest

from helpers import results, slides
from helpers.settings import IMAGES, RESULTS


@pytest.fixture(scope="module")
def known():
    return slides.fields()


def test_fields_are_filled_from_the_published_tables(known):
    table = results.comparison(results.ladder(RESULTS)).droplevel("protocol")
    slide = slides._slide("# {images} images\n\nAUC {AUC[cnn_4]} %", known, IMAGES)
    assert "<h2>5,856 images</h2>" in slide
    assert f"AUC {table.AUC['cnn_4']} %" in slide
    assert 'class="plain"' in slide
    assert "<table>" in slides._slide("# Title\n\n{standing}", known, IMAGES)


def test_a_line_without_its_result_is_left_out_and_the_slide_says_so(known):
    slide = slides._slide("# Title\n\n- AUC {AUC[nothing]} %\n- kept", known, IMAGES)
    assert "AUC" not in slide
    assert "kept" in slide
    assert "not in these results yet" in slide


def test_a_figure_is_inside_the_file_or_is_said_to_be_missing(known):
    shown = slides._slide("# Title\n\n![ladder](comparison.png)", known, IMAGES)
    assert 'class="below"' in shown
    assert 'alt="ladder" src="data:image/png;base64,iVBOR' in shown
    assert "not in these results yet" not in shown
    missing = slides._slide("# Title\n\n![nothing](nothing.png)", known, IMAGES)
    assert "<img" not in missing
    assert "not in these results yet" in missing


def test_without_a_browser_the_html_is_written_and_one_line_says_what_is_lacking(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(slides, "BROWSERS", ("no-such-browser",))
    slides.write(tmp_path)
    assert (tmp_path / "slides.html").read_text().count("<section") >= 10
    assert not (tmp_path / "slides.pdf").exists()
    assert "install Chromium" in capsys.readouterr().out
