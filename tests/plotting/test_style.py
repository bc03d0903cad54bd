"""Saving and showing figures."""

import matplotlib.pyplot as plt
import nbformat
import papermill
import pytest
from nbconvert.preprocessors import ExecutePreprocessor

from helpers import plotting, results
from helpers.utils import UserError, sha256


def place(folder, dataset):
    return results.Story(folder / "results", folder / "figures", dataset)


@pytest.mark.parametrize(("dataset", "marked"), [("synthetic", True), ("kermany", False)])
def test_a_figure_of_synthetic_data_says_so(tmp_path, dataset, marked):
    figure = plt.figure()
    plotting.save(figure, place(tmp_path, dataset), "plot")
    assert (tmp_path / "figures/plot.png").exists()
    assert ("synthetic radiographs" in [text.get_text() for text in figure.texts]) == marked


def test_a_saved_figure_is_shown_and_a_missing_one_named(tmp_path):
    here = place(tmp_path, "kermany")
    plotting.save(plt.figure(figsize=(8, 2)), here, "plot")
    assert plotting.show(here, "plot").width <= 760
    with pytest.raises(UserError, match=r"other\.png.*make run"):
        plotting.show(here, "other")


def test_a_figure_is_described_by_its_name_panels_and_legends():
    figure, (left, right) = plt.subplots(1, 2)
    left.set(title="fold 1", xlabel="epoch", ylabel="loss")
    left.plot([0, 1], label="validation")
    left.legend()
    right.set(title="two\nlines")
    figure.legend(handles=left.lines, labels=["below"])
    said = plotting.description(figure, "03_dense_curves")
    assert said == "dense curves. fold 1: loss against epoch; two lines. below; validation"


def test_a_long_description_is_cut():
    figure, axes = plt.subplots(1, 30)
    for number, axis in enumerate(axes):
        axis.set_title(f"a picture that is called {number}")
    assert len(plotting.description(figure, "montage")) <= 400


def test_what_a_saved_figure_shows_is_said_where_it_is_shown(tmp_path):
    here = place(tmp_path, "kermany")
    figure, axis = plt.subplots()
    axis.set(xlabel="epoch", ylabel="loss")
    plotting.save(figure, here, "03_curves")
    assert plotting.show(here, "03_curves").alt == "curves. loss against epoch"
    plt.figure().savefig(here.figures / "04_before.png")
    assert plotting.show(here, "04_before").alt == "before"


def test_a_figure_names_the_tables_that_it_was_drawn_from(tmp_path, index, run_folder):
    run = results.Run("03_dense", "test", index)
    plotting.save(plt.figure(), run, "first")
    run.sources |= {"ffff", "0000"}
    plotting.save(plt.figure(), run, "second")
    here = place(tmp_path, "kermany")
    here.results.mkdir(parents=True)
    (here.results / "metrics.csv").write_text("metrics")
    plotting.save(plt.figure(), here, "third")
    found = [plotting.source(run.figures / f"{name}.png") for name in ("first", "second")]
    assert found == ["images alone", "0000 ffff"]
    digest = plotting.source(here.figures / "third.png")
    assert digest == sha256(here.results / "metrics.csv")[: results.SHORT]
    plt.figure().savefig(tmp_path / "other.png")
    assert plotting.source(tmp_path / "other.png") == ""


NOTEBOOK = """
from pathlib import Path
import matplotlib.pyplot as plt
from helpers import plotting, results
here = results.Story(Path({0!r}), Path({0!r}), "kermany")
plotting.save(plt.subplots()[0], here, "01_first")
plotting.save(plt.subplots()[0], here, "01_second")
"""


@pytest.mark.notebooks
def test_a_notebook_shows_a_saved_figure_once_with_its_description(tmp_path):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(NOTEBOOK.format(str(tmp_path)))]
    ExecutePreprocessor(kernel_name="python3").preprocess(notebook, {})
    outputs = notebook.cells[0].outputs
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert [output.metadata["image/png"]["alt"] for output in shown] == ["first", "second"]


ANSWERED = [
    """
from pathlib import Path
from helpers import plotting, results
answer = plotting.AnswerLine()""",
    "number = 3",
    'answer.fill(results.Story(Path(), Path(), "{dataset}"), f"It is {{number}}.")',
]


@pytest.mark.notebooks
@pytest.mark.parametrize("dataset", ["kermany", "synthetic"])
@pytest.mark.parametrize("way", ["papermill", "nbconvert"])
def test_an_answer_is_saved_where_its_line_was_shown(tmp_path, way, dataset):
    cells = [nbformat.v4.new_code_cell(source) for source in ANSWERED]
    cells[2].source = cells[2].source.format(dataset=dataset)
    notebook = nbformat.v4.new_notebook(cells=cells)
    if way == "papermill":
        nbformat.write(notebook, tmp_path / "in.ipynb")
        both = str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb")
        notebook = papermill.execute_notebook(*both, kernel_name="python3", progress_bar=False)
    else:
        ExecutePreprocessor(kernel_name="python3").preprocess(notebook, {})
    shown = [[output.data["text/markdown"] for output in cell.outputs] for cell in notebook.cells]
    about = "*On synthetic radiographs, which say nothing about patients:* "
    told = about if dataset == "synthetic" else ""
    assert shown == [[f"**Answer.** {told}It is 3."], [], []]
