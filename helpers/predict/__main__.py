"""Ask the published model about X-rays: `python -m helpers.predict IMAGE... [--heatmap DIR]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.predict.model import FILES, Model, open_model, predict
from helpers.utils import UserError, native_messages_hidden, write_atomically

NOTE = "This is not a medical device: a study's model, not to be used for diagnosis or treatment."


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 1 when anything could not be read."""
    try:
        return _run(_parser().parse_args(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.predict",
        description="Pneumonia on frontal chest X-rays of children: what the model says.",
        epilog=NOTE,
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a JPEG, PNG or DICOM file")
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=Path,
        default=paths.MODELS / FILES[0],
        help=".keras or .onnx",
    )
    parser.add_argument(
        "--heatmap", metavar="DIR", type=Path, help="where the model looked, as PNG"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.heatmap:
        _check_heatmap(options)
    model = open_model(options.model)
    rows, pictures = [], []
    for row, picture in predict(model, options.images):
        if "error" in row:
            print(f"error: {row['error']}", file=sys.stderr)
        elif not options.json:
            print(_line(row))
        rows.append(row)
        pictures.append(picture)
    if options.heatmap:
        _write_heatmaps(model, rows, pictures, options.heatmap)
    said = {"model": str(model.path), "threshold": model.facts.threshold, "note": NOTE}
    if options.json:
        print(json.dumps({**said, "images": rows}, indent=1))
    else:
        print(f"{said['model']}, pneumonia from {100 * said['threshold']:.1f} % on. {NOTE}")
    return int(any("error" in row for row in rows))


def _line(row: dict) -> str:
    answer = row["prediction"]
    if answer is None:
        return f"{row['file']}: {row['reason']}: no prediction"
    p, bacteria, virus = (100 * answer[f"p_{x}"] for x in ("pneumonia", "bacteria", "virus"))
    return (
        f"{row['file']}: probability of pneumonia {p:.1f} % (bacterial {bacteria:.1f} %, "
        f"viral {virus:.1f} %), decision: {answer['decision']}"
    )


def _check_heatmap(options: argparse.Namespace) -> None:
    if options.model.suffix == ".onnx":
        raise UserError("heat maps need the Keras model: give a .keras file with --model")
    try:
        options.heatmap.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {options.heatmap} ({error.strerror}). Name another one"
        ) from error


def _write_heatmaps(model: Model, rows: list[dict], pictures: list, folder: Path) -> None:
    """Write a heat map for each row that has a picture, and its path into the row."""
    from PIL import Image

    from helpers import explain
    from helpers.models import Ensemble

    places = [place for place, picture in enumerate(pictures) if picture is not None]
    if not places:
        return
    images = np.stack([pictures[place] for place in places])
    with native_messages_hidden():
        heat = explain.grad_cam(Ensemble.from_model(model.network), images[..., None])
    names = _heatmap_names([rows[place]["file"] for place in places])
    for place, name, image, warm in zip(places, names, images, heat, strict=True):
        write_atomically(folder / name, Image.fromarray(explain.overlay(image, warm)).save)
        rows[place]["heatmap"] = str(folder / name)


def _heatmap_names(files: Sequence[str]) -> list[str]:
    """A file name for each file's heat map; one in use, in any case, gets a number."""
    names, used = [], set()
    for file in files:
        stem, number = f"{Path(file).stem}-heatmap", 1
        name = f"{stem}.png"
        while name.lower() in used:
            number += 1
            name = f"{stem}-{number}.png"
        used.add(name.lower())
        names.append(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
