"""The published model: its files and the facts beside them, written, opened and asked.

Beside a model `NAME.keras` or `NAME.onnx` lies `NAME.json` with its `Facts`.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.predict.chest_check import is_frontal_chest
from helpers.utils import UserError, native_messages_hidden, sha256, write_atomically

FILES = ("pneumonia.keras", "pneumonia.onnx")
FACTS = "pneumonia.json"
NO_CHEST = "does not look like a frontal chest X-ray"
BATCH = 32


@dataclass(frozen=True)
class Facts:
    """What belongs to a model besides its weights.

    Attributes:
        threshold: on p_pneumonia, from which on the decision is pneumonia.
        image_size: side of the square images that it takes, pixels.
        labels: of its outputs, in order.
        sha256: of each file of the model, by its name.
        chest_check: what `fit_chest_check` found.
    """

    threshold: float
    image_size: int
    labels: tuple[str, ...]
    sha256: dict[str, str]
    chest_check: dict


def read_facts(path: Path | str | None = None) -> Facts:
    """The facts in a file `NAME.json`; those of the published model where no file is named.

    Raises:
        UserError: the file is missing or incomplete.
    """
    path = _existing(path or paths.MODELS / FACTS)
    try:
        found = json.loads(path.read_text())
        known = {field.name: found[field.name] for field in fields(Facts)}
        facts = Facts(**known | {"labels": tuple(known["labels"])})
        named = dict(facts.sha256)
    except (OSError, ValueError, KeyError, TypeError):
        named = {}
    if not named:
        raise UserError(f"{path} does not describe a model: get it and the model's files again")
    return facts


def _existing(path: Path | str) -> Path:
    if not Path(path).is_file():
        raise UserError(
            f"no file {path}: run 13_final_model, or name a model and its .json by --model"
        )
    return Path(path)


def check_file(path: Path, facts: Facts) -> None:
    """Raise UserError when a model's file is missing or another one than its facts describe."""
    beside = _existing(path).with_suffix(".json")
    if path.name not in facts.sha256:
        raise UserError(f"{beside} does not describe {path.name}: get both files again")
    if sha256(path) != facts.sha256[path.name]:
        raise UserError(f"{path} is not the file that {beside.name} describes: get both again")


@dataclass(frozen=True)
class Model:
    """A published model, opened.

    Attributes:
        path: of its file.
        facts: what lies beside it.
        probabilities: from raw images (n, side, side, 1) to (n, 3), normal, bacteria, virus.
        network: the Keras model; None for ONNX.
    """

    path: Path
    facts: Facts
    probabilities: Callable[[np.ndarray], np.ndarray]
    network: object | None = None


def open_model(path: Path | str | None = None) -> Model:
    """Open a `.keras` or `.onnx` file, after comparing it with the hash that is written down.

    Args:
        path: None for the published Keras model.

    Raises:
        UserError: the file or what belongs beside it is missing, incomplete or another one.
    """
    path = Path(path) if path else paths.MODELS / FILES[0]
    if path.suffix not in (".keras", ".onnx"):
        raise UserError(f"model {path}: a .keras or .onnx file is wanted")
    facts = read_facts(_existing(path).with_suffix(".json"))
    check_file(path, facts)
    with native_messages_hidden():
        if path.suffix == ".onnx":
            return Model(path, facts, _onnx(path))
        from helpers.models import keras

        network = keras.saving.load_model(path, compile=False)
    return Model(path, facts, partial(_keras, network), network)


def _keras(network, images: np.ndarray) -> np.ndarray:
    return network.predict(np.asarray(images, np.float32), batch_size=BATCH, verbose=0)


def _onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: np.asarray(images, np.float32)})[0]


def predict(model: Model, files: Sequence[Path | str]) -> Iterator[tuple[dict, np.ndarray | None]]:
    """What the model says of each picture, in order, batch by batch.

    Args:
        model: an opened one.
        files: pictures of any size and kind that `data.reading` knows.

    Yields:
        A row and the picture (side, side) as the model saw it. The row has `file` and
        `prediction`: p_pneumonia, decision (pneumonia or normal), p_normal, p_bacteria, p_virus.
        Where there is no prediction it is None, and the row has `reason`, or `error` for a file
        that cannot be read; the picture is None then.
    """
    for start in range(0, len(files), BATCH):
        yield from _predict_batch(model, files[start : start + BATCH])


def _predict_batch(model, files):
    from helpers.data import reading

    pictures, errors = {}, {}
    for place, file in enumerate(files):
        try:
            pictures[place] = reading.read_as_stored(file, model.facts.image_size)
        except UserError as error:
            errors[place] = str(error)
    chests = {}
    if pictures:
        images = np.stack(list(pictures.values()))[..., None]
        accepted = is_frontal_chest(images, model.facts.chest_check)
        places = np.array(list(pictures))[accepted]
        if len(places):
            with native_messages_hidden():
                chests = dict(zip(places, model.probabilities(images[accepted]), strict=True))
    for place, file in enumerate(files):
        row = {"file": str(file), "prediction": None}
        if place in errors:
            yield row | {"error": errors[place]}, None
        elif place not in chests:
            yield row | {"reason": NO_CHEST}, None
        else:
            yield row | {"prediction": _answer(chests[place], model.facts)}, pictures[place]


def _answer(probabilities: np.ndarray, facts: Facts) -> dict:
    parts = {f"p_{label}": float(p) for label, p in zip(facts.labels, probabilities, strict=True)}
    p = 1 - parts["p_normal"]
    rounded = {name: round(value, 6) for name, value in {"p_pneumonia": p, **parts}.items()}
    return {"decision": "pneumonia" if p >= facts.threshold else "normal", **rounded}


def export(model, folder: Path, threshold: float, check: dict) -> None:
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
    from helpers.data import LABELS
    from helpers.models import keras

    bare = keras.Model(model.inputs, model.outputs, name=model.name)  # not compiled itself
    plain = keras.models.clone_model(bare)  # nor are the models inside it
    plain.set_weights(bare.get_weights())
    files = [Path(folder) / name for name in FILES]
    write_atomically(files[0], plain.save)
    write_atomically(files[1], partial(_write_onnx, plain))
    digests = {file.name: sha256(file) for file in files}
    facts = Facts(float(threshold), plain.input_shape[1], LABELS, digests, check)
    text = json.dumps(asdict(facts)) + "\n"
    write_atomically(Path(folder) / FACTS, lambda path: path.write_text(text))


def _write_onnx(model, path: Path) -> None:
    from helpers.models import keras

    inputs = keras.Input(model.input_shape[1:], name="image")
    # Said outright: Resizing, in zooms, would put batch norm and dropout behind it into training
    still = keras.Model(inputs, model(inputs, training=False))
    signature = [keras.InputSpec(shape=model.input_shape, dtype="float32", name="image")]
    with native_messages_hidden(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx knows older versions of NumPy
        still.export(str(path), format="onnx", verbose=False, input_signature=signature)


def largest_difference(folder: Path, images: np.ndarray) -> float:
    """Largest absolute difference of any probability between the two files that `export` wrote.

    `images`: (n, side, side, 1), raw 0-255.
    """
    models = (open_model(Path(folder) / name) for name in FILES)
    one, other = (model.probabilities(images) for model in models)
    return float(np.abs(one - other).max())
