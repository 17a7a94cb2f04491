"""TLS for waitress, which has none: a connection that reads and writes through ``ssl``."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from socket import socket
from typing import Any

from observer_static.serve.server import Channel
from thermos.errors import ExitCode, ThermosError


class TlsError(ThermosError):
    """The certificate or its key cannot be used."""

    exit_code = ExitCode.DAMAGED  # 3, as every configuration that cannot be used


def context_of(certificate: str, key: str) -> ssl.SSLContext:
    """What a server with that certificate (chain) and key, both PEM files, needs. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    for path in (certificate, key):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise TlsError(f"{path}: {error.strerror or error}") from None
    try:
        # An empty password: a key that has one is refused, and nobody is asked at a terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise TlsError(_why(certificate, key, error)) from None
    return context


def _why(certificate: str, key: str, error: ssl.SSLError) -> str:
    """What is wrong with the two, in words; OpenSSL does not say which of them it is about."""
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"{key} is not the key of the certificate {certificate}"
    if not is_certificate(certificate):
        return f"{certificate} is no certificate as PEM"
    return f"{key} is no key as PEM without a password ({error.reason or error})"


def is_certificate(path: str) -> bool:
    """Whether a file that can be read holds a certificate as PEM."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def wrapping(context: ssl.SSLContext) -> Callable[[socket], socket]:
    """Makes TLS of a connection; hands are shaken when it is first read, without waiting."""

    def wrap(plain: socket) -> socket:
        try:
            plain.getpeername()
        except OSError:  # gone already: ssl would leave it open until it is collected
            plain.close()
            raise
        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)

    return wrap


class TlsChannel(Channel):
    """A connection over TLS."""

    #: The handshake waits until something can be sent.
    _is_stuck = False

    def __init__(self, *arguments: Any, **more: Any) -> None:
        # The server's thread reads while a worker writes, and OpenSSL takes only one at a time.
        self._tls_lock = threading.Lock()
        super().__init__(*arguments, **more)

    def writable(self) -> Any:
        return self._is_stuck or super().writable()

    def handle_write(self) -> None:
        if self._is_stuck:
            self.handle_read()
        if self.connected:
            super().handle_write()

    def handle_read(self) -> None:
        """Take in all that was decrypted: what is left in OpenSSL wakes nobody up."""
        self._is_stuck = False
        while (connection := self.socket) is not None and self.connected:
            try:
                with self._tls_lock:
                    data = connection.recv(self.adj.recv_bytes)
                    is_more = connection.pending() > 0  # type: ignore[attr-defined]  # it is an SSLSocket
            except ssl.SSLWantReadError:
                return
            except ssl.SSLWantWriteError:
                self._is_stuck = True
                return
            except (OSError, ValueError):  # no TLS, or it broke off; ValueError: closed meanwhile
                data, is_more = b"", False
            if not data:
                self.handle_close()
                return
            self.last_activity = time.time()
            self.received(data)
            if not is_more:
                return

    def send(self, data: bytes, do_close: bool = True) -> int:
        """How much of *data* is on its way."""
        connection = self.socket
        if connection is None:
            return 0
        try:
            with self._tls_lock:
                return int(connection.send(data))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except (OSError, ValueError):
            if do_close:
                self.handle_close()
            return 0
