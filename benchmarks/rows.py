"""One row of the benchmark, in a process of its own: `python -m benchmarks.rows PART ROW`.

Prints one line of JSON: what each repeat reached, and a note. One more repeat comes first and does
not count. The environment variables `PICTURES` and `THREADS` say which pictures, and how many
threads.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

SIDE, BATCH, REPEATS = 128, 32, 4
FILTERS = (32, 64, 128, 128)  # of the network that all train
ROTATION, SHIFT, ZOOM = 10, 0.05, 0.1  # of all light augmentations, with mirroring
PICTURES = Path(os.environ.get("PICTURES", "."))
THREADS = int(os.environ.get("THREADS", "2"))
AGREEMENT = 0.02  # most that a probability may change for an int8 model to be accepted

# What is measured


def repeated(work: Callable[[], object], amount: float, repeats: int = REPEATS) -> list[float]:
    """How much of `amount` a second, at each repeat but the first."""
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        found.append(amount / (time.perf_counter() - start))
    return found[1:]


def count() -> int:
    """How many pictures there are."""
    return sum(1 for _ in (PICTURES / "train").rglob("*.jpeg"))


def ours() -> tuple[np.ndarray, np.ndarray]:
    """The decoded pictures and their targets, as notebooks get them."""
    from helpers import data

    table = data.index(PICTURES)
    return data.load(table, SIDE), (table.label != "normal").to_numpy(dtype=np.int32)


def batches(images: np.ndarray, targets: np.ndarray):
    """Batches of our own, lightly augmented."""
    from helpers.training.batches import Batches

    return Batches(images, targets, light())


def light():
    """Training settings with the light augmentation."""
    from helpers import data, training

    light = data.Augmentation(ROTATION, SHIFT, (1 - ZOOM, 1 + ZOOM), flip=True)
    return training.TrainingConfig(1, 1, BATCH, augmentation=light)


def usual_generator(augmented: bool = True):
    """Keras's ImageDataGenerator on the folder: what most public notebooks do."""
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    changes = {
        "rotation_range": ROTATION,
        "width_shift_range": SHIFT,
        "height_shift_range": SHIFT,
        "zoom_range": ZOOM,
        "horizontal_flip": True,
    }
    generator = ImageDataGenerator(**(changes if augmented else {}))
    options = {"target_size": (SIDE, SIDE), "color_mode": "grayscale", "class_mode": "binary"}
    return generator.flow_from_directory(PICTURES / "train", batch_size=BATCH, **options)


def folder_dataset():
    """Keras's image_dataset_from_directory, without augmentation."""
    import keras

    options = {"label_mode": "binary", "color_mode": "grayscale", "image_size": (SIDE, SIDE)}
    return keras.utils.image_dataset_from_directory(
        PICTURES / "train", batch_size=BATCH, verbose=False, **options
    )


def with_layers(dataset):
    """A dataset augmented by Keras's layers, in parallel."""
    import keras
    import tensorflow as tf

    layers = [
        keras.layers.RandomRotation(ROTATION / 360, fill_mode="nearest"),
        keras.layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest"),
        keras.layers.RandomZoom(ZOOM, fill_mode="nearest"),
        keras.layers.RandomFlip("horizontal"),
    ]

    def change(images, targets):
        for layer in layers:
            images = layer(images, training=True)
        return images, targets

    return dataset.map(change, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def transformed(dataset):
    """A dataset augmented by TensorFlow's one projective operation, in parallel."""
    import tensorflow as tf

    def change(images, targets):
        count, middle = tf.shape(images)[0], (SIDE - 1) / 2
        draw = partial(tf.random.uniform, [count])
        angle = draw(-1.0, 1.0) * np.deg2rad(ROTATION).item()
        across, down = (draw(1 - ZOOM, 1 + ZOOM) for _ in range(2))
        across *= tf.where(draw() < 0.5, -1.0, 1.0)
        a, b = tf.cos(angle) / across, -tf.sin(angle) / across
        c, d = tf.sin(angle) / down, tf.cos(angle) / down
        right, below = (draw(-SHIFT, SHIFT) * SIDE + middle for _ in range(2))
        x, y = middle - a * right - b * below, middle - c * right - d * below
        rows = tf.stack([a, b, x, c, d, y, 0 * a, 0 * a], axis=1)
        changed = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=rows,
            output_shape=[SIDE, SIDE],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
        return changed, targets

    return dataset.map(change, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def torch_loader(changed: bool, decoded: bool):
    """PyTorch's DataLoader with workers: reads files, or takes what we decoded and augments it."""
    import torch
    from PIL import Image

    images, targets = ours()
    files = sorted((PICTURES / "train").rglob("*.jpeg"))
    change, threads = light().augmentation, THREADS

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(targets)

        def __getitem__(self, number):
            if decoded:
                image = images[number]
            else:
                with Image.open(files[number]) as picture:
                    image = np.asarray(picture.convert("L").resize((SIDE, SIDE)))[..., None]
            if changed:
                seed = torch.randint(2**31, ()).item()
                image = change(image[None], np.random.default_rng(seed))[0]
            return torch.from_numpy(image.transpose(2, 0, 1).copy()), np.float32(targets[number])

    options = {"batch_size": BATCH, "shuffle": True, "persistent_workers": True}
    return torch.utils.data.DataLoader(Pictures(), num_workers=threads, **options)


def through(drawn: Iterable) -> None:
    """Take every batch of an epoch and do nothing with it."""
    for _ in drawn:
        pass


# Loading: every picture once, as an array


def load_ours_cold() -> list[float]:
    from helpers import paths

    def work():
        paths.CACHE = PICTURES / f"cache-{time.perf_counter_ns()}"  # an empty one
        ours()[0].sum()

    return repeated(work, count())


def load_ours_warm() -> list[float]:
    return repeated(lambda: ours()[0].sum(), count())


def load_usual() -> list[float]:
    generator = usual_generator(augmented=False)
    return repeated(lambda: through(generator[k] for k in range(len(generator))), count())


def load_folder() -> list[float]:
    dataset = folder_dataset()
    return repeated(lambda: through(dataset), count())


def load_torch() -> list[float]:
    loader = torch_loader(changed=False, decoded=False)
    return repeated(lambda: through(loader), count())


# Augmentation alone


def augment_ours() -> list[float]:
    images, targets = ours()
    drawn, change = np.array(images), light().augmentation
    return repeated(lambda: change(drawn, np.random.default_rng(0)), len(targets))


def augment_batches() -> list[float]:
    made = batches(*ours())
    return repeated(lambda: through(made[k] for k in range(len(made))), len(made.targets))


def augment_usual() -> list[float]:
    generator = usual_generator().image_data_generator
    images = [image.astype(np.float32) for image in ours()[0]]
    return repeated(lambda: through(map(generator.random_transform, images)), len(images))


def augment_by(change: Callable) -> list[float]:
    import tensorflow as tf

    images, targets = ours()
    slices = tf.data.Dataset.from_tensor_slices((images.astype(np.float32), targets))
    dataset = change(slices.batch(BATCH))
    return repeated(lambda: through(dataset), len(targets))


# Training: the whole pipeline


def train_keras(make: Callable[[], object], precision: str = "float32") -> list[float]:
    from helpers import models, training
    from helpers.models import keras
    from helpers.training import backend

    training.set_up(seed=0, threads=THREADS, precision=precision)
    network = models.cnn(SIDE, FILTERS)
    jit = backend.jit_compile()
    network.compile("adam", "binary_crossentropy", metrics=["accuracy"], jit_compile=jit)
    reached = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            reached.append(count() / (time.perf_counter() - self.start))

    network.fit(make(), epochs=REPEATS + 1, shuffle=False, callbacks=[Clock()], verbose=0)
    return reached[1:]


def one_batch():
    """The same batch again and again: what the network takes where nothing has to be made."""
    import tensorflow as tf

    images, targets = ours()
    one = tf.constant(images[:BATCH]), tf.constant(targets[:BATCH])
    return tf.data.Dataset.from_tensors(one).repeat(count() // BATCH)


def cached_dataset():
    """tf.data with what was decoded kept in memory."""
    return transformed(folder_dataset().cache())


def train_torch(precision: str) -> list[float]:
    import torch
    from torch import nn

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    sizes = [1, *FILTERS]
    blocks = [
        part
        for k, n in enumerate(FILTERS)
        for part in (nn.Conv2d(sizes[k], n, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    ]
    end = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(FILTERS[-1], 1)
    network = nn.Sequential(*blocks, *end)
    network = network.to(memory_format=torch.channels_last)
    optimizer, loss = torch.optim.Adam(network.parameters()), nn.BCEWithLogitsLoss()
    loader = torch_loader(changed=True, decoded=True)

    def epoch():
        for images, targets in loader:
            images = images.to(torch.float32, memory_format=torch.channels_last) / 255
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                said = network(images)[:, 0]
            optimizer.zero_grad(set_to_none=True)
            loss(said.float(), targets).backward()
            optimizer.step()

    return repeated(epoch, count())


# Prediction with the published model, and matrix products


def _published():
    """The published model in ONNX Runtime, and pictures."""
    from helpers import data, predict

    images = data.load(data.index(PICTURES), 224)[:64].astype(np.float32)
    return replace(predict.open_model(), threads=THREADS), images


def predict_keras() -> list[float]:
    from helpers import paths, training
    from helpers.models import keras

    training.set_up(seed=0, threads=THREADS)
    network = keras.models.load_model(paths.MODELS / "pneumonia.keras", compile=False)
    images = _published()[1]
    return repeated(lambda: network.predict(images, batch_size=BATCH, verbose=0), len(images))


def predict_onnx() -> list[float]:
    model, images = _published()
    return repeated(lambda: model.probabilities(images), len(images))


def predict_int8() -> tuple[list[float], str]:
    from onnxruntime import quantization

    model, images = _published()

    class Calibration(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"image": images[k : k + 4]} for k in range(0, 32, 4)])

        def get_next(self):
            return next(self.left, None)

    small = PICTURES / "int8.onnx"
    quantization.quantize_static(
        model.path, small, Calibration(), op_types_to_quantize=["Conv"], per_channel=True
    )
    quick = replace(model, path=small)
    change = np.abs(quick.probabilities(images) - model.probabilities(images)).max()
    said = "accepted" if change <= AGREEMENT else "not accepted"
    note = f"{said}: a probability changes by {change:.3f} at most, {AGREEMENT} are allowed"
    return repeated(lambda: quick.probabilities(images), len(images)), note


def products(precision: str) -> list[float]:
    """GFLOP a second of products of two matrices of 2048 x 2048."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    a, b = (tf.cast(tf.random.normal((2048, 2048)), precision) for _ in range(2))
    return repeated(lambda: tf.matmul(a, b).numpy(), 2 * 2048**3 / 1e9, repeats=20)


def pipeline(precision: str = "float32") -> list[float]:
    return train_keras(lambda: batches(*ours()), precision)


USUAL = "ImageDataGenerator"
ROWS = {  # of each part; the others are compared with the first
    "machine": {
        "matrix products, float32": partial(products, "float32"),
        "matrix products, bfloat16": partial(products, "bfloat16"),
    },
    "loading": {
        USUAL: load_usual,
        "image_dataset_from_directory": load_folder,
        "PyTorch DataLoader": load_torch,
        "ours, first time": load_ours_cold,
        "ours, again": load_ours_warm,
    },
    "augmentation": {
        USUAL: augment_usual,
        "Keras layers in tf.data": partial(augment_by, with_layers),
        "one operation in tf.data": partial(augment_by, transformed),
        "ours, one thread": augment_ours,
        "ours, in batches ahead": augment_batches,
    },
    "training": {
        USUAL: partial(train_keras, usual_generator),
        "image_dataset_from_directory": partial(train_keras, lambda: with_layers(folder_dataset())),
        "tf.data, cached, float32": partial(train_keras, cached_dataset),
        "tf.data, cached, bfloat16": partial(train_keras, cached_dataset, "mixed_bfloat16"),
        "PyTorch channels-last, float32": partial(train_torch, "float32"),
        "PyTorch channels-last, bfloat16": partial(train_torch, "bfloat16"),
        "ours on JAX, float32": pipeline,
        "ours, float32": pipeline,
        "ours, bfloat16": partial(pipeline, "mixed_bfloat16"),
        "network alone, float32": partial(train_keras, one_batch),
        "network alone, bfloat16": partial(train_keras, one_batch, "mixed_bfloat16"),
    },
    "prediction": {
        "Keras": predict_keras,
        "ONNX Runtime, float32": predict_onnx,
        "ONNX Runtime, int8": predict_int8,
    },
}


def main() -> None:
    from helpers import paths

    paths.CACHE = PICTURES / "cache"
    found = ROWS[sys.argv[1]][sys.argv[2]]()
    values, note = found if isinstance(found, tuple) else (found, "")
    print(json.dumps({"values": values, "note": note}))


if __name__ == "__main__":
    main()
