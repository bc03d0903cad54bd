"""Finding, indexing, splitting and loading radiographs; what happens when they are not right."""

import hashlib
import os
import shutil
import warnings
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from helpers import data
from helpers.data import features, files, images, protocols
from helpers.settings import LABELS, MANIFEST, UserError

NAMES = {
    "train/NORMAL": ["IM-0115-0001", "NORMAL2-IM-0383-0001-0002", "NORMAL2-IM-0383-0001"],
    "train/PNEUMONIA": ["person1_bacteria_1", "person1_bacteria_2", "person80_virus_150"],
    "val/NORMAL": ["NORMAL2-IM-1427-0001"],
    "val/PNEUMONIA": ["person1946_bacteria_4874"],
    "test/NORMAL": ["IM-0001-0001", "NORMAL2-IM-0007-0001"],
    "test/PNEUMONIA": ["person1_virus_6", "person100_bacteria_475"],
}
COLUMNS = [
    *["file", "path", "official_split", "label", "pneumonia", "patient", "number"],
    *["width", "height", "mode", "bytes", "digest", "duplicate_group", "synthetic"],
]


def picture(seed, width=60, height=40, mode="L"):
    """A smooth random picture."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)
    image = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    return image.convert(mode)


@pytest.fixture
def folder(tmp_path):
    """Twelve unmarked pictures in the Kaggle layout."""
    root = tmp_path / "chest_xray"
    for seed, (place, name) in enumerate((k, name) for k in NAMES for name in NAMES[k]):
        (root / place).mkdir(parents=True, exist_ok=True)
        mode = "RGB" if name == "person1_bacteria_1" else "L"
        picture(seed, 60 + seed, 40 + seed, mode).save(root / place / f"{name}.jpeg", quality=90)
    return root


# Where the data is


def test_the_kaggle_layout(folder):
    table = data.index(folder)
    assert list(table.columns) == COLUMNS
    assert list(table.file) == sorted(f"{name}.jpeg" for group in NAMES.values() for name in group)
    assert table.official_split.value_counts().to_dict() == {"train": 6, "test": 4, "val": 2}
    row = table.set_index("file").loc["NORMAL2-IM-0383-0001-0002.jpeg"]
    content = (folder / "train/NORMAL/NORMAL2-IM-0383-0001-0002.jpeg").read_bytes()
    assert row.path == str(folder / "train/NORMAL/NORMAL2-IM-0383-0001-0002.jpeg")
    assert (row.label, row.pneumonia, row.patient) == ("normal", False, "NORMAL2-IM-0383")
    assert (row.number, row.width, row.height, row["mode"]) == (383, 61, 41, "L")
    assert (row.bytes, row.digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert (row.duplicate_group, row.synthetic) == (-1, False)
    assert table.set_index("file")["mode"]["person1_bacteria_1.jpeg"] == "RGB"


def test_the_mendeley_layout_has_no_val(folder):
    shutil.rmtree(folder / "val")
    assert set(data.index(folder).official_split) == {"train", "test"}


@pytest.mark.parametrize("depth", [1, 2])
def test_the_nested_layout(folder, tmp_path, depth):
    outer = tmp_path.joinpath("outer", *["chest_xray"] * (depth - 1))
    outer.mkdir(parents=True)
    folder.rename(outer / "chest_xray")
    assert len(data.index(tmp_path / "outer")) == 12


def test_stray_files_are_ignored(folder):
    for place in (folder, folder / "train", folder / "train/NORMAL", folder / "val/PNEUMONIA"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._IM-0115-0001.jpeg", "notes.txt"):
            (place / name).write_bytes(b"\x00\x05\x16\x07")
    (folder / "__MACOSX").mkdir()
    assert len(data.index(folder)) == 12


def test_find_takes_the_environment_variable_first(folder, monkeypatch):
    monkeypatch.setenv("CHEST_XRAY_DIR", str(folder))
    assert data.find() == folder
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("CHEST_XRAY_DIR", "chest_xray")
    assert data.find() == folder  # absolute
    monkeypatch.setenv("CHEST_XRAY_DIR", "elsewhere")
    with pytest.raises(UserError, match=f"no data folder at {folder.parent}/elsewhere"):
        data.find()


def test_find_without_it_takes_the_download_and_then_phantoms(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CHEST_XRAY_DIR", "")
    monkeypatch.setattr(files, "DATA", folder.parent)
    assert data.find() == folder
    made = []
    monkeypatch.setattr(files, "synthetic", SimpleNamespace(make=made.append))
    monkeypatch.setattr(files, "DATA", tmp_path / "nothing")
    data.find()
    assert made == [files.CACHE / "synthetic"]


# Bad input: one message that names the place


def spoil_truncate(folder):
    path = folder / "train/NORMAL/IM-0115-0001.jpeg"
    path.write_bytes(path.read_bytes()[:-200])
    return path


def spoil_text(folder):
    path = folder / "test/PNEUMONIA/person1_virus_6.jpeg"
    path.write_text("404 not found")
    return path


def spoil_empty_file(folder):
    path = folder / "test/PNEUMONIA/person1_virus_6.jpeg"
    path.write_bytes(b"")
    return path


def spoil_folder_called_jpeg(folder):
    path = folder / "test/PNEUMONIA/person9_virus_9.jpeg"
    path.mkdir()
    return path


def spoil_missing(folder):
    shutil.rmtree(folder)
    return folder


def spoil_empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


def spoil_no_test(folder):
    shutil.rmtree(folder / "test")
    return folder


def spoil_class_missing(folder):
    shutil.rmtree(folder / "train/NORMAL")
    return folder / "train/NORMAL"


def spoil_val_class_missing(folder):
    shutil.rmtree(folder / "val/PNEUMONIA")
    return folder / "val/PNEUMONIA"


def spoil_class_empty(folder):
    for path in (folder / "test/NORMAL").iterdir():
        path.unlink()
    (folder / "test/NORMAL/.DS_Store").touch()
    return folder / "test/NORMAL"


def spoil_foreign_name(folder):
    path = folder / "train/NORMAL/scan 17.jpeg"
    (folder / "train/NORMAL/IM-0115-0001.jpeg").rename(path)
    return path


def spoil_wrong_folder(folder):
    path = folder / "train/NORMAL/person1_bacteria_2.jpeg"
    (folder / "train/PNEUMONIA/person1_bacteria_2.jpeg").rename(path)
    return path


def spoil_same_name(folder):
    path = folder / "test/NORMAL/IM-0115-0001.jpeg"
    shutil.copy(folder / "train/NORMAL/IM-0115-0001.jpeg", path)
    return path


def spoil_dangling_link(folder):
    path = folder / "train/NORMAL/IM-0200-0001.jpeg"
    path.symlink_to(folder / "nowhere.jpeg")
    return path


UNREADABLE = [spoil_truncate, spoil_text, spoil_empty_file, spoil_folder_called_jpeg]
SPOILT = {
    **dict.fromkeys(UNREADABLE, r"1 unreadable image\(s\)"),
    spoil_missing: "no data folder at",
    spoil_empty: "has no train/ and test/",
    spoil_no_test: "has no train/ and test/",
    spoil_class_missing: "is missing",
    spoil_val_class_missing: "is missing",
    spoil_class_empty: "holds no image",
    spoil_foreign_name: "tells neither patient nor label",
    spoil_wrong_folder: "folder of the other class",
    spoil_same_name: "same file name twice",
    spoil_dangling_link: "cannot read",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_bad_input_is_one_message_that_names_the_place(folder, spoil):
    data.index(folder)  # a cached index must not hide it
    place = spoil(folder)
    with pytest.raises(UserError, match=SPOILT[spoil]) as caught:
        data.index(folder)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", UNREADABLE, ids=lambda spoil: spoil.__name__)
def test_unreadable_images_may_be_left_out(folder, spoil, capsys):
    place = spoil(folder)
    table = data.index(folder, skip_unreadable=True)
    assert len(table) >= 11 and place.name not in set(table.file)
    assert str(place) in capsys.readouterr().out
    with pytest.raises(UserError):  # what was allowed once is not remembered
        data.index(folder)


def test_a_folder_without_one_readable_image_is_refused(folder):
    for path in folder.glob("*/*/*.jpeg"):
        path.write_text("no picture")
    with pytest.raises(UserError, match=r"12 unreadable image\(s\).*; \.\.\."):
        data.index(folder, skip_unreadable=True)


def test_an_image_that_breaks_later_is_named_when_it_is_loaded(folder):
    table = data.index(folder)
    place = spoil_text(folder)
    with pytest.raises(UserError, match="unreadable image") as caught:
        data.load(table, 16)
    assert str(place) in str(caught.value)


# The cached index


def test_the_index_is_read_from_its_cache(folder, monkeypatch):
    first = data.index(folder)
    monkeypatch.setattr(files, "_describe", None)  # no image is opened
    pd.testing.assert_frame_equal(data.index(folder), first)


def test_a_replaced_file_of_the_same_size_and_time_is_seen(folder):
    path = folder / "train/NORMAL/IM-0115-0001.jpeg"
    before, stat = data.index(folder), path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = data.index(folder).set_index("file").digest["IM-0115-0001.jpeg"]
    assert after == hashlib.sha256(content).hexdigest()
    assert after not in set(before.digest)


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_other_files_give_another_index(folder, change):
    data.index(folder)
    path = folder / "train/PNEUMONIA/person80_virus_150.jpeg"
    other = path.with_name("person81_virus_151.jpeg")
    {"added": lambda: shutil.copy(path, other), "removed": path.unlink}.get(
        change, lambda: path.rename(other)
    )()
    expected = {"added": 13, "removed": 11, "renamed": 12}[change]
    table = data.index(folder)
    assert len(table) == expected
    assert (other.name in set(table.file)) == (change != "removed")
    assert table.duplicate_group.max() == (0 if change == "added" else -1)


def test_duplicates_share_a_group(index):
    groups = index[index.duplicate_group >= 0].groupby("duplicate_group")
    assert [len(group) for _, group in groups] == [2, 2]
    assert all(group.digest.nunique() == 1 for _, group in groups)
    assert not index[index.duplicate_group < 0].digest.duplicated().any()


# Names


@pytest.mark.parametrize(
    ("name", "patient", "label"),
    [
        ("person12_virus_34.jpeg", "person12", "virus"),
        ("person1_bacteria_2.jpeg", "person1", "bacteria"),
        ("IM-0115-0001.jpeg", "IM-0115", "normal"),
        ("IM-0429-0001-0002.jpeg", "IM-0429", "normal"),
        ("NORMAL2-IM-0383-0001.jpeg", "NORMAL2-IM-0383", "normal"),
    ],
)
def test_a_name_tells_patient_and_label(name, patient, label):
    assert (data.patient(name), data.label(name)) == (patient, label)


@pytest.mark.parametrize(
    "name", ["x.jpeg", "person_virus_3.jpeg", "person1_fungus_3.jpeg", "xIM-0001-0001.jpeg"]
)
def test_a_foreign_name_is_refused(name):
    with pytest.raises(UserError, match=name):
        data.patient(name)


# The data set


@pytest.fixture(scope="module")
def kermany():
    """The 5,856 rows of the manifest, with a digest that duplicates share."""
    table = pd.read_csv(MANIFEST)
    unique = table.file.where(table.duplicate_group < 0, table.duplicate_group.astype(str))
    return table.assign(digest=unique, pneumonia=table.label != "normal", synthetic=False)


def test_the_manifest_has_the_known_counts(kermany):
    assert list(pd.read_csv(MANIFEST).columns) == [
        *["file", "official_split", "label", "patient", "number", "duplicate_group"]
    ]
    assert len(kermany) == kermany.file.nunique() == 5856
    assert kermany.groupby(["official_split", "pneumonia"]).size().to_dict() == {
        ("train", False): 1341,
        ("train", True): 3875,
        ("val", False): 8,
        ("val", True): 8,
        ("test", False): 234,
        ("test", True): 390,
    }
    assert kermany.patient.nunique() == 3118
    duplicates = kermany[kermany.duplicate_group >= 0].groupby("duplicate_group")
    assert len(duplicates) == 30 and duplicates.size().sum() == 62
    assert (duplicates.size() > 1).all()
    assert (duplicates.official_split.nunique() == 1).all()
    assert len(data.disjoint_files(kermany)) == 304


def test_the_manifest_agrees_with_its_file_names(kermany):
    assert list(kermany.patient) == [data.patient(name) for name in kermany.file]
    assert list(kermany.label) == [data.label(name) for name in kermany.file]


def test_disjoint_files_are_test_images_of_patients_seen_nowhere_else(kermany):
    chosen = kermany[kermany.file.isin(data.disjoint_files(kermany))]
    rest = kermany[kermany.official_split != "test"]
    assert set(chosen.official_split) == {"test"}
    assert not set(chosen.patient) & set(rest.patient)
    left = kermany[(kermany.official_split == "test") & ~kermany.file.isin(chosen.file)]
    assert set(left.patient) <= set(rest.patient)


def test_the_data_set_has_a_name(kermany, index, folder):
    assert data.dataset(kermany) == "kermany"
    assert data.dataset(kermany.iloc[5:]) == "kermany_part"
    assert data.dataset(kermany.replace({"file": {"IM-0001-0001.jpeg": "x.jpeg"}})) == "other"
    extra = kermany.head(1).assign(file="person5000_virus_1.jpeg")
    assert data.dataset(pd.concat([kermany, extra])) == "other"
    assert data.dataset(index) == "synthetic"
    assert data.dataset(kermany.assign(synthetic=True)) == "synthetic"
    with pytest.raises(UserError, match="mixes synthetic"):
        data.dataset(pd.concat([kermany, index]))


def test_a_run_says_which_radiographs_it_uses(kermany, index):
    assert "SYNTHETIC" in data.describe(index)
    counts = kermany.label.value_counts()
    assert data.describe(kermany) == (
        f"Radiographs of the data set kermany: {counts['normal']} normal, "
        f"{counts['bacteria']} bacteria, {counts['virus']} virus."
    )


# Protocols

BY_PATIENT = {
    "official": data.official,
    "pooled_patient": data.pooled_patient,
    "cross_validated": lambda table, seed: data.cross_validated(table, seed, fold=1),
}
PROTOCOLS = BY_PATIENT | {"by_image": data.by_image, "pooled": data.pooled}
each_protocol = pytest.mark.parametrize("name", PROTOCOLS)


@pytest.fixture(scope="module")
def split_tables(kermany):
    return {name: protocol(kermany, 0) for name, protocol in PROTOCOLS.items()}


def shared(table, column):
    """Values of a column that occur in more than one split."""
    values = [set(rows) for _, rows in table.groupby("split")[column]]
    return set().union(*(a & b for a, b in combinations(values, 2)))


@each_protocol
def test_a_protocol_adds_the_column_split_and_nothing_else(name, kermany, split_tables):
    table = split_tables[name]
    assert set(table.split) == {"train", "val", "test"}
    pd.testing.assert_frame_equal(table.drop(columns="split"), kermany)
    assert "split" not in kermany


@each_protocol
def test_the_seed_decides_and_nothing_else(name, index):
    first = PROTOCOLS[name](index, 0)
    np.random.default_rng(1).random()
    np.random.seed(1)  # noqa: NPY002
    pd.testing.assert_frame_equal(PROTOCOLS[name](index, 0), first)
    assert (PROTOCOLS[name](index, 1).split != first.split).any()


@pytest.mark.parametrize("name", ["official", "by_image"])
def test_the_official_test_images_are_the_test_set(name, split_tables):
    table = split_tables[name]
    assert ((table.split == "test") == (table.official_split == "test")).all()


@pytest.mark.parametrize("name", BY_PATIENT)
def test_no_patient_or_duplicate_is_shared(name, split_tables, index):
    for table in (split_tables[name], BY_PATIENT[name](index, 3)):
        others = table[table.split != "test"] if name == "official" else table
        assert not shared(others, "patient")
        assert not shared(others, "digest")


@pytest.mark.parametrize("name", ["by_image", "pooled"])
def test_splits_by_image_share_patients(name, split_tables):
    assert len(shared(split_tables[name], "patient")) > 100


@pytest.mark.parametrize(
    ("name", "share"), [("official", 0.15), ("by_image", 0.2), ("cross_validated", 0.15)]
)
def test_validation_has_its_share_of_every_label(name, share, split_tables):
    table = split_tables[name]
    others = table[table.split != "test"]
    assert (others.split == "val").mean() == pytest.approx(share, abs=0.002)
    of_label = (others.split == "val").groupby(others.label).mean()
    assert of_label.to_dict() == pytest.approx(dict.fromkeys(LABELS, share), abs=0.01)


@pytest.mark.parametrize("name", ["pooled", "pooled_patient"])
def test_pooled_sizes_are_those_of_the_claim(name, kermany, split_tables):
    for table in (split_tables[name], PROTOCOLS[name](kermany, 7)):
        assert table.split.value_counts().to_dict() == {"train": 5153, "val": 632, "test": 71}


def test_pooled_is_stratified(split_tables):
    table = split_tables["pooled"]
    shares = pd.crosstab(table.split, table.label, normalize="index")
    assert np.allclose(shares, table.label.value_counts(normalize=True)[shares.columns], atol=0.01)


def test_folds_test_every_image_once_and_share_no_patient(index):
    tables = [data.cross_validated(index, 5, fold) for fold in range(5)]
    tested = sum((table.split == "test").astype(int) for table in tables)
    assert (tested == 1).all()
    for table in tables:
        assert (table.split == "test").mean() == pytest.approx(0.2, abs=0.03)
        assert not shared(table, "patient")


@pytest.mark.parametrize("fold", [-1, 5])
def test_there_is_no_such_fold(index, fold):
    with pytest.raises(ValueError, match="from 0 to 4"):
        data.cross_validated(index, 0, fold)


def test_too_few_patients_for_a_validation_set_is_a_user_error(folder):
    for protocol in (data.official, BY_PATIENT["cross_validated"]):
        with (
            pytest.raises(UserError, match="give no validation set"),
            warnings.catch_warnings(action="ignore"),  # five folds of a label of three images
        ):
            protocol(data.index(folder), 0)


def union_find(pairs):
    """For each (patient, content), the smallest row that it is linked to."""
    parent = list(range(len(pairs)))

    def root(row):
        while parent[row] != row:
            row = parent[row]
        return row

    for a, b in combinations(range(len(pairs)), 2):
        if pairs[a][0] == pairs[b][0] or pairs[a][1] == pairs[b][1]:
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    return [root(row) for row in range(len(pairs))]


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25))
def test_groups_are_linked_by_patient_or_bytes(pairs):
    table = pd.DataFrame(pairs, columns=["patient", "digest"]).astype(str)
    table.index = table.index[::-1] + 3
    groups = protocols.patient_or_duplicate(table)
    assert list(groups.index) == list(table.index)
    expected = union_find(pairs)
    pd.testing.assert_series_equal(
        pd.Series(pd.factorize(groups)[0]), pd.Series(pd.factorize(np.array(expected))[0])
    )


# Loading


def test_images_are_uint8_and_memory_mapped(index):
    loaded = data.load(index, 32)
    assert isinstance(loaded, np.memmap) and not loaded.flags.writeable
    assert (loaded.dtype, loaded.shape) == (np.uint8, (len(index), 32, 32, 1))


@pytest.mark.parametrize(("size", "tolerance"), [(128, 0.5), (32, 4)])
def test_pixels_are_those_of_pillow_for_gray_and_colour(index, size, tolerance):
    chosen = pd.concat([index[index["mode"] == mode].head(3) for mode in ("L", "RGB")])
    assert set(chosen["mode"]) == {"L", "RGB"}
    for path, loaded in zip(chosen.path, data.load(chosen, size), strict=True):
        with Image.open(path) as image:
            whole = image.convert("L").resize((size, size), Image.Resampling.BILINEAR)
        difference = loaded[..., 0].astype(int) - np.asarray(whole, dtype=int)
        assert abs(difference).mean() < tolerance  # the smaller size is decoded in draft mode


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_without_draft_mode_pixels_are_exactly_those_of_pillow(tmp_path, mode):
    picture(0, 90, 70, mode).save(tmp_path / "x.jpeg")
    with Image.open(tmp_path / "x.jpeg") as image:
        whole = image.convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(
        images.read(tmp_path / "x.jpeg", 64).astype(int), whole, atol=mode == "RGB"
    )


def test_draft_mode_gives_nearly_the_same_picture(tmp_path):
    path = tmp_path / "large.jpeg"
    large = picture(3, 1200, 900)
    grain = np.random.default_rng(0).normal(0, 8, (900, 1200))
    Image.fromarray(np.clip(np.asarray(large) + grain, 0, 255).astype(np.uint8)).save(path)
    with Image.open(path) as image:
        whole = image.resize((64, 64), Image.Resampling.BILINEAR)
    difference = images.read(path, 64).astype(int) - np.asarray(whole, dtype=int)
    assert 0 < abs(difference).mean() < 1.5


def test_rows_follow_the_table(index):
    loaded = data.load(index, 16)
    order = np.random.default_rng(0).permutation(len(index))[:40]
    np.testing.assert_array_equal(data.load(index.iloc[order], 16), loaded[order])


def test_decoded_images_are_kept_by_content(folder, monkeypatch):
    table = data.index(folder)
    first = np.array(data.load(table, 16))
    moved = shutil.copytree(folder, folder.parent / "moved")
    monkeypatch.setattr(images, "read", None)  # nothing is decoded
    np.testing.assert_array_equal(data.load(data.index(moved), 16), first)


def test_a_changed_file_gives_its_new_picture(folder):
    before = np.array(data.load(data.index(folder), 16))
    picture(99).save(folder / "train/NORMAL/IM-0115-0001.jpeg")
    table = data.index(folder)
    after = data.load(table, 16)
    changed = (after != before).any(axis=(1, 2, 3))
    assert list(table.file[changed]) == ["IM-0115-0001.jpeg"]


def test_a_full_disk_leaves_no_half_array(folder, monkeypatch):
    def full(path, arr):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = set(images.CACHE.iterdir())
    table = data.index(folder).head(7)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match="No space left"):
        data.load(table, 19)
    left = set(images.CACHE.iterdir()) - before
    assert not [path for path in left if "images" in path.name]


# Features


def test_pixels_are_shrunk_by_area():
    image = np.zeros((1, 16, 16, 1), np.uint8)
    image[0, :4, 4:8] = 255
    flat = data.pixels(image, 4)
    assert flat.shape == (1, 16) and flat.dtype == np.float32
    assert flat[0].tolist() == [0, 1] + [0] * 14


@pytest.mark.parametrize("side", [16, 24, 33, 64])
def test_texture_tells_fine_from_coarse_at_any_side(side):
    across = np.indices((side, side))[0]
    fine, coarse = across // 2 % 2, across // (side // 2)
    stack = (100 + 50 * np.stack([fine, coarse])[..., None]).astype(np.uint8)
    bands = data.texture(stack)
    assert bands.shape == (2, features.BANDS) and np.isfinite(bands).all()
    assert bands[0, 0] > bands[1, 0]
    assert bands[0, 2] < bands[1, 2]


def test_texture_does_not_know_the_brightness():
    image = np.random.default_rng(0).integers(0, 100, (1, 64, 64, 1), dtype=np.uint8)
    np.testing.assert_allclose(data.texture(image), data.texture(image + 100), atol=1e-4)


def test_sharpness_is_the_mean_step_between_rows():
    rows = np.zeros((2, 8, 8, 1), np.uint8)
    rows[0, ::2] = 10  # lines across
    rows[1, :, ::2] = 10  # lines down
    assert data.sharpness(rows).tolist() == [10, 0]


def test_metadata_is_size_and_shape():
    table = pd.DataFrame({"width": [100, 200], "height": [100, 100]})
    expected = np.log([[100, 100, 1], [200, 100, 2]])
    np.testing.assert_allclose(data.metadata(table), expected)
    assert data.has_originals(table)
    assert not data.has_originals(table.head(1))
