"""How the published model does on anybody's pictures, as one page.

`python -m helpers.publishing.hospital FOLDER`, or `make evaluate`, reads the pictures that a table
names (see `data.labelled_pictures`), and writes an HTML page that needs no other file, and beside
it the predictions as CSV.
"""

import argparse
import base64
import io
import sys
from functools import partial
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from helpers import data, evaluation, paths, plotting, predict, results
from helpers.utils import UserError, command_line, write_atomically

TEMPLATE = Path(__file__).with_name("hospital.html")
PROBABILITIES = [*evaluation.CLASSES, "p_pneumonia"]
COLUMNS = ["file", "patient", "label", *PROBABILITIES, "no_decision"]  # of the CSV file
SHARP = 160  # dots per inch of the figures


def ask(model: predict.Model, pictures: pd.DataFrame) -> pd.DataFrame:
    """What the model says of labelled pictures, also where something speaks against an answer.

    Args:
        model: an opened one.
        pictures: as `data.labelled_pictures` gives them.

    Returns:
        A prediction table (see `evaluation`) of the split test, with its four probabilities, NaN
        where a picture cannot be read; and no_decision, what is against an answer, or "".
    """
    asked = predict.predict(model, list(pictures.path), forced=True)
    rows = [row for row, _ in tqdm(asked, total=len(pictures), unit=" pictures", disable=None)]
    table = pictures[["file", "patient", "label"]].assign(split="test")
    for name in PROBABILITIES:
        said = [row["prediction"] or {} for row in rows]
        table[name] = [answer.get(name, np.nan) for answer in said]
    return table.assign(no_decision=[_against(row) for row in rows])


def _against(row: dict) -> str:
    if "error" in row:
        return row["error"].replace(row["file"], "it").partition(". A whole")[0]
    return row.get("reason", "")


def measure(table: pd.DataFrame, thresholds: dict[str, float], resamples: int = 2000) -> dict:
    """The figures of predicted pictures as texts: percent with 95 % intervals.

    Args:
        table: rows of `ask`, none of them without probabilities.
        thresholds: on p_pneumonia, by operating point.
        resamples: of the bootstrap over patients.

    Returns:
        n; auc, "" where one class has no picture; points, a table with one column an operating
        point; three, a table with one row a figure, and confusion, both None unless all three
        labels are there and no other.
    """
    three = set(table.label) == set(data.LABELS)
    known = table.drop(columns="p_pneumonia") if three else evaluation.collapse(table)
    measured = evaluation.metrics(known, thresholds=thresholds, resamples=resamples)
    cells = measured.apply(partial(results.format_interval, unit=""), axis=1)
    rows = measured.assign(cell=cells)
    binary = rows[rows.subset == ("binary" if three else "all")]
    auc = binary[binary.metric == "auc"].cell
    found = {"n": len(table), "auc": "".join(auc), "three": None, "confusion": None}
    found["points"] = pd.DataFrame(
        {name: _at_point(table, binary, name, cut) for name, cut in thresholds.items()}
    )
    if three:
        figures = rows[
            (rows.subset == "all") & rows.metric.isin(["accuracy", "auc", *results.RECALLS])
        ]
        names = figures.metric.replace("auc", "AUC (mean, one against rest)").str.replace(
            "_", " of "
        )
        found["three"] = pd.DataFrame({"figure": names, "percent": figures.cell})
        found["confusion"] = evaluation.confusion(known)
    return found


def _at_point(table: pd.DataFrame, binary: pd.DataFrame, name: str, threshold: float) -> dict:
    """What an operating point gives: rates, and what became of the pictures."""
    cells = binary[binary.threshold_rule == name].set_index("metric").cell
    counts = evaluation.outcomes(table, threshold).outcome.value_counts()
    return {
        "pneumonia from, %": f"{100 * threshold:.1f}",
        "accuracy, %": cells.accuracy,
        "sensitivity (recall), %": cells.get("recall", "-"),
        "specificity, %": cells.get("specificity", "-"),
        **{outcome: str(counts[outcome]) for outcome in evaluation.OUTCOMES},
    }


def figures(table: pd.DataFrame, thresholds: dict[str, float], prevalence: float | None) -> dict:
    """ROC curve and reliability diagram, by name; empty where one class has no picture.

    Args:
        table: as `measure` takes it.
        thresholds: on p_pneumonia, by operating point; marked on the ROC curve.
        prevalence: the share of pneumonias that the probabilities hold for; None if not known.
    """
    ill = table.label != "normal"
    if ill.all() or not ill.any():
        return {}
    curve = plotting.roc({"the model": table})
    (axis,) = curve.axes
    plotting.operating_points(axis, table, thresholds)
    axis.set_title("")
    axis.legend(loc="lower right")
    answers = {"as the model says": table}
    if prevalence:
        here = evaluation.prevalence(table)
        answers["for the prevalence here"] = evaluation.shift_predictions(table, here, prevalence)
    diagram = plotting.reliability(answers, ["test"])
    diagram.set_size_inches(0.7 * plotting.WIDTH, 4.6)
    diagram.axes[0].set_title("")
    errors = {name: evaluation.calibration_error(said, ["test"]) for name, said in answers.items()}
    calibration = pd.concat(errors).droplevel("split").rename_axis("probabilities")
    calibration = calibration.rename(columns={"brier": "Brier score", "ece": "calibration error"})
    return {
        "roc": _inline(curve),
        "reliability": _inline(diagram),
        "calibration": calibration.map("{:.3f}".format).reset_index(),
    }


def _inline(figure: Figure) -> str:
    """A figure as the address of a PNG that holds itself."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=SHARP, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def page(
    name: str,
    model: predict.Model,
    pictures: pd.DataFrame,
    table: pd.DataFrame,
    resamples: int = 2000,
) -> str:
    """The page, HTML.

    Args:
        name: of the pictures.
        model: an opened one.
        pictures: as `data.labelled_pictures` gives them.
        table: what `ask` gives for them.
        resamples: of the bootstrap over patients.
    """
    readable = table[table.p_pneumonia.notna()]
    answered, against = table[table.no_decision == ""], table[table.no_decision != ""]
    cuts, prevalence = model.facts.thresholds, results.selection().get("prevalence")
    measured = {
        "answered": measure(answered, cuts, resamples) if len(answered) else None,
        "all": measure(readable, cuts, resamples) if len(readable) > len(answered) else None,
    }
    decided = np.where(table.no_decision == "", "answered", "no decision")
    counts = pd.crosstab(table.label, decided).rename_axis(columns=None)
    order = [label for label in (*data.LABELS, data.PNEUMONIA) if label in counts.index]
    return _template().render(
        **measured,
        name=name,
        model=model,
        note=predict.NOTE,
        meanings=predict.MEANINGS,
        table=table,
        counts=counts.loc[order].reset_index(),
        ill=100 * (table.label != "normal").mean(),
        held=100 * prevalence if prevalence else None,
        patients=table.patient.nunique(),
        against=against[["file", "label", "no_decision"]].rename(
            columns={"no_decision": "what is against it"}
        ),
        synthetic=sum(map(_is_synthetic, pictures.path)),
        learnt=_learnt_from(table.file),
        figures=figures(answered, cuts, prevalence) if len(answered) else {},
    )


def _template() -> jinja2.Template:
    known = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return known.from_string(TEMPLATE.read_text())


def _is_synthetic(path: str) -> bool:
    with open(path, "rb") as file:
        return data.synthetic.is_synthetic(file.read(2048))


def _learnt_from(files: pd.Series) -> int:
    """How many files have the name of an image that the published model has learnt from."""
    known = pd.read_csv(paths.MANIFEST)
    learnt = set(known.file[known.official_split != "test"])
    return int(files.map(lambda file: Path(file).name).isin(learnt).sum())


def write(folder: Path, labels: Path | None, target: Path, model: predict.Model) -> pd.DataFrame:
    """Write the page, and the predictions beside it as CSV; returns what `ask` gives.

    Args:
        folder: of the pictures.
        labels: their table; None for `labels.csv` in the folder.
        target: `.html`.
        model: an opened one.

    Raises:
        UserError: the table is wrong or names a picture that is missing, or nothing can be written.
    """
    pictures = data.labelled_pictures(folder, labels, patients=False)
    table = ask(model, pictures)
    text = page(folder.absolute().name, model, pictures, table)
    write_atomically(target.with_suffix(".csv"), partial(table[COLUMNS].to_csv, index=False))
    write_atomically(target, lambda path: path.write_text(text))
    return table


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.publishing.hospital",
        description="How the published model does on labelled pictures, as an HTML page.",
        epilog=predict.NOTE,
    )
    add = parser.add_argument
    add("folder", help="of the pictures")
    add("--labels", type=Path, metavar="FILE", help="CSV; labels.csv in the folder if not named")
    add("--page", type=Path, metavar="FILE", help=".html; below runs/ if not named")
    add("--model", type=Path, metavar="FILE", help=".onnx (fast) or .keras")
    _run(parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    folder = Path(options.folder).absolute()
    if not options.folder or not folder.is_dir():
        raise UserError(f"no folder {options.folder!r}: name that of the pictures, as FOLDER=...")
    labels = options.labels
    if labels and not labels.exists():
        labels = folder / labels
    target = options.page or paths.RUNS / f"evaluation-{folder.name}.html"
    if target.suffix != ".html":
        raise UserError(f"{target}: the name of a page ends in .html")
    table = write(folder, labels, target, predict.open_model(options.model))
    said = (table.no_decision == "").sum()
    print(f"{len(table)} pictures, {said} of them answered: {target}. {predict.NOTE}")


if __name__ == "__main__":
    sys.exit(main())
