"""The small HTTP server: answers, streams, and peers that do not behave."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from scheduler.local import http as served
from scheduler.local.http import Exchange, Server
from tests.support.box import until
from thermos.host.loop import Loop

pytestmark = pytest.mark.process


class Echo:
    """Answers with what it got; ``/stream`` stays open."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.server = Server(self.loop, ("127.0.0.1", 0), self.handle)
        self.streams: list[Exchange] = []
        self.lost = 0
        self.server.start()
        self._thread = threading.Thread(target=self.loop.run, name="echo")
        self._thread.start()

    def handle(self, exchange: Exchange) -> None:
        if exchange.request.path == "/stream":
            exchange.on_lost = self.lose
            exchange.open_stream("text/plain")
            self.streams.append(exchange)
        else:
            exchange.answer(200, exchange.request.body or exchange.request.path)

    def lose(self) -> None:
        self.lost += 1

    def do(self, what: Callable[[], object]) -> None:
        self.loop.post(what)

    def close(self) -> None:
        self.loop.post(self.loop.stop)
        self._thread.join()
        self.server.close()
        self.loop.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def peer(echo: Echo) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", echo.server.port), timeout=10) as made:
        yield made


def read_all(peer: socket.socket) -> bytes:
    found = b""
    while data := peer.recv(1 << 16):
        found += data
    return found


def test_a_connection_serves_one_request_after_the_other(echo: Echo) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", echo.server.port, timeout=10)
    for body in ("a", "b" * 300_000, ""):
        connection.request("POST", "/some%20path", body)
        assert connection.getresponse().read() == (body or "/some path").encode()
    connection.close()


def test_requests_that_come_at_once_are_answered_in_order(peer: socket.socket) -> None:
    ask = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    peer.sendall(ask % 1 + ask % 2 + b"GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    said = read_all(peer)
    places = [said.index(b"\r\n\r\n/%d" % n) for n in (1, 2, 3)]
    assert places == sorted(places)


def test_a_request_in_pieces(peer: socket.socket) -> None:
    for piece in (b"POST / HT", b"TP/1.1\r\nHost: x\r\nContent-Le", b"ngth: 4\r\nConnection: close\r\n\r\nab", b"cd"):
        peer.sendall(piece)
    assert read_all(peer).endswith(b"\r\n\r\nabcd")


def test_a_peer_that_speaks_something_else_is_dropped(peer: socket.socket, echo: Echo) -> None:
    peer.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
    assert read_all(peer) == b""
    connection = http.client.HTTPConnection("127.0.0.1", echo.server.port, timeout=10)
    connection.request("GET", "/still")
    assert connection.getresponse().read() == b"/still"
    connection.close()


def test_a_body_without_end_is_dropped(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MAX_BODY_BYTES", 1000)
    peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 2000)
    with contextlib.suppress(ConnectionResetError):  # what was not read makes a reset of it
        assert read_all(peer) == b""


def test_a_stream_lasts_until_one_of_both_ends_it(echo: Echo, peer: socket.socket) -> None:
    peer.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: echo.streams, "the stream is open")
    echo.do(lambda: echo.streams[0].send(b"hello"))
    said = b""
    while not said.endswith(b"5\r\nhello\r\n"):
        said += peer.recv(1 << 16)
    echo.do(echo.streams[0].end)
    said += peer.recv(1 << 16)
    assert said.endswith(b"0\r\n\r\n")
    # It is an ordinary connection again.
    peer.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: len(echo.streams) == 2, "another stream is open")
    assert echo.lost == 0
    peer.shutdown(socket.SHUT_WR)
    until(lambda: echo.lost == 1, "its end is noticed")
    echo.do(lambda: echo.streams[1].send(b"to nobody"))


def test_a_request_behind_a_stream_is_answered_after_it(echo: Echo, peer: socket.socket) -> None:
    peer.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /behind HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: echo.streams, "the stream is open")
    echo.do(echo.streams[0].end)
    said = b""
    while not said.endswith(b"/behind"):
        data = peer.recv(1 << 16)
        assert data, said
        said += data


def test_a_peer_that_reads_nothing_is_dropped(echo: Echo, peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MAX_UNREAD_BYTES", 1 << 20)
    peer.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: echo.streams, "the stream is open")
    for _ in range(40):
        echo.do(lambda: echo.streams[0].send(b"z" * (1 << 20)))
    until(lambda: echo.lost == 1, "it is dropped")


def test_what_a_slow_peer_has_not_read_comes_later(echo: Echo, peer: socket.socket) -> None:
    peer.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: echo.streams, "the stream is open")
    for _ in range(20):
        echo.do(lambda: echo.streams[0].send(b"z" * (1 << 20)))
    echo.do(echo.streams[0].end)
    found = b""
    while not found.endswith(b"\r\n0\r\n\r\n"):
        found += peer.recv(1 << 20)
    assert found.count(b"z") == 20 << 20
