"""A check over gRPC, by the protocol that its servers have for that: ``grpc.health.v1.Health/Check``.

HTTP/2 is h2's; here are only the socket, the time and the limits. Import this only where a task has such a check:
h2 costs an executor 2 MB.
"""

from __future__ import annotations

import socket
from typing import Final, NamedTuple
from urllib.parse import unquote

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error

from thermos.formats import grpc_health
from thermos.health.connecting import Connecting
from thermos.health.probes import Cancel, Done, Result
from thermos.host.loop import Loop

#: An answer has a few bytes; more than this of it is not kept, and more than that is not read.
MAX_BODY_BYTES: Final = 4 << 10
MAX_READ_BYTES: Final = 256 << 10
_READ_BYTES: Final = 16 << 10
_STREAM: Final = 1
#: Of what a server says about an error, so much is told.
_TOLD: Final = 200


class GrpcProbe(NamedTuple):
    """Ask how *service* is; empty: the server as a whole."""

    port: int
    service: str = ""
    timeout_s: float = 1.0
    name: str = "grpc"

    def start(self, loop: Loop, done: Done) -> Cancel:
        """Ask."""
        return _Call(loop, self, done).cancel


class _Call:
    """One call under way."""

    def __init__(self, loop: Loop, probe: GrpcProbe, done: Done) -> None:
        self._loop = loop
        self._probe = probe
        self._done = done
        self._began_s = loop.now_s()
        self._socket: socket.socket | None = None
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._unsent = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._received_bytes = 0
        late = f"no answer within {probe.timeout_s:g} s"
        loop.call_later(self, probe.timeout_s, lambda: self._end(late))
        self._connecting = Connecting(loop, probe.port, self._connected)

    def cancel(self) -> None:
        self._loop.cancel(self)
        self._connecting.cancel()
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _end(self, failure: str | None) -> None:
        self.cancel()
        what = f"grpc://localhost:{self._probe.port}/{self._probe.service}"
        told = f"{what}: {failure}" if failure is not None else None
        self._done(Result(told, self._loop.now_s() - self._began_s))

    # -- Asking ----------------------------------------------------------------------------------------------------

    def _connected(self, made: socket.socket | str) -> None:
        if isinstance(made, str):
            self._end(made)
            return
        self._socket = made
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", grpc_health.PATH),
            (":authority", f"localhost:{self._probe.port}"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "thermos"),
            ("grpc-timeout", f"{min(max(int(self._probe.timeout_s * 1000), 1), 10**8 - 1)}m"),
        ]
        self._http.initiate_connection()
        self._http.send_headers(_STREAM, headers)
        self._http.send_data(_STREAM, grpc_health.request(self._probe.service), end_stream=True)
        self._send()

    def _send(self) -> None:
        assert self._socket is not None
        self._unsent += self._http.data_to_send()
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :] if self._unsent else b""
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""  # it may have answered before it stopped listening
        self._loop.watch(self._socket.fileno(), self._readable, self._send if self._unsent else None)

    # -- Hearing ---------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"the connection broke ({error.strerror})")
            return
        self._received_bytes += len(data)
        if not data:
            self._end("it hung up without an answer")
            return
        if self._received_bytes == len(data) and data.startswith(b"HTTP/1."):
            self._end("it speaks HTTP/1, and gRPC is HTTP/2")
            return
        if self._received_bytes > MAX_READ_BYTES:
            self._end(f"it answered more than {MAX_READ_BYTES} bytes")
            return
        try:
            for event in self._http.receive_data(data):
                if self._take(event):
                    return
        except (H2Error, UnicodeDecodeError) as error:
            self._end(f"what it answered is no HTTP/2 ({error})")
            return
        self._send()

    def _take(self, event: events.Event) -> bool:
        """Take in one event; whether it was the last."""
        if isinstance(event, (events.ResponseReceived, events.TrailersReceived)):
            self._headers.update((str(name), str(value)) for name, value in event.headers or ())
        elif isinstance(event, events.DataReceived):
            self._body += event.data[: MAX_BODY_BYTES - len(self._body)]
            self._http.acknowledge_received_data(event.flow_controlled_length, _STREAM)
        elif isinstance(event, events.StreamEnded):
            self._end(_judge(self._headers, bytes(self._body)))
            return True
        elif isinstance(event, events.StreamReset):
            self._end(f"it broke the call off (HTTP/2 error {int(event.error_code)})")
            return True
        elif isinstance(event, events.ConnectionTerminated) and event.error_code:
            self._end(f"it ended the connection (HTTP/2 error {int(event.error_code)})")
            return True
        return False


def _judge(headers: dict[str, str], body: bytes) -> str | None:
    """What is wrong; None: it serves."""
    if headers.get(":status") != "200":
        return f"it answered with status {headers.get(':status', '?')[:_TOLD]}"
    code = headers.get("grpc-status", "")
    if code != "0":
        known = code.isascii() and code.isdecimal() and len(code) < 3 and int(code) < len(grpc_health.CODES)
        words = grpc_health.CODES[int(code)] if known else f"status {code[:_TOLD]!r}"
        message = unquote(headers.get("grpc-message", "")[: 3 * _TOLD])[:_TOLD]
        return f"the call ended with {words}" + (f": {message!r}" if message else "")
    try:
        status = grpc_health.read_answer(body)
    except grpc_health.BadAnswer as error:
        return str(error)
    if status != grpc_health.SERVING:
        return f"it says {grpc_health.STATUSES.get(status, str(status))}"
    return None
