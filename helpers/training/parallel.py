"""Several fits at a time, in processes of their own, for the same numbers as one by one."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as once

import cloudpickle
import joblib
import numpy as np

from helpers.training import backend, cache
from helpers.training.fit import Fit


def fit_all(fit: Callable[..., Fit], jobs: Sequence[tuple]) -> list[Fit]:
    """What `fit(*job)` gives for each job.

    Finished fits are taken from the cache; the others are trained side by side (see `call_all`),
    end in the cache, and are taken from there.

    Args:
        fit: a function of an importable module, or a partial of one, that trains with a cache.
        jobs: its arguments. Memory-mapped images are shared, other arrays are copied.
    """
    if len(jobs) < 2 or backend.room() < 2:
        return [fit(*job) for job in jobs]
    found = [_finished(fit, job) for job in jobs]
    call_all(_train, [(fit, *job) for job, one in zip(jobs, found, strict=True) if one is None])
    return [fit(*job) if one is None else one for job, one in zip(jobs, found, strict=True)]


def call_all(function: Callable, jobs: Sequence[tuple]) -> list:
    """What `function(*job)` gives for each job, in their order.

    On a processor, as many run side by side as it has room for with the threads of `set_up`: small
    networks leave several threads waiting for each other. Each process is set up alike.

    Args:
        function: of an importable module, or a partial of one.
        jobs: its arguments, which may hold networks; memory-mapped arrays among them are shared.
            They, and what it gives, must be picklable.
    """
    processes = min(len(jobs), backend.room())
    if processes < 2:
        return [function(*job) for job in jobs]
    call = joblib.delayed(_alone)
    with warnings.catch_warnings():  # joblib replaces a worker whose memory has grown
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")
        packed = (tuple(map(_pack, job)) for job in jobs)
        return joblib.Parallel(processes)(call(backend.settings(), function, job) for job in packed)


@dataclass(frozen=True)
class _Packed:
    """An argument that is opened when the process is set up: a network starts TensorFlow."""

    content: bytes


def _pack(argument):
    return argument if isinstance(argument, np.ndarray) else _Packed(cloudpickle.dumps(argument))


def _alone(settings: dict, function: Callable, job: tuple):
    """In a process of its own."""
    _end_with_parent()
    os.environ["TQDM_DISABLE"] = "1"
    backend.set_up(0, **settings)
    return function(*(cloudpickle.loads(x.content) if isinstance(x, _Packed) else x for x in job))


@once
def _end_with_parent() -> None:
    """Stop this process when its caller is gone: it would train on, for nobody."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _finished(fit: Callable[..., Fit], job: tuple) -> Fit | None:
    """The fit from the cache, if it is there."""
    try:
        with cache.finished_only():
            return fit(*job)
    except cache.NotFinished:
        return None


def _train(fit: Callable[..., Fit], *job) -> None:
    """The finished fit stays in the cache: it need not travel."""
    fit(*job)
