"""Ask the shipped model about X-rays.

    python -m helpers.predict IMAGE... [--model FILE] [--heatmap DIR] [--json]

Beside a model `NAME.keras` or `NAME.onnx` lies `NAME.json`: threshold (on p_pneumonia), image_size,
labels, sha256 of the files, and chest_check, what `fit_chest_check` found. TensorFlow, ONNX Runtime
and pydicom are imported when they are needed, so that help and mistakes come at once.
"""

import argparse
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from helpers.settings import (
    LABELS,
    PROJECT,
    UserError,
    native_messages_hidden,
    sha256,
    write_atomically,
)

MODEL = PROJECT / "models" / "pneumonia.keras"
NOTE = "This is not a medical device: a study's model, not to be used for diagnosis or treatment."
NO_CHEST = "does not look like a frontal chest X-ray"
BATCH = 32
STORED_SIDE, STORED_QUALITY = 224, 75  # of the JPEGs that the shipped model has learnt from
DEPTHS = (8, 10, 12, 14, 16)  # bits of a gray value
THUMBNAIL, BLUR, COMPONENTS = 16, 0.15, 16  # side; sigma as a share of it; principal components
RIDGE = 100.0


@dataclass(frozen=True)
class Model:
    """A shipped model, opened.

    Attributes:
        path: of its file.
        facts: what lies beside it: threshold, image_size, labels, sha256, chest_check.
        probabilities: from raw images (n, side, side, 1) to (n, 3), normal, bacteria, virus.
        network: the Keras model; None for ONNX.
    """

    path: Path
    facts: dict
    probabilities: Callable[[np.ndarray], np.ndarray]
    network: object | None = None


def open_model(path: Path | str = MODEL) -> Model:
    """Open a `.keras` or `.onnx` file, after comparing it with the hash that is written down.

    Raises:
        UserError: the file or what belongs beside it is missing, incomplete or another one.
    """
    path = Path(path)
    facts = _facts(path)
    with native_messages_hidden():
        if path.suffix == ".onnx":
            return Model(path, facts, _onnx(path))
        from helpers.models import keras

        network = keras.saving.load_model(path, compile=False)
    return Model(path, facts, partial(_keras, network), network)


def _facts(path: Path) -> dict:
    if path.suffix not in (".keras", ".onnx"):
        raise UserError(f"model {path}: a .keras or .onnx file is wanted")
    beside = path.with_suffix(".json")
    for needed in (path, beside):
        if not needed.is_file():
            raise UserError(f"no file {needed}: name a model with --model, its .json beside it")
    try:
        facts = json.loads(beside.read_text())
        digest = facts["sha256"][path.name]
        complete = {"threshold", "image_size", "chest_check"} <= facts.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        complete = False
    if not complete:
        raise UserError(f"{beside} does not describe {path.name}: get both files again")
    if sha256(path) != digest:
        raise UserError(f"{path} is not the file that {beside.name} describes: get both again")
    return facts


def _keras(network, images: np.ndarray) -> np.ndarray:
    return network.predict(np.asarray(images, np.float32), batch_size=BATCH, verbose=0)


def _onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: np.asarray(images, np.float32)})[0]


def read_picture(path: Path | str, side: int) -> np.ndarray:
    """A picture of any size and kind as the shipped model sees it: uint8, (side, side), 0-255.

    The model has learnt from files of 224 x 224 pixels, so any other picture is brought to that
    size and through the same JPEG compression first. For the published originals this gives the
    very pixels of their 224-pixel versions: they were made by this filter and quality. The last
    step is the one of `helpers.data.load`, which takes a shortcut for sides of up to 56 pixels.

    JPEG, PNG, whatever else Pillow knows, and DICOM. Turned as its EXIF says; what is transparent
    counts as black; more than 8 bits are scaled (see `_to_8_bits`); the aspect ratio is not kept.

    Raises:
        UserError: the file cannot be read, or is DICOM and pydicom is not there.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and large pictures
            gray = _decode(Path(path))
    except UserError:
        raise
    except Exception as error:  # decoders raise all kinds
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(
            f"cannot read {path} ({reason or type(error).__name__}). Give a JPEG, PNG or DICOM file"
        ) from error
    if gray.size != (STORED_SIDE, STORED_SIDE):
        gray = _as_stored(gray)
    return np.asarray(gray.resize((side, side), Image.Resampling.BILINEAR))


def _as_stored(gray: Image.Image) -> Image.Image:
    file = io.BytesIO()
    small = gray.resize((STORED_SIDE, STORED_SIDE), Image.Resampling.BILINEAR)
    small.save(file, "JPEG", quality=STORED_QUALITY)
    return Image.open(file)


def _decode(path: Path) -> Image.Image:
    """A picture of any kind as 8-bit grayscale."""
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        return _decode_dicom(path)
    with Image.open(path) as picture:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bits(np.asarray(picture)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    return picture.convert("L")


def _decode_dicom(path: Path) -> Image.Image:
    """One DICOM picture, after its modality and window transformations, white on black."""
    try:
        from pydicom import dcmread
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError as error:
        raise UserError(
            f"cannot read {path}: DICOM needs pydicom. `pip install -e .[dicom]` installs it"
        ) from error
    dataset = dcmread(path)
    values = dataset.pixel_array
    kind = dataset.PhotometricInterpretation
    if values.ndim == 3 and dataset.SamplesPerPixel == 3:
        return Image.fromarray(_to_8_bits(values)).convert("L")
    if values.ndim != 2 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"{kind}, {values.shape}: one gray or RGB picture is wanted")
    gray = _to_8_bits(apply_voi_lut(apply_modality_lut(values, dataset), dataset))
    return Image.fromarray(255 - gray if kind == "MONOCHROME1" else gray)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Gray values of any range as 0-255.

    Whole values from 0 on are scaled by their depth, the least of 8, 10, 12, 14 and 16 bits that
    holds all of them: 12 bits may come in a 16-bit file. Others, such as what a DICOM window
    gives, are scaled by their own range.
    """
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise ValueError("values that are not finite")
    if low >= 0 and high < 2 ** DEPTHS[-1] and (values == np.floor(values)).all():
        depth = next(depth for depth in DEPTHS if high < 2**depth)
        return (values.astype(np.uint16) >> (depth - 8)).astype(np.uint8)
    scaled = 255 * (values - float(low)) / max(float(high) - float(low), 1e-12)
    return scaled.round().astype(np.uint8)


def predict(model: Model, paths: Sequence[Path | str]) -> Iterator[tuple[dict, np.ndarray | None]]:
    """What the model says of each picture, in order, batch by batch.

    Yields:
        A row and the picture (side, side) as the model saw it. The row has `file` and
        `prediction`: p_pneumonia, decision (pneumonia or normal), p_normal, p_bacteria, p_virus.
        Where there is no prediction it is None, and the row has `reason`, or `error` for a file
        that cannot be read; the picture is None then.
    """
    for start in range(0, len(paths), BATCH):
        yield from _predict_batch(model, paths[start : start + BATCH])


def _predict_batch(model, paths):
    pictures, errors = {}, {}
    for place, path in enumerate(paths):
        try:
            pictures[place] = read_picture(path, model.facts["image_size"])
        except UserError as error:
            errors[place] = str(error)
    chests = {}
    if pictures:
        images = np.stack(list(pictures.values()))[..., None]
        accepted = looks_like_chest(images, model.facts["chest_check"])
        places = np.array(list(pictures))[accepted]
        if len(places):
            with native_messages_hidden():
                chests = dict(zip(places, model.probabilities(images[accepted]), strict=True))
    for place, path in enumerate(paths):
        row = {"file": str(path), "prediction": None}
        if place in errors:
            yield row | {"error": errors[place]}, None
        elif place not in chests:
            yield row | {"reason": NO_CHEST}, None
        else:
            answer = _answer(chests[place], model.facts["threshold"])
            yield row | {"prediction": answer}, pictures[place]


def _answer(probabilities: np.ndarray, threshold: float) -> dict:
    p_normal, *pathogens = map(float, probabilities)
    p = 1 - p_normal
    parts = dict(zip((f"p_{label}" for label in LABELS), (p_normal, *pathogens), strict=True))
    rounded = {name: round(value, 6) for name, value in {"p_pneumonia": p, **parts}.items()}
    return {"decision": "pneumonia" if p >= threshold else "normal", **rounded}


def fit_chest_check(
    images_train: np.ndarray, images_val: np.ndarray, acceptance: float = 0.995
) -> dict:
    """Learn what a frontal chest X-ray looks like from far away.

    Each picture becomes a small thumbnail of its local contrast. Two questions are asked of it:
    how much of it the first principal components of the training thumbnails leave unexplained
    (Jackson & Mudholkar 1979), which finds what is no chest; and whether a ridge regression that
    tells training thumbnails from their mirror images, top to bottom, calls it upright.

    Args:
        images_train: (n, side, side, 1), 0-255.
        images_val: of other patients; the limit of the first question is set on them.
        acceptance: share of them, at least, that stays within that limit.

    Returns:
        Plain lists and numbers for JSON: mean, components, upright, most_unexplained.
    """
    train = _thumbnails(images_train)
    mean = train.mean(axis=0)
    components = np.linalg.svd(train - mean, full_matrices=False)[2][:COMPONENTS]
    both = np.vstack([train, _thumbnails(images_train[:, ::-1])])
    target = np.repeat([1.0, -1.0], len(train))
    upright = np.linalg.solve(both.T @ both + RIDGE * np.eye(both.shape[1]), both.T @ target)
    check = {
        "mean": mean.round(4).tolist(),
        "components": components.round(4).tolist(),
        "upright": upright.round(5).tolist(),
    }
    unexplained, _ = _chest_scores(images_val, check)
    limit = np.quantile(unexplained, acceptance, method="higher")
    return check | {"most_unexplained": float(limit)}


def looks_like_chest(images: np.ndarray, check: dict) -> np.ndarray:
    """Which of the images (n, side, side, 1), 0-255, pass a check of `fit_chest_check`: bools."""
    unexplained, upright = _chest_scores(images, check)
    return (unexplained <= check["most_unexplained"]) & (upright > 0)


def _chest_scores(images: np.ndarray, check: dict) -> tuple[np.ndarray, np.ndarray]:
    """Share of each thumbnail's variance that the components leave; above 0 it is upright."""
    thumbnails = _thumbnails(images)
    rest = thumbnails - check["mean"]
    components = np.array(check["components"])
    rest -= rest @ components.T @ components
    return (rest**2).mean(axis=1), thumbnails @ check["upright"]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Local contrast of each image, (n, pixels of a thumbnail), mean 0 and standard deviation 1.

    From each pixel its surroundings' mean is taken, and their standard deviation divides it, both
    under a Gaussian: which parts of a chest are brighter than what is around them stays the same
    when exposure, window or contrast change. A flat image gives zeros.
    """
    rows = np.stack([_local_contrast(np.asarray(image[..., 0])) for image in images])
    rows = rows.reshape(len(rows), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    spread = rows.std(axis=1, keepdims=True)
    return np.divide(rows, spread, out=np.zeros_like(rows), where=spread > 1e-6)


def _local_contrast(image: np.ndarray) -> np.ndarray:
    size = (THUMBNAIL, THUMBNAIL)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    blur = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=BLUR * THUMBNAIL)
    detail = small - blur(small)
    spread = np.sqrt(blur(detail**2))
    return detail / (spread + 0.1 * spread.mean() + 1e-6)


def ship(model, folder: Path, threshold: float, check: dict) -> None:
    """Write `pneumonia.keras`, `pneumonia.onnx` and last `pneumonia.json` into a folder.

    Args:
        model: Keras, raw 0-255 images (n, side, side, 1) in, (n, 3) of normal, bacteria, virus out.
            It is written without the state of an optimizer.
        folder: made if need be; each file is complete or not there.
        threshold: on p_pneumonia, from which on the decision is pneumonia.
        check: of `fit_chest_check`.

    Raises:
        UserError: a file cannot be written.
    """
    from helpers.models import keras

    plain = keras.models.clone_model(model)  # a clone is not compiled, nor are models inside it
    plain.set_weights(model.get_weights())
    folder = Path(folder)
    files = [folder / "pneumonia.keras", folder / "pneumonia.onnx"]
    write_atomically(files[0], plain.save)
    write_atomically(files[1], partial(_export, plain))
    facts = {
        "threshold": float(threshold),
        "image_size": plain.input_shape[1],
        "labels": list(LABELS),
        "sha256": {file.name: sha256(file) for file in files},
        "chest_check": check,
    }
    text = json.dumps(facts) + "\n"
    write_atomically(folder / "pneumonia.json", lambda path: path.write_text(text))


def _export(model, path: Path) -> None:
    from helpers.models import keras

    shape = (None, *model.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="image")]
    with native_messages_hidden(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx knows older versions of NumPy
        model.export(str(path), format="onnx", verbose=False, input_signature=signature)


def parity(folder: Path, images: np.ndarray) -> float:
    """Largest absolute difference of any probability between the two files that `ship` wrote.

    `images`: (n, side, side, 1), raw 0-255.
    """
    files = [Path(folder) / f"pneumonia.{kind}" for kind in ("keras", "onnx")]
    one, other = (open_model(file).probabilities(images) for file in files)
    return float(np.abs(one - other).max())


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
    parser.add_argument("--model", metavar="FILE", type=Path, default=MODEL, help=".keras or .onnx")
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
    facts = {"model": str(model.path), "threshold": model.facts["threshold"], "note": NOTE}
    if options.json:
        print(json.dumps({**facts, "images": rows}, indent=1))
    else:
        print(f"{facts['model']}, pneumonia from {100 * facts['threshold']:.1f} % on. {NOTE}")
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
    from helpers import explain

    places = [place for place, picture in enumerate(pictures) if picture is not None]
    if not places:
        return
    images = np.stack([pictures[place] for place in places])
    with native_messages_hidden():
        heat = explain.grad_cam(model.network, images[..., None])
    names = _heatmap_names([rows[place]["file"] for place in places])
    for place, name, image, warm in zip(places, names, images, heat, strict=True):
        write_atomically(folder / name, Image.fromarray(explain.overlay(image, warm)).save)
        rows[place]["heatmap"] = str(folder / name)


def _heatmap_names(paths: Sequence[str]) -> list[str]:
    """A file name for each path's heat map; one that is taken, in any case, gets a number."""
    names, taken = [], set()
    for path in paths:
        stem, number = f"{Path(path).stem}-heatmap", 1
        name = f"{stem}.png"
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}.png"
        taken.add(name.lower())
        names.append(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
