"""Fits side by side: the same numbers as one after the other, out of the cache of finished fits."""

from functools import partial

import joblib
import numpy as np
import pytest
from joblib.externals import loky

from helpers import models, training
from helpers.models import keras
from helpers.training import parallel
from tests import builders

IMAGES, TABLE = builders.squares()
CONFIG = training.TrainingConfig(epochs=2, patience=2, batch_size=16, mixup=0.2)


def fit(cache_dir, seed):
    build = partial(models.dense, IMAGES.shape[1], (4,))
    return training.fit(build, IMAGES, TABLE, CONFIG, seed=seed, cache_dir=cache_dir)


@pytest.fixture
def started(monkeypatch):
    """Instead of processes: how many were wanted at a time, and for how many calls."""
    wanted = []
    monkeypatch.setenv("TQDM_DISABLE", "1")

    class Parallel:
        def __init__(self, processes):
            self.processes = processes

        def __call__(self, calls):
            calls = list(calls)
            wanted.append((self.processes, len(calls)))
            return [function(*job) for function, job, _ in calls]

    monkeypatch.setattr(joblib, "Parallel", Parallel)
    return wanted


@pytest.mark.parametrize(("cores", "processes"), [(16, 3), (2 * builders.THREADS, 2)])
def test_no_more_processes_than_jobs_or_room(backend, started, monkeypatch, cores, processes):
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    jobs = [(2, 1), (3, 1), (4, 1)]
    assert training.call_all(pow, jobs) == [2, 3, 4]  # in the order of the jobs
    assert started == [(processes, 3)]


def test_without_room_one_comes_after_the_other(backend, started, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: builders.THREADS)
    asked = []
    jobs = [("a", 1), ("b", 2)]
    for every in (training.fit_all, training.call_all):
        assert every(lambda *job: asked.append(job) or job, jobs) == jobs
    assert asked == 2 * jobs and not started


def test_what_takes_all_threads_runs_one_at_a_time(started, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    monkeypatch.setattr(parallel.backend, "settings", lambda: {"threads": 0})
    assert training.call_all(pow, [(2, 1), (3, 1)]) == [2, 3]
    assert not started


@pytest.mark.parametrize("jobs", [[], [(2, 3)]])
def test_one_job_or_none_needs_no_process(started, monkeypatch, jobs):
    monkeypatch.setattr(parallel.backend, "room", lambda: 4)
    for every in (training.fit_all, training.call_all):
        assert every(pow, jobs) == [pow(*job) for job in jobs]
    assert not started


def test_processes_are_started_for_what_is_not_in_the_cache_alone(
    backend, started, tmp_path, monkeypatch
):
    monkeypatch.setattr(parallel.backend, "room", lambda: 4)
    first = training.fit_all(fit, [(tmp_path, 0), (tmp_path, 1), (tmp_path, 2)])
    assert started == [(3, 3)]
    started.clear()
    assert len(training.fit_all(fit, [(tmp_path, 0), (tmp_path, 1)])) == 2
    assert not started
    again = training.fit_all(fit, [(tmp_path, 2), (tmp_path, 3), (tmp_path, 0), (tmp_path, 4)])
    assert started == [(2, 2)]
    assert [one.record["seed"] for one in again] == [2, 3, 0, 4]
    np.testing.assert_array_equal(again[0].predict(IMAGES), first[2].predict(IMAGES))


@pytest.fixture(scope="module")
def processes(backend):
    """Two that stay for both tests: each takes seconds to start."""
    yield
    loky.get_reusable_executor().shutdown(wait=True)


def says(network, images):
    return network.predict(images, verbose=0)


@pytest.mark.slow
def test_networks_and_images_reach_the_processes(processes, monkeypatch):
    networks = [builders.network(seed, side=IMAGES.shape[1]) for seed in (0, 1)]
    monkeypatch.setattr(parallel.backend, "room", lambda: 2)
    found = training.call_all(says, [(network, IMAGES) for network in networks])
    for network, said in zip(networks, found, strict=True):
        np.testing.assert_array_equal(said, says(network, IMAGES))


@pytest.mark.slow
def test_side_by_side_gives_the_same_bits_and_nothing_is_trained_twice(
    processes, tmp_path, monkeypatch
):
    alone = [fit(tmp_path / "alone", seed) for seed in (0, 1)]
    monkeypatch.setattr(parallel.backend, "room", lambda: 2)

    def refuse(*_, **__):
        raise AssertionError("trained in this process")

    monkeypatch.setattr(keras.Model, "fit", refuse)
    together = training.fit_all(fit, [(tmp_path / "together", seed) for seed in (0, 1)])
    for one, other in zip(alone, together, strict=True):
        assert one.record["settings_hash"] == other.record["settings_hash"]
        assert other.folder.parent == tmp_path / "together"
        np.testing.assert_array_equal(one.predict(IMAGES), other.predict(IMAGES))
        assert list(one.history.loss) == pytest.approx(list(other.history.loss), rel=1e-9)
    assert not np.array_equal(*(one.predict(IMAGES) for one in together))
