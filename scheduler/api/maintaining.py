"""Methods about hosts: which are to be maintained, which are drained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from scheduler.api.failures import Refused
from scheduler.core.commands import Command, DrainHosts, EndMaintenance, StartMaintenance
from thermos.formats.aurora_api import Hosts


def hosts_of(arguments: Mapping[str, Any]) -> frozenset[str]:
    """The hosts that a call names. Raises Refused where it does not even say that there are none."""
    hosts: Hosts | None = arguments["hosts"]
    if hosts is None or hosts.host_names is None:
        raise Refused("the hosts are missing")
    return frozenset(hosts.host_names)


def _start_maintenance(arguments: Mapping[str, Any], user: str) -> Command:
    return StartMaintenance(hosts_of(arguments), user)


def _drain_hosts(arguments: Mapping[str, Any], user: str) -> Command:
    return DrainHosts(hosts_of(arguments), user)


def _sla_drain_hosts(arguments: Mapping[str, Any], user: str) -> Command:
    hosts = hosts_of(arguments)
    if arguments["default_sla_policy"] is None:
        raise Refused("the SLA policy for tasks that have none of their own is missing")
    return DrainHosts(hosts, user, arguments["default_sla_policy"], arguments["timeout_secs"] or 0)


def _end_maintenance(arguments: Mapping[str, Any], user: str) -> Command:
    return EndMaintenance(hosts_of(arguments), user)


#: Method → (arguments, user) → the command; raises Refused.
MAINTENANCE: Final[Mapping[str, Callable[[Mapping[str, Any], str], Command]]] = MappingProxyType({
    "startMaintenance": _start_maintenance,
    "drainHosts": _drain_hosts,
    "slaDrainHosts": _sla_drain_hosts,
    "endMaintenance": _end_maintenance,
})  # fmt: skip
