"""Lungs: a network that finds the box around both lungs, and pictures cropped to that box.

A box is (x0, y0, x1, y1): left, top, right and bottom edge as shares of width and height, and it
just encloses both lung fields. `data/lung_boxes.csv` holds boxes drawn by eye on training images.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
from keras import layers

from helpers import data, paths
from helpers.models import InitialWeights, classifier
from helpers.training import backend
from helpers.utils import UserError

EDGES = ["x0", "y0", "x1", "y1"]
SIDE = 128  # of the pictures that the network takes, pixels
BINS = 64  # places of an edge that the network tells apart
OUTSIDE = 0.1  # how far beyond the picture an edge may be sought, share of the side
BATCH = 32
MAPS = ("conv_pw_5_relu", "conv_pw_11_relu")  # of MobileNet: fine, and with a wide view


def drawn_boxes(table: pd.DataFrame) -> pd.DataFrame:
    """The drawn boxes of an index's pictures: file, reading (1 or 2), the edges, unsure, note.

    They stand in `lung_boxes.csv` in the folder of the radiographs (synthetic ones have it), else
    in `data/lung_boxes.csv`.

    Raises:
        UserError: none of the pictures has a box.
    """
    own = Path(table.path.iloc[0]).parents[2] / paths.LUNG_BOXES.name
    place = own if own.exists() else paths.LUNG_BOXES
    boxes = pd.read_csv(place, keep_default_na=False)
    boxes = boxes[boxes.file.isin(table.file)].reset_index(drop=True)
    if boxes.empty:
        raise UserError(f"{place} has no box of these radiographs: draw some, or leave this out")
    return boxes


def mean_boxes(drawn: pd.DataFrame) -> pd.DataFrame:
    """One box a picture, the mean of its readings: the edges, with the file as index."""
    return drawn.groupby("file")[EDGES].mean()


def localiser(initial: InitialWeights) -> keras.Model:
    """A network from pictures (n, 128, 128, 1), raw 0-255, to boxes (n, 4).

    Two stages of MobileNet's feature maps are added, and their mean and maximum along the columns
    (for the left and the right edge) and along the rows (for top and bottom) give each edge a
    probability at each of 64 places; its expectation is the edge (soft-argmax: Nibali et al. 2018).

    Args:
        initial: weights of MobileNet, as `models.initial_weights("mobilenet")` gives them.
    """
    frozen = initial.path is not None  # random weights need batch norm to adapt
    base = classifier("mobilenet", SIDE, weights=initial.path, frozen_batch_norm=frozen)
    fine, wide = (layers.Conv2D(64, 1)(base.get_layer(name).output) for name in MAPS)
    wide = layers.UpSampling2D(fine.shape[1] // wide.shape[1], interpolation="bilinear")(wide)
    x = layers.Activation("swish")(layers.Add()([fine, wide]))
    x = layers.SpatialDropout2D(0.1)(x)
    x = layers.Conv2D(64, 3, padding="same", activation="swish")(x)
    across, down = _edges(x, axis=1), _edges(x, axis=2)  # (n, 2) each: low and high edge
    boxes = layers.Concatenate(name="boxes", dtype="float32")(
        [across[:, :1], down[:, :1], across[:, 1:], down[:, 1:]]
    )
    return keras.Model(base.input, boxes, name="localiser")


def _edges(x: keras.KerasTensor, axis: int) -> keras.KerasTensor:
    """Low and high edge (n, 2) along the axis that is left when `axis` of the maps is pooled."""
    pooled = [keras.ops.mean(x, axis=axis), keras.ops.max(x, axis=axis)]
    profile = layers.Concatenate()(pooled)
    profile = layers.Conv1D(64, 3, padding="same", activation="swish")(profile)
    profile = layers.UpSampling1D(BINS // profile.shape[1])(profile)
    profile = layers.Conv1D(48, 7, padding="same", activation="swish")(profile)
    profile = layers.Conv1D(2, 7, padding="same", dtype="float32")(profile)
    share = layers.Permute((2, 1))(layers.Softmax(axis=1, dtype="float32")(profile))
    places = layers.Dense(1, use_bias=False, trainable=False, dtype="float32")
    found = places(share)
    spots = (np.arange(BINS) + 0.5) / BINS * (1 + 2 * OUTSIDE) - OUTSIDE
    places.set_weights([spots[:, None]])
    return found[..., 0]


def fit_localiser(
    images: np.ndarray,
    boxes: np.ndarray,
    initial: InitialWeights,
    *,
    seed: int = 0,
    epochs: int = 80,
) -> keras.Model:
    """Train the localiser on random windows of pictures, with frozen batch norm.

    Adam with decoupled weight decay (Loshchilov & Hutter 2019), warm-up and cosine decay, Huber
    loss; the exponential moving average of the weights is kept.

    Args:
        images: uint8, (n, side, side, 1); best larger than the 128 pixels that are looked at.
        boxes: (n, 4).
        initial: weights of MobileNet.
        seed: of weights, windows and order.
        epochs: passes over the pictures.
    """
    backend.start_fit(seed)
    model = localiser(initial)
    windows = _Windows(np.asarray(images), np.asarray(boxes, np.float32), seed)
    steps = epochs * len(windows)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=5e-4, warmup_steps=min(2 * len(windows), steps // 2)
    )
    momentum = max(0.0, 1 - 20 / steps)  # a mean over some twentieth of all steps
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, use_ema=True, ema_momentum=momentum)
    loss = keras.losses.Huber(delta=0.02)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=backend.jit_compile())
    model.fit(windows, epochs=epochs, shuffle=False, verbose=0)
    optimizer.finalize_variable_values(model.trainable_variables)
    return model


class _Windows(keras.utils.PyDataset):
    """Batches of random windows, and where the lungs are in them; drawn anew each epoch."""

    def __init__(self, images: np.ndarray, boxes: np.ndarray, seed: int):
        super().__init__()
        self.images, self.boxes, self.seed, self.epoch = images, boxes, seed, -1
        self.on_epoch_begin()

    def __len__(self) -> int:
        return max(1, len(self.images) // BATCH)

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
    side, box = len(image), np.asarray(box, np.float64)
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
    scale = SIDE / (side * size)
    matrix = np.column_stack([np.diag(scale), -start * side * scale])
    edge = cv2.BORDER_REPLICATE if generator.random() < 0.5 else cv2.BORDER_CONSTANT
    window = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=edge)
    found = np.clip((box - np.tile(start, 2)) / np.tile(size, 2), 0, 1)
    if generator.random() < 0.5:
        window, found = window[:, ::-1], np.array([1 - found[2], found[1], 1 - found[0], found[3]])
    return _exposed(np.ascontiguousarray(window), generator)[..., None], found


def _exposed(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    image = data.transforms.gamma(image, 2 ** generator.uniform(-0.6, 0.6))
    gain, offset = 1 + generator.uniform(-0.3, 0.3), generator.uniform(-25, 25)
    image = data.transforms.contrast(image, gain, offset)
    if generator.random() < 0.3:
        image = data.transforms.blur(image, generator.uniform(0.3, 1.2))
    return data.transforms.to_uint8(image)


def locate(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The box around the lungs of each picture: (n, 4).

    Args:
        model: from `fit_localiser`.
        images: uint8, (n, side, side, 1); brought to 128 pixels by area.
    """
    shrink = partial(cv2.resize, dsize=(SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = np.stack([shrink(image[..., 0])[..., None] for image in images])
    return model.predict(small, batch_size=64, verbose=0)


def crop(images: np.ndarray, boxes: np.ndarray, side: int, margin: float = 0.03) -> np.ndarray:
    """The pictures cropped to their boxes: uint8, (n, side, side, 1).

    The aspect ratio is not kept. What lies beyond a picture repeats its edge.

    Args:
        images: uint8, (n, any side, the same side, 1).
        boxes: (n, 4).
        side: of the crops, pixels.
        margin: kept around the box on each edge, share of the picture.
    """
    own = images.shape[1]
    cropped = np.empty((len(images), side, side, 1), np.uint8)
    for number, (image, box) in enumerate(zip(images, np.asarray(boxes), strict=True)):
        start, end = own * (box[:2] - margin), own * (box[2:] + margin)
        scale = side / np.maximum(end - start, 1)
        matrix = np.column_stack([np.diag(scale), 0.5 * scale - 0.5 - start * scale])
        cropped[number, ..., 0] = cv2.warpAffine(
            np.asarray(image), matrix, (side, side), borderMode=cv2.BORDER_REPLICATE
        )
    return cropped


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of pairs of boxes (n, 4): (n,), 0-1 (Jaccard 1912)."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = [np.clip(x[:, 2:] - x[:, :2], 0, None).prod(axis=1) for x in (boxes, others)]
    return both / (areas[0] + areas[1] - both)


def errors(boxes: np.ndarray, drawn: np.ndarray, index: Sequence | None = None) -> pd.DataFrame:
    """How far boxes (n, 4) are from drawn ones: of each edge, as a share, and iou; a row a box."""
    table = pd.DataFrame(np.abs(boxes - drawn), index=index, columns=EDGES)
    return table.assign(iou=iou(np.asarray(boxes), np.asarray(drawn)))
