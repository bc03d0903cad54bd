"""The command line: a run is merged if one is named, and pages are written in any case."""

import pytest

from helpers.publishing import __main__ as command
from helpers.utils import UserError


@pytest.fixture
def calls(monkeypatch):
    """What the command calls, in order, in place of doing it."""
    called = []
    monkeypatch.setattr(command, "publish", lambda run: called.append(str(run)) or 3)
    monkeypatch.setattr(command, "write_pages", lambda: called.append("pages"))
    return called


def test_a_run_is_merged_before_pages_are_written(calls, capsys):
    assert command.main(["runs/reference-kermany"]) == 0
    assert calls == ["runs/reference-kermany", "pages"]
    assert capsys.readouterr().out == "published 3 fits of runs/reference-kermany\n"


def test_without_a_run_only_the_pages_are_written(calls, capsys):
    assert command.main([]) == 0
    assert calls == ["pages"]
    assert capsys.readouterr().out == ""


def test_a_mistake_is_one_line(tmp_path, capsys):
    assert command.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: no experiments.csv in {tmp_path}")


def test_a_page_that_cannot_be_written_is_one_line(calls, monkeypatch, capsys):
    def fail():
        raise UserError("the model is another one")

    monkeypatch.setattr(command, "write_pages", fail)
    assert command.main([]) == 1
    assert capsys.readouterr().err == "error: the model is another one\n"
