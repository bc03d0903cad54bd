"""The series as a website: the executed notebooks of a run, the project's pages, the slides.

`python -m helpers.publishing.site [RUN]`, or `make site`, writes `RUN/site/` through Sphinx, whose
settings stand in `website/`. A notebook that the run has not executed is shown as it is stored, and
its page says so.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path, PurePosixPath

import nbformat

from helpers import paths, results
from helpers.publishing import interactive
from helpers.utils import UserError, command_line

STORY = "notebooks/final_notebook.ipynb"
PAGES = {  # by their place in the project, what the website calls them
    "README.md": "About",
    "models/README.md": "Model card",
    "data/README.md": "The data",
    "CHECKLIST.md": "Reporting checklist",
    "tests/README.md": "What was tried",
    "CONTRIBUTING.md": "How to change this",
}
SLIDES = ("presentation/slides.html", "presentation/slides.pdf")
PLAYGROUND, ALONE = "threshold", "threshold_alone.html"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
SETTINGS = {"parameters", "injected-parameters"}  # tags of cells
NOT_EXECUTED = "This notebook has not been executed in the run that is shown, so it has no outputs."
OLDER = "What is shown here was executed from another version of this notebook."
ADDED = "injected-parameters"  # the tag of the cell that papermill adds
SYNTHETIC = "The notebooks ran on synthetic radiographs: they say nothing about patients."
REDIRECT = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Pediatric pneumonia</title>'
    '<meta http-equiv="refresh" content="0; url={0}"><a href="{0}">The whole story</a></html>\n'
)


def notebooks() -> list[str]:
    """The notebooks as paths in the project: the story first, then the series, then the template.

    A notebook that is none of these, such as an experiment of one's own, is left out.
    """
    return [STORY, *(f"notebooks/{name}.ipynb" for name in (*paths.SERIES, "template"))]


def write_source(run: Path, folder: Path, charts: str) -> list[str]:
    """Write what Sphinx reads: pages at the places that they have in the project, and settings.

    Args:
        run: folder of the run whose executed notebooks are shown.
        folder: to write to.
        charts: the chart library of the interactive page, a script.

    Returns:
        The notebooks that the run has not executed.

    Raises:
        UserError: no final model has predicted the official test images.
    """
    shutil.copytree(paths.PROJECT / "website", folder, dirs_exist_ok=True)
    for place in (*notebooks(), *PAGES, PLAYGROUND):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
    missing = [place for place in notebooks() if not _write_notebook(run, place, folder)]
    for place in PAGES:
        text = (paths.PROJECT / place).read_text()
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # the facts of a model card
        (folder / place).write_text(with_links(text, place, folder))
    body = interactive.fragment(interactive.facts(), charts)
    link = f'<p>This page <a href="{ALONE}">as one file</a>, which needs no network.</p>'
    raw = f"```{{raw}} html\n{body}\n{link}\n```\n"
    (folder / f"{PLAYGROUND}.md").write_text(f"# {interactive.TITLE}\n\n{raw}")
    extra = folder / "extra"
    for place in SLIDES:
        _copy(place, extra)
    (extra / ALONE).write_text(interactive.page(body))
    (extra / "index.html").write_text(REDIRECT.format(STORY.replace(".ipynb", ".html")))
    return missing


def _write_notebook(run: Path, place: str, folder: Path) -> bool:
    """Write a notebook for Sphinx; says whether the run has executed it."""
    stored = nbformat.read(paths.PROJECT / place, as_version=4)
    path = run / "notebooks" / Path(place).name
    notebook = nbformat.read(path, as_version=4) if path.exists() else stored
    own = [cell for cell in notebook.cells if ADDED not in cell.metadata.get("tags", [])]
    if _code(own) == _code(stored.cells):  # its text may have been edited since
        for cell, now in zip(own, stored.cells, strict=True):
            cell.source = now.source
    first, *rest = notebook.cells
    if not any(cell.get("outputs") for cell in rest):
        first.source += f"\n\n```{{note}}\n{NOT_EXECUTED}\n```"
    elif _code(own) != _code(stored.cells):
        first.source += f"\n\n```{{note}}\n{OLDER}\n```"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, place, folder)
        for output in cell.get("outputs", []):
            if text := output.get("data", {}).get("text/markdown"):
                output.data["text/markdown"] = with_links(text, place, folder)
    if place == STORY:
        first.source += "\n\n" + _contents()
    describe_images(notebook)
    fold_code(notebook, everything=place == STORY)
    nbformat.write(notebook, folder / place)
    return path.exists()


def _code(cells: list) -> list[str]:
    """The code of cells, with an empty text for each cell that has none."""
    return [cell.source if cell.cell_type == "code" else "" for cell in cells]


def _contents() -> str:
    """The table of contents, for the first page."""
    series = [place.removeprefix("notebooks/") for place in notebooks()[1:]]
    parts = {
        "The series": ["The whole story <self>", *series],
        "Try it": [f"/{PLAYGROUND}"],
        "The project": [f"{name} </{place}>" for place, name in PAGES.items()],
    }
    return "\n\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *lines, "```"])
        for caption, lines in parts.items()
    )


def with_links(text: str, place: str, folder: Path) -> str:
    """Markdown whose links lead to pages of the website, or into the project's repository.

    Without a repository (the variable GITHUB_REPOSITORY, `owner/name`) only the text of such a link
    is left. A picture that is shown is copied.

    Args:
        text: Markdown.
        place: of the page, in the project.
        folder: that pictures are copied to.
    """
    repository = os.environ.get("GITHUB_REPOSITORY")

    def led(match):
        mark, words, target = match.groups()
        path, hash_mark, anchor = target.partition("#")
        if "://" in target:
            return match[0]
        tail = hash_mark + re.sub(r"[^\w-]", "", anchor.lower())  # as MyST names headings
        if not path:
            return f"{mark}[{words}]({tail})"
        named = PurePosixPath(os.path.normpath(PurePosixPath(place).parent / path)).as_posix()
        if mark:
            _copy(named, folder)
            return match[0]
        if f"{named}/README.md" in PAGES:
            return f"[{words}]({path.rstrip('/')}/README.md)"
        if named in SLIDES:
            return f'<a href="{path}">{words}</a>'
        if named in (*PAGES, *notebooks()):
            return f"[{words}]({path}{tail})"
        if repository:
            return f"[{words}](https://github.com/{repository}/blob/main/{named}{tail})"
        return words

    return LINK.sub(led, text)


def _copy(place: str, folder: Path) -> None:
    target = folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(paths.PROJECT / place, target)


def describe_images(notebook) -> None:
    """Let every cell say to MyST-NB what its pictures show: as the figures do, else its heading."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"(?m)^#+ (.*)$", cell.source)][-1]
            continue
        pictures = [out for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
        said = [out.metadata.get("image/png", {}).get("alt") for out in pictures]
        if pictures:
            named = f"Figure: {heading}".replace("`", "")
            alt = "; ".join(text for text in said if text) or named
            cell.metadata["mystnb"] = {"image": {"alt": alt}}


def fold_code(notebook, everything: bool) -> None:
    """Fold away the cells of parameters and of imports, or all code, behind a line to open it.

    Where all code is folded, cells that show nothing are left out.
    """
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        about = SETTINGS & {*tags} or "parameters.check(" in cell.source
        if cell.cell_type == "code" and (everything or about):
            silent = ["remove-cell"] if everything and not cell.get("outputs") else []
            cell.metadata["tags"] = list(dict.fromkeys([*tags, "hide-input", *silent]))


def build(run: Path) -> Path:
    """Make the website of a run, and say which of its notebooks have not been executed.

    Returns:
        Its first page.

    Raises:
        UserError: Sphinx is not installed or fails, or no final model has test predictions.
    """
    try:
        from sphinx.cmd.build import build_main
    except ImportError as error:
        raise UserError("the website needs Sphinx: `make site` installs it") from error
    target = run / "site"
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        missing = write_source(run, source, interactive.library())
        options = ["-q", "-b", "html", "-d", f"{scratch}/doctrees"]
        if results.story(str(run)).dataset == "synthetic":
            options += ["-D", f"html_theme_options.announcement={SYNTHETIC}"]
        shutil.rmtree(target, ignore_errors=True)
        if build_main([*options, str(source), str(target)]):
            raise UserError("Sphinx could not make the website: see its message above")
    if missing:
        names = ", ".join(Path(place).stem for place in missing)
        print(f"not executed in {run}, shown as they are stored: {names}")
    return target / "index.html"


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Make the website of the run that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m helpers.publishing.site", description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=paths.RUNS / "reference-kermany")
    print(f"wrote {build(parser.parse_args(arguments).run)}")


if __name__ == "__main__":
    sys.exit(main())
