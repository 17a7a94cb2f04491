"""Aliases of ports lead to numbers or to names that need one; circles are named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from thermos.config import ports
from thermos.config.job_schema import Announcer, HealthCheckConfig, HealthCheckerConfig, Job, ShellHealthChecker
from thermos.config.ports import PortmapCycle, bind, ports_requested, resolve, unallocated
from thermos.schema import Process, Task


def job(*used: str, portmap: dict[str, str] | None = None, shell: str | None = None) -> Job:
    cmdline = " ".join(f"{{{{thermos.ports[{name}]}}}}" for name in used)
    health = HealthCheckConfig()
    if shell is not None:
        health = HealthCheckConfig(HealthCheckerConfig(shell=ShellHealthChecker(shell)))
    return Job(
        "n", "r", "c", "e", Task("t", (Process("p", f"x {cmdline}"),)),
        announce=None if portmap is None else Announcer(portmap=portmap), health_check_config=health,
    )  # fmt: skip


def test_names_are_followed_to_their_end() -> None:
    portmap: dict[str, str | int] = {"a": "b", "b": "c", "c": "d", "static": 80, "text": "81", "x": "static"}
    assert resolve(portmap) == {"a": "d", "b": "d", "c": "d", "static": 80, "text": 81, "x": 80}
    assert unallocated(portmap) == {"d"}
    assert bind(portmap, {"d": 9}) == {"a": 9, "b": 9, "c": 9, "d": 9, "static": 80, "text": 81, "x": 80}


def test_an_assigned_number_goes_before_an_alias() -> None:
    assert bind({"a": "b"}, {"a": 1, "b": 2}) == {"a": 1, "b": 2}


@pytest.mark.parametrize("function", [resolve, unallocated, lambda portmap: bind(portmap, {"z": 1})])
@pytest.mark.parametrize(
    "portmap, circle",
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"x": "a", "a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a"),
    ],
)
def test_a_circle_is_named(function: Callable[[dict[str, str]], object], portmap: dict[str, str], circle: str) -> None:
    with pytest.raises(PortmapCycle, match=circle):
        function(portmap)


def test_no_ports_without_need() -> None:
    assert ports_requested(job()) == frozenset()


def test_ports_that_are_used() -> None:
    assert ports_requested(job("http", "admin")) == {"http", "admin"}


def test_an_alias_is_not_requested_but_what_it_stands_for() -> None:
    assert ports_requested(job("http", "www", portmap={"www": "http", "stats": "metrics", "fixed": "80"})) == {
        "http",
        "metrics",
    }


def test_the_shell_check_asks_for_none() -> None:
    checked = job("http", shell="ping {{thermos.ports[http]}} {{thermos.ports[other]}}")
    assert ports_requested(checked) == {"http"}
    assert ports.ports_referred(checked) == {"http", "other"}


def test_a_health_port_is_one_that_is_used() -> None:
    assert ports.has_health_port(job("health"))
    assert not ports.has_health_port(job("http", portmap={"health": "http"}))
