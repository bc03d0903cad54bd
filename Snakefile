"""The order of the notebooks and their parameters: one papermill call a notebook.

`make run` calls it. It writes `runs/<parameters>-<dataset>/` only: executed notebooks, the HTML of
the final one, figures and results; CHEST_XRAY_RUNS names another folder than `runs/`. Config:
parameters=NAME picks `parameters/NAME.yaml`; notebook=NAME runs that one and what it needs.
"""

import ast
import difflib
import os
import shlex
import sys

import grimp
import nbformat
import yaml

from helpers import data, execute, paths
from helpers.utils import UserError, short_digest

AFTER = dict.fromkeys(paths.SERIES, []) | {  # notebook: those whose results it reads
    "11_framing": ["10_leak_study"],
    "12_robustness": ["11_framing"],
    "13_final_model": ["12_robustness"],
    "14_explanation": ["02_baseline", "03_dense", "04_cnn_iterations", "05_leakyrelu_vs_relu"]
    + ["06_residual_network", "07_transfer_learning", "09_tuning", "13_final_model"],
    "15_clinical_use": ["13_final_model"],
}
AFTER["final_notebook"] = list(AFTER)
HERE = "" if os.getcwd() == str(paths.PROJECT) else f"{paths.PROJECT}/"  # `snakemake --directory`
VARIABLES = ("CHEST_XRAY_DIR", "CHEST_XRAY_RUNS", "PRETRAINED_DIR")  # of who calls us
IMPORTS = grimp.build_graph("helpers", exclude_type_checking_imports=True, cache_dir=None)


def chosen_notebooks():
    """The notebooks that config names, or all of them."""
    names = str(config.get("notebook") or "").split()
    for name in names:
        if name not in AFTER:
            known = difflib.get_close_matches(name, AFTER, n=1) or AFTER
            raise UserError(f"no notebook {name} in the series. NOTEBOOK can be {', '.join(known)}")
    return names


def run_folder(name):
    """The folder of a run: below the project, where it lies there."""
    folder = paths.RUNS / f"{name}-{DATASET}"
    inside = not HERE and folder.is_relative_to(paths.PROJECT)
    return str(folder.relative_to(paths.PROJECT) if inside else folder)


def code_behind(notebook):
    """The files of `helpers` that a notebook imports, and those that these import in turn."""
    cells = nbformat.read(paths.NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    nodes = [
        node
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "helpers"
    ]
    named = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
    found = {"helpers"}
    for module in (named | {node.module for node in nodes}) & IMPORTS.modules:
        found |= {module} | IMPORTS.find_upstream_modules(module)
    found |= {module.rpartition(".")[0] for module in found if module.count(".") == 2}
    places = [HERE + module.replace(".", "/") for module in found]
    return sorted(
        f"{place}/__init__.py" if os.path.isdir(place) else f"{place}.py" for place in places
    )


try:
    NAMED = [f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name)]
    FOLDER = data.find()
    INDEX = data.index(FOLDER, skip_unreadable=True)  # each notebook asks its own parameter
    DATASET = data.dataset(INDEX)
    NAME = config.get("parameters") or ("smoke" if DATASET == "synthetic" else "reference")
    PARAMETERS = execute.parameters_of(NAME, AFTER, RUN=run_folder(NAME))
    NOTEBOOKS = chosen_notebooks()
except UserError as error:
    sys.exit(f"error: {error}")

RUN = run_folder(NAME)
os.environ.setdefault("REPEAT", shlex.join(["make", "run", f"PARAMETERS={NAME}", *NAMED]))
os.environ["CHEST_XRAY_DIR"] = str(FOLDER)  # absolute: notebooks run in another folder
if DATASET == "synthetic":  # nothing is learnt from it that weights could help with
    os.environ.setdefault("PRETRAINED_DIR", "none")
print(f"{data.describe(INDEX)}\nParameters {NAME}; everything is written to {RUN}/", file=sys.stderr)


rule all:
    input:
        [] if NOTEBOOKS else f"{RUN}/final_notebook.html",
        expand(f"{RUN}/done/{{notebook}}", notebook=NOTEBOOKS or AFTER),


rule notebook:
    input:
        lambda wildcards: [f"{RUN}/done/{name}" for name in AFTER[wildcards.notebook]],
        lambda wildcards: code_behind(wildcards.notebook),
        notebook=HERE + "notebooks/{notebook}.ipynb",
    output:
        touch(f"{RUN}/done/{{notebook}}"),
    log:
        f"{RUN}/notebooks/{{notebook}}.ipynb",
    params:
        parameters=lambda wildcards: yaml.safe_dump(PARAMETERS[wildcards.notebook]),
        data=short_digest(INDEX.drop(columns="path").to_csv()),
    wildcard_constraints:
        notebook="|".join(AFTER),
    shell:
        "python -m helpers.execute {input.notebook} {log} -y {params.parameters:q}"
        ' --repeat "$REPEAT NOTEBOOK={wildcards.notebook}"'


use rule notebook as waited_for with:  # each of these waits for the one before: begin early
    wildcard_constraints:
        notebook="1[0-3]_.*",
    priority: 1


ruleorder: waited_for > notebook


rule html:
    input:
        f"{RUN}/done/final_notebook",
    output:
        f"{RUN}/final_notebook.html",
    shell:
        "jupyter nbconvert --log-level ERROR --to html --output-dir {RUN}"
        " --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_input_tags=hide-input"
        " {RUN}/notebooks/final_notebook.ipynb"
