"""What the parameters of a notebook may be, and their check."""

import ast
from dataclasses import dataclass

from helpers.utils import UserError


@dataclass(frozen=True)
class Parameter:
    """What a notebook parameter may be; `low` and `high` are inclusive.

    `meaning` is short: it stands behind the value in a notebook, `NAME = value  # meaning`.
    """

    kind: type
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    many: bool = False  # a list of such values


PARAMETERS = {
    "PARAMETERS": Parameter(str, "name of the set of parameters, first part of the run folder"),
    "RUN": Parameter(str, "folder of the run that is read; empty for the published results"),
    "EXPERIMENT": Parameter(str, "name of the experiment in tables, figures and files"),
    "PROTOCOL": Parameter(str, "how the images are split, a name in data.PROTOCOLS"),
    "SEED": Parameter(int, "the one source of every random choice", 0),
    "SEEDS": Parameter(int, "one fit for each of these seeds", 0, many=True),
    "IMAGE_SIZE": Parameter(int, "side of the square images, pixels", 16, 1024),
    "BATCH_SIZE": Parameter(int, "images in a training step", 1),
    "EPOCHS": Parameter(int, "most passes over the training images", 1),
    "PATIENCE": Parameter(int, "epochs without a lower validation loss before stopping", 1),
    "LEARNING_RATE": Parameter(float, "first step size of Adam", 1e-8, 10),
    "THREADS": Parameter(int, "processor threads, 0 for all; the last bits depend on it", 0),
    "PRECISION": Parameter(
        str,
        "arithmetic of the networks; auto: 16 bits where the device has units",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    ),
    "BACKBONE": Parameter(str, "pretrained network, a name in helpers.models.BACKBONES"),
    "TRIALS": Parameter(int, "sets of hyperparameters that the search tries", 1),
    "RANDOM_TRIALS": Parameter(int, "the first of them, drawn at random", 1),
    "TRIAL_EPOCHS": Parameter(int, "most passes over the training images in a trial", 1),
    "TRIAL_PATIENCE": Parameter(int, "PATIENCE within a trial, epochs", 1),
    "INCEPTION_PROTOCOLS": Parameter(
        str,
        "InceptionResNetV2 is fitted under",
        choices=("pooled", "pooled_patient", "official"),
        many=True,
    ),
    "INCEPTION_PRETRAINED": Parameter(bool, "start it from ImageNet weights"),
    "INCEPTION_END": Parameter(str, "its last layer in use; conv_7b_ac: the whole network"),
    "INCEPTION_EPOCHS": Parameter(int, "most passes over its training images", 1),
    "INCEPTION_LEARNING_RATE": Parameter(float, "its first step size of Adam", 1e-8, 10),
    "CNN_EPOCHS": Parameter(
        int, "most passes over the training images of a network from scratch", 1
    ),
    "CNN_LEARNING_RATE": Parameter(float, "its first step size of Adam", 1e-8, 10),
    "LOCALISER_FOLDS": Parameter(
        int, "folds of the drawn boxes, by patient, that it is judged in", 2, 20
    ),
    "LOCALISER_EPOCHS": Parameter(
        int, "passes over the drawn boxes of the network that finds the lungs", 1
    ),
    "LOCALISER_MAPS": Parameter(str, "its layers of MobileNet in use", many=True),
    "FINE_TUNING_EPOCHS": Parameter(int, "most passes while pretrained layers learn", 1),
    "PROTOCOLS": Parameter(
        str,
        "splits to train under; official must be one",
        choices=("by_image", "official"),
        many=True,
    ),
    "LEARNING_RATES": Parameter(float, "step sizes of Adam to compare", 1e-8, 10, many=True),
    "SMALL_LEARNING_RATE": Parameter(float, "a step size small enough to fine-tune", 1e-8, 10),
    "RECIPE_CHANGES": Parameter(str, "changes of the recipe, tried one by one", many=True),
    "FOLDS": Parameter(int, "how many of the five folds are trained", 1, 5),
    "DISTILLATION_EPOCHS": Parameter(
        int, "passes in which one network learns from the ensemble", 1
    ),
    "OCCLUDED": Parameter(int, "test images that are occluded patch by patch", 6),
    "READ_TEST": Parameter(bool, "predict the test images; false leaves them unread"),
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
