"""A notebook's run: where its fits, tables and figures go, and which results a story reads."""

import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from helpers import data, evaluation, paths
from helpers.results import store
from helpers.results.choice import operating_points
from helpers.utils import sha256, write_atomically

if TYPE_CHECKING:  # Keras takes seconds to import, and most readers of results train nothing
    from helpers.training import Fit

SHORT = 12  # hex digits of a digest in a figure


class Evaluated(NamedTuple):
    """A fit with its prediction table and its metrics (columns of metrics.csv)."""

    fit: "Fit"
    predictions: pd.DataFrame
    metrics: pd.DataFrame


class Run:
    """One run's folder: where a notebook's fits, tables and figures go.

    Its results get the manifest of the index at once, in place of another index's.

    Attributes:
        notebook: name of the notebook that writes.
        dataset: read from the images themselves (`data.dataset`).
        folder: `runs/<parameters>-<dataset>`.
        results, figures, fits: the folders below it; `fits` is the cache of finished fits.
        sources: digests of the prediction tables that were written or read through it so far.
    """

    def __init__(self, notebook: str, parameters: str, table: pd.DataFrame, resamples: int = 2000):
        self.notebook, self.resamples = notebook, resamples
        self.dataset = data.dataset(table)
        self.folder = paths.RUNS / f"{parameters}-{self.dataset}"
        self.results, self.figures = self.folder / "results", self.folder / "figures"
        self.fits, self.sources = self.folder / "fits", set()
        self._disjoint = data.disjoint_files(table)
        text, target = data.manifest(table).to_csv(index=False), self.results / "manifest.csv"
        if not target.exists() or target.read_text() != text:
            write_atomically(target, lambda path: path.write_text(text))

    def evaluate(
        self,
        fit: "Fit",
        inputs: np.ndarray,
        table: pd.DataFrame,
        experiment: str,
        protocol: str,
        fold: int | None = None,
        rows: Collection[str] = ("val", "test"),
    ) -> Evaluated:
        """Predict the validation and test images and save the fit with it; see `save`.

        Args:
            fit: from `training`.
            inputs: images or features, row by row with `table`.
            table: the index with the split of the protocol.
            experiment: name of the experiment.
            protocol: name of the protocol in `data.PROTOCOLS`.
            fold: of a cross-validation.
            rows: the splits that are predicted.
        """
        predicted = evaluation.predict(fit, inputs, table, rows)
        return Evaluated(fit, predicted, self.save(fit, predicted, experiment, protocol, fold))

    def save(
        self,
        fit: "Fit",
        predictions: pd.DataFrame,
        experiment: str,
        protocol: str,
        fold: int | None = None,
    ) -> pd.DataFrame:
        """Write the fit's row, predictions and metrics into the run's results.

        Returns:
            The metrics of this fit (columns of metrics.csv).

        Raises:
            UserError: the protocol is unknown, or the final model is saved before
                `selection.json` says how it was chosen.
        """
        row = {
            "experiment": experiment,
            "notebook": self.notebook,
            "dataset": self.dataset,
            "protocol": protocol,
            "fold": "" if fold is None else fold,
            "code_version": code_version(),
            **fit.record,
        }
        points = operating_points(experiment, protocol, self.results)
        measured = store.measure(row, predictions, self._disjoint, self.resamples, points)
        store.merge(self.results, row, predictions, measured)
        stamp = sha256(self.results / "predictions" / store.prediction_name(row))
        self.sources.add(stamp[:SHORT])
        if fit.folder:
            target = fit.folder / "predictions.sha256"
            write_atomically(target, lambda path: path.write_text(stamp))
        if fit.provenance:
            kept = self.results / store.provenance_name(row)
            write_atomically(kept, partial(shutil.copyfile, fit.provenance))
        return measured

    def metrics(self) -> pd.DataFrame:
        """Metrics of this run, and the published ones of the same data set for what it lacks."""
        tables = [store.metrics(self.results)]
        if story().dataset == self.dataset:
            published = store.metrics()
            tables.append(published[~published.experiment.isin(tables[0].experiment)])
        return pd.concat(tables, ignore_index=True)

    def predictions(
        self, experiment: str, protocol: str = "official", seed: int = 0, fold: int | str = ""
    ) -> pd.DataFrame:
        """Prediction table of one fit of this run, else of the published fit."""
        key = {"experiment": experiment, "protocol": protocol, "seed": seed, "fold": fold}
        own = (self.results / "predictions" / store.prediction_name(key)).exists()
        folder = self.results if own else paths.RESULTS
        table = store.predictions(**key, folder=folder)
        self.sources.add(sha256(folder / "predictions" / store.prediction_name(key))[:SHORT])
        return table


@dataclass(frozen=True)
class Story:
    """Where the final notebook reads tables and figures: a run's, or the published ones."""

    results: Path
    figures: Path
    dataset: str

    @property
    def sources(self) -> set[str]:
        """Digest of the metrics, which such figures are drawn from."""
        path = self.results / "metrics.csv"
        return {sha256(path)[:SHORT]} if path.exists() else set()


def story(run: str = "") -> Story:
    """The results of a run (its folder), or the published ones; without any, dataset is empty."""
    folder = paths.PROJECT / run
    place = (folder / "results", folder / "figures") if run else (paths.RESULTS, paths.IMAGES)
    there = (place[0] / "experiments.csv").exists()
    names = store.experiments(place[0]).dataset.unique() if there else []
    return Story(*place, dataset=", ".join(names))


@cache
def code_version() -> str:
    """Short commit of the code, with `+` when files differ from it; `unknown` without git."""
    try:
        git = partial(subprocess.run, cwd=paths.PROJECT, capture_output=True, text=True, check=True)
        commit = git(["git", "rev-parse", "--short=10", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "helpers", "notebooks"]).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")
