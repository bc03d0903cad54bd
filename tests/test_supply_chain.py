"""What comes from outside is locked and checked; what goes out holds nothing private."""

import re
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from helpers.data import kermany
from helpers.models import BACKBONES
from helpers.paths import PROJECT, SERIES

PRIVATE = {
    "a folder of somebody's": r"(?<![\w.])/(home|Users|root|mnt|work)/\w|[A-Z]:\\Users",
    "a temporary folder": r"(?<![\w.])/(tmp|var/folders)/\w",
    "a mail address": r"\b[\w.+-]+@[\w-]+\.(com|org|net|edu|de|io)\b",
    "a key": r"AKIA[0-9A-Z]{16}|gh[pousr]_\w{30}|hf_\w{30}|sk-\w{30}|BEGIN [A-Z ]*PRIVATE KEY",
    "a password in an address": r"https?://[^/\s:@]+:[^/\s@]+@",
}
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
ALLOWED = {"contents": "read", "pages": "write", "id-token": "write"}  # the last two: the website


def unlocked(lock: dict) -> list[str]:
    """Packages of a uv.lock that come from elsewhere than PyPI, or without a hash."""
    found = []
    for package in lock["package"]:
        if package["source"] == {"editable": "."}:
            continue
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        hashed = files and all(re.match(r"sha256:[0-9a-f]{64}$", x.get("hash", "")) for x in files)
        if package["source"] != {"registry": "https://pypi.org/simple"} or not hashed:
            found.append(package["name"])
    return found


def test_every_dependency_is_locked_with_its_hash():
    lock = tomllib.loads((PROJECT / "uv.lock").read_text())
    assert len(lock["package"]) > 100
    assert unlocked(lock) == []


@pytest.mark.parametrize("change", ["source", "hash", "no file"])
def test_an_unlocked_dependency_is_found(change):
    lock = tomllib.loads((PROJECT / "uv.lock").read_text())
    package = next(x for x in lock["package"] if x["name"] == "numpy")
    if change == "source":
        package["source"] = {"git": "https://github.com/numpy/numpy"}
    elif change == "hash":
        del package["wheels"][0]["hash"]
    else:
        package["wheels"], package["sdist"] = [], None
    assert unlocked(lock) == ["numpy"]


def test_downloads_are_encrypted_and_checked():
    assert kermany.URL.startswith("https://") and len(kermany.SHA256) == 64
    assert all(known.url.startswith("https://") for known in BACKBONES.values())
    for path in (PROJECT / "helpers").rglob("*.py"):
        assert "http://" not in path.read_text().replace("http://127.0.0.1", ""), path


def test_nothing_that_runs_code_is_read_but_our_own_cache():
    """The linter refuses pickle, eval and shells (rules S); it does not know joblib and NumPy."""
    words = re.compile(r"joblib\.load|allow_pickle=True|safe_mode=False|enable_unsafe")
    used = {
        path.relative_to(PROJECT).as_posix(): words.findall(path.read_text())
        for path in (PROJECT / "helpers").rglob("*.py")
        if words.search(path.read_text())
    }
    assert used == {"helpers/training/cache.py": ["joblib.load"]}


def private(text: str) -> list[str]:
    """What a text holds that is nobody else's business."""
    return [name for name, words in PRIVATE.items() if re.search(words, text)]


def texts(path: Path) -> str:
    """Sources and shown texts of a notebook, its metadata too; pictures are left out."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.get("attachments", {}).clear()
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    return "\n".join(nbformat.writes(notebook).split("\\n"))


@pytest.mark.parametrize("name", [*SERIES, "final_notebook", "template"])
def test_notebooks_hold_no_path_name_or_secret(name):
    assert private(texts(PROJECT / "notebooks" / f"{name}.ipynb")) == []


@pytest.mark.parametrize(
    "text",
    [
        "index = read('/home/anna/chest_xray')",
        "C:\\Users\\Anna",
        "written to /tmp/xyz",
        "anna@hospital.org",
        "token = 'ghp_" + "a" * 36 + "'",
        "https://anna:secret@example.org/data.zip",
    ],
)
def test_what_is_private_is_found(text):
    assert private(text)


def risks(workflow: dict) -> list[str]:
    """What a workflow may do and should not, and the actions that can change below it."""
    jobs = workflow["jobs"].values()
    granted = [
        workflow.get("permissions"),
        *(job["permissions"] for job in jobs if "permissions" in job),
    ]
    steps = [step for job in jobs for step in job["steps"]]
    found = [f"permissions {given}" for given in granted if not _is_little(given)]
    found += [
        step["uses"] for step in steps if not PINNED.match(step.get("uses", "a/b@" + "0" * 40))
    ]
    for step in steps:
        kept = step.get("with", {}).get("persist-credentials") is not False
        if step.get("uses", "").startswith("actions/checkout@") and kept:
            found.append("the token stays in the checkout")
        if re.search(r"\$\{\{\s*(github|inputs|env)\.", step.get("run", "")):
            found.append(f"a script made of inputs: {step['run']}")
    on = workflow[True]  # YAML reads `on` as a truth value
    return found + [name for name in ("pull_request_target", "workflow_run") if name in on]


def _is_little(given) -> bool:
    return isinstance(given, dict) and given.items() <= ALLOWED.items()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_do_little_and_their_actions_are_pinned(path):
    assert risks(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("contents: read", "contents: write"),
        ("permissions:\n  contents: read", "env: {}"),
        ("checkout@11bd71901bbe5b1630ceea73d27597364c9af683", "checkout@v4"),
        ("persist-credentials: false", "persist-credentials: true"),
        ("run: make .venv/.complete", "run: echo ${{ github.event.pull_request.title }}"),
        ("pull_request:", "pull_request_target:"),
    ],
)
def test_a_risky_workflow_is_found(old, new):
    text = (PROJECT / ".github" / "workflows" / "test.yml").read_text()
    assert old in text
    assert risks(yaml.safe_load(text.replace(old, new)))
