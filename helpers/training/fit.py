"""Train a network or a scikit-learn estimator once, and remember how it went."""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from tqdm import tqdm

from helpers.data import LABELS
from helpers.models import Base, keras
from helpers.training import backend, cache
from helpers.training.batches import Batches
from helpers.training.config import TrainingConfig
from helpers.utils import UserError

PART = 4096  # images that are predicted at a time, a multiple of the batch: Keras copies its inputs
VERSION = 1  # part of the key of a fit: raise it when the same settings give another fit


@dataclass(frozen=True)
class Fit:
    """A trained model and what is known of its training.

    Attributes:
        model: the Keras model or scikit-learn estimator.
        record: the facts of results/experiments.csv that belong to the training.
        history: one row an epoch: epoch, seconds, loss, val_loss and the like; empty for
            estimators.
        folder: where it is cached.
    """

    model: object
    record: dict
    history: pd.DataFrame
    folder: Path | None = field(default=None, repr=False)

    @property
    def provenance(self) -> Path | None:
        """What it was made with and from, as JSON; None where there is no such file."""
        path = self.folder and self.folder / cache.PROVENANCE
        return path if path and path.exists() else None

    @property
    def kept_epoch(self) -> int:
        """Number, from 1, of the epoch whose weights were kept: the first of least validation loss.

        Raises:
            UserError: an estimator has no epochs.
        """
        if self.history.empty:
            raise UserError("no learning curve: only a network that was trained by epochs has one")
        return 1 + int(self.history.val_loss.fillna(np.inf).argmin())  # NaN: training diverged

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities for raw images (n, side, side, 1), or for an estimator's features.

        Returns:
            Shape (n,) with the probability of pneumonia, or (n, 3) for normal, bacteria, virus.
        """
        if isinstance(self.model, keras.Model):
            parts = [inputs[start : start + PART] for start in range(0, len(inputs), PART)]
            probabilities = np.concatenate(
                [self.model.predict(np.asarray(part), batch_size=64, verbose=0) for part in parts]
            )
            return probabilities[:, 0] if probabilities.shape[1] == 1 else probabilities
        probabilities = self.model.predict_proba(inputs)
        return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


def fit(
    build: Callable[[], keras.Model],
    inputs: np.ndarray,
    table: pd.DataFrame,
    config: TrainingConfig,
    *,
    seed: int,
    weights: str = "none",
    base: Base | None = None,
    soft_labels: np.ndarray | None = None,
    cache_dir: Path | None = None,
) -> Fit:
    """Train with Adam, stop early on the validation loss, keep the weights of the best epoch.

    Two classes use binary, three use categorical cross-entropy. A fit with the same settings,
    data and `VERSION` of the code is read from the cache instead.

    Args:
        build: makes the uncompiled model; called after the seed is set, so that a fit does not
            depend on what was built before it.
        inputs: raw images, uint8, (rows, side, side, 1), or features, (rows, features), row by row
            with `table`.
        table: an index with a split column (see `data.split`).
        config: how to train.
        seed: initial weights, order of the images, dropout and augmentation follow from it.
        weights: what the initial weights come from (a column of the results), e.g. imagenet.
        base: what made the features, if `inputs` are such: its facts go into the record.
        soft_labels: probabilities (rows, 3) that training images are to get instead of their
            labels, such as another model's (distillation: Hinton et al. 2015); validation keeps
            the labels.
        cache_dir: folder of finished fits.

    Raises:
        UserError: three classes are asked of images whose pathogen is not known, or soft labels
            are not those of three classes.
    """
    backend.start_fit(seed)
    model = build()
    classes = max(model.output_shape[-1], 2)
    description = {
        "config": cache.chosen(config),
        "seed": seed,
        "weights": weights,
        "base": base,
        "model": json.loads(model.to_json()),
        "initial_weights": cache.digest(*model.get_weights()),
        "trainable": [weight.path for weight in model.trainable_weights],
        "data": cache.data_digest(table, inputs),
    }
    if soft_labels is not None:
        if classes == 2 or soft_labels.shape != (len(table), classes):
            raise UserError(
                f"soft labels of shape {soft_labels.shape} for {len(table)} images and {classes} "
                "classes: give three probabilities an image to a network of three classes"
            )
        description["soft_labels"] = cache.digest(soft_labels)
    source = base or Base(weights, inputs.shape[1], 0)
    record = _record(description, seed, classes, source, model.count_params())
    if found := _cached(cache_dir, record, model, description):
        return found

    codes = _targets(table, classes)
    targets = codes if classes == 2 else np.eye(classes, dtype=np.float32)[codes]
    train, val = (np.flatnonzero(table.split == name) for name in ("train", "val"))
    learnt = targets if soft_labels is None else soft_labels.astype(np.float32)
    batches = Batches(inputs, learnt, config, seed, train)
    _compile(model, classes, config, steps=len(batches))
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=config.patience, restore_best_weights=True
    )
    log = EpochLog(config.epochs)
    swapping = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema_momentum else []
    start = time.perf_counter()
    model.fit(
        batches,
        validation_data=Batches(inputs, targets, rows=val),
        epochs=config.epochs,
        class_weight=_balanced(codes[train]) if config.class_weights else None,
        callbacks=[*swapping, stopping, log, keras.callbacks.TerminateOnNaN()],
        shuffle=False,  # Batches draws its own order
        verbose=0,
    )
    record |= {
        "epochs_run": len(log.rows),
        "stop_reason": _stop_reason(log.rows, stopping),
        "train_seconds": round(time.perf_counter() - start, 1),
    }
    return _kept(cache_dir, Fit(model, record, pd.DataFrame(log.rows)), description)


def _compile(model: keras.Model, classes: int, config: TrainingConfig, steps: int) -> None:
    """Compile for training; `steps` are those of an epoch."""
    rate = config.learning_rate
    if config.cosine_decay:
        warm = {"warmup_target": rate, "warmup_steps": config.warm_up * steps}
        rate = backend.CosineDecay(
            0.0 if config.warm_up else rate,
            decay_steps=(config.epochs - config.warm_up) * steps,
            **(warm if config.warm_up else {}),
        )
    ema = {"use_ema": True, "ema_momentum": config.ema_momentum} if config.ema_momentum else {}
    optimizer = keras.optimizers.Adam(rate, **ema)
    if config.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **ema)
    losses = keras.losses.BinaryCrossentropy, keras.losses.CategoricalCrossentropy
    accuracies = keras.metrics.BinaryAccuracy, keras.metrics.CategoricalAccuracy
    model.compile(
        optimizer=optimizer,
        loss=losses[classes > 2](label_smoothing=config.label_smoothing),
        metrics=[accuracies[classes > 2]("accuracy")],
        jit_compile=backend.jit_compile(),
    )
    # TensorFlow traces a step twice that makes variables: a metric given as a word would, and this
    model.optimizer.build(model.trainable_variables)


def fit_estimator(
    estimator,
    features: np.ndarray,
    table: pd.DataFrame,
    *,
    seed: int,
    classes: int = 2,
    image_size: int = 0,
    base: Base | None = None,
    cache_dir: Path | None = None,
) -> Fit:
    """Fit a scikit-learn classifier on the training rows of `features` (rows, features).

    Args:
        estimator: stays as it is; a clone is fitted.
        features: row by row with `table`.
        table: an index with a split column.
        seed: for the record; the estimator has its own `random_state`.
        classes: 2 or 3.
        image_size: side of the images that the features were made from, pixels.
        base: the network that made the features, if one did; gives image_size, too.
        cache_dir: folder of finished fits.
    """
    estimator = clone(estimator)
    written = estimator.__repr__(N_CHAR_MAX=10**6)  # repr cuts a long one in the middle
    description = {
        "estimator": written,
        "seed": seed,
        "classes": classes,
        "base": base,
        "data": cache.data_digest(table, features),
    }
    source = base or Base("none", image_size, 0)
    record = _record(description, seed, classes, source, 0)
    if found := _cached(cache_dir, record, None, description):
        return found
    train = (table.split == "train").to_numpy()
    start = time.perf_counter()
    estimator.fit(np.asarray(features)[train], _targets(table, classes)[train])
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    iterations = int(np.max(getattr(last, "n_iter_", 0)))
    stopped = iterations < getattr(last, "max_iter", 1)
    own = sum(np.size(getattr(last, name, [])) for name in ("coef_", "intercept_"))
    record |= {
        "parameters": int(own) + source.parameters,
        "epochs_run": iterations,
        "stop_reason": "converged" if stopped else "all iterations run",
        "train_seconds": round(time.perf_counter() - start, 1),
    }
    return _kept(cache_dir, Fit(estimator, record, pd.DataFrame()), description)


class EpochLog(keras.callbacks.Callback):
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
        self.bar.total = self.bar.n  # early stopping leaves no epochs open
        self.bar.close()


def _watched() -> bool:
    """Whether a person sees the output as it comes: a terminal or JupyterLab, not papermill."""
    if os.environ.get("TQDM_DISABLE"):  # tqdm heeds it only where nothing else is said
        return False
    if "ipykernel" in sys.modules:
        return bool({"JPY_SESSION_NAME", "VSCODE_PID"} & os.environ.keys())
    return sys.stderr.isatty()


def _targets(table: pd.DataFrame, classes: int) -> np.ndarray:
    if classes == 2:
        return (table.label != "normal").to_numpy(dtype=np.int32)
    codes = pd.Index(LABELS).get_indexer(table.label).astype(np.int32)
    if (codes < 0).any():
        raise UserError(
            f"three classes need a label out of {', '.join(LABELS)} for every image; "
            f"{(codes < 0).sum()} of {len(table)} have another one. Train two classes instead"
        )
    return codes


def _stop_reason(rows: list[dict], stopping) -> str:
    if not np.isfinite(rows[-1]["loss"]):
        return "loss not finite"
    return "early stopping" if stopping.stopped_epoch else "all epochs run"


def _balanced(targets: np.ndarray) -> dict[int, float]:
    counts = np.bincount(targets)
    return {number: len(targets) / (len(counts) * count) for number, count in enumerate(counts)}


def _record(description: dict, seed: int, classes: int, base: Base, parameters: int) -> dict:
    return {
        "seed": seed,
        "classes": classes,
        "weights": base.weights,
        "image_size": base.image_size,
        "parameters": parameters + base.parameters,
        **backend.facts(),
        "settings_hash": cache.settings_hash(description, VERSION),
    }


def _cached(
    cache_dir: Path | None, record: dict, model: keras.Model | None, description: dict
) -> Fit | None:
    """The finished fit with the record's settings hash, if there is one."""
    if cache_dir is None:
        return None
    folder = Path(cache_dir) / record["settings_hash"]
    found = cache.read(folder, model)
    if found and not (folder / cache.PROVENANCE).exists():  # made by an earlier version
        cache.write_provenance(folder, description, made_here=False)
    return Fit(*found, folder) if found else None


def _kept(cache_dir: Path | None, fit: Fit, description: dict) -> Fit:
    """The fit, after it was written to the cache."""
    if cache_dir is None:
        return fit
    folder = Path(cache_dir) / fit.record["settings_hash"]
    cache.write_provenance(folder, description)
    cache.write(folder, fit.model, fit.record, fit.history)
    return dataclasses.replace(fit, folder=folder)
