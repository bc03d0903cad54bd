"""A network that finds the box around the lungs: its layers, its training, its answers."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import data
from helpers.lungs import sampling
from helpers.models import InitialWeights, classifier, keras
from helpers.training import backend, cache
from helpers.utils import UserError, short_digest

layers = keras.layers

VERSION = 1  # raise it when the same boxes give another localiser
FILE = "lungs.keras"  # of the localiser, in a folder of models
SIDE = 128  # of the pictures that the network takes, pixels
BINS = 64  # places of an edge that the network tells apart
OUTSIDE = 0.1  # how far beyond the picture an edge may be sought, share of the side
BATCH = 32
LOOKED_AT = 224  # side of the pictures that lungs are found in and cropped from, pixels
MAPS = ("conv_pw_5_relu", "conv_pw_11_relu")  # of MobileNet: fine, and with a wide view
WHOLE = np.float32([[0, 0, 1, 1]])  # the box of the whole picture


def localiser(initial: InitialWeights, maps: Sequence[str] = MAPS) -> keras.Model:
    """A network from pictures (n, 128, 128, 1), raw 0-255, to boxes (n, 4) and spreads (n, 1).

    Two stages of MobileNet's feature maps are added, and their mean and maximum along the columns
    (for the left and the right edge) and along the rows (for top and bottom) give each edge a
    probability at each of 64 places. Its expectation is the edge (soft-argmax: Nibali et al. 2018),
    and the largest standard deviation of the four, a share of the side, is the spread: large where
    the network does not know where an edge is.

    Args:
        initial: weights of MobileNet, as `models.initial_weights("mobilenet")` gives them.
        maps: layers of MobileNet whose feature maps are taken: a fine stage and a wide one.
    """
    frozen = initial.path is not None  # random weights need batch norm to adapt
    base = classifier("mobilenet", SIDE, weights=initial.path, frozen_batch_norm=frozen)
    fine, wide = (layers.Conv2D(64, 1)(base.get_layer(name).output) for name in maps)
    wide = layers.UpSampling2D(fine.shape[1] // wide.shape[1], interpolation="bilinear")(wide)
    x = layers.Activation("swish")(layers.Add()([fine, wide]))
    x = layers.SpatialDropout2D(0.1)(x)
    x = layers.Conv2D(64, 3, padding="same", activation="swish")(x)
    across, down = _edges(x, axis=1), _edges(x, axis=2)  # (n, 2, 2) each
    edges = layers.Concatenate(axis=1, dtype="float32")(
        [across[:, :1], down[:, :1], across[:, 1:], down[:, 1:]]
    )
    variance = edges[..., 1] - keras.ops.square(edges[..., 0])
    spread = keras.ops.sqrt(keras.ops.max(keras.ops.relu(variance), axis=1, keepdims=True))
    return keras.Model(base.input, [edges[..., 0], spread], name="localiser")


def _edges(x: keras.KerasTensor, axis: int) -> keras.KerasTensor:
    """Low and high edge along the axis that is left when `axis` of the maps is pooled.

    Returns:
        (n, 2, 2): of both edges the expectation and that of the square.
    """
    pooled = [keras.ops.mean(x, axis=axis), keras.ops.max(x, axis=axis)]
    profile = layers.Concatenate()(pooled)
    profile = layers.Conv1D(64, 3, padding="same", activation="swish")(profile)
    profile = layers.UpSampling1D(BINS // profile.shape[1])(profile)
    profile = layers.Conv1D(48, 7, padding="same", activation="swish")(profile)
    profile = layers.Conv1D(2, 7, padding="same", dtype="float32")(profile)
    share = layers.Permute((2, 1))(layers.Softmax(axis=1, dtype="float32")(profile))
    moments = layers.Dense(2, use_bias=False, trainable=False, dtype="float32")
    found = moments(share)
    spots = (np.arange(BINS) + 0.5) / BINS * (1 + 2 * OUTSIDE) - OUTSIDE
    moments.set_weights([np.column_stack([spots, spots**2])])
    return found


def fit_localiser(
    images: np.ndarray,
    boxes: np.ndarray,
    initial: InitialWeights,
    *,
    seed: int = 0,
    epochs: int = 60,
    maps: Sequence[str] = MAPS,
    cache_dir: Path | None = None,
) -> keras.Model:
    """Train the localiser on random windows of pictures.

    Adam with decoupled weight decay (Loshchilov & Hutter 2019), warm-up and cosine decay, Huber
    loss; the exponential moving average of the weights is kept. Batch norm is frozen where the
    weights of MobileNet are pretrained.

    Args:
        images: uint8, (n, side, side, 1); best larger than the 128 pixels that are looked at.
        boxes: (n, 4).
        initial: weights of MobileNet.
        seed: of weights, windows and order.
        epochs: passes over the pictures.
        maps: as in `localiser`.
        cache_dir: folder of finished fits.
    """
    backend.start_fit(seed)
    model = localiser(initial, maps)
    images, boxes = np.asarray(images), np.asarray(boxes, np.float32)
    key = cache.settings_hash(
        {
            "model": model.to_json(),
            "initial_weights": cache.digest(*model.get_weights()),
            "data": cache.digest(images, boxes),
            **{"seed": seed, "epochs": epochs, "sampling": sampling.VERSION},
        },
        VERSION,
    )
    if cache_dir and (found := cache.read(Path(cache_dir) / key, model)):
        return found[0]
    windows = _Windows(images, boxes, seed)
    steps = epochs * len(windows)
    warm = min(2 * len(windows), steps // 2)
    rate = backend.CosineDecay(0.0, steps - warm, warmup_target=5e-4, warmup_steps=warm)
    momentum = max(0.0, 1 - 20 / steps)  # a mean over some twentieth of all steps
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, use_ema=True, ema_momentum=momentum)
    loss = keras.losses.Huber(delta=0.02)
    of_boxes = keras.Model(model.input, model.outputs[0])
    of_boxes.compile(optimizer=optimizer, loss=loss, jit_compile=backend.jit_compile())
    optimizer.build(of_boxes.trainable_variables)  # else TensorFlow traces a step twice
    history = of_boxes.fit(windows, epochs=epochs, shuffle=False, verbose=0).history
    optimizer.finalize_variable_values(of_boxes.trainable_variables)
    if cache_dir:
        cache.write(Path(cache_dir) / key, model, {"settings_hash": key}, pd.DataFrame(history))
    return model


class _Windows(keras.utils.PyDataset):
    """Batches of random windows, and where the lungs are in them; drawn anew each epoch."""

    def __init__(self, images: np.ndarray, boxes: np.ndarray, seed: int):
        super().__init__()
        self.images, self.boxes, self.seed, self.epoch = images, boxes, seed, -1
        self.on_epoch_begin()

    def __len__(self) -> int:
        return math.ceil(len(self.images) / BATCH)

    def on_epoch_begin(self) -> None:
        self.epoch += 1
        generator = np.random.default_rng([self.seed, self.epoch])
        self.order = generator.permutation(len(self.images))

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng([self.seed, self.epoch, number])
        rows = self.order[number * BATCH : (number + 1) * BATCH]
        pairs = [random_window(self.images[k], self.boxes[k], generator) for k in rows]
        return np.stack([image for image, _ in pairs]), np.stack([box for _, box in pairs])


def random_window(
    image: np.ndarray, box: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a picture around its lungs, or the picture with a border, and the box in it.

    It is mirrored in half of the cases, and brightness, contrast, gamma and sharpness change. It is
    never turned: the box of turned lungs does not follow from the box.

    Args:
        image: uint8, (side, side, 1).
        box: (4,).
        generator: of all that is random.

    Returns:
        The window, uint8, (128, 128, 1), and the box in its shares, cut off at its edges.
    """
    box = np.asarray(box, np.float64)
    low, high = box[:2], box[2:]
    size = np.exp(generator.uniform(np.log(0.65), np.log(1.2), 2))  # shares of the picture
    if generator.random() < 0.5:
        size[1] = np.clip(size[0] * np.exp(generator.normal(0, 0.1)), 0.6, 1.25)
    ends = np.sort([low - 0.05, high + 0.05 - size], axis=0)
    start = np.where(
        size > high - low,
        generator.uniform(*ends),
        (low + high - size) / 2 + generator.uniform(-0.04, 0.04, 2),
    )
    part = np.float32([[*start, *(start + size)]])
    window = sampling.sample(np.float32(image[None]), part, SIDE)[0, ..., 0]
    if generator.random() < 0.5:  # what lies beyond the picture is black, not like its edge
        places = start + size * ((np.arange(SIDE) + 0.5) / SIDE)[:, None]
        inside = ((places > 0) & (places < 1)).T
        window = window * (inside[1][:, None] & inside[0])
    found = np.clip((box - np.tile(start, 2)) / np.tile(size, 2), 0, 1)
    if generator.random() < 0.5:
        window, found = window[:, ::-1], np.array([1 - found[2], found[1], 1 - found[0], found[3]])
    return _exposed(window, generator)[..., None], found


def _exposed(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    image = data.transforms.gamma(image, 2 ** generator.uniform(-0.6, 0.6))
    gain, offset = 1 + generator.uniform(-0.3, 0.3), generator.uniform(-25, 25)
    image = data.transforms.contrast(image, gain, offset)
    if generator.random() < 0.3:
        image = data.transforms.blur(image, generator.uniform(0.3, 1.2))
    return data.transforms.to_uint8(image)


def locate(
    model: keras.Model, images: np.ndarray, rounded: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The box around the lungs of each picture, (n, 4), and its spread, (n,).

    Args:
        model: a localiser.
        images: uint8, (n, side, side, 1), side at least 128.
        rounded: show it whole gray values, such as it has learnt from. The network of
            `lungs.with_crop` rounds nothing; boxes differ by 0.0002 of the side in the mean.
    """
    found = []
    for start in range(0, len(images), 2 * BATCH):
        small = shrunk(images[start : start + 2 * BATCH])
        found.append(model.predict_on_batch(np.rint(small) if rounded else small))
    boxes, spreads = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return boxes, spreads[:, 0]


def shrunk(images: np.ndarray) -> np.ndarray:
    """Whole pictures as the localiser takes them: float32, (n, 128, 128, 1)."""
    whole = np.repeat(WHOLE, len(images), axis=0)
    return sampling.sample(np.asarray(images, np.float32), whole, SIDE)


def load_boxes(table: pd.DataFrame, model: keras.Model) -> np.ndarray:
    """The boxes (n, 4) around the lungs of the images of `table` (an index), kept on disk.

    They are found in rounded gray values (see `locate`), as those behind the published fits.

    Args:
        table: at least the columns path and digest.
        model: a localiser.
    """
    weights = cache.digest(*model.get_weights())
    key = short_digest("rounded", VERSION, sampling.VERSION, weights, list(table.digest))
    return data.kept(
        f"boxes-{key}",
        lambda: locate(model, data.load(table, LOOKED_AT), rounded=True)[0],
        (len(table), 4),
        np.float32,
    )


def open_localiser(folder: Path) -> keras.Model:
    """The localiser of a folder of models, such as a run's.

    Raises:
        UserError: it has none.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise UserError(f"no {FILE} in {folder}: run the notebook 11_framing first")
    return keras.saving.load_model(path, compile=False)
