"""The model card of the published model; every number in it is computed.

https://huggingface.co/docs/hub/model-cards describes the format: a block of YAML, then Markdown.
"""

from pathlib import Path

import pandas as pd
import yaml

from helpers import evaluation, paths, predict, results
from helpers.utils import UserError, write_atomically

RULES = ("selected", "0.5", evaluation.RECALL_RULE)
DATASET = {
    "name": "Kermany chest X-rays, official test images",
    "type": "image-folder",
    "split": "test",
}


def write() -> None:
    """Write the card beside the published model."""
    text = card()
    write_atomically(paths.MODELS / "README.md", lambda path: path.write_text(text))


def checked_facts(folder: Path | None = None, tables: Path | None = None) -> predict.Facts:
    """The facts of a model, of which every file and the threshold were compared with them.

    Args:
        folder: of the model; None for the published one.
        tables: folder of the results that say which threshold was selected; None likewise.

    Raises:
        UserError: a file is missing or another one, or the threshold is not the selected one.
    """
    folder, tables = folder or paths.MODELS, tables or paths.RESULTS
    facts = predict.read_facts(folder / predict.FACTS)
    for name in facts.sha256:
        predict.check_file(folder / name, facts)
    if facts.threshold != results.selection(tables).get("threshold"):
        raise UserError(
            f"the threshold in {folder / predict.FACTS} is not that of "
            f"{tables / results.SELECTION}: run 12_robustness and 13_final_model again"
        )
    return facts


def card(folder: Path | None = None, tables: Path | None = None) -> str:
    """The text of the card.

    Args:
        folder: of the model; None for the published one.
        tables: folder of the results that it is described by; None for the published ones.

    Raises:
        UserError: a file is another one, the threshold is not the selected one, or the final model
            has no results.
    """
    folder, tables = folder or paths.MODELS, tables or paths.RESULTS
    facts = checked_facts(folder, tables)
    measured = results.metrics(tables)
    final = measured[measured.experiment == results.FINAL]
    official = final[final.protocol == "official"]
    if official.empty:
        raise UserError(
            f"no experiment {results.FINAL} in {tables}: run 13_final_model before publishing"
        )
    megabytes = {name: (folder / name).stat().st_size / 1e6 for name in facts.sha256}
    files = ", ".join(f"`{name}` ({size:.1f} MB)" for name, size in megabytes.items())
    head = yaml.safe_dump(_front_matter(official), sort_keys=False, allow_unicode=True)
    body = BODY.format(
        files=files,
        side=facts.image_size,
        labels=", ".join(facts.labels),
        threshold=facts.threshold,
        prevalence=_prevalence(results.selection(tables)),
        figures=results.markdown(_figures(final)),
        three=_three_classes(official),
        fit=_fit(tables),
    )
    return f"---\n{head}---\n{body}"


def _front_matter(official: pd.DataFrame) -> dict:
    """The block of YAML: normal against pneumonia on the official test images."""
    found = []
    for name in results.HEADLINE:
        rule = "" if name == "auc" else "selected"
        row = results.metric(official, name, subset="binary", threshold_rule=rule)
        found.append(
            {
                "type": "roc_auc" if name == "auc" else name,
                "value": round(float(row.value), 4),
                "name": f"{name}, 95 % interval {row.low:.3f} to {row.high:.3f}",
            }
        )
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


def _figures(final: pd.DataFrame) -> pd.DataFrame:
    """Normal against pneumonia: what belongs together, in percent, for each set of images."""
    official, folds = (final[final.protocol == name] for name in ("official", "cross_validated"))
    tables = {
        f"official test images, threshold rule `{rule}`": results.comparison(official, rule=rule)
        for rule in RULES
    }
    tables["those whose patient number is not in training, `selected`"] = results.comparison(
        official, rule="selected", disjoint=True
    )
    if len(folds):
        name = "five folds over all images, `selected`: mean ± spread"
        tables[name] = results.comparison(folds, rule="selected")
    return pd.concat(tables, names=["images"]).droplevel(["experiment", "protocol"])


def _three_classes(official: pd.DataFrame) -> str:
    table = results.three_class_comparison(official).droplevel("protocol")
    return results.markdown(table.rename(columns=lambda name: name.replace("_", ", ")))


def _prevalence(chosen: dict) -> str:
    share = chosen.get("prevalence")
    return "the validation images" if share is None else f"{100 * share:.1f} % of the images"


def _fit(tables: Path) -> str:
    rows = results.experiments(tables).query("protocol == 'official'")
    row = rows[rows.experiment == results.FINAL].iloc[0]
    return (
        f"{row.parameters:,} parameters; initial weights: {row.weights}; trained for "
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
validation images, which share no patient with training, under corruptions of sharpness, framing
and exposure; the choice is in `results/selection.json` and was written down first. Five folds over
all images, split by patient, are the estimate with the least luck in it.

## Figures

Normal against pneumonia, in percent, with 95 % intervals from a bootstrap over patients; recall is
sensitivity, the share of pneumonias that are found:

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
`results/`.
"""
