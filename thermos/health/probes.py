"""Ways to ask a task how it is: over HTTP, by a TCP connection. Each answers once, within its time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

from thermos.health.connecting import Connecting
from thermos.host.http_client import Request, Response
from thermos.host.loop import Loop

#: Of what was expected and what came, so many characters are told.
_TOLD = 40


class Result(NamedTuple):
    """What a probe found. *failure*: what is wrong, in words; None: the task is well."""

    failure: str | None
    latency_s: float


#: Gives a probe up: whoever waits for it is not told any more.
Cancel = Callable[[], None]
Done = Callable[[Result], object]


class Probe(Protocol):
    """One way to ask."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def start(self, loop: Loop, done: Done) -> Cancel:
        """Ask; *done* is called once, from the loop, unless it is cancelled. Does not block."""
        ...


class HttpProbe(NamedTuple):
    """GET a page of the task: status and body tell. Fields as in Aurora's HttpHealthChecker."""

    port: int
    endpoint: str = "/health"
    expected_response: str = "ok"
    expected_response_code: int = 0
    timeout_s: float = 1.0
    name: str = "http"
    #: Ask over https; whose certificate it is is not asked.
    tls: bool = False

    def start(self, loop: Loop, done: Done) -> Cancel:
        """Ask."""
        request = Request(
            loop,
            self.port,
            self.endpoint,
            lambda response: done(Result(self._judge(response), response.latency_s)),
            timeout_s=self.timeout_s,
            tls=self.tls,
        )
        return request.cancel

    def _judge(self, response: Response) -> str | None:
        where = f"{'https' if self.tls else 'http'}://localhost:{self.port}{self.endpoint}"
        if response.error is not None:
            return f"{where}: {response.error}"
        # As the original: of an answer that is an error only the code counts, its body is taken as empty.
        body = response.body if response.status < 400 else b""
        if self.expected_response:
            found = body.decode("utf-8", "replace").strip().lower()
            if found != self.expected_response.lower():
                answer = _short(found) if response.status < 400 else f"status {response.status}"
                return f"{where} answered {answer} instead of {_short(self.expected_response)}"
        if self.expected_response_code and response.status != self.expected_response_code:
            return f"{where} answered with status {response.status} instead of {self.expected_response_code}"
        return None


class TcpProbe(NamedTuple):
    """Connect to a port of the task: that somebody listens is enough."""

    port: int
    timeout_s: float = 1.0
    name: str = "tcp"

    def start(self, loop: Loop, done: Done) -> Cancel:
        """Connect."""
        return _Connection(loop, self, done).cancel


class _Connection:
    """One attempt to connect, in its time."""

    def __init__(self, loop: Loop, probe: TcpProbe, done: Done) -> None:
        self._loop = loop
        self._port = probe.port
        self._done = done
        self._began_s = loop.now_s()
        loop.call_later(self, probe.timeout_s, lambda: self._end(f"no connection within {probe.timeout_s:g} s"))
        self._connecting = Connecting(loop, probe.port, self._connected)

    def _connected(self, made: socket.socket | str) -> None:
        if isinstance(made, str):
            self._end(made)
        else:
            made.close()
            self._end(None)

    def _end(self, failure: str | None) -> None:
        self.cancel()
        told = f"port {self._port}: {failure}" if failure is not None else None
        self._done(Result(told, self._loop.now_s() - self._began_s))

    def cancel(self) -> None:
        self._loop.cancel(self)
        self._connecting.cancel()


def _short(text: str) -> str:
    """*text* in quotes, cut, with nothing in it that a log would not show."""
    return repr(text if len(text) <= _TOLD else text[: _TOLD - 1] + "…")
