"""Every bad input of `tests/bad_data.py` comes to its stated outcome."""

import functools
import importlib
import shutil
from pathlib import Path

import pytest

from helpers import data, paths, results
from helpers.utils import UserError
from tests import bad_data, builders

download = importlib.import_module("helpers.data.download").download
IMAGES, TABLE = builders.squares()


def indexed(folder: Path) -> tuple:
    """What is indexed and loaded of a folder."""
    index = data.index(folder)
    return len(index), data.load(index, 16).sum()


def unpacked(folder: Path) -> set[str]:
    target = download(folder / "target", folder / "own.zip")
    return {path.relative_to(target).as_posix() for path in target.rglob("*.jpeg")}


def fitted(folder: Path) -> tuple:
    from helpers import training  # Keras takes seconds to import

    training.set_up(seed=0, threads=builders.THREADS)
    config = training.TrainingConfig(epochs=1, patience=1, batch_size=16)
    fit = training.fit(builders.with_dropout, IMAGES, TABLE, config, seed=0, cache_dir=folder)
    facts = {name: fact for name, fact in fit.record.items() if name != "train_seconds"}
    return fit.predict(IMAGES).tobytes(), facts, fit.history.loss.tolist()


def read(folder: Path) -> list:
    """Every table and fact of a folder of results."""
    experiments = results.experiments(folder)
    predictions = results.predictions("constant", folder=folder)
    return [
        *map(len, (experiments, results.metrics(folder), results.manifest(folder), predictions)),
        results.operating_points("final", folder=folder),
        results.remeasure(folder, resamples=50).value.sum(),
    ]


def results_folder(folder: Path) -> None:
    """The results of one constant fit on the phantoms."""
    index = data.index()
    table = data.split(index, "official", seed=0).query("split != 'train'")
    predicted = table[["file", "patient", "split", "label"]].assign(p_pneumonia=0.75)
    key = dict(zip(results.KEY, ("constant", "official", 0, ""), strict=True))
    row = dict.fromkeys(results.EXPERIMENT_COLUMNS, 0) | key
    results.merge(folder, row, predicted, results.measure(row, predicted, set(), resamples=50))
    data.manifest(index).to_csv(folder / "manifest.csv", index=False)
    results.write_selection(folder, thresholds={"final": {"balanced": 0.5}})


COSTLY = ("fit", "predictions", "tables")  # the whole thing is made once and copied
ASK = {  # kind: what makes the whole thing, and what is asked of it
    "folder": (builders.kermany_folder, indexed),
    "labels": (bad_data.labelled_folder, indexed),
    "zip": (lambda folder: (folder.mkdir(), bad_data.zipped()(folder)), unpacked),
    "kept": (builders.kermany_folder, indexed),
    "fit": (Path.mkdir, fitted),
    "predictions": (results_folder, read),
    "tables": (results_folder, read),
}


def struck_by(case: bad_data.Case, folder: Path) -> Path:
    """Where a case strikes, once what is asked has been asked."""
    if case.kind == "kept":
        return paths.CACHE
    return next(folder.iterdir()) if case.kind == "fit" else folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Makes the whole thing of a kind, once; gives its folder, and what is said of it."""

    @functools.cache
    def made(kind):
        folder, (make, ask) = tmp_path_factory.mktemp(kind) / "place", ASK[kind]
        make(folder)
        return folder, ask(folder)

    return made


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return tmp_path / "place"


@pytest.mark.parametrize("case", bad_data.CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_bad_input_comes_to_its_stated_outcome(case, place, whole, capsys):
    make, ask = ASK[case.kind]
    if case.kind in COSTLY:
        folder, good = whole(case.kind)
        shutil.copytree(folder, place)
    else:
        make(place)
        good = ask(place)
    shutil.rmtree(place / "target", ignore_errors=True)
    case.make(struck_by(case, place))
    if case.outcome == bad_data.WHOLE:
        assert ask(place) == good
        return
    with pytest.raises(UserError, match=case.outcome) as caught:
        ask(place)
    message = str(caught.value)
    assert message.isprintable() and str(place.parent) in message
    assert not (place / "target").exists()
