"""What must hold between published files: each check takes a folder of results and names what does
not. Tests give them the published folder, where nothing may be named, and edited copies."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import yaml

from helpers import data, evaluation, models, paths, plotting, results, selection
from helpers.utils import sha256, short_digest

OLDER = ("final_v1",)  # published by an earlier version of its notebook
BASELINES = {"most_frequent": 0, "pixel_logistic": 32 * 32 + 1, "texture_logistic": 6 + 1}


def fits(folder: Path) -> list[str]:
    """Fits whose facts, predictions or selection are not those that were saved together."""
    rows = results.experiments(folder).to_dict("records")
    return [
        results.prediction_name(row)
        for row in rows
        if row["digest"] != results.fit_digest(row, folder)
    ]


def borrowed(folder: Path) -> list[str]:
    """Fits of different settings that say exactly the same of the images."""
    rows = results.experiments(folder)
    names = [results.prediction_name(row) for row in rows.to_dict("records")]
    content = pd.Series([sha256(folder / "predictions" / name) for name in names])
    settings = rows.settings_hash.groupby(content.values).nunique()
    return [name for name, digest in zip(names, content, strict=True) if settings[digest] > 1]


def rows_of_images(folder: Path) -> list[str]:
    """Prediction tables with an image twice, a wrong label, or other test images."""
    images = results.manifest(folder).set_index("file")
    official = set(images.index[images.official_split == "test"])
    wrong = []
    for row in results.experiments(folder).to_dict("records"):
        table = results.predictions(**{name: row[name] for name in results.KEY}, folder=folder)
        asked = data.PROTOCOLS[row["protocol"]].official_test
        tested = set(table.file[table.split == "test"])
        fine = (
            table.file.is_unique
            and (table.label == table.file.map(images.label)).all()
            and (tested == official if asked else True)
            and ("p_normal" in table) == (row["classes"] == 3)
        )
        if not fine:
            wrong.append(results.prediction_name(row))
    return wrong


def held_out(folder: Path) -> list[str]:
    """Protocols by patient of which a table tests what another fold tests, or shares a patient."""
    rows = results.experiments(folder)
    wrong = []
    for name, protocol in rows[["experiment", "protocol"]].drop_duplicates().values:
        if not data.PROTOCOLS[protocol].folds:
            continue
        own = rows[(rows.experiment == name) & (rows.protocol == protocol)]
        tables = [
            results.predictions(name, protocol, x.seed, x.fold, folder) for x in own.itertuples()
        ]
        tested = pd.concat([table[table.split == "test"] for table in tables])
        shared = [
            set(table.patient[table.split == "test"]) & set(table.patient[table.split == "val"])
            for table in tables
        ]
        if not tested.file.is_unique or any(shared):
            wrong.append(f"{name} {protocol}")
    return wrong


# The choice of the final model


def out_of_fold(folder: Path, experiment: str) -> list[pd.DataFrame]:
    """The held-out predictions of each fold."""
    rows = results.experiments(folder)
    rows = rows[(rows.experiment == experiment) & (rows.protocol == "out_of_fold")]
    tables = [
        results.predictions(experiment, "out_of_fold", x.seed, x.fold, folder)
        for x in rows.itertuples()
    ]
    return [table[table.split == "test"] for table in tables]


def choice(folder: Path) -> list[str]:
    """What in selection.json does not follow from the published out-of-fold predictions."""
    chosen, wrong = results.selection(folder), []
    measured = results.metrics(folder)
    scores = pd.DataFrame(chosen["candidates"]).T.rename_axis("candidate").reset_index()
    area = results.binary_rows(measured[measured.protocol == "out_of_fold"])
    area = area[area.metric == "auc"].groupby("experiment").value.mean()
    if not np.allclose(area["candidate_" + scores.candidate], scores.auc, rtol=0, atol=1e-9):
        wrong.append("candidates: auc")
    if (scores.worst_case_auc > scores[["framing_auc", "corrupted_auc"]].min(axis=1)).any():
        wrong.append("candidates: the worst is not the worst")
    known = {name: name for name in scores.candidate} | {"light": ""}
    if "combined" in known:
        known["combined"] = " ".join(chosen["changes"])
    best, changes = selection.best(scores.assign(changes=scores.candidate.map(known)))
    if (best, changes) != (chosen["candidate"], chosen["changes"]):
        wrong.append(f"candidate: the rule takes {best}")
    return wrong + _calibrated(folder, chosen) + _settings(folder, chosen)


def _calibrated(folder: Path, chosen: dict) -> list[str]:
    """Calibration, prevalence and thresholds of a selection."""
    wrong, table, fitted = [], pd.concat(out_of_fold(folder, "final_member")), None
    if chosen["calibration"]:
        fitted = models.fit_calibration(table[evaluation.CLASSES].to_numpy(), table.label)
        table[evaluation.CLASSES] = fitted(table[evaluation.CLASSES].to_numpy())
    if not _close(chosen["calibration"], vars(fitted) if fitted else None):
        wrong.append("calibration")
    if not np.isclose(chosen["prevalence"], evaluation.prevalence(table), rtol=0, atol=1e-9):
        wrong.append("prevalence")
    points = selection.operating_points(table)
    if not _close(chosen["thresholds"]["final_ensemble"], points):
        wrong.append("thresholds: final_ensemble")
    if (folder / "predictions/final/official-s0.csv").exists():
        own = evaluation.collapse(results.predictions(results.FINAL, folder=folder))
        own = own[(own.split == "val") & own.file.isin(table.file)]
        same = evaluation.collapse(table[table.file.isin(own.file)])
        for name, threshold in chosen["thresholds"][results.FINAL].items():
            called = (own.p_pneumonia >= threshold).sum(), (same.p_pneumonia >= points[name]).sum()
            if abs(int(called[0]) - int(called[1])) > 0.005 * len(
                own
            ):  # crops differ in a last bit
                wrong.append(f"thresholds: final {name}")
    return wrong


def _settings(folder: Path, chosen: dict) -> list[str]:
    """Settings and hashes of a selection, beside the fits and the notebook."""
    rows, wrong = results.experiments(folder), []
    members = rows[(rows.experiment == "final_member") & (rows.protocol == "out_of_fold")]
    asked = parameters_of("13_final_model")
    settings = {
        "backbone": asked["BACKBONE"],
        "side": asked["IMAGE_SIZE"],
        "epochs": asked["EPOCHS"],
    }
    if chosen["settings"] != settings | {"seed": asked["SEED"]}:
        wrong.append("settings")
    numbers = chosen["calibration"].values() if chosen["calibration"] else ()
    hashes = {"final_ensemble": short_digest(*members.settings_hash, *numbers)}
    final = rows[(rows.experiment == results.FINAL) & (rows.protocol == "official")]
    hashes[results.FINAL] = (
        final.settings_hash.item() if len(final) else chosen["settings_hashes"][results.FINAL]
    )
    if chosen["settings_hashes"] != hashes:
        wrong.append("settings_hashes")
    return wrong


def _close(found: dict | None, expected: dict | None) -> bool:
    if not found or not expected:
        return found == expected
    pairs = [(found.get(name), value) for name, value in expected.items()]
    return found.keys() == expected.keys() and all(abs(a - b) < 2e-6 for a, b in pairs)


# Facts of fits


@cache
def parameters_of(notebook: str) -> dict:
    """The parameters of a notebook in the reference run."""
    cells = nbformat.read(paths.NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    cell = next(cell for cell in cells if cell.cell_type == "code")
    own = {x.targets[0].id: ast.literal_eval(x.value) for x in ast.parse(cell.source).body}
    given = yaml.safe_load((paths.PARAMETERS / "reference.yaml").read_text())
    shared = {name: value for name, value in given["all"].items() if name in own}
    return own | shared | given.get(notebook, {})


@cache
def most_epochs(notebook: str) -> set[int]:
    """The numbers of epochs that a notebook asks for, and the multiples of them that it names."""
    asked = {
        name: value for name, value in parameters_of(notebook).items() if name.endswith("EPOCHS")
    }
    text = (paths.NOTEBOOKS / f"{notebook}.ipynb").read_text()
    more = {int(times) * asked[name] for times, name in re.findall(r"(\d) \* (\w*EPOCHS)\b", text)}
    return {*asked.values(), *more}


def facts(folder: Path) -> list[str]:
    """Rows of experiments.csv that their notebook cannot have made in the reference run."""
    wrong = []
    for row in results.experiments(folder).to_dict("records"):
        if row["experiment"] in OLDER:
            continue
        asked = parameters_of(row["notebook"])
        stopped = row["epochs_run"] <= max(most_epochs(row["notebook"]), default=0)
        fine = {
            "epochs_run": {"all epochs run": row["epochs_run"] in most_epochs(row["notebook"])}.get(
                row["stop_reason"], stopped or row["stop_reason"] == "converged"
            ),
            "image_size": row["image_size"] in (asked["IMAGE_SIZE"], 75),
            "seed": row["seed"] in (asked.get("SEED"), *asked.get("SEEDS", [])),
            "threads": row["threads"] == asked["THREADS"],
            "precision": row["precision"] == asked["PRECISION"],
            "weights": row["weights"] in ("none", "imagenet"),
            "parameters": row["parameters"] == BASELINES.get(row["experiment"], row["parameters"]),
        }
        wrong += [f"{results.prediction_name(row)} {name}" for name in fine if not fine[name]]
    return wrong


def provenance(folder: Path) -> list[str]:
    """Fits that do not say what they were made with and from, or say otherwise than their row."""
    wrong = []
    for row in results.experiments(folder).to_dict("records"):
        file = folder / results.provenance_name(row)
        if row["experiment"] in OLDER:
            continue
        if not file.exists() or not _told_alike(row, json.loads(file.read_text())):
            wrong.append(results.prediction_name(row))
    return wrong


def _told_alike(row: dict, said: dict) -> bool:
    """Whether a fit's provenance and its row agree; an ensemble has neither seed nor epochs."""
    settings, shared = said["settings"], ("device", "backend", "precision", "threads")
    most = settings.get("config", {}).get("epochs", np.inf)
    return (
        all(said[name] == row[name] for name in shared)
        and {"keras", row["backend"]} <= said["libraries"].keys()
        and ("members" in settings or settings["seed"] == row["seed"])
        and row["epochs_run"] <= most
    )


# Figures


def figures(folder: Path, images: Path | None = None) -> list[str]:
    """Figures that were not drawn from these results, or that show the same as another.

    A figure names the tables that it was drawn from; of those that `make publish` copied before
    figures did so, the digest stands in a table.
    """
    measured = [folder / name for name in ("metrics.csv", "benchmark.csv", "scale.csv")]
    tables = [*(folder / "predictions").rglob("*.csv"), *filter(Path.exists, measured)]
    published = {sha256(path)[: results.SHORT] for path in tables} | {"images", "alone"}
    listed = pd.read_csv(folder / results.FIGURES, index_col="figure").sha256
    digests = {path: sha256(path) for path in sorted((images or paths.IMAGES).glob("*.png"))}
    wrong = []
    for path, digest in digests.items():
        named = set(plotting.source(path).split())
        fine = named <= published if named else listed.get(path.stem) == digest
        if not fine or list(digests.values()).count(digest) > 1:
            wrong.append(path.stem)
    return wrong
