"""Protocols: from the index to a split column.

Each takes the index and a seed and returns the table with one more column, `split` (train, val,
test). Sizes are shares of the real data set, so that a smaller one is cut in the same proportions.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from helpers.settings import UserError

FOLDS, VALIDATION_FOLDS = 20, 3  # 15 %
POOLED_VALIDATION, POOLED_TEST, POOLED_ALL = 632, 71, 5856
LEAK_GROUPS = ("image", "patient", "duplicate")
HELD_OUT = 0.1  # of each label, in a leak study: once for test and once for validation


def official(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The official test images; validation is 15 % of the others, without a shared patient.

    Stratified by label. Byte-identical images count as one patient's. The official val folder (16
    images, no viral one) goes to the others: nothing can be selected on it.
    """
    split = _official_test(table)
    others = split != "test"
    split[others] = _grouped_validation(table[others], seed)
    return table.assign(split=split)


def by_image(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The official test images; validation is a random 20 % of the others, image by image.

    What most public notebooks do: one patient's images fall on both sides.
    """
    split = _official_test(table)
    others = np.flatnonzero(split != "test")
    validation = train_test_split(
        others, test_size=0.2, random_state=seed, stratify=table.label.iloc[others]
    )[1]
    split[validation] = "val"
    return table.assign(split=split)


def pooled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A re-split of everything by image: 5,153 / 632 / 71 of the 5,856 images."""
    validation, test = _pooled_sizes(table)
    rows = np.arange(len(table))
    rest, test_rows = train_test_split(
        rows, test_size=test, random_state=seed, stratify=table.label
    )
    validation_rows = train_test_split(
        rest, test_size=validation, random_state=seed, stratify=table.label.iloc[rest]
    )[1]
    split = np.full(len(table), "train", dtype=object)
    split[validation_rows], split[test_rows] = "val", "test"
    return table.assign(split=split)


def pooled_patient(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The sizes of `pooled` without a shared patient: drawn by whole patients."""
    validation, test = _pooled_sizes(table)
    groups = patient_or_duplicate(table)
    split = np.full(len(table), "train", dtype=object)
    room = {"test": test, "val": validation}
    for group in np.random.default_rng(seed).permutation(groups.unique()):
        rows = np.flatnonzero(groups == group)
        for name, places in room.items():
            if len(rows) <= places:
                split[rows] = name
                room[name] -= len(rows)
                break
    return table.assign(split=split)


def cross_validated(table: pd.DataFrame, seed: int, fold: int, folds: int = 5) -> pd.DataFrame:
    """Fold `fold` (from 0) of `folds` over everything, by patient; 15 % inner validation."""
    if not 0 <= fold < folds:
        raise ValueError(f"fold must be from 0 to {folds - 1}, not {fold}")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = list(splitter.split(table, table.label, patient_or_duplicate(table)))
    split = np.full(len(table), "test", dtype=object)
    others = parts[fold][0]
    split[others] = _grouped_validation(table.iloc[others], seed)
    return table.assign(split=split)


def leak_study(table: pd.DataFrame, seed: int, group: str) -> pd.DataFrame:
    """Three splits of one pool that differ in their training images alone.

    The pool is everything but the official test images. A tenth of each label is drawn from it for
    test, image by image, and as much for validation from patients that test does not know. Of the
    other images, training takes

    - `image`: any, as a split by image does;
    - `patient`: those whose patient has no image in test or validation;
    - `duplicate`: those that are not even linked to such a patient by byte-identical images.

    Each has as many training images of each label as there are for `duplicate`, the strictest. So
    for one seed test, validation and all sizes are the same, and a difference between the results
    is the worth of what leaked.

    Returns:
        The rows in use, with the column split; their index labels are those of `table`.

    Raises:
        UserError: an unknown group, or too few images for one of the parts.
    """
    if group not in LEAK_GROUPS:
        raise UserError(f"group must be one of {', '.join(LEAK_GROUPS)}, not {group!r}")
    pool = table[table.official_split != "test"]
    too_few = UserError(
        f"{len(pool)} radiographs outside the official test images are too few for a leak study: "
        "have at least some 20 of each label, of different patients"
    )
    if pool.empty:
        raise too_few
    pool = pool.iloc[np.random.default_rng(seed).permutation(len(pool))]
    linked = patient_or_duplicate(pool)
    size = (HELD_OUT * pool.label.value_counts()).round()
    test = _first_of_each_label(pool, size)
    validation = _first_of_each_label(pool[~linked.isin(linked[test.index])], size)
    held_out = pool.loc[test.index.union(validation.index)]
    rest = pool.drop(held_out.index)
    strictest = rest[~linked[rest.index].isin(linked[held_out.index])]
    may_train = {
        "image": rest,
        "patient": rest[~rest.patient.isin(held_out.patient)],
        "duplicate": strictest,
    }
    train = _first_of_each_label(may_train[group], strictest.label.value_counts())
    parts = {"train": train, "val": validation, "test": test}
    if any(part.label.nunique() < pool.label.nunique() for part in parts.values()):
        raise too_few
    split = pd.concat([pd.Series(name, part.index) for name, part in parts.items()]).sort_index()
    return table.loc[split.index].assign(split=split)


def patient_or_duplicate(table: pd.DataFrame) -> pd.Series:
    """Group number of each image: linked by patient key or by identical bytes."""
    patients, _ = pd.factorize(table.patient)
    contents, _ = pd.factorize(table.digest)
    count = patients.max() + 1
    links = coo_array(
        (np.ones(len(table)), (patients, contents + count)), shape=[count + contents.max() + 1] * 2
    )
    groups = connected_components(links, directed=False)[1]
    return pd.Series(groups[patients], index=table.index)


def _official_test(table: pd.DataFrame) -> np.ndarray:
    return np.where(table.official_split == "test", "test", "train").astype(object)


def _first_of_each_label(table: pd.DataFrame, size: pd.Series) -> pd.DataFrame:
    """The first `size[label]` rows of each label."""
    return table[table.groupby("label").cumcount() < table.label.map(size).fillna(0)]


def _grouped_validation(table: pd.DataFrame, seed: int) -> np.ndarray:
    """train or val for each row: 3 of 20 stratified patient-disjoint folds are validation.

    Raises UserError when there are fewer than 20 patients, or than 20 images of every label.
    """
    groups = patient_or_duplicate(table)
    if min(groups.nunique(), table.label.value_counts().max()) < FOLDS:
        raise UserError(
            f"{len(table)} radiographs of {groups.nunique()} patients give no validation set. "
            f"At least {FOLDS} patients, and {FOLDS} images of one label, are needed"
        )
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    chosen = [rows for _, rows in splitter.split(table, table.label, groups)][:VALIDATION_FOLDS]
    split = np.full(len(table), "train", dtype=object)
    split[np.concatenate(chosen)] = "val"
    return split


def _pooled_sizes(table: pd.DataFrame) -> tuple[int, int]:
    share = len(table) / POOLED_ALL
    return max(3, round(POOLED_VALIDATION * share)), max(3, round(POOLED_TEST * share))
