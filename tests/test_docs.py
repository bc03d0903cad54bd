"""README and CONTRIBUTING: what they point at is there."""

import re
import tomllib

import pytest

from helpers import paths

FILES = ("README.md", "CONTRIBUTING.md", "data/README.md")
PLACES = re.compile(
    r"`((?:helpers|notebooks|parameters|results|tests|benchmarks)/[\w./]*|Snakefile)`"
)


@pytest.mark.parametrize("name", FILES)
def test_every_place_that_is_named_is_there(name):
    text = (paths.PROJECT / name).read_text()
    found = {place for place in PLACES.findall(text) if place != "results/.lock"}
    links = {link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link}
    folder = (paths.PROJECT / name).parent
    assert found
    assert [place for place in found if not (paths.PROJECT / place).exists()] == []
    assert [link for link in links if not (folder / link).exists()] == []


def test_every_table_of_code_stands_in_the_file_that_its_row_names():
    rows = (paths.PROJECT / "CONTRIBUTING.md").read_text().splitlines()
    named = [
        (table, row)
        for row in rows
        if row.startswith("|")
        for table in re.findall(r"`([A-Z_]{5,})`", row)
    ]
    assert len(named) >= 6
    for table, row in named:
        files = [paths.PROJECT / place for place in PLACES.findall(row)]
        texts = [file.read_text() for file in files if file.is_file()]
        assert any(re.search(rf"(?m)^{table}\b", text) for text in texts), (table, row)


def test_the_version_is_the_same_everywhere():
    files = {
        name: (paths.PROJECT / name).read_text() for name in ("pyproject.toml", "CITATION.cff")
    }
    version = tomllib.loads(files["pyproject.toml"])["project"]["version"]
    assert f"\nversion: {version}\n" in files["CITATION.cff"]
    assert f"\n## {version}" in (paths.PROJECT / "CHANGELOG.md").read_text()
