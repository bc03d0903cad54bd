"""Learning curves in numbers: the epoch that was kept, the last one, and why it was the last."""

import numpy as np
import pandas as pd
import pytest

from helpers import training
from helpers.utils import UserError


def fit(losses, val_losses, stopped="all epochs run") -> training.Fit:
    """A fit with these losses; the validation accuracy is one less the loss."""
    history = pd.DataFrame({"loss": losses, "val_loss": val_losses})
    history = history.assign(epoch=history.index + 1, val_accuracy=1 - history.val_loss)
    record = {"epochs_run": len(losses), "stop_reason": stopped, "train_seconds": 7.5}
    return training.Fit(None, record, history)


def test_the_kept_epoch_is_the_first_with_the_least_validation_loss():
    assert fit([0.9, 0.8, 0.7, 0.6], [0.8, 0.4, 0.5, 0.4]).kept_epoch == 2


def test_epochs_that_diverged_are_not_kept():
    assert fit([0.9, 0.8, np.nan], [0.5, 0.4, np.nan]).kept_epoch == 2
    assert fit([np.nan], [np.nan]).kept_epoch == 1


def test_an_estimator_has_no_learning_curve():
    estimator = training.Fit(None, {}, pd.DataFrame())
    with pytest.raises(UserError, match="no learning curve"):
        training.epochs_table({"probe": estimator})


def test_the_table_tells_the_kept_epoch_from_the_last():
    table = training.epochs_table({"net": fit([0.9, 0.3, 0.1], [0.8, 0.4, 0.6], "early stopping")})
    assert table.loc["net"].to_dict() == {
        "kept_epoch": 2,
        "loss": 0.3,
        "val_loss": 0.4,
        "gap": pytest.approx(0.1),
        "val_accuracy": pytest.approx(0.6),
        "epochs": 3,
        "last_loss": 0.1,
        "last_val_loss": 0.6,
        "last_val_accuracy": pytest.approx(0.4),
        "stopped": "early stopping",
        "seconds": 7.5,
    }
    assert table.kept_epoch.dtype.kind == "i"


def test_the_table_has_a_row_a_fit_in_their_order():
    one = fit([0.5], [0.5])
    assert list(training.epochs_table({"b": one, "a": one}).index) == ["b", "a"]
    table = training.epochs_table({("cnn", "official"): one, ("cnn", "by_image"): one})
    assert list(table.loc["cnn"].index) == ["official", "by_image"]
