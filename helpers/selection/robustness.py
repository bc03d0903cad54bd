"""Robustness: how a model ranks held-out images that have been changed, and subgroups of them.

Held-out images that resemble the training set reward whatever tells the two classes apart there:
framing, markers, sharpness. Here they are changed one way at a time (common corruptions: Hendrycks
& Dietterich 2019), all of them or those of one class alone, as pictures from elsewhere would
differ.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers import data, evaluation, lungs, training
from helpers.data import LABELS, PNEUMONIA, transforms
from helpers.models import keras
from helpers.selection.recipe import Recipe

UNCHANGED = "unchanged"
SIDES = ("all", LABELS[0], PNEUMONIA)  # whose images are changed


def _lettered(image: np.ndarray) -> np.ndarray:
    side = len(image)
    place = round(0.04 * side), round(0.2 * side)
    return transforms.write_text(
        image, "R", place, 0.006 * side, gray=255, stroke=max(1, side // 50)
    )


CORRUPTIONS = {  # name: change of one gray image (side, side), uint8
    "blurred": lambda image: transforms.blur(image, 0.01 * len(image)),
    "sharpened": lambda image: transforms.sharpen(image, 0.01 * len(image), amount=1.5),
    "less contrast": lambda image: transforms.contrast(image, 0.6),
    "more contrast": lambda image: transforms.contrast(image, 1.5),
    "darker": lambda image: transforms.gamma(image, 1.6),
    "brighter": lambda image: transforms.gamma(image, 0.6),
    "cropped": lambda image: transforms.affine(image, zoom=(1.35, 1.35)),
    "cropped across": lambda image: transforms.affine(image, zoom=(1.5, 1.0)),
    "cropped down": lambda image: transforms.affine(image, zoom=(1.0, 1.5)),
    "smaller": lambda image: transforms.affine(image, zoom=(0.85, 0.85)),
    "coarser": lambda image: transforms.coarsen(image, 0.5),
    "compressed": lambda image: transforms.compress(image, quality=15),
    "darkened": lambda image: 0.3 * image,
    "brightened": lambda image: image + 80.0,
    "enlarged from 64 pixels": lambda image: transforms.coarsen(image, 64 / len(image)),
    "mirrored": lambda image: transforms.affine(image, mirror=True),
    "turned by 15 degrees": lambda image: transforms.affine(image, angle=15),
    "black border": lambda image: transforms.blacken_border(image, [0.1] * 4),
    "lettered": _lettered,
}

FRAMING = ["cropped", "cropped across", "cropped down", "smaller", "black border"]  # of them


def corrupt(images: np.ndarray, name: str) -> np.ndarray:
    """The images (n, side, side, 1), uint8, under one of CORRUPTIONS or UNCHANGED."""
    if name == UNCHANGED:
        return np.asarray(images)
    changed = [transforms.to_uint8(CORRUPTIONS[name](image[..., 0])) for image in images]
    return np.stack(changed)[..., None]


def predict(
    candidates: Mapping[str, tuple[Recipe, training.Fit]],
    pictures: np.ndarray,
    table: pd.DataFrame,
    localiser: keras.Model,
) -> pd.DataFrame:
    """Prediction tables of candidates under every corruption, below each other.

    The whole pictures are corrupted, and the lungs are sought in what comes out. Several
    corruptions are worked through side by side where there is room.

    Args:
        candidates: recipe and fit, of two or three classes, by name.
        pictures: uint8, (rows, 224, 224, 1), row by row with `table`.
        table: rows of an index with a split column.
        localiser: finds the lungs.

    Returns:
        The columns of `evaluation.predict`, three classes collapsed, candidate and corruption.
    """
    names, side_by_side = [UNCHANGED, *CORRUPTIONS], training.room()
    parts = [names[start::side_by_side] for start in range(side_by_side)]
    jobs = [(candidates, pictures, table, localiser, part) for part in parts]
    tables = {key: one for part in training.call_all(_predict, jobs) for key, one in part.items()}
    ordered = {(name, one): tables[name, one] for one in names for name in candidates}
    found = pd.concat(ordered, names=["candidate", "corruption"])
    return found.reset_index(["candidate", "corruption"])


def _predict(candidates, pictures, table, localiser, names) -> dict[tuple[str, str], pd.DataFrame]:
    """The prediction tables of `predict` under these corruptions, by candidate and corruption."""
    tables = {}
    for corruption in names:
        changed = corrupt(pictures, corruption)
        boxes, _ = lungs.locate(localiser, changed)
        for name, (recipe, fit) in candidates.items():
            shown = recipe.show(changed, boxes)
            predicted = evaluation.predict(fit, shown, table, rows=set(table.split))
            tables[name, corruption] = evaluation.collapse(predicted)
    return tables


def aucs(predictions: pd.DataFrame) -> pd.DataFrame:
    """AUC under each corruption: one row a corruption, one column for whose images are changed.

    The images of the other class stay as they are, so that a model which reads the change itself
    as a sign of one class is caught. The first row is that of the unchanged images.
    """
    wide = predictions.pivot(index="file", columns="corruption", values="p_pneumonia")
    label = predictions.drop_duplicates("file").set_index("file").label[wide.index]
    ill, plain = (label != LABELS[0]).to_numpy(), wide[UNCHANGED]
    changed = dict(zip(SIDES, (np.full(len(ill), True), ~ill, ill), strict=True))
    return pd.DataFrame(
        {
            side: {
                name: roc_auc_score(ill, np.where(changed[side], wide[name], plain))
                for name in (UNCHANGED, *CORRUPTIONS)
            }
            for side in SIDES
        }
    ).rename_axis("corruption")


def scores(predictions: pd.DataFrame) -> dict[str, float]:
    """How one candidate stands it: unchanged_auc, corrupted_auc, worst_case_auc and framing_auc.

    They are the AUC on the unchanged images, the mean of `aucs` under corruption, the worst of
    those, since a mean over many harmless changes hides the one that breaks a network (worst-group
    validation: Sagawa et al. 2020), and the worst under FRAMING.
    """
    table = aucs(predictions)
    corrupted = table.drop(index=UNCHANGED).to_numpy()
    return {
        "unchanged_auc": float(table.loc[UNCHANGED, SIDES[0]]),
        "corrupted_auc": float(corrupted.mean()),
        "worst_case_auc": float(corrupted.min()),
        "framing_auc": float(table.loc[FRAMING].to_numpy().min()),
    }


def groups(table: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """Subgroups of images: one row an image, one column a property.

    The columns are `series` (of the index), `number` (low, middle, high third of the patient
    numbers of a label and series), `sharpness` and `brightness` (below or above the median of the
    label).

    Args:
        table: an index.
        images: (rows, side, side, 1), row by row with `table`.
    """
    rank = table.groupby(["label", "series"]).number.rank(pct=True)
    found = {
        "series": table.series,
        "number": pd.cut(rank, [0, 1 / 3, 2 / 3, 1], labels=["low", "middle", "high"]),
    }
    measures = {
        "sharpness": (data.sharpness(images), "blurred", "sharp"),
        "brightness": (data.brightness(images), "dark", "bright"),
    }
    for name, (values, low, high) in measures.items():
        values = pd.Series(values, table.index)
        above = values > values.groupby(table.label).transform("median")
        found[name] = above.map({False: low, True: high})
    return pd.DataFrame(found, table.index).astype(str)


def group_aucs(predictions: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """AUC of each subgroup of one class against all images of the other class.

    Args:
        predictions: a prediction table of two classes.
        groups: as `groups` gives it, row by row with `predictions`.

    Returns:
        Columns property, group, label (normal or pneumonia), n, auc; lowest AUC first.
    """
    ill = (predictions.label != LABELS[0]).to_numpy()
    p, rows = predictions.p_pneumonia.to_numpy(), []
    for name in groups:
        values = groups[name].to_numpy()
        for label, own in ((LABELS[0], ~ill), (PNEUMONIA, ill)):
            for value in np.unique(values[own]):
                kept = ~own | (values == value)
                auc = roc_auc_score(ill[kept], p[kept])
                rows.append((name, value, label, int((own & kept).sum()), auc))
    table = pd.DataFrame(rows, columns=["property", "group", "label", "n", "auc"])
    return table.sort_values("auc", ignore_index=True)
