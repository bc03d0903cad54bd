"""One notebook by papermill: its copy, its parameters, and what is said when a cell fails."""

import nbformat
import pytest
import yaml

from helpers import execute

USER_ERROR = "from helpers.utils import UserError\n\nraise UserError('no such thing. Do that')"


@pytest.fixture
def run(tmp_path, capfd):
    """Executes a notebook of a parameters cell and one more; exit code, stderr, executed copy."""

    def run(source, **parameters):
        cells = [nbformat.v4.new_code_cell(text) for text in ("X = 1", source)]
        cells[0].metadata.tags = ["parameters"]
        paths = [str(tmp_path / name) for name in ("work.ipynb", "copy.ipynb")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), paths[0])
        code = execute.main(
            [*paths, "-y", yaml.safe_dump(parameters), "--repeat", "make run NOTEBOOK=work"]
        )
        return code, capfd.readouterr().err, nbformat.read(paths[1], as_version=4)

    return run


def test_parameters_reach_the_notebook_and_nothing_warns(run):
    code, told, copy = run("print(X)", X=2)
    assert code == 0
    assert copy.cells[-1].outputs[0].text == "2\n"
    assert len(told.strip().splitlines()) == 1 and "work is executed as" in told


def test_an_error_names_notebook_cell_parameters_and_command_without_a_traceback(run):
    code, told, copy = run(USER_ERROR, X=2)
    assert code == 1
    lines = told.strip().splitlines()[-4:]
    assert lines[0] == "UserError: no such thing. Do that"
    assert lines[1].startswith("error: work.ipynb stopped in cell 3 (In [3]), which begins `from")
    assert lines[2:] == ["parameters: {'X': 2}", "repeat it with: make run NOTEBOOK=work"]
    assert "Traceback" not in told
    assert copy.cells[-1].outputs


def test_an_error_of_the_code_keeps_its_traceback(run):
    _, told, _ = run("1 / 0")
    assert "Traceback" in told and "ZeroDivisionError" in told
    assert "\x1b[" not in told
