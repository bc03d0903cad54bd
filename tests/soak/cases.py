"""The cases of `make soak`: each disturbs something many times, and counts what was lost."""

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import trustme

from helpers import data
from helpers.paths import PROJECT
from tests import builders
from tests.soak.watched import Watched
from tests.tried import Outcome

PATIENTS = 160  # of the phantoms that are read, as `make run` draws them
SECONDS = (0, 20)  # from where a cell is at work until the run is killed or stopped
IDLE = ("starting", "importing", "between cells")  # what takes most of the time and says the least
SMALL = "NOTEBOOK=03_dense"  # reads, trains and saves
LINGER = 30  # seconds that what a killed run leaves may take to go
EXPERIMENTS = ("most_frequent", "dense", "cnn_1", "final")  # published again and again
RUN = "smoke-synthetic"


@dataclass(frozen=True)
class Setting:
    """What a case is given.

    Attributes:
        scratch: an empty folder to work in.
        times: how often to disturb.
        random: where random moments come from.
        undisturbed: the folder of a run of the same notebooks, one at a time; None to make one.
        notebooks: those that are run, with what they need; empty for all.
    """

    scratch: Path
    times: int
    random: random.Random
    undisturbed: Path | None = None
    notebooks: str = ""

    def path(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder of results or figures, less what differs from run to run.

    A killed writer leaves a hidden file, which nothing reads: `.<process>-<8 digits>-<name>`.
    """
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    if "experiments.csv" in found:
        rows = pd.read_csv(folder / "experiments.csv", keep_default_na=False)
        rows = rows.drop(columns=["train_seconds", "code_version", "digest"])  # of both
        found["experiments.csv"] = rows.to_csv(index=False).encode()
    return found


def differing(folder: Path, other: Path, kind: str = "") -> list[str]:
    """Names of the files that are not the same in both folders, of those that begin with `kind`."""
    one, two = contents(folder), contents(other)
    return sorted(
        name for name in one.keys() | two.keys() if one.get(name) != two.get(name)
        and name.startswith(kind)
    )  # fmt: skip


def run(setting: Setting, name: str, *options: str) -> Watched:
    """`make run` on phantoms, into a folder of its own below the scratch folder."""
    phantoms = data.synthetic.make(setting.scratch / "phantoms" / "chest_xray", PATIENTS)
    place = setting.path(name)
    return Watched(
        ["make", "run", "PARAMETERS=smoke", *options],
        log=place / "log",
        folder=PROJECT,
        CHEST_XRAY_DIR=str(phantoms),
        CHEST_XRAY_RUNS=str(place / "runs"),
        CHEST_XRAY_CACHE=str(place / "cache"),
        TMPDIR=str(setting.path(f"{name}-temporary")),
    )


def finished(setting: Setting, name: str, *options: str) -> Path:
    """Run until the end; gives the folder of the run."""
    made = run(setting, name, *options)
    if made.returncode(seconds=7200) != 0:
        made.kill_all()
        raise RuntimeError((setting.scratch / name / "log").read_text()[-4000:])
    return setting.scratch / name / "runs" / RUN


def at_a_moment(made: Watched, folder: Path, setting: Setting) -> int | None:
    """Wait until something is read, trained or saved, and some seconds; every fifth time less.

    Returns:
        The exit code of a run that has come to its end before.
    """
    for _ in range(setting.random.choice([0, 600, 600, 600, 600])):
        if (code := made.returncode(seconds=1)) is not None or doing(made, folder) not in IDLE:
            break
    else:
        code = None
    return code if code is not None else made.returncode(setting.random.uniform(*SECONDS))


def doing(made: Watched, folder: Path) -> str:
    """What a run is at, from the cell that the notebook is in which was written last."""
    copies = [path for path in folder.glob("notebooks/*.ipynb") if mtime(path) > made.started]
    if not copies:
        return "starting"
    try:
        cells = json.loads(max(copies, key=mtime).read_text())["cells"]
    except ValueError:
        return "between cells"  # the copy is being written
    for cell in cells:
        if cell["metadata"].get("papermill", {}).get("status") == "running":
            told = (kind for kind, words in PHASES.items() if re.search(words, cell_text(cell)))
            return next(told, "showing")
    return "between cells"


def mtime(path: Path) -> float:
    return path.stat().st_mtime


def cell_text(cell: dict) -> str:
    return "".join(cell["source"])


KINDS = ("results", "figures")
PHASES = {
    "importing": r"(?m)^import |^from ",
    "publishing the model": r"export\(",
    "saving": r"run\.(evaluate|save)|write_selection|save_candidates|plotting\.save",
    "training": r"fit|train|search\(",
    "reading": r"data\.(index|load)|recipe\.load",
}


def killed(setting: Setting) -> list[Outcome]:
    """`make run JOBS=2` of all notebooks is killed again and again, and goes on each time.

    Every other time only its process group is killed, and the kernels have to notice. No prediction
    table that is there after a kill, and nothing that is there at the end, may differ from what an
    undisturbed run leaves that makes one notebook after the other.
    """
    folder = setting.path("killed") / "runs" / RUN
    asked = f"NOTEBOOK={setting.notebooks}"
    kills = lost = 0
    seen, moments = set(), []
    while kills < setting.times:
        made = run(setting, "killed", "JOBS=2", asked)
        code = at_a_moment(made, folder, setting)
        if code == 0:  # all is done: begin anew
            seen |= digests(folder)
            shutil.rmtree(setting.scratch / "killed")
            continue
        moments.append(doing(made, folder))
        (made.kill_group, made.kill_all)[kills % 2]()
        left = not made.gone_after(LINGER)
        made.kill_all()
        there = digests(folder)
        seen |= there
        kills += 1
        lost += left or code is not None
        told = f"{len(there)} tables, processes left {left}, ended by itself {code}"
        print(f"kill {kills} while {moments[-1]}: {told}", flush=True)
    finished(setting, "killed", "JOBS=2", asked)
    seen |= digests(folder)
    wanted = setting.undisturbed or finished(setting, "undisturbed", "JOBS=1", asked)
    tables = digests(wanted)
    half = seen - tables
    others = sum(len(contents(wanted / kind)) for kind in KINDS) - len(tables)
    different = [name for kind in KINDS for name in differing(folder / kind, wanted / kind)]
    different = [name for name in different if not name.startswith("predictions/")]
    print(f"kills: {pd.Series(moments).value_counts().to_dict()}; different: {half} {different}")
    return [
        Outcome("`make run` killed at random moments", kills, kills - lost, lost),
        Outcome(
            "prediction tables of a killed run, two notebooks at a time, and of an undisturbed one",
            len(tables),
            len(tables & seen),
            len({name for name, _ in half}),
        ),
        Outcome(
            "other files of these runs: metrics, choices, figures",
            others,
            others - len(different),
            len(different),
        ),
    ]


def digests(folder: Path) -> set[tuple[str, str]]:
    """Name and digest of every prediction table of a run."""
    tables = (folder / "results" / "predictions").glob("*/[!.]*.csv")
    return {
        (f"{path.parent.name}/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest())
        for path in tables
    }


def stopped(setting: Setting) -> list[Outcome]:
    """Ctrl-C at random moments of `make run`: no process and no temporary file stays."""
    folder = setting.path("stopped") / "runs" / RUN
    times, pressed, lost = max(3, setting.times // 4), 0, 0
    while pressed < times:
        made = run(setting, "stopped", SMALL)
        code = at_a_moment(made, folder, setting)
        if code:
            raise RuntimeError((setting.scratch / "stopped" / "log").read_text()[-4000:])
        if code == 0:  # all is done: begin anew
            shutil.rmtree(setting.scratch / "stopped")
            continue
        was = doing(made, folder)
        pressed += 1
        made.press_ctrl_c()
        gone = made.gone_after(LINGER)
        names = [path.name for path in setting.path("stopped-temporary").iterdir()]
        names += [path.name for path in (setting.scratch / "stopped").rglob(".[0-9]*-*")]
        print(f"Ctrl-C while {was}: gone {gone}, left {names}", flush=True)
        lost += not gone or bool(names)
        made.kill_all()
    return [Outcome("`make run` stopped with Ctrl-C", times, times - lost, lost)]


def full(setting: Setting) -> list[Outcome]:
    """`make run` on disks that are too small: an error in words, and the end once there is room."""
    asked = SMALL
    wanted = finished(setting, "undisturbed", asked)
    needed = sum(path.stat().st_size for path in wanted.parent.rglob("*") if path.is_file())
    place = setting.path("full") / "runs"
    place.mkdir()
    shares = (0.02, 0.2, 0.5, 0.8)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "soak", place], check=True)
    noticed = 0
    log = setting.scratch / "full" / "log"
    try:
        for share in shares:
            size = f"remount,size={int(share * needed) // 1024}k"
            subprocess.run(["mount", "-o", size, place], check=True)
            start = log.stat().st_size if log.exists() else 0
            made = run(setting, "full", asked)
            code = made.returncode(seconds=3600)
            made.kill_all()
            told = log.read_text(errors="replace")[start:]
            words = re.search(r"(?i)no space left on device|errno 28", told)
            print(f"full at {share}: exit {code}, {'told' if words else told[-3000:]}", flush=True)
            noticed += bool(code and words)
        subprocess.run(["mount", "-o", "remount,size=80%", place], check=True)
        different = differing(finished(setting, "full", asked) / "results", wanted / "results")
        print(f"different after all: {different}")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
    return [
        Outcome(
            "`make run` on a full disk",
            len(shares),
            len(shares) - bool(different),
            len(different),
            noticed,
        )
    ]


def interrupted(
    setting: Setting, name: str, program: str, folder: Path, compare: Callable[[], list[str]]
) -> list[Outcome]:
    """A short program that fills a folder: killed at random moments, then run to its end."""
    command = [sys.executable, "-c", program]
    log = setting.scratch / "log"

    def watched():
        return Watched(command, log, PROJECT)

    start = time.monotonic()
    if watched().returncode(seconds=900) != 0:
        raise RuntimeError(log.read_text()[-3000:])
    whole, kills, lost = time.monotonic() - start, 0, 0
    while kills < setting.times:
        shutil.rmtree(folder, ignore_errors=True)
        made, start = watched(), time.monotonic()
        if made.returncode(seconds=setting.random.uniform(0.3, 1) * whole) is not None:
            whole = min(whole, time.monotonic() - start)  # it ended first: that is no kill
            continue
        made.kill_all()
        kills += 1
        code = watched().returncode(seconds=900)
        different = compare() if code == 0 else [log.read_text()[-2000:]]
        if different:
            print(f"{name}: {different}", flush=True)
        lost += bool(different)
    return [Outcome(f"{name} killed at random moments", setting.times, setting.times - lost, lost)]


def drawn(setting: Setting) -> list[Outcome]:
    """The synthetic radiographs, which are drawn where there are no others."""
    folder = setting.scratch / "drawn" / "chest_xray"
    other = data.synthetic.make(setting.scratch / "undisturbed" / "chest_xray", PATIENTS)
    program = f"from helpers import data; data.synthetic.make({str(folder)!r}, {PATIENTS})"
    return interrupted(
        setting, "drawing radiographs", program, folder, partial(differing, folder, other)
    )


def downloaded(setting: Setting) -> list[Outcome]:
    """The download of a zip and its unpacking, from a slow server."""
    phantoms = data.synthetic.make(setting.scratch / "phantoms" / "chest_xray", PATIENTS)
    images = sorted(phantoms.rglob("*.jpeg"))
    served = setting.path("served") / "data.zip"
    with zipfile.ZipFile(served, "w") as archive:
        for path in images:
            archive.write(path, path.relative_to(phantoms.parent))
    expected = {path.relative_to(phantoms).as_posix(): path.read_bytes() for path in images}

    class Slow(SimpleHTTPRequestHandler):
        def copyfile(self, source, outputfile):
            while part := source.read(2**15):
                outputfile.write(part)
                time.sleep(0.01)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=served.parent))
    trusted = setting.scratch / "trusted.pem"
    builders.over_https(server, trustme.CA(), trusted)
    Thread(target=server.serve_forever, daemon=True).start()
    folder = setting.scratch / "data" / "chest_xray"
    asked = {
        "url": f"https://127.0.0.1:{server.server_port}/data.zip",
        "sha256": hashlib.sha256(served.read_bytes()).hexdigest(),
        "size": served.stat().st_size,
    }
    program = (
        f"import os; os.environ['REQUESTS_CA_BUNDLE'] = {str(trusted)!r}\n"
        "from helpers.data.download import download\n"
        f"download({str(folder)!r}, **{asked!r}, pause=0.1)"
    )

    def compare():
        there = contents(folder)
        return sorted(
            name for name in there.keys() | expected if there.get(name) != expected.get(name)
        )

    try:
        return interrupted(setting, "download", program, folder.parent, compare)
    finally:
        server.shutdown()


def published(setting: Setting) -> list[Outcome]:
    """A few published fits and the published model are published again, from a run made of them."""
    project = setting.scratch / "project"
    for name in ("helpers", "results", "models", "data", "images"):
        ignored = shutil.ignore_patterns("cache", "chest_xray*", "__pycache__")
        shutil.copytree(PROJECT / name, project / name, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", project)
    folder = project / "runs" / "reference-kermany"
    shutil.copytree(project / "results", folder / "results")
    shutil.copytree(project / "models", folder / "models")
    shutil.copytree(project / "images", folder / "figures")
    rows = pd.read_csv(folder / "results" / "experiments.csv", keep_default_na=False)
    rows = rows[rows.experiment.isin(EXPERIMENTS) & (rows.protocol == "official")]
    rows.to_csv(folder / "results" / "experiments.csv", index=False)
    for row in rows.to_dict("records"):
        table = folder / "results/predictions" / row["experiment"] / f"official-s{row['seed']}.csv"
        stamp = folder / "fits" / row["settings_hash"] / "predictions.sha256"
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(hashlib.sha256(table.read_bytes()).hexdigest())
    target = project / "results"
    shutil.rmtree(target)
    program = (
        f"import sys; sys.path.insert(0, {str(project)!r})\n"
        "from pathlib import Path\nfrom helpers.publishing.run import publish\n"
        f"publish(Path({str(folder)!r}))"
    )
    if Watched([sys.executable, "-c", program], setting.scratch / "log", project).returncode(900):
        raise RuntimeError((setting.scratch / "log").read_text()[-3000:])
    whole = shutil.copytree(target, setting.scratch / "whole")
    return interrupted(setting, "publishing", program, target, partial(differing, target, whole))


CASES = {case.__name__: case for case in (drawn, downloaded, killed, stopped, published, full)}
