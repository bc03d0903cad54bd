"""Distances to training images: known values, the limit, the same in a network."""

import numpy as np
import pytest

from helpers.predict import familiarity
from tests import builders

COUNT, FEATURES = 1200, 100


@pytest.fixture(scope="module")
def known():
    """Three clouds of features with one covariance: features, labels, groups."""
    generator = np.random.default_rng(0)
    labels = np.repeat(["bacteria", "normal", "virus"], COUNT // 3)
    mixing = generator.normal(size=(FEATURES, FEATURES)) / 10
    centres = 3 * generator.normal(size=(3, FEATURES)).repeat(COUNT // 3, axis=0)
    features = (centres + generator.normal(size=(COUNT, FEATURES))) @ mixing + 5
    return features, labels, np.arange(COUNT) // 2


def test_it_is_the_squared_mahalanobis_distance_to_the_nearest_class(known):
    features, labels = known[0][:, :10], known[1]  # all ten directions are kept
    space = familiarity.fit(features, labels, known[2])
    means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    inside = features - means[np.unique(labels, return_inverse=True)[1]]
    inverse = np.linalg.inv(inside.T @ inside / COUNT)
    gaps = features[:50, None] - means
    expected = np.einsum("nci,ij,ncj->nc", gaps, inverse, gaps).min(axis=1)
    np.testing.assert_allclose(space.distances(features[:50]), expected, rtol=1e-6)


def test_one_in_a_hundred_new_images_is_flagged_and_strange_ones_are(known):
    features, labels, groups = known
    rows = np.arange(COUNT) % 2 == 0  # of each pair one is learnt from
    space = familiarity.fit(features[rows], labels[rows], groups[rows])
    flagged = (space.distances(features[~rows]) > space.limit).mean()
    assert flagged < 0.03
    strange = features[~rows] + 8 * features.std(axis=0) * np.sign(features[:1])
    assert (space.distances(strange) > space.limit).all()
    most = familiarity.fit(features[rows], labels[rows], groups[rows], flagged=0.3)
    assert most.limit < space.limit


def test_the_limit_is_set_on_patients_who_were_left_out(known):
    features, labels, _ = known
    few = slice(0, COUNT, 6)  # hardly more images than directions
    twice = np.repeat(features[few], 2, axis=0)
    named, patients = np.repeat(labels[few], 2), np.repeat(np.arange(COUNT // 6), 2)
    apart = familiarity.fit(twice, named, patients)
    together = familiarity.fit(twice, named, np.arange(len(twice)))  # a copy is learnt from
    assert apart.limit > 1.2 * together.limit


def test_folds_keep_patients_together_and_the_same_each_time():
    table = builders.index_table(60)
    patients = table.index // 2
    fold = familiarity.folds(table.label, patients)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[patients == patient])) == 1 for patient in set(patients))
    assert np.array_equal(fold, familiarity.folds(table.label, patients))


def test_features_without_variance_do_no_harm(known):
    features = known[0].copy()
    features[:, 3] = 0.7
    space = familiarity.fit(features, *known[1:])
    assert np.isfinite(space.distances(features)).all() and np.isfinite(space.limit)


def test_a_network_gives_the_same_distances(backend):
    classifier = builders.network(1, side=24)
    images = builders.noise(40, 24, seed=1)
    features = builders.answer(part(classifier, "features"), images.astype(np.float32))
    space = familiarity.fit(features, np.arange(40) % 3, np.arange(40))
    both = builders.answer(familiarity.with_distance(classifier, space), images.astype(np.float32))
    assert set(both) == {"probabilities", "distance"} and both["distance"].shape == (40, 1)
    expected = space.distances(features)
    np.testing.assert_allclose(both["distance"][:, 0], expected, rtol=1e-3, atol=1e-3)
    same = builders.answer(classifier, images.astype(np.float32))
    np.testing.assert_array_equal(both["probabilities"], same)


def part(model, name):
    from helpers.models import keras

    return keras.Model(model.input, model.get_layer(name).output)
