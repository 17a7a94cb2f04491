"""Paths, links, names and records that try to lead out of a sandbox."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.box import IS_ROOT, NOBODY
from tests.support.served import SECRET, Client, Host, a_run
from thermos.records import RunnerHeader

pytestmark = pytest.mark.process

ESCAPES = [
    "../secret", "../one-beside/secret", "sub/../../secret", "./../secret", "..", "%2e%2e/secret", "%2e%2e%2fsecret",
    "..%2fsecret", ".%2e/secret", "sub/%2e%2e/%2e%2e/secret", "%252e%252e/secret", "%252e%252e%252fsecret",
    "..%255csecret", "..%5csecret", "..%c0%afsecret", "%c0%ae%c0%ae/secret", "..%00/secret", "data.txt%00", "%00",
    "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "sub//../../secret", "..;/secret", "....//secret",
    "%uff0e%uff0e/secret", "．．/secret", "-beside/secret", "sub/inner/../../../secret", "../" * 30 + "etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("route", ["file", "filedata", "download", "browse"])
def test_paths_that_lead_out_lead_nowhere(client: Client, route: str, path: str) -> None:
    for target in (f"/{route}/one/{path}", f"/{route}/one{path}"):
        answer = client.get(target.encode().decode("latin-1"))
        assert SECRET not in answer.body and b"root:" not in answer.body
        assert answer.status in (400, 404) or answer.body == b"{}"


def naive(sandbox: Path, path: str) -> bytes | None:
    """How the original checked a path: by the beginning of its text."""
    real = os.path.realpath(os.path.join(sandbox, path))
    if not real.startswith(os.path.realpath(sandbox)) or not os.path.isfile(real):
        return None
    return Path(real).read_bytes()


def test_the_naive_check_lets_the_neighbour_through(client: Client, box: Path) -> None:
    assert naive(box, "../one-beside/secret") == SECRET
    assert client.get("/download/one/../one-beside/secret").status == 404
    assert client.get("/download/one/%2e%2e/one-beside/secret").status == 404


def test_links_are_not_followed(client: Client, box: Path) -> None:
    """Not even inside: who follows one that leads inside now may be led outside a moment later."""
    (box / "out").symlink_to("../secret")
    (box / "absolute").symlink_to("/etc/passwd")
    (box / "up").symlink_to("..")
    (box / "in").symlink_to("data.txt")
    (box / "loop").symlink_to("loop")
    (box / "root").symlink_to("/")
    (box / "self").symlink_to("/proc/self/root")
    assert naive(box, "in") == b"0123456789"
    assert (box / "out").read_bytes() == SECRET  # a plain open goes out
    for path in ("out", "absolute", "up/secret", "in", "loop", "root/etc/passwd", "self/etc/passwd", "up/one/data.txt"):
        assert client.get(f"/download/one/{path}").status == 404, path
        assert client.json(f"/filedata/one/{path}?offset=0") == {}, path
    assert client.get("/browse/one/up").status == 404
    listed = client.get("/browse/one").text
    assert "absolute" in listed and "/etc/passwd" in listed  # what a link says is shown, where it leads is not


@pytest.mark.skipif(not IS_ROOT, reason="a file of somebody else's takes root")
def test_a_hard_link_to_somebody_elses_file_is_not_opened(client: Client, box: Path) -> None:
    """The sandbox is nobody's; a name in it for a file of root's may have been made by nobody."""
    (host_secret := box.parent / "hard").write_bytes(SECRET)
    host_secret.chmod(0o600)
    os.link(host_secret, box / "link")
    for directory, _, names in os.walk(box):
        os.chown(directory, NOBODY, NOBODY)
        for name in set(names) - {"link"}:
            os.chown(f"{directory}/{name}", NOBODY, NOBODY)
    os.chown(Path(box.parents[1], "root/checkpoints/one/runner"), NOBODY, NOBODY)
    assert naive(box, "link") == SECRET
    assert client.get("/download/one/link").status == 404
    assert client.json("/filedata/one/link?offset=0") == {}


def test_what_is_no_file_is_not_opened(client: Client, box: Path) -> None:
    """A FIFO would hold the thread until somebody writes; a device may do anything."""
    os.mkfifo(box / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(box)  # a socket's path may have 107 bytes
        try:
            made.bind("socket")
        finally:
            os.chdir(here)
        names = ["fifo", "socket", "sub"]
        if IS_ROOT:
            os.mknod(box / "zero", 0o666 | 0o020000, os.makedev(1, 5))
            names.append("zero")
        for name in names:
            assert client.get(f"/download/one/{name}").status == 404, name
            assert client.json(f"/filedata/one/{name}?offset=0") == {}, name
    log = box / ".logs" / "p" / "0" / "stdout"
    log.unlink()
    os.mkfifo(log)
    assert client.json("/logdata/one/p/0/stdout?offset=0") == {}
    assert client.get("/browse/one").status == 200


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_log_that_is_a_link_is_not_followed(client: Client, box: Path, stream: str) -> None:
    log = box / ".logs" / "p" / "0" / stream
    log.unlink()
    log.symlink_to(box.parent / "secret")
    assert log.read_bytes() == SECRET
    assert client.json(f"/logdata/one/p/0/{stream}?offset=0") == {}


@pytest.mark.parametrize("name", ["../../../../etc", "..", ".", "", "a/b", "/etc", "x\0y", "n" * 400])
def test_what_a_checkpoint_calls_a_process_is_no_path(host: Host, name: str) -> None:
    """The original's ``/logdata`` believed it."""
    host.add("evil", a_run(name), logs={"p/0/stdout": b"x"})
    with host.serving() as client:
        for said in (name, quote(name, safe="")):
            target = f"/logdata/evil/{quote(said, safe='')}/0/stdout?offset=0"
            answer = client.get(target)
            assert answer.status in (200, 404) and b"data" not in answer.body
        assert client.get("/j/task/evil").status == 200


@pytest.mark.parametrize("where", ["/", "/etc", "relative", "", "/proc/self", "/dev", "/../..", "/nonexistent", "\0"])
def test_where_a_checkpoint_says_that_files_lie(host: Host, where: str) -> None:
    """A header of root's or our own is believed; whatever it says, there is an answer."""
    host.add("evil", a_run("p"), header=RunnerHeader("evil", 1, where, "h", "root", {}, where))
    with host.serving() as client:
        for target in ("/browse/evil", "/download/evil/passwd/x", "/logdata/evil/p/0/stdout", "/filedata/evil/x"):
            assert client.get(target).status in (200, 404), target


@pytest.mark.skipif(not IS_ROOT, reason="a checkpoint of somebody else's takes root")
def test_a_strangers_checkpoint_does_not_show_what_he_cannot_see(host: Host) -> None:
    closed = host.path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "secret").write_bytes(SECRET)
    host.add("evil", a_run("p"), header=RunnerHeader("evil", 1, str(closed), "h", "root", {}))
    with host.serving() as client:
        assert client.get("/download/evil/secret").body == SECRET  # root says so
        os.chown(Path(host.root, "checkpoints/evil/runner"), NOBODY, NOBODY)
        assert client.get("/download/evil/secret").status == 404
        assert client.get("/browse/evil").status == 404


def test_a_sandbox_that_is_gone(host: Host) -> None:
    host.add("gone", a_run("p"), header=RunnerHeader("gone", 1, str(host.path / "nowhere"), "h", "root", {}))
    with host.serving() as client:
        assert client.get("/browse/gone").status == 200
        assert client.get("/browse/gone/sub").status == 404
        assert client.json("/filedata/gone/x") == {}
        assert client.json("/logdata/gone/p/0/stdout") == {}


def test_directories_are_listed_inside_of_a_sandbox_alone(client: Client, box: Path) -> None:
    top, sub = client.get("/browse/one").text, client.get("/browse/one/sub").text
    assert "data.txt" in top and 'href="/browse/one/sub"' in top
    assert "inner" in sub and 'href="/download/one/sub/inner"' in sub and 'href="/browse/one"' in sub
    assert client.get("/browse/one/sub/").status == 200
    assert client.get("/browse/one/.").status == 200
    for target in ("/browse", "/browse/", "/browse/nobody", "/browse/one/data.txt", "/browse/one/nothing", "/task/",
                   "/download/one", "/download/one/", "/file/one"):  # fmt: skip
        assert client.get(target).status == 404, target
