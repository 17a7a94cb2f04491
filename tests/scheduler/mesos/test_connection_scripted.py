"""The connection, against a master that does what the real one does rarely: it redirects, stalls, breaks off, errs."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scheduler.core.events import Disconnected, MesosEvent
from scheduler.main import build_parser
from scheduler.mesos.connection import Credential
from scheduler.mesos.finder import ListFinder
from scheduler.mesos.master_http import PATH
from scheduler.mesos.session import Address
from scheduler.options import options_of
from scheduler.service import Service
from tests.support.box import SOON_S, until
from tests.support.listener import Listener
from tests.support.mesos import free_port
from thermos.errors import ExitCode
from thermos.formats import recordio
from thermos.formats.mesos_v1_scheduler import Accept, Kill, Offers, Reconcile, Revive, Subscribed

pytestmark = pytest.mark.process

SUBSCRIBED = {"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "f"}, "heartbeat_interval_seconds": 15.0}}
OFFERS: dict[str, Any] = {"type": "OFFERS", "offers": {"offers": []}}


class Call:
    """A request that a master got; *answer* ends it."""

    def __init__(self, body: dict[str, Any], headers: dict[str, str]) -> None:
        self.body = body
        self.headers = headers
        self.kind: str = body["type"]
        self._answers: queue.SimpleQueue[tuple[int, dict[str, str], bytes] | None] = queue.SimpleQueue()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self._answers.put((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    def hang_up(self) -> None:
        self._answers.put(None)

    def wait(self) -> tuple[int, dict[str, str], bytes] | None:
        return self._answers.get(timeout=SOON_S)


class Master:
    """Says SUBSCRIBED to whoever subscribes, and 202 to all calls, unless told otherwise."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.calls: list[Call] = []
        self.streams: list[queue.SimpleQueue[bytes | None]] = []
        #: Answers a call, or leaves that to the test; gives whether it did.
        self.script: Callable[[Call], bool] = lambda call: False
        self.connections = 0
        self.stream_headers: dict[str, str] = {}
        master = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                master.connections += 1

            def do_POST(self) -> None:
                assert self.path == PATH
                master._serve(self)

            def log_message(self, *words: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *words: None  # type: ignore[method-assign]  # a client that hangs up
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        call = Call(body, dict(handler.headers.items()))
        self.calls.append(call)
        if self.script(call):
            answer = call.wait()
            if answer is None:
                handler.close_connection = True
                return
            status, headers, said = answer
            handler.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(said))}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(said)
            handler.close_connection = headers.get("Connection") == "close"
        elif call.kind == "SUBSCRIBE":
            self._stream(handler)
        else:
            handler.send_response(202)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        stream: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.streams.append(stream)
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Mesos-Stream-Id", f"stream-{len(self.streams)}")
        for name, value in self.stream_headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        stream.put(recordio.encode(json.dumps(SUBSCRIBED).encode()))
        while (data := stream.get()) is not None:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        handler.close_connection = True

    def say(self, event: dict[str, Any] | bytes) -> None:
        data = event if isinstance(event, bytes) else recordio.encode(json.dumps(event).encode())
        self.streams[-1].put(data)

    def of(self, kind: str) -> list[Call]:
        return [call for call in list(self.calls) if call.kind == kind]

    def close(self) -> None:
        for stream in self.streams:
            stream.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(SOON_S)


@pytest.fixture
def master() -> Iterator[Master]:
    made = Master()
    yield made
    made.close()


Listen = Callable[..., Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    made: list[Listener] = []

    def listen(port: int, **more: Any) -> Listener:
        made.append(Listener(port, **more))
        return made[-1]

    yield listen
    for one in made:
        one.connection.close()


def is_subscribed(listener: Listener, times: int = 1) -> Listener:
    listener.wait(lambda: len(listener.of(Subscribed)) == times, f"it is subscribed {times} times")
    return listener


def test_what_is_sent(master: Master, listen: Listen) -> None:
    listener = is_subscribed(listen(master.port, credential=Credential("aurora", "seécret"), framework_id="f"))
    (subscribe,) = master.of("SUBSCRIBE")
    assert subscribe.body["framework_id"] == subscribe.body["subscribe"]["framework_info"]["id"] == {"value": "f"}
    assert subscribe.headers["Authorization"] == "Basic YXVyb3JhOnNlw6ljcmV0"
    assert "Mesos-Stream-Id" not in subscribe.headers
    for _ in range(20):
        listener.connection.call(Revive())
    until(lambda: len(master.of("REVIVE")) == 20, "all calls arrive")
    assert {call.headers["Mesos-Stream-Id"] for call in master.of("REVIVE")} == {"stream-1"}
    assert {call.headers["Authorization"] for call in master.of("REVIVE")} == {"Basic YXVyb3JhOnNlw6ljcmV0"}
    assert master.connections == 2
    until(lambda: listener.connection.metrics()["mesos_calls"] == 20, "they are counted")


def test_a_redirect_is_followed(master: Master, listen: Listen) -> None:
    other = Master()
    try:

        def redirect(call: Call) -> bool:
            call.answer(307, Location=f"//127.0.0.1:{master.port}{PATH}")
            return True

        other.script = redirect
        listener = is_subscribed(listen(other.port))
        assert any(f"subscribed with the master at 127.0.0.1:{master.port} as" in text for text in listener.said)
        listener.connection.call(Revive())
        until(lambda: master.of("REVIVE"), "calls go to the leader")
    finally:
        other.close()


def test_a_blocked_scheduler_does_not_keep_calls_back(master: Master, listen: Listen) -> None:
    goes_on = threading.Event()
    listener = listen(master.port)
    take = listener.connection._tell

    def slow(event: MesosEvent) -> None:
        if isinstance(event, Offers):
            assert goes_on.wait(SOON_S)
        take(event)

    is_subscribed(listener)
    listener.connection._tell = slow
    master.say(OFFERS)
    for _ in range(50):
        listener.connection.call(Revive())
    until(lambda: len(master.of("REVIVE")) == 50, "calls go on while an event is not taken")
    assert not listener.of(Offers)
    goes_on.set()
    listener.wait(lambda: listener.of(Offers), "the event is told")


def test_a_launch_is_not_carried_over_to_the_next_subscription(master: Master, listen: Listen) -> None:
    master.script = lambda call: call.kind == "REVIVE"  # the test answers
    listener = is_subscribed(listen(master.port))
    listener.connection.call(Revive())
    listener.connection.call(Accept(("o",), ({"name": "t"},)))
    listener.connection.call(Kill("t"))
    until(lambda: master.of("REVIVE"), "the first call is under way")
    master.streams[-1].put(None)
    is_subscribed(listener, 2)
    listener.connection.call(Reconcile(()))
    master.of("REVIVE")[0].answer(202)
    until(lambda: master.of("RECONCILE"), "the call of the second subscription arrives")
    assert not master.of("ACCEPT")
    assert not master.of("KILL")
    assert [text for text in listener.said if "dropped" in text] == [
        "call Accept is dropped: the master was lost meanwhile",
        "call Kill is dropped: the master was lost meanwhile",
    ]
    assert master.of("RECONCILE")[0].headers["Mesos-Stream-Id"] == "stream-2"
    assert listener.connection.metrics()["mesos_calls_lost"] == 2


def test_a_call_without_an_answer_means_a_new_subscription(master: Master, listen: Listen) -> None:
    master.script = lambda call: call.kind == "ACCEPT"
    listener = is_subscribed(listen(master.port))
    listener.connection.call(Accept(("o",), ({"name": "t"},)))
    until(lambda: master.of("ACCEPT"), "the call is under way")
    master.of("ACCEPT")[0].hang_up()
    is_subscribed(listener, 2)
    assert "a call had no answer" in listener.of(Disconnected)[0].reason
    assert len(master.of("ACCEPT")) == 1  # it may have come to its end: it is not made again


def test_a_refused_call_is_said_and_the_next_ones_go_on(master: Master, listen: Listen) -> None:
    def refuse(call: Call) -> bool:
        if call.kind == "KILL":
            call.answer(400, b"no such\ntask" + b"!" * 10_000)
        return call.kind == "KILL"

    master.script = refuse
    listener = is_subscribed(listen(master.port))
    listener.connection.call(Kill("t"))
    listener.connection.call(Revive())
    until(lambda: master.of("REVIVE"), "the next call arrives")
    said = next(text for text in listener.said if "dropped" in text)
    assert f"call Kill is dropped: the master at 127.0.0.1:{master.port} answers 400: no such task!" in said
    assert len(said) < 2500
    assert not listener.of(Disconnected)


@pytest.mark.parametrize("status", [307, 401, 403, 503])
def test_a_master_that_does_not_know_us_any_more(master: Master, listen: Listen, status: int) -> None:
    def refuse(call: Call) -> bool:
        if call.kind == "KILL":
            call.answer(status, b"Framework is not subscribed")
        return call.kind == "KILL"

    master.script = refuse
    listener = is_subscribed(listen(master.port))
    listener.connection.call(Kill("t"))
    is_subscribed(listener, 2)
    assert f"answers {status}: Framework is not subscribed" in listener.of(Disconnected)[0].reason


def test_a_connection_that_is_closed_between_calls(master: Master, listen: Listen) -> None:
    def close(call: Call) -> bool:
        if call.kind != "SUBSCRIBE":
            call.answer(202, Connection="close")
        return call.kind != "SUBSCRIBE"

    master.script = close
    listener = is_subscribed(listen(master.port))
    for count in range(1, 6):
        listener.connection.call(Revive())
        until(lambda count=count: listener.connection.metrics()["mesos_calls"] == count, "the call is made")  # type: ignore[misc]
    assert not listener.of(Disconnected)


@pytest.mark.parametrize(
    "said, why",
    [
        (recordio.encode(b"?"), "cannot be read: is not JSON"),
        (recordio.encode(b'{"type": "RESCIND"}'), "cannot be read: rescind: is missing"),
        (b"x\n", "no RecordIO"),
    ],
)
def test_what_is_no_event_means_a_new_subscription(master: Master, listen: Listen, said: bytes, why: str) -> None:
    listener = is_subscribed(listen(master.port))
    master.say(said)
    is_subscribed(listener, 2)
    assert why in listener.of(Disconnected)[0].reason
    assert len(master.streams) == 2


def test_an_event_in_many_pieces(master: Master, listen: Listen) -> None:
    listener = is_subscribed(listen(master.port))
    for byte in recordio.encode(json.dumps(OFFERS).encode()):
        master.say(bytes([byte]))
    listener.wait(lambda: listener.of(Offers), "it is told")


def test_a_stream_after_which_the_connection_ends(master: Master, listen: Listen) -> None:
    master.stream_headers["Connection"] = "close"
    listener = is_subscribed(listen(master.port))
    master.say(OFFERS)
    listener.wait(lambda: listener.of(Offers), "events come")
    assert not listener.of(Disconnected)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"])
def test_what_is_no_master(listen: Listen, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silly:
        silly.settimeout(SOON_S)
        listener = listen(silly.getsockname()[1])
        for _ in range(3):
            one, _ = silly.accept()
            one.recv(1 << 16)
            one.sendall(said)
            one.close()
        until(lambda: listener.said, "it is said")
        assert listener.events == []
        listener.connection.close()


def test_nobody_is_there_at_first(listen: Listen) -> None:
    port = free_port()
    listener = listen(port)
    listener.wait(lambda: listener.said, "it is said")
    assert listener.said == [f"not subscribed: 127.0.0.1:{port}: Connection refused"]
    listener.connection.call(Revive())
    assert listener.said[-1] == "call Revive is dropped: there is no master"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no certificates to test with: openssl is missing")
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=master", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
            str(path.with_name("key.pem")), "-out", str(path),
        ],
        check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=30,
    )  # fmt: skip
    return path


@contextlib.contextmanager
def over_tls(certificate: Path) -> Iterator[Master]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    made = Master(context)
    try:
        yield made
    finally:
        made.close()


def test_over_https(certificate: Path, listen: Listen) -> None:
    with over_tls(certificate) as master:
        listener = is_subscribed(listen(master.port, ssl_context=ssl.create_default_context(cafile=str(certificate))))
        listener.connection.call(Revive())
        until(lambda: master.of("REVIVE"), "calls, too")
        for _ in range(100):
            master.say({"type": "OFFERS", "offers": {"offers": [], "padding": "x" * 100_000}})
        listener.wait(lambda: len(listener.of(Offers)) == 100, "much comes")
        master.streams[-1].put(None)
        is_subscribed(listener, 2)
        listener.connection.close()


def test_over_https_to_somebody_else(certificate: Path, listen: Listen) -> None:
    with over_tls(certificate) as master:
        listener = listen(master.port, ssl_context=ssl.create_default_context())
        listener.wait(lambda: any("certificate" in text for text in listener.said), "it is said")
        assert not master.calls
        listener.connection.close()


def test_close_ends_a_connection_attempt_that_hangs(listen: Listen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        silent.settimeout(SOON_S)
        listener = listen(0, finder=ListFinder((Address("127.0.0.1", silent.getsockname()[1]),)))
        one, _ = silent.accept()
        with one:
            assert one.recv(1 << 16).startswith(b"POST")
            listener.connection.close()
            names = {thread.name for thread in threading.enumerate()}
            assert not names & {"master-events", "master-calls"}


class Broken(ListFinder):
    def find(self, is_again: bool, timeout_s: float) -> Address:
        raise AssertionError("a fault of ours")


def test_a_thread_that_reads_and_fails_is_told(listen: Listen) -> None:
    listener = listen(1, finder=Broken(()))
    listener.wait(lambda: listener.failures, "it is told")
    assert listener.failures == ["the connection to the master failed: AssertionError: a fault of ours"]
    assert "Traceback" in listener.said[-1]
    assert listener.events == []


def test_a_thread_that_calls_and_fails_is_told(master: Master, listen: Listen) -> None:
    listener = listen(master.port)
    listener.wait(lambda: listener.of(Subscribed), "it is subscribed")
    no_call: Any = "no call"
    listener.connection.call(no_call)
    listener.wait(lambda: listener.failures, "it is told")
    assert listener.failures[0].startswith("the connection to the master failed: ")


def test_a_scheduler_that_cannot_hear_mesos_any_more_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("scheduler.service.finder_of", lambda address, by_hostname: Broken(()))
    words = ["-mesos_master_address", "127.0.0.1:1", "-cluster_name", "test", "-http_port", "0"]
    words += ["-store", str(tmp_path / "s.db"), "-thermos_executor_path", "/x.pex", "-serverset_path", "/aurora"]
    assert Service(options_of(build_parser().parse_args(words), "127.0.0.1")).run() == ExitCode.INTERNAL
    assert "ending: the connection to the master failed: AssertionError: a fault of ours" in caplog.text
