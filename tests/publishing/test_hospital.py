"""The page of the model's figures on anybody's pictures, and what is wrong with their table."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import data, evaluation, paths, predict
from helpers.publishing import hospital
from tests import builders

GRAYS = {"normal": 40, "bacteria": 120, "virus": 200, "pneumonia": 160}
CUTS = {"balanced": 0.5, "screening": 0.25}


class StandIn(predict.Model):
    """Answers by the mean gray value of a picture; a white one is no chest X-ray."""

    def judge(self, images):
        share = images.mean(axis=(1, 2, 3)) / 255
        virus = np.clip(share - 0.3, 0, None) * share
        said = np.stack([1 - share, share - virus, virus], axis=1)
        reasons = [predict.NO_CHEST if one > 0.95 else "" for one in share]
        return {
            "probabilities": said,
            "boxes": np.tile([0.1, 0.1, 0.9, 0.9], (len(said), 1)),
        }, reasons


@pytest.fixture
def model(monkeypatch):
    """A stand-in of the published model, which the command line opens."""
    digests = {"pneumonia.onnx": "0" * 64}
    facts = predict.Facts(CUTS, 32, 0.0, data.LABELS, digests, {}, 0.0, 1.0, 1.0)
    found = StandIn(Path("pneumonia.onnx"), facts)
    monkeypatch.setattr(predict, "open_model", lambda path: found)
    return found


def write_pictures(folder: Path, labels, patients=None) -> pd.DataFrame:
    """A picture for each label, its gray value around that of the label; gives their table."""
    folder.mkdir()
    rng, files = np.random.default_rng(0), [f"scan-{n}.png" for n in range(len(labels))]
    for file, label in zip(files, labels, strict=True):
        gray = np.clip(GRAYS[label] + rng.normal(0, 40), 0, 230)
        Image.new("L", (20, 24), int(gray)).save(folder / file)
    table = pd.DataFrame({"file": files, "label": labels})
    if patients is not None:
        table["patient"] = patients
    table.to_csv(folder / "labels.csv", index=False)
    return table


@pytest.fixture
def run(model, tmp_path, capsys):
    """Calls the command line on `pictures`; gives exit code, page and standard error."""

    def call(*options, folder=tmp_path / "pictures"):
        target = tmp_path / "made" / "page.html"
        code = hospital.main([str(folder), "--page", str(target), *map(str, options)])
        page = target.read_text() if target.exists() else ""
        return code, page, capsys.readouterr().err

    return call


def cells(page: str) -> list[list[str]]:
    """The rows of all tables of a page."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_the_page_shows_the_metrics_of_the_predictions_beside_it(run, tmp_path):
    labels = [*data.LABELS] * 12
    write_pictures(tmp_path / "pictures", labels, [f"case {n // 2}" for n in range(36)])
    code, page, _ = run()
    assert code == 0
    said = pd.read_csv(tmp_path / "made" / "page.csv", keep_default_na=False)
    assert list(said.columns) == hospital.COLUMNS and list(said.label) == labels
    table = said.assign(split="test").drop(columns="p_pneumonia")
    measured = evaluation.metrics(table, thresholds=CUTS)

    def shown(metric, subset="binary", rule=""):
        row = measured.query(
            "metric == @metric and subset == @subset and threshold_rule == @rule"
        ).iloc[0]
        return f"{100 * row.value:.1f} ({100 * row.low:.1f}-{100 * row.high:.1f})"

    assert f"<strong>{shown('auc')} %</strong>" in page
    rows = {row[0]: row[1:] for row in cells(page)}
    for name, metric in (
        ("accuracy, %", "accuracy"),
        ("sensitivity (recall), %", "recall"),
        ("specificity, %", "specificity"),
    ):
        assert rows[name] == [shown(metric, rule=rule) for rule in CUTS]
    ill = said.label != "normal"
    missed = [str(((said.p_pneumonia < cut) & ill).sum()) for cut in CUTS.values()]
    assert rows["missed"] == missed
    assert rows["recall of virus"] == [shown("recall_virus", "all")]
    assert rows["AUC (mean, one against rest)"] == [shown("auc", "all")]
    assert rows["virus"] == list(map(str, evaluation.confusion(table).loc["virus"]))
    assert "36 pictures of 18 patients; 66.7 % are pneumonias" in page
    assert "bootstrap over\npatients." in page


def test_the_page_needs_nothing_else_and_says_what_its_figures_show(run, tmp_path):
    write_pictures(tmp_path / "pictures", [*data.LABELS] * 4)
    page = run()[1]
    images = re.findall(r"<img src=\"(data:image/png;base64,)[^\"]+\" alt=\"([^\"]+)\">", page)
    assert len(images) == page.count("<img") == 2
    assert "sensitivity" in images[0][1] and "calibration error" in images[1][1]
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    assert "not a medical device" in page
    assert "each taken as a patient of its own" in page


def test_without_pathogens_there_are_two_classes(run, tmp_path):
    write_pictures(tmp_path / "pictures", ["normal", "pneumonia"] * 6)
    code, page, _ = run()
    assert code == 0 and "Three classes" not in page
    assert ["specificity, %"] in [row[:1] for row in cells(page)] and page.count("<img") == 2


@pytest.mark.parametrize(("label", "missing"), [("normal", "sensitivity"), ("virus", "specific")])
def test_pictures_of_one_class_have_no_auc_and_the_page_says_so(run, tmp_path, label, missing):
    write_pictures(tmp_path / "pictures", [label] * 6)
    code, page, _ = run()
    assert code == 0
    assert "not defined, since all 6 pictures are of one class" in page
    assert "<img" not in page
    (row,) = [row for row in cells(page) if row[0].startswith(missing)]
    assert row[1:] == ["-", "-"]


def test_what_is_refused_is_counted_named_and_measured_too(run, tmp_path):
    folder = tmp_path / "pictures"
    write_pictures(folder, ["normal", "virus"] * 6)
    Image.new("L", (20, 24), 255).save(folder / "scan-0.png")
    (folder / "scan-1.png").write_text("no picture")
    page = run()[1]
    rows = cells(page)
    assert ["scan-0.png", "normal", predict.NO_CHEST] in rows
    (broken,) = [row for row in rows if row[0] == "scan-1.png"]
    assert broken[2].startswith("cannot read it (") and str(tmp_path) not in page
    assert ["normal", "5", "1"] in rows and ["virus", "5", "1"] in rows
    assert "On the 10 pictures" in page and "On all 11 pictures that can be read" in page
    said = pd.read_csv(tmp_path / "made" / "page.csv")
    assert said.p_pneumonia.isna().tolist() == [False, True, *[False] * 10]


@pytest.mark.parametrize("readable", [True, False])
def test_where_nothing_is_answered_the_page_says_so(run, tmp_path, readable):
    folder = tmp_path / "pictures"
    write_pictures(folder, ["normal", "virus"])
    for path in folder.glob("*.png"):
        if readable:
            Image.new("L", (20, 24), 255).save(path)
        else:
            path.write_text("no picture")
    code, page, _ = run()
    assert code == 0 and "gives no decision on any of these pictures" in page
    assert ("On all 2 pictures" in page) == readable


def test_pictures_that_are_synthetic_or_learnt_from_are_no_other_hospital(run, index, tmp_path):
    builders.labelled_folder(tmp_path / "pictures", index[:9])
    page = run()[1]
    assert "Synthetic radiographs:</strong> 9 of 9" in page and "Not new to" not in page
    known = pd.read_csv(paths.MANIFEST).groupby("official_split").file.first()
    table = write_pictures(tmp_path / "known", ["normal", "virus"])
    for old, new in zip(table.file, known[["train", "test"]], strict=True):
        (tmp_path / "known" / old).rename(tmp_path / "known" / new)
    table.assign(file=list(known[["train", "test"]])).to_csv(
        tmp_path / "known" / "labels.csv", index=False
    )
    page = run(folder=tmp_path / "known")[1]
    assert "Not new to the model:</strong> 1 of 2" in page and "Synthetic" not in page


def test_labels_may_lie_elsewhere_and_names_are_no_markup(run, tmp_path):
    folder = tmp_path / "pictures"
    write_pictures(folder, ["normal", "virus"])
    (folder / "labels.csv").rename(tmp_path / "elsewhere.csv")
    Image.new("L", (20, 24), 255).save(folder / "<b>.png")
    with (tmp_path / "elsewhere.csv").open("a") as file:
        file.write("<b>.png,virus\n")
    code, page, _ = run("--labels", tmp_path / "elsewhere.csv")
    assert code == 0 and "&lt;b&gt;.png" in page and "<b>" not in page
    (tmp_path / "elsewhere.csv").rename(folder / "other.csv")
    assert run("--labels", "other.csv")[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\nscan-0.png,normal\n", "no column file. Needed: file, label, and patient"),
        ("file,label\nscan-0.png,Fungus\n", "label that is none of normal, bacteria, virus"),
        ("file,label\nscan-9.png,normal\n", "names a file that is not in"),
        ("file,label\nscan-0.png,virus\nscan-0.png,virus\n", "the file name of an earlier one"),
        ("file,label\n", "names no picture"),
    ],
)
def test_a_wrong_table_is_one_line(run, tmp_path, text, message):
    write_pictures(tmp_path / "pictures", ["normal"])
    (tmp_path / "pictures" / "labels.csv").write_text(text)
    code, page, err = run()
    assert (code, page) == (1, "")
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_a_wrong_command_is_one_line(run, tmp_path):
    for folder in ("", tmp_path / "nothing"):
        code, _, err = run(folder=folder)
        assert code == 1 and err.startswith("error: no folder ")
    write_pictures(tmp_path / "pictures", ["normal"])
    assert "has no" not in run()[2]
    code, _, err = run("--page", tmp_path / "page.pdf")
    assert code == 1 and "ends in .html" in err


def test_intervals_are_of_patients(model):
    table = builders.predictions(160, signal=0, classes=3, per_patient=8)
    alike = table.groupby("patient")[evaluation.CLASSES].transform("first")
    table[evaluation.CLASSES] = alike
    table["p_pneumonia"] = 1 - table.p_normal
    widths = []
    for patients in (table.patient, table.file):
        points = hospital.measure(table.assign(patient=patients), CUTS, 300)["points"]
        low, high = re.findall(r"[\d.]+", points.balanced["accuracy, %"])[1:]
        widths.append(float(high) - float(low))
    assert widths[0] > 1.5 * widths[1]
