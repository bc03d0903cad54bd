"""The model card of the shipped model, in the format of Hugging Face; every number is computed.

https://huggingface.co/docs/hub/model-cards describes the format: a block of YAML, then Markdown.
"""

import json
from pathlib import Path

import pandas as pd
import yaml

from helpers import results
from helpers.settings import PROJECT, RESULTS, SELECTION, UserError, sha256, write_atomically

MODELS = PROJECT / "models"
FACTS = "pneumonia.json"  # threshold, image size, labels, hashes
RULES = ("selected", "0.5", "val_recall_0.98")
DATASET = {
    "name": "Kermany chest X-rays, official test images",
    "type": "image-folder",
    "split": "test",
}


def facts(folder: Path = MODELS) -> dict:
    """What is written beside a model: threshold, image_size, labels, sha256 of its files.

    Raises:
        UserError: a file is missing or another one than was written down.
    """
    found = json.loads((folder / FACTS).read_text())
    for name, digest in found["sha256"].items():
        if not (folder / name).exists() or sha256(folder / name) != digest:
            raise UserError(
                f"{folder / name} is not the file that {FACTS} names: run the notebook "
                "12_final_model again"
            )
    return found


def write(folder: Path = MODELS, tables: Path = RESULTS) -> None:
    """Write the card beside the model."""
    text = card(folder, tables)
    write_atomically(folder / "README.md", lambda path: path.write_text(text))


def card(folder: Path = MODELS, tables: Path = RESULTS) -> str:
    """The text of the card.

    Args:
        folder: of the model.
        tables: folder of the results that it is described by.

    Raises:
        UserError: the model's threshold is not the selected one, or `final` has no results.
    """
    model, chosen = facts(folder), results.selection(tables)
    measured = results.metrics(tables)
    if "final" not in set(measured.experiment):
        raise UserError(f"no experiment final in {tables}: run 12_final_model before publishing")
    if model["threshold"] != chosen.get("threshold"):
        raise UserError(
            f"the threshold in {folder / FACTS} is not that of {tables / SELECTION}: run "
            "11_stress_validation and 12_final_model again"
        )
    megabytes = {name: (folder / name).stat().st_size / 1e6 for name in model["sha256"]}
    files = ", ".join(f"`{name}` ({size:.1f} MB)" for name, size in megabytes.items())
    head = yaml.safe_dump(_front_matter(measured), sort_keys=False, allow_unicode=True)
    body = BODY.format(
        files=files,
        side=model["image_size"],
        labels=", ".join(model["labels"]),
        threshold=model["threshold"],
        prevalence=_prevalence(chosen),
        figures=results.markdown(_figures(measured)),
        three=_three_classes(measured),
        fit=_fit(tables),
    )
    return f"---\n{head}---\n{body}"


def _front_matter(measured: pd.DataFrame) -> dict:
    number = {"experiment": "final", "protocol": "official", "threshold_rule": "selected"}
    rates = [results.number(measured, name, **number) for name in results.HEADLINE[1:]]
    ranking = results.number(measured, "auc", **number | {"threshold_rule": ""})
    values = [("roc_auc", ranking), *zip(results.HEADLINE[1:], rates, strict=True)]
    found = [
        {
            "type": kind,
            "value": round(float(row.value), 4),
            "name": f"{row.metric}, 95 % interval {row.low:.3f} to {row.high:.3f}",
        }
        for kind, row in values
    ]
    task = {"type": "image-classification", "name": "pneumonia on pediatric chest X-rays"}
    return {
        "license": "mit",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["chest-x-ray", "pneumonia", "pediatrics", "medical-imaging", "keras", "onnx"],
        "metrics": ["roc_auc", "accuracy", "recall", "specificity"],
        "model-index": [
            {
                "name": "pediatric-pneumonia",
                "results": [{"task": task, "dataset": DATASET, "metrics": found}],
            }
        ],
    }


def _figures(measured: pd.DataFrame) -> pd.DataFrame:
    """Normal against pneumonia: what belongs together, in percent, for each set of images."""
    own = measured[measured.experiment == "final"]
    official, folds = (own[own.protocol == name] for name in ("official", "cross_validated"))
    strangers = official[official.subset == "disjoint"].assign(subset="all")
    groups = {f"official test images, threshold rule `{rule}`": (official, rule) for rule in RULES}
    groups["those whose patient number is not in training, `selected`"] = strangers, "selected"
    if len(folds):
        groups["five folds over all images, `selected`: mean ± spread"] = folds, "selected"
    tables = {name: results.comparison(rows, rule=rule) for name, (rows, rule) in groups.items()}
    return pd.concat(tables, names=["images"]).droplevel(["experiment", "protocol"])


def _three_classes(measured: pd.DataFrame) -> str:
    chosen = measured.experiment.eq("final_three_class") & measured.protocol.eq("official")
    if not chosen.any():
        return "Not measured."
    table = results.three_class_comparison(measured[chosen]).droplevel("protocol")
    return results.markdown(table.rename(columns=lambda name: name.replace("_", ", ")))


def _prevalence(chosen: dict) -> str:
    share = chosen.get("prevalence")
    return "the validation images" if share is None else f"{100 * share:.1f} % of the images"


def _fit(tables: Path) -> str:
    rows = results.experiments(tables).query("protocol == 'official'")
    row = rows[rows.experiment == "final"].iloc[0]
    return (
        f"{row.parameters:,} parameters; first weights: {row.weights}; trained for "
        f"{row.train_seconds:,.0f} s on {row.device}, {row.precision}; code {row.code_version}."
    )


BODY = """
# Pneumonia on chest X-rays of children

**Not a medical device.** A study model, trained on the images of one hospital. It must not be
used for decisions about a patient.

## What it is

An image classifier: a gray chest X-ray of a child goes in (values 0-255, {side} x {side} pixels),
the calibrated probabilities of {labels} come out. The probability of pneumonia is 1 - the
probability of normal; it is called pneumonia from **{threshold:.4f}** on. Files: {files};
`pneumonia.json` holds the threshold, the image size, the labels and the hashes. {fit}

## How to use it

```
python -m helpers.predict IMAGE...
```

or in Python, with images of shape (n, {side}, {side}, 1):

```python
import keras

model = keras.models.load_model("models/pneumonia.keras")
p_pneumonia = 1 - model.predict(images)[:, 0]
```

or `onnxruntime.InferenceSession("models/pneumonia.onnx")`, without Keras.

## Data

Kermany, Zhang, Goldbaum, *Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for
Classification*, Mendeley Data V2,
[doi:10.17632/rscbjbr9sj.2](https://doi.org/10.17632/rscbjbr9sj.2), CC BY 4.0: 5,856 images of
children of one to five years from Guangzhou Women and Children's Medical Center.

## Protocol

The official 624 test images were read once. Settings, threshold and calibration were chosen on
validation images, which share no patient with training, under changes of sharpness, framing and
exposure; the choice is in `results/selection.json` and was written down first. Five folds over
all images, split by patient, are the estimate with the least luck in it.

## Figures

Normal against pneumonia, in percent, with 95 % intervals from a bootstrap over patients:

{figures}

Three classes on the official test images, accuracy by the most probable one:

{three}

## Limits

- One hospital, one age group, one view. Nothing is known of adults, other hospitals or other
  machines; others have found that such networks lose accuracy elsewhere ([Zech et al.
  2018](https://doi.org/10.1371/journal.pmed.1002683)).
- The probabilities hold where {prevalence} are pneumonias; elsewhere they have to be calibrated
  anew.
- Threshold and calibration come from validation images whose pneumonias are harder than those of
  test: there it misses few and calls many normals ill, most of all blurred and bright ones.
- Every child is either healthy or has pneumonia here. Other diseases were never seen.
- Sharpness, framing and burned-in letters differ by class in these images, and a network reads
  them too.

## Licence

MIT, as the code; its networks began with Keras's MobileNet weights for ImageNet (Apache 2.0), and
the radiographs are CC BY 4.0. Made by `make publish`: every number above is computed from
`results/`. """
