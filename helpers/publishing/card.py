"""The model card of the published model; every number in it is computed.

https://huggingface.co/docs/hub/model-cards describes the format: a block of YAML, then Markdown.
"""

from pathlib import Path

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from helpers import evaluation, paths, predict, results
from helpers.models import BACKBONES
from helpers.utils import UserError, write_atomically

RULES = ("balanced", "screening", "0.5")
MEMBER = "final_member"  # one network a fold, with the recipe of the final model
FOLDS = {  # protocol: whose folds those are
    "out_of_fold": "all but the official test images",
    "cross_validated": "all images",
}
NOT_READ = "The official test images have not been read with this model yet."
TASK = {
    "task_type": "image-classification",
    "task_name": "pneumonia on pediatric chest X-rays",
    "dataset_type": "image-folder",
    "dataset_name": "Kermany chest X-rays, official test images",
    "dataset_split": "test",
}


def write() -> None:
    """Write the card beside the published model."""
    text = card()
    write_atomically(paths.MODELS / "README.md", lambda path: path.write_text(text))


def checked_facts(folder: Path | None = None, tables: Path | None = None) -> predict.Facts:
    """The facts of a model, of which every file and the thresholds were compared with them.

    Args:
        folder: of the model; None for the published one.
        tables: folder of the results that say which thresholds were selected; None likewise.

    Raises:
        UserError: a file is missing or another one, or a threshold is not the selected one.
    """
    folder, tables = folder or paths.MODELS, tables or paths.RESULTS
    facts = predict.read_facts(folder / predict.FACTS)
    for name in facts.sha256:
        predict.check_file(folder / name, facts)
    if facts.thresholds != results.operating_points(results.FINAL, folder=tables):
        raise UserError(
            f"the thresholds in {folder / predict.FACTS} are not those of "
            f"{tables / results.SELECTION}: run 12_robustness and 13_final_model again"
        )
    return facts


def card(folder: Path | None = None, tables: Path | None = None) -> str:
    """The text of the card.

    Args:
        folder: of the model; None for the published one.
        tables: folder of the results that it is described by; None for the published ones.

    Raises:
        UserError: a file is another one, or a threshold is not the selected one.
    """
    folder, tables = folder or paths.MODELS, tables or paths.RESULTS
    facts = checked_facts(folder, tables)
    measured, chosen = results.metrics(tables), results.selection(tables)
    official = measured[(measured.experiment == results.FINAL) & (measured.protocol == "official")]
    megabytes = {name: (folder / name).stat().st_size / 1e6 for name in facts.sha256}
    files = ", ".join(f"`{name}` ({size:.1f} MB)" for name, size in megabytes.items())
    body = BODY.format(
        files=files,
        side=facts.image_size,
        labels=", ".join(facts.labels),
        balanced=facts.thresholds["balanced"],
        screening=facts.thresholds["screening"],
        prevalence=_prevalence(chosen),
        figures=results.markdown(_figures(measured)),
        three=_three_classes(official) if len(official) else NOT_READ,
        fit=_fit(tables),
        calibration=_calibration(tables) if len(official) else "",
        crop=chosen.get("settings", {}).get("side", "-"),
        licence=BACKBONES["mobilenet"].licence,
    )
    return f"---\n{_front_matter(official)}\n---\n{body}"


def _front_matter(official: pd.DataFrame) -> str:
    """The block of YAML: normal against pneumonia on the official test images, where it was read.

    No `base_model`: the hub asks for one of its own models there, and Keras's weights are none.
    """
    found = []
    for name in results.HEADLINE if len(official) else ():
        rule = "" if name == "auc" else "balanced"
        row = results.metric(official, name, subset="binary", threshold_rule=rule)
        found.append(
            EvalResult(
                **TASK,
                metric_type="roc_auc" if name == "auc" else name,
                metric_name=f"{name}, 95 % interval {row.low:.3f} to {row.high:.3f}",
                metric_value=round(float(row.value), 4),
            )
        )
    return ModelCardData(
        license="mit",
        language="en",
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["chest-x-ray", "pneumonia", "pediatrics", "medical-imaging", "keras", "onnx"],
        metrics=["roc_auc", "accuracy", "recall", "specificity"],
        model_name="pediatric-pneumonia",
        eval_results=found or None,
    ).to_yaml()


def _figures(measured: pd.DataFrame) -> pd.DataFrame:
    """Normal against pneumonia: what belongs together, in percent, for each set of images."""

    def rows(experiment, protocol):
        of_protocol = measured[measured.protocol == protocol]
        return of_protocol[of_protocol.experiment == experiment]

    official, tables = rows(results.FINAL, "official"), {}
    if len(official):
        for rule in RULES:
            name = f"official test images, threshold `{rule}`"
            tables[name] = results.comparison(official, rule=rule)
        name = "those whose patient number is not in training, `balanced`"
        tables[name] = results.comparison(official, rule="balanced", disjoint=True)
    for protocol, images in FOLDS.items():
        if len(folds := rows(MEMBER, protocol)):
            name = f"five folds over {images}, `{evaluation.BALANCED_RULE}`: mean ± spread"
            tables[name] = results.comparison(folds, rule=evaluation.BALANCED_RULE)
    if len(before := rows("final_v1", "official")):
        name = "the first final model (whole pictures) on the official test images"
        tables[name] = results.comparison(before, rule="selected")
    return pd.concat(tables, names=["images"]).droplevel(["experiment", "protocol"])


def _three_classes(official: pd.DataFrame) -> str:
    table = results.three_class_comparison(official).droplevel("protocol")
    return results.markdown(table.rename(columns=lambda name: name.replace("_", ", ")))


def _prevalence(chosen: dict) -> str:
    share = chosen.get("prevalence")
    return "the validation images" if share is None else f"{100 * share:.1f} % of the images"


def _calibration(tables: Path) -> str:
    errors = evaluation.calibration_error(results.predictions(results.FINAL, folder=tables)).ece
    return (
        f"Their expected calibration error is {errors['val']:.3f} on validation and "
        f"{errors['test']:.3f} on the official test images."
    )


def _fit(tables: Path) -> str:
    rows = results.experiments(tables).query("protocol == 'official'")
    rows = rows[rows.experiment == results.FINAL]
    if rows.empty:
        return NOT_READ
    row = rows.iloc[0]
    return (
        f"{row.parameters:,} parameters; initial weights: {row.weights}; trained for "
        f"{row.train_seconds:,.0f} s on {row.device}, {row.precision}; code {row.code_version}."
    )


BODY = """
# Pneumonia on chest X-rays of children

**Not a medical device.** A study model, trained on the images of one hospital. It must not be
used for decisions about a patient.

## What it is

An image classifier. A gray chest X-ray of a child goes in (values 0-255, {side} x {side} pixels).
The network finds the lungs, crops to them, brings the gray values to one mean and spread, and gives
probabilities of {labels}. The probability of pneumonia is 1 - the probability of normal. Two
thresholds were fixed beforehand: **{balanced:.4f}** (`balanced`, the default) and
**{screening:.4f}** (`screening`, which misses fewer and alarms more often). Files: {files};
`pneumonia.json` holds the thresholds, the limits of what is answered, the labels and the hashes.
{fit}

**Base model.** MobileNet, three quarters of its width, with Keras's weights for ImageNet.

**Preprocessing.** The picture is decoded to 8-bit gray and resized to {side} x {side} pixels, its
aspect ratio not kept. All else is done inside the file: a second small network finds the box around
the lungs, the box is resampled to {crop} x {crop} pixels, and its gray values are brought to one
mean and spread.

## How to use it

```
python -m helpers.predict IMAGE...
```

It answers through ONNX Runtime. It gives no decision where a picture is no frontal chest X-ray, has
too little detail, shows no lungs, or lies farther from the training images than 99 % of these do.
The file itself, without these checks, with pictures read as the command reads them:

```python
import numpy as np
import onnxruntime
from helpers import reading

images = np.stack([reading.read_as_stored("one.jpeg", {side})])[..., None]  # uint8, 4 axes
session = onnxruntime.InferenceSession("models/pneumonia.onnx")
p = session.run(["probabilities"], {{"image": images.astype("float32")}})[0]
p_pneumonia = 1 - p[:, 0]
```

## Data

Kermany, Zhang, Goldbaum, *Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for
Classification*, Mendeley Data V2,
[doi:10.17632/rscbjbr9sj.2](https://doi.org/10.17632/rscbjbr9sj.2), CC BY 4.0: 5,856 images of
children of one to five years from Guangzhou Women and Children's Medical Center. The network that
finds the lungs has learnt from boxes on 480 training images, drawn by eye on 224-pixel copies, not
by a radiologist; `data/README.md` says how well two readings agree. Training and all figures below
are from copies of 224 x 224 pixels, JPEG with quality 75, not from the originals.

## Protocol

Recipe, thresholds and calibration were chosen on held-out predictions of the 5,232 training images,
in five folds by patient; the choice is in `results/selection.json` and was written down first. One
network then learnt from the five (distillation). **It is the second final model, and so the second
look at the 624 test images:** that framing differs between training and test was learnt from the
errors of the first one, whose figures stand below.

## Figures

Normal against pneumonia, in percent, with 95 % intervals from a bootstrap over patients; recall is
sensitivity, the share of pneumonias that are found:

{figures}

Three classes on the official test images, accuracy by the most probable one:

{three}

## Limits

- One hospital, one age group, one view. Others have found that such networks lose accuracy
  elsewhere ([Zech et al. 2018](https://doi.org/10.1371/journal.pmed.1002683)). The first final
  model was tried on 20 films of adults from elsewhere, two of them without a finding: it took 18
  for chest X-rays and called every one of the 18 pneumonia. This one has not been tried on them.
- The probabilities hold where {prevalence} are pneumonias; elsewhere they have to be calibrated
  anew. {calibration}
- Every child is either healthy or has pneumonia here. Other diseases were never seen.
- Sharpness and burned-in letters differ by class in these images as framing does, and a network may
  read them. Cropping to the lungs takes out most of the framing, not all of what differs.

## Licence

MIT, as the code; its networks began with Keras's MobileNet weights for ImageNet ({licence}), and
the radiographs are CC BY 4.0. Made by `make publish`: every number above is computed from
`results/`.
"""
