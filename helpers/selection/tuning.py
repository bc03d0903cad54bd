"""Search for the hyperparameters of a CNN with KerasTuner: alone, or with a chief and workers.

A search is kept in `<run folder>/tuning/`, trial by trial, and goes on where it was stopped. Its
networks are trained by `training.fit`, so that a trial is quiet, stops early and is cached.

`python -m helpers.selection.tuning OPTIONS` runs the search of a notebook (see `command`) as one
process of a distributed one. KerasTuner reads from the environment which one: `KERASTUNER_TUNER_ID`
(chief, or any other name for a worker), `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT` (where
the chief listens). Without these three it searches alone. The chief hands out the hyperparameters
and keeps the results; it needs the code and the radiographs too, but trains nothing.
"""

import argparse
import dataclasses
import io
import math
import os
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from helpers import data, evaluation, models, paths, training
from helpers.data import Augmentation
from helpers.parameters import check_values
from helpers.training import cache
from helpers.training.config import TrainingConfig
from helpers.training.fit import VERSION as TRAINING_VERSION
from helpers.utils import UserError, command_line, native_messages_hidden, short_digest

with native_messages_hidden():
    import keras_tuner

VERSION = 1  # part of a search's folder: raise it when the same settings give another search
PROGRAM = "helpers.selection.tuning"
HYPERPARAMETERS = ("depth", "width", "dropout", "learning_rate", "augmentation")
VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


@dataclass(frozen=True)
class SearchSettings:
    """What a search does; searches with equal settings, data and code share their trials.

    Attributes:
        seed: of the splits, the networks and the search itself.
        trials: sets of hyperparameters that are tried.
        random_trials: the first of them, drawn at random; then Bayesian optimisation chooses.
        image_size: side in pixels.
        batch_size: images in a step.
        epochs: most passes over the training images in a trial.
        patience: epochs without a better validation loss before a trial stops.
        threads: processor threads of this process, 0 for all.
        precision: arithmetic of the nets (see `training.set_up`).
    """

    seed: int = 0
    trials: int = 12
    random_trials: int = 5
    image_size: int = 64
    batch_size: int = 32
    epochs: int = 5
    patience: int = 2
    threads: int = 2
    precision: str = "float32"

    @property
    def trial_config(self) -> TrainingConfig:
        """How a trial is trained, before its own hyperparameters."""
        return TrainingConfig(self.epochs, self.patience, self.batch_size)


class Cnn(keras_tuner.HyperModel):
    """The networks of the search: `models.cnn` with batch norm, trained by `training.fit`.

    Args:
        settings: what all trials share.
        images, table: as `training.fit` takes them.
        cache_dir: folder of finished fits.
    """

    def __init__(
        self, settings: SearchSettings, images: np.ndarray, table: pd.DataFrame, cache_dir: Path
    ):
        super().__init__()
        self.settings, self.images, self.table = settings, images, table
        self.cache_dir = cache_dir

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """The space; the defaults are an untuned choice."""
        deepest = min(5, int(math.log2(self.settings.image_size)))  # each block halves the side
        hp.Int("depth", 2, deepest, default=4)
        hp.Choice("width", [8, 16, 24], default=16)
        hp.Float("dropout", 0.0, 0.5, step=0.1, default=0.3)
        hp.Float("learning_rate", 3e-4, 1e-2, sampling="log", default=1e-3)
        hp.Float("augmentation", 0.0, 1.5, step=0.25, default=1.0)

    def defaults(self) -> keras_tuner.HyperParameters:
        """The hyperparameters of the untuned network."""
        hp = keras_tuner.HyperParameters()
        self.declare_hyperparameters(hp)
        return hp

    def build(self, hp: keras_tuner.HyperParameters) -> models.keras.Model:
        """`depth` blocks, the first with `width` filters, each next one with twice as many."""
        filters = [hp.get("width") * 2**block for block in range(hp.get("depth"))]
        side, dropout = self.settings.image_size, hp.get("dropout")
        return models.cnn(side, filters, batch_norm=True, dropout=dropout)

    def train(self, hp: keras_tuner.HyperParameters, **changes) -> training.Fit:
        """One fit with these hyperparameters; read from the cache if it was done before.

        `changes`: of the trials' `TrainingConfig`, such as more epochs.
        """
        config = dataclasses.replace(
            self.settings.trial_config,
            learning_rate=hp.get("learning_rate"),
            augmentation=augmentation_of(hp.get("augmentation")),
        )
        return training.fit(
            lambda: self.build(hp),
            self.images,
            self.table,
            dataclasses.replace(config, **changes),
            seed=self.settings.seed,
            cache_dir=self.cache_dir,
        )

    def measure(self, hp: keras_tuner.HyperParameters) -> dict[str, float]:
        """A trial: val_loss and val_auc, the validation loss and AUC of its best epoch.

        Raises:
            FailedTrialError: the loss is not finite; the search leaves such a trial out.
            FatalError: anything else went wrong, which stops the search.
        """
        try:
            fit = self.train(hp)
            if fit.record["stop_reason"] == "loss not finite":
                raise keras_tuner.errors.FailedTrialError("the loss is not finite")
            predictions = evaluation.predict(fit, self.images, self.table, rows=("val",))
            measured = evaluation.metrics(predictions, resamples=50).set_index("metric")
        except keras_tuner.errors.FailedTrialError:
            raise
        except Exception as error:  # KerasTuner would call the trial failed and take the next
            raise keras_tuner.errors.FatalError(f"a trial failed: {error}") from error
        score = {"val_loss": fit.history.val_loss.min(), "val_auc": measured.value["auc"]}
        values = ", ".join(f"{name} {hp.get(name):.3g}" for name in HYPERPARAMETERS)
        print(f"{values}: validation loss {score['val_loss']:.4f}", flush=True)
        return score


def augmentation_of(strength: float) -> Augmentation | None:
    """Random changes of training images: 0 for none, 1 for a usual amount."""
    if not strength:
        return None
    return Augmentation(
        rotation=8 * strength,
        shift=0.05 * strength,
        zoom=(1.0, 1 + 0.6 * strength),
        brightness=0.1 * strength,
        contrast=0.2 * strength,
    )


class Oracle(keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimisation that goes on after an interruption as if there had been none.

    KerasTuner's own keeps the finished trials, but not the state of its random numbers.
    """

    def populate_space(self, trial_id: str) -> dict:
        """The hyperparameters of a trial, from the finished ones and the seed alone."""
        self._random_state = np.random.RandomState(self.seed + int(trial_id))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of the Gaussian process
            return super().populate_space(trial_id)

    def reload(self) -> None:
        """Read the trials; one that was under way is run again, unless it has been finished.

        KerasTuner saves a trial as finished before it takes it from those under way.
        """
        super().reload()
        trials = self.trials
        self._retry_queue = [key for key in self._retry_queue if trials[key].status == "RUNNING"]


class Search(keras_tuner.Tuner):
    """KerasTuner's loop over trials; each builds its own network, after setting the seed."""

    def run_trial(self, trial, **_) -> dict[str, float]:
        """What the loop calls: the measures of a trial."""
        return self.hypermodel.measure(trial.hyperparameters)


def tuner(net: Cnn, folder: Path) -> Search:
    """The search for the lowest validation loss, with the trials that are in `folder` already.

    Call `.search()` of it. In a distributed search it is the chief or a worker.

    Raises:
        UserError: the trials in `folder` cannot be read.
    """
    settings = net.settings
    oracle = Oracle(
        objective=keras_tuner.Objective("val_loss", "min"),
        max_trials=settings.trials,
        num_initial_points=settings.random_trials,
        seed=settings.seed + 1,  # KerasTuner takes 0 for no seed
    )
    place = Path(folder) / "tuning" / _key(net)
    try:
        with redirect_stdout(io.StringIO()):  # that it reloads
            made = Search(oracle, net, directory=place.parent, project_name=place.name)
            if (place / "oracle.json").exists():  # also when a chief with another name wrote it
                oracle.reload()
    except (ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"cannot read the search in {place} ({error}). Delete that folder: finished fits are "
            "cached elsewhere"
        ) from error
    oracle.verbose = 0
    return made


def trials(made: Search) -> pd.DataFrame:
    """The finished trials in their order: trial, the hyperparameters, val_loss and val_auc."""
    rows = [
        {
            "trial": int(trial.trial_id),
            **{name: trial.hyperparameters.get(name) for name in HYPERPARAMETERS},
            "val_loss": trial.score,
            "val_auc": trial.metrics.get_best_value("val_auc"),
        }
        for trial in made.oracle.trials.values()
        if trial.status == "COMPLETED"
    ]
    columns = ["trial", *HYPERPARAMETERS, "val_loss", "val_auc"]
    return pd.DataFrame(rows, columns=columns).sort_values("trial", ignore_index=True)


def command(settings: SearchSettings, folder: Path) -> str:
    """The command line of this search: `python -m helpers.selection.tuning` and its options."""
    folder = Path(folder)
    inside = folder.is_relative_to(paths.PROJECT)
    place = folder.relative_to(paths.PROJECT) if inside else folder
    options = {"folder": place} | dataclasses.asdict(settings)
    written = (f"--{name.replace('_', '-')} {value}" for name, value in options.items())
    return " ".join([f"python -m {PROGRAM}", *written])


def _key(net: Cnn) -> str:
    """Name of the search's folder: a digest of settings, data and versions of the code."""
    versions = [VERSION, TRAINING_VERSION, *(module.VERSION for module in cache.MODULES)]
    return short_digest(net.settings, list(net.table.digest), list(net.table.split), versions)


def main(arguments: list[str] | None = None) -> None:
    """Run a search, or take part in one, from the command line."""
    parser = argparse.ArgumentParser(f"python -m {PROGRAM}", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the run, in the project")
    for field in dataclasses.fields(SearchSettings):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=field.type, default=field.default)
    given = vars(parser.parse_args(arguments))
    folder = paths.PROJECT / given.pop("folder")
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if 0 < len(missing) < len(VARIABLES):
        raise UserError(f"a distributed search needs {', '.join(missing)} in the environment too")
    check_values({name.upper(): value for name, value in given.items()})
    settings = SearchSettings(**given)
    training.set_up(settings.seed, settings.threads, settings.precision)
    table = data.split(data.index(), "official", settings.seed)
    images = data.load(table, settings.image_size)
    made = tuner(Cnn(settings, images, table, folder / "fits"), folder)
    print(f"{os.environ.get(VARIABLES[0], 'alone')}: ready", flush=True)
    made.search()
    if isinstance(made.oracle, Oracle):  # a worker has a client in its place
        best = trials(made).nsmallest(1, "val_loss")
        print(f"{len(made.oracle.trials)} trials, the best:\n{best.to_string(index=False)}")


if __name__ == "__main__":
    sys.exit(command_line(main)())
