"""The search: resumed, repeated, broken, and shared between processes."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from helpers import data, paths, training
from helpers.selection import tuning
from helpers.utils import UserError

SETTINGS = tuning.SearchSettings(trials=4, random_trials=2, image_size=16, epochs=1, batch_size=64)


@pytest.fixture
def net(index, tmp_path):
    table = data.split(index, "official", SETTINGS.seed)
    images = data.load(table, SETTINGS.image_size)
    return tuning.Cnn(SETTINGS, images, table, tmp_path / "fits")


@pytest.fixture
def scored(monkeypatch):
    """In place of training: a score from the hyperparameters; a list of those asked for.

    The third trial is interrupted once.
    """
    asked, interrupted = [], []

    def measure(self, hp):
        if len(asked) == 2 and interrupt and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        asked.append({name: hp.get(name) for name in tuning.HYPERPARAMETERS})
        loss = abs(np.log(hp.get("learning_rate")) + 6) + hp.get("dropout")
        return {"val_loss": loss, "val_auc": 1 - loss / 10}

    interrupt = []
    monkeypatch.setattr(tuning.Cnn, "measure", measure)
    return asked, interrupt


def with_trials(net, count):
    settings = dataclasses.replace(net.settings, trials=count)
    return tuning.Cnn(settings, net.images, net.table, net.cache_dir)


@pytest.mark.slow
def test_a_search_trains_and_a_second_one_has_nothing_to_do(net, tmp_path, monkeypatch, capsys):
    net = with_trials(net, 2)
    search = tuning.tuner(net, tmp_path)
    search.search()
    found = tuning.trials(search)
    assert list(found.columns) == ["trial", *tuning.HYPERPARAMETERS, "val_loss", "val_auc"]
    assert list(found.trial) == [0, 1]
    assert found.val_loss.gt(0).all() and found.val_auc.between(0, 1).all()
    assert len(list((tmp_path / "fits").iterdir())) == 2
    said = capsys.readouterr()
    assert said.out.count("validation loss") == len(said.out.splitlines()) == 2

    monkeypatch.setattr(training, "fit", None)  # whoever trains now fails
    again = tuning.tuner(net, tmp_path)
    again.search()
    pd.testing.assert_frame_equal(tuning.trials(again), found)
    best = again.get_best_hyperparameters()[0]
    assert best.get("learning_rate") == found.learning_rate[found.val_loss.idxmin()]


def test_an_interrupted_search_ends_like_one_that_was_not(net, tmp_path, scored):
    asked, interrupt = scored
    whole = tuning.tuner(net, tmp_path / "whole")
    whole.search()
    expected, asked[:] = list(asked), []
    assert len(expected) == 4

    interrupt.append(True)
    stopped = tuning.tuner(net, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.search()
    resumed = tuning.tuner(net, tmp_path / "stopped")
    assert len(tuning.trials(resumed)) == 2
    resumed.search()
    assert asked == expected  # each trial once, the interrupted one too
    pd.testing.assert_frame_equal(tuning.trials(resumed), tuning.trials(whole))


def test_other_settings_or_data_have_a_search_of_their_own(net, tmp_path, scored):
    asked, _ = scored
    other = net.table.assign(split=net.table.split.replace({"val": "train", "train": "val"}))
    net = with_trials(net, 1)
    nets = [net, with_trials(net, 2), tuning.Cnn(net.settings, net.images, other, net.cache_dir)]
    for one in nets:
        tuning.tuner(one, tmp_path).search()
    assert len(asked) == 1 + 2 + 1


def test_a_trial_noted_as_finished_and_under_way_is_not_run_again(net, tmp_path, scored):
    asked, _ = scored
    net = with_trials(net, 2)
    tuning.tuner(net, tmp_path).search()
    path = next(tmp_path.glob("tuning/*/oracle.json"))
    state = json.loads(path.read_text()) | {"ongoing_trials": {"worker-0": "1"}}
    path.write_text(json.dumps(state))  # what a chief leaves behind
    tuning.tuner(net, tmp_path).search()
    assert len(asked) == 2


def test_a_failing_trial_stops_the_search_and_is_tried_again(net, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise UserError("the disk is full")

    net = with_trials(net, 1)
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", full)
        with pytest.raises(tuning.keras_tuner.errors.FatalError, match="the disk is full"):
            tuning.tuner(net, tmp_path).search()
    search = tuning.tuner(net, tmp_path)
    assert tuning.trials(search).empty
    search.search()
    assert len(tuning.trials(search)) == 1


def test_hyperparameters_that_diverge_are_left_out(net, tmp_path, monkeypatch):
    def diverge(*arguments, **options):
        return training.Fit(None, {"stop_reason": "loss not finite"}, pd.DataFrame())

    monkeypatch.setattr(training, "fit", diverge)
    search = tuning.tuner(with_trials(net, 2), tmp_path)
    search.search()
    assert tuning.trials(search).empty


def test_broken_files_of_a_search(net, tmp_path, scored):
    net = with_trials(net, 1)
    tuning.tuner(net, tmp_path).search()
    next(tmp_path.glob("tuning/*/oracle.json")).write_text('{"half')
    with pytest.raises(UserError, match=r"cannot read the search in .* Delete that folder"):
        tuning.tuner(net, tmp_path)


def test_depth_and_width_of_the_network(net):
    hp = net.defaults()
    hp.values |= {"depth": 3, "width": 8, "dropout": 0.0}
    filters = [layer.filters for layer in net.build(hp).layers if hasattr(layer, "filters")]
    assert filters == [8, 16, 32]


def test_strength_of_augmentation():
    assert tuning.augmentation_of(0) is None
    assert tuning.augmentation_of(0.5).zoom == (1, 1.3)
    assert tuning.augmentation_of(1).rotation == 8


def test_a_fit_is_trained_as_settings_and_hyperparameters_say(net, monkeypatch):
    seen = []

    def fit(build, images, table, config, **options):
        seen.append((config, options))

    monkeypatch.setattr(training, "fit", fit)
    hp = net.defaults()
    hp.values |= {"learning_rate": 0.002, "augmentation": 0.5}
    net.train(hp)
    net.train(hp, epochs=9, patience=3)
    trial = training.TrainingConfig(
        epochs=1,
        patience=2,
        batch_size=64,
        learning_rate=0.002,
        augmentation=tuning.augmentation_of(0.5),
    )
    longer = dataclasses.replace(trial, epochs=9, patience=3)
    options = {"seed": SETTINGS.seed, "cache_dir": net.cache_dir}
    assert seen == [(trial, options), (longer, options)]


def test_the_command_has_all_settings(monkeypatch):
    settings = dataclasses.replace(SETTINGS, seed=7, precision="auto")
    command = tuning.command(settings, paths.PROJECT / "runs" / "x").split()
    assert command[:5] == ["python", "-m", "helpers.selection.tuning", "--folder", "runs/x"]
    seen = []
    monkeypatch.setattr(training, "set_up", lambda *given: None)
    monkeypatch.setattr(tuning, "Cnn", lambda settings, *rest: seen.append(settings))
    with pytest.raises(AttributeError):  # no net
        tuning.main(command[3:])
    assert seen == [settings]


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        (
            {"KERASTUNER_TUNER_ID": "chief"},
            [],
            "ORACLE_IP, KERASTUNER_ORACLE_PORT in",
        ),
        ({}, ["--trials", "0"], "TRIALS must be at least 1"),
    ],
)
def test_a_wrong_command(variables, options, message, monkeypatch, tmp_path):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        tuning.main(["--folder", str(tmp_path), *options])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Even(tuning.Oracle):
    """Hands out no trial before two workers have asked for one."""

    def populate_space(self, trial_id):
        if len(self.tuner_ids) < 2:
            time.sleep(0.1)  # the worker asks again at once
            return {"status": "IDLE"}
        return super().populate_space(trial_id)


@pytest.mark.slow
def test_a_chief_and_two_workers_share_the_trials(net, tmp_path, monkeypatch, capsys):
    """The chief is this process; the workers are started by the command that is shown."""
    net = with_trials(net, 3)
    command = tuning.command(net.settings, tmp_path).split()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free_port()))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(tuning, "Oracle", Even)

    def start(name):
        return subprocess.Popen(
            [sys.executable, *command[1:]],
            cwd=paths.PROJECT,
            env=os.environ | {"KERASTUNER_TUNER_ID": name},
            stdout=subprocess.PIPE,
            text=True,
        )

    workers, nap, end = [start("worker-0"), start("worker-1")], time.sleep, time.time() + 300

    def watch(seconds):
        """In place of `sleep`: KerasTuner's chief looks every 20 seconds only, and for ever."""
        assert time.time() < end and all(worker.poll() in (None, 0) for worker in workers)
        nap(min(seconds, 0.2))

    monkeypatch.setattr(time, "sleep", watch)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    try:
        tuning.main(command[3:])
        said = [worker.communicate(timeout=100)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0]
    done = [out.count("validation loss") for out in said]
    assert sum(done) == net.settings.trials and min(done) > 0  # none twice, each at least one
    assert f"{net.settings.trials} trials, the best:" in capsys.readouterr().out

    for name in tuning.VARIABLES:
        monkeypatch.delenv(name)
    search = tuning.tuner(net, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", None)  # whoever trains now fails
        search.search()
    found = tuning.trials(search)
    assert list(found.trial) == list(range(net.settings.trials))
    assert not found.duplicated(list(tuning.HYPERPARAMETERS)).any()

    alone = tuning.Cnn(net.settings, net.images, net.table, tmp_path / "alone")
    last = list(search.oracle.trials.values())[-1]
    recorded = {name: last.metrics.get_best_value(name) for name in ("val_loss", "val_auc")}
    assert alone.measure(last.hyperparameters) == pytest.approx(recorded, rel=1e-6)
