"""Pretrained networks: where weights come from, what is frozen, and what batch norm does."""

import numpy as np
import pytest

from helpers import models, training
from helpers.models import keras, layers

FILE = models.PRETRAINED["mobilenet"][0]
SIDE = 32


@pytest.fixture
def no_network(monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no network here")

    monkeypatch.setattr(keras.utils, "get_file", fail)


@pytest.fixture(scope="module")
def published():
    """Stands for the network whose weights are in the file: random ones here."""
    keras.utils.set_random_seed(1)
    return keras.applications.MobileNet(
        input_shape=(SIDE, SIDE, 3), alpha=0.75, include_top=False, weights=None
    )


@pytest.fixture
def folder(tmp_path, published, monkeypatch):
    published.save_weights(tmp_path / FILE)
    monkeypatch.setenv("PRETRAINED_DIR", str(tmp_path))
    return tmp_path


def weights_of(model, kind):
    """The weights of all layers of a kind in order, without the head's."""
    chosen = [layer for layer in model.layers if isinstance(layer, kind)]
    return [w for layer in chosen if layer.name != "probability" for w in layer.get_weights()]


def equal(some, others):
    return [np.array_equal(one, other) for one, other in zip(some, others, strict=True)]


def trained(model, images, table, **options):
    options |= {"seed": 0, "epochs": 1, "patience": 1, "batch_size": 4, "learning_rate": 0.01}
    return training.fit(lambda: model, images, table, **options)


def test_the_file_in_the_folder_is_loaded_whatever_the_side(folder, published, no_network, capsys):
    path, source = models.pretrained("mobilenet")
    assert (path, source) == (str(folder / FILE), "imagenet")
    assert FILE in capsys.readouterr().out
    for side in (SIDE, 48):
        model = models.mobilenet(side, weights=path)
        kinds = (layers.Conv2D, layers.DepthwiseConv2D, layers.BatchNormalization)
        assert all(equal(weights_of(model, kinds), weights_of(published, kinds)))


def test_a_relative_folder_is_one_of_the_project(folder, no_network, monkeypatch):
    monkeypatch.setattr(models, "PROJECT", folder.parent)
    monkeypatch.setenv("PRETRAINED_DIR", folder.name)
    assert models.pretrained("mobilenet")[0] == str(folder / FILE)


@pytest.mark.parametrize("setting", [None, "nowhere"])
def test_without_file_and_network_it_says_so_and_starts_from_scratch(
    setting, no_network, monkeypatch, capsys
):
    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    if setting:
        monkeypatch.setenv("PRETRAINED_DIR", setting)
    assert models.pretrained("mobilenet") == (None, "none")
    line = capsys.readouterr().out
    assert "NO PRETRAINED WEIGHTS" in line and "no network here" in line


def test_keras_downloads_where_there_is_a_network(monkeypatch, tmp_path, capsys):
    def fetch(name, address, cache_subdir):
        print("a progress bar")
        assert address.endswith(f"/mobilenet/{name}")
        return str(tmp_path / name)

    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", fetch)
    path, source = models.pretrained("mobilenet")
    assert source == "imagenet" and path.startswith(str(tmp_path))
    assert "progress" not in capsys.readouterr().out


def test_gray_becomes_three_equal_channels_of_minus_one_to_one(published):
    model = models.mobilenet(SIDE)
    channels = keras.Model(model.input, model.get_layer("three_channels").output)
    gray = np.array([0, 127.5, 255] * 100, dtype=np.float32)
    image = np.resize(gray, (1, SIDE, SIDE, 1))
    result = channels.predict(image, verbose=0)
    np.testing.assert_allclose(result, np.repeat(image / 127.5 - 1, 3, axis=-1), atol=1e-6)


@pytest.mark.parametrize(("classes", "units"), [(2, 1), (3, 3)])
def test_head_and_features(classes, units):
    model = models.mobilenet(SIDE, classes)
    assert model.output_shape == (None, units)
    assert model.get_layer("features").output.shape == (None, 768)


def test_trainable_counts_the_last_convolutions():
    def learning(trainable):
        model = models.mobilenet(SIDE, trainable=trainable)
        convolutions = [x for x in model.layers if isinstance(x, layers.Conv2D)]
        convolutions += [x for x in model.layers if isinstance(x, layers.DepthwiseConv2D)]
        return {layer.name for layer in convolutions if layer.trainable}

    assert learning(0) == set()
    assert learning(1) == {"conv_pw_13"}
    assert learning(4) == {"conv_pw_13", "conv_dw_13", "conv_pw_12", "conv_dw_12"}
    assert len(learning(27)) == len(learning(None)) == 27
    assert len(models.mobilenet(SIDE, trainable=0).trainable_weights) == 2  # the head


def test_fixed_batch_norm_does_not_change_in_training(images, table, tmp_path):
    hashes = set()
    for fixed in (True, False):
        model = models.mobilenet(SIDE, batch_norm_fixed=fixed)
        before = weights_of(model, layers.BatchNormalization)
        fit = trained(model, images, table, cache=tmp_path)
        same = equal(before, weights_of(fit.model, layers.BatchNormalization))
        assert all(same) if fixed else not any(same)
        hashes.add(fit.row["settings_hash"])
    assert len(hashes) == 2  # the cache tells them apart


def test_frozen_layers_do_not_change_in_training(images, table):
    model = models.mobilenet(SIDE, trainable=2, batch_norm_fixed=False)
    place = [layer.name for layer in model.layers].index("conv_dw_13")
    before = [layer.get_weights() for layer in model.layers]
    trained(model, images, table)
    same = [all(equal(old, x.get_weights())) for old, x in zip(before, model.layers, strict=True)]
    assert all(same[:place])
    changed = {layer.name for layer, kept in zip(model.layers, same, strict=True) if not kept}
    assert changed >= {"conv_dw_13_bn", "conv_pw_13", "conv_pw_13_bn", "probability"}


def test_fixed_batch_norm_survives_saving(tmp_path):
    model = models.mobilenet(SIDE, trainable=4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [w.path for w in again.trainable_weights] == [w.path for w in model.trainable_weights]


def test_inception_resnet_v2_whole_and_cut():
    whole = models.inception_resnet_v2()
    assert whole.input_shape == (None, 75, 75, 1)
    assert whole.get_layer("features").output.shape == (None, 1536)
    assert whole.count_params() > 54e6
    assert all(layer.trainable for layer in whole.layers)
    cut = models.inception_resnet_v2(classes=3, end="block35_1_ac")
    assert cut.output_shape == (None, 3)
    assert cut.count_params() < 2e6
