"""Find, index, split and load the radiographs, and change them. `download` is a command."""

from helpers.data import synthetic, transforms
from helpers.data.augmentation import Augmentation
from helpers.data.features import brightness, has_originals, metadata, pixels, sharpness, texture
from helpers.data.folder import PNEUMONIA, labelled_pictures
from helpers.data.images import kept, load
from helpers.data.index import (
    MANIFEST_COLUMNS,
    dataset,
    describe,
    disjoint_files,
    find,
    index,
    labels,
    manifest,
    require,
)
from helpers.data.kermany import LABELS, SPLITS
from helpers.data.splits import PROTOCOLS, patient_or_duplicate, seen_in, split

__all__ = [
    "LABELS",
    "MANIFEST_COLUMNS",
    "PNEUMONIA",
    "PROTOCOLS",
    "SPLITS",
    "Augmentation",
    "brightness",
    "dataset",
    "describe",
    "disjoint_files",
    "find",
    "has_originals",
    "index",
    "kept",
    "labelled_pictures",
    "labels",
    "load",
    "manifest",
    "metadata",
    "patient_or_duplicate",
    "pixels",
    "require",
    "seen_in",
    "sharpness",
    "split",
    "synthetic",
    "texture",
    "transforms",
]
