"""Find, index, split and load the radiographs. Downloading is `python -m helpers.data.download`."""

from helpers.data.features import has_originals, metadata, pixels, sharpness, texture
from helpers.data.files import dataset, describe, disjoint_files, find, index, label, patient
from helpers.data.images import load
from helpers.data.protocols import (
    by_image,
    cross_validated,
    leak_study,
    official,
    patient_or_duplicate,
    pooled,
    pooled_patient,
)

__all__ = [
    "by_image",
    "cross_validated",
    "dataset",
    "describe",
    "disjoint_files",
    "find",
    "has_originals",
    "index",
    "label",
    "leak_study",
    "load",
    "metadata",
    "official",
    "patient",
    "patient_or_duplicate",
    "pixels",
    "pooled",
    "pooled_patient",
    "sharpness",
    "texture",
]
