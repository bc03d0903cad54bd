"""The predictor: pictures of every kind, its command line, the chest check, the shipped files."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from helpers import data, predict
from helpers.models import head, keras, layers
from helpers.settings import PROJECT, UserError

SIDE = 32
NO_CHEST = "does not look like a frontal chest X-ray: no prediction"


def member(name):
    """A small network whose layers are called as in those that are shipped."""
    inputs = keras.Input((SIDE, SIDE, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.Conv2D(8, 3, 2, activation="relu", name="conv_pw_13_relu")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    network = keras.Model(inputs, head(x, 3), name=name)
    weights, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([8 * weights, bias])  # answers that differ
    return network


def ensemble():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((SIDE, SIDE, 1), name="image")
    members = [member(f"member_{number}") for number in range(3)]
    members[0].compile("adam", "categorical_crossentropy")
    members[0].fit(np.ones((2, SIDE, SIDE, 1)), np.eye(3)[:2], verbose=0)
    x = keras.ops.log(layers.Average()([each(inputs) for each in members]))
    calibration = layers.Dense(3, "softmax", kernel_initializer="identity", name="calibration")
    return keras.Model(inputs, calibration(x))


@pytest.fixture(scope="module")
def pictures(phantoms):
    """Some 150 phantoms as arrays, their paths and which of them train the chest check."""
    table = data.official(data.index(phantoms), seed=0)
    return np.asarray(data.load(table, SIDE)), table.path.to_numpy(), table.split.to_numpy()


@pytest.fixture(scope="module")
def check(pictures):
    images, _, split = pictures
    return predict.fit_chest_check(images[split == "train"], images[split == "val"], 1.0)


@pytest.fixture(scope="module")
def shipped(check, tmp_path_factory):
    """A folder with the three shipped files."""
    folder = tmp_path_factory.mktemp("models") / "models"
    predict.ship(ensemble(), folder, 0.5, check)
    return folder


@pytest.fixture(scope="module")
def model(shipped):
    return shipped / "pneumonia.keras"


@pytest.fixture
def films(pictures, check):
    """Paths of phantoms that pass the chest check."""
    images, paths, _ = pictures
    return [str(path) for path in paths[predict.looks_like_chest(images, check)]]


@pytest.fixture
def gray(films):
    """A phantom as an 8-bit grayscale picture that is no square."""
    return Image.open(films[0]).convert("L").resize((150, 120))


@pytest.fixture
def run(model, capsys):
    """Calls the command line; gives exit code, standard output and standard error."""

    def call(*arguments, model=model):
        code = predict.main([*map(str, arguments), "--model", str(model)])
        return code, *capsys.readouterr()

    return call


def read(picture, path, **options):
    picture.save(path, **options)
    return predict.read_picture(path, SIDE).astype(int)


def as_png(picture, tmp_path):
    return read(picture, tmp_path / "plain.png")


def save_dicom(path, values, kind="MONOCHROME2", **tags):
    """Write an array as an uncompressed DICOM file."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    bits = 8 * values.itemsize
    dataset.set_pixel_data(values, kind, tags.pop("BitsStored", bits))
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_the_mode_makes_no_difference(tmp_path, gray, mode):
    picture = gray.convert(mode)
    assert np.array_equal(read(picture, tmp_path / "other.png"), as_png(gray, tmp_path))


def test_cmyk_jpeg_is_no_negative(tmp_path, gray):
    picture = gray.convert("RGB").convert("CMYK")
    found = read(picture, tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(found - as_png(gray, tmp_path)).mean() < 3


@pytest.mark.parametrize("factor", [257, 16])
def test_16_bit_png_of_16_or_12_used_bits_does_not_saturate(tmp_path, gray, factor):
    picture = Image.fromarray(np.asarray(gray).astype(np.uint16) * factor)
    assert np.array_equal(read(picture, tmp_path / "16.png"), as_png(gray, tmp_path))


def test_what_is_transparent_is_black(tmp_path, gray):
    black = gray.copy()
    black.paste(0, (0, 0, 75, 120))
    alpha = Image.new("L", gray.size, 255)
    alpha.paste(0, (0, 0, 75, 120))
    picture = Image.merge("LA", (gray, alpha))
    assert np.array_equal(read(picture, tmp_path / "alpha.png"), as_png(black, tmp_path))


def test_a_picture_is_turned_as_its_exif_says(tmp_path, gray):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees, clockwise
    lying = gray.transpose(Image.Transpose.ROTATE_90)
    found = read(lying, tmp_path / "lying.png", exif=exif)
    assert np.array_equal(found, as_png(gray, tmp_path))


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (SIDE, SIDE)])
def test_any_size_is_read(tmp_path, gray, size):
    assert read(gray.resize(size), tmp_path / "size.png").shape == (SIDE, SIDE)


def test_a_file_of_the_data_set_is_decoded_as_for_training(tmp_path, gray):
    path = tmp_path / "stored.jpeg"
    gray.convert("RGB").resize((224, 224)).save(path)
    assert np.array_equal(predict.read_picture(path, 64), data.images.read(path, 64))


def test_originals_give_the_pixels_of_their_small_versions(real_folder):
    pairs = original_pairs(real_folder)
    for original, small in pairs:
        found = predict.read_picture(original, 160)
        assert np.array_equal(found, data.images.read(small, 160)), original


def test_originals_get_the_answer_of_their_small_versions(real_folder):
    pairs = np.array(original_pairs(real_folder))
    shipped = predict.open_model(predict.MODEL.with_suffix(".onnx"))
    one, other = ([row for row, _ in predict.predict(shipped, side)] for side in pairs.T)
    for row, same in zip(one, other, strict=True):
        assert {**row, "file": ""} == {**same, "file": ""}
    assert np.mean([row["prediction"] is not None for row in one]) > 0.95


def original_pairs(real_folder):
    originals = real_folder.parent / "chest_xray_original_sample"
    if not originals.is_dir():
        pytest.skip("no full-size originals beside the radiographs")
    paths = sorted(originals.rglob("*.jpeg"))
    return [(path, real_folder / path.relative_to(originals)) for path in paths]


@pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1"])
def test_dicom_of_8_bits_gives_the_picture(tmp_path, gray, kind):
    values = np.asarray(gray)
    stored = 255 - values if kind == "MONOCHROME1" else values
    found = predict.read_picture(save_dicom(tmp_path / "film", stored, kind), SIDE)
    assert np.array_equal(found, as_png(gray, tmp_path))


def test_dicom_of_12_bits_goes_through_rescale_and_window(tmp_path, gray):
    values = 1000 + 8 * np.asarray(gray).astype(np.uint16)
    window = {"WindowCenter": 1020, "WindowWidth": 2041}  # 0 to 2040, after rescaling
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1000}
    path = save_dicom(tmp_path / "x.dcm", values, BitsStored=12, **window, **rescale)
    stretched = np.asarray(gray).astype(float)
    stretched = 255 * (stretched - stretched.min()) / np.ptp(stretched)
    expected = as_png(Image.fromarray(stretched.round().astype(np.uint8)), tmp_path)
    assert np.abs(predict.read_picture(path, SIDE).astype(int) - expected).max() <= 2


def test_dicom_in_colour_is_read_as_gray(tmp_path, gray):
    path = save_dicom(tmp_path / "colour.dcm", np.asarray(gray.convert("RGB")), "RGB")
    assert np.array_equal(predict.read_picture(path, SIDE), as_png(gray, tmp_path))


def test_dicom_without_pydicom_names_the_extra(tmp_path, gray, monkeypatch):
    path = save_dicom(tmp_path / "film", np.asarray(gray))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"\[dicom\]"):
        predict.read_picture(path, SIDE)


@pytest.fixture
def unreadable(tmp_path, films):
    """A path of every kind that cannot be read."""
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.jpeg").touch()
    (tmp_path / "text.jpeg").write_text("no picture\nat all")
    (tmp_path / "bad.dcm").write_bytes(b"no DICOM")
    (tmp_path / "truncated.jpeg").write_bytes(Path(films[0]).read_bytes()[:900])
    save_dicom(tmp_path / "film.dcm", np.zeros((2, 9, 9), np.uint8), NumberOfFrames=2)
    no_pixels = pydicom.dcmread(tmp_path / "film.dcm")
    del no_pixels.PixelData
    no_pixels.save_as(tmp_path / "no_pixels.dcm")
    infinite = Image.fromarray(np.full((9, 9), np.inf, np.float32))
    infinite.save(tmp_path / "infinite.tiff")
    return [str(path) for path in sorted(tmp_path.iterdir())] + [str(tmp_path / "missing.png")]


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


def test_the_threshold_decides(run, films, shipped, tmp_path):
    facts = json.loads((shipped / "pneumonia.json").read_text())
    (tmp_path / "pneumonia.onnx").write_bytes((shipped / "pneumonia.onnx").read_bytes())
    for threshold, decision in ((0.0, "pneumonia"), (1.0, "normal")):
        (tmp_path / "pneumonia.json").write_text(json.dumps(facts | {"threshold": threshold}))
        assert f"decision: {decision}" in run(films[0], model=tmp_path / "pneumonia.onnx")[1]


def test_what_is_no_chest_gets_no_prediction(run, tmp_path, gray, films):
    turned = tmp_path / "turned.png"
    gray.transpose(Image.Transpose.ROTATE_180).save(turned)
    code, out, err = run(turned, films[0])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{turned}: {NO_CHEST}"
    assert "decision" in out.splitlines()[1]


def test_onnx_gives_the_same_answer(run, films, shipped):
    one, other = (
        json.loads(run(*films[:5], "--json", model=shipped / f"pneumonia.{kind}")[1])["images"]
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


def test_heat_maps_of_one_name_do_not_overwrite_each_other(run, films, tmp_path):
    paths = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", tmp_path / "b" / "X.jpeg"]
    for path, film in zip(paths, films, strict=False):
        path.parent.mkdir(exist_ok=True)
        Image.open(film).save(path, quality=95)
    folder = tmp_path / "new" / "heat"
    _, out, err = run(*paths, "--heatmap", folder, "--json")
    written = [row["heatmap"] for row in json.loads(out)["images"]]
    assert written == [
        str(folder / f"{x}.png") for x in ("x-heatmap", "x-heatmap-2", "X-heatmap-3")
    ]
    assert err == "" and sorted(map(str, folder.iterdir())) == sorted(written)
    assert {Image.open(path).size for path in written} == {(SIDE, SIDE)}


def test_heat_maps_need_the_keras_model(run, films, shipped, tmp_path):
    options = films[0], "--heatmap", tmp_path / "heat"
    code, out, err = run(*options, model=shipped / "pneumonia.onnx")
    assert (code, out) == (1, "") and err.startswith("error: heat maps need the Keras model")


def test_heat_maps_need_a_folder(run, films, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run(films[0], "--heatmap", tmp_path / "file")
    assert (code, out) == (1, "") and err.startswith("error: cannot make the folder")


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("pneumonia.onnx"), "no file"),
        (remove("pneumonia.json"), "no file"),
        (write("pneumonia.json", "{not json"), "does not describe"),
        (write("pneumonia.json", "[]"), "does not describe"),
        (write("pneumonia.json", '{"sha256": {"pneumonia.onnx": "0"}}'), "does not describe"),
        (write("pneumonia.onnx", "another model"), "is not the file that pneumonia.json describes"),
    ],
)
def test_a_spoilt_model_is_one_line(run, shipped, tmp_path, spoil, message):
    for name in ("pneumonia.onnx", "pneumonia.json"):
        (tmp_path / name).write_bytes((shipped / name).read_bytes())
    spoil(tmp_path)
    code, out, err = run("any.png", model=tmp_path / "pneumonia.onnx")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("error: ") and message in err


def test_a_model_of_another_kind_is_refused(run, tmp_path):
    assert run("any.png", model=tmp_path / "net.h5")[2].startswith("error: model ")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), ([], 2), (["x.png", "--nonsense"], 2), (["x.png", "--model", "no.keras"], 1)],
)
def test_help_and_mistakes_come_without_heavy_imports(arguments, code):
    script = (
        "import sys\nfrom helpers import predict\n"
        "try: code = predict.main(sys.argv[1:])\n"
        "except SystemExit as leave: code = leave.code\n"
        "assert not {'tensorflow', 'keras', 'pydicom', 'onnxruntime'} & sys.modules.keys()\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_the_shipped_network_is_the_given_one_without_optimizers(model, pictures, tmp_path):
    images = pictures[0][:5].astype(np.float32)
    expected = ensemble().predict(images, verbose=0)
    assert np.array_equal(predict.open_model(model).probabilities(images), expected)
    with zipfile.ZipFile(model) as archive:
        assert "adam" not in archive.read("config.json").decode().lower()
        archive.extract("model.weights.h5", tmp_path)
    with h5py.File(tmp_path / "model.weights.h5") as weights:
        names = []
        weights.visit(names.append)
    assert names and not [name for name in names if "optimizer" in name]


def test_both_files_agree_on_any_number_of_images(shipped, pictures):
    images = pictures[0][:7]
    assert predict.parity(shipped, images) < 1e-5
    assert predict.parity(shipped, images[:1]) < 1e-5
    probabilities = predict.open_model(shipped / "pneumonia.onnx").probabilities(images)
    assert probabilities.shape == (7, 3) and probabilities.std(axis=0).min() > 1e-4


def test_what_lies_beside_the_model_describes_it(shipped, check):
    facts = json.loads((shipped / "pneumonia.json").read_text())
    assert (shipped / "pneumonia.json").stat().st_size < 200_000
    assert facts["labels"] == ["normal", "bacteria", "virus"]
    assert (facts["image_size"], facts["threshold"]) == (SIDE, 0.5)
    assert facts["chest_check"] == check
    assert set(facts["sha256"]) == {"pneumonia.keras", "pneumonia.onnx"}
    assert {path.name for path in shipped.iterdir()} == {*facts["sha256"], "pneumonia.json"}


def test_shipping_to_no_folder_is_an_error(tmp_path, check):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        predict.ship(member("one"), tmp_path / "file", 0.5, check)


def no_chests(images):
    """Pictures that are no upright frontal chest X-rays, by kind, made from those that are."""
    generator = np.random.default_rng(0)
    photographs = [
        Image.fromarray(photo[top : top + size, left : left + size]).convert("L")
        for photo in load_sample_images().images
        for size in (120, 200, 400)
        for top in range(0, 427 - size, 60)
        for left in range(0, 640 - size, 60)
    ]
    side = images.shape[1]
    small = [np.asarray(photo.resize((side, side)))[..., None] for photo in photographs]
    return {
        "turned by 90 degrees": np.rot90(images, 1, (1, 2)),
        "turned by 270 degrees": np.rot90(images, 3, (1, 2)),
        "turned by 180 degrees": np.rot90(images, 2, (1, 2)),
        "upside down": images[:, ::-1],
        "negative": 255 - images,
        "noise": generator.integers(0, 256, (50, side, side, 1), dtype=np.uint8),
        "flat": np.full((3, side, side, 1), [[[[0]]], [[[100]]], [[[255]]]], np.uint8),
        "photographs": np.stack(small),
    }


def test_phantoms_pass_and_other_pictures_do_not(pictures, check):
    images, _, split = pictures
    test = images[split == "test"]
    assert predict.looks_like_chest(test, check).mean() > 0.85
    for kind, others in no_chests(test).items():
        assert not predict.looks_like_chest(others, check).any(), kind


def test_exposure_does_not_matter(pictures, check):
    images = pictures[0][pictures[2] == "train"]
    for exponent in (0.5, 2):
        changed = (255 * (images / 255) ** exponent).astype(np.uint8)
        assert predict.looks_like_chest(changed, check).mean() > 0.9


def test_the_check_on_real_radiographs(real_folder):
    table = data.official(data.index(real_folder), seed=0)[::3]
    images = data.load(table, 64)
    parts = (images[(table.split == part).to_numpy()] for part in ("train", "val", "test"))
    train, val, test = parts
    check = predict.fit_chest_check(train, val)
    assert predict.looks_like_chest(test, check).mean() > 0.98
    for kind, others in no_chests(test[::2]).items():
        assert predict.looks_like_chest(others, check).mean() < 0.02, kind
