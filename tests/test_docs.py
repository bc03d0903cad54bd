"""README and CONTRIBUTING: what they point at is there."""

import re
import tomllib

import nbformat
import pytest

from helpers import paths

FILES = ("README.md", "CONTRIBUTING.md", "CHECKLIST.md", "data/README.md", "tests/README.md")
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


def headings(path) -> set[str]:
    """The anchors of a page, as GitHub (Markdown) and Jupyter (notebooks) make them."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
        return {line.replace(" ", "-") for line in re.findall(r"(?m)^#+ (.*)$", "\n".join(texts))}
    lines = re.findall(r"(?m)^#+ (.*)$", path.read_text())
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("name", FILES)
def test_every_heading_that_is_linked_is_there(name):
    path = paths.PROJECT / name
    links = re.findall(r"\]\(([^)\s:]*)#([^)\s]+)\)", path.read_text())
    places = [((path.parent / file if file else path), anchor) for file, anchor in links]
    assert [(file, anchor) for file, anchor in places if anchor not in headings(file)] == []


def test_the_checklist_has_every_item_of_claim():
    text = (paths.PROJECT / "CHECKLIST.md").read_text().partition("## What TRIPOD")[0]
    rows = re.findall(r"(?m)^\| (\d+) \| .+ \| (.+) \|$", text)
    assert [int(number) for number, _ in rows] == list(range(1, 45))
    silent = {int(number) for number, said in rows if "the data set does not say" in said}
    assert silent == {8, 11, 13, 17, 18, 36}


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
