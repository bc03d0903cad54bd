"""One notebook by papermill: its parameters, its copy, and what is said when a cell fails."""

import nbformat
import pytest
import yaml

from helpers import execute, paths
from helpers.utils import UserError

USER_ERROR = "from helpers.utils import UserError\n\nraise UserError('no such thing. Do that')"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a parameters file; gives the parameters of two notebooks that are chosen by it."""
    monkeypatch.setattr(paths, "PARAMETERS", tmp_path)

    def write(content):
        if content:
            (tmp_path / "mine.yaml").write_text(content)
        return execute.parameters_of("mine", ["01_eda", "03_dense"], SEED=7, RESAMPLES=60)

    return write


def test_a_parameters_file_sets_what_each_notebook_has(written):
    found = written("all: {SEED: 3, EPOCHS: 5}\n03_dense: {EPOCHS: 2}")
    assert found["01_eda"] == {"PARAMETERS": "mine", "SEED": 3}
    assert found["03_dense"] == {"PARAMETERS": "mine", "SEED": 3, "RESAMPLES": 60, "EPOCHS": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no parameters file"),
        ("all: {EPOCH: 1}", "unknown parameter 'EPOCH'"),
        ("all: {SEED: zero}", "SEED must be int"),
        ("01_eda: {EPOCHS: 3}", "01_eda has no parameter EPOCHS"),
        ("3_dense: {EPOCHS: 3}", "is no notebook"),
        ("all: {SEED: [0", "is no YAML"),
        ("all: 3", "must name notebooks"),
    ],
)
def test_a_wrong_parameters_file_is_refused(written, content, message):
    with pytest.raises(UserError, match=message) as caught:
        written(content)
    assert str(caught.value).isprintable()


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


def test_a_notebook_that_is_not_there_is_told_by_its_name(tmp_path, capfd):
    missing = str(tmp_path / "missing.ipynb")
    assert execute.main([missing, str(tmp_path / "copy.ipynb")]) == 1
    assert f"error: no notebook at {missing}. " in capfd.readouterr().err


def test_a_copy_that_cannot_be_written_is_told_by_its_name(tmp_path, capfd):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "work.ipynb")
    copy = str(tmp_path / "work.ipynb" / "copy.ipynb")
    assert execute.main([str(tmp_path / "work.ipynb"), copy]) == 1
    assert f"error: cannot write {copy}: " in capfd.readouterr().err


def test_an_error_of_the_code_keeps_its_traceback(run):
    _, told, _ = run("1 / 0")
    assert "Traceback" in told and "ZeroDivisionError" in told
    assert "\x1b[" not in told
