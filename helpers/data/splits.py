"""Cut the index into train, val and test: one table of protocols, one function to use them.

A protocol takes the index and a seed and gives the table with one more column, `split` (train, val,
test). Sizes are shares of the published data set, so that a smaller one is cut in the same
proportions.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from helpers.utils import UserError

CROSS_VALIDATION_FOLDS = 5
VALIDATION_OF, VALIDATION_FOLDS = 20, 3  # 3 of 20 folds, 15 %, are validation
POOLED_VALIDATION, POOLED_TEST, POOLED_ALL = 632, 71, 5856
LEAK_GROUPS = ("image", "patient", "duplicate")
HELD_OUT = 0.1  # of each label, in a leak study: once for test and once for validation


class Protocol(NamedTuple):
    """A way to cut the index."""

    cut: Callable[..., pd.DataFrame]  # of the index, the seed and, if there are folds, the fold
    official_test: bool  # its test images are those of the index's official_split
    folds: int = 0  # how many; each is cut by itself


def split(table: pd.DataFrame, protocol: str, seed: int, fold: int | None = None) -> pd.DataFrame:
    """The index, cut under a protocol.

    Args:
        table: an index.
        protocol: a name in PROTOCOLS.
        seed: of whatever is drawn.
        fold: number, from 0, of a protocol that has folds; None for the others.

    Returns:
        The rows in use (a leak study and out_of_fold leave some out) with the column split: train,
        val, test.

    Raises:
        UserError: no such protocol or fold, or too few radiographs or patients for it.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}. Known: {', '.join(PROTOCOLS)}")
    cut, official_test, folds = PROTOCOLS[protocol]
    if official_test and not (table.official_split == "test").any():
        raise UserError(
            f"the protocol {protocol} needs official test images and these radiographs have none. "
            "Name some in the data folder, or take pooled_patient or cross_validated"
        )
    if not folds:
        if fold is not None:
            raise UserError(f"the protocol {protocol} has no folds: leave fold out")
        return cut(table, seed)
    if fold not in range(folds):
        raise UserError(f"the protocol {protocol} needs a fold from 0 to {folds - 1}, not {fold}")
    return cut(table, seed, fold)


def seen_in(table: pd.DataFrame, of: str, within: str, column: str = "patient") -> pd.Series:
    """Which images of the split `of` share their value of `column` with one in the split `within`.

    Returns:
        Booleans over the rows of `table` whose split is `of`.
    """
    return table[column][table.split == of].isin(table[column][table.split == within])


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

    As the earlier projects did: one patient's images fall on both sides.
    """
    split = _official_test(table)
    others = np.flatnonzero(split != "test")
    _, validation_rows = _drawn(table, others, 0.2, seed)
    split[validation_rows] = "val"
    return table.assign(split=split)


def pooled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A re-split of everything by image: 5,153 / 632 / 71 of the 5,856 images."""
    validation, test = _pooled_sizes(table)
    rest, test_rows = _drawn(table, np.arange(len(table)), test, seed)
    _, validation_rows = _drawn(table, rest, validation, seed)
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


def cross_validated(table: pd.DataFrame, seed: int, fold: int) -> pd.DataFrame:
    """One of five folds over everything is test, by patient; 15 % of the others are validation."""
    tested = _folds_by_patient(table, CROSS_VALIDATION_FOLDS, seed)[fold]
    split = np.full(len(table), "test", dtype=object)
    others = np.setdiff1d(np.arange(len(table)), tested)
    split[others] = _grouped_validation(table.iloc[others], seed)
    return table.assign(split=split)


def out_of_fold(table: pd.DataFrame, seed: int, fold: int) -> pd.DataFrame:
    """`cross_validated` over all but the official test images, which are left out.

    What is chosen on the five held-out folds together is chosen on every such image, each predicted
    by a network that has seen neither it nor another image of its patient.

    Returns:
        The rows in use, with the column split; their index labels are those of `table`.
    """
    return cross_validated(table[table.official_split != "test"], seed, fold)


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
        UserError: too few images for one of the parts.
    """
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


PROTOCOLS = {
    "official": Protocol(official, official_test=True),
    "by_image": Protocol(by_image, official_test=True),
    "pooled": Protocol(pooled, official_test=False),
    "pooled_patient": Protocol(pooled_patient, official_test=False),
    "cross_validated": Protocol(cross_validated, False, CROSS_VALIDATION_FOLDS),
    "out_of_fold": Protocol(out_of_fold, False, CROSS_VALIDATION_FOLDS),
    **{
        f"leak_by_{group}": Protocol(partial(leak_study, group=group), official_test=False)
        for group in LEAK_GROUPS
    },
}


def patient_or_duplicate(table: pd.DataFrame) -> pd.Series:
    """Group number of each image: linked by patient key or by identical bytes."""
    patients, _ = pd.factorize(table.patient)
    contents, _ = pd.factorize(table.digest)
    count = patients.max() + 1
    links = scipy.sparse.coo_array(
        (np.ones(len(table)), (patients, contents + count)), shape=[count + contents.max() + 1] * 2
    )
    groups = scipy.sparse.csgraph.connected_components(links, directed=False)[1]
    return pd.Series(groups[patients], index=table.index)


def _official_test(table: pd.DataFrame) -> np.ndarray:
    return np.where(table.official_split == "test", "test", "train").astype(object)


def _first_of_each_label(table: pd.DataFrame, size: pd.Series) -> pd.DataFrame:
    """The first `size[label]` rows of each label."""
    return table[table.groupby("label").cumcount() < table.label.map(size).fillna(0)]


def _drawn(table: pd.DataFrame, rows: np.ndarray, size: float, seed: int) -> list[np.ndarray]:
    """The other rows and those drawn: `size` of them, a number or share, stratified by label."""
    from sklearn.model_selection import train_test_split

    labels = table.label.iloc[rows]
    try:
        return train_test_split(rows, test_size=size, random_state=seed, stratify=labels)
    except ValueError as error:
        raise UserError(
            f"{len(rows)} radiographs are too few to draw some of every label ({error})"
        ) from error


def _grouped_validation(table: pd.DataFrame, seed: int) -> np.ndarray:
    """train or val for each row: 3 of 20 stratified patient-disjoint folds are validation."""
    split = np.full(len(table), "train", dtype=object)
    chosen = _folds_by_patient(table, VALIDATION_OF, seed)[:VALIDATION_FOLDS]
    split[np.concatenate(chosen)] = "val"
    return split


def _folds_by_patient(table: pd.DataFrame, folds: int, seed: int) -> list[np.ndarray]:
    """The rows of each fold, stratified by label, without a shared patient or duplicate.

    Raises UserError when there are fewer patients, or images of every label, than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = patient_or_duplicate(table)
    if min(groups.nunique(), table.label.value_counts().max()) < folds:
        raise UserError(
            f"{len(table)} radiographs of {groups.nunique()} patients are too few to split by "
            f"patient: at least {folds} patients, and {folds} images of one label, are needed"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [rows for _, rows in splitter.split(table, table.label, groups)]


def _pooled_sizes(table: pd.DataFrame) -> tuple[int, int]:
    share = len(table) / POOLED_ALL
    return max(3, round(POOLED_VALIDATION * share)), max(3, round(POOLED_TEST * share))
