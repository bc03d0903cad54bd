"""A page with a threshold and a prevalence to move, over the published test predictions.

Its markup and its wiring stand in `interactive.html`, its arithmetic in `interactive.js`; both come
with the predictions and the chart library in one file, which needs no server and no network.
"""

import json
import re
from pathlib import Path

import numpy as np

from helpers import evaluation, plotting, results
from helpers.data import LABELS
from helpers.utils import UserError

TITLE = "Move the threshold"
HERE = Path(__file__).parent
MODELS = (results.FINAL, "final_v1")  # the first that has test predictions
METRICS = ("accuracy", "recall", "specificity")
LINE = "Not a medical device: a study of one hospital's images."
HEAD = """<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 0 1rem 2rem; max-width: 60rem; font: 1rem/1.5 system-ui, sans-serif;
  color: light-dark(#1c2430, #e2e5e9); background: light-dark(#fff, #131416); }
</style>"""


def facts(tables: Path | None = None) -> dict:
    """What the page knows, of a folder of results (None: the published ones); ready for JSON.

    images: file, label and p (of pneumonia, 0-1) of every official test image; points: thresholds
    by name; learnt: the share of the ill (0-1) for which the probabilities hold; intervals: `cuts`,
    the n different values of p in increasing order, and for each metric n + 1 pairs (low, high),
    for the thresholds up to each cut and for those above the last one.

    Raises:
        UserError: no final model has predicted the official test images.
    """
    name = model(tables)
    table = results.predictions(name, folder=tables).query("split == 'test'")
    binary = evaluation.collapse(table)
    cuts = np.unique(binary.p_pneumonia)
    measured = results.metrics(tables).query("experiment == @name and protocol == 'official'")
    subset = "binary" if evaluation.CLASSES[0] in table else "all"
    auc = results.metric(measured, "auc", subset=subset)
    return {
        "told": f"The answers of {name} on the {len(binary)} official test images. {LINE}",
        "images": {
            "file": list(binary.file),
            "label": list(binary.label),
            "p": list(binary.p_pneumonia),
        },
        "points": results.operating_points(name, folder=tables) | {"one half": 0.5},
        "learnt": results.selection(tables, name)["prevalence"],
        "auc": results.format_interval(auc),
        "intervals": {"cuts": list(cuts)} | _intervals(binary, cuts),
        "colors": {label: plotting.COLORS[label] for label in LABELS},
    }


def model(tables: Path | None = None) -> str:
    """The final model that the page shows: the newest with test predictions; else UserError."""
    rows = results.experiments(tables).query("protocol == 'official'")
    there = [name for name in MODELS if name in set(rows.experiment)]
    if not there:
        raise UserError(
            f"no test predictions of {' or '.join(MODELS)}: run 13_final_model and publish its run"
        )
    return there[0]


def _intervals(binary, cuts) -> dict:
    """Of each metric (low, high) at each cut and above the last one; as `evaluation.metrics`."""
    thresholds = {str(i): cut for i, cut in enumerate([*cuts, 1 + cuts[-1]])}
    rows = evaluation.metrics(binary, thresholds=thresholds)
    rows = rows[rows.threshold_rule.isin(list(thresholds))].round(4)
    found = {}
    for name in METRICS:
        chosen = rows[rows.metric == name].set_index("threshold_rule").loc[list(thresholds)]
        found[name] = chosen[["low", "high"]].values.tolist()
    return found


def library() -> str:
    """The chart library, Vega-Lite, as one script; from the package vl-convert-python."""
    try:
        import vl_convert
    except ImportError as error:
        raise UserError("the charts need vl-convert-python: `make site` installs it") from error
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def fragment(known: dict, charts: str) -> str:
    """The page without its head, to be put into another one.

    Args:
        known: as `facts` gives it.
        charts: the chart library as a script; where it is empty, the page shows numbers only.
    """
    parts = {
        "facts": json.dumps(known),
        "library": charts,
        "arithmetic": (HERE / "interactive.js").read_text(),
    }
    parts = {name: text.replace("</script", "<\\/script") for name, text in parts.items()}
    template = (HERE / "interactive.html").read_text()
    return re.sub(r"\{\{ (\w+) \}\}", lambda match: parts[match[1]], template)


def page(body: str) -> str:
    """The page as one HTML file of its own, around its `fragment`."""
    head = f"{HEAD}\n<title>{TITLE}</title>"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n'
        f"<body>\n<h1>{TITLE}</h1>\n{body}\n</body>\n</html>\n"
    )
