"""Three classes: their networks, training by softmax, and the reader's table."""

import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, models, results, training
from helpers.models import keras, layers
from helpers.settings import UserError

SIDE = 32
LABELS = ["normal", "bacteria", "virus"]


def kinds(model):
    counted = (layers.Conv2D, layers.MaxPooling2D, layers.Dense)
    return [type(layer).__name__ for layer in model.layers if isinstance(layer, counted)]


@pytest.mark.parametrize(
    ("filters", "units", "conv_and_pool", "dense"),
    [((2, 2, 2, 2, 2), (4,), 9, 2), ((2, 2, 2, 2, 2, 2), (4, 4), 11, 3)],
)
def test_convolution_and_pooling_take_turns(filters, units, conv_and_pool, dense):
    found = kinds(models.alternating_cnn(SIDE, filters, units))
    turns = ["Conv2D", "MaxPooling2D"] * len(filters)
    assert found == turns[:conv_and_pool] + ["Dense"] * dense


def test_parameter_count_of_the_alternating_cnn():
    model = models.alternating_cnn(8, (2, 3), (5,))
    convolutions = 9 * 2 + 2 + 9 * 2 * 3 + 3
    assert model.count_params() == convolutions + (4 * 4 * 3 * 5 + 5) + (5 * 3 + 3)


@pytest.mark.parametrize(("classes", "units"), [(2, 1), (3, 3)])
def test_both_heads_give_probabilities(classes, units, images):
    network = models.alternating_cnn(SIDE, (2, 2), (4,))
    for model in (
        models.alternating_cnn(SIDE, (2, 2), (4,), classes),
        models.with_dense_layers(network, (4, 4), classes),
    ):
        p = model.predict(images, verbose=0)
        assert p.shape == (24, units)
        assert p.dtype == np.float32
        assert ((p >= 0) & (p <= 1)).all()
        if classes == 3:
            np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_a_head_trained_on_features_is_taken_over_into_the_network(images):
    """The network with the head must say what the head says of the network's features."""
    network = models.alternating_cnn(SIDE, (4, 4), ())
    extract = keras.Model(network.input, network.get_layer("features").output)
    features = extract.predict(images, verbose=0)
    head = models.feature_head(features.shape[1], (8, 4))
    generator = np.random.default_rng(0)  # biases too, which start at zero
    head.set_weights([generator.normal(size=weight.shape) for weight in head.get_weights()])
    whole = models.with_dense_layers(network, (8, 4), head_weights=head.get_weights())
    expected = head.predict(features, verbose=0)
    np.testing.assert_allclose(whole.predict(images, verbose=0), expected, atol=1e-5)
    fresh = models.with_dense_layers(network, (8, 4))
    assert not np.allclose(fresh.predict(images, verbose=0), expected, atol=1e-5)


def test_a_head_of_another_shape_is_refused():
    network = models.alternating_cnn(SIDE, (2, 2), ())
    other = models.feature_head(7, (4,)).get_weights()
    with pytest.raises(ValueError):
        models.with_dense_layers(network, (4,), head_weights=other)
    with pytest.raises(ValueError):
        models.with_dense_layers(network, (4, 4), head_weights=other)


def test_frozen_stays_frozen_below_new_dense_layers(images, table):
    network = models.mobilenet(SIDE, trainable=0)
    model = models.with_dense_layers(network, (4,))
    before = [layer.get_weights() for layer in network.layers if layer.name != "probability"]
    options = {"seed": 0, "epochs": 1, "patience": 1, "learning_rate": 0.1}
    training.fit(lambda: model, images, table, **options)
    after = [layer.get_weights() for layer in network.layers if layer.name != "probability"]
    for old, new in zip(before, after, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(old, new, strict=True))
    assert len(model.trainable_weights) == 4


def test_features_can_be_trained_on_and_predicted_from(table, tmp_path):
    """Features that give the class away are learnt, and the fit comes back from the cache."""
    codes = pd.Categorical(table.label, LABELS).codes
    features = np.eye(3, dtype=np.float32)[codes]
    options = {"seed": 0, "epochs": 60, "patience": 60, "learning_rate": 0.05, "cache": tmp_path}
    fit = training.fit(lambda: models.feature_head(3, (8,)), features, table, **options)
    again = training.fit(lambda: models.feature_head(3, (8,)), features, table, **options)
    predictions = evaluation.predict(fit, features, table)
    assert list(predictions.columns[3:]) == evaluation.CLASSES
    counts = evaluation.confusion(predictions)
    np.testing.assert_array_equal(counts, 2 * np.eye(3))
    pd.testing.assert_frame_equal(predictions, evaluation.predict(again, features, table))


def measured_three(table, names=("one", "two")):
    rows = table[table.split != "train"]
    p = np.full((len(rows), 3), 0.1)
    p[np.arange(len(rows)), pd.Categorical(rows.label, LABELS).codes] = 0.8
    p[:, :] = np.where((rows.label == "virus").to_numpy()[:, None], [0.1, 0.8, 0.1], p)
    predictions = rows[["file", "split", "label"]].reset_index(drop=True)
    predictions[evaluation.CLASSES] = p
    parts = []
    for name in names:
        row = {"experiment": name, "protocol": "pooled", "seed": 0, "fold": ""}
        parts.append(results.measure(row, predictions, set(), resamples=50))
    return pd.concat(parts)


def test_three_class_comparison(table):
    measured = measured_three(table)
    shown = results.three_class_comparison(measured)
    assert list(shown.columns) == ["accuracy", "AUC", *results.RECALLS]
    assert list(shown.index) == [("one", "pooled"), ("two", "pooled")]
    assert shown.accuracy.iloc[0].startswith("66.7 (")
    assert shown.recall_virus.iloc[0].startswith("0.0 (0.0-")
    assert shown.recall_normal.iloc[0].startswith("100.0 (")


def test_three_class_comparison_leaves_binary_fits_out(table):
    measured = measured_three(table, ["one"])
    binary = measured[measured.subset == "binary"].assign(experiment="binary", subset="all")
    shown = results.three_class_comparison(pd.concat([measured, binary]))
    assert list(shown.index) == [("one", "pooled")]
    with pytest.raises(UserError, match="three-class"):
        results.three_class_comparison(binary)


def test_three_class_comparison_does_not_mix_seeds(table):
    measured = measured_three(table, ["one"])
    with pytest.raises(UserError, match="one a protocol"):
        results.three_class_comparison(pd.concat([measured, measured.assign(seed=1)]))
