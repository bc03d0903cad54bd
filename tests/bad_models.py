"""Malicious and broken model files, made by code, each with what the predictor says of it.

Every one is described by the JSON beside it, hash and all, as whoever wants it opened would do.
"""

import base64
import io
import json
import marshal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.predict import FACTS
from helpers.predict.model import MOST_BYTES
from helpers.utils import sha256

EXECUTED = "executed.txt"  # what comes into being in the working folder when code is run


class Case(NamedTuple):
    """A model file that is not to be believed.

    Attributes:
        name: of the case.
        make: writes it into a folder, given one with the three files of a good model: its path.
        says: a part of the line.
    """

    name: str
    make: Callable[[Path, Path], Path]
    says: str


def describe(path: Path, good: Path, **facts) -> Path:
    """Write the JSON beside a model file, as a good one's and with its hash; gives `path`."""
    known = json.loads((good / FACTS).read_text()) | {"sha256": {path.name: sha256(path)}} | facts
    path.with_suffix(".json").write_text(json.dumps(known))
    return path


def _file(name: str, content: Callable[[Path], bytes]):
    def make(folder: Path, good: Path) -> Path:
        (folder / name).write_bytes(content(good))
        return describe(folder / name, good)

    return make


# ONNX


def _graph(nodes, outputs: dict[str, list], initializers=(), shape=("n", 224, 224, 1)) -> bytes:
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", kind, list(shape))
    said = [helper.make_tensor_value_info(name, kind, sizes) for name, sizes in outputs.items()]
    graph = helper.make_graph(nodes, "graph", [image], said, list(initializers))
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def _constant(name: str, values) -> object:
    """A node that gives the values, so many times as there are images."""
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array([values], np.float32), name)


def _answers(good: Path, **changed) -> bytes:
    """An ONNX file that answers the same to one picture, whatever is in it."""
    from onnx import helper

    values = {"probabilities": [0.2, 0.3, 0.5], "boxes": [0.1, 0.1, 0.9, 0.9]}
    values |= {"spread": [0.0], "distance": [1.0]} | changed
    nodes = [helper.make_node("Identity", [f"{name}_"], [name]) for name in values]
    outputs = {name: [1, len(numbers)] for name, numbers in values.items()}
    return _graph(nodes, outputs, [_constant(f"{name}_", x) for name, x in values.items()])


def _outside(location: Callable[[Path], str]):
    """A maker of ONNX whose weights lie in another file, `secret.bin` beside its folder."""

    def make(folder: Path, good: Path) -> Path:
        from onnx import TensorProto, helper

        (folder.parent / "secret.bin").write_bytes(bytes(4 * 224))
        (folder / "near.bin").write_bytes(bytes(4 * 224))
        weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[224, 1])
        weights.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location(folder)), ("offset", "0"), ("length", "896")):
            weights.external_data.add(key=key, value=value)
        node = helper.make_node("Add", ["image", "weights"], ["probabilities"])
        path = folder / "pneumonia.onnx"
        path.write_bytes(_graph([node], {"probabilities": ["n", 224, 224, 1]}, [weights]))
        return describe(path, good)

    return make


def _other_outputs(_: Path) -> bytes:
    from onnx import helper

    return _graph([helper.make_node("Identity", ["image"], ["y"])], {"y": ["n", 224, 224, 1]})


def _other_inputs(_: Path) -> bytes:
    from onnx import helper

    node = helper.make_node("Identity", ["image"], ["probabilities"])
    return _graph([node], {"probabilities": ["n", 3]}, shape=("n", 3))


# Keras


def _keras(config: dict | None = None, weights: bytes = b"", extra: bytes = b"") -> bytes:
    """A `.keras` archive; each of its members may be left out or be anything."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.14.0"}))
        if config is not None:
            archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
        if extra:
            archive.writestr("assets/extra.bin", extra)
    return file.getvalue()


def _sequential(layer: dict) -> bytes:
    """A `.keras` archive of one layer, given as its configuration."""
    first = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 224, 224, 1], "dtype": "float32", "name": "image"},
        "registered_name": None,
    }
    return _keras(
        {
            "module": "keras",
            "class_name": "Sequential",
            "config": {"name": "sequential", "trainable": True, "layers": [first, layer]},
            "registered_name": None,
            "build_config": {"input_shape": [None, 224, 224, 1]},
        }
    )


def _lambda(function) -> bytes:
    config = {"name": "lambda", "trainable": True, "dtype": "float32", "function": function}
    named = {"module": "keras.layers", "class_name": "Lambda", "registered_name": None}
    return _sequential(named | {"config": config})


def _code(_: Path) -> bytes:
    """A Lambda layer with compiled code that writes a file."""

    def attack(images):
        open("executed.txt", "w").close()
        return images

    code = base64.b64encode(marshal.dumps(attack.__code__)).decode()
    config = {"code": code, "defaults": None, "closure": None}
    return _lambda({"class_name": "__lambda__", "config": config})


def _function(module: str, name: str):
    """A Lambda layer that calls a function by its name."""
    named = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    return lambda _: _lambda(named)


def _class(module: str, name: str, config: dict):
    """A layer of a class that is found by its name in a module."""
    return lambda _: _sequential(
        {"module": module, "class_name": name, "config": config, "registered_name": None}
    )


def _settings(_: Path) -> bytes:
    """A configuration that first asks for unsafe loading, then for a Lambda layer."""
    named = {"module": "keras.config", "class_name": "function", "registered_name": None}
    switch = named | {"config": "enable_unsafe_deserialization"}
    return _keras({"module": "keras", "class_name": "Sequential", "config": {"layers": [switch]}})


def _other_network(folder: Path, good: Path) -> Path:
    from tests import builders

    builders.network(0, side=224).save(folder / KERAS)
    return describe(folder / KERAS, good)


def _large(folder: Path, good: Path) -> Path:
    path = folder / "pneumonia.onnx"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # a hole: it takes no room
    path.with_suffix(".json").write_text(
        json.dumps(json.loads((good / FACTS).read_text()) | {"sha256": {path.name: "0" * 64}})
    )
    return path


NOT_A_MODEL = "is no model of this kind"
LAYER = {"name": "layer", "trainable": True, "dtype": "float32"}
ONNX, KERAS = "pneumonia.onnx", "pneumonia.keras"
MODELS = [
    Case("ONNX: a text", _file(ONNX, lambda _: b"no model\nat all"), NOT_A_MODEL),
    Case("ONNX: no bytes", _file(ONNX, lambda _: b""), NOT_A_MODEL),
    Case(
        "ONNX: cut off",
        _file(ONNX, lambda good: (good / ONNX).read_bytes()[:-999]),
        NOT_A_MODEL,
    ),
    Case("ONNX: a quarter of a gigabyte", _large, "is too large"),
    Case("ONNX: weights above its folder", _outside(lambda _: "../secret.bin"), "xternal"),
    Case(
        "ONNX: weights at an absolute path",
        _outside(lambda folder: str(folder.parent / "secret.bin")),
        "xternal",
    ),
    Case("ONNX: weights in a file beside it", _outside(lambda _: "near.bin"), "xternal"),
    Case("ONNX: other outputs", _file(ONNX, _other_outputs), NOT_A_MODEL),
    Case("ONNX: other inputs", _file(ONNX, _other_inputs), NOT_A_MODEL),
    Case(
        "ONNX: four classes",
        _file(ONNX, lambda good: _answers(good, probabilities=[0.25] * 4)),
        "its probabilities are not 3 finite number(s)",
    ),
    Case(
        "ONNX: answers that are no numbers",
        _file(ONNX, lambda good: _answers(good, distance=[np.nan])),
        "its distance are not 1 finite number(s)",
    ),
    Case(
        "ONNX: probabilities that are none",
        _file(ONNX, lambda good: _answers(good, probabilities=[-3, 2, 2])),
        "its probabilities are none",
    ),
    Case("Keras: a text", _file(KERAS, lambda _: b"no model\nat all"), NOT_A_MODEL),
    Case("Keras: no configuration", _file(KERAS, lambda _: _keras()), NOT_A_MODEL),
    Case("Keras: a configuration of nothing", _file(KERAS, lambda _: _keras({})), NOT_A_MODEL),
    Case("Keras: a Lambda layer with code", _file(KERAS, _code), NOT_A_MODEL),
    Case(
        "Keras: a Lambda that calls exec", _file(KERAS, _function("builtins", "exec")), NOT_A_MODEL
    ),
    Case("Keras: a Lambda that calls os", _file(KERAS, _function("os", "system")), NOT_A_MODEL),
    Case(
        "Keras: a Lambda that downloads",
        _file(KERAS, _function("keras.utils", "get_file")),
        NOT_A_MODEL,
    ),
    Case("Keras: unsafe loading asked for", _file(KERAS, _settings), NOT_A_MODEL),
    Case(
        "Keras: a class of another module",
        _file(KERAS, _class("attack", "Layer", LAYER)),
        NOT_A_MODEL,
    ),
    Case(
        "Keras: a class that starts a program",
        _file(KERAS, _class("subprocess", "Popen", {"args": ["touch", EXECUTED]})),
        NOT_A_MODEL,
    ),
    Case(
        "Keras: a layer that reads a file",
        _file(KERAS, _class("keras.layers", "StringLookup", LAYER | {"vocabulary": "/etc/hosts"})),
        NOT_A_MODEL,
    ),
    Case(
        "Keras: a zip bomb",
        _file(KERAS, lambda _: _keras({}, extra=bytes(MOST_BYTES + 1))),
        "too large when unpacked",
    ),
    Case("Keras: another network", _other_network, NOT_A_MODEL),
]
FACTS_CHANGED = [  # facts that cannot be, and the name of the one that is wrong
    ({"thresholds": {"balanced": 7.5, "screening": 0.3}}, "thresholds"),
    ({"thresholds": {"balanced": -0.1, "screening": 0.3}}, "thresholds"),
    ({"thresholds": {"balanced": float("nan"), "screening": 0.3}}, "thresholds"),
    ({"thresholds": {"balanced": "0.5", "screening": 0.3}}, "thresholds"),
    ({"thresholds": {"balanced": True, "screening": 0.3}}, "thresholds"),
    ({"thresholds": {"balanced": 0.5}}, "screening"),
    ({"thresholds": 0.5}, "Error"),
    ({"image_size": 0}, "image_size"),
    ({"image_size": 224.0}, "image_size"),
    ({"image_size": 10**9}, "image_size"),
    ({"margin": -1}, "margin"),
    ({"margin": float("inf")}, "margin"),
    ({"margin": 10**400}, "Error"),
    ({"labels": ["normal", "bacteria"]}, "labels"),
    ({"labels": ["normal", "bacteria", "fungus"]}, "labels"),
    ({"labels": None}, "Error"),
    ({"sha256": {}}, "sha256"),
    ({"sha256": {"pneumonia.onnx": 7}}, "sha256"),
    ({"chest_check": {}}, "mean"),
    ({"chest_check": None}, "Error"),
    ({"least_detail": None}, "least_detail"),
    ({"most_spread": [1]}, "most_spread"),
    ({"most_distance": float("inf")}, "most_distance"),
]
