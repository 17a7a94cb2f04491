"""What a Mesos agent tells its executor through the environment: who it is, where the agent is, what it may expect.

Source: mesos/docs/executor-http-api.md, mesos/src/executor/executor.cpp and mesos/docs/ssl.md. Everything wrong is
told at once: whoever reads it sees it in the sandbox, after the fact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from typing import Final, NamedTuple, TypeVar

from thermos.core.session_events import Settings
from thermos.errors import ExitCode, ThermosError
from thermos.formats.mesos_v1 import duration_s
from thermos.formats.mesos_v1_executor import PATH

#: Names the token that lets us talk to the agent; taken out of the environment, so that no task inherits it.
TOKEN: Final = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"
#: Names how long a request that asks a task to stop may take, in seconds, and what it is otherwise
#: (``aurora/common/health_check/http_signaler.py``).
FAREWELL_TIMEOUT: Final = "AURORA_HTTP_SIGNALER_TIMEOUT_SECS"
FAREWELL_S: Final = 1.0
_TRUE: Final = frozenset({"1", "true"})
_MAX_PORT: Final = 65535

T = TypeVar("T")


class NotUnderMesos(ThermosError):
    """The environment is not one that a Mesos agent makes; carries every problem."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("this program is started by a Mesos agent, whose environment lacks: " + "; ".join(problems))


class Tls(NamedTuple):
    """How to talk https. *verify*: the agent's certificate must be signed by one of these authorities."""

    verify: bool
    #: The certificate must name the agent's address, too.
    verify_address: bool
    ca_file: str | None
    ca_directory: str | None
    certificate_file: str | None
    key_file: str | None


class AgentAddress(NamedTuple):
    """Where the agent's executor API is."""

    host: str
    port: int
    #: Of the request: the agent's own id, then the API's.
    path: str
    #: A socket file, that takes the place of host and port.
    socket_path: str | None = None
    tls: Tls | None = None

    def __str__(self) -> str:
        if self.socket_path is not None:
            return f"{self.socket_path}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


class Surroundings(NamedTuple):
    """All of it. *token* is a secret: not for logs."""

    settings: Settings
    address: AgentAddress
    token: str | None
    #: The sandbox as this process sees it, and as the host does.
    sandbox: str
    directory: str
    #: The agent shares a process with the master (``mesos-local``): a cluster for trying out.
    is_local: bool
    #: A request that asks the task to stop may take no longer.
    farewell_timeout_s: float = FAREWELL_S


def take(environ: MutableMapping[str, str]) -> Surroundings:
    """What *environ* says; the token is removed from it. Raises NotUnderMesos."""
    reader = _Reader(environ)
    surroundings = reader.read()
    if reader.problems or surroundings is None:
        raise NotUnderMesos(reader.problems)
    environ.pop(TOKEN, None)
    return surroundings


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._environ = environ

    def read(self) -> Surroundings | None:
        framework_id = self._needed("MESOS_FRAMEWORK_ID")
        executor_id = self._needed("MESOS_EXECUTOR_ID")
        directory = self._needed("MESOS_DIRECTORY") if "MESOS_SANDBOX" not in self._environ else ""
        checkpoint = self._environ.get("MESOS_CHECKPOINT") == "1"  # an agent says "0" or "1"
        defaults = Settings("", "", checkpoint)
        settings = Settings(
            executor_id,
            framework_id,
            checkpoint,
            recovery_timeout_s=self._seconds("MESOS_RECOVERY_TIMEOUT", defaults.recovery_timeout_s),
            backoff_max_s=self._seconds("MESOS_SUBSCRIPTION_BACKOFF_MAX", defaults.backoff_max_s),
            shutdown_grace_s=self._seconds("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", defaults.shutdown_grace_s),
        )
        address = self._address()
        if address is None:
            return None
        sandbox = self._environ.get("MESOS_SANDBOX") or directory
        return Surroundings(
            settings,
            address,
            self._environ.get(TOKEN) or None,
            sandbox,
            self._environ.get("MESOS_DIRECTORY") or sandbox,
            "MESOS_LOCAL" in self._environ,
            self._parsed(FAREWELL_TIMEOUT, _plain_seconds, FAREWELL_S),
        )

    def _needed(self, name: str) -> str:
        value = self._environ.get(name, "")
        if not value:
            self.problems.append(name)
        return value

    def _seconds(self, name: str, default: float) -> float:
        return self._parsed(name, duration_s, default)

    def _parsed(self, name: str, parse: Callable[[str], T], default: T) -> T:
        value = self._environ.get(name)
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.problems.append(f"{name}, which is set, but {error}")
            return default

    def _address(self) -> AgentAddress | None:
        """From ``MESOS_SLAVE_PID``, which names the agent's process, too, or ``MESOS_AGENT_ENDPOINT``."""
        missing: tuple[str, str, int] = ("", "", 0)
        place = self._parsed("MESOS_SLAVE_PID", parse_pid, missing)
        if place is missing:
            place = self._parsed("MESOS_AGENT_ENDPOINT", lambda text: ("", *parse_endpoint(text)), missing)
        socket_path = self._environ.get("MESOS_DOMAIN_SOCKET") or None
        if place is missing and socket_path is None:
            if not self.problems or not any("MESOS_SLAVE_PID" in one or "ENDPOINT" in one for one in self.problems):
                self.problems.append("MESOS_SLAVE_PID or MESOS_AGENT_ENDPOINT")
            return None
        process, host, port = place
        path = f"/{process}{PATH}" if process else PATH
        return AgentAddress(host, port, path, socket_path, None if socket_path else self._tls())

    def _tls(self) -> Tls | None:
        def flag(name: str, default: bool = False) -> bool:
            value = self._environ.get(f"LIBPROCESS_SSL_{name}")
            return default if value is None else value.lower() in _TRUE

        def path(name: str) -> str | None:
            return self._environ.get(f"LIBPROCESS_SSL_{name}") or None

        if not flag("ENABLED"):
            return None
        authorities = path("CA_FILE"), path("CA_DIR")
        return Tls(
            # VERIFY_CERT until 1.9, VERIFY_SERVER_CERT since; a cluster that names its authorities means them
            verify=flag("VERIFY_SERVER_CERT", flag("VERIFY_CERT", any(authorities))) or flag("REQUIRE_CERT"),
            verify_address=flag("VERIFY_IPADD"),
            ca_file=authorities[0],
            ca_directory=authorities[1],
            certificate_file=path("CERT_FILE"),
            key_file=path("KEY_FILE"),
        )


def parse_endpoint(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) <= _MAX_PORT:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def parse_pid(text: str) -> tuple[str, str, int]:
    """Process id, host and port of ``slave(1)@host:port``. Raises ValueError."""
    process, at, endpoint = text.rpartition("@")
    is_plain = process.isascii() and process.isprintable() and not set(process) & set("/?#% ")
    if not at or not process or not is_plain:
        raise ValueError(f"{text!r} is not like slave(1)@HOST:PORT")
    return (process, *parse_endpoint(endpoint))


def _plain_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"{text!r} is no number of seconds")
    return seconds
