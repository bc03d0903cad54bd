"""The installed command: it passes on what follows, and names what is not installed."""

import sys

import pytest

from helpers.__main__ import main


def test_it_predicts(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "--help"])
    assert stopped.value.code == 0
    assert "IMAGE" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["predct"]])
def test_an_unknown_command_is_told_the_known_ones(arguments, capsys):
    assert main(arguments) == 2
    assert "{predict}" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "helpers.predict.__main__", None)
    assert main(["predict"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: helpers.predict.__main__ is not installed")
    assert "pediatric-pneumonia[full]" in told
