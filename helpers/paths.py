"""Where everything lies."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT / "data"
RUNS = Path(os.environ.get("CHEST_XRAY_RUNS") or PROJECT / "runs").absolute()
CACHE = Path(os.environ.get("CHEST_XRAY_CACHE") or DATA / "cache").absolute()
MANIFEST = DATA / "manifest.csv"
LUNG_BOXES = DATA / "lung_boxes.csv"
NOTEBOOKS = PROJECT / "notebooks"
PARAMETERS = PROJECT / "parameters"
RESULTS = PROJECT / "results"
IMAGES = PROJECT / "images"
MODELS = PROJECT / "models"
PRESENTATION = PROJECT / "presentation"
README = PROJECT / "README.md"
