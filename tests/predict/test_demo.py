"""The page that shows what the model says of one picture, and what it refuses."""

import re
import socket
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import paths, predict
from helpers.predict import demo, heat
from helpers.utils import UserError
from tests import builders


@pytest.fixture(scope="module")
def model(exported):
    return predict.open_model(exported / "pneumonia.keras")


@pytest.fixture
def flat(tmp_path):
    """A picture that is no chest X-ray."""
    Image.new("L", (300, 300), 128).save(tmp_path / "flat.png")
    return str(tmp_path / "flat.png")


def test_an_answer_is_what_the_predictor_says_at_both_operating_points(model, films):
    said = demo.show(model, films[0])
    row, picture = next(predict.predict(model, films[:1]))
    answer = row["prediction"]
    assert said.text.startswith(
        f"### Probability of pneumonia: {100 * answer['p_pneumonia']:.1f} %\n"
    )
    for point, threshold in (("balanced", 0.5), ("screening", 0.3)):
        decision = "pneumonia" if answer["p_pneumonia"] >= threshold else "normal"
        assert f"- {point}: **{decision}** (from {100 * threshold:.1f} % on; " in said.text
    assert said.probabilities == {
        "normal": answer["p_normal"],
        "bacterial pneumonia": answer["p_bacteria"],
        "viral pneumonia": answer["p_virus"],
    }
    assert said.lungs.size == (heat.SIDE, heat.SIDE) and said.heat.width == heat.SIDE
    left, top, right, bottom = (round(heat.SIDE * edge) for edge in answer["box"])
    pixels = np.asarray(said.lungs)
    assert (pixels[top, left:right] == heat.OUTLINE).all()
    assert (pixels[top:bottom, left] == heat.OUTLINE).all()
    expected = heat.heat_maps(model, picture[None], np.array([answer["box"]]))[0]
    assert said.heat.tobytes() == expected.tobytes()


def test_the_thresholds_are_those_of_the_model(with_facts, exported, films):
    path = with_facts(thresholds={"balanced": 1.0, "screening": 0.0}).with_suffix(".keras")
    path.write_bytes((exported / path.name).read_bytes())
    text = demo.show(predict.open_model(path), films[0]).text
    assert "balanced: **normal** (from 100.0 % on" in text
    assert "screening: **pneumonia** (from 0.0 % on" in text


def test_what_is_refused_is_one_line_and_the_number_is_there_if_one_insists(model, flat):
    assert demo.show(model, flat) == (
        "**No decision.** `flat.png`: does not look like a frontal chest X-ray.",
        *3 * [None],
    )
    forced = demo.show(model, flat, forced=True)
    assert "**Not to be relied on.** `flat.png`: does not look like" in forced.text
    assert "Probability of pneumonia" in forced.text and forced.heat is not None


def test_what_cannot_be_read_is_one_line_without_the_folder(model, tmp_path, films):
    for path in builders.unreadable_files(tmp_path, Path(films[0]).read_bytes()):
        said = demo.show(model, str(path))
        assert said.text.startswith("**Not read.** Cannot read this file (")
        assert str(tmp_path) not in said.text and "\n" not in said.text
        assert said[1:] == (None, None, None)


def test_without_a_file_there_is_nothing(model):
    assert demo.show(model, None) == demo.Shown()


def test_the_limits_are_those_of_the_card(with_facts):
    path = with_facts()
    model = predict.open_model(path)
    assert demo.card(model) == ("", "")
    head = "---\nlicense: mit\n---\n\n# Model\n"
    path.with_name("README.md").write_text(
        f"{head}\n## Limits\n\n- One hospital.\n\n## Licence\n\nMIT\n"
    )
    text, limits = demo.card(model)
    assert limits == "- One hospital."
    assert text.startswith("\n# Model") and "license" not in text


def test_the_published_card_has_limits():
    published = predict.Model(paths.MODELS / "pneumonia.keras", None)
    assert "One hospital" in demo.card(published)[1]


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    """The page, served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        served = demo.launch(model)
        yield served
        served.close()


def test_the_page_answers(page, model, films, flat, tmp_path):
    from gradio_client import Client, handle_file  # takes a second to import

    client = Client(page.local_url, verbose=False, download_files=str(tmp_path))
    ask = {"api_name": "/ask"}
    text, classes, lungs, heat_map = client.predict(handle_file(films[0]), False, **ask)
    said = demo.show(model, films[0])
    assert text == said.text
    shares = {
        row["label"]: row["confidence"] for row in classes.get("value", classes)["confidences"]
    }
    assert shares == pytest.approx(said.probabilities, abs=1e-5)
    assert Image.open(lungs).tobytes() == said.lungs.tobytes()
    assert Image.open(heat_map).tobytes() == said.heat.tobytes()
    assert client.predict(handle_file(flat), False, **ask)[0].startswith("**No decision.**")
    assert "Probability" in client.predict(handle_file(flat), True, **ask)[0]


def test_the_page_is_for_this_computer_and_fetches_nothing_from_elsewhere(page):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", page.local_url)
    assert page.share_url is None and not page.analytics_enabled
    with urllib.request.urlopen(page.local_url) as answer:
        text = answer.read().decode()
    assert "Content-Security-Policy" in text  # in the settings that the page's script reads
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?:https?:)?//", text)


def test_a_port_that_is_taken_is_one_line(exported, monkeypatch, capsys):
    monkeypatch.setattr(paths, "MODELS", exported)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert demo.main(["--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"error: port {port} is taken: name another one with --port\n"
    )


def test_without_gradio_it_says_how_to_get_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"needs gradio: `pip install -e \.\[demo\]`"):
        demo.launch(model)
