"""Train a network or a scikit-learn estimator once, and remember how it went.

The only module that knows a Keras backend.
"""

import dataclasses
import hashlib
import inspect
import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache as remembered
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from helpers import augmentation
from helpers.data import images as decoding
from helpers.models import keras
from helpers.settings import LABELS, UserError, native_messages_hidden, write_atomically

_prepared = {"threads": 0, "precision": "float32"}


@dataclass(frozen=True)
class Fit:
    """A trained model and what is known of its training.

    Attributes:
        model: the Keras model or scikit-learn estimator.
        row: the facts of results/experiments.csv that belong to the training.
        history: one row an epoch: epoch, seconds, loss, val_loss and the like; empty for
            estimators.
        folder: where it is cached.
    """

    model: object
    row: dict
    history: pd.DataFrame
    folder: Path | None = field(default=None, repr=False)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities for raw images (n, side, side, 1), or for an estimator's features.

        Returns:
            Shape (n,) with the probability of pneumonia, or (n, 3) for normal, bacteria, virus.
        """
        if isinstance(self.model, keras.Model):
            probabilities = self.model.predict(np.asarray(inputs), batch_size=64, verbose=0)
            return probabilities[:, 0] if probabilities.shape[1] == 1 else probabilities
        probabilities = self.model.predict_proba(inputs)
        return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


def prepare(seed: int, threads: int = 0, precision: str = "float32") -> None:
    """Fix the seed, the processor threads (0: all) and the precision of what follows.

    Call it once, before anything is computed: TensorFlow cannot change its threads later.
    `auto` takes 16-bit arithmetic on a GPU and on processors with AMX units, else float32.

    Raises:
        UserError: the backend has started already with another number of threads.
    """
    threadpool_limits(threads or None)  # NumPy's and scikit-learn's
    if keras.backend.backend() == "tensorflow":
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
    if precision == "auto":
        precision = _fastest_precision()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    _prepared.update(threads=threads, precision=precision)


def fit(
    build: Callable[[], keras.Model],
    images: np.ndarray,
    table: pd.DataFrame,
    *,
    seed: int,
    epochs: int,
    patience: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    decay: bool = False,
    averaging: float = 0.0,
    label_smoothing: float = 0.0,
    augment: augmentation.Augmentation | None = None,
    class_weight: bool = False,
    weights: str = "none",
    cache: Path | None = None,
) -> Fit:
    """Train with Adam, stop early on the validation loss, keep the weights of the best epoch.

    Two classes use binary, three use categorical cross-entropy. A fit with the same settings,
    data and code is read from the cache instead.

    Args:
        build: makes the uncompiled model; called after the seed is set, so that a fit does not
            depend on what was built before it.
        images: uint8, shape (rows, side, side, 1), row by row with `table`.
        table: an index with a split column (see `data.protocols`).
        seed: first weights, order of the images, dropout and augmentation follow from it.
        epochs: most passes over the training images.
        patience: epochs without a better validation loss before stopping.
        batch_size: images in a step.
        learning_rate: Adam's.
        decay: let the learning rate fall to 0 along half a cosine (Loshchilov & Hutter 2017).
        averaging: momentum, 0-1, of an exponential moving average of the weights, which then is
            what is validated and kept; 0 keeps the weights themselves.
        label_smoothing: share of each target that is spread over all classes (Szegedy et al. 2016).
        augment: random changes of the training images.
        class_weight: weigh each class by the inverse of its frequency.
        weights: what the first weights come from (a column of the results), e.g. imagenet.
        cache: folder of finished fits.
    """
    keras.utils.clear_session()
    keras.config.set_dtype_policy(_prepared["precision"])  # clear_session forgets it
    keras.utils.set_random_seed(seed)
    model = build()
    classes = max(model.output_shape[-1], 2)
    options = {
        "seed": seed,
        "epochs": epochs,
        "patience": patience,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "decay": decay,
        "averaging": averaging,
        "label_smoothing": label_smoothing,
        "augment": dataclasses.asdict(augment) if augment else None,
        "class_weight": class_weight,
        "weights": weights,
    }
    description = {
        "options": options,
        "model": json.loads(model.to_json()),
        "first_weights": _digest(*model.get_weights()),
        "trainable": [weight.path for weight in model.trainable_weights],
        "data": _data_digest(table, images),
    }
    row = _row(description, seed, classes, images.shape[1], model.count_params(), weights)
    if found := _from_cache(cache, row["settings_hash"], model):
        return found

    codes = _targets(table, classes)
    targets = codes if classes == 2 else np.eye(classes, dtype=np.float32)[codes]
    train, val = (np.flatnonzero(table.split == name) for name in ("train", "val"))
    batches = Batches(images[train], targets[train], batch_size, augment, seed)
    if decay:
        learning_rate = keras.optimizers.schedules.CosineDecay(
            learning_rate, decay_steps=epochs * len(batches)
        )
    averaged = {"use_ema": True, "ema_momentum": averaging} if averaging else {}
    losses = keras.losses.BinaryCrossentropy, keras.losses.CategoricalCrossentropy
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate, **averaged),
        loss=losses[classes > 2](label_smoothing=label_smoothing),
        metrics=["accuracy"],
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=patience, restore_best_weights=True
    )
    clock = Clock(epochs)
    swapping = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averaging else []
    start = time.perf_counter()
    model.fit(
        batches,
        validation_data=Batches(images[val], targets[val], 128),
        epochs=epochs,
        class_weight=_balanced(codes[train]) if class_weight else None,
        callbacks=[*swapping, stopping, clock, keras.callbacks.TerminateOnNaN()],
        shuffle=False,  # Batches draws its own order
        verbose=0,
    )
    row |= {
        "epochs_run": len(clock.rows),
        "stop_reason": _stop_reason(clock.rows, stopping),
        "train_seconds": round(time.perf_counter() - start, 1),
    }
    return _to_cache(cache, Fit(model, row, pd.DataFrame(clock.rows)))


def fit_estimator(
    estimator,
    features: np.ndarray,
    table: pd.DataFrame,
    *,
    seed: int,
    image_size: int,
    classes: int = 2,
    cache: Path | None = None,
) -> Fit:
    """Fit a scikit-learn classifier on the training rows of `features` (rows, features)."""
    estimator = clone(estimator)  # the caller's stays as it is
    written = estimator.__repr__(N_CHAR_MAX=10**6)  # repr cuts a long one in the middle
    description = {
        "options": {"estimator": written, "seed": seed},
        "data": _data_digest(table, features),
    }
    row = _row(description, seed, classes, image_size, 0, "none")
    if found := _from_cache(cache, row["settings_hash"], None):
        return found
    train = (table.split == "train").to_numpy()
    start = time.perf_counter()
    estimator.fit(np.asarray(features)[train], _targets(table, classes)[train])
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    iterations = int(np.max(getattr(last, "n_iter_", 0)))
    stopped = iterations < getattr(last, "max_iter", 1)
    row |= {
        "parameters": int(
            sum(np.size(getattr(last, name, [])) for name in ("coef_", "intercept_"))
        ),
        "epochs_run": iterations,
        "stop_reason": "converged" if stopped else "all iterations run",
        "train_seconds": round(time.perf_counter() - start, 1),
    }
    return _to_cache(cache, Fit(estimator, row, pd.DataFrame()))


class Batches(keras.utils.PyDataset):
    """Batches of images and targets; shuffled and augmented anew each epoch when seeded."""

    def __init__(self, images, targets, batch_size, augment=None, seed=None):
        super().__init__()
        self.images, self.targets = images, targets
        self.batch_size, self.augment, self.seed = batch_size, augment, seed
        self.epoch = -1
        self.on_epoch_begin()

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def on_epoch_begin(self) -> None:
        self.epoch += 1
        self.order = np.arange(len(self.images))
        if self.seed is not None:
            self.order = np.random.default_rng([self.seed, self.epoch]).permutation(self.order)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        images = self.images[rows]
        if self.augment:
            generator = np.random.default_rng([self.seed, self.epoch, number])
            images = self.augment(images, generator)
        return images, self.targets[rows]


class Clock(keras.callbacks.Callback):
    """The learning curve with seconds, and a live line unless a machine runs the notebook."""

    def __init__(self, epochs: int):
        super().__init__()
        self.rows: list[dict] = []
        self.bar = tqdm(total=epochs, unit="epoch", disable=not _watched())

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self.start, 2)
        self.rows.append({"epoch": epoch + 1, "seconds": seconds, **(logs or {})})
        self.bar.set_postfix(val_loss=f"{(logs or {}).get('val_loss', np.nan):.3f}")
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


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
    return f"{_cpu_field('model name') or platform.machine()} ({os.cpu_count()} cores)"


@remembered
def _cpu_field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":")[1].strip() for line in lines if line.startswith(name)), "")


def _fastest_precision() -> str:
    if not device().endswith("cores)"):
        return "mixed_float16" if keras.backend.backend() == "tensorflow" else "mixed_bfloat16"
    return "mixed_bfloat16" if "amx_bf16" in _cpu_field("flags") else "float32"


def _watched() -> bool:
    """Whether a person sees the output as it comes: a terminal or JupyterLab, not papermill."""
    if "ipykernel" in sys.modules:
        return bool({"JPY_SESSION_NAME", "VSCODE_PID"} & os.environ.keys())
    return sys.stderr.isatty()


def _targets(table: pd.DataFrame, classes: int) -> np.ndarray:
    if classes == 2:
        return (table.label != "normal").to_numpy(dtype=np.int32)
    return pd.Categorical(table.label, LABELS).codes.astype(np.int32)


def _stop_reason(rows: list[dict], stopping) -> str:
    if not np.isfinite(rows[-1]["loss"]):
        return "loss not finite"
    return "early stopping" if stopping.stopped_epoch else "all epochs run"


def _balanced(targets: np.ndarray) -> dict[int, float]:
    counts = np.bincount(targets)
    return {number: len(targets) / (len(counts) * count) for number, count in enumerate(counts)}


def _digest(*parts) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return total.hexdigest()


def _data_digest(table: pd.DataFrame, inputs: np.ndarray) -> str:
    return _digest(list(table.digest), list(table.split), list(table.label), np.asarray(inputs))


@remembered
def _code() -> str:
    """Digest of the code that a fit depends on; the network itself is in the description."""
    sources = [inspect.getsource(module) for module in (decoding, augmentation)]
    return _digest(*sources, Path(__file__).read_text())


def _row(description, seed, classes, image_size, parameters, weights) -> dict:
    facts = {
        "device": device(),
        "backend": keras.backend.backend(),
        "precision": _prepared["precision"],
        "threads": _prepared["threads"],
    }
    versions = [version(name) for name in ("keras", facts["backend"], "scikit-learn")]
    content = description | facts | {"code": _code(), "versions": versions}
    content = json.dumps(content, sort_keys=True, default=str)
    return {
        "seed": seed,
        "classes": classes,
        "weights": weights,
        "image_size": image_size,
        "parameters": parameters,
        **facts,
        "settings_hash": hashlib.sha256(content.encode()).hexdigest()[:16],
    }


def _from_cache(cache: Path | None, settings_hash: str, model: keras.Model | None) -> Fit | None:
    folder = cache and Path(cache) / settings_hash
    if not folder or not (folder / "row.json").exists():
        return None
    if model is None:
        model = joblib.load(folder / "estimator.joblib")
    else:
        model.load_weights(folder / "model.weights.h5")
    history, curve = pd.DataFrame(), folder / "history.csv"
    if curve.exists():
        history = pd.read_csv(curve)
    row = json.loads((folder / "row.json").read_text())
    return Fit(model, row, history, folder)


def _to_cache(cache: Path | None, fit: Fit) -> Fit:
    """Keep a finished fit; row.json comes last and says that the rest is complete."""
    if not cache:
        return fit
    folder = Path(cache) / fit.row["settings_hash"]
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(fit.model, keras.Model):
        write_atomically(folder / "model.weights.h5", fit.model.save_weights)
        write_atomically(folder / "history.csv", lambda path: fit.history.to_csv(path, index=False))
    else:
        write_atomically(folder / "estimator.joblib", lambda path: joblib.dump(fit.model, path))
    text = json.dumps(fit.row, indent=1)
    write_atomically(folder / "row.json", lambda path: path.write_text(text))
    return dataclasses.replace(fit, folder=folder)
