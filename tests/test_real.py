"""A few epochs on the real radiographs, where `CHEST_XRAY_DIR` names them."""

from functools import partial

import pytest

from helpers import data, models, results, training

FLOOR = 0.85  # a test AUC; a few epochs gave 0.90 to 0.92, texture alone 0.91
CONFIG = training.TrainingConfig(epochs=5, patience=5, learning_rate=3e-4)


@pytest.mark.real
def test_dense_learns_on_real_radiographs(real_folder, run_folder):
    index = data.index(real_folder)
    table = data.split(index, "official", seed=0)
    images = data.load(table, 64)
    run = results.Run("test", "test", index, resamples=200)
    fit = training.fit(partial(models.dense, 64), images, table, CONFIG, seed=0)
    measured = run.evaluate(fit, images, table, "dense", "official").metrics
    assert run.dataset == "kermany"
    assert results.metric(measured, "auc").value > FLOOR
