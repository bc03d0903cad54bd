"""Four small fits of fixed settings and some crops, and what they once gave: golden.json.

The key of a finished fit holds the numbers called VERSION, not the text of the code. If the code
gives other fits and no VERSION is raised, caches hand out fits of the old code. After raising one,
`python -m tests.training.golden` writes the file again.
"""

import importlib
import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from helpers import data, models, training
from helpers.lungs import sampling
from helpers.models import keras
from helpers.utils import write_atomically
from tests import builders

FILE = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-3  # of a probability; other processors and numbers of threads stay below a tenth
MODULES = (  # whose VERSION says that the fits may have changed
    "helpers.data.synthetic",
    "helpers.reading",
    "helpers.data.transforms",
    "helpers.data.augmentation",
    "helpers.lungs.sampling",
    "helpers.training.fit",
)
SIDE, COUNT = 32, 36  # of the images, pixels, and how many
SHOWN = slice(None, None, 5)  # those whose probabilities are kept
AUGMENTATION = data.Augmentation(
    rotation=10,
    shift=0.1,
    zoom=(0.9, 1.3),
    flip=True,
    brightness=0.1,
    contrast=0.3,
    blur=1.5,
    bands=0.7,
    gamma=0.5,
    border=0.15,
    letters=0.5,
)
FULL = training.TrainingConfig(  # with MIXED, every option is in use
    epochs=4,
    patience=4,
    batch_size=6,
    learning_rate=1e-2,
    cosine_decay=True,
    ema_momentum=0.5,
    label_smoothing=0.1,
    class_weights=True,
    augmentation=AUGMENTATION,
)
MIXED = training.TrainingConfig(
    epochs=4,
    patience=4,
    batch_size=6,
    learning_rate=1e-2,
    cosine_decay=True,
    warm_up=1,
    weight_decay=0.1,
    mixup=0.4,
)
PLAIN = training.TrainingConfig(epochs=2, patience=2)


def versions() -> dict[str, int]:
    """The number called VERSION of each of MODULES."""
    return {name: importlib.import_module(name).VERSION for name in MODULES}


def full(images, table) -> np.ndarray:
    """Three classes by a CNN, with augmentation and most options of training."""
    build = partial(models.cnn, SIDE, (6, 12), batch_norm=True, dropout=0.2, classes=3)
    return training.fit(build, images, table, FULL, seed=4).predict(images[SHOWN])


def mixed(images, table) -> np.ndarray:
    """Three classes by a CNN, with the other options of training and soft labels."""
    build = partial(models.cnn, SIDE, (6, 12), batch_norm=True, classes=3)
    soft = np.random.default_rng(5).dirichlet([1, 1, 1], len(table))
    fit = training.fit(build, images, table, MIXED, seed=5, soft_labels=soft)
    return fit.predict(images[SHOWN])


def plain(images, table) -> np.ndarray:
    """Two classes by dense layers, with no option in use."""
    build = partial(models.dense, SIDE, (8,))
    return training.fit(build, images, table, PLAIN, seed=2).predict(images[SHOWN])


def estimator(images, table) -> np.ndarray:
    """Two classes by an estimator."""
    features = images.reshape(len(images), -1)[:, ::8] / 255
    fit = training.fit_estimator(models.linear_probe(), features, table, seed=3)
    return fit.predict(features[SHOWN])


def crops(images, table) -> np.ndarray:
    """Standardised crops around boxes, 8 pixels a side, as shares of 255."""
    images = np.float32(images[SHOWN])
    low, high = [0.05, 0.05, 0.6, 0.6], [0.3, 0.3, 0.95, 0.95]
    boxes = np.random.default_rng(6).uniform(low, high, (len(images), 4))
    cropped = sampling.standardise(sampling.sample(images, np.float32(boxes), 8))
    return cropped.reshape(len(images), -1) / 255


FITS = {fit.__name__: fit for fit in (full, mixed, plain, estimator, crops)}


def radiographs(folder: Path):
    """Some of the synthetic radiographs drawn below `folder`, decoded, and their table."""
    index = data.index(data.synthetic.make(folder / "golden", patients=20))
    table = index.iloc[np.linspace(0, len(index) - 1, COUNT).astype(int)].reset_index(drop=True)
    table["split"] = np.where(table.index % 4 == 3, "val", "train")
    return data.load(table, SIDE), table


def compute(folder: Path, names=tuple(FITS)) -> dict[str, np.ndarray]:
    """What the fits give now, on the processor."""
    images, table = radiographs(folder)
    with keras.device("cpu:0"):
        return {name: FITS[name](images, table) for name in names}


def difference(found: dict, stored: dict) -> float:
    """The largest one between what fits give and what they gave."""
    return max(np.abs(np.subtract(found[name], stored[name])).max() for name in found)


def complaint(stored: dict, versions: dict[str, int], found: dict) -> str:
    """What is wrong and what to do; empty when the code and the stored numbers agree."""
    write = "run `python -m tests.training.golden` and keep the file that it writes"
    if other := [name for name in MODULES if versions[name] != stored["versions"].get(name)]:
        return f"another VERSION than in {FILE.name}: {', '.join(other)}; {write}"
    if (most := difference(found, stored["probabilities"])) <= TOLERANCE:
        return ""
    return (
        f"the same settings give other fits (by {most:.4f}), and no VERSION says so, so finished "
        f"fits of the old code would be taken for new ones. If this is meant, raise VERSION in the "
        f"module that you changed ({', '.join(MODULES)}), then {write}"
    )


def read(file: Path = FILE) -> dict:
    """What `write` left."""
    return json.loads(file.read_text())


def write(file: Path = FILE, threads: int = builders.THREADS) -> None:
    """Compute the fits and keep what they give, with the versions of the code."""
    training.set_up(seed=0, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        found = compute(Path(folder))
    content = {
        "versions": versions(),
        "probabilities": {name: p.astype(float).round(6).tolist() for name, p in found.items()},
    }
    write_atomically(file, lambda path: path.write_text(json.dumps(content, indent=1) + "\n"))


if __name__ == "__main__":
    write()
