"""The parameters of notebooks are checked before anything runs."""

import ast
from pathlib import Path

import nbformat
import pytest
import yaml

from helpers import data, parameters, paths
from helpers.parameters import PARAMETERS, Parameter
from helpers.utils import UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"EPOCH": 3}, "unknown parameter 'EPOCH'. Known parameters: .*EPOCHS"),
        ({"EPOCHS": "3"}, "EPOCHS must be int .*not '3'"),
        ({"EPOCHS": 3.0}, "EPOCHS must be int"),
        ({"EPOCHS": None}, "EPOCHS must be int"),
        ({"EPOCHS": True}, "EPOCHS must be int"),
        ({"LEARNING_RATE": True}, "LEARNING_RATE must be float"),
        ({"SKIP_UNREADABLE": 1}, "SKIP_UNREADABLE must be bool"),
        ({"EPOCHS": 0}, "EPOCHS must be at least 1"),
        ({"IMAGE_SIZE": 15}, "IMAGE_SIZE must be at least 16"),
        ({"IMAGE_SIZE": 1025}, "IMAGE_SIZE must be at most 1024"),
        ({"LEARNING_RATE": float("nan")}, "LEARNING_RATE must be at least"),
        ({"LEARNING_RATE": float("inf")}, "LEARNING_RATE must be at most"),
        ({"PRECISION": "float8"}, "PRECISION must be one of .*float32"),
        ({"SEEDS": 0}, "SEEDS must be a list"),
        ({"SEEDS": (0, 1)}, "SEEDS must be a list"),
        ({"SEEDS": []}, "SEEDS must be a list with at least one"),
        ({"SEEDS": [0, 1.5]}, "SEEDS must be int"),
        ({"SEEDS": [0, -1]}, "SEEDS must be at least 0"),
        ({"SEEDS": [0, 1, 0]}, "SEEDS names a value twice"),
        ({"SEEDS": [0, True]}, "SEEDS must be int"),
        ({"SEEDS": [[0], [1]]}, "SEEDS must be int"),
        ({"BACKBONE": None}, "BACKBONE must be str"),
        ({"OCCLUDED": 5}, "OCCLUDED must be at least 6"),
        ({"RECIPE_CHANGES": "zoom"}, "RECIPE_CHANGES must be a list"),
    ],
)
def test_a_wrong_parameter_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        parameters.check_values({"SEED": 0} | values)


@pytest.mark.parametrize(
    "values",
    [
        {"LEARNING_RATE": 1},
        {"LEARNING_RATE": 1e-8},
        {"IMAGE_SIZE": 16},
        {"IMAGE_SIZE": 1024},
        {"SEEDS": [2, 0, 1]},
        {"SKIP_UNREADABLE": True},
        {"PRECISION": "auto"},
    ],
)
def test_a_right_parameter_is_taken(values):
    parameters.check_values(values)


def declared(notebook):
    """The names in the parameters cell of a notebook."""
    cells = nbformat.read(notebook, as_version=4).cells
    cell = next(cell for cell in cells if cell.cell_type == "code")
    return {statement.targets[0].id for statement in ast.parse(cell.source).body}


OWN = {name: declared(paths.NOTEBOOKS / f"{name}.ipynb") for name in paths.SERIES}


@pytest.mark.parametrize("file", sorted(paths.PARAMETERS.glob("*.yaml")), ids=lambda x: x.stem)
def test_a_parameters_file_sets_what_its_notebooks_have(file):
    sections = yaml.safe_load(file.read_text())
    known = OWN | {"all": set.union(*OWN.values())}
    for notebook, values in sections.items():
        assert values.keys() <= known[notebook], notebook
        parameters.check_values(values)


def test_check_looks_at_upper_case_names_only():
    namespace = {"EPOCHS": 2, "epoch": 3, "Path": Path, "_": 1, "__name__": "x", "In": [""]}
    assert parameters.check(namespace) == {"EPOCHS": 2}
    with pytest.raises(UserError, match="EPOCH'"):
        parameters.check(namespace | {"EPOCH": 2})


def test_a_notebook_may_have_parameters_of_its_own():
    own = {"DEPTH": Parameter(int, "layers", 1, 9)}
    assert parameters.check({"DEPTH": 3, "SEED": 0}, **own) == {"DEPTH": 3, "SEED": 0}
    with pytest.raises(UserError, match="at most 9"):
        parameters.check({"DEPTH": 10}, **own)
    with pytest.raises(UserError, match="unknown parameter 'DEPTH'"):
        parameters.check({"DEPTH": 3})


def notebook(injected):
    """Globals of a notebook with two parameters, with papermill's cell behind theirs."""
    cells = ["", "SEED = 0\nEPOCHS: int = 9", f"# Parameters\n{injected}\n", "parameters.check()"]
    namespace = {"In": cells, "SEED": 0, "EPOCHS": 9}
    exec(injected, namespace)  # noqa: S102 - what a notebook does
    return namespace


@pytest.mark.parametrize("injected", ["BATCH_SIZE = 8", "epochs = 2", "SEED = 1\nseed = 2"])
def test_papermill_may_only_set_what_the_notebook_names(injected):
    with pytest.raises(UserError, match=r"unknown parameter .*Parameters of this notebook: EPOCHS"):
        parameters.check(notebook(injected))


def test_papermill_may_set_what_the_notebook_names():
    assert parameters.check(notebook("EPOCHS = 2\nSEED = 1")) == {"SEED": 1, "EPOCHS": 2}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_has_a_meaning_that_fits_behind_its_value(name):
    meaning = PARAMETERS[name].meaning
    assert 0 < len(meaning) <= 70 and "\n" not in meaning
    assert len(f"{name} =   # {meaning}") < 95


@pytest.mark.parametrize("name", ["PROTOCOLS", "INCEPTION_PROTOCOLS"])
def test_protocols_to_choose_from_are_protocols(name):
    assert set(PARAMETERS[name].choices) <= data.PROTOCOLS.keys()
