"""One HTTP request in a loop, against real sockets that answer well, badly, slowly, or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from thermos.host.http_client import MAX_REDIRECTS, Request, Response
from thermos.host.loop import Loop

Handler = Callable[[socket.socket, bytes], None]


@contextmanager
def service(handle: Handler, family: int = socket.AF_INET) -> Iterator[int]:
    """A service on loopback that calls *handle* with each connection and its request's head; yields its port."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                head = b""
                try:
                    while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
                        head += data
                    if head:
                        handle(connection, head)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def answer(data: bytes) -> Handler:
    return lambda connection, head: connection.sendall(data)


def ask(port: int, path: str = "/", timeout_s: float = 10.0, method: str = "GET", **more: object) -> Response:
    found: list[Response] = []
    with Loop() as loop:
        Request(loop, port, path, found.append, timeout_s=timeout_s, method=method, **more)  # type: ignore[arg-type]
        for _ in range(10_000):
            if found:
                break
            loop.step(30)
    return found[0]


def test_an_answer() -> None:
    with service(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")) as port:
        response = ask(port)
    assert (response.status, response.body, response.error) == (200, b"ok\n", None)
    assert response.latency_s >= 0


def test_what_is_asked() -> None:
    heads: list[bytes] = []

    def handle(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with service(handle) as port:
        assert ask(port, "/health?x=1").status == 204
        assert ask(port, "/quit", method="POST").status == 204
    assert heads[0].startswith(b"GET /health?x=1 HTTP/1.1\r\n")
    assert f"host: localhost:{port}".encode() in heads[0].lower()
    assert heads[1].startswith(b"POST /quit HTTP/1.1\r\n")
    assert b"content-length: 0" in heads[1].lower()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
)
def test_every_way_to_send_a_body(data: bytes) -> None:
    with service(answer(data)) as port:
        assert ask(port).body == b"ok"


@pytest.mark.parametrize(
    "data, word",
    [
        (b"", "without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "within its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "within its answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * (1 << 20), "no HTTP"),
        (b"\0" * 100_000, "no HTTP"),
    ],
)
def test_what_is_no_answer_is_told(data: bytes, word: str) -> None:
    with service(answer(data)) as port:
        response = ask(port)
    assert response.status == 0
    assert word in str(response.error)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert ask(port).error == f"port {port}: Connection refused"
    assert ask(70_000).error is not None


def test_one_that_listens_on_ipv6_alone_is_found() -> None:
    try:
        with service(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), socket.AF_INET6) as port:
            assert ask(port).status == 200
    except OSError:
        pytest.skip("no IPv6 on this host")


def test_one_that_says_nothing_is_given_up_in_time() -> None:
    release = threading.Event()
    with service(lambda connection, head: (release.wait(30), None)[1]) as port:
        try:
            assert ask(port, timeout_s=0.2).error == "no answer within 0.2 s"
        finally:
            release.set()


def test_one_that_never_stops_talking_is_cut() -> None:
    def flood(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with service(flood) as port:
        response = ask(port, max_body_bytes=1000)
    assert (len(response.body), response.is_cut) == (1000, True)


def test_one_that_drips_is_given_up_in_time() -> None:
    release = threading.Event()

    def drip(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not release.wait(0.02):
            connection.sendall(b"x")

    with service(drip) as port:
        try:
            assert ask(port, timeout_s=0.3).error == "no answer within 0.3 s"
        finally:
            release.set()


def test_it_goes_where_the_same_service_sends_it_and_nowhere_else() -> None:
    def handle(connection: socket.socket, head: bytes) -> None:
        path = head.split(b" ", 2)[1]
        place = {b"/": b"/there", b"/out": b"http://192.0.2.1/", b"/round": b"/round"}.get(path)
        if place is None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n")

    with service(handle) as port:
        assert ask(port, "/").body == b"ok"
        assert ask(port, "/out").status == 302
        assert ask(port, "/round").status == 302
    assert MAX_REDIRECTS < 10


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (b"http://[bad", "it sends us on to 'http://[bad', which is no URL"),
        (b"//[::1", "which is no URL"),
        (b"/h\xfc", "'/h\\xfc' is no path of a URL"),
        (b"/" + b"h\xfc" * 5000, "is no path of a URL"),
    ],
)
def test_a_place_that_is_none_is_told(place: bytes, said: str) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n"
    with service(answer(moved)) as port:
        error = str(ask(port).error)
    assert said in error
    assert error.isascii()
    assert len(error) < 300


def test_a_path_without_its_slash_is_given_one() -> None:
    heads: list[bytes] = []

    def handle(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with service(handle) as port:
        assert ask(port, "quitquitquit", method="POST").status == 204
        assert ask(port, "").status == 204
    assert [head.split(b" ")[1] for head in heads] == [b"/quitquitquit", b"/"]


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/\0", "/gesund-\xfc", "/\udc80"])
def test_a_path_that_is_none_sends_nothing(path: str) -> None:
    heads: list[bytes] = []
    with service(lambda connection, head: heads.append(head)) as port:
        assert "no path of a URL" in str(ask(port, path).error)
    assert heads == []


def test_a_cancelled_one_calls_nobody() -> None:
    found: list[Response] = []
    with service(answer(b"HTTP/1.1 200 OK\r\n\r\n")) as port, Loop() as loop:
        request = Request(loop, port, "/", found.append, timeout_s=0.05)
        request.cancel()
        loop.call_later("end", 0.2, loop.stop)
        loop.run()
    assert found == []
