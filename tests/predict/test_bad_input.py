"""Bad pictures and odd names: each gets its line, and the others are answered."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers import paths, predict
from helpers.predict.__main__ import main
from tests.bad_pictures import ANSWERED, ANY, CASES, REFUSED, UNREAD, flipped


@pytest.fixture(scope="module")
def model(exported):
    return predict.open_model(exported / "pneumonia.onnx")


@pytest.fixture
def film(films, tmp_path):
    """A good picture, and its path."""
    picture = Image.open(films[0]).convert("L")
    picture.save(tmp_path / "good.png")
    return picture, tmp_path / "good.png"


def outcome(row):
    return UNREAD if "error" in row else ANSWERED if row["prediction"] else REFUSED


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_picture_gets_its_line_and_its_neighbours_their_answers(
    case, model, film, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("helpers.predict.__main__.open_model", lambda path: model)  # opened once
    picture, good = film
    (tmp_path / "case").mkdir()
    path = case.make(tmp_path / "case", picture)
    files = [str(good), str(path), str(good)]
    code = main([*files, "--json"])
    out, err = capsys.readouterr()
    first, row, last = json.loads(out)["images"]
    assert first == last and first["prediction"] and row["file"] == str(path)
    found = outcome(row)
    assert case.outcome in (found, ANY)
    assert (code, len(err.splitlines())) == ((1, 1) if found == UNREAD else (0, 0))
    if case.outcome == ANSWERED:
        expected = first["prediction"]["p_pneumonia"]
        assert row["prediction"]["p_pneumonia"] == pytest.approx(expected, abs=0.03)
    main(files)
    out, err = capsys.readouterr()
    lines = out.splitlines() + err.splitlines()
    assert len(lines) == 4 and any(case.says in line for line in lines)


def test_every_case_has_a_name_of_its_own():
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("name", ["x.jpeg", "x.png", "x.jp2", "x.tiff", "x.gif"])
def test_flipped_bits_never_end_in_a_traceback(name, film, model, tmp_path):
    picture, _ = film
    picture.save(tmp_path / name)
    whole, draw = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    files = []
    for number in range(20):
        files.append(tmp_path / f"{number}-{name}")
        files[-1].write_bytes(flipped(whole, *draw.uniform(0, 1, 3) ** (1 + number % 3)))
    rows = [row for row, _ in predict.predict(model, files)]
    assert len(rows) == 20 and all("\n" not in row.get("error", "") for row in rows)


def test_a_header_that_speaks_against_an_answer_can_be_overruled(film, model, tmp_path):
    case = next(case for case in CASES if case.name == "DICOM: an adult")
    path = case.make(tmp_path, film[0])
    [(row, _)] = predict.predict(model, [path], forced=True)
    assert row["prediction"] and "45 years" in row["reason"]


def started(arguments, **options):
    command = [sys.executable, "-m", "helpers.predict", *map(str, arguments)]
    return subprocess.run(command, cwd=paths.PROJECT, stderr=subprocess.PIPE, text=True, **options)


def test_whoever_stops_reading_gets_no_traceback(exported, films):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = started([*films[:3], "--model", exported / "pneumonia.onnx"], stdout=closed)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_output_is_one_line(exported, films, options):
    with open("/dev/full", "w") as full:
        done = started([*films[:3], *options, "--model", exported / "pneumonia.onnx"], stdout=full)
    said = "error: cannot write the answers: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_terminal_without_the_letters_of_a_name_gets_them_escaped(exported, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    Image.new("L", (300, 300), 128).save(tmp_path / "胸部.png")
    arguments = [tmp_path / "胸部.png", "--model", exported / "pneumonia.onnx"]
    done = started(arguments, stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u80f8\u90e8.png: does not look like" in done.stdout


def test_a_heat_map_that_cannot_be_written_costs_no_answer(
    exported, film, tmp_path, monkeypatch, capsys
):
    picture, good = film
    long = tmp_path / ("é" * 125 + "x.png")
    picture.save(long)
    folder, keras = tmp_path / "heat", str(exported / "pneumonia.keras")
    arguments = [str(good), str(long), "--heatmap", str(folder), "--model", keras, "--json"]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["images"]
    assert [os.path.isfile(row["heatmap"]) for row in rows] == [True, True]

    for path in folder.iterdir():
        path.unlink()
    (folder / "good-heatmap.png").mkdir()  # in the way
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    spoilt, fine = json.loads(out)["images"]
    assert spoilt["prediction"] and "heatmap" not in spoilt and fine["heatmap"]
    assert len(err.splitlines()) == 1 and err.startswith("error: cannot write")
