"""Ask the published model about X-rays: `python -m helpers.predict IMAGE... [--heatmap DIR]`."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.predict.facts import POINTS
from helpers.predict.model import BATCH, KERAS, MEANINGS, NOTE, ONNX, Model, open_model, predict
from helpers.utils import UserError, command_line, shown, write_atomically


@command_line
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 1 when anything could not be read or written."""
    with suppress(AttributeError):  # where something else has taken the place of a stream
        sys.stdout.reconfigure(errors="backslashreplace")  # names in scripts that it lacks
    try:
        return _run(_parser().parse_args(arguments))
    except OSError as error:  # of the standard output: files have their own errors
        if not isinstance(error, BrokenPipeError):  # whoever reads it has seen enough
            print(f"error: cannot write the answers: {error.strerror}", file=sys.stderr)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python writes what is left when it ends
        os.close(nowhere)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.predict",
        description="Pneumonia on frontal chest X-rays of children: what the model says.",
        epilog=NOTE,
    )
    add = parser.add_argument
    add("images", metavar="IMAGE", nargs="+", help="a JPEG, PNG or DICOM file")
    add("--model", metavar="FILE", type=Path, help=".onnx (fast) or .keras")
    add(
        "--operating-point",
        choices=POINTS,
        default=POINTS[0],
        help="; ".join(f"{point}: {meaning}" for point, meaning in MEANINGS.items())
        + f"; {POINTS[0]} is the default",
    )
    add("--force", action="store_true", help="answer also where something speaks against it")
    add("--heatmap", metavar="DIR", type=Path, help="what speaks for pneumonia where, as PNG")
    add("--json", action="store_true", help="one JSON document instead of lines")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.heatmap:
        _check_heatmap(options)
    model = open_model(options.model or paths.MODELS / (KERAS if options.heatmap else ONNX))
    rows, failed = [], False
    for row in _rows(model, options):
        if "error" in row:
            failed = True
            print(f"error: {row['error']}", file=sys.stderr)
        elif not options.json:
            print(_line(row), flush=True)
        if "heatmap_error" in row:
            failed = True
            print(f"error: {row['heatmap_error']}", file=sys.stderr)
        if options.json:
            rows.append(row)
    point = options.operating_point
    said = {"model": str(model.path), "operating_point": point}
    said |= {"threshold": model.facts.thresholds[point], "note": NOTE}
    if options.json:
        print(json.dumps({**said, "images": rows}, indent=1), flush=True)
    else:
        threshold = f"{point}, pneumonia from {100 * said['threshold']:.1f} % on"
        print(f"{shown(said['model'])}, operating point {threshold}. {NOTE}", flush=True)
    return int(failed)


def _rows(model: Model, options: argparse.Namespace) -> Iterator[dict]:
    """The row of each image; where heat maps are wanted, with the path of its own."""
    used: set[str] = set()
    for start in range(0, len(options.images), BATCH):
        files = options.images[start : start + BATCH]
        answers = list(predict(model, files, options.operating_point, options.force))
        if options.heatmap:
            _write_heatmaps(model, answers, options.heatmap, used)
        yield from (row for row, _ in answers)


def _line(row: dict) -> str:
    answer = row["prediction"]
    file = shown(row["file"])
    if answer is None:
        return f"{file}: {row['reason']}: no decision"
    p, bacteria, virus = (100 * answer[f"p_{x}"] for x in ("pneumonia", "bacteria", "virus"))
    return (
        f"{file}: probability of pneumonia {p:.1f} % (bacterial {bacteria:.1f} %, "
        f"viral {virus:.1f} %), decision: {answer['decision']}"
        + (f" (forced: {row['reason']})" if "reason" in row else "")
    )


def _check_heatmap(options: argparse.Namespace) -> None:
    if options.model and options.model.suffix == ".onnx":
        raise UserError("heat maps need the Keras model: give a .keras file with --model")
    try:
        options.heatmap.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {options.heatmap} ({error.strerror}). Name another one"
        ) from error


def _write_heatmaps(model: Model, answers: list[tuple], folder: Path, used: set[str]) -> None:
    """Write a heat map for each row that has a picture, and its path into the row.

    One that cannot be written leaves its error there instead, as `heatmap_error`.
    """
    pictured = [(row, picture) for row, picture in answers if picture is not None]
    if not pictured:
        return
    from helpers.predict import heat

    pictures = np.stack([picture for _, picture in pictured])
    boxes = np.array([row["prediction"]["box"] for row, _ in pictured])
    maps = heat.heat_maps(model, pictures, boxes)
    for (row, _), drawn in zip(pictured, maps, strict=True):
        path = folder / heat.file_name(row["file"], used)
        try:
            write_atomically(path, drawn.save)
        except UserError as error:
            row["heatmap_error"] = str(error)
        else:
            row["heatmap"] = str(path)


if __name__ == "__main__":
    sys.exit(main())
