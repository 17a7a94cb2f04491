"""Probes of a job beyond its one health check: named, of several kinds, any number of them. Not in Aurora.

They are a field of the job of their own, written only where it is used: within ``health_check_config`` the
original's readers would refuse a field that they do not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from thermos.definition import about

STARTUP = "startup"
READINESS = "readiness"
LIVENESS = "liveness"
PURPOSES = (STARTUP, READINESS, LIVENESS)
#: The ways to ask; a probe has one of them.
KINDS = ("http", "tcp", "shell", "grpc")


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ask for a page: its status and its body tell."""

    port: str = field(metadata=about("Name of the port that is asked."))
    endpoint: str = field(default="/health", metadata=about("Path that is asked for."))
    expected_response: str = field(
        default="ok", metadata=about("Body that means healthy, in any case; empty: any body.")
    )
    expected_response_code: int = field(
        default=0,
        metadata=about("Status code that means healthy; 0: the body decides.", at_least=0, at_most=599),
    )
    tls: bool = field(
        default=False, metadata=about("Ask over https; the certificate is not verified, since this is `localhost`.")
    )


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Connect: that somebody listens is enough."""

    port: str = field(metadata=about("Name of the port."))


@dataclass(frozen=True, slots=True)
class ShellProbe:
    """Run a command as the task's user, in its sandbox: exit code 0 means healthy."""

    command: str = field(metadata=about("What is run; it may refer to `{{thermos.ports[NAME]}}`."))


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    """Call `grpc.health.v1.Health/Check` without TLS: SERVING means healthy."""

    port: str = field(metadata=about("Name of the port."))
    service: str = field(default="", metadata=about("Which service is asked about; empty: the server as a whole."))


@dataclass(frozen=True, slots=True)
class Probe:
    """One more way to find out how an instance is. It has exactly one of `http`, `tcp`, `shell` and `grpc`.

    `startup`: until all of these have succeeded the instance is STARTING, and no other check is made, that of
    `health_check_config` included. One that does not succeed in time ends the instance.

    `liveness`: the instance is RUNNING once each of these, and the check of `health_check_config` if it has one, has
    been healthy. Each of them can end it.

    `readiness`: the instance is in ZooKeeper only while all of these are healthy. They never end it.
    """

    name: str = field(
        metadata=about("Unique in the job: letters, digits, `_`, `-` and `.`. Messages and metrics have it.")
    )
    purpose: str = field(metadata=about("What it decides: `startup`, `readiness` or `liveness`.", choices=PURPOSES))
    http: HttpProbe | None = field(default=None, metadata=about("Ask over HTTP."))
    tcp: TcpProbe | None = field(default=None, metadata=about("Connect to a port."))
    shell: ShellProbe | None = field(default=None, metadata=about("Run a command."))
    grpc: GrpcProbe | None = field(default=None, metadata=about("Ask over gRPC."))
    initial_interval_secs: float = field(
        default=15.0,
        metadata=about(
            "Time in which failed checks do not count; for `readiness` without effect.", unit="seconds", at_least=0
        ),
    )
    interval_secs: float = field(default=10.0, metadata=about("Time between checks.", unit="seconds", more_than=0))
    timeout_secs: float = field(default=1.0, metadata=about("Time a check may take.", unit="seconds", more_than=0))
    max_consecutive_failures: int = field(
        default=0, metadata=about("Failed checks in a row that are forgiven.", unit="checks", at_least=0)
    )
    min_consecutive_successes: int = field(
        default=1, metadata=about("Good checks in a row until it counts as healthy.", unit="checks", at_least=1)
    )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The ways to ask that are set."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def port(self) -> str | None:
        """The name of the port that is asked; None: a command is run."""
        for kind in (self.http, self.tcp, self.grpc):
            if kind is not None:
                return kind.port
        return None
