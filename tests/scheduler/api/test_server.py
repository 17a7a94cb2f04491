"""The server itself, over real connections: TLS, limits, and clients that mean harm."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from observer_static.serve.server import Limits
from scheduler.api.app import ApiOptions, create_app
from scheduler.api.backend import Leader, View
from scheduler.api.options import MAX_BODY_BYTES
from scheduler.api.server import LIMITS, Server
from scheduler.api.tls import TlsError
from scheduler.wire import thrift
from scheduler.wire.thrift import Protocol
from tests.support.box import SOON_S, until
from tests.support.engine_backend import EngineBackend, job
from thermos.formats.aurora_api import ResponseCode, TaskQuery

pytestmark = pytest.mark.process

IMPATIENT = LIMITS._replace(connections=8, idle_s=1, request_s=1.0, look_s=1)
ROLES = b'[1,"getRoleSummary",1,0,{}]'


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: str
    key: str


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    directory = tmp_path_factory.mktemp("tls")
    found = Pair(str(directory / "cert.pem"), str(directory / "key.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", found.key, "-out", found.certificate],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return found


class Running:
    def __init__(self, server: Server, backend: EngineBackend, pair: Pair | None) -> None:
        self.server = server
        self.backend = backend
        self.address = ("127.0.0.1", server.port)
        self.context = ssl.create_default_context(cafile=pair.certificate) if pair is not None else None

    def connection(self) -> http.client.HTTPConnection:
        if self.context is not None:
            return http.client.HTTPSConnection(*self.address, timeout=20, context=self.context)
        return http.client.HTTPConnection(*self.address, timeout=20)

    def post(self, body: bytes, path: str = "/api", **headers: str) -> tuple[int, bytes]:
        with contextlib.closing(self.connection()) as connection:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def socket(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)


@contextlib.contextmanager
def running(pair: Pair | None = None, limits: Limits = LIMITS) -> Iterator[Running]:
    backend = EngineBackend()
    server = Server(create_app(backend, ApiOptions()), "127.0.0.1", 0, pair, limits)
    server.start()
    try:
        yield Running(server, backend, pair)
    finally:
        server.close()


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(request.getfixturevalue("pair") if request.param == "https" else None) as found:
        yield found


def test_it_answers(either: Running) -> None:
    status, body = either.post(ROLES)
    assert status == 200
    assert thrift.decode_reply(body, "getRoleSummary", 0, Protocol.JSON).response_code is ResponseCode.OK


def test_health_is_told_while_all_workers_wait(either: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    look, is_over, waiting = either.backend.look, threading.Event(), threading.Semaphore(0)

    def slow(at: Callable[[View], Any]) -> Any:
        waiting.release()
        assert is_over.wait(SOON_S)
        return look(at)

    monkeypatch.setattr(either.backend, "look", slow)
    with ThreadPoolExecutor(LIMITS.threads + 1) as clients:
        waits = [clients.submit(either.post, ROLES) for _ in range(LIMITS.threads + 1)]
        try:
            assert all(waiting.acquire(timeout=SOON_S) for _ in range(LIMITS.threads))
            with contextlib.closing(either.connection()) as connection:
                for path in ("/health", "/leaderhealth", "/health"):
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == 200
            assert not any(one.done() for one in waits)
        finally:
            is_over.set()
        assert {one.result(SOON_S)[0] for one in waits} == {200}


def test_many_on_one_connection(either: Running) -> None:
    with contextlib.closing(either.connection()) as connection:
        for _ in range(50):
            connection.request("POST", "/api", ROLES)
            assert connection.getresponse().read().startswith(b"[1,")


def test_a_long_body_and_a_long_answer(either: Running) -> None:
    """Both far longer than one record of TLS and one buffer of the kernel."""
    described = job(400)
    config = described.task_config
    assert config is not None and config.executor_config is not None
    data = json.dumps({"padding": "x" * 200_000})
    described = described._replace(
        task_config=config._replace(executor_config=config.executor_config._replace(data=data))
    )
    status, body = either.post(thrift.encode_call("createJob", 1, {"description": described}, Protocol.JSON))
    assert (status, thrift.decode_reply(body, "createJob", 1, Protocol.JSON).response_code) == (200, ResponseCode.OK)
    call = thrift.encode_call("getTasksStatus", 2, {"query": TaskQuery(limit=100)}, Protocol.BINARY)
    status, body = either.post(call, **{"Content-Type": Protocol.BINARY.value, "Accept": Protocol.BINARY.value})
    assert status == 200
    assert len(body) > 20_000_000
    response = thrift.decode_reply(body, "getTasksStatus", 2, Protocol.BINARY)
    assert response.result is not None and response.result.schedule_status_result is not None
    assert len(response.result.schedule_status_result.tasks or ()) == 100


def test_many_at_once(either: Running) -> None:
    statuses: list[int] = []

    def ask() -> None:
        for _ in range(10):
            statuses.append(either.post(ROLES)[0])

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 120


def test_a_body_that_is_too_long(either: Running) -> None:
    with contextlib.closing(either.connection()) as connection:
        connection.putrequest("POST", "/api")
        connection.putheader("Content-Length", str(MAX_BODY_BYTES * 100))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_body_that_is_just_too_long_and_one_that_is_not(either: Running) -> None:
    assert either.post(ROLES + b" " * (MAX_BODY_BYTES - len(ROLES)))[0] == 200
    status = 0
    with contextlib.suppress(OSError):  # it may be cut off while it is sent
        status = either.post(ROLES + b" " * MAX_BODY_BYTES)[0]
    assert status in (0, 413)


def test_chunks_without_an_end() -> None:
    with running() as found, found.socket() as connection:
        connection.sendall(b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * MAX_BODY_BYTES // 65536):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            answer = connection.recv(100)
        assert answer.startswith(b"HTTP/1.1 413") or answer == b""
        assert found.post(ROLES)[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[1,",
        b"POST /api HTTP/1.1\r\nHost: x\r\n",
        b"",
    ],
    ids=["body", "headers", "nothing"],
)
def test_a_client_that_stops(head: bytes) -> None:
    """It is sent away, and meanwhile others are answered."""
    with running(limits=IMPATIENT) as found, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(found.socket()) for _ in range(7)]
        for connection in sockets:
            connection.sendall(head)
        assert found.post(ROLES)[0] == 200
        for connection in sockets:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(100) == b""


def test_handshakes_that_stop(pair: Pair) -> None:
    with running(pair, IMPATIENT) as found, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(found.socket()) for _ in range(7)]
        for connection in sockets:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert found.post(ROLES)[0] == 200
        for connection in sockets:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(100) == b""


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(1000), b"\x16\x03\x01\x00\x05hello" * 9])
def test_what_is_no_tls(pair: Pair, data: bytes) -> None:
    with running(pair) as found:
        with found.socket() as connection:
            connection.sendall(data)
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in connection.recv(1000)
        assert found.post(ROLES)[0] == 200


def test_a_connection_that_is_gone_before_it_is_taken(pair: Pair) -> None:
    with running(pair) as found:
        for _ in range(20):
            connection = found.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            connection.close()
        assert found.post(ROLES)[0] == 200


def test_old_tls_is_refused(pair: Pair) -> None:
    with running(pair) as found:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with found.socket() as connection, pytest.raises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(connection)


def test_curl(pair: Pair) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    with running(pair) as found:
        url = f"https://localhost:{found.server.port}/apibeta/getTierConfigs"
        arguments = ["curl", "-sS", "--fail", "--compressed", "--cacert", pair.certificate, "-X", "POST", url]
        printed = subprocess.run(arguments, check=True, capture_output=True, timeout=30).stdout
        assert json.loads(printed)["responseCode"] == "OK"


def test_a_redirect_says_nothing_of_the_host_that_was_asked_for(either: Running) -> None:
    either.backend.leading = Leader(False, "http://leader:1")
    with contextlib.closing(either.connection()) as connection:
        connection.putrequest("GET", "/scheduler//evil.example.com/%0d%0aX:y?a=%0d%0aX:y", skip_host=True)
        connection.putheader("Host", "evil.example.com")
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 307
        assert answer.headers["Location"] == "http://leader:1/scheduler//evil.example.com/%0D%0AX:y?a=%0d%0aX:y"
        assert answer.headers["X"] is None


def test_an_absolute_address_leads_to_the_leader_too() -> None:
    with running() as found, found.socket() as connection:
        found.backend.leading = Leader(False, "http://leader:1")
        connection.sendall(b"GET http://evil.example.com/quotas HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert b"\r\nLocation: http://leader:1/quotas\r\n" in answer


def test_nothing_is_left(pair: Pair) -> None:
    for tls in (None, pair):
        with running(tls) as found, found.socket():
            pass
        found.server.close()
        with pytest.raises(OSError):
            found.socket()
        until(
            lambda: not [one for one in threading.enumerate() if one.name.startswith(("serve", "waitress"))],
            "no thread",
        )


def test_certificates_that_are_none(tmp_path: Path, pair: Pair) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", pair.key, "-aes128", "-passout", "pass:secret", "-out", str(locked)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    app = create_app(EngineBackend())
    for files, words in (
        ((str(tmp_path / "none"), pair.key), "none: No such file"),
        ((pair.certificate, str(tmp_path / "none")), "none: No such file"),
        ((str(garbage), pair.key), "garbage.pem is no certificate as PEM"),
        ((pair.certificate, str(locked)), "locked.pem is no key as PEM without a password"),
    ):
        with pytest.raises(TlsError, match=words):
            Server(app, "127.0.0.1", 0, files).start()
