"""Parameters are checked, files are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from helpers import settings
from helpers.settings import Parameter, UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"EPOCH": 3}, "unknown parameter 'EPOCH'. Known parameters: .*EPOCHS"),
        ({"EPOCHS": "3"}, "EPOCHS must be int .*not '3'"),
        ({"EPOCHS": 3.0}, "EPOCHS must be int"),
        ({"EPOCHS": None}, "EPOCHS must be int"),
        ({"EPOCHS": True}, "EPOCHS must be int"),
        ({"LEARNING_RATE": True}, "LEARNING_RATE must be float"),
        ({"SKIP_UNREADABLE": 1}, "SKIP_UNREADABLE must be bool"),
        ({"EPOCHS": 0}, "EPOCHS must be at least 1"),
        ({"IMAGE_SIZE": 15}, "IMAGE_SIZE must be at least 16"),
        ({"IMAGE_SIZE": 1025}, "IMAGE_SIZE must be at most 1024"),
        ({"LEARNING_RATE": float("nan")}, "LEARNING_RATE must be at least"),
        ({"LEARNING_RATE": float("inf")}, "LEARNING_RATE must be at most"),
        ({"PRECISION": "float8"}, "PRECISION must be one of .*float32"),
        ({"SEEDS": 0}, "SEEDS must be a list"),
        ({"SEEDS": (0, 1)}, "SEEDS must be a list"),
        ({"SEEDS": []}, "SEEDS must be a list with at least one"),
        ({"SEEDS": [0, 1.5]}, "SEEDS must be int"),
        ({"SEEDS": [0, -1]}, "SEEDS must be at least 0"),
        ({"SEEDS": [0, 1, 0]}, "SEEDS names a value twice"),
        ({"SEEDS": [0, True]}, "SEEDS must be int"),
        ({"SEEDS": [[0], [1]]}, "SEEDS must be int"),
    ],
)
def test_a_wrong_parameter_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        settings.check_values({"SEED": 0} | values)


@pytest.mark.parametrize(
    "values",
    [
        {"LEARNING_RATE": 1},
        {"LEARNING_RATE": 1e-8},
        {"IMAGE_SIZE": 16},
        {"IMAGE_SIZE": 1024},
        {"SEEDS": [2, 0, 1]},
        {"SKIP_UNREADABLE": True},
        {"PRECISION": "auto"},
    ],
)
def test_a_right_parameter_is_taken(values):
    settings.check_values(values)


def test_check_looks_at_upper_case_names_only():
    namespace = {"EPOCHS": 2, "epoch": 3, "Path": Path, "_": 1, "__name__": "x", "In": [""]}
    assert settings.check(namespace) == {"EPOCHS": 2}
    with pytest.raises(UserError, match="EPOCH'"):
        settings.check(namespace | {"EPOCH": 2})


def test_a_notebook_may_have_parameters_of_its_own():
    own = {"DEPTH": Parameter(int, "layers", 1, 9)}
    assert settings.check({"DEPTH": 3, "SEED": 0}, **own) == {"DEPTH": 3, "SEED": 0}
    with pytest.raises(UserError, match="at most 9"):
        settings.check({"DEPTH": 10}, **own)
    with pytest.raises(UserError, match="unknown parameter 'DEPTH'"):
        settings.check({"DEPTH": 3})


def notebook(injected):
    """Globals of a notebook with two parameters, with papermill's cell behind theirs."""
    cells = ["", "SEED = 0\nEPOCHS: int = 9", f"# Parameters\n{injected}\n", "settings.check()"]
    namespace = {"In": cells, "SEED": 0, "EPOCHS": 9}
    exec(injected, namespace)
    return namespace


@pytest.mark.parametrize("injected", ["BATCH_SIZE = 8", "epochs = 2", "SEED = 1\nseed = 2"])
def test_papermill_may_only_set_what_the_notebook_names(injected):
    with pytest.raises(UserError, match=r"unknown parameter .*Parameters of this notebook: EPOCHS"):
        settings.check(notebook(injected))


def test_papermill_may_set_what_the_notebook_names():
    assert settings.check(notebook("EPOCHS = 2\nSEED = 1")) == {"SEED": 1, "EPOCHS": 2}


def test_a_user_error_is_shown_without_a_traceback():
    assert UserError("what, where")._render_traceback_() == ["UserError: what, where"]


@pytest.fixture
def kept(tmp_path):
    """A file that is there already; afterwards it is the only one."""
    path = tmp_path / "table.csv"
    path.write_text("old")
    return path


def test_a_file_is_replaced_and_its_folder_made(kept, tmp_path):
    for path in (kept, tmp_path / "new" / "folder" / "table.csv"):
        settings.write_atomically(path, lambda aside: aside.write_text("new"))
        assert path.read_text() == "new"
        assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == [path.name]


def test_a_writer_sees_the_suffix_and_not_the_file_itself(kept):
    seen = []
    settings.write_atomically(kept, lambda aside: (seen.append(aside), aside.write_text("new")))
    assert seen[0].suffix == ".csv" and seen[0].parent == kept.parent and seen[0] != kept


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), UserError),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), UserError),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), UserError),
        (OSError("262144 requested and 1024 written"), UserError),  # NumPy on a full disk
        (ZeroDivisionError("a bug"), ZeroDivisionError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(kept, error, raised):
    def write(aside):
        aside.write_text("half")
        raise error

    with pytest.raises(raised) as caught:
        settings.write_atomically(kept, write)
    assert kept.read_text() == "old"
    assert list(kept.parent.iterdir()) == [kept]
    if raised is UserError:
        reason = error.strerror or str(error)
        assert f"cannot write {kept}: {reason}" in str(caught.value)


def test_a_failing_writer_leaves_no_new_file(tmp_path):
    def write(aside):
        aside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="Free some disk space"):
        settings.write_atomically(tmp_path / "new.csv", write)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_a_user_error(kept):
    with pytest.raises(UserError, match="cannot write"):
        settings.write_atomically(kept / "below.csv", lambda aside: aside.write_text("x"))
    with pytest.raises(UserError, match="cannot write"):
        settings.write_atomically(kept.parent, lambda aside: aside.write_text("x"))
    assert kept.read_text() == "old"


def test_native_messages_are_hidden_and_come_back(capfd):
    with settings.native_messages_hidden():
        os.write(2, b"from a library\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
