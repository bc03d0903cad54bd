"""Writes and reads a folder of results: fits, predictions, metrics, the selection, the claims.

Such a folder holds `experiments.csv` (one row a fit), `metrics.csv` (long) and
`predictions/<experiment>/<protocol>-s<seed>[-f<fold>].csv`; `provenance/<settings_hash>.json` says
with which libraries, settings and data a fit was made; older fits have none. A run has a folder
of its own, `runs/<parameters>-<dataset>/results`, with the `manifest.csv` of its images; the
published one is `results/`, whose manifest is `data/manifest.csv`. A fit is known by (experiment,
protocol, seed, fold). Predictions are saved without the patients, which the manifest knows.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from filelock import FileLock
from threadpoolctl import threadpool_limits

from helpers import data, evaluation, paths
from helpers.results import checked
from helpers.utils import UserError, cannot_write, sha256, short_digest, write_atomically

if TYPE_CHECKING:  # Keras takes seconds to import, and most readers of results train nothing
    from helpers.selection import Recipe
    from helpers.training import Fit

KEY = ["experiment", "protocol", "seed", "fold"]
EXPERIMENT_COLUMNS = [
    *["experiment", "notebook", "dataset", "protocol", "seed", "fold", "classes", "weights"],
    *["image_size", "parameters", "epochs_run", "stop_reason", "train_seconds", "device"],
    *["backend", "precision", "threads", "settings_hash", "code_version", "digest"],
]
METRIC_COLUMNS = [*KEY, *evaluation.COLUMNS]
NEEDED = {  # columns that a table must have, and those that no two rows share
    "experiments.csv": ([name for name in EXPERIMENT_COLUMNS if name != "digest"], KEY),
    "metrics.csv": (METRIC_COLUMNS, [*KEY, "split", "subset", "threshold_rule", "metric"]),
}
SHORT = 12  # hex digits of a digest in a figure
FINAL = "final"  # the model that is shipped; its thresholds were fixed before test was read
SELECTION = "selection.json"  # in a folder of results: what was chosen before test was read
SELECTIONS = {  # of each final model the file that holds its operating points
    FINAL: SELECTION,
    "final_ensemble": SELECTION,
    "final_v1": "selection_v1.json",  # the first final model: whole pictures
}
FIGURES = "figures.csv"  # in the published results: figures that do not name their sources
CANDIDATES = "candidates.csv"  # in a run's results: what the selection chose from


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
        measured = measure(row, predictions, self._disjoint, self.resamples, points)
        merge(self.results, row, predictions, measured)
        stamp = sha256(self.results / "predictions" / prediction_name(row))
        self.sources.add(stamp[:SHORT])
        if fit.folder:
            target = fit.folder / "predictions.sha256"
            write_atomically(target, lambda path: path.write_text(stamp))
            known = fit.folder / "provenance.json"
            if known.exists():
                kept = self.results / provenance_name(row)
                write_atomically(kept, partial(shutil.copyfile, known))
        return measured

    def metrics(self) -> pd.DataFrame:
        """Metrics of this run, and the published ones of the same data set for what it lacks."""
        tables = [metrics(self.results)]
        if story().dataset == self.dataset:
            published = metrics()
            tables.append(published[~published.experiment.isin(tables[0].experiment)])
        return pd.concat(tables, ignore_index=True)

    def predictions(
        self, experiment: str, protocol: str = "official", seed: int = 0, fold: int | str = ""
    ) -> pd.DataFrame:
        """Prediction table of one fit of this run, else of the published fit."""
        key = {"experiment": experiment, "protocol": protocol, "seed": seed, "fold": fold}
        own = (self.results / "predictions" / prediction_name(key)).exists()
        folder = self.results if own else paths.RESULTS
        table = predictions(**key, folder=folder)
        self.sources.add(sha256(folder / "predictions" / prediction_name(key))[:SHORT])
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
    names = experiments(place[0]).dataset.unique() if there else []
    return Story(*place, dataset=", ".join(names))


def measure(
    row: dict,
    predictions: pd.DataFrame,
    disjoint: set[str],
    resamples: int = 2000,
    thresholds: dict[str, float] | None = None,
) -> pd.DataFrame:
    """The metrics of one fit, with the columns of metrics.csv.

    Args:
        row: gives the fit's key.
        predictions: its prediction table, with the patients.
        disjoint: the official test images whose patient is not in train, which counts only for
            protocols that test on the official test images.
        resamples: of the bootstrap behind the intervals.
        thresholds: further threshold rules, such as those of `operating_points`.

    Raises:
        UserError: the protocol is unknown.
    """
    protocol = data.PROTOCOLS.get(row["protocol"])
    if protocol is None:
        known = ", ".join(data.PROTOCOLS)
        raise UserError(f"unknown protocol {row['protocol']!r}. Known protocols: {known}")
    disjoint = disjoint if protocol.official_test else set()
    measured = evaluation.metrics(predictions, disjoint, resamples=resamples, thresholds=thresholds)
    return measured.assign(**{name: row[name] for name in KEY})[METRIC_COLUMNS]


def remeasure(folder: Path | None = None, resamples: int = 2000) -> pd.DataFrame:
    """Write metrics.csv again from the predictions of every fit in experiments.csv; returns it.

    Args:
        folder: of results; None for the published ones.
        resamples: of the bootstrap behind the intervals.

    Raises:
        UserError: the folder has no results, or a fit has no predictions.
    """
    folder = folder or paths.RESULTS
    disjoint = data.disjoint_files(manifest(folder))

    def again(row: dict) -> pd.DataFrame:
        table = predictions(**{name: row[name] for name in KEY}, folder=folder)
        points = operating_points(row["experiment"], row["protocol"], folder)
        return measure(row, table, disjoint, resamples, points)

    rows = experiments(folder).to_dict("records")
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:  # one thread a fit
        measured = pd.concat(pool.map(again, rows))
    with _alone(folder):
        _write_by_key(folder / "metrics.csv", measured)
    return metrics(folder)


def manifest(folder: Path | None = None) -> pd.DataFrame:
    """The images behind a folder of results: its own manifest.csv, else `data/manifest.csv`.

    Columns as `data.manifest` has them.
    """
    own = (folder or paths.RESULTS) / "manifest.csv"
    path = own if own.exists() else paths.MANIFEST
    texts = {"file": str, "patient": str}
    return checked.table(path, data.MANIFEST_COLUMNS, ["file"], dtype=texts, keep_default_na=False)


def selection(folder: Path | None = None, experiment: str = FINAL) -> dict:
    """What was chosen for a final model before test was read: `selection.json`, or nothing.

    Raises:
        UserError: the file is damaged.
    """
    path = (folder or paths.RESULTS) / SELECTIONS[experiment]
    return checked.facts(path) if path.exists() else {}


def write_selection(folder: Path, **facts) -> dict:
    """Write the choice to `selection.json` in a folder of results; returns it."""
    text = json.dumps(facts, indent=1)
    write_atomically(folder / SELECTION, lambda path: path.write_text(text + "\n"))
    return facts


def operating_points(
    experiment: str, protocol: str = "official", folder: Path | None = None
) -> dict[str, float]:
    """The thresholds of a final model by name, as its selection has them; none for others.

    They belong to the official test images; under other protocols they would have been fixed on the
    images that are tested.

    Raises:
        UserError: it is a final model, and nothing was selected yet, or a threshold is none.
    """
    if experiment not in SELECTIONS or protocol != "official":
        return {}
    path = (folder or paths.RESULTS) / SELECTIONS[experiment]
    known = checked.thresholds(path, experiment)
    if not known:
        raise UserError(
            f"no thresholds for {experiment} in {path}: run the notebook that selects first, "
            "since the choice is written down before test is read"
        )
    return known


def save_candidates(folder: Path, scored: pd.DataFrame, recipe: "Recipe") -> None:
    """Leave the robustness scores of all candidates in a run's results.

    Args:
        folder: of the run's results.
        scored: one row a candidate and seed, with the changes that it makes and its scores.
        recipe: what all start from; backbone, image size and epochs are written down with them.
    """
    facts = {"backbone": recipe.backbone, "side": recipe.side, "epochs": recipe.training.epochs}
    table = scored.assign(**facts)
    write_atomically(folder / CANDIDATES, partial(table.to_csv, index=False))


def candidates(folder: Path, backbone: str) -> pd.DataFrame:
    """What `save_candidates` left.

    Raises:
        UserError: there is nothing, or the candidates were judged on another backbone.
    """
    if not (folder / CANDIDATES).exists():
        raise UserError(f"no {CANDIDATES} in {folder}: run the notebook 12_robustness first")
    needed = ["candidate", "changes", "auc", "framing_auc", "backbone"]
    table = checked.table(folder / CANDIDATES, needed, keep_default_na=False)
    judged = ", ".join(table.backbone.unique())
    if judged != backbone:
        raise UserError(
            f"{folder / CANDIDATES} judges {judged}, not {backbone}: give 12_robustness and "
            "13_final_model the same BACKBONE (under `all` in the parameters file)"
        )
    return table


def claims() -> pd.DataFrame:
    """What earlier projects report, typed into `results/claims.csv`: one row a system.

    Columns system, claim (in words), value (percent, NaN where no figure is given), n (test images
    that it was claimed on), the experiment, protocol and metric that follow it, and why.
    """
    return pd.read_csv(paths.RESULTS / "claims.csv")


def merge(folder: Path, row: dict, predictions: pd.DataFrame, measured: pd.DataFrame) -> None:
    """Put one fit into a folder of results, in place of an earlier one with the same key."""
    with _alone(folder):
        target = folder / "predictions" / prediction_name(row)
        table = predictions.drop(columns="patient", errors="ignore")
        write_atomically(target, partial(table.to_csv, index=False))
        row = row | {"digest": fit_digest(row, folder)}
        _replace(folder / "metrics.csv", measured[METRIC_COLUMNS])
        _replace(folder / "experiments.csv", pd.DataFrame([row])[EXPERIMENT_COLUMNS])


def fit_digest(row: dict, folder: Path | None = None) -> str:
    """What ties a fit together: its facts, its predictions and a final model's selection.

    Written when a fit is saved or published, and by nothing that only measures again: a row, a
    table or a choice that was changed afterwards has another one.

    Args:
        row: of experiments.csv.
        folder: of results; None for the published ones.
    """
    folder = folder or paths.RESULTS
    files = [folder / "predictions" / prediction_name(row)]
    if row["protocol"] == "official" and row["experiment"] in SELECTIONS:
        files.append(folder / SELECTIONS[row["experiment"]])
    facts = (str(row[name]) for name in EXPERIMENT_COLUMNS if name != "digest")
    return short_digest(*facts, *(sha256(path) for path in files))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process writes to the folder of results meanwhile: notebooks may run side by side.

    Raises:
        UserError: the folder cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _replace(path: Path, new: pd.DataFrame) -> None:
    """Write `new` over the rows of the table at `path` that have the same key."""
    new = new.astype({"fold": str})
    if path.exists():
        old = _read(path)
        same = old.set_index(KEY).index.isin(new.set_index(KEY).index)
        new = pd.concat([old[~same], new])
    _write_by_key(path, new)


def _write_by_key(path: Path, table: pd.DataFrame) -> None:
    table = table.astype({"fold": str}).sort_values(KEY, kind="stable")
    write_atomically(path, partial(table.to_csv, index=False))


def _read(path: Path) -> pd.DataFrame:
    texts = ["fold", "threshold_rule", "settings_hash", "code_version", "digest"]
    empty = {name: [""] for name in ("threshold", "value", "low", "high")}
    options = {"dtype": dict.fromkeys(texts, str), "keep_default_na": False, "na_values": empty}
    return checked.table(path, *NEEDED[path.name], **options)


def experiments(folder: Path | None = None) -> pd.DataFrame:
    """One row a fit. Raises UserError when the folder has no results."""
    return _table(folder, "experiments.csv")


def metrics(folder: Path | None = None) -> pd.DataFrame:
    """The long table of metrics. Raises UserError when the folder has no results."""
    return _table(folder, "metrics.csv")


def _table(folder: Path | None, name: str) -> pd.DataFrame:
    path = (folder or paths.RESULTS) / name
    if not path.exists():
        raise UserError(
            f"no {name} in {path.parent}: run the notebooks that train first (`make run`)"
        )
    return _read(path)


def predictions(
    experiment: str,
    protocol: str = "official",
    seed: int = 0,
    fold: int | str = "",
    folder: Path | None = None,
) -> pd.DataFrame:
    """The prediction table of one fit, with the patients as the manifest has them.

    Returns:
        Columns file, patient, split, label, and p_pneumonia or p_normal, p_bacteria, p_virus.

    Raises:
        UserError: it is not there, a probability is none, or the manifest knows its images
            otherwise.
    """
    folder = folder or paths.RESULTS
    row = {"experiment": experiment, "protocol": protocol, "seed": seed, "fold": fold}
    path = folder / "predictions" / prediction_name(row)
    if not path.exists():
        raise UserError(f"no predictions of {experiment} under {protocol} in {folder}")
    table = checked.table(path, ["file", "split", "label"], ["file"], dtype={"file": str})
    known = manifest(folder)
    official = protocol in data.PROTOCOLS and data.PROTOCOLS[protocol].official_test
    checked.check_images(path, table, known, official)
    table.insert(1, "patient", table.file.map(known.set_index("file").patient))
    return evaluation.check(table, path)


def prediction_name(row: dict) -> str:
    """Path of a fit's predictions below `predictions/`."""
    fold = "" if row["fold"] == "" else f"-f{row['fold']}"
    return f"{row['experiment']}/{row['protocol']}-s{row['seed']}{fold}.csv"


def provenance_name(row: dict) -> str:
    """Path of what a fit was made with and from, below a folder of results."""
    return f"provenance/{row['settings_hash']}.json"


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
