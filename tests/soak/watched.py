"""A command with everything that it starts: looked at, interrupted, killed."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil

MARK = "WATCHED_BY_TESTS"  # a variable that children inherit, also those in sessions of their own


heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)


class Watched:
    """A command in a process group of its own; its output goes into the file `log`.

    Args:
        command: and its arguments.
        log: stdout and stderr are appended to it.
        folder: where it runs.
        variables: of its environment, beside those of this process.
    """

    def __init__(self, command: Sequence[str], log: Path, folder: Path, **variables: str):
        self.mark, self.started = uuid.uuid4().hex, time.time()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | variables | {MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=heard,  # what runs in the background of a shell is deaf to Ctrl-C
            )

    def alive(self) -> list[psutil.Process]:
        """It and all that it started, wherever they are now."""
        self.process.poll()  # a finished child stays until it is asked for
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(MARK) == self.mark
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:  # another user's, or gone
                continue
        return found

    def returncode(self, seconds: float) -> int | None:
        """Wait for its end; None where it has not come after so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def press_ctrl_c(self) -> None:
        """Interrupt its process group, as a terminal does, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)

    def kill_group(self) -> None:
        """Kill its process group; kernels have sessions of their own."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_all(self) -> None:
        """Kill all of it at once, as a machine does that goes down."""
        while found := self.alive():
            for process in found:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            self.process.poll()

    def gone_after(self, seconds: float) -> bool:
        """Whether nothing of it is left after at most so many seconds."""
        end = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True
