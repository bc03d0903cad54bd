"""Paths, the parameters of the notebooks and their check, and errors that a user can act on."""

import ast
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT / "data"
CACHE = Path(os.environ.get("CHEST_XRAY_CACHE") or DATA / "cache").absolute()
MANIFEST = DATA / "manifest.csv"
RUNS = PROJECT / "runs"
RESULTS = PROJECT / "results"
IMAGES = PROJECT / "images"
SELECTION = "selection.json"  # in a folder of results: what was chosen before test was read

LABELS = ("normal", "bacteria", "virus")


class UserError(Exception):
    """Something the user can mend: the message says what, where and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Parameter:
    """What a notebook parameter may be; `low` and `high` are inclusive."""

    kind: type
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    many: bool = False  # a list of such values


PARAMETERS = {
    "PARAMETERS": Parameter(str, "name of the set of parameters; the first part of the run folder"),
    "RUN": Parameter(str, "folder of the run whose results are read; empty for the published ones"),
    "SEED": Parameter(int, "the one source of every random choice", 0),
    "SEEDS": Parameter(int, "one fit for each of these seeds", 0, many=True),
    "IMAGE_SIZE": Parameter(int, "side of the square images in pixels", 16, 1024),
    "BATCH_SIZE": Parameter(int, "images in a training step", 1),
    "EPOCHS": Parameter(int, "most passes over the training images", 1),
    "PATIENCE": Parameter(int, "epochs without a better validation loss before stopping", 1),
    "LEARNING_RATE": Parameter(float, "first step size of Adam", 1e-8, 10),
    "THREADS": Parameter(int, "processor threads, 0 for all; the last bits depend on it", 0),
    "PRECISION": Parameter(
        str,
        "arithmetic of the nets; auto takes 16 bits where the device has units for it",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    ),
    "TRIALS": Parameter(int, "sets of hyperparameters that a search tries", 1),
    "RANDOM_TRIALS": Parameter(int, "the first of them, drawn at random", 1),
    "TRIAL_EPOCHS": Parameter(int, "most passes over the training images in a trial", 1),
    "TRIAL_PATIENCE": Parameter(int, "epochs of a trial without a better validation loss", 1),
    "INCEPTION_PROTOCOLS": Parameter(
        str,
        "protocols that InceptionResNetV2 is trained under",
        choices=("pooled", "pooled_patient", "official"),
        many=True,
    ),
    "INCEPTION_PRETRAINED": Parameter(bool, "start it from ImageNet weights if they can be had"),
    "INCEPTION_END": Parameter(str, "its last layer in use; conv_7b_ac is the whole network"),
    "INCEPTION_EPOCHS": Parameter(int, "most passes over its training images", 1),
    "INCEPTION_LEARNING_RATE": Parameter(float, "its first step size of Adam", 1e-8, 10),
    "FINE_TUNING_EPOCHS": Parameter(int, "most passes while pretrained layers learn", 1),
    "PROTOCOLS": Parameter(
        str,
        "protocols that a notebook trains under; official must be one",
        choices=("by_image", "official"),
        many=True,
    ),
    "LEARNING_RATES": Parameter(float, "step sizes that are compared", 1e-8, 10, many=True),
    "SMALL_LEARNING_RATE": Parameter(float, "the step size that mends a too large one", 1e-8, 10),
    "LEVERS": Parameter(str, "changes of the recipe that are tried", many=True),
    "MORE_LEVERS": Parameter(str, "those that are tried on top of the best one", many=True),
    "FOLDS": Parameter(int, "how many of the five folds of everything are trained", 1, 5),
    "READ_TEST": Parameter(bool, "predict the test images; false stops once the choice is written"),
    "RESAMPLES": Parameter(int, "bootstrap resamples behind an interval", 50),
    "SKIP_UNREADABLE": Parameter(bool, "leave unreadable images out instead of stopping"),
}


def check_values(values: dict, known: dict[str, Parameter] = PARAMETERS) -> None:
    """Raise UserError for the first name in `values` that is unknown, or whose value is wrong."""
    for name, value in values.items():
        if name not in known:
            raise UserError(
                f"unknown parameter {name!r}. Known parameters: {', '.join(sorted(known))}"
            )
        parameter = known[name]
        if parameter.many and (not isinstance(value, list) or not value):
            raise UserError(f"parameter {name} must be a list with at least one value")
        for single in value if parameter.many else [value]:
            _check_value(name, single, parameter)
        if parameter.many and len(set(value)) < len(value):
            raise UserError(f"parameter {name} names a value twice: {value}")


def _check_value(name: str, value, parameter: Parameter) -> None:
    kinds = (int, float) if parameter.kind is float else (parameter.kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and parameter.kind is not bool):
        raise UserError(
            f"parameter {name} must be {parameter.kind.__name__} ({parameter.meaning}), "
            f"not {value!r} ({type(value).__name__})"
        )
    if parameter.choices and value not in parameter.choices:
        raise UserError(f"parameter {name} must be one of {parameter.choices}, not {value!r}")
    if parameter.low is not None and not value >= parameter.low:
        raise UserError(f"parameter {name} must be at least {parameter.low:g}, not {value!r}")
    if parameter.high is not None and not value <= parameter.high:
        raise UserError(f"parameter {name} must be at most {parameter.high:g}, not {value!r}")


def check(namespace: dict, **own: Parameter) -> dict:
    """Check a notebook's parameters; the cell behind its `parameters` cell calls this.

    Every UPPER_CASE name in `namespace` (the notebook's `globals()`) must be a known parameter of
    the right type and range, and a cell that papermill injected may only set what the
    `parameters` cell names: papermill itself merely warns.

    Args:
        namespace: the notebook's globals.
        own: further parameters that only this notebook has.

    Returns:
        The checked parameters by name.

    Raises:
        UserError: a parameter is unknown, or its value does not fit.
    """
    declared, injected = _parameter_cells(namespace.get("In", []))
    unknown = injected - declared
    if unknown:
        raise UserError(
            f"unknown parameter {', '.join(sorted(unknown))}. "
            f"Parameters of this notebook: {', '.join(sorted(declared))}"
        )
    values = {name: value for name, value in namespace.items() if name.isupper()}
    check_values(values, PARAMETERS | own)
    return values


def _parameter_cells(inputs: list[str]) -> tuple[set[str], set[str]]:
    """Names set by the parameters cell and by the one papermill injected; the last cell runs."""
    before = inputs[:-1]
    if len(before) >= 2 and before[-1].lstrip().startswith("# Parameters"):
        return _assigned(before[-2]), _assigned(before[-1])
    return set(), set()


def _assigned(source: str) -> set[str]:
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path` and rename, so no half-written file stays.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    aside = path.with_name(f".{os.getpid()}-{path.name}")  # keeps the suffix, which savers look at
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        os.replace(aside, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. "
            "Free some disk space or make the folder writable, then run again"
        ) from error
    finally:
        with suppress(OSError):  # such as a parent that is no folder: already reported
            aside.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def short_digest(*parts) -> str:
    """16 hex digits that stand for values with a faithful repr: texts, numbers, tuples of them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Hide what compiled libraries write to the standard error stream, past Python.

    TensorFlow logs its start before its own log level counts. Python's exceptions still come.
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
