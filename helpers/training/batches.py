"""The batches that a network is trained on: shuffled, changed, made before they are asked for."""

import math
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from helpers.models import keras
from helpers.training.config import TrainingConfig

AHEAD = 4  # batches that are made while the network learns from an earlier one
WORKERS = 2  # threads that make them


class Batches(keras.utils.PyDataset):
    """Batches of inputs and targets; for training shuffled and changed anew each epoch.

    Each batch follows from the seed, the epoch and its number alone, so it does not matter which
    thread makes it, or when.

    Args:
        inputs: images or features, one a row; a memory map stays on disk.
        targets: row by row with them.
        config: how they are changed in training; None for validation, where nothing is.
        seed: of the order and the changes.
        rows: numbers of those in use; None for all.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        config: TrainingConfig | None = None,
        seed: int = 0,
        rows: np.ndarray | None = None,
    ):
        super().__init__()
        self.inputs, self.targets, self.config, self.seed = inputs, targets, config, seed
        self.rows = np.arange(len(inputs)) if rows is None else rows
        self.batch_size = config.batch_size if config else 128
        self.pool = ThreadPoolExecutor(WORKERS)
        self.epoch = -1
        self.on_epoch_begin()

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def on_epoch_begin(self) -> None:
        self.epoch += 1
        self.coming: dict[int, Future] = {}
        self.order = self.rows
        if self.config:
            self.order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        for following in range(number, min(number + 1 + AHEAD, len(self))):
            if following not in self.coming:
                rows = self.order[following * self.batch_size : (following + 1) * self.batch_size]
                self.coming[following] = self.pool.submit(self._make, rows, self.epoch, following)
        return self.coming.pop(number).result()

    def _make(self, rows: np.ndarray, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = self.inputs[rows], self.targets[rows]
        if not self.config:
            return inputs, targets
        generator = np.random.default_rng([self.seed, epoch, number])
        if self.config.augmentation:
            inputs = self.config.augmentation(inputs, generator)
        if self.config.mixup:
            return _mixed(inputs, targets, self.config.mixup, generator)
        return inputs, targets


def _mixed(
    inputs: np.ndarray, targets: np.ndarray, strength: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch blended with itself in another order, its targets likewise; float32."""
    share, order = generator.beta(strength, strength), generator.permutation(len(inputs))
    return tuple(
        (share * part + (1 - share) * part[order]).astype(np.float32)
        for part in (inputs.astype(np.float32), targets)
    )
