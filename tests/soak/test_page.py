"""The page of the soak shows its table."""

from helpers.utils import write_atomically
from tests.soak import __main__ as soak
from tests.soak.cases import Outcome


def test_the_page_shows_the_table(tmp_path, monkeypatch):
    before = soak.PAGE.read_text()
    for name in ("FILE", "PAGE"):
        path = tmp_path / getattr(soak, name).name
        write_atomically(
            path, lambda aside, name=name: aside.write_bytes(getattr(soak, name).read_bytes())
        )
        monkeypatch.setattr(soak, name, path)
    soak.write_page()
    assert soak.PAGE.read_text() == before
    soak.note([Outcome("a case", 3, 2, 1)])
    assert "| a case | 3 | 2 | 1 |" in soak.PAGE.read_text()
