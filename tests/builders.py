"""Makers of tables, pictures, folders and tiny networks that several tests share."""

import ssl
from collections.abc import Sequence
from http.server import HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from helpers import results
from helpers.data import LABELS

PATIENTS = 90  # of the phantoms
THREADS = 2  # the same for all tests of a process: TensorFlow cannot change it later
FOLDERS = {  # of `kermany_folder`: stems of its files
    "train/NORMAL": ["IM-0115-0001", "NORMAL2-IM-0383-0001-0002", "NORMAL2-IM-0383-0001"],
    "train/PNEUMONIA": ["person1_bacteria_1", "person1_bacteria_2", "person80_virus_150"],
    "val/NORMAL": ["NORMAL2-IM-1427-0001"],
    "val/PNEUMONIA": ["person1946_bacteria_4874"],
    "test/NORMAL": ["IM-0001-0001", "NORMAL2-IM-0007-0001"],
    "test/PNEUMONIA": ["person1_virus_6", "person100_bacteria_475"],
}


# Pictures and folders of them


def noise(count: int = 24, side: int = 32, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Images of noise, uint8, (count, side, side, channels): for what needs no picture."""
    shape = (count, side, side, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(seed: int, width: int = 60, height: int = 40, mode: str = "L") -> Image.Image:
    """A smooth random picture."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)
    image = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    return image.convert(mode)


def rectangle(box: Sequence[float], side: int = 200) -> np.ndarray:
    """A gray picture with a bright rectangle in the place of lungs: uint8, (side, side, 1)."""
    image = np.full((side, side, 1), 60, np.uint8)
    x0, y0, x1, y1 = np.rint(side * np.asarray(box)).astype(int)
    image[y0:y1, x0:x1] = 200
    return image


def extent(image: np.ndarray) -> np.ndarray:
    """The box of what is brighter than halfway: (4,), shares of the side."""
    bright = image[..., 0] > (int(image.min()) + int(image.max())) / 2
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(image)


def kermany_folder(root: Path) -> Path:
    """Write twelve unmarked pictures in the layout of the published data set; gives `root`."""
    for seed, (place, name) in enumerate((k, name) for k in FOLDERS for name in FOLDERS[k]):
        (root / place).mkdir(parents=True, exist_ok=True)
        mode = "RGB" if name == "person1_bacteria_1" else "L"
        picture(seed, 60 + seed, 40 + seed, mode).save(root / place / f"{name}.jpeg", quality=90)
    return root


def labelled_folder(root: Path, index: pd.DataFrame, **columns) -> Path:
    """Write the files of an index under neutral names, with their `labels.csv`; gives `root`.

    `columns` are added to `labels.csv` or replace those of the index.
    """
    root.mkdir(parents=True, exist_ok=True)
    patients = pd.factorize(index.patient)[0]
    table = pd.DataFrame({"label": index.label, "patient": [f"case {x}" for x in patients]})
    table["file"] = [f"scan-{row:04d}.jpeg" for row in range(len(index))]
    for path, file in zip(index.path, table.file, strict=True):
        (root / file).write_bytes(Path(path).read_bytes())
    table.assign(**columns).to_csv(root / "labels.csv", index=False)
    return root


def save_dicom(path: Path, values: np.ndarray, kind: str = "MONOCHROME2", **tags) -> Path:
    """Write an array as an uncompressed DICOM file; gives `path`."""
    import pydicom

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    bits = 8 * values.itemsize
    dataset.set_pixel_data(values, kind, tags.pop("BitsStored", bits))
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def unreadable_files(folder: Path, jpeg: bytes) -> list[Path]:
    """A file of every kind that cannot be read, `jpeg` truncated among them, and a missing one."""
    import pydicom

    (folder / "folder.png").mkdir()
    (folder / "empty.jpeg").touch()
    (folder / "text.jpeg").write_text("no picture\nat all")
    (folder / "bad.dcm").write_bytes(b"no DICOM")
    (folder / "truncated.jpeg").write_bytes(jpeg[:900])
    save_dicom(folder / "film.dcm", np.zeros((2, 9, 9), np.uint8), NumberOfFrames=2)
    no_pixels = pydicom.dcmread(folder / "film.dcm")
    del no_pixels.PixelData
    no_pixels.save_as(folder / "no_pixels.dcm")
    Image.fromarray(np.full((9, 9), np.inf, np.float32)).save(folder / "infinite.tiff")
    return [*sorted(folder.iterdir()), folder / "missing.png"]


def original_pairs(real_folder: Path) -> list[tuple[Path, Path]]:
    """Full-size originals and the same radiographs of 224 pixels; none where they are not held."""
    originals = real_folder.parent / "chest_xray_original_sample"
    paths = sorted(originals.rglob("*.jpeg"))
    return [(path, real_folder / path.relative_to(originals)) for path in paths]


def squares(count: int = 96, seed: int = 0, side: int = 16) -> tuple[np.ndarray, pd.DataFrame]:
    """Images (count, side, side, 1) with a bright square in a corner for each pneumonia's label.

    And their table: the last quarter is test, and a sixth of the others is val.
    """
    images = np.random.default_rng(seed).integers(0, 120, (count, side, side, 1), dtype=np.uint8)
    number, wide = np.arange(count) % 3, side * 3 // 8
    images[number == 1, :wide, :wide] += 110
    images[number == 2, -wide:, -wide:] += 110
    table = pd.DataFrame({"label": np.array(LABELS)[number]})
    table["digest"] = [f"{seed}-{row}" for row in range(count)]
    table["split"] = np.where(np.arange(count) % 8 == 6, "val", "train")
    table.loc[count * 3 // 4 :, "split"] = "test"
    return images, table


# Tables


def index_table(count: int = 24, split: tuple[int, int, int] | None = None) -> pd.DataFrame:
    """Rows as of an index, one patient each, labels in turn.

    `split` says how many are train, val and test, in that order; a half, a quarter and a quarter
    when None.
    """
    sizes = split or (count // 2, count // 4, count - count // 2 - count // 4)
    table = pd.DataFrame({"label": np.array(LABELS)[np.arange(count) % 3]})
    named = [
        (f"IM-{row:04d}", "IM", f"IM-{row:04d}-0001.jpeg")
        if label == LABELS[0]
        else (f"person{row}", "person", f"person{row}_{label}_1.jpeg")
        for row, label in enumerate(table.label)
    ]
    table["patient"], table["series"], table["file"] = zip(*named, strict=True)
    table["number"], table["digest"] = np.arange(count), [str(row) for row in range(count)]
    return table.assign(split=np.repeat(["train", "val", "test"], sizes))


def predictions(
    n: int = 120,
    seed: int = 0,
    signal: float = 1.5,
    classes: int = 2,
    *,
    split: str = "test",
    per_patient: int = 2,
    first: int = 0,
) -> pd.DataFrame:
    """A prediction table of random images, better than chance by `signal`.

    Columns file, patient (numbered from `first`), split, label and the probabilities.
    """
    rng = np.random.default_rng(seed)
    labels = np.array(LABELS)[np.arange(n) // per_patient % 3]
    score = rng.normal(size=(n, 3)) + signal * (labels[:, None] == np.array(LABELS))
    p = (np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)).round(6)
    rows = []
    for row, label in enumerate(labels):
        patient = first + row // per_patient
        if label == LABELS[0]:
            rows.append((f"IM-{patient:04d}-{row:04d}.jpeg", f"IM-{patient:04d}"))
        else:
            rows.append((f"person{patient}_{label}_{row}.jpeg", f"person{patient}"))
    table = pd.DataFrame(rows, columns=["file", "patient"]).assign(split=split, label=labels)
    if classes == 3:
        return table.assign(p_normal=p[:, 0], p_bacteria=p[:, 1], p_virus=p[:, 2])
    return table.assign(p_pneumonia=1 - p[:, 0]).round(6)


def validation_and_test(**options) -> pd.DataFrame:
    """`predictions` of validation, above those of test, which are other patients."""
    val = predictions(split="val", seed=1, first=9000, **options)
    return pd.concat([val, predictions(**options)], ignore_index=True)


# Networks


def network(seed: int, classes: int = 3, name: str | None = None, side: int = 16):
    """A tiny network that ends as the project's do: maps, the layers `features`, `probability`."""
    from helpers.models import head, keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((side, side, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for count in (4, 6):
        x = layers.Conv2D(count, 3, 2, padding="same", bias_initializer="random_normal")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, head(x, classes), name=name or f"network_{seed}")


def box_finder(box=(0.1, 0.15, 0.9, 0.85)):
    """A localiser that finds the same box in all pictures; the brighter they are, the less surely.

    Its spread is the mean gray value over 255. It is built as if for training in 16 bits.
    """
    from helpers.models import keras

    layers, half = keras.layers, "mixed_bfloat16"
    inputs = keras.Input((128, 128, 1), name="image")
    mean = layers.GlobalAveragePooling2D(dtype=half)(layers.Rescaling(1 / 255, dtype=half)(inputs))
    edges, spread = layers.Dense(4, dtype=half), layers.Dense(1, dtype=half)
    model = keras.Model(inputs, [edges(mean), spread(mean)], name="localiser")
    edges.set_weights([np.zeros((1, 4)), np.array(box)])
    spread.set_weights([np.ones((1, 1)), np.zeros(1)])
    return model


def with_dropout(classes: int = 2, units: tuple[int, ...] = (8,), side: int = 16):
    """Dense layers with dropout, so that training draws random numbers."""
    from helpers.models import head, keras

    inputs = keras.Input((side, side, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    for count in units:
        x = keras.layers.Dense(count, activation="relu")(x)
    return keras.Model(inputs, head(keras.layers.Dropout(0.2)(x), classes))


def answer(model, inputs):
    """What a network gives for some inputs, as arrays; nothing is compiled for a few pictures."""
    from helpers.models import keras

    return keras.tree.map_structure(np.asarray, model(inputs, training=False))


def save_fit(
    folder, experiment, protocol="official", notebook="02_baseline", seed=0, fold="", **how
):
    """Put a fit into a folder of results; returns its metrics.

    Most of its 60 test images are disjoint; `how` makes its predictions.
    """
    row = dict.fromkeys(results.EXPERIMENT_COLUMNS, "") | {
        "experiment": experiment,
        "notebook": notebook,
        "protocol": protocol,
        "seed": seed,
        "fold": fold,
        "train_seconds": 2.0,
    }
    table = validation_and_test(n=60, **how)
    disjoint = set(table.file[-48:])
    rules = results.operating_points(experiment, protocol, folder)
    measured = results.measure(row, table, disjoint, resamples=50, thresholds=rules)
    results.merge(folder, row, table, measured)
    return measured


def over_https(server: HTTPServer, authority, trusted: Path) -> None:
    """Let a server speak https as 127.0.0.1; REQUESTS_CA_BUNDLE=`trusted` believes it.

    Args:
        server: that has not begun to serve.
        authority: a `trustme.CA`, who vouches for it.
        trusted: file to write.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    authority.cert_pem.write_to_path(str(trusted))
