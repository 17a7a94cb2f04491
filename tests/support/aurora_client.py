"""The clients run in this process, against servers that answer as they are told; their time costs none."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scheduler.client import admin_main, leader, main
from scheduler.client.session import ADMIN_USER_AGENT, USER_AGENT, Session
from scheduler.client.transport import Transport
from scheduler.client.world import World
from scheduler.wire import thrift
from scheduler.wire.thrift import Protocol
from thermos.formats.aurora_api import Response, ResponseCode, ResponseDetail, Result

#: What the clock of a test says at its start.
START_S = 1_700_000_000.0


class Sent(NamedTuple):
    """A request, as a server got it."""

    method: str
    arguments: Mapping[str, Any]
    headers: Mapping[str, str]
    line: str


class Reply(NamedTuple):
    """What a server answers; *status* 0: it closes the connection, below 0: it says nothing until the test is over."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


Answer = Response | Reply | Result | None


def ok(result: Result | None = None, *words: str) -> Response:
    """A successful answer."""
    return Response(ResponseCode.OK, None, result, tuple(map(ResponseDetail, words)))


def refused(code: ResponseCode, *words: str) -> Response:
    """An answer that says no."""
    return Response(code, None, None, tuple(map(ResponseDetail, words)))


class Server:
    """Answers each call by *answer*; keeps what it got."""

    def __init__(self, answer: Callable[[Sent], Answer]) -> None:
        self.sent: list[Sent] = []
        self.is_over = threading.Event()
        self._connections: list[socket.socket] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # one write for each answer: Nagle would hold the second one back

            def setup(self) -> None:
                outer._connections.append(self.request)
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                call = thrift.decode_call(body, Protocol.BINARY)
                sent = Sent(call.name, call.arguments, dict(self.headers), self.requestline)
                outer.sent.append(sent)
                self._reply(_reply(sent, call.seqid, answer(sent)))

            def do_HEAD(self) -> None:
                sent = Sent("HEAD", {}, dict(self.headers), self.requestline)
                outer.sent.append(sent)
                found = answer(sent)
                assert isinstance(found, Reply)
                self._reply(found)

            def do_GET(self) -> None:
                sent = Sent("GET", {}, dict(self.headers), self.requestline)
                outer.sent.append(sent)
                found = answer(sent)
                assert isinstance(found, Reply)
                self._reply(found)

            def _reply(self, reply: Reply) -> None:
                if reply.status < 0:
                    outer.is_over.wait(30)
                if reply.status <= 0:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Threaded(ThreadingHTTPServer):
            daemon_threads = False

        self._server = Threaded(("127.0.0.1", 0), Handler)
        self._server.block_on_close = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def methods(self) -> list[str]:
        """Names of all calls, in order."""
        return [sent.method for sent in self.sent]

    def close(self) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._thread.join()
        # urllib3 closes what a client kept only when Python collects it.
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def _reply(sent: Sent, seqid: int, answer: Answer) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if answer is None or isinstance(answer, Result):
        answer = ok(answer)
    return Reply(200, thrift.encode_reply(sent.method, seqid, answer, Protocol.BINARY))


@contextlib.contextmanager
def server(answer: Callable[[Sent], Answer]) -> Iterator[Server]:
    """A server, for as long as the test needs it."""
    made = Server(answer)
    try:
        yield made
    finally:
        made.close()


def in_turn(*answers: Answer) -> Callable[[Sent], Answer]:
    """Gives one answer after the other; the last one for ever."""
    left = list(answers)
    return lambda sent: left.pop(0) if len(left) > 1 else left[0]


def by_method(answers: Mapping[str, Any]) -> Callable[[Sent], Answer]:
    """Gives each method its answer: one, a list to be given in turn, or a function of the request."""
    turns = {name: in_turn(*value) if isinstance(value, list) else value for name, value in answers.items()}

    def answer(sent: Sent) -> Answer:
        found = turns[sent.method]
        if callable(found):
            result: Answer = found(sent)
            return result
        return found  # type: ignore[no-any-return]

    return answer


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Client:
    """The commands of one user, with a home and a clusters.json of their own, and a clock that sleeping moves."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.mono_s = 1000.0
        self.slept_s: list[float] = []
        self.opened: list[str] = []
        self.timeouts_s: tuple[float, float] | None = None
        self.on_sleep: Callable[[], None] = lambda: None
        self.environ: dict[str, str] = {
            "HOME": str(path), "AURORA_CONFIG_ROOT": str(path), "PATH": "/usr/local/bin:/usr/bin:/bin",
        }  # fmt: skip
        self._capsys = capsys

    def cluster(self, **keys: Any) -> None:
        """Write clusters.json with one cluster, ``west``."""
        (self.path / "clusters.json").write_text(json.dumps([{"name": "west", **keys}]))

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.mono_s += seconds
        self.on_sleep()

    def world(self, **more: Any) -> World:
        return World(
            environ=self.environ,
            mono_s=lambda: self.mono_s,
            wall_s=lambda: START_S + self.mono_s - 1000,
            sleep=self.sleep,
            open_page=self.opened.append,
            user=lambda: "golduser",
            **more,
        )

    def aurora(self, *words: str, members: leader.Members | None = None, **world: Any) -> Done:
        """Run ``aurora``."""
        return self._run(main.main, USER_AGENT, words, members, world)

    def admin(self, *words: str, members: leader.Members | None = None, **world: Any) -> Done:
        """Run ``aurora_admin``."""
        return self._run(admin_main.main, ADMIN_USER_AGENT, words, members, world)

    def _run(
        self,
        program: Callable[[Sequence[str], Session], int],
        agent: str,
        words: Sequence[str],
        members: leader.Members | None,
        world: Mapping[str, Any],
    ) -> Done:
        def transport(user_agent: str, bypass: bool) -> Transport:
            return Transport(user_agent, bypass, self.timeouts_s)

        self._capsys.readouterr()
        session = Session(self.world(**world), agent, transport, members)
        try:
            code = program(words, session)
        except SystemExit as error:
            assert isinstance(error.code, int)
            code = error.code
        finally:
            session.close()
        return Done(code, *self._capsys.readouterr())
