"""Learning curves in numbers: losses at the epoch that was kept and at the last one."""

from collections.abc import Hashable, Mapping

import pandas as pd

from helpers.training.fit import Fit


def epochs_table(fits: Mapping[Hashable, Fit]) -> pd.DataFrame:
    """Where each network's training stood when its weights were kept, and when it ended.

    A high training loss says that the network cannot or has not yet learnt (underfitting), a gap
    that it knows its training images better than others (overfitting).

    Args:
        fits: of networks, by name; tuples give an index of several levels.

    Returns:
        One row a fit. At the kept epoch: kept_epoch (from 1), loss, val_loss, gap (val_loss -
        loss), val_accuracy (0-1). At the end: epochs, last_loss, last_val_loss, last_val_accuracy,
        stopped (why), seconds.

    Raises:
        UserError: one of them is an estimator and has no epochs.
    """
    rows = []
    for fit in fits.values():
        number = fit.kept_epoch
        kept, last = fit.history.iloc[number - 1], fit.history.iloc[-1]
        rows.append(
            {
                "kept_epoch": number,
                **kept[["loss", "val_loss"]],
                "gap": kept.val_loss - kept.loss,
                "val_accuracy": kept.val_accuracy,
                "epochs": fit.record["epochs_run"],
                **last[["loss", "val_loss", "val_accuracy"]].add_prefix("last_"),
                "stopped": fit.record["stop_reason"],
                "seconds": fit.record["train_seconds"],
            }
        )
    return pd.DataFrame(rows, index=pd.Index(list(fits)))
