"""A connection to a port of this host, at each address that "localhost" may have, within a loop."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from thermos.host.http_client import LOOPBACK
from thermos.host.loop import Loop


class Connecting:
    """An attempt under way; *done* is given the socket, or why there is none, once, unless it is cancelled.

    It has no time of its own: whoever asked cancels it.
    """

    def __init__(self, loop: Loop, port: int, done: Callable[[socket.socket | str], object]) -> None:
        self._loop = loop
        self._port = port
        self._done = done
        self._addresses = list(LOOPBACK)
        self._socket: socket.socket | None = None
        self._try_next("no address")

    def _try_next(self, why: str) -> None:
        self._close()
        if not self._addresses:
            self._loop.call_later(self, 0.0, lambda: self._done(why))  # not before our maker has us in hand
            return
        host = self._addresses.pop(0)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            result = self._socket.connect_ex((host, self._port))
        except (OSError, OverflowError) as error:
            self._try_next(str(getattr(error, "strerror", None) or error))
            return
        if result not in (0, errno.EINPROGRESS):
            self._try_next(os.strerror(result))
            return
        self._loop.watch(self._socket.fileno(), None, self._connected)

    def _connected(self) -> None:
        assert self._socket is not None
        result = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result:
            self._try_next(os.strerror(result))
            return
        made, self._socket = self._socket, None
        self._loop.unwatch(made.fileno())
        self._done(made)

    def cancel(self) -> None:
        """Give it up; nothing if it is over."""
        self._loop.cancel(self)
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
