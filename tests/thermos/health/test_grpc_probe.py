"""Checks over gRPC against its official server, and against whatever else may answer on a port."""

from __future__ import annotations

import importlib.util
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from thermos.formats import grpc_health
from thermos.health.grpc_probe import GrpcProbe
from thermos.health.probes import Probe, Result
from thermos.host.loop import Loop

SERVER = Path(__file__).parents[2] / "support" / "grpc_server.py"


def ask(probe: Probe) -> Result:
    found: list[Result] = []
    with Loop() as loop:
        probe.start(loop, found.append)
        deadline_s = time.monotonic() + 30
        while not found and time.monotonic() < deadline_s:
            loop.step(1)
    assert len(found) == 1
    return found[0]


class Official:
    """The official server; *say* changes how a service is."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self._line()

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture
def official() -> Iterator[Callable[..., Official]]:
    if importlib.util.find_spec("grpc_health") is None:
        pytest.skip("grpcio-health-checking is not installed")
    servers: list[Official] = []

    def start(*words: str) -> Official:
        servers.append(Official(*words))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_the_official_server(official: Callable[..., Official]) -> None:
    server = official("=SERVING", "my.Service=NOT_SERVING")
    assert ask(GrpcProbe(server.port, timeout_s=20.0)).failure is None
    told = ask(GrpcProbe(server.port, "my.Service", 20.0)).failure
    assert told == f"grpc://localhost:{server.port}/my.Service: it says NOT_SERVING"
    server.say("my.Service=SERVING")
    assert ask(GrpcProbe(server.port, "my.Service", 20.0)).failure is None
    assert "NOT_FOUND" in str(ask(GrpcProbe(server.port, "no.Such", 20.0)).failure)


def test_a_long_name_with_odd_characters(official: Callable[..., Official]) -> None:
    name = "größe/" * 40
    server = official(f"{name}=SERVING")
    assert ask(GrpcProbe(server.port, name, 20.0)).failure is None


def test_a_server_without_the_health_service(official: Callable[..., Official]) -> None:
    assert "UNIMPLEMENTED" in str(ask(GrpcProbe(official("none").port, timeout_s=20.0)).failure)


# -- Other servers ----------------------------------------------------------------------------------------------------

Talk = Callable[[socket.socket], object]


@contextmanager
def listening(talk: Talk) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                try:
                    talk(connection)
                except OSError:
                    pass  # the probe has had enough

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def http2(answer: Callable[[H2Connection, int], None]) -> Talk:
    """A server of HTTP/2 that reads one request and then does *answer*."""

    def talk(connection: socket.socket) -> None:
        http = H2Connection(H2Configuration(client_side=False))
        http.initiate_connection()
        stream = 0
        while not stream:
            connection.sendall(http.data_to_send())
            for event in http.receive_data(connection.recv(4096)):
                if isinstance(event, RequestReceived):
                    headers = {str(name): value for name, value in event.headers or ()}
                    assert headers
                elif isinstance(event, StreamEnded):
                    stream = event.stream_id or 0
        answer(http, stream)
        connection.sendall(http.data_to_send())
        connection.recv(4096)  # until the probe hangs up

    return talk


def answering(body: bytes, *trailers: tuple[str, str], status: str = "200") -> Talk:
    def answer(http: H2Connection, stream: int) -> None:
        http.send_headers(stream, [(":status", status), ("content-type", "application/grpc")])
        http.send_data(stream, body)
        http.send_headers(stream, list(trailers) or [("grpc-status", "0")], end_stream=True)

    return http2(answer)


def drip(connection: socket.socket) -> None:
    while connection.recv(4096):  # an empty SETTINGS for each acknowledgement: it lives, and does not answer
        connection.sendall(b"\0\0\0\4\0\0\0\0\0")


def saying(data: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(data)

    return talk


def flood(connection: socket.socket) -> None:
    frame = b"\0\0\0\4\0\0\0\0\0"
    while True:
        connection.sendall(frame * 1000)


@pytest.mark.parametrize(
    "talk, told",
    [
        (answering(grpc_health.answer(1)), None),
        (answering(grpc_health.answer(0)), "it says UNKNOWN"),
        (answering(grpc_health.answer(77)), "it says 77"),
        (answering(b""), "0 bytes"),
        (answering(b"\0" * 16_000), "length"),
        (answering(b"", ("grpc-status", "14"), ("grpc-message", "no%20db%0a\x7f")), "UNAVAILABLE: 'no db"),
        (answering(b"", ("grpc-status", "99")), "status '99'"),
        (answering(b"", ("grpc-status", "²")), "status"),
        (answering(grpc_health.answer(1), ("other", "0")), "status ''"),
        (answering(b"", status="404"), "status 404"),
        (http2(lambda http, stream: http.reset_stream(stream, 11)), "broke the call off (HTTP/2 error 11)"),
        (http2(lambda http, stream: http.close_connection(2)), "ended the connection (HTTP/2 error 2)"),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it speaks HTTP/1"),
        (saying(b"\0\0\1\0\0\0\0\0\0x"), "is no HTTP/2"),
        (saying(b"\0\0\0\4\0\0\0\0\0" + struct.pack(">I", 1 << 31)), ""),  # it hangs up, perhaps with a reset
        (lambda connection: connection.recv(1 << 16), "hung up"),
        (lambda connection: connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)), ""),
        (flood, "more than"),
    ],
)
def test_what_else_may_answer(talk: Talk, told: str | None) -> None:
    with listening(talk) as port:
        failure = ask(GrpcProbe(port, timeout_s=20.0)).failure
    assert (failure is None) is (told is None)
    assert told is None or told in str(failure)
    assert len(str(failure)) < 1000


@pytest.mark.parametrize("talk", [lambda connection: connection.recv(1 << 16) and connection.recv(1), drip])
def test_one_that_does_not_answer_is_given_up_in_time(talk: Talk) -> None:
    with listening(talk) as port:
        result = ask(GrpcProbe(port, timeout_s=0.3))
    assert "no answer within 0.3 s" in str(result.failure)
    assert 0.25 < result.latency_s < 10


def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert "Connection refused" in str(ask(GrpcProbe(port)).failure)
    assert ask(GrpcProbe(70_000)).failure is not None


def test_given_up_it_tells_nobody() -> None:
    found: list[Result] = []
    with listening(lambda connection: connection.recv(1 << 16) and connection.recv(1)) as port, Loop() as loop:
        cancel = GrpcProbe(port, timeout_s=0.1).start(loop, found.append)
        loop.step(0.05)
        cancel()
        for _ in range(3):
            loop.step(0.1)
    assert found == []


def test_given_up_before_it_is_connected_it_says_nothing() -> None:
    found: list[Result] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, Loop() as loop:
        cancel = GrpcProbe(listener.getsockname()[1], timeout_s=20.0).start(loop, found.append)
        cancel()
        for _ in range(3):
            loop.step(0.01)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            assert connection.recv(1) == b""
    assert found == []


def test_without_such_a_check_nothing_of_http_2_is_imported() -> None:
    code = "import sys, thermos.executor.program; sys.exit('h2' in sys.modules or 'ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
