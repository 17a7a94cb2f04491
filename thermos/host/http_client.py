"""One HTTP/1.1 request to a service on this host, within a loop: nothing blocks, every answer has a bound.

The protocol is h11's; here are only the socket, the time and the limits. ``http.client`` would cost each of a
node's hundreds of executors 8 MB, and its calls block. ``ssl`` is imported only for a request over https.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import h11

from thermos.host.loop import Loop

if TYPE_CHECKING:
    import ssl

#: Where "localhost" may listen.
LOOPBACK: Final = ("127.0.0.1", "::1")
#: More of a body than this is not read.
MAX_BODY_BYTES: Final = 64 << 10
#: How often a service may send us on to another of its pages.
MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: At once. A whole record of TLS, so that no decrypted byte is left where no selector sees it.
_READ_BYTES: Final = 16 << 10
#: Of a path or an address that is none, so many characters are told.
_TOLD: Final = 60


class Response(NamedTuple):
    """What came of a request. *error*: why there is no answer, in words; then *status* is 0."""

    status: int
    body: bytes
    error: str | None
    latency_s: float
    #: The body was longer than what is kept of it.
    is_cut: bool = False


class Request:
    """A request under way; ``done`` is called once, from the loop, unless it is cancelled.

    *path* is given a leading slash where it has none.
    """

    def __init__(
        self,
        loop: Loop,
        port: int,
        path: str,
        done: Callable[[Response], object],
        *,
        timeout_s: float,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        hosts: Sequence[str] = LOOPBACK,
        max_body_bytes: int = MAX_BODY_BYTES,
        tls: bool = False,
    ) -> None:
        self._loop = loop
        self._port = port
        self._path = path if path.startswith("/") else f"/{path}"
        self._done = done
        self._method = method
        self._headers = dict(headers or {})
        self._hosts = tuple(hosts)
        self._max_body_bytes = max_body_bytes
        self._scheme = "https" if tls else "http"
        self._redirects = 0
        self._began_s = loop.now_s()
        self._is_over = False
        self._socket: socket.socket | None = None
        self._unsent = b""
        self._connection = h11.Connection(h11.CLIENT)
        self._host = 0
        loop.call_later(self, timeout_s, lambda: self._fail(f"no answer within {timeout_s:g} s"))
        self._open()

    def cancel(self) -> None:
        """Give it up; ``done`` is not called any more."""
        self._is_over = True
        self._loop.cancel(self)
        self._close()

    # -- Connecting ------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        host = self._hosts[self._host]
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            result = self._socket.connect_ex((host, self._port))
        except (OSError, OverflowError) as error:
            self._refused(str(getattr(error, "strerror", None) or error))
            return
        if result not in (0, errno.EINPROGRESS):
            self._refused(os.strerror(result))
            return
        self._loop.watch(self._socket.fileno(), None, self._connected)

    def _refused(self, why: str) -> None:
        self._close()
        self._host += 1
        if self._host < len(self._hosts):
            self._open()
        else:
            # Not from within the constructor: whoever asked does not have this request in hand yet.
            self._loop.call_later(self, 0.0, lambda: self._fail(f"port {self._port}: {why}"))

    def _connected(self) -> None:
        assert self._socket is not None
        result = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result:
            self._loop.unwatch(self._socket.fileno())
            self._refused(os.strerror(result))
            return
        if self._scheme == "http":
            self._ask()
            return
        self._loop.unwatch(self._socket.fileno())
        try:
            self._socket = _tls().wrap_socket(self._socket, server_hostname="localhost", do_handshake_on_connect=False)
        except OSError as error:
            self._fail(f"no TLS: {error.strerror or error}")
            return
        self._shake()

    def _shake(self) -> None:
        """One step of the TLS handshake."""
        import ssl

        assert isinstance(self._socket, ssl.SSLSocket)
        fd = self._socket.fileno()
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._loop.watch(fd, self._shake)
        except ssl.SSLWantWriteError:
            self._loop.watch(fd, None, self._shake)
        except OSError as error:  # ssl.SSLError is one
            self._fail(f"no TLS: {error.strerror or error}")
        else:
            self._ask()

    # -- Talking ---------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        assert self._socket is not None
        headers = {"Host": f"localhost:{self._port}", "Connection": "close", "Accept": "*/*", **self._headers}
        if self._method == "POST":
            headers["Content-Length"] = "0"
        try:
            request = h11.Request(method=self._method, target=self._path, headers=list(headers.items()))
            self._unsent = (self._connection.send(request) or b"") + (self._connection.send(h11.EndOfMessage()) or b"")
        except (h11.LocalProtocolError, UnicodeEncodeError):
            self._fail(f"{_short(self._path)} is no path of a URL")
            return
        self._body = bytearray()
        self._status = 0
        self._location = ""
        self._is_cut = False
        self._has_answered = False
        self._loop.watch(self._socket.fileno(), self._readable, self._writable)

    def _writable(self) -> None:
        assert self._socket is not None
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except OSError as error:
            if _is_no_error(error):
                return
            self._unsent = b""  # it may have answered before it stopped listening
        if not self._unsent:
            self._loop.watch(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as error:
            if not _is_no_error(error):
                self._fail(f"the connection broke ({error.strerror or error})")
            return
        self._has_answered |= bool(data)
        try:
            self._connection.receive_data(data)
            while self._take(self._connection.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            if data:
                self._fail(f"what it answered is no HTTP ({error})")
            else:
                self._fail("it hung up within its answer" if self._has_answered else "it hung up without an answer")

    def _take(self, event: object) -> bool:
        """Take in one event; whether to ask for the next."""
        if isinstance(event, h11.Response):
            self._status = event.status_code
            self._location = next((value.decode("latin-1") for name, value in event.headers if name == b"location"), "")
        elif isinstance(event, h11.Data):
            room = self._max_body_bytes - len(self._body)
            self._body += event.data[:room]
            if len(event.data) > room:
                self._is_cut = True
                self._finish()
                return False
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            self._finish()
            return False
        return not (event is h11.NEED_DATA or event is h11.PAUSED)

    def _finish(self) -> None:
        if self._status in _REDIRECTS and self._location and self._redirects < MAX_REDIRECTS and self._follow():
            return
        self._end(Response(self._status, bytes(self._body), None, self._loop.now_s() - self._began_s, self._is_cut))

    def _follow(self) -> bool:
        """Ask again where the answer sends us, if that is another page of the same service."""
        from urllib.parse import urljoin, urlsplit  # brings half a megabyte, and few services send anybody on

        try:
            target = urlsplit(urljoin(f"{self._scheme}://localhost:{self._port}{self._path}", self._location))
        except ValueError:
            self._fail(f"it sends us on to {_short(self._location)}, which is no URL")
            return True
        if target.scheme != self._scheme or target.netloc not in (f"localhost:{self._port}", f"127.0.0.1:{self._port}"):
            return False
        self._redirects += 1
        self._path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        if self._status == 303 or (self._method == "POST" and self._status in (301, 302)):
            self._method = "GET"
        self._close()
        self._connection = h11.Connection(h11.CLIENT)
        self._open()
        return True

    # -- The end ---------------------------------------------------------------------------------------------------

    def _fail(self, why: str) -> None:
        self._end(Response(0, b"", why, self._loop.now_s() - self._began_s))

    def _end(self, response: Response) -> None:
        if self._is_over:
            return
        self.cancel()
        self._done(response)

    def _close(self) -> None:
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _short(text: str) -> str:
    """*text* in quotes, in plain ASCII, cut."""
    return ascii(text if len(text) <= _TOLD else f"{text[:_TOLD]}...")


@cache
def _tls() -> ssl.SSLContext:
    """TLS with whoever is there: certificates are for names of the network, and this is our own host."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_no_error(error: OSError) -> bool:
    """There is just nothing to read, or no room to write: also in TLS, whose errors these are by name."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")
