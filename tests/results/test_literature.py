"""Ours beside others."""

import pandas as pd

from helpers import paths, results
from tests import builders


def test_replication_gives_the_systems_that_were_run(folder):
    assert results.replication(folder).empty
    builders.save_fit(folder, "resnet")
    claims = results.replication(folder)
    assert list(claims.index) == ["Residual network from scratch"]
    assert claims["as its authors do"].iloc[0] == "-"
    assert claims["official"].iloc[0].count(".") == 3


def test_our_best_stands_above_what_others_publish(folder):
    measured = builders.save_fit(folder, "final", classes=3)
    for fold in (0, 1):
        builders.save_fit(folder, "final_member", "cross_validated", fold=fold, signal=1 + fold)
    own = results.literature_table(folder).iloc[:4]
    names = [("final", rule) for rule in ("balanced", "0.5", "screening")]
    names += [("final_member", "val_balanced")]
    assert list(own.index) == [f"**ours, `{name}`, threshold {rule}**" for name, rule in names]
    assert list(own.protocol) == [*3 * ["official"], "cross_validated"]
    assert own.AUC.iloc[3].endswith("(2 fits)")
    argmax = results.format_interval(results.metric(measured, "accuracy"), unit="")
    assert list(own["three classes"]) == [*3 * [argmax], "-"]
    binary = results.metric(measured, "auc", subset="binary")
    assert own.AUC.iloc[0] == results.format_interval(binary, unit="")


def test_without_a_final_model_the_best_is_named_as_what_it_is(folder):
    table = results.literature_table(folder)
    assert table.index[0] == "**ours, `most_frequent`, threshold 0.5**"
    assert "not the final model" in table.comparable.iloc[0]
    others = pd.read_csv(paths.RESULTS / "published_elsewhere.csv")
    links = others.apply("[{0.work}]({0.source})".format, axis=1)
    assert list(table.index[1:]) == list(links)
    assert others.source.str.startswith("https://").all() and others.comparable.notna().all()
