"""Where a network looks: heat maps, their check, and the regions they are held against.

All maps explain one number, the log-odds of pneumonia, log(p_pneumonia / p_normal), in natural
units: unlike a probability it does not flatten near 0 and 1. Images are raw 0-255, shape
(n, side, side, 1). What needs the parts of a model takes a `models.Ensemble`: networks whose
probabilities are averaged and calibrated; `Ensemble((network,))` is one network. Each network ends
in feature maps, a layer `features` that takes the mean of each map, and a dense layer
`probability`.
"""

import dataclasses
import itertools
import math

import cv2
import numpy as np
import pandas as pd
from scipy import special, stats

from helpers.data import transforms
from helpers.models import Calibration, Ensemble, keras
from helpers.utils import UserError

BATCH = 64
TINY = 1e-12
FOR_PNEUMONIA, FOR_NORMAL = (255, 120, 0), (0, 130, 255)  # RGB


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Log-odds of pneumonia, natural units, (n,).

    `probabilities`: (n, 3) of normal, bacteria, virus, or (n, 1) of pneumonia. Those of exactly 0
    or 1 count as 1e-12 away from it.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    normal, pneumonia = (p[:, 0], p[:, 1:].sum(axis=1)) if p.shape[1] > 1 else (1 - p, p)
    return np.log(np.maximum(pneumonia, TINY) / np.maximum(normal, TINY)).reshape(-1)


def evidence(ensemble: Ensemble, images: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017) of the log-odds of pneumonia, with its sign and its unit.

    Each of the last feature maps is weighed by the mean gradient of the log-odds on it, and the sum
    is enlarged to the picture. After global average pooling and a dense layer that gradient is
    known in closed form (section 3.1 there; Zhou et al. 2016), so that no backend has to
    differentiate: of class scores z = W f + b and map k of n places it is the sum over the classes
    of dL/dz times W[k] / n. For two classes dL/dz is 1, which gives the class activation map
    itself; for three it is -1 for normal and the share of p_pneumonia for each pathogen. For an
    ensemble the chain rule leads on through logarithm, mean and softmax. All its maps lie side by
    side in one network, so the weighted maps of its members are added: a member that hardly moves
    the ensemble hardly shows.

    The mean over a picture is the sum over all maps of gradient times mean, to first order what
    the maps add to the log-odds; below zero a place speaks for normal.

    Returns:
        float32, (n, side, side), natural units; `scaled` makes heat of it, whose unit two pictures
        do not share.

    Raises:
        UserError: a network is built in another way than the module's docstring says.
    """
    parts = [_dissect(network, np.asarray(images[:8])) for network in ensemble.members]
    found = np.empty(images.shape[:3], np.float32)
    for start in range(0, len(images), BATCH):
        rows = slice(start, start + BATCH)
        found[rows] = _evidence(ensemble, parts, np.asarray(images[rows]))
    return found


def _dissect(network: keras.Model, probe: np.ndarray) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A network up to its last feature maps, and the weights and bias of its head.

    `probe`: a few images on which these parts have to give what the network gives.
    """
    try:
        features, head = network.get_layer("features"), network.get_layer("probability")
    except ValueError as error:
        raise UserError(
            f"explain: {network.name} has no layers features and probability; take occlusion"
        ) from error
    if not isinstance(features, keras.layers.GlobalAveragePooling2D):
        raise UserError(f"explain: features of {network.name} is no mean of maps; take occlusion")
    body = keras.Model(network.input, features.input)
    weights, bias = (array.astype(np.float64) for array in head.get_weights())
    scores = _maps(body, probe).mean(axis=(1, 2)) @ weights + bias
    expected = _numpy(network(keras.ops.cast(probe, "float32"), training=False))
    if not np.allclose(expected, _probabilities(scores), atol=0.01):
        raise UserError(f"explain: {network.name} is built in an unknown way; take occlusion")
    return body, weights, bias


def _maps(body: keras.Model, images) -> np.ndarray:
    return _numpy(body(keras.ops.cast(images, "float32"), training=False))


def _numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor).astype(np.float64)


def _probabilities(scores: np.ndarray) -> np.ndarray:
    """What a network's head makes of its scores (n, classes)."""
    return special.expit(scores) if scores.shape[1] == 1 else special.softmax(scores, axis=1)


def _evidence(ensemble: Ensemble, parts: list[tuple], images: np.ndarray) -> np.ndarray:
    seen = [(_maps(body, images), w, b) for body, w, b in parts]
    scores = [maps.mean(axis=(1, 2)) @ w + b for maps, w, b in seen]
    total = np.zeros(images.shape[:3])
    for (maps, w, _), gradient in zip(seen, _gradients(ensemble, scores), strict=True):
        weighed = np.einsum("nhwk,nk->nhw", maps, gradient @ w.T)
        total += _enlarged(weighed, images.shape[1])
    return total


def _enlarged(maps: np.ndarray, side: int) -> np.ndarray:
    return np.stack([cv2.resize(one, (side, side)) for one in maps])  # bilinear


def even_evidence(ensemble: Ensemble, side: int) -> np.ndarray:
    """What `evidence` draws where all cells of the last feature maps say the same: (1, side, side).

    What heat in a region is held against: the view alone may put more of it in some regions.
    """
    maps = [network.get_layer("features").input for network in ensemble.members]
    return sum(_enlarged(np.ones((1, *one.shape[1:3])), side) for one in maps)


def _gradients(ensemble: Ensemble, scores: list[np.ndarray]) -> list[np.ndarray]:
    """The gradient of the ensemble's log-odds on the class scores of each network.

    `scores`: arrays (n, classes), what a head has before sigmoid or softmax. The floor under the
    ensemble's logarithms is left out of the gradient: it would cut off the surest.
    """
    if scores[0].shape[1] == 1:  # two classes: one network, whose score is the log-odds
        return [np.ones_like(one) for one in scores]
    calibration = ensemble.calibration or Calibration()
    members = [_probabilities(one) for one in scores]
    mean = np.mean(members, axis=0)
    on_mean = _log_odds_gradient(calibration(mean)) * calibration.scale / mean / len(members)
    return [p * (on_mean - (p * on_mean).sum(axis=1, keepdims=True)) for p in members]


def _log_odds_gradient(p: np.ndarray) -> np.ndarray:
    """Gradient of log((p_bacteria + p_virus) / p_normal) on the scores before the softmax."""
    pathogens = p[:, 1:] / p[:, 1:].sum(axis=1, keepdims=True)
    return np.hstack([-np.ones((len(p), 1)), pathogens])


def occlusion(
    model: keras.Model, images: np.ndarray, patch: float = 0.2, stride: float = 0.1
) -> np.ndarray:
    """How much the log-odds of pneumonia drop when a patch is blurred (Zeiler & Fergus 2014).

    A gray square, as used there, would be a new thing in the picture; blur (see `erased`) takes the
    detail away and leaves the brightness of the place. Each pixel gets the mean over all patches
    that cover it. Above zero: what is there speaks for pneumonia; below: for normal.

    Args:
        model: any Keras model that gives probabilities as `log_odds` takes them, such as
            `ensemble.to_model()`; its parts do not matter.
        images: (n, side, side, 1), raw 0-255.
        patch: side of the square patch as a share of the side of the image.
        stride: from one patch to the next, likewise; the last one ends at the edge.

    Returns:
        float32, (n, side, side), natural units; `scaled` makes heat of it.
    """
    images, soft = np.asarray(images), _blur(images)
    before, drops = _ask(model, images), []
    for window in _windows(images.shape[1], patch, stride):
        covered = images.copy()
        covered[window] = soft[window]
        drops.append(before - _ask(model, covered))
    return _laid(np.array(drops), images.shape[1], patch, stride)


def even_occlusion(side: int, patch: float = 0.2, stride: float = 0.1) -> np.ndarray:
    """What `occlusion` draws where all patches are worth the same: float32, (1, side, side)."""
    count = len(_windows(side, patch, stride))
    return _laid(np.ones((count, 1)), side, patch, stride)


def _windows(side: int, patch: float, stride: float) -> list[tuple[slice, slice, slice]]:
    """The patches of pictures (n, side, side)."""
    size, step = max(1, round(patch * side)), max(1, round(stride * side))
    starts = sorted({*range(0, side - size, step), side - size})
    return [
        np.s_[:, top : top + size, left : left + size]
        for top, left in itertools.product(starts, starts)
    ]


def _laid(drops: np.ndarray, side: int, patch: float, stride: float) -> np.ndarray:
    """Each pixel's mean over the patches that cover it, of drops (patches, n)."""
    total, covers = np.zeros((drops.shape[1], side, side)), np.zeros((1, side, side))
    for window, drop in zip(_windows(side, patch, stride), drops, strict=True):
        total[window] += drop[:, None, None]
        covers[window] += 1
    return (total / covers).astype(np.float32)


def _ask(model, images) -> np.ndarray:
    starts = range(0, len(images), BATCH)  # predict_on_batch: predict takes long to begin
    return log_odds(np.vstack([model.predict_on_batch(images[x : x + BATCH]) for x in starts]))


def erased(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The images with their detail blurred away where `masks` (broadcast to (n, side, side)) says.

    The blur is Gaussian with a tenth of the side as sigma: letters, ribs and vessels go, the
    brightness of large regions stays.
    """
    masks = np.broadcast_to(masks, images.shape[:3])[..., None]
    return np.where(masks, _blur(images), images)


def _blur(images: np.ndarray) -> np.ndarray:
    sigma = 0.1 * images.shape[1]
    return np.stack([transforms.blur(image[..., 0], sigma) for image in images])[..., None]


def randomised(ensemble: Ensemble, share: float = 1.0, seed: int = 0) -> Ensemble:
    """A copy whose layers hold shuffled weights, from the output down (Adebayo et al. 2018).

    Shuffled is each weight array within itself, so that its values keep their distribution; the
    four arrays of a batch norm alike, so that its channels only change places. The members are
    shuffled each by itself; the calibration, which sees no picture, stays.

    Args:
        ensemble: stays as it is.
        share: of each network's layers with weights, counted from its output; at least one.
        seed: of the order.
    """
    members = tuple(_randomised(network, share, seed) for network in ensemble.members)
    return dataclasses.replace(ensemble, members=members)


def _randomised(network: keras.Model, share: float, seed: int) -> keras.Model:
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    weighted = [layer for layer in copy.layers if layer.weights][::-1]
    for number, layer in enumerate(weighted[: max(1, math.ceil(share * len(weighted)))]):
        layer.set_weights([_shuffled(x, [seed, number]) for x in layer.get_weights()])
    return copy


def _shuffled(array: np.ndarray, seed) -> np.ndarray:
    return np.random.default_rng(seed).permutation(array.ravel()).reshape(array.shape)


def similarity(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rank correlation (Spearman) of two maps (n, h, w) of each picture over its pixels, (n,).

    From -1 to 1; 0 where a map is the same everywhere and ranks nothing.
    """
    ranks = [stats.rankdata(x.reshape(len(x), -1), axis=1) for x in (maps, others)]
    a, b = (x - x.mean(axis=1, keepdims=True) for x in ranks)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), spread, out=np.zeros(len(a)), where=spread > 0)


def scaled(maps: np.ndarray) -> np.ndarray:
    """What maps (n, h, w) have above zero, each as a share of its maximum: heat, float32, 0-1."""
    positive = np.maximum(maps, 0)
    top = positive.max(axis=(1, 2), keepdims=True)
    return np.divide(positive, top, out=np.zeros_like(positive), where=top > 0).astype(np.float32)


def balanced(maps: np.ndarray) -> np.ndarray:
    """Maps (n, h, w) with their sign, each divided by its largest magnitude: float32, -1 to 1."""
    top = np.abs(maps).max(axis=(1, 2), keepdims=True)
    return np.divide(maps, top, out=np.zeros_like(maps), where=top > 0).astype(np.float32)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat (side, side) over a gray image (side, side) of 0-255: RGB, uint8.

    Heat from 0 to 1 is orange, from 0 to -1 (what speaks for normal) blue, two colours that
    colour-blind eyes tell apart (Okabe & Ito 2008). The stronger it is, the less of the picture
    shines through; without heat the picture stays as it is.
    """
    heat = np.clip(np.asarray(heat, dtype=np.float64), -1, 1)[..., None]
    color = np.where(heat > 0, FOR_PNEUMONIA, FOR_NORMAL)
    opacity = 0.75 * np.abs(heat)
    gray = np.asarray(image, dtype=np.float64)[..., None]
    return (opacity * color + (1 - opacity) * gray).round().astype(np.uint8)


def parts(boxes: np.ndarray, margin: float, side: int) -> dict[str, np.ndarray]:
    """The regions of lung crops, as masks that broadcast to (n, side, side), by name.

    They are the box around the lungs and the margin around it, which lie elsewhere in each crop,
    and the thirds of the crop down and across.

    Args:
        boxes: (n, 4), around the lungs (see `lungs`).
        margin: kept around them in the crops, share of the picture.
        side: of the crops, pixels.
    """
    boxes = np.asarray(boxes, np.float64)
    inset = margin / (boxes[:, 2:] - boxes[:, :2] + 2 * margin)  # shares of the crop
    place = (np.arange(side) + 0.5) / side
    across, down = ((place > edge[:, None]) & (place < 1 - edge[:, None]) for edge in inset.T)
    inside = down[:, :, None] & across[:, None, :]
    third = np.arange(side) * 3 // side
    rows = {"top": third == 0, "middle": third == 1, "bottom": third == 2}
    columns = {"left": third == 0, "centre": third == 1, "right": third == 2}
    return {
        "lungs' box": inside,
        "margin": ~inside,
        **{f"{name} third": np.repeat(mask[None, :, None], side, 2) for name, mask in rows.items()},
        **{f"{name} third": np.repeat(mask[None, None], side, 1) for name, mask in columns.items()},
    }


def markers(images: np.ndarray) -> np.ndarray:
    """Letters, burned-in text, clips and cables: bool, (n, side, side), by rules, not learnt.

    Thin strokes brighter than what is around them (white top-hat, Soille 2003), joined to
    components (Rosenfeld & Pfaltz 1966), of which small ones with crisp edges, away from the
    centre, are kept, with one pixel around them. Crispness is what tells a letter from the end of a
    rib. The numbers were set on pictures of 160 pixels by looking at them.
    """
    return np.stack([_markers(np.asarray(image[..., 0])) for image in images])


def _markers(image, contrast=40, stroke=0.045, largest=0.13, crisp=45, center=0.3) -> np.ndarray:
    side = len(image)
    width = round(stroke * side) | 1
    hat = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, np.ones((width, width), np.uint8))
    edges = np.abs(cv2.Laplacian(image, cv2.CV_32F))
    _, places, boxes, centers = cv2.connectedComponentsWithStats((hat > contrast).astype(np.uint8))
    small = (boxes[:, 2:4].max(axis=1) <= largest * side) & (boxes[:, 4] >= 3)
    aside = np.abs(centers / side - 0.5).max(axis=1) > center
    found = [
        number
        for number in np.flatnonzero(small & aside)
        if number and np.median(edges[places == number]) >= crisp  # 0 is the background
    ]
    return cv2.dilate(np.isin(places, found).astype(np.uint8), np.ones((3, 3))).astype(bool)


def shares(heat: np.ndarray, masks: np.ndarray) -> pd.DataFrame:
    """How much of each picture's heat (n, h, w) lies in a region; one row a picture.

    Columns: heat and area, the region's shares of both (0-1), and density, their ratio: 1 where
    the heat takes no notice of the region. NaN for a picture without heat, or without the region.
    `masks`: bool, broadcast to (n, h, w).
    """
    masks = np.broadcast_to(masks, heat.shape)
    total, inside = (x.sum(axis=(1, 2), dtype=np.float64) for x in (heat, heat * masks))
    area = masks.mean(axis=(1, 2))
    table = pd.DataFrame({"heat": inside / np.where(total > 0, total, np.nan), "area": area})
    return table.assign(density=table.heat / table.area.where(table.area > 0))


def shares_of_others(
    heat: np.ndarray, masks: np.ndarray, groups: np.ndarray, seed: int = 0, draws: int = 10
) -> np.ndarray:
    """What the heat of other pictures puts into each picture's region: shares, 0-1, (n,).

    The region stays, the heat changes: that of `draws` other pictures of the same group with heat,
    drawn at random, and the mean over them. NaN where there are none. Where this is as much as
    `shares` has, the heat does not follow the region, it only lies where it lies in all pictures.

    Args:
        heat, masks: as in `shares`.
        groups: (n,), such as the answers.
        seed: of the draw.
        draws: at most.
    """
    generator, found = np.random.default_rng(seed), np.full(len(heat), np.nan)
    warm, masks = heat.any(axis=(1, 2)), np.broadcast_to(masks, heat.shape)
    for group in np.unique(groups):
        rows = generator.permutation(np.flatnonzero(warm & (groups == group)))
        turns = range(1, min(draws, len(rows) - 1) + 1)
        if turns:
            drawn = [shares(heat[np.roll(rows, turn)], masks[rows]).heat for turn in turns]
            found[rows] = np.mean(drawn, axis=0)
    return found
