"""A sandbox's files as a browser opens them: what is in it, and nothing else."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from scheduler.local import files
from scheduler.local.server import Local, start_local

pytestmark = pytest.mark.process

EXECUTOR = "/files/show/A/F/thermos-t"


class Answer(NamedTuple):
    status: int
    kind: str | None
    policy: str | None
    body: bytes


class Shown:
    """A Mesos with one sandbox."""

    def __init__(self, local: Local) -> None:
        self.local = local
        self.slaves = local.work_dir / "slaves"
        runs = self.slaves / "A" / "frameworks" / "F" / "executors" / "thermos-t" / "runs"
        self.run = runs / "1234"
        (self.run / "pages").mkdir(parents=True)
        (runs / "latest").symlink_to(self.run)

    def get(self, path: str, method: str = "GET") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.local.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            policy = answer.getheader("Content-Security-Policy")
            return Answer(answer.status, answer.getheader("Content-Type"), policy, answer.read())
        finally:
            connection.close()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    with start_local(tmp_path / "mesos") as local:
        yield Shown(local)


def test_a_page_is_a_page_and_all_else_is_text(shown: Shown) -> None:
    (shown.run / "index.html").write_text("<p>index")
    (shown.run / "pages" / "index.html").write_text("<p>below")
    (shown.run / "a b.svg").write_text("<svg onload='alert(1)'/>")
    (shown.run / "stdout").write_bytes(b"\xff said")
    for path, kind, body in (
        ("/", "text/html; charset=utf-8", b"<p>index"),
        ("/index.html", "text/html; charset=utf-8", b"<p>index"),
        ("/pages/", "text/html; charset=utf-8", b"<p>below"),
        ("/pages/../index.html", "text/html; charset=utf-8", b"<p>index"),
        ("/a%20b.svg", "text/plain; charset=utf-8", b"<svg onload='alert(1)'/>"),
        ("/stdout", "text/plain; charset=utf-8", b"\xff said"),
    ):
        # What a task wrote may call nothing of ours: a page of it has no origin.
        assert shown.get(EXECUTOR + path) == Answer(200, kind, "sandbox allow-scripts", body)


@pytest.mark.parametrize(
    "path",
    [
        EXECUTOR, f"{EXECUTOR}/", f"{EXECUTOR}/none", f"{EXECUTOR}/pages", f"{EXECUTOR}/pipe", f"{EXECUTOR}/out",
        f"{EXECUTOR}/out/secret", f"{EXECUTOR}/up", f"{EXECUTOR}/../1234/pages", f"{EXECUTOR}/../../../secret",
        f"{EXECUTOR}/%2e%2e/%2e%2e/secret", f"{EXECUTOR}/%2Fetc%2Fpasswd", f"{EXECUTOR}//etc/passwd", f"{EXECUTOR}/%00",
        "/files/show/A/F/other/", "/files/show/../F/thermos-t/", "/files/show/A/F/../x", "/files/show/A//thermos-t/x",
        "/files/show/A/F%2F../x", "/files/show/A/F/away/secret", "/files/show/", "/files/show/A",
    ],
)  # fmt: skip
def test_nothing_else_is_shown(shown: Shown, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (shown.slaves / "secret").write_text("secret")
    (shown.run / "out").symlink_to(tmp_path)
    (shown.run / "up").symlink_to(shown.slaves / "secret")
    os.mkfifo(shown.run / "pipe")
    away = shown.run.parent.parent.parent / "away" / "runs"
    away.mkdir(parents=True)
    (away / "latest").symlink_to(tmp_path)
    answer = shown.get(path)
    assert answer.status == 404 and b"secret" not in answer.body


@pytest.mark.parametrize("verb", ["browse", "read", "download"])
def test_a_name_that_can_be_none_is_no_fault(shown: Shown, verb: str) -> None:
    assert shown.get(f"/files/{verb}?path=%00").status == 404
    assert shown.local.failure is None


def test_what_is_too_big_to_be_held_is_not(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown.run / "core").write_bytes(b"x" * 11)
    monkeypatch.setattr(files, "MAX_DOWNLOAD_BYTES", 10)
    answer = shown.get(f"{EXECUTOR}/core")
    assert answer.status == 400 and str(shown.run / "core").encode() in answer.body


_AS_NOBODY = """
import encodings.idna, http.client, os, sys
os.setuid(65534)
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
connection.request("GET", sys.argv[2])
print(connection.getresponse().status)
connection.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_sees_only_their_own(shown: Shown) -> None:
    for name in ("ours", "theirs"):
        (shown.run / name).write_text("words")
    os.chown(shown.run / "theirs", 65534, 65534)
    for name, status in (("ours", b"403"), ("theirs", b"200")):
        words = [sys.executable, "-c", _AS_NOBODY, str(shown.local.port), f"{EXECUTOR}/{name}"]
        assert subprocess.run(words, capture_output=True, timeout=30).stdout.split() == [status]
