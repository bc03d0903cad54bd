"""The synthetic radiographs: layout, names, mark, repeatability, and how hard they are."""

import hashlib
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.data import synthetic
from helpers.utils import UserError
from tests import builders

PNEUMONIA = re.compile(r"(?P<patient>person\d+)_(?P<label>bacteria|virus)_\d+\.jpeg")
NORMAL = re.compile(r"(?P<patient>(NORMAL2-)?IM-\d{4})-\d{4}(-\d{4})?\.jpeg")


@pytest.fixture(scope="module")
def files(phantoms):
    return sorted(phantoms.glob("*/*/*.jpeg"))


@pytest.fixture(scope="module")
def planned():
    """Paths of the files that are drawn by default."""
    return [Path(file.path) for file in synthetic.plan(patients=160, seed=0)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return synthetic.make(tmp_path_factory.mktemp("small") / "xray", patients=20)


def describe(path):
    """Split, label and patient of a file."""
    split, place = path.parts[-3:-1]
    match = (NORMAL if place == "NORMAL" else PNEUMONIA).fullmatch(path.name)
    assert match, path
    return split, match.groupdict().get("label", "normal"), match["patient"]


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*/*.jpeg")
    }


def test_layout_and_names_are_those_of_the_real_set(phantoms, files):
    places = {str(path.parent.relative_to(phantoms)) for path in files}
    assert places == {f"{s}/{k}" for s in ("train", "val", "test") for k in ("NORMAL", "PNEUMONIA")}
    beside = {synthetic.STAMP, synthetic.LUNG_BOXES}
    assert {path.name for path in phantoms.iterdir()} == {"train", "val", "test", *beside}
    expected = {file.path for file in synthetic.plan(builders.PATIENTS, seed=0)}
    assert {path.relative_to(phantoms).as_posix() for path in files} == expected
    assert len({path.name for path in files}) == len(files)
    forms = {re.sub(r"\d+", "#", path.name.replace("NORMAL2", "SECOND")) for path in files}
    assert forms == {
        *("person#_bacteria_#.jpeg", "person#_virus_#.jpeg", "IM-#-#.jpeg", "IM-#-#-#.jpeg"),
        *("SECOND-IM-#-#.jpeg", "SECOND-IM-#-#-#.jpeg"),
    }


def test_class_balance_is_that_of_the_real_set(planned):
    count = Counter(describe(path)[:2] for path in planned)
    assert 300 <= len(planned) <= 400
    for split, shares in {"train": (0.27, 0.47, 0.26), "test": (0.37, 0.39, 0.24)}.items():
        images = np.array([count[split, label] for label in ("normal", "bacteria", "virus")])
        assert np.allclose(images / images.sum(), shares, atol=0.03)
    assert [count["val", label] for label in ("normal", "bacteria", "virus")] == [4, 4, 0]


def test_patients_keep_to_one_folder_and_label_but_for_reused_numbers(planned):
    where = defaultdict(set)
    for path in planned:
        split, label, patient = describe(path)
        where[patient].add((split, label))
    assert len(where) == 160 - 2  # two numbers stand for two patients each
    reused = {patient: places for patient, places in where.items() if len(places) > 1}
    assert sorted(reused) == ["person1", "person2"]
    assert all(p == {("test", "virus"), ("train", "bacteria")} for p in reused.values())


def test_patients_have_several_images(planned):
    images = Counter(describe(path) for path in planned)
    assert {1, 2, 3, 4} <= set(images.values())
    mean = {k: np.mean([n for d, n in images.items() if d[1] == k]) for k in synthetic.IMAGES}
    assert mean["bacteria"] > max(mean["normal"], mean["virus"])


def test_sizes_and_modes_vary(files):
    sizes, modes = defaultdict(list), Counter()
    for path in files:
        with Image.open(path) as image:
            sizes[path.parent.name].append(image.size)
            modes[path.parts[-3], path.parent.name, image.mode] += 1
    assert len({size for group in sizes.values() for size in group}) > len(files) / 2
    width, height = np.array(sizes["NORMAL"] + sizes["PNEUMONIA"]).T
    assert width.min() >= 180 and width.max() <= 420
    assert (width / height).min() > 0.99 and (width / height).max() < 1.51
    assert np.mean(sizes["NORMAL"]) > np.mean(sizes["PNEUMONIA"])
    assert {key for key in modes if key[2] != "L"} == {("train", "PNEUMONIA", "RGB")}


def test_duplicates_stay_within_a_folder(phantoms):
    groups = defaultdict(list)
    for path, digest in digests(phantoms).items():
        groups[digest].append(path)
    twice = [group for group in groups.values() if len(group) > 1]
    assert sorted(map(len, twice)) == [2, 2]
    assert all(len({path.rsplit("/", 1)[0] for path in group}) == 1 for group in twice)


def test_every_file_carries_the_mark_and_others_do_not(files, tmp_path):
    assert all(synthetic.is_synthetic(path.read_bytes()) for path in files)
    with Image.open(files[0]) as image:
        assert image.info["comment"] == synthetic.MARK
        image.save(tmp_path / "plain.jpeg", comment=b"")
    image = Image.new("L", (8, 8))
    image.save(tmp_path / "other.jpeg", comment=b"taken on a Monday")
    (tmp_path / "empty.jpeg").touch()
    assert not any(synthetic.is_synthetic(path.read_bytes()) for path in tmp_path.iterdir())


def test_a_complete_folder_is_kept_and_another_gets_the_same_bytes_again(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "xray")
    stamp = (folder / synthetic.STAMP).stat().st_mtime_ns
    assert synthetic.make(folder, 20) == folder
    assert (folder / synthetic.STAMP).stat().st_mtime_ns == stamp
    next(folder.glob("train/*/*.jpeg")).unlink()
    assert digests(synthetic.make(folder, 20)) == digests(small)
    assert [path.name for path in tmp_path.iterdir()] == ["xray"]


def test_another_seed_replaces_every_picture(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "xray")
    first, other = digests(small), digests(synthetic.make(folder, 20, seed=1))
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_a_folder_of_another_version_is_replaced(small, tmp_path, monkeypatch):
    folder = shutil.copytree(small, tmp_path / "xray")
    before = (folder / synthetic.STAMP).read_text()
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    synthetic.make(folder, 20)
    assert (folder / synthetic.STAMP).read_text() != before


@pytest.mark.parametrize("patients", [20, 21, 37, 1000])
def test_names_never_clash(patients):
    files = synthetic.plan(patients, seed=0)
    assert len({file.path for file in files}) == len(files)
    where = defaultdict(set)
    for file in files:
        split, label, patient = describe(Path(file.path))
        where[patient].add((split, label))
    assert len(where) == patients - 2
    assert sorted(k for k, places in where.items() if len(places) > 1) == ["person1", "person2"]


def test_errors_say_what_to_do_and_nothing_is_lost(tmp_path):
    mine = tmp_path / "mine" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("keep")
    with pytest.raises(UserError, match="20 to 1000"):
        synthetic.make(tmp_path / "few", patients=3)
    for occupied in (mine, mine.parent):
        with pytest.raises(UserError, match="other files"):
            synthetic.make(occupied, 20)
    with pytest.raises(UserError, match="cannot write"):
        synthetic.make(mine / "below", 20)
    assert mine.read_text() == "keep"


def test_cheap_features_learn_something_but_not_all(files):
    pixels, sick = defaultdict(list), defaultdict(list)
    for path in files:
        with Image.open(path) as image:
            small = image.convert("L").resize((32, 32), Image.Resampling.BILINEAR)
        pixels[path.parts[-3]].append(np.asarray(small).ravel())
        sick[path.parts[-3]].append(path.parent.name == "PNEUMONIA")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(pixels["train"], sick["train"])
    auc = roc_auc_score(sick["test"], model.predict_proba(pixels["test"])[:, 1])
    assert 0.6 < auc < 0.92
