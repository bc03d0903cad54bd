"""Killed, stopped, dying: nothing half stays for whole, no process stays, a name is told."""

import random
import sys
import time

import nbformat
import pytest

pytestmark = pytest.mark.notebooks
SECONDS = 120  # at most, also on a busy machine
WRITER = """
import sys
from pathlib import Path
from helpers.utils import write_atomically
Path(sys.argv[2]).touch()
for number in range(10**9):
    write_atomically(Path(sys.argv[1]), lambda path: path.write_text(f"{number % 10}" * 10**7))
"""
CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({begun!r}, "w").close()
time.sleep(600)
"""

SIDE_BY_SIDE = """
import os, sys, time
from helpers import training

def work(begun):
    open(begun, "w").close()
    time.sleep(600)

training.set_up(0, threads=1)
training.call_all(work, [(f"{sys.argv[1]}-{number}",) for number in range(2)])
"""


@pytest.fixture
def notebook(tmp_path, watch):
    """Starts a notebook of one cell; gives the command."""

    def start(source):
        cells = [nbformat.v4.new_code_cell("X = 1"), nbformat.v4.new_code_cell(source)]
        cells[0].metadata.tags = ["parameters"]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "work.ipynb")
        names = [str(tmp_path / name) for name in ("work.ipynb", "copy.ipynb")]
        return watch(sys.executable, "-m", "helpers.execute", *names)

    return start


def wait_for(path, made):
    end = time.monotonic() + SECONDS
    while not path.exists():
        assert made.process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path, watch):
    target, begun = tmp_path / "target", tmp_path / "begun"
    for _ in range(5):
        begun.unlink(missing_ok=True)
        made = watch(sys.executable, "-c", WRITER, str(target), str(begun))
        wait_for(begun, made)
        wait_for(target, made)
        time.sleep(random.uniform(0, 0.3))
        made.kill_group()
        text = target.read_text()
        assert len(text) == 10**7 and len(set(text)) == 1


@pytest.mark.parametrize("death", ["os._exit(1)", "os.kill(os.getpid(), 9)"])
def test_a_kernel_that_dies_ends_the_run_with_its_name(notebook, tmp_path, death):
    made = notebook(f"import os; {death}")
    assert made.returncode(SECONDS) == 1
    lines = (tmp_path / "log").read_text().strip().splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    assert len(told) == 1 and "the kernel of work.ipynb died" in told[0]
    assert "Traceback" not in lines
    assert made.gone_after(SECONDS)


def test_ctrl_c_leaves_no_process_and_no_temporary_file(notebook, tmp_path):
    begun = tmp_path / "begun"
    made = notebook(CHILD.format(begun=str(begun)))
    wait_for(begun, made)
    assert len(made.alive()) >= 3
    made.press_ctrl_c()
    assert made.returncode(SECONDS) == 130
    assert made.gone_after(SECONDS)
    assert not list((tmp_path / "temporary").iterdir())
    assert "work was stopped" in (tmp_path / "log").read_text()


def test_ctrl_c_while_a_kernel_starts_leaves_no_temporary_file(notebook, tmp_path):
    temporary = tmp_path / "temporary"
    made = notebook("import time; time.sleep(600)")
    end = time.monotonic() + SECONDS
    while not [path for path in temporary.rglob("*.json") if path.stat().st_size]:
        assert made.process.poll() is None and time.monotonic() < end
        time.sleep(0.001)
    made.press_ctrl_c()
    assert made.gone_after(SECONDS)
    assert not list(temporary.iterdir())


def test_a_kernel_leaves_when_what_started_it_is_killed(notebook, tmp_path):
    begun = tmp_path / "begun"
    made = notebook(f"import time; open({str(begun)!r}, 'w').close(); time.sleep(600)")
    wait_for(begun, made)
    made.kill_group()
    assert made.gone_after(SECONDS)


def test_fits_side_by_side_end_with_whoever_asked_for_them(tmp_path, watch):
    begun = tmp_path / "begun"
    made = watch(sys.executable, "-c", SIDE_BY_SIDE, str(begun), LOKY_MAX_CPU_COUNT="2")
    for number in range(2):
        wait_for(tmp_path / f"begun-{number}", made)
    made.process.kill()
    assert made.gone_after(20)
