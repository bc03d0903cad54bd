"""Stress validation: how a model ranks validation images that have been changed.

A validation set that resembles the training set rewards whatever tells the two classes apart there:
framing, markers, sharpness. Here the validation images are changed one way at a time, all of them
or those of one class alone, as pictures from elsewhere would differ.
"""

from functools import partial

import cv2
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers import evaluation
from helpers.data import features
from helpers.settings import LABELS

UNCHANGED = "unchanged"
SIDES = ("all", "normal", "pneumonia")  # whose images are changed


def _each(change, images: np.ndarray) -> np.ndarray:
    changed = (change(image[..., 0]) for image in images)
    return np.stack([np.clip(np.rint(x), 0, 255) for x in changed])[..., None].astype(np.uint8)


def _blurred(image, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma * len(image))


def _sharpened(image, sigma=0.01, amount=1.5):
    return image + amount * (image.astype(np.float32) - _blurred(image, sigma))


def _contrast(image, gain):
    return (image - image.mean()) * gain + image.mean()


def _curved(image, exponent):
    return 255 * (image / 255) ** exponent


def _magnified(image, across, down):
    """Magnified around its centre, along each axis by itself; below 1 leaves a black rim."""
    side = len(image)
    offset = [(side - 1) / 2 * (1 - across), (side - 1) / 2 * (1 - down)]
    matrix = np.array([[across, 0, offset[0]], [0, down, offset[1]]])
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR)


def _coarsened(image, share):
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _compressed(image, quality):
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)


def _lettered(image):
    side = len(image)
    place = round(0.04 * side), round(0.2 * side)
    return cv2.putText(
        image.copy(), "R", place, cv2.FONT_HERSHEY_SIMPLEX, 0.006 * side, 255, max(1, side // 50)
    )


STRESSES = {  # name: change of one gray image (side, side)
    "blurred": partial(_blurred, sigma=0.01),
    "sharpened": _sharpened,
    "less contrast": partial(_contrast, gain=0.6),
    "more contrast": partial(_contrast, gain=1.5),
    "darker": partial(_curved, exponent=1.6),
    "brighter": partial(_curved, exponent=0.6),
    "cropped": partial(_magnified, across=1.35, down=1.35),
    "cropped across": partial(_magnified, across=1.5, down=1.0),
    "cropped down": partial(_magnified, across=1.0, down=1.5),
    "smaller": partial(_magnified, across=0.85, down=0.85),
    "coarser": partial(_coarsened, share=0.5),
    "compressed": partial(_compressed, quality=15),
    "lettered": _lettered,
}


def changed(images: np.ndarray, name: str) -> np.ndarray:
    """The images (n, side, side, 1), uint8, under one of STRESSES or as they are."""
    return np.asarray(images) if name == UNCHANGED else _each(STRESSES[name], images)


def predict(fit, images: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """Prediction tables of the validation images under every stress, below each other.

    Returns:
        The columns of `evaluation.predict`, three classes collapsed, and `stress`.
    """
    rows = (table.split == "val").to_numpy()
    held_out, table = np.asarray(images[rows]), table[rows]
    tables = {
        name: evaluation.collapse(evaluation.predict(fit, changed(held_out, name), table))
        for name in (UNCHANGED, *STRESSES)
    }
    return pd.concat(tables, names=["stress"]).reset_index("stress")


def aucs(predictions: pd.DataFrame) -> pd.DataFrame:
    """AUC under each stress: one row a stress, one column for whose images are changed.

    The images of the other class stay as they are, so that a model which reads the change itself
    as a sign of one class is caught. The first row is that of the unchanged images.
    """
    wide = predictions.pivot(index="file", columns="stress", values="p_pneumonia")
    label = predictions.drop_duplicates("file").set_index("file").label[wide.index]
    sick, plain = (label != LABELS[0]).to_numpy(), wide[UNCHANGED]
    takes = {"all": np.full(len(sick), True), "normal": ~sick, "pneumonia": sick}
    return pd.DataFrame(
        {
            side: {
                name: roc_auc_score(sick, np.where(takes[side], wide[name], plain))
                for name in (UNCHANGED, *STRESSES)
            }
            for side in SIDES
        }
    ).rename_axis("stress")


def scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Of a candidate: val_auc, stress_auc (the mean of `aucs`), and what judges it, worst_auc.

    The worst of them, since a mean over many harmless changes hides the one that breaks a network
    (worst-group validation: Sagawa et al. 2020).
    """
    table = aucs(predictions)
    stressed = table.drop(index=UNCHANGED)
    return {
        "val_auc": float(table.loc[UNCHANGED, "all"]),
        "stress_auc": float(stressed.to_numpy().mean()),
        "worst_auc": float(stressed.to_numpy().min()),
    }


def groups(table: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """Subgroups of images (rows of `table`, with `images` beside them): one column a property.

    `naming` (IM, NORMAL2, person), `number` (low, middle, high third of the study or person numbers
    of a label and naming), `sharpness` and `brightness` (below or above the median of the label).
    """
    by_label = table.label.to_numpy()
    naming = table.file.str.extract(r"^(NORMAL2|IM|person)", expand=False).fillna("other")
    number = table.file.str.replace("NORMAL2", "").str.extract(r"(\d+)", expand=False).astype(float)
    rank = number.groupby([table.label, naming]).rank(pct=True)
    found = {
        "naming": naming,
        "number": pd.cut(rank, [0, 1 / 3, 2 / 3, 1], labels=["low", "middle", "high"]),
    }
    measures = {
        "sharpness": (features.sharpness(images), "blurred", "sharp"),
        "brightness": (np.asarray(images).mean(axis=(1, 2, 3)), "dark", "bright"),
    }
    for name, (values, low, high) in measures.items():
        values = pd.Series(values, table.index)
        above = values > values.groupby(by_label).transform("median")
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
    sick = (predictions.label != LABELS[0]).to_numpy()
    p, rows = predictions.p_pneumonia.to_numpy(), []
    for name in groups:
        values = groups[name].to_numpy()
        for label, own in ((LABELS[0], ~sick), ("pneumonia", sick)):
            for value in np.unique(values[own]):
                kept = ~own | (values == value)
                auc = roc_auc_score(sick[kept], p[kept])
                rows.append((name, value, label, int((own & kept).sum()), auc))
    table = pd.DataFrame(rows, columns=["property", "group", "label", "n", "auc"])
    return table.sort_values("auc", ignore_index=True)
