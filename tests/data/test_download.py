"""Downloading, unpacking and copying the data, against a server on the loopback interface."""

import errno
import hashlib
import importlib
import io
import os
import runpy
import shutil
import stat
import sys
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import trustme

from helpers import paths
from helpers.data import kermany
from helpers.utils import UserError
from tests import builders

module = importlib.import_module("helpers.data.download")

FILES = {
    f"{split}/{name}/{stem}-{split}.jpeg": f"{split} {name}".encode() * 500
    for split in ("train", "val", "test")
    for name, stem in (("NORMAL", "IM-0001"), ("PNEUMONIA", "person1_virus_2"))
}


def zip_bytes(members, links=()):
    """A zip with `members` (name: bytes); the names in `links` are symbolic links."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            mode = stat.S_IFLNK if name in links else stat.S_IFREG
            info.external_attr = (mode | 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


GOOD = zip_bytes({f"chest_xray/{name}": content for name, content in FILES.items()})


def held(folder):
    """Relative name and content of every file in `folder`."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def authority():
    """Who vouches for the server."""
    return trustme.CA()


@pytest.fixture
def server(authority, tmp_path, monkeypatch):
    """Serves `body` over https; `answers` are statuses or "cut" for the first requests, then 200.

    An answer may also be an address, to which it leads.
    """
    state = SimpleNamespace(body=GOOD, answers=[], always=200, requests=0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests += 1
            answer = state.answers.pop(0) if state.answers else state.always
            leads = str(answer).startswith("http")
            self.send_response(302 if leads else 200 if answer == "cut" else answer)
            if leads:
                self.send_header("Location", answer)
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body[:100] if answer == "cut" else state.body)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    trusted = tmp_path / "trusted.pem"
    builders.over_https(http, authority, trusted)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"https://127.0.0.1:{http.server_port}/data.zip"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def get(server, tmp_path):
    """`download` of what the server is expected to have, into an otherwise empty folder."""
    (tmp_path / "data").mkdir()
    return partial(
        module.download,
        target=tmp_path / "data" / "chest_xray",
        url=server.url,
        sha256=hashlib.sha256(GOOD).hexdigest(),
        size=len(GOOD),
        pause=0.01,
    )


@pytest.fixture
def zipped(tmp_path):
    """Writes a zip that the user is supposed to have."""

    def write(members, links=(), prefix=""):
        path = tmp_path / "own.zip"
        path.write_bytes(
            zip_bytes({prefix + name: content for name, content in members.items()}, links)
        )
        return path

    return write


def nothing_left(tmp_path):
    return list((tmp_path / "data").iterdir()) == []


def test_downloads_then_does_nothing(get, server, tmp_path, capsys):
    target = get()
    assert held(target) == FILES
    assert list((tmp_path / "data").iterdir()) == [target]
    assert "6 images; the published set has 5,856" in capsys.readouterr().out
    assert get() == target
    assert server.requests == 1
    assert "nothing to do" in capsys.readouterr().out


def test_empty_target_is_filled_and_parents_are_made(get, tmp_path):
    (tmp_path / "data" / "chest_xray").mkdir()
    assert held(get()) == FILES
    assert held(get(target=tmp_path / "a" / "b" / "c")) == FILES


@pytest.mark.parametrize("content", [{"notes.txt": b"mine"}, {"train/NORMAL/IM-1-1.jpeg": b"x"}])
def test_foreign_or_incomplete_target_is_left_alone(get, server, tmp_path, content):
    for name, data in content.items():
        path = tmp_path / "data" / "chest_xray" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    with pytest.raises(UserError, match=r"does not hold all of the data.*--target"):
        get()
    assert held(tmp_path / "data" / "chest_xray") == content
    assert server.requests == 0


@pytest.mark.parametrize("body", [GOOD[:-1] + b"x", b"<html>Just a moment</html>", b""])
def test_other_bytes_than_the_published_ones(get, server, tmp_path, body):
    server.body = body
    with pytest.raises(UserError, match=r"hash.*rscbjbr9sj.2.*kaggle.*make data FROM=.*XRAY_DIR"):
        get()
    assert server.requests == 1
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(("answer", "requests"), [("cut", 3), (404, 1), (500, 3)])
def test_failing_server(get, server, tmp_path, answer, requests):
    server.always = answer
    with pytest.raises(UserError, match="make data FROM=") as caught:
        get()
    assert server.url in str(caught.value)
    assert answer == "cut" or str(answer) in str(caught.value)
    assert server.requests == requests
    assert nothing_left(tmp_path)


def test_no_server(get, tmp_path):
    with pytest.raises(UserError, match="make data FROM="):
        get(url="https://127.0.0.1:9/data.zip")
    assert nothing_left(tmp_path)


def test_what_is_no_https_address_is_not_asked(get, server, tmp_path):
    for url in (server.url.replace("https", "http"), "file:///etc/passwd", "ftp://127.0.0.1/x"):
        with pytest.raises(UserError, match=r"no https address.*make data FROM="):
            get(url=url)
    assert server.requests == 0
    assert nothing_left(tmp_path)


def test_a_server_that_leads_away_from_https_is_not_followed(get, server, tmp_path):
    server.answers = [server.url.replace("https", "http")]
    with pytest.raises(UserError, match=r"it leads to http://127.*no https address"):
        get()
    assert server.requests == 1
    assert nothing_left(tmp_path)


def test_a_server_that_leads_to_another_https_address_is_followed(get, server):
    server.answers = [f"{server.url}?again"]
    assert held(get()) == FILES
    assert server.requests == 2


def test_a_server_that_nobody_vouches_for_is_not_believed(get, server, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(UserError, match="certificate verify failed"):
        get()
    assert server.requests == 0
    assert nothing_left(tmp_path)


def test_server_that_fails_first(get, server, monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    server.answers = ["cut", 503]
    assert held(get(pause=7)) == FILES
    assert server.requests == 3
    assert pauses == [7, 7]


def test_partial_file_of_a_killed_download_is_not_taken(get, server, tmp_path):
    partial_file = tmp_path / "data" / "chest_xray.download" / "chest_xray.zip"
    partial_file.parent.mkdir()
    partial_file.write_bytes(GOOD[:200])
    assert held(get()) == FILES
    assert server.requests == 1
    assert not partial_file.parent.exists()


def test_checked_zip_is_kept_when_unpacking_fails(get, server, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(UserError, match=r"the disk is full.*--target"):
            get()
    target = get()
    assert held(target) == FILES
    assert server.requests == 1
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    "evil",
    [
        "../evil.jpeg",
        "train/NORMAL/../../../evil.jpeg",
        "/tmp/evil.jpeg",
        "..\\evil.jpeg",
        "C:/evil.jpeg",
        "C:evil.jpeg",
        "train/NORMAL/IM-1:evil.jpeg",
        "\\\\host\\share\\evil.jpeg",
    ],
)
def test_members_that_lead_out_are_refused(get, zipped, tmp_path, evil):
    before = set(tmp_path.rglob("*"))
    source = zipped(FILES | {evil: b"evil"})
    with pytest.raises(UserError, match=r"is unsafe: .*evil.* leads out of"):
        get(source=source)
    assert set(tmp_path.rglob("*")) == before | {source}


def test_links_are_refused(get, zipped, tmp_path):
    link = "train/NORMAL/IM-0009-0001.jpeg"
    source = zipped(FILES | {link: b"/etc/passwd"}, links=[link])
    with pytest.raises(UserError, match=r"unsafe.*IM-0009"):
        get(source=source)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    "members",
    [
        {"readme.txt": b"something else", "cats/1.jpeg": b"cat"},
        {name: content for name, content in FILES.items() if not name.startswith("test/")},
        {},
    ],
)
def test_zip_of_something_else(get, zipped, tmp_path, members):
    with pytest.raises(UserError, match=r"own.zip does not hold the data. Expected"):
        get(source=zipped(members))
    assert nothing_left(tmp_path)


def test_not_a_zip_truncated_or_damaged(get, tmp_path):
    source = tmp_path / "own.zip"
    first = GOOD.index(b"jpeg") + 4  # where the first image begins
    no_deflate = GOOD[:first] + b"\xff" + GOOD[first + 1 :]
    other_byte = bytearray(GOOD)
    other_byte[first + 6] ^= 0xFF
    for content in (b"no zip", b"", GOOD[:-100], no_deflate, bytes(other_byte)):
        source.write_bytes(content)
        with pytest.raises(UserError, match=r"own.zip is no zip or a broken one"):
            get(source=source)
        assert nothing_left(tmp_path)


def test_own_zip_is_used_and_kept(get, server, tmp_path, capsys):
    source = tmp_path / "own.zip"
    source.write_bytes(GOOD)
    assert held(get(source=source)) == FILES
    assert "SHA-256 verified" in capsys.readouterr().out
    assert source.read_bytes() == GOOD
    assert server.requests == 0


@pytest.mark.parametrize("prefix", ["", "chest_xray/", "archive/chest_xray/"])
def test_layouts(get, zipped, prefix, capsys):
    mendeley = {name: data for name, data in FILES.items() if not name.startswith("val/")}
    members = {prefix + name: content for name, content in mendeley.items()}
    if prefix:
        members |= {f"__MACOSX/{name}": b"resource fork" for name in mendeley}
    assert held(get(source=zipped(members))) == mendeley
    assert "not verified" in capsys.readouterr().out


def test_kaggle_zip_with_a_second_copy_and_stray_files(get, zipped):
    stray = {
        ".DS_Store": b"",
        "train/.DS_Store": b"",
        "train/NORMAL/.DS_Store": b"",
        "train/NORMAL/._IM-0001-train.jpeg": b"resource fork",
        "train/NORMAL/run.sh": b"#!/bin/sh",
        "__MACOSX/chest_xray/train/NORMAL/._IM-0001-train.jpeg": b"resource fork",
        "__MACOSX/train/NORMAL/IM-0001-train.jpeg": b"resource fork",
        "train/": b"",
    }
    copy = {f"chest_xray/{name}": b"the inner copy" for name in FILES}
    assert held(get(source=zipped(copy | stray | FILES, prefix="chest_xray/"))) == FILES


@pytest.mark.parametrize("inner", [".", "chest_xray", "chest_xray/chest_xray"])
def test_folder_is_copied(get, tmp_path, inner, capsys):
    stray = {"train/NORMAL/.DS_Store": b"", "train/NORMAL/notes.txt": b"", "__MACOSX/x.jpeg": b""}
    for name, content in (FILES | stray).items():
        path = tmp_path / "own" / inner / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = held(tmp_path / "own")
    assert held(get(source=tmp_path / "own")) == FILES
    assert held(tmp_path / "own") == before
    assert f"CHEST_XRAY_DIR={tmp_path / 'own'}" in capsys.readouterr().out


def test_missing_or_wrong_source(get, tmp_path):
    with pytest.raises(UserError, match=r"no zip or folder at .*nowhere.zip"):
        get(source=tmp_path / "nowhere.zip")
    (tmp_path / "own" / "train" / "NORMAL").mkdir(parents=True)
    with pytest.raises(UserError, match="train/ and test/"):
        get(source=tmp_path / "own")
    (tmp_path / "own" / "test").mkdir()
    with pytest.raises(UserError, match="does not hold all of the data"):
        get(source=tmp_path / "own")
    assert nothing_left(tmp_path)


def test_unwritable_target(get, server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "chest_xray", tmp_path / "file"):
        with pytest.raises(UserError, match="--target DIR"):
            get(target=target)
    assert server.requests == 0


def test_read_only_disk(get, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(module.Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"Read-only file system.*--target DIR"):
        get()


def test_too_little_room_is_seen_beforehand(get, server, tmp_path, zipped, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(GOOD)))
    with pytest.raises(UserError, match=r"GB free and the data needs.*Free some disk space"):
        get()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(UserError, match="GB free"):
        get(source=zipped(FILES))
    assert server.requests == 0
    assert nothing_left(tmp_path)


def test_disk_that_fills_up_during_the_download(get, server, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.pooch, "retrieve", full)
    with pytest.raises(UserError, match="the disk is full"):
        get()
    assert nothing_left(tmp_path)


def test_interrupted_copy_leaves_nothing(get, zipped, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", stop)
    with pytest.raises(KeyboardInterrupt):
        get(source=zipped(FILES))
    assert nothing_left(tmp_path)


def test_second_run_at_the_same_time_never_mixes(get, zipped, tmp_path, monkeypatch):
    source = zipped(FILES)
    copy = shutil.copyfileobj

    def other_run_first(*arguments):
        monkeypatch.setattr(shutil, "copyfileobj", copy)
        get(source=source)
        copy(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", other_run_first)
    with pytest.raises(UserError, match="cannot put the data"):
        get(source=source)
    assert held(tmp_path / "data" / "chest_xray") == FILES


def test_the_facts_of_the_published_zip_are_the_defaults(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    asked = []

    def refuse(url, sha256, *_, **__):
        asked.append((url, sha256))
        raise ValueError("refused")

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * kermany.SIZE))
    monkeypatch.setattr(module.pooch, "retrieve", refuse)
    with pytest.raises(UserError, match="rscbjbr9sj"):
        module.download()
    assert asked == [(kermany.URL, kermany.SHA256)]
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, zipped, capsys, monkeypatch):
    target = ["--target", str(tmp_path / "data" / "chest_xray")]
    assert module.main(["--from", str(zipped(FILES)), *target]) == 0
    assert module.main(target) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert module.main(["--from", str(tmp_path / "no.zip"), "--target", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.startswith("error: no zip or folder at")
    with pytest.raises(SystemExit) as caught:
        module.main(["--form", "typo.zip"])
    assert caught.value.code == 2

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "download", stop)
    assert module.main(target) == 130

    monkeypatch.setattr(module, "download", lambda *given: calls.append(given))
    calls = []
    assert module.main(["--from", "", *target]) == 0  # as an empty FROM in make gives it
    assert calls == [(target[1], None)]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_run_as_a_module_it_prints_one_line_and_no_traceback(tmp_path, capsys, monkeypatch):
    options = ["--from", str(tmp_path / "no.zip"), "--target", str(tmp_path / "chest_xray")]
    monkeypatch.setattr(sys, "argv", ["download", *options])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("helpers.data.download", run_name="__main__")
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: no zip or folder at")
    assert said.count("\n") == 1
