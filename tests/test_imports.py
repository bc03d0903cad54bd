"""What an import brings along: seconds differ between machines, modules do not."""

import subprocess
import sys

import pytest

KERAS = {"keras", "tensorflow", "jax"}
FIGURES = {"IPython", "matplotlib", "seaborn"}
STATISTICS = {"scipy.stats", "sklearn"}
TABLES = {"pandas"}


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("helpers", {"numpy", *TABLES, *STATISTICS, *FIGURES, *KERAS}),
        ("helpers.parameters", {"numpy", *TABLES, *STATISTICS, *FIGURES, *KERAS}),
        ("helpers.predict", {*TABLES, *STATISTICS, *FIGURES, *KERAS, "onnxruntime"}),
        ("helpers.data", {*STATISTICS, *FIGURES, *KERAS}),
        ("helpers.evaluation", {*STATISTICS, *FIGURES, *KERAS}),
        ("helpers.results", {*STATISTICS, *FIGURES, *KERAS}),
        ("helpers.plotting", {"sklearn", *KERAS}),
        ("helpers.training", {"jax"}),
        ("helpers.execute", {*STATISTICS, *FIGURES, *KERAS}),
    ],
)
def test_an_import_brings_nothing_that_is_slow_and_not_needed(name, absent):
    code = f"import sys, {name}; print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not absent & {*told.stdout.split()}
