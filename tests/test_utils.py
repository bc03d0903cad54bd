"""Files are written whole or not at all; digests; errors and messages are quiet."""

import errno
import os

import pytest

from helpers import utils
from helpers.utils import UserError


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
        utils.write_atomically(path, lambda aside: aside.write_text("new"))
        assert path.read_text() == "new"
        assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == [path.name]


def test_a_writer_sees_the_suffix_and_not_the_file_itself(kept):
    seen = []
    utils.write_atomically(kept, lambda aside: (seen.append(aside), aside.write_text("new")))
    assert seen[0].suffix == ".csv" and seen[0].parent == kept.parent and seen[0] != kept


def test_writers_with_the_same_process_number_do_not_meet(kept):
    def write(aside):
        aside.write_text("first")
        utils.write_atomically(kept, lambda other: other.write_text("second"))

    utils.write_atomically(kept, write)
    assert kept.read_text() == "first"
    assert list(kept.parent.iterdir()) == [kept]


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
        utils.write_atomically(kept, write)
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
        utils.write_atomically(tmp_path / "new.csv", write)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_a_user_error(kept):
    with pytest.raises(UserError, match="cannot write"):
        utils.write_atomically(kept / "below.csv", lambda aside: aside.write_text("x"))
    with pytest.raises(UserError, match="cannot write"):
        utils.write_atomically(kept.parent, lambda aside: aside.write_text("x"))
    assert kept.read_text() == "old"


def test_native_messages_are_hidden_and_come_back(capfd):
    with utils.native_messages_hidden():
        os.write(2, b"from a library\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_the_digest_of_a_file_is_its_sha256(kept):
    assert utils.sha256(kept) == "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4"


def test_a_short_digest_follows_values_and_their_order():
    first = utils.short_digest(1, "a", (2.5, None))
    assert len(first) == 16 and int(first, 16) >= 0
    assert first == utils.short_digest(1, "a", (2.5, None))
    others = [(1, "a", (2.5, 0)), ("a", 1, (2.5, None)), ("1", "a", (2.5, None)), (1, "a", 2.5)]
    assert len({first, *(utils.short_digest(*parts) for parts in others)}) == 5
