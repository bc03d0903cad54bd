"""Synthetic chest radiographs in the folders of the real data set, for tests and a demo.

Nothing here comes from a patient: each picture is computed from a seed as X-rays would form it,
from the tissue, air and bone that a ray meets. Bacterial pneumonia is drawn as one dense lobar
opacity, viral as haze and streaks in both lungs; a mild case of either looks almost normal. Every
file carries the comment `MARK`, so that no result on synthetic images can pass for a real one.
"""

import csv
import itertools
import json
import math
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
from PIL import Image, ImageDraw, ImageFont

from helpers.data.kermany import CLASS_FOLDERS, SPLITS
from helpers.utils import UserError

VERSION = 3  # of what is drawn: raise it when the pictures or their names change
MARK = b"synthetic radiograph; not a patient"
STAMP = ".synthetic.json"  # what a folder was made from
LUNG_BOXES = "lung_boxes.csv"  # beside the folders: where the lungs were drawn
BOXED = 4  # of the training images every fourth has a box: boxes are dear
TEST = 0.3  # of the patients; more than in the real set, for a test AUC that means something
IMAGES = {"normal": (1, 2, 1, 3, 1), "bacteria": (3, 2, 4, 2, 4), "virus": (2, 1, 3, 1, 2)}
PATIENTS = {  # shares of those left; with `IMAGES`, images have the real balance
    "train": {"normal": 0.36, "virus": 0.48, "bacteria": 1},  # 27, 26 and 47 % of the images
    "test": {"normal": 0.468, "virus": 0.506, "bacteria": 1},  # 37, 24 and 39 %
}
VAL = {"normal": (1, 1, 1, 1), "bacteria": (2, 1, 1)}  # images of each patient; no viral one
PERSONS = {"test": 1, "train": 253, "val": 1946}  # first numbers; blocks as in the real set
STUDIES = {"test": (1, 7), "train": (115, 383), "val": (1400, 1427)}  # IM- and NORMAL2-IM-
LOBES = ((-0.42, -0.4), (-0.4, 0.1), (-0.5, 0.35), (0.42, -0.4), (0.52, 0.3))  # centres (u, v)


class Radiograph(NamedTuple):
    """One file to draw; equal label, mode and key give equal bytes."""

    path: str  # below the folder: train/PNEUMONIA/person253_bacteria_97.jpeg
    label: str  # normal, bacteria or virus
    mode: str  # L or RGB
    key: tuple[int, int, int]  # seed, patient, image of the patient (from 1)


def make(folder: str | Path, patients: int = 160, seed: int = 0) -> Path:
    """Write `folder`/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg and return the folder.

    Beside them lies `lung_boxes.csv` with the columns of `data/lung_boxes.csv`, for every fourth
    training image.

    160 `patients` (20 to 1000) give some 330 images in a few seconds; `seed` (0 or more) decides
    all. A complete folder of this version and the same arguments is kept, another is replaced.
    Raises UserError if an argument does not fit or `folder` holds other files or is not writable.
    """
    folder = Path(folder)
    if not 20 <= patients <= 1000 or seed < 0:
        raise UserError(f"{patients=}, {seed=}: choose 20 to 1000 patients and a seed of 0 or more")
    files = plan(patients, seed)
    stamp = {"patients": patients, "seed": seed, "images": len(files), "version": VERSION}
    if _is_complete(folder, stamp):
        return folder
    names = {path.name for path in folder.glob("*")}
    if folder.is_file() or (names and not {STAMP} <= names <= {STAMP, LUNG_BOXES, *SPLITS}):
        raise UserError(f"{folder} holds other files; give synthetic.make a new or empty folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
            new = Path(aside) / "new"
            _write_all(files, new)
            (new / STAMP).write_text(json.dumps(stamp, indent=2) + "\n")
            if folder.is_dir():
                folder.rename(Path(aside) / "old")
            new.rename(folder)
    except OSError as error:
        if not _is_complete(folder, stamp):  # else another process made the same meanwhile
            message = f"cannot write {folder} ({error.strerror or error})"
            raise UserError(f"{message}; choose a writable folder with free space") from error
    return folder


def is_synthetic(content: bytes) -> bool:
    """Whether a file, given as its bytes, carries the comment `MARK`, which is near its start."""
    return MARK in content[:2048]


def _is_complete(folder, stamp):
    made = (folder / STAMP).is_file() and json.loads((folder / STAMP).read_text()) == stamp
    return made and len(list(folder.glob("*/*/*.jpeg"))) == stamp["images"]


def plan(patients: int, seed: int) -> list[Radiograph]:
    """The files that `make` draws; their order decides the numbers in the names."""
    test = round(TEST * patients)
    left = {"test": test, "train": patients - test - sum(map(len, VAL.values()))}
    persons = {split: itertools.count(first) for split, first in PERSONS.items()}
    serial, keys, files = itertools.count(1), itertools.count(), []
    for split, label in itertools.product(PERSONS, PATIENTS["test"]):
        images = VAL.get(label, ())
        if split != "val":
            count = round(PATIENTS[split][label] * left[split])
            left[split] -= count
            images = itertools.islice(itertools.cycle(IMAGES[label]), count)
        for index, count in enumerate(images):
            key, place = next(keys), f"{split}/{CLASS_FOLDERS[label != 'normal']}"
            if label == "normal":
                study = STUDIES[split][index % 2] + index // 2
                name = f"{('', 'NORMAL2-')[index % 2]}IM-{study:04d}-0001"
                names = [name] + [f"{name}-{image:04d}" for image in range(2, count + 1)]
            else:
                # Persons 1 and 2, viral in test, are used again in train for two other patients.
                again = (split, label) == ("train", "bacteria") and index < 2
                person = index + 1 if again else next(persons[split])
                names = [f"person{person}_{label}_{next(serial)}" for _ in range(count)]
            for image, name in enumerate(names, 1):
                mode = "RGB" if place == "train/PNEUMONIA" and len(files) % 8 == 0 else "L"
                files.append(Radiograph(f"{place}/{name}.jpeg", label, mode, (seed, key, image)))
    return _with_duplicates(files)


def _with_duplicates(files):
    """Make two pairs equal, as in the real set: two test studies, two train images of a person."""
    first = next(i for i, file in enumerate(files) if file.path.startswith("train/PNEUMONIA"))
    for i in (0, first):
        files[i + 1] = files[i]._replace(path=files[i + 1].path)
    return files


def _write_all(files, folder):
    for parent in {(folder / file.path).parent for file in files}:
        parent.mkdir(parents=True)

    def write(file):
        image, box = _draw(file.label, *file.key)
        image.convert(file.mode).save(folder / file.path, "JPEG", quality=90, comment=MARK)
        return [Path(file.path).name, 1, *box, 0, ""]

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        rows = list(pool.map(write, files))
    trained_on = [row for row, file in zip(rows, files, strict=True) if "train" in file.path]
    with (folder / LUNG_BOXES).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "reading", "x0", "y0", "x1", "y1", "unsure", "note"])
        writer.writerows(sorted(trained_on[::BOXED]))


# Drawing: u runs to the right of the image (the patient's left), v runs down; the lungs reach
# about from -0.85 to 0.85 and from -0.9 to 0.7. All maps are float32 arrays (height, width).


def _draw(label, seed, patient, image):
    """One image and the box of its lungs: anatomy and disease of the patient, framing and film."""
    body = np.random.default_rng([seed, patient, 0])
    view = np.random.default_rng([seed, patient, image])
    width = int(view.integers(*((240, 421) if label == "normal" else (180, 361))))
    height = round(width / view.uniform(*((1.0, 1.4) if label == "normal" else (1.05, 1.5))))
    u, v = _coordinates((height, width), view)
    loss, lung = _attenuation(u, v, label, body, view)
    return _film(loss, view), _box(lung > 0.25)


def _box(mask):
    """Left, top, right and bottom edge of what is true, as shares of width and height."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    height, width = mask.shape
    edges = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
    return [round(float(edge), 4) for edge in edges]


def _coordinates(shape, view):
    """Framing: zoom, shift, turn, and a little warp so that no outline is a perfect curve."""
    scale = view.uniform(1.85, 2.6) / shape[1]
    turn, du, dv = view.normal((0, 0, -0.05), (0.05, 0.06, 0.07)).tolist()
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    x, y = (x - shape[1] / 2) * scale, (y - shape[0] / 2) * scale
    u = x * math.cos(turn) - y * math.sin(turn) + du
    v = x * math.sin(turn) + y * math.cos(turn) + dv
    return u + 0.012 * _noise(view, shape, 4), v + 0.012 * _noise(view, shape, 4)


def _attenuation(u, v, label, body, view):
    """What the rays lose on their way, to tissue (less where there is air) and bone; the lungs."""
    a = np.abs(u)
    breath = body.normal(0, 0.05) + view.normal(0, 0.03)
    cage = 0.93 * np.sqrt(np.clip(1 - ((v - 0.8) / 1.75) ** 2, 0.0004, 1))  # half its width
    size, low = body.uniform(0.9, 1.15), 0.3 + breath
    heart = _ball(
        u - 0.15 - 0.3 * (v - low), v - low, 0.37 * size, 0.42 * size
    )  # tip down and left
    heart = np.maximum(heart, _ball(u + 0.06, v - low, 0.2 * size, 0.36 * size))
    wide = 0.13 + body.uniform(0.02, 0.13) * np.exp(-np.square((v + 0.3) / 0.3))  # with the thymus
    middle = _step(wide - a, 0.04)
    dome = 0.61 + breath + 0.03 * np.sign(u) + 0.9 * np.square(a - 0.4)  # the diaphragm
    lung = _step(cage - 0.05 - a, 0.05) * _step(dome - v, 0.04) * _step(v + 0.88, 0.1)
    lung *= (1 - middle) * (1 - 0.95 * np.minimum(1, 1.8 * heart))
    lung *= 0.5 + 0.5 * np.sqrt(np.clip(1 - np.square(a / cage), 0, 1))
    air = lung * (1 - _disease(u, v, label, body, view))
    bubble = _ball(u - body.uniform(0.35, 0.5), v - 0.86 - breath, 0.2, 0.1)  # air in the stomach
    tissue = _tissue(u, v, a, body) + 0.15 * heart + 0.05 * middle - 0.25 * bubble
    return tissue - 0.7 * air + 1.25 * _bones(u, v, a, cage, body), lung


def _tissue(u, v, a, body):
    """Trunk, neck and arms, which are up beside the head or down."""
    flank = 1.05 + 0.06 * np.cos(3 * v)
    trunk = np.clip(1 - np.square(a / flank), 0, 1) ** 0.7 * _step(v + 1.18 - 0.3 * a * a, 0.12)
    neck = 0.8 * _rod(u, v, (0, -3), (0, -0.8), 0.33)
    elbow = (1.35, -1.7) if body.random() < 0.6 else (1.3, 0.4)
    arm = _rod(a, v, (0.85, -0.8), elbow, 0.2)
    bone = _rod(a, v, (0.92, -0.85), elbow, 0.07) - 0.5 * _rod(a, v, (0.92, -0.85), elbow, 0.045)
    return np.maximum(np.maximum(trunk, neck), 0.5 * arm) + 0.4 * bone


def _bones(u, v, a, cage, body):
    """Spine, ribs (behind, sinking outwards; in front, fainter, rising) and collar bones."""
    gap = body.uniform(0.185, 0.215)
    inside = _step(cage - a, 0.03) * _step(v + 0.95, 0.1) * _step(a - 0.1, 0.05)
    behind = _tube((v - 0.42 * a * a + 0.12 * a) / gap)
    front = _tube((v + 0.55 * a + 0.25 * a * a) / (1.15 * gap)) * _step(a - 0.42, 0.2)
    edge = 0.6 + 0.9 * np.square(a / cage) ** 2  # a rib is crossed lengthwise at the side
    ribs = inside * edge * (0.17 * behind + 0.08 * front) * _step(0.95 - v, 0.3)
    disc = _step(np.abs(np.sin(np.pi * v / (0.9 * gap))) - 0.25, 0.3)
    spine = 0.2 * _step(0.09 - a, 0.03) * disc * (0.7 + 15 * a * a)
    windpipe = 0.12 * _step(0.045 - np.abs(u + 0.02), 0.03) * _step(-0.3 - v, 0.1)
    collar = 0.2 * _rod(a, v - 0.05 * np.sin(5 * a), (0.1, -0.72), (0.85, -0.92), 0.04)
    return ribs + spine - windpipe + collar


def _disease(u, v, label, body, view):
    """Share of the air that is gone (0 to 1): vessels, and more of it in pneumonia."""
    severity, hazy, busy = body.beta(2, 1.4), body.beta(1.5, 6), body.beta(2, 6)
    if label == "virus":
        hazy, busy = hazy + severity, busy + 0.9 * severity
    hilum = np.exp(-(np.square(np.abs(u) - 0.2) + np.square(v)) / 0.25)
    net = np.exp(-np.square(2.5 * _noise(view, u.shape, 26)))  # septa: thin closed lines
    gone = 0.35 * hazy * (0.35 + 0.65 * hilum) * (0.8 + 0.3 * _noise(view, u.shape, 5))
    gone += busy * (0.14 * net + (0.2 + 0.6 * hilum) * _streaks(u, v, view))
    if label == "bacteria":
        x, y = (LOBES[body.integers(len(LOBES))] + body.normal(0, 0.06, 2)).tolist()
        far = np.hypot((u - x) / body.uniform(0.25, 0.42), (v - y) / body.uniform(0.2, 0.38))
        patchy = 0.3 * _noise(view, u.shape, 6) + 0.12 * _noise(view, u.shape, 20)
        gone += (0.2 + 0.8 * severity) * _step(1 - far + patchy, 1.0)
    return np.clip(gone, 0, 0.97)


def _streaks(u, v, view):
    """Lines that run outwards from the hilum of each lung, 0 to 1."""
    table = np.clip(_noise(view, (512, 64), 9) - 0.3, 0, 2.5) / 2.5  # by angle and distance
    a, v = np.abs(u) - 0.05, v + 0.03 * _noise(view, u.shape, 9)
    angle = np.arctan2(v, a) * (255 / (2 * math.pi)) + np.where(u > 0, np.float32(128), 384)
    far = np.minimum(50 * np.hypot(a, v), 63)
    return table[angle.astype(int), far.astype(int)]


def _film(loss, view):
    """Exposure, contrast, blur, grain and burned-in letters; uint8 grayscale."""
    height, width = loss.shape
    loss = scipy.ndimage.gaussian_filter(loss, view.uniform(0.3, 1.1) * width / 300)
    light = 1 - np.exp(-view.uniform(1.3, 1.9) * np.clip(loss, 0, None))
    light = light / np.quantile(light[::4, ::4], 0.98) * view.uniform(0.75, 1.0)
    light = np.clip(light, 0, 1) ** view.uniform(0.8, 1.3) + view.uniform(0, 0.06)
    light += view.uniform(0.005, 0.02) * view.standard_normal(loss.shape, dtype=np.float32)
    image = Image.fromarray((255 * np.clip(light, 0, 1)).astype(np.uint8))
    if view.random() < 0.85:
        size = view.uniform(0.04, 0.1) * width
        place = (view.uniform(0.01, 0.1) * width, view.uniform(0.01, 0.2) * height)
        font = ImageFont.load_default(size)
        ImageDraw.Draw(image).text(place, "R", int(view.integers(180, 256)), font)
    return image


def _step(x, soft):
    """0 where x < 0, 1 where x > 0, with an edge about `soft` wide."""
    t = np.clip(x / soft + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _ball(u, v, a, b):
    """Thickness, at most 1, of an ellipsoid at 0 with the half axes a and b."""
    return np.sqrt(np.clip(1 - np.square(u / a) - np.square(v / b), 0, 1))


def _rod(u, v, start, end, radius):
    """Thickness, at most 1, of a rod with round ends."""
    (x, y), dx, dy = start, end[0] - start[0], end[1] - start[1]
    along = np.clip(((u - x) * dx + (v - y) * dy) / (dx * dx + dy * dy), 0, 1)
    square = np.square(u - x - along * dx) + np.square(v - y - along * dy)
    return np.sqrt(np.clip(1 - square / radius**2, 0, 1))


def _tube(phase):
    """One rib a unit of phase, brighter at its rims."""
    off = np.abs(phase - np.floor(phase) - 0.5)
    return _step(0.2 - off, 0.08) * (0.6 + 10 * np.square(off))


def _noise(view, shape, cells):
    """Smooth noise of unit variance, about `cells` bumps across."""
    size = (round(cells * shape[0] / shape[1]) + 3, cells + 3)
    coarse = Image.fromarray(view.standard_normal(size, dtype=np.float32))
    noise = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
    return noise / noise.std()
