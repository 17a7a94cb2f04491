"""The server: waitress in a thread of its own beside the observer's loop."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)

#: Requests worked on at the same time. Files are sent by the server's own thread, so a slow reader holds none.
THREADS: Final = 4
#: Connections at the same time.
CONNECTIONS: Final = 100
#: A connection on which nothing moves for this long is closed.
IDLE_S: Final = 30
#: A request must have come whole in this time from its first byte: one byte now and then holds no connection.
REQUEST_S: Final = 20.0
#: How often connections are looked at, while there are any; without any, the thread sleeps.
LOOK_S: Final = 5.0
MAX_HEADER_BYTES: Final = 16 << 10
#: Nothing has a body here; waitress refuses one as long as this.
MAX_BODY_BYTES: Final = 1
#: What waits to be sent is held in memory up to this, more than any page has, and never in a file.
HELD_BYTES: Final = 16 << 20


class _Channel(HTTPChannel):
    """A connection that remembers when its request began."""

    began_s: float | None = None

    def received(self, data: bytes) -> bool:
        result = bool(super().received(data))
        if self.request is None:
            self.began_s = None
        elif self.began_s is None:
            self.began_s = time.monotonic()
        return result


class _Server(TcpWSGIServer):
    channel_class = _Channel

    def maintenance(self, now: int) -> None:
        super().maintenance(now)
        late_s = time.monotonic() - REQUEST_S
        channels: Any = self.active_channels
        for channel in channels.values():
            began_s = channel.began_s
            if began_s is not None and began_s < late_s:
                channel.will_close = True


class Server:
    """Answers requests from when it is made until ``close``."""

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        """Listens; port 0: a free one. Raises OSError where it cannot."""
        settings = Adjustments(
            host=host,
            port=port,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_S,
            cleanup_interval=int(LOOK_S),
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
            outbuf_overflow=HELD_BYTES,
            inbuf_overflow=HELD_BYTES,
            expose_tracebacks=False,
            log_socket_errors=False,
            clear_untrusted_proxy_headers=True,
            ident=None,
            asyncore_use_poll=True,
        )
        self._map: Any = {}  # waitress's types, which others wrote, are wrong about it and the server
        self._dispatcher = ThreadedTaskDispatcher()
        self._is_closing = False
        listen: Any = settings.listen[0]
        self._server: Any = _Server(app, self._map, dispatcher=self._dispatcher, adj=settings, sockinfo=listen)
        self._dispatcher.set_thread_count(THREADS)
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
        while not self._is_closing:
            timeout_s: Any = LOOK_S if self._server.active_channels else None  # None: until something happens
            wasyncore.poll2(timeout_s, self._map)

    def close(self) -> None:
        """Stop listening, end what is under way, end all threads; may be called twice."""
        if self._is_closing:
            return
        self._is_closing = True
        self._server.pull_trigger()
        self._thread.join()
        self._dispatcher.shutdown(timeout=2)
        wasyncore.close_all(self._map)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self.close()
