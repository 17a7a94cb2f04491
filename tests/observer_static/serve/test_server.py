"""The server itself: it starts, bears with clients that mean harm, and ends without a trace."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from observer_static.serve import make_app, serve
from observer_static.serve.server import Limits, Server
from tests.support.box import until
from tests.support.served import Client, Host, a_run

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

pytestmark = pytest.mark.process

IMPATIENT = Limits(threads=2, connections=12, idle_s=1, request_s=1.0, look_s=1)


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


@contextlib.contextmanager
def running(limits: Limits | None = None) -> Iterator[Client]:
    with Server("127.0.0.1", 0, hello, limits) as server:
        yield Client(server)


def test_it_answers_and_ends() -> None:
    """What it leaves behind, if anything, every test here looks for."""
    server = Server.start("127.0.0.1", 0, hello)
    client = Client(server)
    assert client.get("/").body == b"hello"
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        client.connect()
    assert not [thread for thread in threading.enumerate() if thread.name in ("serve", "waitress-0")]


def test_it_ends_at_once_when_it_just_began() -> None:
    for _ in range(50):
        Server("127.0.0.1", 0, hello).close()


def test_a_port_that_is_taken() -> None:
    with running() as client, pytest.raises(OSError) as caught:
        Server("127.0.0.1", client.port, hello)
    assert caught.value.errno == errno.EADDRINUSE
    assert f"127.0.0.1, port {client.port}" in str(caught.value)


def test_it_listens_on_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this host has no IPv6")
    with serve(Host(tmp_path).view, "::1", 0) as server, socket.create_connection(("::1", server.port), 30) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: [::1]:1338\r\nConnection: close\r\n\r\n")
        with sock.makefile("rb") as said:
            assert said.read().endswith(b"OK\n")


def test_it_ends_while_clients_hang_on() -> None:
    with running() as client:
        held = [client.connect() for _ in range(5)]
        held[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert held[0].recv(9) == b"HTTP/1.1 "
        held[1].sendall(b"GET / HT")
    for sock in held:
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(1000):
                pass
        sock.close()


def test_it_ends_while_a_request_is_worked_on(caplog: pytest.LogCaptureFixture) -> None:
    """One that never comes to its end: ``close`` does not wait for it for ever, and what it does later is harmless."""
    caplog.set_level(logging.CRITICAL, "waitress")
    begun, may_end = threading.Event(), threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        begun.set()
        may_end.wait(30)
        return hello(environ, start_response)

    server = Server("127.0.0.1", 0, slow)
    trigger = server._server.trigger
    with contextlib.closing(Client(server).connect()) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(30)
        server.close()
        may_end.set()
        until(lambda: not [t for t in threading.enumerate() if t.name.startswith("waitress")], "the worker ends")
    os.fstat(trigger.trigger)  # by which it wakes the server: still the same file, and not somebody else's by now
    trigger.close()


def test_it_ends_while_an_answer_waits_for_its_reader() -> None:
    """The worker that makes it stands still until there is room; it must not stand there for ever."""
    made: list[int] = []

    def endless(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        for number in range(100):
            made.append(number)
            yield bytes(1 << 20)

    with Server("127.0.0.1", 0, endless) as server, contextlib.closing(Client(server).connect()) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: len(made) > 16, "more is made than is held")
        before = time.monotonic()
        server.close()
        assert time.monotonic() - before < 1
    assert len(made) < 100


def test_it_sleeps_while_nobody_asks() -> None:
    """Not one wake-up: the kernel counts how often its threads gave the processor back."""
    with running(Limits(look_s=1)) as client:
        client.get("/")
        until(lambda: not client.server._server.active_channels, "the connection is gone")

        def switches() -> dict[int, str]:
            names = {thread.native_id: thread.name for thread in threading.enumerate()}
            found = {}
            for ident, name in names.items():
                if ident is not None and (name == "serve" or name.startswith("waitress")):
                    text = Path(f"/proc/self/task/{ident}/status").read_text()
                    found[ident] = text.partition("voluntary_ctxt_switches:")[2].split()[0]
            return found

        until(lambda: _same(switches), "its threads are asleep")
        before = switches()
        end = time.monotonic() + 1.5
        until(lambda: time.monotonic() > end, "a moment passes")
        assert len(before) == 5
        assert switches() == before


def _same(look: object) -> bool:
    assert callable(look)
    before = look()
    end = time.monotonic() + 0.2
    until(lambda: time.monotonic() > end, "a moment passes")
    return bool(look() == before)


# -- Clients that mean harm -------------------------------------------------------------------------------------------


def test_a_request_that_comes_a_byte_at_a_time_is_cut_off() -> None:
    """Each byte counts as activity, so the time of silence alone would never end it."""
    with running(IMPATIENT) as client, contextlib.closing(client.connect()) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nX: ")

        def is_cut_off() -> bool:
            try:
                sock.sendall(b"x")
                sock.setblocking(False)
                return sock.recv(100) == b""
            except BlockingIOError:
                return False
            except OSError:
                return True
            finally:
                sock.setblocking(True)

        until(is_cut_off, "the connection is closed", 15)
        assert client.get("/").body == b"hello"


def test_connections_that_say_nothing_are_closed() -> None:
    with running(IMPATIENT) as client:
        held = [client.connect() for _ in range(6)]
        for sock in held:
            assert sock.recv(1) == b""
            sock.close()


def test_more_connections_than_it_takes_hold_it_up_only_until_they_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "waitress")
    with running(IMPATIENT) as client:
        held = [client.connect() for _ in range(40)]
        try:
            assert client.get("/").body == b"hello"
        finally:
            for sock in held:
                sock.close()


def test_an_answer_that_is_not_read_is_given_up(tmp_path: Path) -> None:
    host = Host(tmp_path)
    box = host.add("one", a_run("p"))
    with open(box / "huge", "wb") as file:
        file.truncate(1 << 30)
    with Server("127.0.0.1", 0, make_app(host.view), IMPATIENT) as server:
        client = Client(server)
        with contextlib.closing(client.connect()) as sock:
            sock.sendall(b"GET /download/one/huge HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(9) == b"HTTP/1.1 "
            until(lambda: not _open_below(box), "the file is closed")


def _open_below(directory: Path) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in found if path.startswith(str(directory))]


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n", b"get / http/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET \xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 1000 + b"\r\n\r\n",
    ],
    ids=lambda sent: ascii(sent[:40]),
)  # fmt: skip
def test_requests_that_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """Whatever is sent, the next one who asks is answered."""
    host = Host(tmp_path)
    with host.serving() as client:
        # It may close before all was sent.
        with contextlib.closing(client.connect()) as sock, contextlib.suppress(OSError):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: sock.recv(65536), b""))
            assert not said.startswith((b"HTTP/1.1 500", b"HTTP/1.0 500"))
            assert b"Traceback" not in said
        assert client.get("/health").text == "OK\n"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_requests_in_one_go_are_answered_in_their_order(tmp_path: Path) -> None:
    with Host(tmp_path).serving() as client:
        one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        last = b"GET /j/task_id_count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        said = client.raw(one * 20 + last)
    assert said.count(b"HTTP/1.1 200 OK") == 21
    assert said.endswith(b'{"active": 0, "finished": 0, "all": 0}')
