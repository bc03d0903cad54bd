"""The page of what was tried shows its table, and its rows are those of the newest trials."""

import shutil
from pathlib import Path

from tests import tried
from tests.faults import __main__ as faults
from tests.mutants import __main__ as mutants


def test_the_page_shows_the_table(tmp_path, monkeypatch):
    before = tried.PAGE.read_text()
    for name in ("FILE", "PAGE"):
        monkeypatch.setattr(tried, name, Path(shutil.copy(getattr(tried, name), tmp_path)))
    tried.note([*tried.bad_input(), faults.outcome(), mutants.outcome()])
    assert tried.PAGE.read_text() == before
    tried.note([tried.Outcome("a case", 3, 2, 1)])
    assert "| a case | 3 | 2 | 1 |  | make soak |" in tried.PAGE.read_text()
