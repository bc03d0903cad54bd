"""Where everything lies: in the checkout, or for an installed package beside it and in a cache."""

import os
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = (_PACKAGE.parent / "pyproject.toml").exists()
PROJECT = _PACKAGE.parent if _IN_CHECKOUT else _PACKAGE / "shipped"  # only read, if installed
_WRITTEN = PROJECT if _IN_CHECKOUT else platformdirs.user_cache_path("pediatric-pneumonia")
DATA = _WRITTEN / "data"
RUNS = Path(os.environ.get("CHEST_XRAY_RUNS") or _WRITTEN / "runs").absolute()
CACHE = Path(os.environ.get("CHEST_XRAY_CACHE") or DATA / "cache").absolute()
MANIFEST = PROJECT / "data" / "manifest.csv"
LUNG_BOXES = PROJECT / "data" / "lung_boxes.csv"
NOTEBOOKS = PROJECT / "notebooks"
PARAMETERS = PROJECT / "parameters"
RESULTS = PROJECT / "results"
IMAGES = PROJECT / "images"
MODELS = PROJECT / "models"
PRESENTATION = PROJECT / "presentation"
README = PROJECT / "README.md"
