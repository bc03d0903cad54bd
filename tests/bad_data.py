"""Bad input, made by code: folders of pictures, their tables, zips, caches and results.

`CASES` says of each case where it strikes, what makes it, and what has to come of it: the regular
expression of a one-line `UserError`, or `WHOLE` where it is put right or does no harm.
`tests/test_bad_data.py` goes through them.
"""

import io
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tests import builders

WHOLE = ""  # the outcome: as without the fault


class Case(NamedTuple):
    """A fault, by what is struck."""

    kind: str  # folder, labels, zip, kept, fit, predictions, tables
    name: str
    make: Callable[[Path], object]  # strikes what lies, whole, in the folder that it is given
    outcome: str


# A folder in the layout of the published data set, as `builders.kermany_folder` writes it

NORMAL = "train/NORMAL/IM-0115-0001.jpeg"
ILL = "test/PNEUMONIA/person1_virus_6.jpeg"


def write(place: str, content: bytes = b"") -> Callable[[Path], object]:
    return lambda folder: (folder / place).write_bytes(content)


def change(place: str, new: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / place).write_bytes(new((folder / place).read_bytes()))


def copy(place: str, to: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copy(folder / place, folder / to)


def move(place: str, to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / place).rename(folder / to)


def link(place: str, to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / place).symlink_to(to)


def remove(place: str) -> Callable[[Path], object]:
    def do(folder):
        shutil.rmtree(folder / place) if (folder / place).is_dir() else (folder / place).unlink()

    return do


def flipped(content: bytes) -> bytes:
    """With a bit changed in the marker that starts a JPEG."""
    return content[:1] + bytes([content[1] ^ 4]) + content[2:]


def empty_class(folder: Path) -> None:
    for path in (folder / "test/NORMAL").iterdir():
        path.unlink()
    (folder / "test/NORMAL/.DS_Store").touch()


def many_empty(folder: Path, count: int = 200) -> None:
    for number in range(count):
        (folder / f"train/PNEUMONIA/person{9000 + number}_virus_{number}.jpeg").touch()


def linked_elsewhere(folder: Path) -> None:
    """A picture that lies outside, as collections kept by git-annex or DVC have it."""
    outside = folder.with_name("annex")
    outside.mkdir()
    (folder / NORMAL).rename(outside / "content")
    (folder / NORMAL).symlink_to(outside / "content")


def huge(folder: Path) -> None:
    os.truncate(folder / NORMAL, 2**42)  # takes no room


def pixels_beyond_reason(folder: Path) -> None:
    """A JPEG whose header promises 65,500 x 65,500 pixels."""
    content = bytearray((folder / NORMAL).read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = (65_500).to_bytes(2, "big") * 2
    (folder / NORMAL).write_bytes(content)


UNREADABLE = r"1 unreadable image\(s\)"
FOREIGN = "tells neither patient nor label"
FOLDERS = [
    ("truncated picture", change(NORMAL, lambda content: content[:-200]), UNREADABLE),
    ("bit flipped in a header", change(NORMAL, flipped), UNREADABLE),
    ("text called jpeg", write(ILL, b"404 not found"), UNREADABLE),
    ("zero bytes", write(ILL), f"{UNREADABLE}: .*the file is empty"),
    ("many empty files", many_empty, r"200 unreadable image\(s\): .*; \.\.\."),
    ("folder called jpeg", lambda x: (x / f"{ILL[:-6]}9.jpeg").mkdir(), "no regular file"),
    ("pipe called jpeg", lambda x: os.mkfifo(x / f"{ILL[:-6]}9.jpeg"), "no regular file"),
    ("link to a device", link(f"{ILL[:-6]}9.jpeg", "/dev/zero"), "no regular file"),
    ("4 TiB that are not there", huge, UNREADABLE),
    ("4 gigapixels", pixels_beyond_reason, UNREADABLE),
    ("dangling link", link(f"{ILL[:-6]}9.jpeg", "nowhere.jpeg"), "cannot read .*No such file"),
    ("link to itself", link(f"{ILL[:-6]}9.jpeg", "person1_virus_9.jpeg"), "cannot read .*levels"),
    ("link out of the folder", linked_elsewhere, WHOLE),
    ("folder that holds itself", link("train/NORMAL/again", ".."), WHOLE),
    ("layout that holds itself", link("chest_xray", "."), WHOLE),
    ("no folder", remove("."), "no data folder at"),
    ("no test folder", remove("test"), "has no train/ and test/.* and so on: point CHEST"),
    ("class folder missing", remove("train/NORMAL"), "NORMAL is missing"),
    ("class folder of val missing", remove("val/PNEUMONIA"), "PNEUMONIA is missing"),
    ("class folder in another case", move("train/NORMAL", "train/normal"), "rename .*normal"),
    ("split folder in another case", move("test", "Test"), "rename .*Test"),
    ("class folder empty", empty_class, "holds no image"),
    ("name of another kind", move(NORMAL, "train/NORMAL/scan 17.jpeg"), FOREIGN),
    ("name in another script", move(NORMAL, "train/NORMAL/снимок.jpeg"), FOREIGN),
    ("digits of another script", move(ILL, "test/PNEUMONIA/person\u0661_virus_6.jpeg"), FOREIGN),
    ("name with a newline", move(ILL, "test/PNEUMONIA/person1_virus_6\n.jpeg"), FOREIGN),
    ("name of 255 bytes", move(ILL, f"test/PNEUMONIA/person{'1' * 235}_virus_6.jpeg"), FOREIGN),
    ("name that is no text", move(ILL, os.fsdecode(b"test/PNEUMONIA/person1_\xff.jpeg")), FOREIGN),
    (
        "name of the other class",
        move(ILL, "test/NORMAL/person1_virus_6.jpeg"),
        "folder of the other class",
    ),
    ("same name in two splits", copy(NORMAL, "test/NORMAL/IM-0115-0001.jpeg"), "same file name"),
    ("unknown files", write("train/NORMAL/Thumbs.db", b"\xff"), WHOLE),
]


# A folder with a labels.csv: one.png, two.png, three.png and four.png

ROWS = [
    "file,label,patient",
    "one.png,normal,a",
    "two.png,pneumonia,b",
    "three.png,virus,c",
    "four.png,bacteria,d",
]
TABLE = "labels.csv"


def labelled_folder(folder: Path) -> Path:
    """Four pictures with their table; gives `folder`."""
    folder.mkdir(parents=True)
    for seed, row in enumerate(ROWS[1:]):
        builders.picture(seed).save(folder / row.split(",")[0])
    table(*ROWS)(folder)
    return folder


def table(*rows: str, encoding: str = "utf-8", end: str = "\n") -> Callable[[Path], object]:
    """Writes `labels.csv`."""
    return lambda folder: (folder / TABLE).write_bytes((end.join(rows) + end).encode(encoding))


def renamed(name: str) -> Callable[[Path], object]:
    """The first picture under another name, on disk and in the table."""

    def do(folder):
        (folder / "one.png").rename(folder / name)
        names = [name, *(row.split(",")[0] for row in ROWS[2:])]
        cells = [[name, *row.split(",")[1:]] for name, row in zip(names, ROWS[1:], strict=True)]
        pd.DataFrame(cells, columns=ROWS[0].split(",")).to_csv(folder / TABLE, index=False)

    return do


def outside(folder: Path) -> None:
    shutil.copy(folder / "one.png", folder.with_name("five.png"))
    table(*ROWS, "../five.png,normal,e")(folder)


def outside_by_its_whole_path(folder: Path) -> None:
    shutil.copy(folder / "one.png", folder.with_name("five.png"))
    table(*ROWS, f"{folder.with_name('five.png')},normal,e")(folder)


def semicolons(folder: Path) -> None:
    table(*(row.replace(",", ";") for row in ROWS))(folder)


LABELS = [
    ("columns of another hospital", table("image,finding", "one.png,normal"), "no column file"),
    ("column names in capitals", table(ROWS[0].upper(), *ROWS[1:]), "no column file"),
    ("a column twice", table(f"{ROWS[0]},file", "one.png,normal,a,one.png"), "column file twice"),
    ("semicolons", semicolons, "no column file.*with commas between them"),
    ("no header", table(*ROWS[1:]), "no column file"),
    ("byte order mark", table(*ROWS, encoding="utf-8-sig"), WHOLE),
    ("lines that end as on Windows", table(*ROWS, end="\r\n"), WHOLE),
    ("UTF-16", table(*ROWS, encoding="utf-16"), "cannot read .*Save it as CSV in UTF-8"),
    ("Latin-1", table(*ROWS[:4], "four.png,bacteria,é", encoding="latin-1"), "in UTF-8"),
    ("a quote that never ends", table(*ROWS[:4], '"four.png,bacteria,d'), "picture 4 has 1 cell"),
    ("cell of a megabyte", table(ROWS[0], f"{'x' * 2**20},normal,a"), "cannot read"),
    ("no rows", table(ROWS[0]), "names no picture"),
    ("empty table", write(TABLE), "no column file"),
    ("no table but bytes", write(TABLE, bytes(range(256))), "cannot read|no column"),
    ("unknown label", table(*ROWS, "four.png,Normal,e"), "label that is none of normal"),
    ("empty label", table(*ROWS[:4], "four.png,,d"), "lacks a file, label or patient"),
    ("unknown file", table(*ROWS, "five.png,normal,e"), "'five.png', names a file that is not in"),
    ("name with a zero byte", table(*ROWS, "five\0.png,normal,e"), "a file that is not in"),
    ("row twice", table(*ROWS, ROWS[1]), "'one.png', has the file name of an earlier one"),
    ("picture twice, labels differ", table(*ROWS, "one.png,virus,e"), "name of an earlier one"),
    ("unknown split", table(f"{ROWS[0]},split", "one.png,normal,a,dev"), "split that is none of"),
    ("picture outside", outside, "leads out of"),
    ("picture outside, by its whole path", outside_by_its_whole_path, "leads out of"),
    ("name in another script", renamed("снимок 一.png"), WHOLE),
    ("name with a newline", renamed("first\nsecond.png"), WHOLE),
    ("name with quotes and commas", renamed('"a", b.png'), WHOLE),
    ("name of 255 bytes", renamed("x" * 251 + ".png"), WHOLE),
    ("empty picture", write("one.png"), UNREADABLE),
    (
        "files that no row names",
        lambda x: [(x / f"{n}.png").touch() for n in range(99)],
        WHOLE,
    ),
]


# A zip in the layout of the published one: `make` writes it as own.zip

PICTURES = {
    f"chest_xray/{split}/{name}/{stem}-{split}.jpeg": f"{split} {name}".encode() * 50
    for split in ("train", "val", "test")
    for name, stem in (("NORMAL", "IM-0001"), ("PNEUMONIA", "person1_virus_2"))
}
FIRST = next(iter(PICTURES))


def zip_bytes(members: list[tuple[str, bytes]], links: tuple[str, ...] = ()) -> bytes:
    """A zip with these members; those in `links` are symbolic links."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            mode = stat.S_IFLNK if name in links else stat.S_IFREG
            info.external_attr = (mode | 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def zipped(*further: tuple[str, bytes], links: tuple[str, ...] = ()) -> Callable[[Path], object]:
    members = [*PICTURES.items(), *further]
    return lambda folder: (folder / "own.zip").write_bytes(zip_bytes(members, links))


def zip_in_a_zip(folder: Path) -> None:
    inner = zip_bytes(list(PICTURES.items()))
    (folder / "own.zip").write_bytes(zip_bytes([("chest_xray.zip", inner)]))


def damaged(folder: Path) -> None:
    content = bytearray(zip_bytes(list(PICTURES.items())))
    content[content.index(b"jpeg") + 10] ^= 0xFF
    (folder / "own.zip").write_bytes(content)


def truncated_zip(folder: Path) -> None:
    (folder / "own.zip").write_bytes(zip_bytes(list(PICTURES.items()))[:-30])


def encrypted(folder: Path) -> None:
    """A zip that says of its first member that it is encrypted."""
    content = bytearray(zip_bytes(list(PICTURES.items())))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    (folder / "own.zip").write_bytes(content)


def understated(folder: Path) -> None:
    """A zip that holds more than it says."""
    content = bytearray(zip_bytes(list(PICTURES.items())))
    directory = content.index(b"PK\1\2")
    content[directory + 24 : directory + 28] = (3).to_bytes(4, "little")
    (folder / "own.zip").write_bytes(content)


OUT_OF_IT = "unsafe: .* leads out of"
OUT = "chest_xray/train/NORMAL/../../../../out.jpeg"
ZIPS = [
    ("member that leads out", zipped((OUT, b"x")), OUT_OF_IT),
    ("member with a whole path", zipped(("/tmp/train/NORMAL/out.jpeg", b"x")), OUT_OF_IT),
    ("link", zipped(("train/NORMAL/a.jpeg", b"/etc"), links=("train/NORMAL/a.jpeg",)), "unsafe"),
    ("bomb", zipped((f"{FIRST}.png", bytes(150_000_000))), "unsafe: it unpacks to"),
    ("zip in a zip", zip_in_a_zip, "does not hold the data"),
    ("member twice", zipped((FIRST, b"another")), "unsafe: .* twice"),
    ("member of another kind", zipped(("chest_xray/train/NORMAL/run.sh", b"#!")), WHOLE),
    ("name with a newline", zipped(("a\nb/../train/NORMAL/c.jpeg", b"x")), OUT_OF_IT),
    ("name of 300 bytes", zipped((f"chest_xray/train/NORMAL/{'x' * 300}.jpeg", b"x")), "too long"),
    ("damaged member", damaged, "no zip or a broken one"),
    ("member longer than it says", understated, "no zip or a broken one"),
    ("truncated zip", truncated_zip, "no zip or a broken one"),
    ("encrypted zip", encrypted, "no zip or a broken one"),
    ("empty file", write("own.zip"), "no zip or a broken one"),
    ("web page", write("own.zip", b"<html>Just a moment</html>"), "no zip or a broken one"),
]


# What is kept of decoded pictures: `make` gets the cache, with the index and one array


def struck(pattern: str, new: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Changes the content of the one file that the pattern names."""

    def do(folder):
        (path,) = folder.glob(pattern)
        path.write_bytes(new(path.read_bytes()))

    return do


def other_array(array: np.ndarray) -> Callable[[bytes], bytes]:
    def new(_):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        return buffer.getvalue()

    return new


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def nothing(_: bytes) -> bytes:
    return b""


def without_the_first(content: bytes) -> bytes:
    return json.dumps(json.loads(content)[1:]).encode()


KEPT = [
    ("pictures: truncated", struck("images-*", half), WHOLE),
    ("pictures: empty", struck("images-*", nothing), WHOLE),
    ("pictures: no array", struck("images-*", lambda _: b"no array"), WHOLE),
    ("pictures: too few", struck("images-*", other_array(np.zeros((3, 16, 16, 1), "u1"))), WHOLE),
    ("pictures: of floats", struck("images-*", other_array(np.zeros((12, 16, 16, 1)))), WHOLE),
    ("pictures: objects", struck("images-*", other_array(np.array([{}]))), WHOLE),
    ("index: truncated", struck("index-*", half), WHOLE),
    ("index: empty", struck("index-*", nothing), WHOLE),
    ("index: bytes", struck("index-*", lambda _: bytes(range(256))), WHOLE),
    ("index: pictures missing", struck("index-*", without_the_first), WHOLE),
    ("index: of an older format", struck("index-*", lambda x: x.replace(b"width", b"side")), WHOLE),
]


# A finished fit: `make` gets its folder

WEIGHTS, HISTORY, RECORD = "model.weights.h5", "history.csv", "record.json"


def edited(place: str, **facts) -> Callable[[Path], object]:
    """With facts changed in a JSON file; None takes one away."""

    def do(folder):
        held = json.loads((folder / place).read_text()) | facts
        held = {name: value for name, value in held.items() if value is not None}
        (folder / place).write_text(json.dumps(held))

    return do


def bit_of_a_weight(content: bytes) -> bytes:
    place = len(content) * 3 // 4
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


FITS = [
    ("weights truncated", change(WEIGHTS, half), WHOLE),
    ("weights empty", write(WEIGHTS), WHOLE),
    ("weights missing", remove(WEIGHTS), WHOLE),
    ("bit of a weight flipped", change(WEIGHTS, bit_of_a_weight), WHOLE),
    ("record without anything", lambda x: [remove(y)(x) for y in (WEIGHTS, HISTORY)], WHOLE),
    ("everything but the record", remove(RECORD), WHOLE),
    ("record empty", write(RECORD), WHOLE),
    ("record half written", change(RECORD, half), WHOLE),
    ("record a list", write(RECORD, b"[]"), WHOLE),
    ("history empty", write(HISTORY), WHOLE),
]


# A folder of results with one fit: `make` gets it


def predictions(new: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    """Changes the table of predictions."""

    def do(folder):
        (path,) = folder.glob("predictions/*/*.csv")
        new(pd.read_csv(path, dtype={"p_pneumonia": object})).to_csv(path, index=False)

    return do


def p(value) -> Callable[[Path], object]:
    """The last probability is `value`."""
    return predictions(lambda table: table.assign(p_pneumonia=[*table.p_pneumonia[:-1], value]))


def column(name: str, value) -> Callable[[Path], object]:
    return predictions(lambda table: table.assign(**{name: [*table[name][:-1], value]}))


OUTSIDE = "probability is not from 0 to 1"
PREDICTIONS = [
    ("NaN", p("nan"), "probability is missing"),
    ("no probability", p(""), "probability is missing"),
    ("infinite", p("inf"), OUTSIDE),
    ("above 1", p("1.5"), OUTSIDE),
    ("below 0", p("-0.2"), OUTSIDE),
    ("a word for a probability", p("high"), "probability is missing"),
    ("row twice", predictions(lambda table: pd.concat([table, table[-1:]])), "twice"),
    ("row missing", predictions(lambda table: table[:-1]), "lacks 1 of the official test images"),
    ("unknown file", column("file", "x.jpeg"), "manifest lacks 1 of its images"),
    ("unknown label", column("label", "fungus"), "label"),
    ("other label", column("label", "normal"), "another label than in the manifest; run the note"),
    ("unknown split", column("split", "dev"), "split"),
    ("no column label", predictions(lambda table: table.drop(columns="label")), "column label"),
    ("no column of p", predictions(lambda table: table.drop(columns="p_pneumonia")), "p_pneumonia"),
]


def csv(name: str, new: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(new((folder / name).read_bytes()))


def without(name: str, *columns: str) -> Callable[[Path], object]:
    """A table as an older version wrote it."""

    def do(folder):
        pd.read_csv(folder / name).drop(columns=list(columns)).to_csv(folder / name, index=False)

    return do


def with_fit_twice(folder: Path) -> None:
    table = pd.read_csv(folder / "experiments.csv")
    pd.concat([table, table]).to_csv(folder / "experiments.csv", index=False)


TABLES = [
    ("experiments of an older format", without("experiments.csv", "precision"), "column precision"),
    ("metrics of an older format", without("metrics.csv", "subset"), "column subset"),
    ("manifest of an older format", without("manifest.csv", "patient"), "column patient"),
    ("experiments empty", write("experiments.csv"), "cannot read .*experiments.csv"),
    ("experiments are bytes", write("experiments.csv", bytes(range(256))), "cannot read"),
    ("metrics half a line", csv("metrics.csv", lambda x: x + b'most,"'), "cannot read"),
    ("a fit twice", with_fit_twice, "twice"),
    ("selection half written", write("selection.json", b'{"thresholds": {'), "selection.json"),
    ("selection a list", write("selection.json", b"[]"), "selection.json"),
    ("thresholds a list", write("selection.json", b'{"thresholds": []}'), "names no thresholds"),
    (
        "NaN for a threshold",
        write("selection.json", b'{"thresholds": {"final": {"balanced": NaN}}}'),
        "balanced is .* not from 0 to 1",
    ),
    (
        "threshold of 7.5",
        write("selection.json", b'{"thresholds": {"final": {"balanced": 7.5}}}'),
        "balanced is .* not from 0 to 1",
    ),
    (
        "thresholds in words",
        write("selection.json", b'{"thresholds": {"final": {"balanced": "low"}}}'),
        "balanced is .* not from 0 to 1",
    ),
]

CASES = [
    Case(kind, *case)
    for kind, cases in {
        "folder": FOLDERS,
        "labels": LABELS,
        "zip": ZIPS,
        "kept": KEPT,
        "fit": FITS,
        "predictions": PREDICTIONS,
        "tables": TABLES,
    }.items()
    for case in cases
]
