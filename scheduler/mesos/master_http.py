"""HTTP to the master: a subscription, and a connection for calls. Both block; the protocol is the stdlib's."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from scheduler.mesos.finder import MASTER_PORT
from scheduler.mesos.session import Address, SessionEvent, StreamOpened, StreamRefused
from thermos.formats import recordio

#: Both this and ``/api/v1/scheduler`` are the master's (mesos/docs/endpoints/master/api/v1/scheduler.md).
PATH: Final = "/master/api/v1/scheduler"
#: One OFFERS may hold every agent: 1.1 kB each with few attributes.
MAX_EVENT_BYTES: Final = 512 << 20
_READ_BYTES: Final = 1 << 18
#: Of an answer that is no stream: enough for the reason in it.
_MAX_REASON_BYTES: Final = 2 << 10
#: A master that is busy with ten thousand agents takes its time.
CALL_ANSWER_S: Final = 30.0
_LATE_S: Final = 0.005
ACCEPTED: Final = 202
BAD_REQUEST: Final = 400
_OK: Final = 200
#: A connection that carries nothing for a minute is asked whether it lives: a master's machine may be gone.
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


class Link(NamedTuple):
    """A subscription that calls can be made under."""

    number: int
    address: Address
    stream_id: str
    framework_id: str


class Stream:
    """One subscription."""

    def __init__(self, connection: http.client.HTTPConnection, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._headers = headers
        self._answer: http.client.HTTPResponse | None = None
        self._records = recordio.Decoder(MAX_EVENT_BYTES)
        self._hook: socket.socket | None = None
        self._socket: socket.socket | None = None
        self.stream_id = ""

    @property
    def is_open(self) -> bool:
        """Whether events come."""
        return self._answer is not None

    def open(self, body: bytes) -> SessionEvent:
        """Connect and subscribe. Raises OSError, HTTPException."""
        _connect(self._connection)
        self._socket = self._connection.sock  # ours: the library forgets its own where "Connection: close" is answered
        # To end a wait in another thread: the standard library's TLS socket must not be touched from there.
        self._hook = socket.socket(fileno=os.dup(self._connection.sock.fileno()))
        self._connection.request("POST", PATH, body, dict(self._headers))
        answer = self._connection.getresponse()
        if answer.status == _OK:
            self.stream_id = answer.headers.get("Mesos-Stream-Id", "")
            self._answer = answer
            return StreamOpened()
        reason = _said(answer.read(_MAX_REASON_BYTES))
        return StreamRefused(answer.status, reason, _location(answer.headers.get("Location")))

    def read(self, left_s: float | None) -> list[bytes]:
        """The records that the next bytes complete. Raises TimeoutError, other OSErrors, HTTPException, FrameError."""
        assert self._answer is not None
        assert self._socket is not None
        # a little late, so that a deadline has surely passed; nothing can be read after a time-out
        self._socket.settimeout(None if left_s is None else left_s + _LATE_S)
        data = self._answer.read1(_READ_BYTES)
        if not data:
            raise ConnectionResetError("the master closed the connection")
        payloads = self._records.feed(data)
        if self._records.error is not None:
            raise self._records.error
        return payloads

    def end(self) -> None:
        """From another thread: no more bytes."""
        if self._hook is not None:
            with contextlib.suppress(OSError):
                self._hook.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Be gone, without a word."""
        if self._hook is not None:
            self.end()
            self._hook.close()
        if self._answer is not None:
            self._answer.close()
        self._connection.close()


class Line:
    """The connection for calls, kept for as long as it is of use."""

    def __init__(self, connect: Callable[[Address, float], http.client.HTTPConnection], headers: Mapping[str, str]):
        self._connect = connect
        self._headers = headers
        self._connection: http.client.HTTPConnection | None = None
        self._number = 0

    def post(self, link: Link, body: bytes) -> tuple[int, str]:
        """The answer's status and words. Raises OSError, HTTPException."""
        if link.number != self._number or self._was_closed():
            self.close()
        try:
            if self._connection is None:
                self._connection = self._connect(link.address, CALL_ANSWER_S)
                self._number = link.number
                _connect(self._connection)
            self._connection.request("POST", PATH, body, {**self._headers, "Mesos-Stream-Id": link.stream_id})
            answer = self._connection.getresponse()
            reason = _said(answer.read(_MAX_REASON_BYTES))
            if not answer.isclosed():  # a longer one
                self.close()
            return answer.status, reason
        except BaseException:
            self.close()
            raise

    def _was_closed(self) -> bool:
        """Between two answers nothing comes but the end; ``Connection: close`` ended it before."""
        if self._connection is None:
            return False
        return self._connection.sock is None or bool(select.select([self._connection.sock], [], [], 0)[0])

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(connection: http.client.HTTPConnection) -> None:
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _location(text: str | None) -> Address | None:
    """The address in a ``Location``, as ``//10.0.0.1:5050/master/api/v1/scheduler``."""
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        return Address(parts.hostname, parts.port or MASTER_PORT) if parts.hostname else None
    except ValueError:
        return None


def _said(data: bytes) -> str:
    """The body of an answer, as words."""
    text = data.decode("utf-8", "replace")
    return "".join(one if one.isprintable() else " " for one in text).strip() or "no reason given"


def words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
