"""Numbers that somebody has typed into a page: each is computed here, or has a source."""

import re
import shutil
from datetime import date

import nbformat
import pandas as pd
import pytest

from helpers import paths, results, selection
from helpers.evaluation.metrics import LEVEL, RECALL
from helpers.lungs import LOOKED_AT
from tests.published import prose

IMAGES = pd.read_csv(paths.MANIFEST)
BOXES = pd.read_csv(paths.LUNG_BOXES)
TEST = IMAGES[IMAGES.official_split == "test"]
PAGES = ("README.md", "models/README.md", "final_notebook.ipynb", "slides.md")
COMPUTED = {
    "5,856": f"{len(IMAGES):,}",
    "5,232": f"{len(IMAGES) - len(TEST):,}",
    "624": f"{len(TEST)}",
    "480": f"{BOXES.file.nunique()}",
    "224": f"{LOOKED_AT}",
    "95": f"{100 * LEVEL:.0f}",
    "0.98": f"{RECALL}",
}
COMMON = {  # number: what it is wherever it stands
    "0.5": "the threshold of those who set none, or an AUC by chance",
    "255": "the highest gray value",
    "0": "the lowest gray value",
    "1": "a probability, or the first",
}
SAID = {  # number: what it is, or who says it, in the pages that are not below
    "75": "quality of the JPEG copies: data/README.md",
    "99": "share of the training images that are near enough: helpers/predict/familiarity.py",
    "20": "films of adults that the first model was tried on",
    "18": "of them that it took for chest X-rays",
    "97.7": "lowest of the figures from other splits",
    "99.8": "highest of the figures from other splits",
    "740,000": "WHO, pneumonia in children, fact sheet",
    "14": "WHO, the same: percent of all deaths of children under five",
    "16": "prevalence that predictive values are shown for: 15_clinical_use",
    "80": "lowest claim on these images: results/claims.csv and published_elsewhere.csv",
    "100": "highest claim: results/claims.csv",
    "94": "accuracy of an example",
    "2": "half width of its interval in points",
    "0.8": "probability of an example",
    "8": "of 10 children, the same example",
    "10": "the same example",
    "32": "side of the pixels of pixel_logistic: 02_baseline",
    "0.75": "width of MobileNet: helpers/models/backbones.py",
    "3.11": "pyproject.toml",
    "3.13": "pyproject.toml",
    "320": "MB of what predicting needs",
    "3": "GB of the extra `full`",
    "4.0": "CC BY 4.0",
    "2.0": "Apache 2.0",
    "10.17632": "a DOI",
    "91": "a claim: results/claims.csv",
    "1,280": "width of the pictures of benchmarks/, pixels",
    "960": "their height",
    "200": "KB of such a picture",
    "128": "side of the network's input in benchmarks/, and its most filters",
}
OWN = {  # notebook: its numbers, and what they are or where its code says so
    "01_eda.ipynb": {"32": "side of `shrunk`", "8": "where `per_patient` is clipped"},
    "02_baseline.ipynb": {
        "4": "pixels cut from `weights`",
        "50": "an AUC by chance, percent",
        "100": "percent",
    },
    "03_dense.ipynb": {"100": "children"},
    "05_leakyrelu_vs_relu.ipynb": {
        "0.3": "negative_slope of keras.layers.LeakyReLU",
        "2": "the sign flips of n seeds: helpers/evaluation/comparison.py",
    },
    "06_residual_network.ipynb": {"100": "children"},
    "07_transfer_learning.ipynb": {"2.5": "percent on either side of 95", "100": "percent"},
    "08_three_classes.ipynb": {
        "256": "units of `head`",
        "5": "`trainable` of E, and its claim",
        "10": "points in `diagnosis`",
        "3": "classes",
    },
    "09_tuning.ipynb": {"127.0": "this machine", "8000": "a port"},
    "11_framing.ipynb": {
        "1.5": "an aim in the last cells",
        "0.90": "an aim in the last cells",
        "2": "percent on either side of `quantile`",
        "1.25": "how far `magnified` goes",
        "0.8": "an overlap that is counted",
        "90": "degrees of `np.rot90`",
    },
    "12_robustness.ipynb": {"50": "an AUC by chance, percent"},
    "13_final_model.ipynb": {"12": "a notebook"},
    "14_explanation.ipynb": {
        "160": "pixels that `explain.markers` is shown",
        "20": "fewest images of a region, and of a rate",
        "24": "most images of the montage",
        "28": "pixels of `enlarged`",
        "2": "percent of refused images, an aim",
    },
    "15_clinical_use.ipynb": {
        "1000": "children",
        "16": "Neuman et al. 2011",
        "54": "Fancourt et al. 2017",
    },
    "template.ipynb": {"15": "lines to change, counted below"},
}
BEFORE = re.compile(r"(Figure|Trap) $")


def untold(page: str) -> list[str]:
    """The numbers of a page that are neither computed nor said to be somebody's."""
    own = SAID if page in PAGES else OWN.get(page, {})
    found = []
    for place in prose.numbers(page):
        before, number = re.fullmatch(r"(.*)<(.*)>.*", place).groups()
        number = number.rstrip(",")
        counted = BEFORE.search(before)
        year = re.fullmatch(r"(19|20)\d\d", number) and int(number) <= date.today().year
        if number not in COMPUTED | COMMON | own and not counted and not year:
            found.append(place)
    return found


@pytest.mark.parametrize("page", prose.PAGES)
def test_every_number_in_prose_is_computed_or_has_a_source(page):
    assert untold(page) == []


def test_what_is_computed_is_what_is_written():
    assert [number for number, value in COMPUTED.items() if number != value] == []


def test_the_span_of_claims_is_that_of_the_tables():
    claims = results.claims().value.dropna()
    others = pd.read_csv(paths.RESULTS / "published_elsewhere.csv").accuracy
    binary = claims[claims > 80]
    assert round(min(others.min(), binary.min())) in (80, 81) and binary.max() == 100


def test_the_example_of_an_interval_is_right():
    half = 1.96 * (0.94 * 0.06 / len(TEST)) ** 0.5
    assert round(100 * half) == 2


def test_a_new_model_is_as_short_as_the_template_says():
    cells = nbformat.read(paths.NOTEBOOKS / "template.ipynb", as_version=4).cells
    build = next(cell.source for cell in cells if "def build" in cell.source)
    assert len(build.splitlines()) + 1 < 15  # the name of the experiment is one more


def test_the_guard_is_the_one_point_that_is_told():
    assert selection.final.GUARD == 0.01


@pytest.mark.parametrize(
    ("page", "old", "new"),
    [
        ("README.md", "Figures of 97.7", "Figures of 97.2"),
        ("README.md", "copies of 224 x 224", "copies of 256 x 256"),
        ("final_notebook.ipynb", "lungs of 480", "lungs of 580"),
        ("slides.md", "**740,000**", "**840,000**"),
        ("README.md", "had a part in one", "had a part in 12"),
        ("final_notebook.ipynb", "[07](07_", "[09](07_"),
        ("10_leak_study.ipynb", "[previous: 09 tuning]", "[previous: 08 tuning]"),
        ("05_leakyrelu_vs_relu.ipynb", "here 0.3,", "here 0.4,"),
        ("15_clinical_use.ipynb", "abnormal in 54 %", "abnormal in 57 %"),
    ],
)
def test_an_edited_number_is_noticed(page, old, new, tmp_path, monkeypatch):
    copy = shutil.copy(prose.PAGES[page], tmp_path / page)
    text = (tmp_path / page).read_text()
    assert old in text
    (tmp_path / page).write_text(text.replace(old, new))
    monkeypatch.setitem(prose.PAGES, page, tmp_path / page)
    assert copy and len(untold(page)) >= 1
