"""What is computed with: seed, threads, precision and device, here and in a fresh process."""

import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from helpers import data, models, paths, results, training
from helpers.data import Augmentation
from helpers.models import keras
from helpers.training import backend
from helpers.utils import UserError
from tests import builders

IMAGES, TABLE = builders.squares()
AUGMENTATION = Augmentation(rotation=10, shift=0.1, zoom=(0.9, 1.2), flip=True, blur=1)


@pytest.fixture(autouse=True)
def set_up_again():
    """Each test leaves the seed and the precision as it found them."""
    yield
    training.set_up(seed=0, threads=builders.THREADS)


def fit(epochs=4):
    config = training.TrainingConfig(epochs, epochs, batch_size=16, augmentation=AUGMENTATION)
    return training.fit(builders.with_dropout, IMAGES, TABLE, config, seed=0)


SCRIPT = """
import sys
import numpy as np
from helpers import training
from tests.training import test_backend as tests
training.set_up(seed=0, threads=2)
fitted = tests.fit()
np.save(sys.argv[1], fitted.predict(tests.IMAGES))
print(fitted.record["backend"], fitted.record["precision"], fitted.record["settings_hash"])
print(fitted.history.loss.iloc[0] > fitted.history.loss.iloc[-1])
print(fitted.record["device"])
"""


def run(script, *arguments, **environment):
    """What a script prints in a fresh process, line by line; JAX compiles it hastily."""
    environment |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=paths.PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def elsewhere(path, script=SCRIPT, **environment):
    """Train in a fresh process; its predictions and what it printed."""
    printed = run(script, str(path), **environment)
    return np.load(path), printed


def test_settings_are_what_it_was_told():
    training.set_up(seed=0, threads=builders.THREADS, precision="mixed_bfloat16")
    found = backend.settings()
    assert found == {"threads": builders.THREADS, "precision": "mixed_bfloat16"}
    found["threads"] = 99
    assert backend.settings()["threads"] == builders.THREADS


def test_opencv_takes_one_thread_for_an_image():
    cv2.setNumThreads(3)
    training.set_up(seed=0, threads=builders.THREADS)
    assert cv2.getNumThreads() == 1


@pytest.mark.parametrize(
    ("cores", "threads", "device", "gigabytes", "room"),
    [
        (8, 2, "processor (8 cores)", 24, 4),
        (7, 2, "processor (8 cores)", 24, 3),
        (1, 2, "processor (1 cores)", 24, 1),
        (8, 0, "processor (8 cores)", 24, 1),  # each takes all threads
        (8, 2, "a GPU", 24, 1),
        (8, 2, "processor (8 cores)", 4, 2),
        (8, 2, "processor (8 cores)", 1, 1),
    ],
)
def test_there_is_room_for_as_many_fits_as_have_threads_and_memory(
    monkeypatch, cores, threads, device, gigabytes, room
):
    free = SimpleNamespace(available=gigabytes * 10**9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    monkeypatch.setattr(backend, "device", lambda: device)
    monkeypatch.setattr(backend, "settings", lambda: {"threads": threads})
    assert backend.room() == room


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_bits(tmp_path):
    here = fit()
    probabilities, printed = elsewhere(tmp_path / "fresh.npy", PYTHONHASHSEED="1")
    np.testing.assert_array_equal(probabilities, here.predict(IMAGES))
    hashed = here.record["settings_hash"]
    assert printed == [f"tensorflow float32 {hashed}", "True", here.record["device"]]


DEVICES = """
from helpers.models import keras
spread = keras.distribution.distribution()
print([spread.get_data_layout((batch, 16)).axes for batch in (16, 15)])
print(len(fitted.model.trainable_variables[0].value.devices()))
"""


@pytest.mark.slow
def test_it_trains_on_jax_too_with_one_device_or_two(tmp_path):
    """63 images for training, 9 for validation: not all batches can be shared evenly."""
    one, printed = elsewhere(tmp_path / "one.npy", KERAS_BACKEND="jax")
    assert printed[0].startswith("jax float32 ") and printed[1:] == ["True", training.device()]
    assert one.shape == (len(TABLE),) and np.ptp(one) > 0.01

    two, told = elsewhere(
        tmp_path / "two.npy",
        SCRIPT + DEVICES,
        KERAS_BACKEND="jax",
        CHEST_XRAY_DEVICES="2",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    assert told[1:] == ["True", f"2 x {training.device()}", "[('batch', None), (None, None)]", "2"]
    assert told[0] != printed[0]  # another key
    np.testing.assert_allclose(two, one, atol=1e-5)


def side_by_side(images, table, cache_dir, seed):
    config = training.TrainingConfig(1, 1, augmentation=AUGMENTATION)
    build = partial(models.cnn, images.shape[1], (8,), batch_norm=True, dropout=0.3)
    return training.fit(build, images, table, config, seed=seed, cache_dir=cache_dir)


WHOLE_WAY = """
from functools import partial
from pathlib import Path
from helpers import data, results, training
from tests.training import test_backend as tests
training.set_up(seed=0, threads=1)
table = data.split(data.index(), "official", 0)
images = data.load(table, 32)
run = results.Run("03_dense", "jax", table, resamples=50)
fits = training.fit_all(partial(tests.side_by_side, images, table, run.fits), [(0,), (1,)])
for fit in fits:
    run.evaluate(fit, images, table, "dense", "official")
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
print(sum("XLAEigen" in name for name in names))
"""


@pytest.mark.slow
def test_on_jax_fits_side_by_side_end_in_saved_predictions(tmp_path, index):
    environment = {"CHEST_XRAY_RUNS": str(tmp_path), "CHEST_XRAY_CACHE": str(tmp_path / "cache")}
    threads = run(WHOLE_WAY, KERAS_BACKEND="jax", **environment)
    folder = tmp_path / "jax-synthetic" / "results"
    fits = results.experiments(folder)
    assert list(fits.backend) == ["jax", "jax"] and list(fits.seed) == [0, 1]
    first, second = (results.predictions("dense", seed=seed, folder=folder) for seed in (0, 1))
    assert len(first) == (data.split(index, "official", 0).split != "train").sum()
    assert not first.p_pneumonia.equals(second.p_pneumonia)
    assert results.metrics(folder).query("metric == 'auc'").value.between(0, 1).all()
    if sys.platform == "linux":
        assert threads == ["1"]


@pytest.mark.parametrize(
    ("backend_name", "wanted", "message"),
    [
        ("tensorflow", "2", "needs the JAX backend: set KERAS_BACKEND=jax"),
        ("jax", "3", "CHEST_XRAY_DEVICES=3: give a number from 1 to 2"),
        ("jax", "0", "give a number"),
        ("jax", "all", "give a number"),
    ],
)
def test_devices_that_are_not_there(monkeypatch, backend_name, wanted, message):
    monkeypatch.setenv("CHEST_XRAY_DEVICES", wanted)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend_name)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1"])
    with pytest.raises(UserError, match=message):
        training.device()


def test_the_seed_fixes_what_is_drawn_afterwards():
    drawn = []
    for seed in (1, 1, 2):
        training.set_up(seed, threads=builders.THREADS)
        drawn.append(builders.with_dropout().get_weights()[0])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_sixteen_bits_are_used_where_they_are_asked_for():
    whole = fit(epochs=1)
    training.set_up(seed=0, threads=builders.THREADS, precision="mixed_bfloat16")
    half = fit(epochs=1)
    assert half.record["precision"] == "mixed_bfloat16"
    layers = {layer.name: layer.compute_dtype for layer in half.model.layers}
    assert layers.pop("probability") == "float32"
    assert layers.popitem()[1] == "bfloat16"
    p, expected = (fitted.predict(IMAGES) for fitted in (half, whole))
    assert p.dtype == np.float32
    assert not np.array_equal(p, expected)
    np.testing.assert_allclose(p, expected, atol=0.1)
    assert half.record["settings_hash"] != whole.record["settings_hash"]


def test_threads_cannot_change_afterwards():
    with pytest.raises(UserError, match="restart the kernel"):
        training.set_up(seed=0, threads=builders.THREADS + 1)


@pytest.mark.parametrize(
    ("device", "flags", "precision"),
    [
        ("NVIDIA H200", "", "mixed_float16"),
        ("Xeon (2 cores)", "fpu sse", "float32"),  # with units: tests/training/test_precision.py
    ],
)
def test_auto_takes_what_the_device_is_fast_at(monkeypatch, device, flags, precision):
    monkeypatch.setattr(backend, "device", lambda: device)
    monkeypatch.setattr(backend, "cpu_field", lambda name: flags)
    training.set_up(seed=0, threads=builders.THREADS, precision="auto")
    assert keras.config.dtype_policy().name == precision
    facts = backend.facts()
    assert (facts["precision"], facts["device"]) == (precision, device)


def test_a_fit_starts_with_the_precision_that_was_set_up():
    training.set_up(seed=0, threads=builders.THREADS, precision="mixed_bfloat16")
    keras.config.set_dtype_policy("float32")
    backend.start_fit(seed=0)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_the_facts_name_device_backend_precision_and_threads():
    assert backend.facts() == {
        "device": training.device(),
        "backend": keras.backend.backend(),
        "precision": "float32",
        "threads": builders.THREADS,
    }
    assert training.device()


def test_versions_are_those_of_keras_the_backend_and_scikit_learn():
    assert backend.versions()[0] == keras.__version__
    assert len(backend.versions()) == 3
