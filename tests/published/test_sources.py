"""Figures of others: typed a second time, from their sources, and compared with what is published.

Where a source gives more digits than the table shows, they stand here.
"""

import re
import shutil

import pandas as pd
import pytest

from helpers import paths

COLUMNS = ["auc", "accuracy", "recall", "specificity", "three_class_accuracy"]
FIGURES = {  # address: of each row with it the figures in percent, in the order of COLUMNS
    "https://keras.io/examples/vision/xray_classification_with_tpus/": [
        (None, 81.41, 97.69, None, None)
    ],
    "https://github.com/sajan-ft9/thesis": [
        (97.0, 91.0, 98.4, 78.6, None),
        (97.1, 91.9, None, 82.4, None),
    ],
    "https://doi.org/10.1038/s41598-025-92156-9": [(98.92, 91.56, None, None, None)],
    "https://doi.org/10.1016/j.cell.2018.02.010": [(96.8, 92.8, 93.2, 90.1, None)],
    "https://doi.org/10.1038/s41597-022-01721-8": [(99.1, 94.6, None, None, None)],
    "https://doi.org/10.1007/s13369-021-06127-z": [(95.21, 95.83, 97.76, None, 90.71)],
    "https://github.com/kiselyovd/chest-xray-classifier": [(None, 96.0, 99.7, 89.7, 91.35)],
    "https://doi.org/10.3390/app8101715": [(99.3, 96.2, None, None, 91.8)],
    "https://arxiv.org/abs/2502.13693": [(99.5, 97.3, None, None, None)],
}
CLAIMS = {  # experiment: what its authors report, percent, on how many images
    "cnn_4": (91.6, 624),
    "leakyrelu": (91, 624),
    "resnet": (None, 624),
    "inception_resnet_v2": (100, 71),
    "three_class_a": (75.7, 624),
    "three_class_b": (23.4, 624),
    "three_class_c": (67, 624),
    "three_class_d": (71.5, 624),
    "three_class_e": (25.6, 624),
    "three_class_f": (65.6, 624),
}
SLACK = 0.0501  # of a figure that is rounded to one digit


def same(shown, figure) -> bool:
    return pd.isna(shown) if figure is None else abs(shown - figure) < SLACK


def wrong_figures(path) -> list[str]:
    rows, wrong = pd.read_csv(path), []
    if set(rows.source) != FIGURES.keys():
        wrong.append("sources")
    for address, group in rows.groupby("source"):
        known = FIGURES.get(address, [])
        pairs = zip(group[COLUMNS].to_numpy(), known, strict=False)
        fine = len(group) == len(known)
        fine &= all(same(*cell) for pair in pairs for cell in zip(*pair, strict=True))
        wrong += [] if fine else [address]
    return wrong


def wrong_claims(path) -> list[str]:
    rows = pd.read_csv(path).set_index("experiment")
    wrong = [name for name in rows.index if name not in CLAIMS]
    for name, (value, n) in CLAIMS.items():
        row = rows.loc[name]
        written = [float(text) for text in re.findall(r"[\d.]+(?= %)", row.claim)]
        fine = same(row.value, value) and row.n == n
        if not fine or (value is not None and value not in written):
            wrong.append(name)
    return wrong


def test_figures_of_others_are_those_of_their_sources():
    assert wrong_figures(paths.RESULTS / "published_elsewhere.csv") == []
    assert wrong_claims(paths.RESULTS / "claims.csv") == []


def test_each_has_an_address_a_verdict_and_for_an_article_its_year():
    rows = pd.read_csv(paths.RESULTS / "published_elsewhere.csv")
    assert rows.source.str.match(r"https://[\w.]+/\S+$").all()
    assert rows.comparable.str.match(r"(yes|no|not known|with care)\b").all()
    articles = rows[rows.source.str.contains("doi|arxiv")]
    assert articles.work.str.contains(r"\(\D*20[12]\d").all()


@pytest.mark.parametrize("column", COLUMNS)
def test_an_edited_figure_is_noticed(tmp_path, column):
    rows = pd.read_csv(paths.RESULTS / "published_elsewhere.csv")
    place = rows[column].first_valid_index()
    rows.loc[place, column] = rows.loc[place, column] + 0.3
    rows.to_csv(tmp_path / "edited.csv", index=False)
    assert wrong_figures(tmp_path / "edited.csv") == [rows.source[place]]


@pytest.mark.parametrize(
    ("old", "new"), [(",91.6,", ",92.6,"), ("91 % acc", "92 % acc"), (",71,", ",624,")]
)
def test_an_edited_claim_is_noticed(tmp_path, old, new):
    path = shutil.copy(paths.RESULTS / "claims.csv", tmp_path / "claims.csv")
    text = (paths.RESULTS / "claims.csv").read_text()
    (tmp_path / "claims.csv").write_text(text.replace(old, new, 1))
    assert len(wrong_claims(path)) == 1
