"""Bytes to and from the agent within a loop, over TCP, a socket file or TLS. Nothing blocks.

``ssl`` is imported only for https: it costs an executor 6 MB.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from thermos.executor.environment import AgentAddress, Tls
from thermos.host.loop import Loop

if TYPE_CHECKING:
    import ssl

#: At once; more than a TLS record holds, so that no decrypted byte is left where no selector sees it.
_READ_BYTES: Final = 64 << 10
#: A connection that carries nothing for a minute is asked whether it lives: an agent's machine may be gone.
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


class _Endpoint(Protocol):
    def on_data(self, data: bytes) -> None: ...

    def on_lost(self, reason: str) -> None: ...


class Channel:
    """One connection. *owner* hears what arrives, and once that it is over; nothing after ``close``."""

    def __init__(self, loop: Loop, address: AgentAddress, owner: _Endpoint, context: ssl.SSLContext | None) -> None:
        self._loop = loop
        self._address = address
        self._owner = owner
        self._context = context
        self._unsent = bytearray()
        self._is_connected = False
        self._is_shaking = False  # hands, for TLS
        self._tls_wants_write = False
        self._socket: socket.socket | None = None
        try:
            self._socket = self._connect()
        except OSError as error:
            # Not from within the constructor: the owner has no channel yet.
            loop.call_later(self, 0.0, partial(self._unreachable, _words(error)))

    def send(self, data: bytes) -> None:
        """Send *data* when that is possible."""
        self._unsent += data
        if self._is_connected:
            self._write()
            self._watch()

    def close(self) -> None:
        """Be gone, without a word."""
        self._loop.cancel(self)
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None

    # -- connecting ----------------------------------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        path = self._address.socket_path
        family = (
            socket.AF_UNIX if path is not None else socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        )
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if path is not None:
                result = _connect_file(made, path)
            else:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for option, value in _KEEPALIVE:
                    made.setsockopt(socket.IPPROTO_TCP, option, value)
                result = made.connect_ex((self._address.host, self._address.port))
            if result not in (0, errno.EINPROGRESS):
                raise OSError(result, os.strerror(result))
        except BaseException:
            made.close()
            raise
        self._loop.watch(made.fileno(), None, self._connected)
        return made

    def _connected(self) -> None:
        assert self._socket is not None
        result = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result:
            self._unreachable(os.strerror(result))
            return
        if self._context is not None:
            self._is_shaking = True
            try:
                self._socket = self._context.wrap_socket(
                    self._socket, server_hostname=self._address.host, do_handshake_on_connect=False
                )
            except OSError as error:
                self._lost(_words(error))
                return
            self._shake()
            return
        self._is_connected = True
        self._write()
        self._watch()

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
            self._lost(f"no TLS with the agent: {_words(error)}")
        else:
            self._is_shaking = False
            self._is_connected = True
            self._write()
            self._watch()

    # -- talking -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._socket is not None:
            self._loop.watch(self._socket.fileno(), self._readable, self._writable if self._unsent else None)

    def _writable(self) -> None:
        self._write()
        self._watch()

    def _write(self) -> None:
        while self._unsent and self._socket is not None:
            try:
                sent = self._socket.send(self._unsent)
            except OSError as error:
                if not _is_no_error(error):
                    self._unsent.clear()  # what the agent said before it hung up is still to be read
                return
            del self._unsent[:sent]

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as error:
            if not _is_no_error(error):
                self._lost(_words(error))
            return
        if data:
            self._owner.on_data(data)
        else:
            self._lost("the agent closed the connection")

    def _unreachable(self, reason: str) -> None:
        address = self._address
        self._lost(f"{address.socket_path or f'{address.host}:{address.port}'}: {reason}")

    def _lost(self, reason: str) -> None:
        self.close()
        self._owner.on_lost(reason)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """How to check the agent and show who we are. Raises OSError, if a file cannot be read."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.verify and tls.verify_address
    context.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    if tls.ca_file is not None or tls.ca_directory is not None:
        context.load_verify_locations(tls.ca_file, tls.ca_directory)
    elif tls.verify:
        context.load_default_certs()
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


def _connect_file(made: socket.socket, path: str) -> int:
    """connect_ex to a socket file, however long its path is: the kernel's limit is 107 bytes."""
    directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return made.connect_ex(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


def _is_no_error(error: OSError) -> bool:
    """There is just nothing to read, or no room to write: also in TLS, whose errors these are by number."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
