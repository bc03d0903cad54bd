"""What the pages say in words: their text without tables, code and addresses, and its numbers."""

import re

import nbformat

from helpers import paths
from helpers.publishing import card, readme

PAGES = {
    "README.md": paths.README,
    "models/README.md": paths.MODELS / "README.md",
    "final_notebook.ipynb": paths.NOTEBOOKS / "final_notebook.ipynb",
    "slides.md": paths.PRESENTATION / "slides.md",
}
NOTEBOOKS = [f"{name}.ipynb" for name in (*paths.SERIES, "template")]
PAGES |= {name: paths.NOTEBOOKS / name for name in NOTEBOOKS}
LEFT_OUT = [  # not prose, or no number: in this order
    r"(?s)<!-- .*? -->",
    r"(?s)```.*?```",
    r"\$?\{[^{}\n]*\}",  # computed
    r"\[[^\]\d\n]*(\d\d)\b[^\]\n]*\]\([./\w]*?\1_\w+\.ipynb[^)\s]*\)",  # to notebooks
    r"`[^`\n]*`",
    r"\]\([^)\s]*\)",  # addresses
    r"(?m)^\|.*$",
    r"(?m)^(#+ \d+ |\d+\. )",  # numbers of headings and lists
    r"https?://\S+",
]
NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?![\w])")


def everything(page: str) -> str:
    """All that a page shows, in one line: of a notebook the outputs too."""
    if not page.endswith(".ipynb"):
        return " ".join(PAGES[page].read_text().split())
    texts = []
    for cell in nbformat.read(PAGES[page], as_version=4).cells:
        texts.append(cell.source)
        for output in cell.get("outputs", []):
            texts += [output.get("text", ""), output.get("data", {}).get("text/markdown", "")]
    return " ".join(" ".join(texts).split())


def written(page: str) -> str:
    """What somebody has typed: without what is generated, computed, code, or an address."""
    if page == "models/README.md":
        text = card.BODY
    elif page.endswith(".ipynb"):
        cells = nbformat.read(PAGES[page], as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        text += "\n\n" + "\n".join(_said(cell.source) for cell in cells if cell.cell_type == "code")
    else:
        text = readme.MARKED.sub("", PAGES[page].read_text())
    for pattern in LEFT_OUT:
        text = re.sub(pattern, " ", text)
    return " ".join(text.split())


def _said(source: str) -> str:
    """The texts in a cell of code, their computed parts left out."""
    import ast

    parts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    return "\n".join(parts)


def numbers(page: str) -> list[str]:
    """The numbers in what somebody has typed, each with the words around it."""
    text = written(page)
    return [
        f"{text[: found.start()][-30:]}<{found[0]}>{text[found.end() :][:25]}"
        for found in NUMBER.finditer(text)
    ]
