"""Pretrained networks: each entry of the table, where weights come from, and what is frozen."""

from pathlib import Path

import numpy as np
import pytest
from keras import layers

from helpers import models, paths, training
from helpers.models import backbones, keras
from helpers.utils import UserError
from tests import builders
from tests.builders import answer

SIDE = 32
EARLY = "conv_pw_3_relu"  # of MobileNet: the first blocks do for what is true of any number
FILE = models.BACKBONES["mobilenet"].file
CONVOLUTIONS = layers.Conv2D | layers.DepthwiseConv2D
QUICK = {"mobilenet"}  # the others take some five seconds and more each
WHOLE = [name for name, entry in models.BACKBONES.items() if not entry.end]
NAMES = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in WHOLE]


def application(name):
    """The bare network of Keras with random weights; takes what `preprocess` gives.

    Batch norm has the statistics of some noise, without which nothing would come through.
    """
    side = models.BACKBONES[name].smallest
    keras.utils.set_random_seed(1)
    network = models.BACKBONES[name].build(
        input_shape=(side, side, 3), include_top=False, weights=None
    )
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0  # take over what the next batch has
    network(preprocess(name, builders.noise(4, side)), training=True)
    return network


def preprocess(name, gray):
    """Gray pictures in three channels as Keras prepares them for this family of networks."""
    build = models.BACKBONES[name].build
    family = getattr(build, "func", build).__module__.rsplit(".", 1)[1]
    color = np.repeat(gray.astype("float32"), 3, axis=-1)
    return getattr(keras.applications, family).preprocess_input(color)


def weights_of(model, kinds):
    """The weights of all layers of these kinds in order, without the head's."""
    chosen = [layer for layer in model.layers if isinstance(layer, kinds)]
    return [w for layer in chosen if layer.name != "probability" for w in layer.get_weights()]


def equal(some, others):
    return [np.array_equal(one, other) for one, other in zip(some, others, strict=True)]


# Every whole network of the table, bare and as a classifier; what all share is tried on MobileNet


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def bare(name):
    return application(name)


@pytest.fixture(scope="module")
def weights(bare, name, tmp_path_factory):
    """A file with the weights of `bare`, as the files of Keras have them."""
    path = tmp_path_factory.mktemp("weights") / models.BACKBONES[name].file
    bare.save_weights(path)
    return str(path)


@pytest.fixture(scope="module")
def classifier(name, weights):
    """Three classes, the head alone learns; the weights come from the file."""
    return models.classifier(name, models.BACKBONES[name].smallest, 3, weights, trainable=0)


@pytest.fixture(scope="module")
def pictures(name):
    """A black one, a white one, and noise."""
    pictures = builders.noise(3, models.BACKBONES[name].smallest)
    pictures[0], pictures[1] = 0, 255
    return pictures


@pytest.fixture(scope="module")
def inside(classifier, pictures):
    """What reaches the backbone, its features, and the probabilities."""
    scaling = next(layer for layer in classifier.layers if isinstance(layer, layers.Rescaling))
    outputs = [scaling.output, classifier.get_layer("features").output, classifier.output]
    return answer(keras.Model(classifier.input, outputs), pictures)


def test_it_takes_raw_gray_and_is_not_compiled(name, bare, classifier):
    side = models.BACKBONES[name].smallest
    assert classifier.input_shape == (None, side, side, 1)
    assert classifier.output_shape == (None, 3)
    assert classifier.output.dtype == "float32"
    assert classifier.name == name
    assert not classifier.compiled
    width = bare.output_shape[-1]
    assert classifier.get_layer("features").output.shape == (None, width)
    assert classifier.count_params() == bare.count_params() + 3 * (width + 1)


def test_its_probabilities_are_probabilities(inside):
    np.testing.assert_allclose(inside[2].sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(inside[2]).all() and ((inside[2] >= 0) & (inside[2] <= 1)).all()


def test_the_values_that_reach_it_are_those_that_it_was_trained_with(name, inside, pictures):
    np.testing.assert_allclose(inside[0], preprocess(name, pictures), atol=1e-5)


def test_its_features_are_those_of_the_network_whose_weights_are_in_the_file(
    name, bare, inside, pictures
):
    expected = answer(bare, preprocess(name, pictures)).mean(axis=(1, 2))
    assert expected.std() > 0.01  # something came through
    np.testing.assert_allclose(inside[1], expected, atol=0.01 * expected.std())


def test_with_no_trainable_convolutions_the_head_alone_learns(classifier):
    learning = [weight.path.split("/")[0] for weight in classifier.trainable_weights]
    assert learning == ["probability"] * 2


def test_made_again_from_its_description_it_says_and_trains_the_same(classifier, inside, pictures):
    again = keras.models.model_from_json(classifier.to_json())
    again.set_weights(classifier.get_weights())
    np.testing.assert_allclose(answer(again, pictures), inside[2], atol=1e-6)
    learning = [weight.path for weight in classifier.trainable_weights]
    assert [weight.path for weight in again.trainable_weights] == learning


def test_images_that_are_too_small_are_refused(name):
    smallest = models.BACKBONES[name].smallest
    with pytest.raises(UserError, match=f"{name} takes images of {smallest} pixels or more"):
        models.classifier(name, smallest - 1)


# The table


def test_each_entry_names_files_of_its_own_and_a_licence():
    entries = [models.BACKBONES[name] for name in WHOLE]
    assert len({entry.file for entry in entries}) == len({entry.url for entry in entries})
    assert len({entry.file for entry in entries}) == len(entries)
    assert all(entry.file.endswith(".h5") and entry.url.endswith(".h5") for entry in entries)
    assert all(entry.licence for entry in entries)


@pytest.mark.parametrize("name", models.BACKBONES)
def test_the_scaling_is_that_of_keras(name):
    gray = np.arange(256.0).reshape(1, 16, 16, 1)
    scaling = layers.Rescaling(*models.BACKBONES[name].scaling)
    values = np.asarray(scaling(np.repeat(gray, 3, axis=-1)))
    np.testing.assert_allclose(values, preprocess(name, gray), atol=1e-5)


def test_an_unknown_backbone_is_refused():
    for use in (
        lambda: models.classifier("mobilnet", SIDE),
        lambda: models.initial_weights("mobilnet"),
        lambda: backbones.find_backbone("mobilnet"),
    ):
        with pytest.raises(UserError, match="no backbone 'mobilnet': choose one of mobilenet, "):
            use()


# Where weights come from


@pytest.fixture
def no_network(monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no network here")

    monkeypatch.setattr(keras.utils, "get_file", fail)


@pytest.fixture(scope="module")
def published():
    """Stands for the network whose weights are in the file: random ones here."""
    return application("mobilenet")


@pytest.fixture
def folder(tmp_path, published, monkeypatch):
    published.save_weights(tmp_path / FILE)
    monkeypatch.setenv("PRETRAINED_DIR", str(tmp_path))
    return tmp_path


def test_the_file_in_the_folder_is_loaded_whatever_the_side(folder, published, no_network, capsys):
    initial = models.initial_weights("mobilenet")
    assert initial == (str(folder / FILE), "imagenet")
    assert FILE in capsys.readouterr().out
    kinds = CONVOLUTIONS | layers.BatchNormalization
    for side in (SIDE, 48):
        model = models.classifier("mobilenet", side, weights=initial.path)
        assert all(equal(weights_of(model, kinds), weights_of(published, kinds)))


def test_a_relative_folder_is_one_of_the_project(folder, no_network, monkeypatch):
    monkeypatch.setattr(paths, "PROJECT", folder.parent)
    monkeypatch.setenv("PRETRAINED_DIR", folder.name)
    assert models.initial_weights("mobilenet").path == str(folder / FILE)


@pytest.mark.parametrize("setting", [None, "nowhere"])
def test_without_file_and_network_it_stops_and_says_what_to_do(setting, no_network, monkeypatch):
    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    if setting:
        monkeypatch.setenv("PRETRAINED_DIR", setting)
    with pytest.raises(UserError, match=r"no pretrained weights .* PRETRAINED_DIR=none") as raised:
        models.initial_weights("mobilenet")
    assert "no network here" in str(raised.value)
    assert models.BACKBONES["mobilenet"].url in str(raised.value)


def test_random_weights_must_be_asked_for(no_network, monkeypatch, capsys):
    monkeypatch.setenv("PRETRAINED_DIR", "none")
    assert models.initial_weights("mobilenet") == (None, "none")
    assert "random weights" in capsys.readouterr().out


@pytest.mark.parametrize("name", models.BACKBONES)
def test_keras_downloads_where_there_is_a_network(name, monkeypatch, tmp_path, capsys):
    def fetch(file, address, cache_subdir, file_hash):
        print("a progress bar")
        known = models.BACKBONES[name]
        assert address == known.url and address.endswith(f"/{file}")
        assert (file_hash or "") == known.checksum
        return str(tmp_path / file)

    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", fetch)
    path, source = models.initial_weights(name)
    assert source == "imagenet" and path.startswith(str(tmp_path))
    assert "progress" not in capsys.readouterr().out


def test_addresses_and_checksums_are_those_of_keras():
    folder = Path(keras.applications.__file__).parents[1] / "src" / "applications"
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    for name, known in models.BACKBONES.items():
        assert known.url.startswith("https://storage.googleapis.com/tensorflow/keras-applications/")
        assert bool(known.checksum) != name.startswith("mobilenet"), name
        assert known.checksum in source


# What learns


def learning(**options):
    """Names of the convolutions that learn, in a MobileNet built with these options."""
    model = models.classifier("mobilenet", SIDE, **options)
    return {x.name for x in model.layers if isinstance(x, CONVOLUTIONS) and x.trainable}


def test_trainable_counts_the_last_convolutions():
    assert learning(trainable=0) == set()
    all_layers = models.classifier("mobilenet", SIDE, frozen_batch_norm=False)
    assert all(layer.trainable for layer in all_layers.layers)
    assert all_layers.output_shape == (None, 1)
    assert learning(trainable=1) == {"conv_pw_13"}
    last = {"conv_pw_13", "conv_dw_13", "conv_pw_12", "conv_dw_12"}
    assert learning(trainable=4) == last
    assert len(learning()) == 27
    assert len(learning(trainable=100)) == 27


def test_trainable_counts_back_from_the_end_that_was_chosen():
    assert learning(trainable=1, end=EARLY) == {"conv_pw_3"}


def test_frozen_batch_norm_survives_saving(tmp_path):
    model = models.classifier("mobilenet", SIDE, trainable=4, end=EARLY)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [w.path for w in again.trainable_weights] == [w.path for w in model.trainable_weights]


def test_frozen_batch_norm_keeps_its_statistics(images):
    for frozen in (True, False):
        model = models.classifier("mobilenet", SIDE, frozen_batch_norm=frozen, end=EARLY)
        before = weights_of(model, layers.BatchNormalization)
        model(images, training=True)
        same = equal(before, weights_of(model, layers.BatchNormalization))
        assert all(same) if frozen else not all(same)
        learning = any("_bn/" in weight.path for weight in model.trainable_weights)
        assert learning != frozen


def test_frozen_layers_do_not_change_in_training(images, table):
    model = models.classifier("mobilenet", SIDE, trainable=2, end=EARLY)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    config = training.TrainingConfig(epochs=1, patience=1, batch_size=4, learning_rate=0.01)
    training.fit(lambda: model, images, table, config, seed=0)
    changed = {x.name for x in model.layers if not all(equal(before[x.name], x.get_weights()))}
    assert changed == {"conv_dw_3", "conv_pw_3", "probability"}


def test_frozen_stays_frozen_below_new_dense_layers(images):
    network = models.classifier("mobilenet", SIDE, trainable=0, end=EARLY)
    model = models.with_dense_layers(network, (4,))
    learning = [weight.path.split("/")[0] for weight in model.trainable_weights]
    assert learning == ["dense_1"] * 2 + ["probability"] * 2
    before = weights_of(network, layers.Layer)
    model(images, training=True)
    assert all(equal(before, weights_of(network, layers.Layer)))


def test_dropout_leaves_features_out_in_training_only(images):
    plain, dropping = (
        models.classifier("mobilenet", SIDE, 3, end=EARLY, **options)
        for options in ({}, {"dropout": 0.5})
    )
    dropping.set_weights(plain.get_weights())
    np.testing.assert_array_equal(answer(dropping, images), answer(plain, images))
    np.testing.assert_array_equal(plain(images, training=True), answer(plain, images))
    own, seen = (
        keras.Model(dropping.input, x)
        for x in (dropping.get_layer("features").output, dropping.get_layer("probability").input)
    )
    own, seen = answer(own, images), np.asarray(seen(images, training=True))
    assert (seen[own > 0] == 0).mean() == pytest.approx(0.5, abs=0.05)
    left = seen != 0
    np.testing.assert_allclose(seen[left], 2 * own[left], rtol=1e-4)


# Cut short, and as a maker of features


def test_a_network_can_end_at_an_earlier_layer():
    whole = models.classifier("mobilenet", SIDE)
    cut = models.classifier("mobilenet", SIDE, 3, end=EARLY)
    assert cut.output_shape == (None, 3)
    assert cut.get_layer("features").output.shape == (None, 96)
    assert cut.count_params() < whole.count_params() / 2
    start = models.classifier("mobilenet_start", SIDE, 3)
    assert [x.path for x in start.weights] == [x.path for x in cut.weights]
    shorter = models.classifier("mobilenet_start", SIDE, 3, end="conv_pw_1_relu")
    assert shorter.count_params() < cut.count_params()


@pytest.mark.slow
def test_inception_resnet_v2_cut():
    cut = models.classifier("inception_resnet_v2", 75, classes=3, end="block35_1_ac")
    assert cut.output_shape == (None, 3)
    assert cut.count_params() < 2e6


def test_features_are_the_means_of_the_last_feature_maps(published, folder, images, no_network):
    initial = models.initial_weights("mobilenet")
    values, base = models.features(images, initial=initial)
    expected = answer(published, preprocess("mobilenet", images)).mean(axis=(1, 2))
    assert values.shape == (len(images), 768) and values.dtype == np.float32
    assert expected.std() > 0.01
    np.testing.assert_allclose(values, expected, atol=0.01 * expected.std())
    assert base == ("imagenet", SIDE, published.count_params())


def test_features_of_random_weights_depend_on_the_seed_alone(images):
    keras.utils.set_random_seed(3)
    network = models.classifier("mobilenet", SIDE, trainable=0)
    values, base = models.features(images[:2], seed=3)
    extract = keras.Model(network.input, network.get_layer("features").output)
    np.testing.assert_allclose(values, answer(extract, images[:2]), rtol=1e-3, atol=1e-30)
    assert base.weights == "none"
