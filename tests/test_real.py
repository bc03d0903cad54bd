"""A few epochs on the real radiographs, where `CHEST_XRAY_DIR` names them."""

from functools import partial

from helpers import data, evaluation, models, results, training

FLOOR = 0.85  # a test AUC; a few epochs gave 0.90 to 0.92, texture alone 0.91


def test_dense_learns_on_real_radiographs(real_folder, run_folder):
    index = data.index(real_folder)
    table = data.official(index, seed=0)
    images = data.load(table, 64)
    run = results.Run("test", "test", index, resamples=200)
    training.prepare(seed=0, threads=2)
    fit = training.fit(
        partial(models.dense, 64), images, table, seed=0, epochs=5, patience=5, learning_rate=3e-4
    )
    predictions = evaluation.predict(fit, images, table)
    measured = run.save(fit, predictions, "dense", "official")
    assert run.dataset == "kermany"
    assert results.number(measured, "auc").value > FLOOR
