"""The order of the notebooks and their parameters: one papermill call a notebook.

`make run` calls it. It writes `runs/<parameters>-<dataset>/` only: executed notebooks, the HTML of
the final one, figures and results. Config: parameters=NAME picks `parameters/NAME.yaml`.
"""

import os
import sys
from pathlib import Path

import papermill
import yaml

from helpers import data
from helpers.settings import PROJECT, UserError, check_values

AFTER = {  # notebook: those whose results it reads
    "01_eda": [],
    "02_baseline": [],
    "03_dense": [],
    "04_cnn_iterations": [],
    "05_leakyrelu_vs_relu": [],
    "06_residual_network": [],
    "07_transfer_learning": [],
    "08_three_classes": [],
    "09_tuning": [],
    "10_leak_study": [],
    "11_stress_validation": [],
    "12_final_model": ["07_transfer_learning", "11_stress_validation"],
    "13_explanation": ["12_final_model"],
}
AFTER["final_notebook"] = list(AFTER)


def parameters_of_notebooks(name):
    """The parameters of each notebook: those of `all` that it has, and its own."""
    path = PROJECT / "parameters" / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UserError(f"no parameters file {path}. PARAMETERS can be {known}")
    sections = yaml.safe_load(path.read_text())
    if unknown := set(sections) - {"all", *AFTER}:
        raise UserError(f"{path} names {', '.join(sorted(unknown))}, which is no notebook")
    chosen = {}
    for notebook in AFTER:
        has = papermill.inspect_notebook(str(PROJECT / "notebooks" / f"{notebook}.ipynb"))
        own = sections.get(notebook, {})
        if unknown := set(own) - set(has):
            raise UserError(f"{path}: {notebook} has no parameter {', '.join(sorted(unknown))}")
        given = {"PARAMETERS": name, "RUN": f"runs/{name}-{DATASET}"} | sections.get("all", {}) | own
        check_values(given)
        chosen[notebook] = {key: value for key, value in given.items() if key in has}
    return chosen


try:
    FOLDER = data.find()
    INDEX = data.index(FOLDER, skip_unreadable=bool(config.get("skip_unreadable")))
    DATASET = data.dataset(INDEX)
    NAME = config.get("parameters") or ("smoke" if DATASET == "synthetic" else "reference")
    PARAMETERS = parameters_of_notebooks(NAME)
except UserError as error:
    sys.exit(f"error: {error}")

RUN = f"runs/{NAME}-{DATASET}"
os.environ["CHEST_XRAY_DIR"] = str(FOLDER)  # absolute: notebooks run in another folder
os.environ["TQDM_DISABLE"] = "1"  # papermill shows the progress
print(f"{data.describe(INDEX)}\nParameters {NAME}; everything is written to {RUN}/", file=sys.stderr)


rule all:
    input:
        f"{RUN}/final_notebook.html",
        expand(f"{RUN}/done/{{notebook}}", notebook=AFTER),


rule notebook:
    input:
        lambda wildcards: [f"{RUN}/done/{name}" for name in AFTER[wildcards.notebook]],
        sorted(str(path) for path in Path("helpers").rglob("*.py")),
        notebook="notebooks/{notebook}.ipynb",
    output:
        touch(f"{RUN}/done/{{notebook}}"),
    log:
        f"{RUN}/notebooks/{{notebook}}.ipynb",
    params:
        parameters=lambda wildcards: yaml.safe_dump(PARAMETERS[wildcards.notebook]),
        data=INDEX.digest.str.cat()[:: len(INDEX) // 100 + 1],
    wildcard_constraints:
        notebook="|".join(AFTER),
    shell:
        "papermill {input.notebook} {log} -y {params.parameters:q} -k python3 --cwd notebooks"


for name in AFTER:  # `snakemake 03_dense` runs that notebook and what it needs

    rule:
        name:
            name
        input:
            f"{RUN}/done/{name}",


rule html:
    input:
        f"{RUN}/done/final_notebook",
    output:
        f"{RUN}/final_notebook.html",
    shell:
        "jupyter nbconvert --log-level ERROR --to html --output-dir {RUN}"
        " {RUN}/notebooks/final_notebook.ipynb"
