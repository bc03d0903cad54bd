"""Several fits at a time, in processes of their own, for the same numbers as one by one."""

import os
import warnings
from collections.abc import Callable, Sequence

import joblib

from helpers.training import backend
from helpers.training.fit import Fit


def fit_all(fit: Callable[..., Fit], jobs: Sequence[tuple]) -> list[Fit]:
    """What `fit(*job)` gives for each job.

    On a processor, as many are trained side by side as it has room for with the threads of
    `set_up`: small networks leave several threads of one fit waiting for each other. Each ends in
    the cache of finished fits, where it is then taken from.

    Args:
        fit: a function of an importable module, or a partial of one, that trains with a cache.
        jobs: its arguments. Memory-mapped images are shared, other arrays are copied.
    """
    processes = min(len(jobs), backend.room())
    if processes > 1:
        call = joblib.delayed(_alone)
        with warnings.catch_warnings():  # joblib replaces a worker whose memory has grown
            warnings.filterwarnings("ignore", "A worker stopped while some jobs")
            joblib.Parallel(processes)(call(backend.settings(), fit, job) for job in jobs)
    return [fit(*job) for job in jobs]


def _alone(settings: dict, fit: Callable[..., Fit], job: tuple) -> None:
    """In a process of its own: the finished fit stays in the cache."""
    os.environ["TQDM_DISABLE"] = "1"
    backend.set_up(0, **settings)
    fit(*job)
