"""A small HTTP/1.1 server in one loop: answers, and streams that last as long as both sides are there.

The protocol is h11's. A thread for each stream, as servers of WSGI have it, would be a thread for each executor.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from thermos.host.loop import Loop

log = logging.getLogger(__name__)

#: A call of 1,000 launches with their configurations is some megabytes.
MAX_BODY_BYTES: Final = 64 << 20
#: Of what a peer did not read; more, and it is dropped.
MAX_UNREAD_BYTES: Final = 256 << 20
_CHUNK_BYTES: Final = 256 << 10
_BACKLOG: Final = 128

_PLAIN: Final = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """A request that is complete. Names of *headers* are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    #: Whose connection it is, on this machine; None: nobody's any more.
    uid: int | None


class Exchange:
    """What a request is answered by. Nothing of it fails when the peer is gone: then *on_lost* was called."""

    def __init__(self, connection: _Connection, request: Request) -> None:
        self.request = request
        self.on_lost: Callable[[], object] | None = None
        self._connection = connection

    def answer(
        self, status: int, body: bytes | str = b"", content_type: str = _PLAIN, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """The whole answer."""
        data = body.encode() if isinstance(body, str) else body
        fields = [("Content-Length", str(len(data))), *headers]
        if data:
            fields.append(("Content-Type", content_type))
        self._connection.send(h11.Response(status_code=status, headers=fields), h11.Data(data=data), h11.EndOfMessage())
        self._connection.finish(self)

    def open_stream(self, content_type: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer 200, with a body that is sent bit by bit."""
        fields = [("Transfer-Encoding", "chunked"), ("Content-Type", content_type), *headers]
        self._connection.send(h11.Response(status_code=200, headers=fields))

    def send(self, data: bytes) -> None:
        """Some more of the body."""
        self._connection.send(h11.Data(data=data))

    def end(self) -> None:
        """The body is complete; ``on_lost`` is not called."""
        self.on_lost = None
        self._connection.send(h11.EndOfMessage())
        self._connection.finish(self)


class Server:
    """Listens on *address*, and has *handle* called with every request."""

    def __init__(self, loop: Loop, address: tuple[str, int], handle: Callable[[Exchange], object]) -> None:
        self._loop = loop
        self._handle = handle
        self._connections: set[_Connection] = set()
        self._socket = socket.socket()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def start(self) -> None:
        """Take connections from now on."""
        self._loop.watch(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return  # gone already, or no descriptor is left: whoever it is comes again
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(_Connection(self._loop, peer, self._handle, self._connections.discard))

    def close(self) -> None:
        """Listen no more, and drop every connection."""
        if self._socket.fileno() < 0:
            return
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        for connection in list(self._connections):
            connection.close()


class _Connection:
    def __init__(
        self,
        loop: Loop,
        peer: socket.socket,
        handle: Callable[[Exchange], object],
        on_closed: Callable[[_Connection], object],
    ) -> None:
        self._loop = loop
        self._peer = peer
        self._handle = handle
        self._on_closed = on_closed
        self._http = h11.Connection(h11.SERVER)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._unsent = bytearray()
        self._exchange: Exchange | None = None
        self._is_last = False
        self._is_closed = False
        self._uid = uid_of(peer)
        self._watch()

    def _watch(self) -> None:
        self._loop.watch(self._peer.fileno(), self._read, self._flush if self._unsent else None)

    # -- in ------------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = self._peer.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data and self._exchange is not None:
            self.close()  # a stream's peer that sends no more reads no more, either
            return
        try:
            self._http.receive_data(data)
            self._next()
        except h11.RemoteProtocolError as error:
            log.warning("a peer speaks no HTTP: %s", error)
            self.close()

    def _next(self) -> None:
        """Take what has come, up to the end of a request."""
        while not self._is_closed and self._exchange is None:
            event = self._http.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                if self._http.they_are_waiting_for_100_continue:
                    self.send(h11.InformationalResponse(status_code=100, headers=[]))
                return
            if isinstance(event, h11.Request):
                self._head = event
                self._body.clear()
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_BODY_BYTES:
                    log.warning("a request of more than %d bytes is dropped", MAX_BODY_BYTES)
                    self.close()
            elif isinstance(event, h11.EndOfMessage):
                self._dispatch()
            elif isinstance(event, h11.ConnectionClosed):
                self.close()

    def _dispatch(self) -> None:
        head = self._head
        assert head is not None
        target = urlsplit(head.target.decode("ascii", "replace"))
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        request = Request(
            head.method.decode("ascii"), unquote(target.path), query, headers, bytes(self._body), self._uid
        )
        self._exchange = Exchange(self, request)
        self._handle(self._exchange)

    # -- out -----------------------------------------------------------------------------------------------------------

    def send(self, *events: h11.Event) -> None:
        """Send what can be sent, and the rest when it can."""
        if self._is_closed:
            return
        for event in events:
            data = self._http.send(event)
            if data:
                self._unsent += data
        self._flush()

    def finish(self, exchange: Exchange) -> None:
        """The answer is complete: another request may come, if the peer said nothing else."""
        if self._is_closed or self._exchange is not exchange:
            return
        self._exchange = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._loop.post(self._resume)
        else:
            self._is_last = True
            self._flush()

    def _resume(self) -> None:
        """There may be a request that came with the one before."""
        if self._is_closed or self._exchange is not None:
            return
        try:
            self._next()
        except h11.RemoteProtocolError:
            self.close()

    def _flush(self) -> None:
        if self._is_closed:
            return
        try:
            while self._unsent:
                sent = self._peer.send(memoryview(self._unsent)[:_CHUNK_BYTES])
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._loop.post(self.close)  # not now: whoever sends may be in the middle of something
            return
        if len(self._unsent) > MAX_UNREAD_BYTES:
            log.warning("a peer that reads nothing is dropped")
            self._loop.post(self.close)
        elif self._is_last and not self._unsent:
            self.close()
        else:
            self._watch()

    def close(self) -> None:
        """Be gone; whoever answers is told."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.unwatch(self._peer.fileno())
        self._peer.close()
        self._on_closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.on_lost is not None:
            exchange.on_lost()


def uid_of(peer: socket.socket) -> int | None:
    """The user at the other end of a connection within this machine; None if it is not there any more.

    Source: proc(5), ``/proc/net/tcp``: addresses are written as the kernel has them in memory.
    """
    theirs, ours = _written(peer.getpeername()), _written(peer.getsockname())
    with open("/proc/net/tcp", "rb") as table:
        for line in table:
            fields = line.split(None, 8)
            if fields[1] == theirs and fields[2] == ours:
                return int(fields[7])
    return None


def _written(address: tuple[str, int]) -> bytes:
    host = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return b"%08X:%04X" % (host, address[1])
