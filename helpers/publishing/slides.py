"""Slides from `presentation/slides.md`, the published tables and the saved figures.

`python -m helpers.publishing.slides`, or `make slides`, writes `slides.html`, which needs no other
file, and `slides.pdf` through a Chromium or Chrome. A slide is a piece of Markdown behind a line
`---`; its first line is the title. `{AUC[cnn_4]}` is a figure of an experiment on the official test
images and `{literature}` a table (see `fields`); a line that names what is not in the results is
left out, and the slide says so.
"""

import base64
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from nbconvert.filters import markdown2html
from PIL import Image

from helpers import paths, results
from helpers.data import LABELS
from helpers.utils import UserError, command_line, write_atomically

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FIGURE = re.compile(r"^!\[(.*)\]\((\S+)\)$", re.MULTILINE)
LINK = re.compile(r"\[(.*?)\]\(\S+\)")
WIDE, SHORT = 2.2, 250  # an aspect ratio, and a length of text
NOT_YET = "*Part of this page is not in these results yet.*"


def fields(tables: Path | None = None) -> dict:
    """What `slides.md` may name, of a folder of results (None: the published ones).

    AUC, accuracy, recall, specificity: by experiment, at the threshold 0.5, in percent with their
    intervals; balanced_accuracy and so on: at the balanced operating point. v1_accuracy and so on:
    of the first final model, at its own threshold. three_accuracy: of three classes. literature,
    replication: tables. images, normal, bacteria, virus: numbers of images.
    """
    measured = results.official_metrics(tables)
    found = dict(results.comparison(measured).droplevel("protocol").items())
    if (measured.threshold_rule == "balanced").any():
        balanced = results.comparison(measured, rule="balanced").droplevel("protocol").dropna()
        found |= {f"balanced_{name}": column for name, column in balanced.items()}
    first = measured[(measured.experiment == "final_v1")]
    if len(first):
        row = results.comparison(first, rule="selected").iloc[0]
        found |= {f"v1_{name}": row[name] for name in results.HEADLINE[1:]}
    if (measured.subset == "binary").any():
        three = results.three_class_comparison(measured).droplevel("protocol")
        found["three_accuracy"] = three.accuracy
    counts = results.manifest(tables).label.value_counts()
    found |= {label: f"{counts[label]:,}" for label in LABELS} | {"images": f"{counts.sum():,}"}
    literature = results.literature_table(tables).drop(columns=["protocol", "comparable"])
    literature.index = literature.index.str.replace(LINK, r"\1", regex=True)
    claims = results.replication(tables).drop(columns=["run with", "why"])
    texts = {"literature": literature, "replication": claims}
    return found | {name: results.markdown(table) for name, table in texts.items()}


def page(source: str = "", tables: Path | None = None, images: Path | None = None) -> str:
    """The slides as one HTML file.

    Args:
        source: Markdown; `presentation/slides.md` if empty.
        tables: folder of the results; None for the published ones.
        images: folder of the figures; None likewise.
    """
    source = source or (paths.PRESENTATION / "slides.md").read_text()
    known, images = fields(tables), images or paths.IMAGES
    slides = [_slide(text.strip(), known, images) for text in re.split(r"(?m)^---$", source)]
    style = (paths.PRESENTATION / "slides.css").read_text()
    title = source.strip().splitlines()[0].lstrip("# ")
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
    head += f"<title>{title}</title>\n<style>\n{style}</style>"
    body = "\n".join(slides)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _slide(text: str, known: dict, images: Path) -> str:
    title, _, rest = text.partition("\n")
    title = html.escape(title.lstrip("# ").format_map(known))
    named = {images / name: alt for alt, name in FIGURE.findall(rest)}
    shown = {path: alt for path, alt in named.items() if path.exists()}
    lines = [_filled(line, known) for line in FIGURE.sub("", rest).splitlines()]
    if None in lines or len(shown) < len(named):
        lines += ["", NOT_YET]
    body = markdown2html("\n".join(line for line in lines if line is not None).strip())
    figures = "".join(_figure(path, alt) for path, alt in shown.items())
    return (
        f'<section class="{_layout(list(shown), body)}">\n<h2>{title}</h2>\n'
        f'<div class="text">{body}</div>\n<div class="figures">{figures}</div>\n</section>'
    )


def _filled(line: str, known: dict) -> str | None:
    """The line with its fields filled in, or None where the results lack one."""
    try:
        return line.format_map(known)
    except KeyError:
        return None


def _layout(figures: list[Path], body: str) -> str:
    """Where the figures stand: below the text if they are wide, several, or the text is short."""
    if not figures:
        return "plain"
    width, height = Image.open(figures[0]).size
    below = len(figures) > 1 or width / height > WIDE or len(body) < SHORT
    return "below" if below else "beside"


def _figure(path: Path, alt: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def write(folder: Path | None = None) -> None:
    """Write the HTML and, where it changed and a browser is there, the PDF; says what it did.

    Args:
        folder: None for `presentation/`.
    """
    folder = folder or paths.PRESENTATION
    text, target, pdf = page(), folder / "slides.html", folder / "slides.pdf"
    if pdf.exists() and target.exists() and target.read_text() == text:
        return
    write_atomically(target, lambda path: path.write_text(text))
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        pdf.unlink(missing_ok=True)
        print(f"{pdf.name} not made: install Chromium, or print {target} from a browser to a PDF")
        return
    write_atomically(pdf, lambda path: _print(browser, target, path))
    print(f"wrote {target} and {pdf}")


def _print(browser: str, source: Path, target: Path) -> None:
    options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={target}"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses to run for root otherwise
    done = subprocess.run([browser, *options, source.as_uri()], capture_output=True, text=True)
    if not target.exists():
        raise UserError(f"{browser} made no PDF of {source}: {done.stderr.strip()[-200:]}")


if __name__ == "__main__":
    sys.exit(command_line(write)())
