"""The published model: its files and the facts beside them, opened and asked.

Beside a model `NAME.keras` or `NAME.onnx` lies `NAME.json` with its `Facts`.
"""

import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.predict import checks
from helpers.predict.facts import BALANCED, CLASSES, SCREENING, Facts, existing, read_facts
from helpers.utils import UserError, native_messages_hidden, sha256, shown

KERAS, ONNX = FILES = ("pneumonia.keras", "pneumonia.onnx")
MEANINGS = {
    BALANCED: "as often right on ill as on healthy children",
    SCREENING: "misses fewer ill ones and calls more healthy ones ill",
}
NOTE = "This is not a medical device: a study's model, not to be used for diagnosis or treatment."
BATCH = 32
PART = 4  # pictures that one thread answers for at a time in ONNX Runtime: they stay in its cache
MOST_BYTES = 2**28  # of a model, unpacked


# What a model answers to n pictures: (n, so many numbers each)
ANSWERS = {"probabilities": len(CLASSES), "boxes": 4, "spread": 1, "distance": 1}


def check_file(path: Path, facts: Facts) -> None:
    """Raise UserError when a model's file is missing or another one than its facts describe."""
    beside = existing(path).with_suffix(".json")
    if path.name not in facts.sha256:
        raise UserError(f"{beside} does not describe {path.name}: get both files again")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is too large for a model of pictures: get it again")
    if sha256(path) != facts.sha256[path.name]:
        raise UserError(f"{path} is not the file that {beside.name} describes: get both again")


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Whatever a runtime raises over a model's file becomes one line that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = shown(" ".join(str(error).split()))[:200] or type(error).__name__
        raise UserError(f"{path} is no model of this kind ({reason}): get it again") from error


@dataclass(frozen=True)
class Model:
    """A published model; ONNX Runtime or Keras opens it when it is asked for the first time.

    Attributes:
        path: of its file.
        facts: what lies beside it.
        threads: that ONNX Runtime answers with, each for pictures of its own; 0 for all cores.
    """

    path: Path
    facts: Facts
    threads: int = 0

    def answers(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """All that the model says of raw pictures (n, side, side, 1), 0-255, by name.

        Returns:
            probabilities (n, 3) of normal, bacteria, virus; the boxes (n, 4) around the lungs (see
            `lungs`) and their spread (n, 1); the distance (n, 1) of the features, squared.
        """
        with _one_line_errors(self.path), native_messages_hidden():
            ask = self._by_keras if self.path.suffix == ".keras" else self._by_onnx_runtime
            found = ask(images)
        return {name: np.concatenate([part[name] for part in found]) for name in ANSWERS}

    def judge(self, images: np.ndarray) -> tuple[dict[str, np.ndarray], list[str]]:
        """All that the model says of uint8 pictures, and what is against saying it.

        Returns:
            As `answers`, and a reason for each picture, "" where nothing speaks against an answer.
        """
        found = self.answers(images)
        unsure = [
            checks.of_answer(spread.item(), distance.item(), self.facts)
            for spread, distance in zip(found["spread"], found["distance"], strict=True)
        ]
        before = checks.of_pictures(images, found["boxes"], self.facts)
        return found, [first or second for first, second in zip(before, unsure, strict=True)]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of normal, bacteria and virus, (n, 3), for raw pictures (n, side, side, 1), 0-255."""
        return self.answers(images)["probabilities"]

    def _by_keras(self, images: np.ndarray) -> list[dict[str, np.ndarray]]:
        def ask(start):
            part = np.asarray(images[start : start + BATCH], np.float32)
            return _checked(self.network.predict_on_batch(part), len(part))

        return [ask(start) for start in range(0, len(images), BATCH)]

    def _by_onnx_runtime(self, images: np.ndarray) -> list[dict[str, np.ndarray]]:
        session = self._session
        name = session.get_inputs()[0].name

        def ask(start):
            part = np.asarray(images[start : start + PART], np.float32)
            found = session.run([*ANSWERS], {name: part})
            return _checked(dict(zip(ANSWERS, found, strict=True)), len(part))

        with ThreadPoolExecutor(self.threads or os.cpu_count()) as pool:
            return list(pool.map(ask, range(0, len(images), PART)))

    @cached_property
    def _session(self):
        """Of one thread: several that share a picture would wait for each other."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # From its bytes, so that nothing outside the file is read as its weights
        content = self.path.read_bytes()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    @cached_property
    def network(self):
        """The Keras model of a `.keras` file, from pictures to all answers."""
        with _one_line_errors(self.path):
            with zipfile.ZipFile(self.path) as archive:
                if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                    raise ValueError("too large when unpacked")
            from helpers.models import keras

            return keras.saving.load_model(self.path, compile=False, safe_mode=True)

    @cached_property
    def classifier(self):
        """The part of `network` that takes lung crops, as `lungs.crop` makes them, to (n, 3)."""
        from helpers.models import keras

        with _one_line_errors(self.path):
            part = self.network.get_layer("classifier")
            return keras.Model(part.input, part.output["probabilities"], name="classifier")


def _checked(found: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The answers to so many pictures, by name, if they can be."""
    if not isinstance(found, dict) or not ANSWERS.keys() <= found.keys():
        raise ValueError(f"it does not answer {', '.join(ANSWERS)}")
    for name, numbers in ANSWERS.items():
        if found[name].shape != (count, numbers) or not np.isfinite(found[name]).all():
            raise ValueError(f"its {name} are not {numbers} finite number(s) a picture")
    sums = found["probabilities"].sum(axis=1)
    if found["probabilities"].min() < 0 or not np.allclose(sums, 1, atol=1e-3):
        raise ValueError("its probabilities are none")
    return {name: found[name] for name in ANSWERS}


def open_model(path: Path | str | None = None) -> Model:
    """Find a `.keras` or `.onnx` file, and compare it with the hash that is written down.

    Args:
        path: None for the published ONNX file.

    Raises:
        UserError: the file or what belongs beside it is missing, incomplete or another one.
    """
    path = Path(path) if path else paths.MODELS / ONNX
    if path.suffix not in (".keras", ".onnx"):
        raise UserError(f"model {path}: a .keras or .onnx file is wanted")
    facts = read_facts(existing(path).with_suffix(".json"))
    check_file(path, facts)
    return Model(path, facts)


def predict(
    model: Model, files: Sequence[Path | str], point: str = BALANCED, forced: bool = False
) -> Iterator[tuple[dict, np.ndarray | None]]:
    """What the model says of each picture, in order; a batch of pictures is held at a time.

    Args:
        model: an opened one.
        files: pictures of any size and kind that `reading` knows.
        point: the operating point, balanced or screening, that decides.
        forced: answer also where something speaks against it.

    Yields:
        A row and the picture (side, side) as the model saw it. The row has `file` and
        `prediction`: decision (pneumonia or normal), p_pneumonia, p_normal, p_bacteria, p_virus,
        and box, the edges of the lungs' box (see `lungs`). Where something speaks against an answer
        the row has it as `reason`, and `prediction` is None unless forced; for a file that cannot
        be read it has `error`. Without a prediction the picture is None.
    """
    for start in range(0, len(files), BATCH):
        rows, pictures = _read(files[start : start + BATCH], model.facts.image_size)
        readable = [row for row in rows if "error" not in row]
        if readable:
            images = np.stack([picture for picture in pictures if picture is not None])
            _fill(readable, images[..., None], model, point, forced)
        for row, picture in zip(rows, pictures, strict=True):
            yield row, picture if row["prediction"] else None


def _read(files, size: int) -> tuple[list[dict], list[np.ndarray | None]]:
    """Rows and pictures; what their headers say against an answer stands in the row as `reason`."""
    from helpers import reading

    rows, pictures = [{"file": str(file), "prediction": None} for file in files], []
    for row in rows:
        try:
            picture = reading.read_as_stored(row["file"], size)
            if reason := checks.of_header(reading.about(row["file"])):
                row["reason"] = reason
        except UserError as error:
            picture = None
            row["error"] = str(error)
        pictures.append(picture)
    return rows, pictures


def _fill(rows: list[dict], images: np.ndarray, model: Model, point: str, forced: bool) -> None:
    """Write into each row what the model says of its image, and what is against saying it."""
    found, reasons = model.judge(images)
    for number, (row, reason) in enumerate(zip(rows, reasons, strict=True)):
        if reason:
            row.setdefault("reason", reason)
        if forced or "reason" not in row:
            said = {name: values[number] for name, values in found.items()}
            row["prediction"] = _prediction(said, model.facts, point)


def _prediction(said: dict[str, np.ndarray], facts: Facts, point: str) -> dict:
    named = zip(facts.labels, said["probabilities"], strict=True)
    parts = {f"p_{label}": float(p) for label, p in named}
    p = 1 - parts["p_normal"]
    rounded = {name: round(value, 6) for name, value in {"p_pneumonia": p, **parts}.items()}
    box = [round(float(edge), 4) for edge in said["boxes"]]
    return {"decision": facts.decision(p, point), **rounded, "box": box}
