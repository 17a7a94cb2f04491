"""The API's server: waitress, with limits of its own, and TLS where it is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from observer_static.serve import server as shared
from observer_static.serve.server import Channel, Limits
from scheduler.api.options import MAX_BODY_BYTES
from scheduler.api.tls import TlsChannel, context_of, wrapping
from thermos.errors import ExitCode, ThermosError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

#: Clients keep connections; each worker waits while the scheduler's one thread answers.
LIMITS: Final = Limits(threads=8, connections=512, body_bytes=MAX_BODY_BYTES + 1)
#: What whoever watches the scheduler asks: answered without that thread, and so even while all workers wait for it.
_WATCHED: Final = frozenset({"/health", "/leaderhealth"})


class CannotListen(ThermosError):
    """The address or the port cannot be had; says why."""

    exit_code = ExitCode.DAMAGED  # 3, as every configuration that cannot be used


class Server:
    """Answers requests between ``start`` and ``close``. *tls*: paths of a certificate (chain) and its key."""

    def __init__(
        self,
        app: WSGIApplication,
        host: str,
        port: int,
        tls: tuple[str, str] | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._tls = tls
        self._limits = limits
        self._server: shared.Server | None = None

    def start(self) -> None:
        """Listen; port 0: a free one. Raises CannotListen, TlsError where the certificate is none."""
        context = context_of(*self._tls) if self._tls is not None else None
        try:
            self._server = shared.Server(
                self._host,
                self._port,
                self._app,
                self._limits,
                channel=TlsChannel if context is not None else Channel,
                wrap=wrapping(context) if context is not None else None,
                apart=_WATCHED,
            )
        except (OSError, ValueError) as error:  # ValueError: no address has that name
            where = f"cannot listen on {self._host}, port {self._port}"
            why = error.strerror if isinstance(error, OSError) else f"{where}: {error}"
            raise CannotListen(f"{why}; see who has it (`ss -ltnp`), or name others: --ip, --http-port") from None

    @property
    def port(self) -> int:
        """The port it listens on, or is to."""
        return self._server.port if self._server is not None else self._port

    def close(self) -> None:
        """Stop listening, cut off what is under way, end all threads; may be called twice."""
        if self._server is not None:
            self._server.close()
