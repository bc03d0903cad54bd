"""The precision that a processor trains fastest in: measured where it can matter, and once."""

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers import paths, training
from helpers.models import keras
from helpers.training import backend, precision
from tests import builders


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    yield
    training.set_up(seed=0, threads=builders.THREADS)


@pytest.fixture
def measured(monkeypatch):
    """Seconds of each precision, and how often they were asked for."""
    seconds, asked = {"float32": 1.0, "mixed_bfloat16": 0.5}, []
    monkeypatch.setattr(precision, "_seconds", lambda name: asked.append(name) or seconds[name])
    return seconds, asked


def test_without_units_nothing_is_measured(measured):
    assert precision.fastest("processor", "fpu avx2 avx512f", 2) == "float32"
    assert not measured[1]


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16", "bf16"])
@pytest.mark.parametrize(("seconds", "found"), [(0.5, "mixed_bfloat16"), (0.9, "float32")])
def test_with_units_the_faster_one_is_taken(measured, unit, seconds, found):
    measured[0]["mixed_bfloat16"] = seconds
    assert precision.fastest("processor", f"fpu {unit} sse", 2) == found


def test_it_is_measured_once_on_each_machine(measured):
    first = precision.fastest("processor", "amx_bf16", 2)
    measured[0]["mixed_bfloat16"] = 2.0
    assert precision.fastest("processor", "amx_bf16", 2) == first == "mixed_bfloat16"
    assert measured[1] == ["float32", "mixed_bfloat16"]
    assert precision.fastest("another processor", "amx_bf16", 2) == "float32"


def test_those_that_start_at_once_measure_once_and_agree(measured, monkeypatch):
    numbers = itertools.count()

    def slow(name):
        time.sleep(0.05)
        measured[1].append(name)
        return (1.0, 0.5, 1.0, 2.0)[next(numbers) % 4]

    monkeypatch.setattr(precision, "_seconds", slow)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: precision.fastest("processor", "bf16", 2), range(4)))
    assert found == {"mixed_bfloat16"}
    assert measured[1] == ["float32", "mixed_bfloat16"]


@pytest.mark.parametrize("content", ["", "[]", '{"float32": 1}', '{"float32": null}'])
def test_a_damaged_answer_is_measured_again(measured, tmp_path, content):
    precision.fastest("processor", "bf16", 2)
    [path] = tmp_path.glob("precision-*.json")
    path.write_text(content)
    assert precision.fastest("processor", "bf16", 2) == "mixed_bfloat16"
    assert measured[1] == 2 * ["float32", "mixed_bfloat16"]


@pytest.mark.parametrize("name", ["flags", "Features"])
def test_auto_is_what_was_measured(measured, monkeypatch, name):
    monkeypatch.setattr(backend, "device", lambda: "processor (2 cores)")
    monkeypatch.setattr(
        backend, "cpu_field", lambda field: "bf16 amx_bf16" if field == name else ""
    )
    training.set_up(seed=0, threads=builders.THREADS, precision="auto")
    assert backend.settings()["precision"] == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_a_training_step_is_measured_in_either_precision():
    found = {name: precision._seconds(name, steps=1) for name in ("float32", "mixed_bfloat16")}
    assert all(0 < seconds < 60 for seconds in found.values())
    json.dumps(found)
