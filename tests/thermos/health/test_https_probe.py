"""Checks over https against a real server with a certificate of nobody's."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from thermos.health.probes import HttpProbe, Result
from thermos.host.loop import Loop

Talk = Callable[[socket.socket], object]


def ask(probe: HttpProbe) -> Result:
    found: list[Result] = []
    with Loop() as loop:
        probe.start(loop, found.append)
        deadline_s = time.monotonic() + 30
        while not found and time.monotonic() < deadline_s:
            loop.step(1)
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    if shutil.which("openssl") is None:
        pytest.skip("no certificates to test with: openssl is missing")
    directory: Path = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key", directory / "certificate"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=somewhere.example", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


@contextmanager
def listening(context: ssl.SSLContext | None, *talks: Talk) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for talk in talks:
                connection, _ = listener.accept()
                connection.settimeout(20)
                try:
                    talk(context.wrap_socket(connection, server_side=True) if context is not None else connection)
                except OSError:
                    pass  # the probe has had enough
                finally:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def says(answer: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        while (data := connection.recv(4096)) and not data.endswith(b"\r\n\r\n"):
            pass
        connection.sendall(answer)
        connection.close()

    return talk


OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def probe(port: int, timeout_s: float = 20.0) -> HttpProbe:
    return HttpProbe(port, timeout_s=timeout_s, tls=True)


def test_it_answers(context: ssl.SSLContext) -> None:
    with listening(context, OK) as port:
        assert ask(probe(port)).failure is None


def test_an_answer_of_many_records(context: ssl.SSLContext) -> None:
    body = b"x" * 60_000
    with listening(context, says(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + body)) as port:
        failure = ask(HttpProbe(port, "/", body.decode(), timeout_s=20.0, tls=True)).failure
    assert failure is None


def test_it_is_ill(context: ssl.SSLContext) -> None:
    with listening(context, says(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) as port:
        failure = ask(probe(port)).failure
    assert failure == f"https://localhost:{port}/health answered status 503 instead of 'ok'"


def test_it_sends_us_on_to_another_of_its_pages(context: ssl.SSLContext) -> None:
    away = says(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")
    with listening(context, away, OK) as port:
        assert ask(probe(port)).failure is None


def test_it_is_not_followed_out_of_tls(context: ssl.SSLContext) -> None:
    def away(connection: socket.socket) -> None:
        there = f"http://localhost:{connection.getsockname()[1]}/"
        says(f"HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())(connection)

    with listening(context, away) as port:
        assert "status 302" in str(ask(HttpProbe(port, "/", "", 200, 20.0, tls=True)).failure)


def test_a_server_that_speaks_no_tls() -> None:
    with listening(None, says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        failure = ask(probe(port, 0.5)).failure  # each waits for the other
    assert "no answer within 0.5 s" in str(failure)


def test_one_that_answers_at_once_in_plain_text() -> None:
    with listening(None, lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert "no TLS" in str(ask(probe(port)).failure)


def test_a_handshake_that_hangs_is_given_up_in_time() -> None:
    with listening(None, lambda connection: connection.recv(1 << 16) and connection.recv(1)) as port:
        assert "no answer within 0.3 s" in str(ask(probe(port, 0.3)).failure)


def test_one_that_hangs_up(context: ssl.SSLContext) -> None:
    with listening(context, lambda connection: connection.close()) as port:
        assert ask(probe(port)).failure is not None
