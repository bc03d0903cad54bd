"""What any module may need: errors that a user can act on, safe writing, digests, quiet logs."""

import gc
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from uuid import uuid4


class UserError(Exception):
    """Something the user can mend: the message says what, where and what to do, in one line.

    What cannot be printed, such as a newline in a file name, stands there as Python writes it.
    """

    def __init__(self, message: str):
        super().__init__(shown(message))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def command_line(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorate the function of a command: it returns the exit code, and errors come in one line.

    Returns:
        The function; its code is 0 or what `main` returns, 1 after a `UserError`, 130 after Ctrl-C.
    """

    @wraps(main)
    def ended(*arguments, **named) -> int:
        try:
            return main(*arguments, **named) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130

    return ended


def shown(name: object) -> str:
    """A name on one line: what cannot be printed in it, such as a new line, is escaped."""
    return "".join(x if x.isprintable() else ascii(x)[1:-1] for x in str(name))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path` and rename, so no half-written file stays.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    # Machines that share a disk may repeat a process's number; savers look at the suffix
    aside = path.with_name(f".{os.getpid()}-{uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        os.replace(aside, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # such as a parent that is no folder: already reported
            aside.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> UserError:
    """What to raise where a file or a folder cannot be written."""
    return UserError(
        f"cannot write {path}: {error.strerror or error}. "
        "Free some disk space or make the folder writable, then run again"
    )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process is inside this with the same folder: notebooks may run side by side.

    Raises:
        UserError: the folder cannot be written.
    """
    from filelock import FileLock  # predicting is installed without it

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def short_digest(*parts) -> str:
    """16 hex digits that stand for values with a faithful repr: texts, numbers, tuples of them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Hide what compiled libraries write to the standard error stream, past Python.

    TensorFlow logs its start before its own log level counts. Python's exceptions still come.
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def keras_import() -> Iterator[None]:
    """While Keras is imported: quietly, and in less time.

    Its backend is TensorFlow unless KERAS_BACKEND says otherwise. TensorFlow imports JAX too where
    it is installed, for a converter that nobody here calls: JAX passes for missing meanwhile. And
    no garbage is sought among what is there to stay.
    """
    hidden = {"jax"} - {os.environ.setdefault("KERAS_BACKEND", "tensorflow"), *sys.modules}
    sys.modules |= dict.fromkeys(hidden)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with native_messages_hidden():
            yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if collecting:
            gc.enable()
