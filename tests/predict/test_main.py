"""The command line of the predictor: its lines, its JSON, its heat maps and its mistakes."""

import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from PIL import Image

from helpers import paths, predict
from helpers.predict import heat
from helpers.predict.__main__ import main
from tests import builders

NO_CHEST = "does not look like a frontal chest X-ray: no decision"


@pytest.fixture
def run(exported, capsys):
    """Calls the command line; gives exit code, standard output and standard error."""

    def call(*arguments, model=exported / "pneumonia.onnx"):
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
    assert "pneumonia.onnx" in last and "not a medical device" in last
    assert "operating point balanced, pneumonia from 50.0 % on" in last


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
    assert (found["operating_point"], found["threshold"]) == ("balanced", 0.5)
    assert "not a medical device" in found["note"]
    good, flat, missing = found["images"]
    answer = good["prediction"]
    assert answer["p_pneumonia"] == pytest.approx(
        answer["p_bacteria"] + answer["p_virus"], abs=1e-5
    )
    assert answer["p_normal"] + answer["p_pneumonia"] == pytest.approx(1, abs=1e-5)
    assert flat["prediction"] is None and flat["reason"] == predict.NO_CHEST
    assert missing["prediction"] is None and "No such file" in missing["error"]


def test_the_threshold_of_the_operating_point_decides(run, films, with_facts):
    model = with_facts(thresholds={"balanced": 1.0, "screening": 0.0})
    for options, decision, said in (
        ([], "normal", "balanced, pneumonia from 100.0 %"),
        (["--operating-point", "screening"], "pneumonia", "screening, pneumonia from 0.0 %"),
    ):
        first, last = run(films[0], *options, model=model)[1].splitlines()
        assert f"decision: {decision}" in first and f"operating point {said}" in last


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"least_detail": 1e9}, "has too little detail (enlarged from a small picture?)"),
        ({"most_spread": -1}, "no lungs are found in it"),
        ({"most_distance": -1}, "unlike the children's X-rays it has learnt from"),
    ],
)
def test_what_cannot_be_judged_gets_no_decision_unless_forced(
    run, films, with_facts, facts, reason
):
    model = with_facts(**facts)
    code, out, err = run(films[0], model=model)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{films[0]}: {reason}: no decision"
    forced = run(films[0], "--force", model=model)[1].splitlines()[0]
    assert forced == f"{run(films[0])[1].splitlines()[0]} (forced: {reason})"


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
        assert a["prediction"].pop("box") == pytest.approx(b["prediction"].pop("box"), abs=1e-4)
        assert a["prediction"] == pytest.approx(b["prediction"], abs=1e-4)


def test_the_answer_does_not_depend_on_the_others(run, films, tmp_path):
    Image.new("L", (300, 300), 128).save(tmp_path / "flat.png")
    alone = run(films[0])[1].splitlines()[0]
    many = [tmp_path / "flat.png", "missing.png", *films[1 : predict.BATCH + 5], films[0]]
    assert run(*many)[1].splitlines()[-2] == alone


def test_pictures_are_forgotten_once_they_are_answered(run, films, monkeypatch):
    pictures, most = [], []

    def watched(*arguments):
        for row, picture in predict.predict(*arguments):
            pictures.append(weakref.ref(picture))
            most.append(sum(one() is not None for one in pictures))
            yield row, picture

    monkeypatch.setattr("helpers.predict.__main__.predict", watched)
    run(*(films * 9)[: 4 * predict.BATCH])
    assert len(pictures) == 4 * predict.BATCH
    assert max(most) <= 2 * predict.BATCH


def test_heat_maps_of_one_name_do_not_overwrite_each_other(run, films, tmp_path, exported):
    files = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", tmp_path / "b" / "X.jpeg"]
    for path, film in zip(files, films, strict=False):
        path.parent.mkdir(exist_ok=True)
        Image.open(film).save(path, quality=95)
    folder = tmp_path / "new" / "heat"
    options = "--heatmap", folder, "--json", "--force"
    _, out, err = run(*files, *options, model=exported / "pneumonia.keras")
    written = [row["heatmap"] for row in json.loads(out)["images"]]
    assert written == [
        str(folder / f"{x}.png") for x in ("x-heatmap", "x-heatmap-2", "X-heatmap-3")
    ]
    assert err == "" and sorted(map(str, folder.iterdir())) == sorted(written)
    assert {Image.open(path).width for path in written} == {heat.SIDE}


def test_heat_maps_need_the_keras_model(run, films, exported, tmp_path):
    options = films[0], "--heatmap", tmp_path / "heat"
    code, out, err = run(*options, model=exported / "pneumonia.onnx")
    assert (code, out) == (1, "") and err.startswith("error: heat maps need the Keras model")


def test_heat_maps_need_a_folder(run, films, exported, tmp_path):
    (tmp_path / "file").touch()
    options = films[0], "--heatmap", tmp_path / "file"
    code, out, err = run(*options, model=exported / "pneumonia.keras")
    assert (code, out) == (1, "") and err.startswith("error: cannot make the folder")


def test_a_spoilt_model_is_one_line(run, exported, tmp_path):
    (tmp_path / "pneumonia.json").write_bytes((exported / "pneumonia.json").read_bytes())
    (tmp_path / "pneumonia.onnx").write_text("another model")
    code, out, err = run("any.png", model=tmp_path / "pneumonia.onnx")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("error: ") and "is not the file that pneumonia.json describes" in err


def test_a_model_of_another_kind_is_refused(run, tmp_path):
    assert run("any.png", model=tmp_path / "net.h5")[2].startswith("error: model ")


HEAVY = {"tensorflow", "keras", "matplotlib", "pandas", "sklearn", "scipy", "pydicom"}


def imported(*arguments):
    """Exit code of the command line in a new process, and what it has imported of `HEAVY`."""
    script = (
        "import sys\nfrom helpers.predict.__main__ import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as leave: code = leave.code\n"
        f"print(sorted({HEAVY | {'onnxruntime'}} & sys.modules.keys()))\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), ([], 2), (["x.png", "--nonsense"], 2), (["x.png", "--model", "no.keras"], 1)],
)
def test_help_and_mistakes_come_without_heavy_imports(arguments, code):
    assert imported(*arguments) == (code, "[]")


@pytest.mark.parametrize("kind", ["onnx", "keras"])
def test_a_missing_file_is_named_before_anything_heavy_is_imported(exported, kind):
    model = exported / f"pneumonia.{kind}"
    assert imported("missing.png", "--model", model) == (1, "[]")


def test_onnx_answers_with_onnx_runtime_alone(exported, films):
    model = exported / "pneumonia.onnx"
    assert imported(films[0], "--model", model) == (0, "['onnxruntime']")


def test_onnx_is_the_default_and_keras_where_heat_maps_are_wanted(
    exported, films, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(paths, "MODELS", exported)
    for options, name in (([], "onnx"), (["--heatmap", str(tmp_path / "heat")], "keras")):
        assert main([films[0], *options]) == 0
        assert f"pneumonia.{name}, operating point" in capsys.readouterr().out
