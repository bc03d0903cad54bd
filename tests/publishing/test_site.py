"""The website: what its pages are made of, and a small one made with Sphinx."""

import base64
import re
import sys
from html.parser import HTMLParser

import nbformat
import pytest

from helpers import paths
from helpers.publishing import interactive, site
from helpers.utils import UserError

FIGURE = base64.b64encode((paths.IMAGES / "comparison.png").read_bytes()).decode()
KNOWN = {
    "told": "told",
    "images": {"file": ["a"], "label": ["normal"], "p": [0.5]},
    "points": {},
    "learnt": 0.7,
    "auc": "-",
    "intervals": {"cuts": [0.5]} | {name: 2 * [[0, 1]] for name in interactive.METRICS},
    "colors": {"normal": "blue"},
}
DENSE = "notebooks/03_dense.ipynb"


@pytest.fixture
def facts(monkeypatch):
    """The interactive page shows one image, without charts."""
    monkeypatch.setattr(interactive, "facts", lambda: KNOWN)
    monkeypatch.setattr(interactive, "library", lambda: "")


@pytest.fixture
def run(tmp_path, facts):
    """A run that has executed 03_dense, whose last cell shows a figure."""
    notebook = nbformat.read(paths.PROJECT / DENSE, as_version=4)
    drawing = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    metadata = {"image/png": {"alt": "a dense figure"}}
    drawing.outputs = [
        nbformat.v4.new_output("display_data", {"image/png": FIGURE}, metadata=metadata)
    ]
    (tmp_path / "run/notebooks").mkdir(parents=True)
    nbformat.write(notebook, tmp_path / "run" / DENSE)
    return tmp_path / "run"


def cells(folder, place=DENSE):
    return nbformat.read(folder / place, as_version=4).cells


def test_the_story_is_the_first_page_and_leads_to_all_others(run, tmp_path):
    site.write_source(run, tmp_path / "source", "")
    first = cells(tmp_path / "source", site.STORY)[0].source
    contents = first.partition("```{toctree}")[2]
    listed = re.findall(r"(?m)^(?:.* <)?([\w/.]+?)>?$", contents)
    series = [f"{name}.ipynb" for name in paths.SERIES]
    pages = [f"/{place}" for place in (site.PLAYGROUND, *site.PAGES)]
    assert listed == ["self", *series, "template.ipynb", *pages]
    assert "notebooks/final_notebook.html" in (tmp_path / "source/extra/index.html").read_text()


def test_notebooks_of_ones_own_are_left_out(tmp_path, monkeypatch):
    shown = site.notebooks()
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    for name in ("99_try", "03_dense-Copy1", "my_idea"):
        (tmp_path / f"{name}.ipynb").touch()
    assert site.notebooks() == shown


def test_a_notebook_that_was_not_executed_is_shown_and_says_so(run, tmp_path):
    missing = site.write_source(run, tmp_path / "source", "")
    assert missing == [place for place in site.notebooks() if place != DENSE]
    assert site.NOT_EXECUTED in cells(tmp_path / "source", "notebooks/01_eda.ipynb")[0].source
    assert "```{note}" not in cells(tmp_path / "source")[0].source


def test_outputs_of_another_version_are_said_to_be_such(run, tmp_path):
    notebook = nbformat.read(run / DENSE, as_version=4)
    code = next(cell for cell in reversed(notebook.cells) if cell.cell_type == "code")
    code.source = "print('another end')"
    nbformat.write(notebook, run / DENSE)
    site.write_source(run, tmp_path / "source", "")
    assert site.OLDER in cells(tmp_path / "source")[0].source


def test_text_that_was_edited_since_is_shown_with_the_outputs(run, tmp_path):
    notebook = nbformat.read(run / DENSE, as_version=4)
    last = next(cell for cell in reversed(notebook.cells) if cell.cell_type == "markdown")
    now, last.source = last.source, "An older end."
    nbformat.write(notebook, run / DENSE)
    site.write_source(run, tmp_path / "source", "")
    shown = cells(tmp_path / "source")
    assert site.OLDER not in shown[0].source
    assert any(cell.get("outputs") for cell in shown)
    assert "An older end." not in [cell.source for cell in shown]
    assert now[:40] in "\n".join(cell.source for cell in shown)


def test_what_papermill_adds_is_no_other_version(run, tmp_path):
    notebook = nbformat.read(run / DENSE, as_version=4)
    tags = {"tags": ["injected-parameters"]}
    notebook.cells.insert(2, nbformat.v4.new_code_cell("SEED = 1", metadata=tags))
    nbformat.write(notebook, run / DENSE)
    site.write_source(run, tmp_path / "source", "")
    assert site.OLDER not in cells(tmp_path / "source")[0].source


def test_pictures_say_what_they_show(run, tmp_path):
    site.write_source(run, tmp_path / "source", "")
    said = [
        cell.metadata["mystnb"] for cell in cells(tmp_path / "source") if "mystnb" in cell.metadata
    ]
    assert said == [{"image": {"alt": "a dense figure"}}]


def test_a_picture_without_a_description_has_its_heading():
    picture = nbformat.v4.new_output("display_data", {"image/png": FIGURE})
    code = nbformat.v4.new_code_cell(outputs=[picture])
    texts = [nbformat.v4.new_markdown_cell(text) for text in ("# One\n\n## `Two`", "no heading")]
    site.describe_images(nbformat.v4.new_notebook(cells=[*texts, code]))
    assert code.metadata["mystnb"]["image"]["alt"] == "Figure: Two"


def test_code_is_folded_where_it_only_sets_up(run, tmp_path):
    def folded(place):
        code = [cell for cell in cells(tmp_path / "source", place) if cell.cell_type == "code"]
        return ["hide-input" in cell.metadata.get("tags", []) for cell in code]

    site.write_source(run, tmp_path / "source", "")
    assert folded(DENSE)[:2] == [True, True]
    assert not any(folded(DENSE)[2:])
    assert all(folded(site.STORY))
    story = nbformat.read(tmp_path / "source" / site.STORY, as_version=4)
    nbformat.validate(story)  # a tag stands once
    code = [cell for cell in story.cells if cell.cell_type == "code"]
    left_out = ["remove-cell" in cell.metadata.tags for cell in code]
    assert left_out == [not cell.outputs for cell in code]
    assert any(left_out) and not all(left_out)


@pytest.mark.parametrize(
    ("link", "page", "alone"),
    [
        ("[next](04_cnn_iterations.ipynb#One)", "[next](04_cnn_iterations.ipynb#one)", None),
        ("[all](../README.md)", "[all](../README.md)", None),
        ("[card](../models)", "[card](../models/README.md)", None),
        ("[paper](https://doi.org/10.1/X#Y)", "[paper](https://doi.org/10.1/X#Y)", None),
        ("[all](13_final_model.ipynb#All,-in-5?)", "[all](13_final_model.ipynb#all-in-5)", None),
        ("[below](#Does-it-hold?)", "[below](#does-it-hold)", None),
        (
            "[slides](../presentation/slides.html)",
            '<a href="../presentation/slides.html">slides</a>',
            None,
        ),
        (
            "[`helpers/`](../helpers/)",
            "[`helpers/`](https://github.com/me/it/blob/main/helpers)",
            "`helpers/`",
        ),
    ],
)
def test_links_lead_to_pages_or_to_the_repository(link, page, alone, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "me/it")
    assert site.with_links(link, DENSE, tmp_path) == page
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert site.with_links(link, DENSE, tmp_path) == (alone or page)


def test_a_picture_in_a_page_comes_along(tmp_path):
    link = "![all](images/comparison.png)"
    assert site.with_links(link, "README.md", tmp_path) == link
    assert (tmp_path / "images/comparison.png").exists()


def test_without_sphinx_one_line_says_how_to_get_it(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sphinx.cmd.build", None)
    with pytest.raises(UserError, match="make site"):
        site.build(run)
    assert site.main([str(run)]) == 1
    assert "make site" in capsys.readouterr().err


class Page(HTMLParser):
    """Links, and the alternative texts of pictures, of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.alts = set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links |= {given[name] for name in ("href", "src") if given.get(name)}
        if tag == "img":
            self.alts.append(given.get("alt"))


@pytest.mark.slow
def test_a_website_has_no_broken_link_and_no_picture_without_words(run, monkeypatch, capfd):
    some = [site.STORY, *(f"notebooks/{name}.ipynb" for name in ("02_baseline", "03_dense"))]
    monkeypatch.setattr(site, "notebooks", lambda: some)
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    index = site.build(run)
    told = capfd.readouterr()
    assert "WARNING" not in told.err
    assert "shown as they are stored: final_notebook, 02_baseline" in told.out
    pages = {path: Page(path) for path in index.parent.rglob("*.html")}
    assert index.parent / "notebooks/03_dense.html" in pages
    broken = [
        (path.name, link)
        for path, page in pages.items()
        for link in page.links
        if not re.match(r"https?:|data:|#|mailto:", link)
        and not (path.parent / re.sub("[?#].*", "", link)).exists()
    ]
    assert broken == []
    assert "a dense figure" in pages[index.parent / "notebooks/03_dense.html"].alts
    assert [path.name for path, page in pages.items() if not all(page.alts)] == []
