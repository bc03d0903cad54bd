"""Write every page and figure that is made from the published results."""

from functools import partial
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets.config import Config

from helpers import paths, plotting, predict, results
from helpers.publishing import card, readme, slides
from helpers.utils import write_atomically


def write_pages() -> None:
    """Write the common figures, the generated tables, the card, the final notebook, the slides.

    Raises:
        UserError: there are no published results, or the model is not the one that was selected.
    """
    write_figures()
    tables = readme.tables()
    for name in readme.FILES:
        readme.write(paths.PROJECT / name, tables)
    if (paths.MODELS / predict.FACTS).exists():
        card.write()
    execute(final_notebook())
    slides.write()


def write_figures() -> None:
    """Draw the figures of several notebooks' results: comparison, best per notebook, costs."""
    place = results.story()
    plotting.save(plotting.comparison(results.official_metrics()), place, "comparison")
    plotting.save(plotting.comparison(results.best_per_notebook()), place, "best_per_notebook")
    if len(table := results.costs()):
        plotting.save(plotting.costs(table), place, "costs")


def final_notebook() -> Path:
    """Where the final notebook lies."""
    return paths.NOTEBOOKS / "final_notebook.ipynb"


def execute(path: Path) -> None:
    """Run a notebook in its folder and store it with what it shows."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": path.parent}}
    quiet = Config(KernelManager={"transport_encryption": "auto"})  # else the kernel warns
    made = ExecutePreprocessor(kernel_name="python3", record_timing=False, config=quiet)
    made.preprocess(notebook, resources)
    notebook.metadata.language_info = {"name": "python"}  # not the version: same file everywhere
    write_atomically(path, partial(nbformat.write, notebook))
