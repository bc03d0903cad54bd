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
SERIES = (  # the names of the numbered notebooks; whatever else lies beside them is one's own
    "01_eda",
    "02_baseline",
    "03_dense",
    "04_cnn_iterations",
    "05_leakyrelu_vs_relu",
    "06_residual_network",
    "07_transfer_learning",
    "08_three_classes",
    "09_tuning",
    "10_leak_study",
    "11_framing",
    "12_robustness",
    "13_final_model",
    "14_explanation",
    "15_clinical_use",
)
