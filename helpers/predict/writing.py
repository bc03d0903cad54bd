"""Write the published model: one network from whole pictures to answers, as Keras and as ONNX."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from helpers.predict import checks, familiarity
from helpers.predict.chest_check import fit_chest_check, inside
from helpers.predict.facts import FACTS, POINTS, Facts
from helpers.predict.model import BATCH, FILES, NOTE, open_model
from helpers.utils import UserError, native_messages_hidden, sha256, write_atomically

REFUSED = 0.005  # share of the training images that each limit of detail and spread leaves out
PREPROCESSING = (
    "image: gray values 0-255 as they are, float32, (n, {side}, {side}, 1), not scaled. A picture "
    "of another size is first brought to {side} x {side} pixels by an antialiased resize that does "
    "not keep its aspect ratio, and through JPEG at quality 75, as the training images were. The "
    "network itself finds the lungs, crops to them and standardises the crop."
)
OUTPUTS = (
    "probabilities: of the labels, (n, {classes}); p_pneumonia is 1 - p_normal. boxes: left, top, "
    "right, bottom of the lungs as shares of the picture, (n, 4). spread: how unsure the box is, "
    "share of the side, (n, 1). distance: squared Mahalanobis distance to the nearest class of "
    "training images, (n, 1). Beyond the limits there is no decision."
)


def export(
    folder: Path,
    classifier,
    localiser,
    *,
    thresholds: Mapping[str, float],
    margin: float,
    images: np.ndarray,
    labels: Sequence[str],
    groups: Sequence,
) -> Facts:
    """Write `pneumonia.keras`, `pneumonia.onnx` and last `pneumonia.json` into a folder.

    The limits of what is answered are set on training images: 0.5 % of them have less detail, 0.5 %
    a larger spread of the box, 1 % a larger distance (out of fold; see `familiarity`), and 0.5 % of
    a fifth of them fail the chest check.

    Args:
        folder: made if need be; each file is complete or not there.
        classifier: Keras, from lung crops (see `lungs.crop`) to (n, 3) of normal, bacteria, virus,
            with a layer `features` that is a vector for each crop.
        localiser: Keras, finds the lungs (see `lungs.localiser`). Both are written as float32 and
            without the state of an optimizer; they stay as they are.
        thresholds: on p_pneumonia, for `balanced` and `screening`.
        margin: around the lungs' box, share of the picture, as in training.
        images: training images, uint8, (n, 224, 224, 1).
        labels: theirs.
        groups: their patients.

    Returns:
        What was written to `pneumonia.json`.

    Raises:
        UserError: a threshold or the layer `features` is missing, or a file cannot be written.
    """
    from helpers import lungs
    from helpers.data import LABELS

    if missing := [point for point in POINTS if point not in thresholds]:
        raise UserError(f"export: no threshold for {', '.join(missing)}")
    classifier, localiser = _plain(classifier), _plain(localiser)
    seen = _answers(lungs.with_crop(_features(classifier), localiser, margin), images)
    known = familiarity.fit(seen["features"], labels, groups)
    network = lungs.with_crop(familiarity.with_distance(classifier, known), localiser, margin)
    aside = familiarity.folds(labels, groups) == 0
    facts = Facts(
        thresholds={point: float(thresholds[point]) for point in POINTS},
        image_size=network.input_shape[1],
        margin=float(margin),
        labels=LABELS,
        sha256={},
        chest_check=fit_chest_check(
            *(inside(images[rows], seen["boxes"][rows]) for rows in (~aside, aside))
        ),
        least_detail=float(np.quantile(checks.detail(images), REFUSED)),
        most_spread=float(np.quantile(seen["spread"], 1 - REFUSED)),
        most_distance=known.limit,
    )
    keras_file, onnx_file = files = [Path(folder) / name for name in FILES]
    write_atomically(keras_file, network.save)
    write_atomically(onnx_file, partial(_write_onnx, network, _metadata(facts)))
    for file in files:
        facts.sha256[file.name] = sha256(file)
    text = json.dumps(asdict(facts)) + "\n"
    write_atomically(Path(folder) / FACTS, lambda path: path.write_text(text))
    return facts


def _features(classifier):
    """The classifier up to its layer `features`."""
    from helpers.models import keras

    try:
        features = classifier.get_layer("features").output
    except ValueError as error:
        raise UserError(f"export: {classifier.name} has no layer features") from error
    return keras.Model(classifier.input, {"features": features})


def _plain(network):
    """A copy in float32, and not compiled; nor are the networks inside it."""
    from helpers.models import keras

    def copied(layer):
        if isinstance(layer, keras.Model):
            bare = keras.Model(layer.input, layer.output, name=layer.name)
            return keras.models.clone_model(bare, clone_function=copied)
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer):
            config["dtype"] = "float32"
        return type(layer).from_config(config)

    copy = copied(network)
    copy.set_weights(network.get_weights())
    return copy


def _answers(network, images: np.ndarray) -> dict[str, np.ndarray]:
    found = [
        network.predict_on_batch(np.asarray(images[start : start + BATCH], np.float32))
        for start in range(0, len(images), BATCH)
    ]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _metadata(facts: Facts) -> dict[str, str]:
    """What an ONNX file says about itself."""
    names = "least_detail", "most_spread", "most_distance"
    limits = {name: getattr(facts, name) for name in names}
    return {
        "labels": ", ".join(facts.labels),
        "operating_points": json.dumps(facts.thresholds),
        "limits": json.dumps(limits),
        "preprocessing": PREPROCESSING.format(side=facts.image_size),
        "outputs": OUTPUTS.format(classes=len(facts.labels)),
        "note": NOTE,
    }


def _write_onnx(model, metadata: dict[str, str], path: Path) -> None:
    import onnx

    from helpers.models import keras

    inputs = keras.Input(model.input_shape[1:], name="image")
    # Said outright: a layer that asks for training would put batch norm and dropout into it
    still = keras.Model(inputs, model(inputs, training=False))
    signature = [keras.InputSpec(shape=model.input_shape, dtype="float32", name="image")]
    with native_messages_hidden(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx knows older versions of NumPy
        still.export(str(path), format="onnx", verbose=False, input_signature=signature)
    written = onnx.load(path)
    onnx.helper.set_model_props(written, metadata)
    onnx.save(written, path)


def largest_difference(folder: Path, images: np.ndarray) -> float:
    """Largest difference of any answer between the two files that `export` wrote.

    It is absolute for answers below 1, such as probabilities, and relative above.

    Args:
        folder: of the files.
        images: (n, side, side, 1), raw 0-255.
    """
    one, other = (open_model(Path(folder) / name).answers(images) for name in FILES)
    scaled = [np.abs(one[x] - other[x]) / np.maximum(1, np.abs(one[x])) for x in one]
    return float(max(difference.max() for difference in scaled))
