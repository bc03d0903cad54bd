"""Malicious and broken model files end in one line, and nothing in them is executed."""

import json

import pytest
from PIL import Image

from helpers import predict
from helpers.predict.__main__ import main
from helpers.utils import UserError
from tests import bad_models


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A working folder with a module that leaves a mark when it is imported."""
    place = tmp_path / "work"
    place.mkdir()
    mark = f"open({bad_models.EXECUTED!r}, 'w').close()\n"
    (place / "attack.py").write_text(mark + "class Layer:\n    pass\n")
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    return place


@pytest.mark.parametrize("case", bad_models.MODELS, ids=lambda case: case.name)
def test_a_bad_model_is_one_line_and_executes_nothing(case, exported, tmp_path, trap, capfd):
    (tmp_path / "models").mkdir()
    path = case.make(tmp_path / "models", exported)
    Image.new("L", (300, 300), 128).save("flat.png")
    assert main(["flat.png", "--model", str(path)]) == 1
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and len(err) < 500
    assert err.startswith(f"error: {path} ") and case.says in err
    assert sorted(entry.name for entry in trap.iterdir()) == ["attack.py", "flat.png"]


@pytest.mark.parametrize(("facts", "wrong"), bad_models.FACTS_CHANGED, ids=str)
def test_facts_that_cannot_be_are_refused(facts, wrong, with_facts):
    with pytest.raises(UserError, match=f"does not describe a model \\(.*{wrong}.*\\): get it"):
        predict.open_model(with_facts(**facts))


def test_a_missing_fact_is_named(exported, tmp_path):
    known = json.loads((exported / predict.FACTS).read_text())
    for name in known:
        (tmp_path / "x.json").write_text(json.dumps({k: v for k, v in known.items() if k != name}))
        with pytest.raises(UserError, match=f"does not describe a model \\(no {name}\\)"):
            predict.read_facts(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["mean", "components", "upright", "most_unexplained"])
def test_a_chest_check_of_another_shape_is_refused(name, exported, with_facts):
    check = json.loads((exported / predict.FACTS).read_text())["chest_check"]
    with pytest.raises(UserError, match="chest_check"):
        predict.open_model(with_facts(chest_check=check | {name: [1.0, 2.0]}))


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", '"x"', "\xff", ""])
def test_what_is_no_json_of_facts_is_refused(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="does not describe a model"):
        predict.read_facts(tmp_path / "x.json")


def test_a_good_model_beside_changed_facts_is_still_opened(exported, tmp_path):
    """The way in which these files are described is not what is refused."""
    (tmp_path / "pneumonia.onnx").write_bytes((exported / "pneumonia.onnx").read_bytes())
    path = bad_models.describe(tmp_path / "pneumonia.onnx", exported)
    assert predict.open_model(path).path == path
