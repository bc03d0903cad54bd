"""Writes and reads a folder of results: fits, predictions, metrics, the claims.

Such a folder holds `experiments.csv` (one row a fit), `metrics.csv` (long) and
`predictions/<experiment>/<protocol>-s<seed>[-f<fold>].csv`; `provenance/<settings_hash>.json` says
with which libraries, settings and data a fit was made; older fits have none. A run has a folder
of its own, `runs/<parameters>-<dataset>/results`, with the `manifest.csv` of its images; the
published one is `results/`, whose manifest is `data/manifest.csv`. A fit is known by (experiment,
protocol, seed, fold). Predictions are saved without the patients, which the manifest knows.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from helpers import data, evaluation, paths
from helpers.results import checked
from helpers.results.choice import SELECTIONS, operating_points
from helpers.utils import UserError, alone, sha256, short_digest, write_atomically

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
FIGURES = "figures.csv"  # in the published results: figures that do not name their sources


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

    measured = pd.concat(map(again, experiments(folder).to_dict("records")))
    with alone(folder):
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


def claims() -> pd.DataFrame:
    """What earlier projects report, typed into `results/claims.csv`: one row a system.

    Columns system, claim (in words), value (percent, NaN where no figure is given), n (test images
    that it was claimed on), the experiment, protocol and metric that follow it, and why.
    """
    return pd.read_csv(paths.RESULTS / "claims.csv")


def merge(folder: Path, row: dict, predictions: pd.DataFrame, measured: pd.DataFrame) -> None:
    """Put one fit into a folder of results, in place of an earlier one with the same key."""
    with alone(folder):
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
