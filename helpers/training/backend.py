"""The one file that knows TensorFlow or JAX: threads, precision and device of what is computed."""

import gc
import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import cv2
import joblib
import psutil
from threadpoolctl import threadpool_limits

from helpers.models import keras
from helpers.training.precision import fastest
from helpers.utils import UserError, native_messages_hidden

MEMORY = 1.5e9  # bytes that a fit in a process of its own is given room for: tests/README.md

_set_up = {"threads": 0, "precision": "float32"}


def set_up(seed: int, threads: int = 0, precision: str = "float32") -> None:
    """Fix the seed, the processor threads (0: all) and the precision of what follows.

    Call it once, before anything is computed: TensorFlow and JAX cannot change their threads later.
    `auto` takes 16-bit arithmetic on a GPU, and on a processor that trains faster by it (see
    `precision.fastest`), else float32. On the JAX backend the devices that CHEST_XRAY_DEVICES
    counts share each batch.

    Raises:
        UserError: the backend has started already with another number of threads, or has not so
            many devices.
    """
    threadpool_limits(threads or None)  # NumPy's and scikit-learn's
    cv2.setNumThreads(1)  # OpenCV's: several for one small image keep those that train waiting
    if keras.backend.backend() == "tensorflow":
        _start_tensorflow(threads)
    elif threads:
        os.environ["NPROC"] = str(threads)  # JAX reads it when it starts
    chosen = _fastest_precision(threads) if precision == "auto" else precision
    _set_up.update(threads=threads, precision=chosen)
    start_fit(seed)
    gc.freeze()  # what imports left is no garbage: `start_fit` need not search it each time


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
    if devices := _devices():
        _place_each_batch_by_its_own_size()
        keras.distribution.set_distribution(DataParallel(devices=devices))


class DataParallel(keras.distribution.DataParallel):
    """Devices share each batch; one that cannot be shared evenly is computed on all of them.

    What is computed stays that of one device, but for the order of sums.
    """

    def get_data_layout(self, data_shape: tuple[int, ...]) -> keras.distribution.TensorLayout:
        """How an array of this shape, batch first, lies on the devices."""
        if data_shape[0] % self.num_model_replicas:
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)


def _place_each_batch_by_its_own_size() -> None:
    """Keras places all batches as the first one, which fails at a last one of odd length."""
    from keras.src.backend.jax import trainer

    def place(self, _):
        return map(trainer._distribute_data, self.data_adapter.get_jax_iterator())

    trainer.JAXEpochIterator._get_distributed_iterator = place


def _devices() -> list[str]:
    """Those that share each batch; none where there is but one."""
    wanted = os.environ.get("CHEST_XRAY_DEVICES") or "1"
    if wanted == "1":
        return []
    if keras.backend.backend() != "jax":
        raise UserError(f"CHEST_XRAY_DEVICES={wanted} needs the JAX backend: set KERAS_BACKEND=jax")
    found = keras.distribution.list_devices()
    if not wanted.isdigit() or not 0 < int(wanted) <= len(found):
        raise UserError(f"CHEST_XRAY_DEVICES={wanted}: give a number from 1 to {len(found)}")
    return found[: int(wanted)]


def jit_compile() -> bool | str:
    """What `Model.compile` is told: XLA slows these small networks down on TensorFlow."""
    return False if keras.backend.backend() == "tensorflow" else "auto"


class CosineDecay(keras.optimizers.schedules.CosineDecay):
    """Keras's, computed once in a step: its AdamW asks for it again for every variable."""

    traced = None, None  # a step of TensorFlow, and the learning rate in it

    def __call__(self, step):
        """The learning rate at a step."""
        if keras.backend.backend() != "tensorflow":
            return super().__call__(step)
        import tensorflow

        if tensorflow.executing_eagerly():
            return super().__call__(step)
        graph = tensorflow.compat.v1.get_default_graph()
        if self.traced[0] is not graph:
            self.traced = graph, super().__call__(step)
        return self.traced[1]


def facts() -> dict:
    """What belongs into the record of a fit: device, backend, precision, threads."""
    return {"device": device(), "backend": keras.backend.backend()} | {
        name: _set_up[name] for name in ("precision", "threads")
    }


def settings() -> dict:
    """What `set_up` was told: threads and precision."""
    return dict(_set_up)


def room() -> int:
    """How many fits have room side by side, threads and memory; a GPU takes one at a time."""
    threads = settings()["threads"]
    if not threads or not device().endswith("cores)"):
        return 1
    free = psutil.virtual_memory().available
    return max(1, min(joblib.cpu_count() // threads, int(free // MEMORY)))


def versions() -> list[str]:
    """Of Keras, the backend and scikit-learn."""
    return [version(name) for name in ("keras", keras.backend.backend(), "scikit-learn")]


def device() -> str:
    """Name of the GPU, else of the processor; how many, where several share the work."""
    count = len(_devices())
    return f"{count} x {_one_device()}" if count else _one_device()


def _one_device() -> str:
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
