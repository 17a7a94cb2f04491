"""The server: waitress in a thread of its own beside the observer's loop."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

log = logging.getLogger(__name__)

MAX_HEADER_BYTES: Final = 16 << 10
#: So much of each body that comes in is held in memory, the rest in a nameless file.
HELD_BODY_BYTES: Final = 512 << 10
#: Time that requests which are being worked on get at the end.
STOP_S: Final = 2


class Limits(NamedTuple):
    """What keeps one client from holding up the others, and all of them from holding up the host."""

    #: Requests worked on at the same time. Files are sent by the server's own thread, so a slow reader holds none.
    threads: int = 4
    #: Connections at the same time.
    connections: int = 64
    #: A connection on which nothing moves for this long is closed.
    idle_s: int = 30
    #: A request must have come whole in this time from its first byte: one byte now and then holds no connection.
    request_s: float = 20.0
    #: How often connections are looked at, while there are any; without any, the thread sleeps.
    look_s: int = 5
    #: A body as long as this is refused; 1: nothing has a body.
    body_bytes: int = 1
    #: What waits to be sent is held in memory up to this, more than any page has, and beyond it in a nameless file.
    held_bytes: int = 16 << 20


class _Parser(HTTPRequestParser):
    """Answers an address that is none with 400, where waitress would close the connection and log an error."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("the address is none") from None


class Channel(HTTPChannel):
    """A connection that remembers when its request began."""

    parser_class = _Parser
    began_s: float | None = None

    def received(self, data: bytes) -> bool:
        result = bool(super().received(data))
        if self.request is None:
            self.began_s = None
        elif self.began_s is None:
            self.began_s = time.monotonic()
        return result


class _Workers(ThreadedTaskDispatcher):
    """Workers that do not complain about each request that has to wait a moment."""

    queue_logger = logging.Logger("waitress.queue", logging.ERROR)


class _Server(TcpWSGIServer):
    channel_class = Channel
    #: What is made of a connection's socket; None: nothing.
    wrap: Callable[[socket.socket], socket.socket] | None = None
    #: Paths that have a worker of their own, and that one.
    apart: Collection[str] = ()
    apart_worker: ThreadedTaskDispatcher

    def add_task(self, task: Any) -> None:
        is_apart = getattr(task.requests[0], "path", None) in self.apart
        (self.apart_worker if is_apart else self.task_dispatcher).add_task(task)

    def accept(self) -> Any:
        """The next connection and its address. Its OSError is waitress' to take: it drops that connection."""
        accepted = super().accept()
        if accepted is None or self.wrap is None:
            return accepted
        return self.wrap(accepted[0]), accepted[1]

    def maintenance(self, now: int) -> None:
        """Nothing: waitress only marks what is late, and closes it when the client reads on. See ``close_late``."""

    def close_late(self, limits: Limits) -> None:
        """Close connections on which nothing moves, and those whose request takes too long to come."""
        silent_s, late_s = time.time() - limits.idle_s, time.monotonic() - limits.request_s
        channels: Any = self.active_channels
        for channel in list(channels.values()):
            is_silent = not channel.requests and channel.last_activity < silent_s
            if is_silent or (channel.began_s is not None and channel.began_s < late_s):
                channel.handle_close()


class Server:
    """Answers requests from when it is made until ``close``."""

    def __init__(
        self,
        host: str,
        port: int,
        app: WSGIApplication,
        limits: Limits | None = None,
        *,
        channel: type[Channel] = Channel,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
        apart: Collection[str] = (),
    ) -> None:
        """Listens; port 0: a free one. Raises OSError where it cannot. *channel* speaks with what *wrap* makes of a
        connection's socket. Paths in *apart* are answered even while all workers wait for something."""
        limits = limits or Limits()
        settings = Adjustments(
            host=host,
            port=port,
            threads=limits.threads,
            connection_limit=limits.connections,
            channel_timeout=limits.idle_s,
            cleanup_interval=limits.look_s,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=limits.body_bytes,
            outbuf_overflow=limits.held_bytes,
            inbuf_overflow=HELD_BODY_BYTES,
            expose_tracebacks=False,
            log_socket_errors=False,
            clear_untrusted_proxy_headers=True,
            ident=None,
            asyncore_use_poll=True,
        )
        self._map: Any = {}  # waitress's types, which others wrote, are wrong about it and the server
        self._dispatcher = _Workers()
        self._apart = _Workers()
        self._is_closing = False
        self._is_over = False
        self._lock = threading.Lock()
        listen: Any = settings.listen[0]
        try:
            self._server: Any = _Server(app, self._map, dispatcher=self._dispatcher, adj=settings, sockinfo=listen)
        except OSError as error:
            wasyncore.close_all(self._map)
            words = f"cannot listen on {host}, port {port}: {error.strerror or error}"
            raise OSError(error.errno, words) from None
        self._server.channel_class = channel
        self._server.wrap = wrap
        self._server.apart, self._server.apart_worker = apart, self._apart
        self._limits = limits
        self._dispatcher.set_thread_count(limits.threads)
        self._apart.set_thread_count(1 if apart else 0)
        self._thread = threading.Thread(target=self._run, name="serve", daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, host: str, port: int, app: WSGIApplication) -> Server:
        """A server that listens on *host* and *port*."""
        return cls(host, port, app)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.effective_port)

    def _run(self) -> None:
        try:
            look_s = 0.0
            while not self._is_told_to_end():
                if time.monotonic() >= look_s:
                    self._server.close_late(self._limits)
                    look_s = time.monotonic() + self._limits.look_s
                # None: until something happens
                timeout_s: Any = self._limits.look_s if self._server.active_channels else None
                wasyncore.poll2(timeout_s, self._map)
        finally:  # also where it fails: nobody waits then for an answer that does not come
            with self._lock:
                self._is_over = True
            for channel in list(self._server.active_channels.values()):
                channel.handle_close()  # wakes up a worker that waits for room in it
            self._dispatcher.shutdown(timeout=STOP_S)
            self._apart.shutdown(timeout=STOP_S)
            if self._dispatcher.threads or self._apart.threads:
                # A worker that is late will want to wake us, by a descriptor that must not be somebody else's by then.
                wasyncore.dispatcher.close(self._server)
            else:
                self._server.close()

    def _is_told_to_end(self) -> bool:
        with self._lock:
            return self._is_closing

    def close(self) -> None:
        """Stop listening, cut off what is under way, end all threads; may be called twice."""
        with self._lock:
            if not self._is_closing and not self._is_over:
                self._server.pull_trigger()
            self._is_closing = True
        self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
