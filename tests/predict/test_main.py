"""The command line of the predictor: its lines, its JSON, its heat maps and its mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from helpers import paths, predict
from helpers.predict.__main__ import main
from tests import builders

NO_CHEST = "does not look like a frontal chest X-ray: no prediction"


@pytest.fixture
def run(exported, capsys):
    """Calls the command line; gives exit code, standard output and standard error."""

    def call(*arguments, model=exported / "pneumonia.keras"):
        code = main([*map(str, arguments), "--model", str(model)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def unreadable(tmp_path, films):
    """A path of every kind that cannot be read."""
    return [str(path) for path in builders.unreadable_files(tmp_path, Path(films[0]).read_bytes())]


def test_what_cannot_be_read_is_one_line_and_the_others_go_on(run, films, unreadable):
    code, out, err = run(films[0], *unreadable, films[1])
    assert code == 1
    lines = err.splitlines()
    assert len(lines) == len(unreadable) == 9
    for line, path in zip(lines, unreadable, strict=True):
        assert line.startswith(f"error: cannot read {path} (")
    first, second, last = out.splitlines()
    assert first.startswith(f"{films[0]}: probability of pneumonia ")
    assert second.startswith(films[1])
    assert "pneumonia.keras" in last and "50.0 %" in last and "not a medical device" in last


def test_a_line_tells_probability_shares_and_decision(run, films):
    code, out, err = run(*films[:2])
    assert (code, err) == (0, "")
    p, bacteria, virus = (float(part.split()[-1]) for part in out.split(" %")[:3])
    assert p == pytest.approx(bacteria + virus, abs=0.11)
    assert f"decision: {'pneumonia' if p >= 50 else 'normal'}" in out.splitlines()[0]


def test_json_is_one_document(run, films, tmp_path):
    Image.new("L", (300, 300), 128).save(tmp_path / "flat.png")
    code, out, err = run(films[0], tmp_path / "flat.png", "missing.png", "--json")
    found = json.loads(out)
    assert code == 1 and len(err.splitlines()) == 1
    assert found["threshold"] == 0.5 and "not a medical device" in found["note"]
    good, flat, missing = found["images"]
    answer = good["prediction"]
    assert answer["p_pneumonia"] == pytest.approx(
        answer["p_bacteria"] + answer["p_virus"], abs=1e-5
    )
    assert answer["p_normal"] + answer["p_pneumonia"] == pytest.approx(1, abs=1e-5)
    assert flat["prediction"] is None and flat["reason"] == predict.NO_CHEST
    assert missing["prediction"] is None and "No such file" in missing["error"]


def test_the_threshold_decides(run, films, exported, tmp_path):
    facts = json.loads((exported / "pneumonia.json").read_text())
    (tmp_path / "pneumonia.onnx").write_bytes((exported / "pneumonia.onnx").read_bytes())
    for threshold, decision in ((0.0, "pneumonia"), (1.0, "normal")):
        (tmp_path / "pneumonia.json").write_text(json.dumps(facts | {"threshold": threshold}))
        assert f"decision: {decision}" in run(films[0], model=tmp_path / "pneumonia.onnx")[1]


def test_what_is_no_chest_gets_no_prediction(run, tmp_path, films):
    turned = tmp_path / "turned.png"
    gray = Image.open(films[0]).convert("L").resize((150, 120))
    gray.transpose(Image.Transpose.ROTATE_180).save(turned)
    code, out, err = run(turned, films[0])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{turned}: {NO_CHEST}"
    assert "decision" in out.splitlines()[1]


def test_onnx_gives_the_same_answer(run, films, exported):
    one, other = (
        json.loads(run(*films[:5], "--json", model=exported / f"pneumonia.{kind}")[1])["images"]
        for kind in ("keras", "onnx")
    )
    for a, b in zip(one, other, strict=True):
        assert a["prediction"].pop("decision") == b["prediction"].pop("decision")
        assert a["prediction"] == pytest.approx(b["prediction"], abs=2e-6)


def test_the_answer_does_not_depend_on_the_others(run, films, tmp_path):
    Image.new("L", (300, 300), 128).save(tmp_path / "flat.png")
    alone = run(films[0])[1].splitlines()[0]
    many = [tmp_path / "flat.png", "missing.png", *films[1 : predict.BATCH + 5], films[0]]
    assert run(*many)[1].splitlines()[-2] == alone


def test_heat_maps_of_one_name_do_not_overwrite_each_other(run, films, tmp_path, pictures):
    files = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", tmp_path / "b" / "X.jpeg"]
    for path, film in zip(files, films, strict=False):
        path.parent.mkdir(exist_ok=True)
        Image.open(film).save(path, quality=95)
    folder = tmp_path / "new" / "heat"
    _, out, err = run(*files, "--heatmap", folder, "--json")
    written = [row["heatmap"] for row in json.loads(out)["images"]]
    assert written == [
        str(folder / f"{x}.png") for x in ("x-heatmap", "x-heatmap-2", "X-heatmap-3")
    ]
    assert err == "" and sorted(map(str, folder.iterdir())) == sorted(written)
    assert {Image.open(path).size for path in written} == {pictures[0].shape[1:3]}


def test_heat_maps_need_the_keras_model(run, films, exported, tmp_path):
    options = films[0], "--heatmap", tmp_path / "heat"
    code, out, err = run(*options, model=exported / "pneumonia.onnx")
    assert (code, out) == (1, "") and err.startswith("error: heat maps need the Keras model")


def test_heat_maps_need_a_folder(run, films, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run(films[0], "--heatmap", tmp_path / "file")
    assert (code, out) == (1, "") and err.startswith("error: cannot make the folder")


def test_a_spoilt_model_is_one_line(run, exported, tmp_path):
    (tmp_path / "pneumonia.json").write_bytes((exported / "pneumonia.json").read_bytes())
    (tmp_path / "pneumonia.onnx").write_text("another model")
    code, out, err = run("any.png", model=tmp_path / "pneumonia.onnx")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("error: ") and "is not the file that pneumonia.json describes" in err


def test_a_model_of_another_kind_is_refused(run, tmp_path):
    assert run("any.png", model=tmp_path / "net.h5")[2].startswith("error: model ")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), ([], 2), (["x.png", "--nonsense"], 2), (["x.png", "--model", "no.keras"], 1)],
)
def test_help_and_mistakes_come_without_heavy_imports(arguments, code):
    heavy = {"tensorflow", "keras", "pydicom", "onnxruntime", "pandas", "sklearn"}
    script = (
        "import sys\nfrom helpers.predict.__main__ import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as leave: code = leave.code\n"
        f"assert not {heavy} & sys.modules.keys()\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
