"""Probes against real services and real commands; a check's tree never outlives its time."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.leaks import children
from tests.support.box import IS_ROOT, NOBODY, until, with_words
from tests.support.scarce import descriptors_left
from thermos.health.probes import HttpProbe, Probe, Result, TcpProbe
from thermos.health.shell import MAX_OUTPUT_BYTES, ShellProbe
from thermos.host.command import User
from thermos.host.loop import Loop


@contextmanager
def http_service(status: int, body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(probe: Probe) -> Result:
    found: list[Result] = []
    with Loop() as loop:
        probe.start(loop, found.append)
        deadline_s = time.monotonic() + 30
        while not found and time.monotonic() < deadline_s:
            loop.step(1)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    "status, body, expected, code, told",
    [
        (200, b"ok", "ok", 0, None),
        (200, b" OK\n", "ok", 200, None),
        (200, b"ok", "OK", 0, None),
        (200, b"anything", "", 0, None),
        (404, b"", "", 0, None),
        (200, b"broken", "ok", 0, "answered 'broken' instead of 'ok'"),
        (500, b"ok", "ok", 0, "answered status 500 instead of 'ok'"),
        (204, b"", "", 200, "answered with status 204 instead of 200"),
        (503, b"", "", 503, None),
        (200, b"x" * 500, "ok", 0, "xxx…' instead of"),
    ],
)
def test_http(status: int, body: bytes, expected: str, code: int, told: str | None) -> None:
    with http_service(status, body) as port:
        result = ask(HttpProbe(port, "/health", expected, code, 10.0))
    assert (result.failure is None) is (told is None)
    assert told is None or told in str(result.failure)


def test_tcp() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert ask(TcpProbe(port)).failure == f"port {port}: Connection refused"
        listener.listen()
        assert ask(TcpProbe(port)).failure is None


def test_tcp_gives_up_in_time() -> None:
    with socket.socket() as listener:  # a queue of none that is full: further connections are not answered
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        held = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            held.append(one)
        result = ask(TcpProbe(port, timeout_s=0.2))
        for one in held:
            one.close()
    assert result.failure is not None


def shell(command: str, cwd: Path, **more: object) -> ShellProbe:
    environment = {"PATH": os.environ["PATH"], "HOME": "/"}
    return ShellProbe(command, str(cwd), **{"timeout_s": 20.0, "environment": environment, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "command, told",
    [
        ("true", None),
        ("echo much; echo more >&2", None),
        ("exit 3", "ended with status 3"),
        ("echo it is ill; false", "ended with status 1 and printed 'it is ill'"),
        ("echo to stderr >&2; false", "printed 'to stderr'"),
        ("kill -9 $$", "was ended by signal 9"),
        ("no-such-command-here", "ended with status 127"),
        ("read x", "ended with status 1"),  # there is nobody to ask: it does not wait for us
    ],
)
def test_shell(command: str, told: str | None, tmp_path: Path) -> None:
    failure = ask(shell(command, tmp_path)).failure
    assert (failure is None) is (told is None)
    assert told is None or told in str(failure)


def test_a_command_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    word = f"hang-{os.getpid()}-{time.monotonic_ns()}"
    command = f"setsid bash -c 'exec -a {word} sleep 600' & bash -c 'exec -a {word} sleep 600' & sleep 600"
    failure = ask(shell(command, tmp_path, timeout_s=0.3)).failure
    assert failure is not None
    assert "did not end within 0.3 s" in failure
    assert with_words(word) == []


def test_what_a_good_check_leaves_behind_is_killed_too(tmp_path: Path) -> None:
    word = f"left-{os.getpid()}-{time.monotonic_ns()}"
    command = f"setsid bash -c 'exec -a {word} sleep 600' >/dev/null 2>&1 & true"
    assert ask(shell(command, tmp_path)).failure is None
    assert with_words(word) == []


def test_a_flood_of_output_is_cut_and_does_not_hold_the_check_up(tmp_path: Path) -> None:
    assert ask(shell("head -c 30000000 /dev/zero | tr '\\0' x", tmp_path)).failure is None
    failure = ask(shell("head -c 30000000 /dev/zero | tr '\\0' x; false", tmp_path)).failure
    assert failure is not None
    assert len(failure) < MAX_OUTPUT_BYTES + 300


def test_a_cancelled_check_dies_and_tells_nobody(tmp_path: Path) -> None:
    word = f"cancel-{os.getpid()}-{time.monotonic_ns()}"
    found: list[Result] = []
    before = children()
    with Loop() as loop:
        cancel = shell(f"exec -a {word} sleep 600", tmp_path, timeout_s=600.0).start(loop, found.append)
        until(lambda: with_words(word), "the check runs")
        cancel()

        def is_gone() -> bool:
            loop.step(0.01)
            return not with_words(word) and children().keys() <= before.keys()

        until(is_gone, "the check is gone and reaped")
    assert found == []


@pytest.mark.parametrize("left", range(6))
def test_a_host_without_descriptors_fails_the_check_alone(tmp_path: Path, left: int) -> None:
    found: list[Result] = []
    with Loop() as loop:
        with descriptors_left(left):
            cancel = shell("true", tmp_path).start(loop, found.append)
        for _ in range(1000):
            if not found:
                loop.step(0.05)
        cancel()
    expected = "the check could not be started: Too many open files" if left < 4 else None
    assert [result.failure for result in found] == [expected]


def test_it_dies_with_us(tmp_path: Path) -> None:
    word = f"leash-{os.getpid()}-{time.monotonic_ns()}"
    pid = os.fork()
    if not pid:
        try:
            with Loop() as loop:
                shell(f"exec -a {word} sleep 600", tmp_path, timeout_s=600.0).start(loop, print)
                loop.run()
        finally:
            os._exit(1)
    until(lambda: with_words(word), "the check runs")
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    until(lambda: not with_words(word), "the check has ended with its executor")


@pytest.mark.skipif(not IS_ROOT, reason="becoming another user takes root")
def test_it_runs_as_the_task_s_user_in_the_sandbox(tmp_path: Path) -> None:
    place = tmp_path / "box"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    os.chmod(tmp_path, 0o755)
    tmp_path.parent.chmod(0o755)
    tmp_path.parent.parent.chmod(0o755)
    user = User("nobody", NOBODY, NOBODY, "/", (NOBODY,))
    command = 'echo "$(id -u) $(id -G) $PWD $(ls /proc/self/fd | wc -l)"; false'
    failure = ask(shell(command, place, user=user)).failure
    assert failure is not None
    assert f"{NOBODY} {NOBODY} {place} 4" in failure  # 0, 1, 2 and the one that ls itself opens


@pytest.mark.parametrize("probe_of", [lambda path: shell("true", path / "absent")])
def test_a_sandbox_that_is_gone_is_told(probe_of: Callable[[Path], Probe], tmp_path: Path) -> None:
    assert "No such file or directory" in str(ask(probe_of(tmp_path)).failure)
