"""The export: the network that was given, in two files that agree, and their description."""

import json
import zipfile

import h5py
import numpy as np
import onnx
import pytest

from helpers import lungs, models, predict
from helpers.utils import UserError
from tests import builders
from tests.predict.conftest import BOX, CROP, MARGIN, SIDE, THRESHOLDS


def test_the_exported_network_crops_and_asks_the_given_classifier(network, exported, pictures):
    images = pictures[0][:5]
    found = predict.open_model(exported / "pneumonia.keras").answers(images)
    np.testing.assert_allclose(found["boxes"], [BOX] * 5, atol=1e-6)  # float32, not 16 bits
    crops = lungs.crop(images, found["boxes"], CROP, MARGIN).astype(np.float32)
    expected = builders.answer(network, crops)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-3)
    np.testing.assert_allclose(found["spread"][:, 0], images.mean((1, 2, 3)) / 255, atol=0.01)


def test_nothing_of_an_optimizer_and_no_16_bits_are_written(exported, tmp_path):
    model = predict.open_model(exported / "pneumonia.keras")
    with zipfile.ZipFile(model.path) as archive:
        config = archive.read("config.json").decode().lower()
        archive.extract("model.weights.h5", tmp_path)
    assert "adam" not in config and "float16" not in config and "lambda" not in config
    with h5py.File(tmp_path / "model.weights.h5") as weights:
        names = []
        weights.visit(names.append)
    assert names and not [name for name in names if "optimizer" in name]


def test_the_given_networks_stay_as_they_are(network, exported):
    assert network.compiled and network.name == "network_0"


def test_both_files_agree_on_any_number_of_images(exported, pictures):
    images = pictures[0][:7]
    assert predict.largest_difference(exported, images) < 1e-4
    assert predict.largest_difference(exported, images[:1]) < 1e-4
    found = predict.open_model(exported / "pneumonia.onnx").answers(
        pictures[0][: predict.BATCH + 7]
    )
    shapes = {name: values.shape[1:] for name, values in found.items()}
    assert shapes == {"probabilities": (3,), "boxes": (4,), "spread": (1,), "distance": (1,)}
    assert {len(values) for values in found.values()} == {predict.BATCH + 7}
    assert found["probabilities"].std(axis=0).min() > 1e-4


def test_the_onnx_file_says_what_it_takes_and_gives(exported):
    written = onnx.load(exported / "pneumonia.onnx")
    told = {entry.key: entry.value for entry in written.metadata_props}
    facts = predict.read_facts(exported / "pneumonia.json")
    assert told["labels"] == "normal, bacteria, virus"
    assert json.loads(told["operating_points"]) == THRESHOLDS
    assert json.loads(told["limits"])["most_distance"] == facts.most_distance
    assert "0-255" in told["preprocessing"] and f"(n, {SIDE}, {SIDE}, 1)" in told["preprocessing"]
    assert "not a medical device" in told["note"]
    assert all(output.name in told["outputs"] for output in written.graph.output)
    assert [entry.name for entry in written.graph.input] == ["image"]


def test_what_lies_beside_the_model_describes_it(exported):
    path = exported / "pneumonia.json"
    assert path.stat().st_size < 200_000
    assert list(json.loads(path.read_text())) == [
        *["thresholds", "image_size", "margin", "labels", "sha256", "chest_check"],
        *["least_detail", "most_spread", "most_distance"],
    ]
    facts = predict.read_facts(path)
    assert facts.labels == ("normal", "bacteria", "virus")
    assert (facts.image_size, facts.margin, facts.thresholds) == (SIDE, MARGIN, THRESHOLDS)
    assert set(facts.sha256) == {"pneumonia.keras", "pneumonia.onnx"}
    assert {path.name for path in exported.iterdir()} == {*facts.sha256, "pneumonia.json"}


def test_the_limits_leave_out_the_few_strangest_training_images(exported, training):
    model = predict.open_model(exported / "pneumonia.onnx")
    found, facts = model.answers(training["images"]), model.facts
    count = len(training["images"])
    assert (predict.detail(training["images"]) < facts.least_detail).sum() == 1 + count // 200
    assert (found["spread"] > facts.most_spread).sum() <= 1 + count // 200
    assert 0 < (found["distance"] > facts.most_distance).sum() + 1 <= 1 + 0.03 * count


def test_exporting_to_no_folder_is_an_error(network, training, tmp_path):
    (tmp_path / "file").touch()
    finder = builders.box_finder()
    with pytest.raises(UserError, match="cannot write"):
        predict.export(
            *(tmp_path / "file", network, finder), thresholds=THRESHOLDS, margin=0.0, **training
        )


def test_what_the_export_needs_is_named(network, training, tmp_path):
    options = {"margin": 0.0, **training}
    finder = builders.box_finder()
    with pytest.raises(UserError, match="no threshold for screening"):
        predict.export(tmp_path, network, finder, thresholds={"balanced": 0.5}, **options)
    other = models.dense(CROP, classes=3)
    with pytest.raises(UserError, match="has no layer features"):
        predict.export(tmp_path, other, finder, thresholds=THRESHOLDS, **options)
