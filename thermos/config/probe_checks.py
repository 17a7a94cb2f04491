"""What is wrong with the probes of a job, all of it at once. The executor asks the same again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from thermos.config.job_schema import HealthCheckConfig, LifecycleConfig
from thermos.config.probe_schema import KINDS, READINESS, Probe
from thermos.definition import Problem, nearest
from thermos.templates import BadTemplate, parse_address, references

_NAME: Final = re.compile(r"[\w\-.]+", re.ASCII)
_MAX_NAME: Final = 100


def probe_problems(probes: Sequence[Probe], ports: Collection[str]) -> Iterator[Problem]:
    """Everything for which *probes* cannot work where *ports* are the names of ports that an instance has."""
    first: dict[str, int] = {}
    for index, probe in enumerate(probes):
        path = f"x_probes[{index}]"
        if not _NAME.fullmatch(probe.name) or len(probe.name) > _MAX_NAME:
            hint = f"it may hold letters, digits, '_', '-' and '.', at most {_MAX_NAME}, and not be empty"
            yield Problem(f"{path}.name", f"is {probe.name[: _MAX_NAME + 1]!r}", hint)
        elif probe.name in first:
            yield Problem(
                f"{path}.name",
                f"'{probe.name}' is also the name of x_probes[{first[probe.name]}]",
                "give each probe a name of its own",
            )
        first.setdefault(probe.name, index)
        yield from _kind_problems(probe, path)
        yield from _port_problems(probe, path, ports)


def endpoint_problems(health: HealthCheckConfig, lifecycle: LifecycleConfig) -> Iterator[Problem]:
    """Each page of Aurora's own check and of the requests to stop that nobody can ask for."""
    if health.health_checker.http is not None:
        yield from _path_problems(
            "health_check_config.health_checker.http.endpoint", health.health_checker.http.endpoint
        )
    if lifecycle.http is not None:
        http = lifecycle.http
        yield from _path_problems("lifecycle.http.graceful_shutdown_endpoint", http.graceful_shutdown_endpoint)
        yield from _path_problems("lifecycle.http.shutdown_endpoint", http.shutdown_endpoint)


def probe_warnings(probes: Sequence[Probe], is_announced: bool) -> Iterator[Problem]:
    """What is allowed in *probes* and hardly meant."""
    default = Probe("", READINESS).initial_interval_secs
    for index, probe in enumerate(probes):
        if probe.purpose != READINESS:
            continue
        if not is_announced:
            yield Problem(f"x_probes[{index}]", "decides nothing: the job has no 'announce'")
        if probe.initial_interval_secs != default:
            yield Problem(f"x_probes[{index}].initial_interval_secs", "has no effect on a readiness probe")


def ports_probed(probes: Sequence[Probe]) -> frozenset[str]:
    """The names of ports that *probes* ask, in their commands too."""
    found = {probe.port for probe in probes if probe.port is not None}
    for probe in probes:
        if probe.shell is not None:
            found |= ports_in(probe.shell.command)
    return frozenset(found)


def ports_in(text: str) -> frozenset[str]:
    """The names in ``{{thermos.ports[NAME]}}`` in *text*."""
    found = set()
    for address in references(text):
        try:
            parts = parse_address(address)
        except BadTemplate:
            continue
        if len(parts) == 3 and parts[:2] == (".thermos", ".ports"):
            found.add(parts[2][1:-1])
    return frozenset(found)


def _kind_problems(probe: Probe, path: str) -> Iterator[Problem]:
    kinds = probe.kinds
    if not kinds:
        yield Problem(path, "asks nobody", f"set one of {', '.join(KINDS)}")
    elif len(kinds) > 1:
        yield Problem(path, f"has {' and '.join(kinds)}", "make a probe of each")
    if probe.http is not None:
        yield from _path_problems(f"{path}.http.endpoint", probe.http.endpoint)
    if probe.shell is not None and not probe.shell.command.strip():
        yield Problem(f"{path}.shell.command", "is empty", "say what is run")
    elif probe.shell is not None and "\0" in probe.shell.command:
        yield Problem(f"{path}.shell.command", "holds a NUL, which no command line can")


def _path_problems(path: str, endpoint: str) -> Iterator[Problem]:
    if not all("!" <= character <= "~" for character in endpoint):
        yield Problem(path, f"is {endpoint!r}", "a path is printable ASCII without spaces")


def _port_problems(probe: Probe, path: str, ports: Collection[str]) -> Iterator[Problem]:
    for kind in probe.kinds:
        if kind == "shell":
            assert probe.shell is not None
            where, asked = f"{path}.shell.command", ports_in(probe.shell.command)
        else:
            where, asked = f"{path}.{kind}.port", frozenset({getattr(probe, kind).port})
        for name in sorted(asked - set(ports)):
            near = nearest(name, ports)
            use = f"use {{{{thermos.ports[{name}]}}}} in the process that serves"
            yield Problem(where, f"there is no port '{name}'", f"did you mean '{near}'?" if near else use)
