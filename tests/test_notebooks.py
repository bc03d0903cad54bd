"""Every notebook: its shape, and its run at the smoke parameters on synthetic radiographs."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

from helpers import results
from helpers.parameters import PARAMETERS
from helpers.paths import PROJECT, SERIES
from tests import builders

FOLDER = PROJECT / "notebooks"
CHAIN = [*SERIES, "final_notebook", "template"]  # as they are read
RUN = PROJECT / "runs" / "smoke-synthetic"
JOBS = str(max(2, (os.cpu_count() or 2) // 2))


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def execute(*command: str, **variables: str) -> subprocess.CompletedProcess:
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"} | variables
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


each_notebook = pytest.mark.parametrize(
    "path", [FOLDER / f"{name}.ipynb" for name in CHAIN], ids=lambda path: path.stem
)


@each_notebook
def test_parameters_are_literals_and_checked_at_once(path):
    cells = code_cells(path)
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == cells[:1]
    for statement in ast.parse(cells[0].source).body:
        assert isinstance(statement, ast.Assign)
        assert statement.targets[0].id.isupper()
        ast.literal_eval(statement.value)
    assert "parameters.check(globals()" in cells[1].source


@each_notebook
def test_each_parameter_says_what_it_means(path):
    inferred = papermill.inspect_notebook(str(path))
    told = {name: found["help"] for name, found in inferred.items()}
    assert told == {name: PARAMETERS[name].meaning for name in told}
    assert len(told) == len(ast.parse(code_cells(path)[0].source).body)


@each_notebook
def test_it_opens_with_its_question_and_closes_with_what_was_learnt(path):
    cells = read(path).cells
    assert cells[0].source.startswith("# ")
    assert "**Question.**" in cells[0].source
    headings = re.findall(r"(?m)^## .*$", "\n".join(cell.source for cell in cells))
    assert "learnt" in [text for text in headings if not text.startswith("## Appendix")][-1]


def stands_below_the_question(path: Path) -> str:
    """The line of the answer, of an executed notebook; it is shown by the cell that checks."""
    shown = [
        output.data["text/markdown"]
        for cell in code_cells(path)
        if "parameters.check(globals()" in cell.source
        for output in cell.outputs
        if "text/markdown" in output.get("data", {})
    ]
    assert len(shown) == 1, (path, shown)
    return shown[0]


@pytest.mark.parametrize("name", SERIES)
def test_each_numbered_notebook_fills_in_its_answer_at_the_end(name):
    sources = [cell.source for cell in read(FOLDER / f"{name}.ipynb").cells]
    assert sources[2].endswith("\nanswer_line = plotting.AnswerLine()")
    assert "\n".join(sources).count("answer_line") == 2  # no other value takes its name
    filled = [place for place, source in enumerate(sources) if "answer_line.fill(" in source]
    learnt = max(place for place, source in enumerate(sources) if "## What was learnt" in source)
    assert len(filled) == 1 and filled[0] > learnt


@each_notebook
def test_links_lead_somewhere(path):
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    links = re.findall(r"\]\(([^)#\s]+)", "\n".join(texts))
    assert links
    for link in links:
        assert link.startswith("http") or (FOLDER / link).exists(), link


def test_the_links_lead_from_each_notebook_to_the_next():
    for before, name, after in zip([None, *CHAIN], CHAIN, [*CHAIN[1:], None], strict=False):
        cells = [cell.source for cell in read(FOLDER / f"{name}.ipynb").cells]
        header = cells[0].split("**Question.**")[0]
        if before and name != "final_notebook":
            assert f"({before}.ipynb)" in header, (name, before)
        if after:
            assert f"({after}.ipynb)" in header, (name, after)
            following = re.search(r"\*\*Next\.\*\*.*?\((\w+)\.ipynb\)", cells[-1], re.DOTALL)
            assert following[1] == after, (name, following[1])


@each_notebook
def test_cells_are_short_and_reach_for_nothing_outside(path):
    sources = [cell.source for cell in code_cells(path)]
    long = [source for source in sources if len(source.splitlines()) > 12]
    assert len(long) <= 0.2 * len(sources)
    assert max(len(source.splitlines()) for source in sources) <= 21
    for word in ("sys.path", "chdir", "!pip", "%pip", "tensorflow"):
        assert not any(word in source for source in sources), word


@each_notebook
def test_only_the_final_notebook_is_committed_with_outputs(path):
    """What JupyterLab writes while one works is no error."""
    committed = execute("git", "show", f"HEAD:notebooks/{path.name}")
    if committed.returncode:
        pytest.skip("the history is not here")
    cells = nbformat.reads(committed.stdout, as_version=4).cells
    stored = [cell.get("outputs") or cell.get("execution_count") for cell in cells]
    assert any(stored) == (path.stem == "final_notebook")


def test_the_series_is_all_that_is_numbered_and_committed():
    committed = execute("git", "ls-files", "notebooks/[0-9][0-9]_*[a-z].ipynb")
    if committed.returncode:
        pytest.skip("the history is not here")
    assert [Path(line).stem for line in committed.stdout.splitlines()] == [*SERIES]


def test_notebooks_of_ones_own_are_not_linted(tmp_path):
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (tmp_path / "notebooks").mkdir()
    untidy = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import  os;x='1'")])
    own = ("my_idea", "99_try", "03_dense-Copy1")
    for name, returncode in (*((name, 0) for name in own), ("03_dense", 1)):
        nbformat.write(untidy, tmp_path / "notebooks" / f"{name}.ipynb")
        assert execute("ruff", "check", str(tmp_path)).returncode == returncode
        assert execute("ruff", "format", "--check", str(tmp_path)).returncode == returncode


@each_notebook
def test_the_readme_lists_it(path):
    assert f"notebooks/{path.name}" in (PROJECT / "README.md").read_text()


@pytest.fixture(scope="module")
def series(phantoms):
    """The whole series through Snakemake and papermill, executed anew: some tests share it."""
    for done in (RUN / "done").glob("*"):
        done.unlink()
    finished = execute(
        *("snakemake", "--cores", JOBS, "--nolock", "--rerun-incomplete"),
        *("--config", "parameters=smoke"),
        CHEST_XRAY_DIR=str(phantoms),
        LOKY_MAX_CPU_COUNT="2",  # room for one fit: other tests take the other cores
    )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-6000:]
    return finished


@pytest.mark.notebooks
def test_the_series_runs_and_says_that_it_is_synthetic(series):
    assert "SYNTHETIC radiographs" in series.stderr
    assert {path.name for path in (RUN / "done").iterdir()} == {*SERIES, "final_notebook"}
    assert (RUN / "final_notebook.html").stat().st_size > 100_000
    assert set(results.experiments(RUN / "results").dataset) == {"synthetic"}


@pytest.mark.notebooks
def test_what_ran_is_what_is_stored(series):
    for name in (*SERIES, "final_notebook"):
        ran = [cell for cell in code_cells(RUN / "notebooks" / f"{name}.ipynb")]
        ran = [cell for cell in ran if "injected-parameters" not in cell.metadata.get("tags", [])]
        stored = code_cells(FOLDER / f"{name}.ipynb")
        assert [cell.source for cell in ran] == [cell.source for cell in stored]
        warnings = [
            output for cell in ran for output in cell.outputs if output.get("name") == "stderr"
        ]
        assert not warnings, (name, warnings)


@pytest.mark.notebooks
def test_the_answers_stand_below_the_questions(series):
    for name in SERIES:
        told = stands_below_the_question(RUN / "notebooks" / f"{name}.ipynb")
        assert told.startswith("**Answer.** *On synthetic radiographs"), (name, told)
        assert re.search(r"\d", told), (name, told)
        assert "nan" not in told, (name, told)


@pytest.mark.notebooks
def test_a_second_run_has_nothing_to_do(series, phantoms):
    planned = execute(
        *("snakemake", "--cores", "1", "--nolock", "--dry-run", "--config", "parameters=smoke"),
        CHEST_XRAY_DIR=str(phantoms),
    )
    assert "Nothing to be done" in planned.stdout + planned.stderr


@pytest.mark.notebooks
def test_a_notebook_runs_again_when_what_it_uses_changes_and_not_otherwise(series, phantoms):
    told = execute(
        *("snakemake", "--cores", "1", "--nolock", "--detailed-summary"),
        *("--config", "parameters=smoke"),
        CHEST_XRAY_DIR=str(phantoms),
    )
    lines = [line.split("\t") for line in told.stdout.splitlines()]
    used = {Path(line[0]).name: line[4].split(",") for line in lines if "/done/" in line[0]}
    assert used.keys() == {*SERIES, "final_notebook"}
    users = {name for name, files in used.items() if "helpers/explain.py" in files}
    assert users == {"14_explanation"}
    for name, files in used.items():
        assert {"helpers/paths.py", "helpers/data/index.py", f"notebooks/{name}.ipynb"} <= {*files}
        assert not [file for file in files if file.startswith("helpers/publishing")]


@pytest.mark.notebooks
def test_a_notebook_runs_again_when_a_picture_or_what_is_said_of_it_changes(index, tmp_path):
    folder = builders.labelled_folder(tmp_path / "hospital", index)
    runs = tmp_path / "runs"
    done = runs / "smoke-synthetic" / "done" / "01_eda"
    done.parent.mkdir(parents=True)
    done.touch()

    def plan(*options):
        told = execute(
            *("snakemake", "--cores", "1", "--nolock", "--snakefile", str(PROJECT / "Snakefile")),
            *("--directory", str(tmp_path), *options),
            *("--config", "parameters=smoke", "notebook=01_eda"),
            CHEST_XRAY_DIR=str(folder),
            CHEST_XRAY_RUNS=str(runs),
            CHEST_XRAY_CACHE=str(tmp_path / "cache"),
        )
        assert told.returncode == 0, told.stderr
        return told.stdout + told.stderr

    plan("--touch", "--forceall")  # as if it had been executed
    assert "Nothing to be done" in plan("--dry-run")
    table = folder / "labels.csv"
    kept = table.read_text()
    table.write_text(kept.replace("virus", "bacteria", 1))
    assert "params have changed" in plan("--dry-run")
    table.write_text(kept)
    assert "Nothing to be done" in plan("--dry-run")
    shutil.copy(folder / "scan-0000.jpeg", folder / "scan-0001.jpeg")
    assert "params have changed" in plan("--dry-run")


def run_papermill(
    name: str, tmp_path: Path, phantoms: Path, runs: Path | None = None, **parameters
):
    return execute(
        *("papermill", f"notebooks/{name}.ipynb", str(tmp_path / "out.ipynb")),
        *("-y", yaml.safe_dump(parameters)),
        CHEST_XRAY_DIR=str(phantoms),
        CHEST_XRAY_RUNS=str(runs or tmp_path),
        LOKY_MAX_CPU_COUNT="2",
    )


@pytest.mark.notebooks
def test_the_template_runs_alone_and_joins_the_comparison(tmp_path, phantoms):
    small = {"EPOCHS": 2, "IMAGE_SIZE": 32, "RESAMPLES": 50}
    for read_test, splits in ((False, {"val"}), (True, {"val", "test"})):
        done = run_papermill("template", tmp_path, phantoms, **small, READ_TEST=read_test)
        assert done.returncode == 0, done.stderr[-3000:]
        measured = results.metrics(tmp_path / "lab-synthetic" / "results")
        assert set(measured.split) == splits
        assert set(measured.experiment) == {"my_experiment"}


@pytest.mark.notebooks
def test_the_final_model_can_stop_before_it_reads_test(series, tmp_path, phantoms):
    settings = yaml.safe_load((PROJECT / "parameters" / "smoke.yaml").read_text())
    known = papermill.inspect_notebook(str(FOLDER / "13_final_model.ipynb"))
    small = settings["all"] | settings["13_final_model"] | {"PARAMETERS": "smoke"}
    small = {name: small[name] for name in known if name in small}
    small |= {"READ_TEST": False}
    done = run_papermill("13_final_model", tmp_path, phantoms, RUN.parent, **small)
    assert done.returncode == 0, done.stderr[-3000:]
    executed = [cell for cell in code_cells(tmp_path / "out.ipynb") if cell.execution_count]
    sources = "\n".join(cell.source for cell in executed)
    assert "write_selection" in sources
    assert '"out_of_fold"' in sources
    assert '"final", "official"' not in sources


@pytest.mark.notebooks
def test_a_wrong_parameter_stops_before_training(tmp_path, phantoms):
    """Of papermill it would get a warning."""
    done = run_papermill("03_dense", tmp_path, phantoms, EPOCH=2)
    assert done.returncode != 0
    assert "unknown parameter EPOCH" in done.stderr
    executed = [cell for cell in code_cells(tmp_path / "out.ipynb") if cell.execution_count]
    assert not any("training.fit" in cell.source for cell in executed)


@pytest.mark.notebooks
def test_a_wrong_parameters_file_stops_the_run(phantoms):
    """What is wrong in one: tests/test_execute.py."""
    done = execute(
        *("snakemake", "--cores", "1", "--dry-run", "--config", "parameters=wrong"),
        CHEST_XRAY_DIR=str(phantoms),
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: no parameters file ") and "reference, smoke" in last


@pytest.mark.notebooks
def test_an_unknown_notebook_is_one_line_with_its_neighbour(phantoms):
    done = execute(
        *("snakemake", "--cores", "1", "--dry-run", "--config", "notebook=3_dense"),
        CHEST_XRAY_DIR=str(phantoms),
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == "error: no notebook 3_dense in the series. NOTEBOOK can be 03_dense"


@pytest.mark.parametrize(
    ("cores", "jobs", "workers"), [(1, 2, 2), (2, 2, 2), (8, 4, 8), (32, 16, 8)]
)
def test_make_takes_the_cores_that_are_there(cores, jobs, workers, monkeypatch):
    for name in ("JOBS", "MAKEFLAGS", "MAKEOVERRIDES"):  # of a `make test` that runs us
        monkeypatch.delenv(name, raising=False)
    planned = execute("make", "--dry-run", "run", "check", f"CORES={cores}").stdout
    assert re.findall(r"--cores (\d+)", planned) == [str(jobs)]
    assert re.findall(r"pytest -n (\d+)", planned) == [str(workers)]


@pytest.mark.notebooks
def test_a_missing_data_folder_is_one_line(tmp_path):
    done = execute("snakemake", "--cores", "1", CHEST_XRAY_DIR=str(tmp_path / "none"))
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith("error: no data folder at")


@pytest.mark.notebooks
def test_an_unreadable_picture_is_left_to_the_parameter_of_the_notebooks(tmp_path):
    folder = builders.kermany_folder(tmp_path / "chest_xray")
    next(folder.rglob("*.jpeg")).write_text("no picture")
    done = execute(
        *("snakemake", "--cores", "1", "--dry-run", "--config", "parameters=smoke"),
        CHEST_XRAY_DIR=str(folder),
        CHEST_XRAY_RUNS=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "left out 1 unreadable image(s)" in done.stdout


def test_parameters_have_a_meaning():
    assert all(parameter.meaning for parameter in PARAMETERS.values())
