"""The one file that knows TensorFlow or JAX: threads, precision and device of what is computed."""

import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import joblib
from threadpoolctl import threadpool_limits

from helpers.models import keras
from helpers.training.precision import fastest
from helpers.utils import UserError, native_messages_hidden

_set_up = {"threads": 0, "precision": "float32"}


def set_up(seed: int, threads: int = 0, precision: str = "float32") -> None:
    """Fix the seed, the processor threads (0: all) and the precision of what follows.

    Call it once, before anything is computed: TensorFlow cannot change its threads later.
    `auto` takes 16-bit arithmetic on a GPU, and on a processor that trains faster by it (see
    `precision.fastest`), else float32.

    Raises:
        UserError: the backend has started already with another number of threads.
    """
    threadpool_limits(threads or None)  # NumPy's and scikit-learn's
    if keras.backend.backend() == "tensorflow":
        _start_tensorflow(threads)
    chosen = _fastest_precision(threads) if precision == "auto" else precision
    _set_up.update(threads=threads, precision=chosen)
    start_fit(seed)


def _start_tensorflow(threads: int) -> None:
    import tensorflow

    if tensorflow.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(min(threads, 2))
        except RuntimeError as error:
            raise UserError(
                "THREADS cannot change once training has begun: restart the kernel"
            ) from error
    with native_messages_hidden():  # start it now, quietly
        next(iter(tensorflow.data.Dataset.from_generator(lambda: [0], output_types="int32")))


def start_fit(seed: int) -> None:
    """Forget earlier networks and fix the seed: a fit does not depend on what ran before."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(_set_up["precision"])  # clear_session forgets it
    keras.utils.set_random_seed(seed)


def jit_compile() -> bool | str:
    """What `Model.compile` is told: XLA slows these small networks down on TensorFlow."""
    return False if keras.backend.backend() == "tensorflow" else "auto"


def facts() -> dict:
    """What belongs into the record of a fit: device, backend, precision, threads."""
    return {"device": device(), "backend": keras.backend.backend()} | {
        name: _set_up[name] for name in ("precision", "threads")
    }


def settings() -> dict:
    """What `set_up` was told: threads and precision."""
    return dict(_set_up)


def room() -> int:
    """How many fits have room side by side with their threads; a GPU takes one at a time."""
    threads = settings()["threads"]
    if not threads or not device().endswith("cores)"):
        return 1
    return max(1, joblib.cpu_count() // threads)


def versions() -> list[str]:
    """Of Keras, the backend and scikit-learn."""
    return [version(name) for name in ("keras", keras.backend.backend(), "scikit-learn")]


def device() -> str:
    """Name of the GPU, else of the processor."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        for gpu in tensorflow.config.list_physical_devices("GPU"):
            details = tensorflow.config.experimental.get_device_details(gpu)
            return details.get("device_name", "GPU")
    elif keras.backend.backend() == "jax":
        import jax

        if jax.devices()[0].platform != "cpu":
            return jax.devices()[0].device_kind
    return f"{cpu_field('model name') or platform.machine()} ({os.cpu_count()} cores)"


@cache
def cpu_field(name: str) -> str:
    """A field of what Linux knows of the processor; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":")[1].strip() for line in lines if line.startswith(name)), "")


def _fastest_precision(threads: int) -> str:
    if not device().endswith("cores)"):
        return "mixed_float16" if keras.backend.backend() == "tensorflow" else "mixed_bfloat16"
    flags = cpu_field("flags") or cpu_field("Features")  # Intel and AMD, or ARM
    return fastest(device(), flags, threads)
