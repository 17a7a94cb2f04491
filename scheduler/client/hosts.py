"""Hosts that ``aurora_admin`` is told about: which, how they are grouped, and taking them out of use.

Source: ``aurora/admin/{admin_util,host_maintenance}.py`` and ``aurora/client/base.py``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from scheduler.client.domains import Domain, Grouping, job_of
from scheduler.client.errors import InvalidParameter
from scheduler.client.plugged import load_all
from scheduler.client.printing import clean
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.session import Session
from scheduler.client.waiting import Teller
from scheduler.client.world import say
from scheduler.states import LIVE
from thermos.definition import nearest
from thermos.formats import aurora_api as api
from thermos.formats.aurora_api import MaintenanceMode

#: How often, and for how long, hosts are looked at that are being drained.
POLL_S: Final = 5.0
DRAIN_FOR_S: Final = 300.0
#: Group of entry points whose functions give a host the name of its group.
GROUPINGS: Final = "thermos.host_groupings"
#: The way to group where none is chosen: each host alone.
BY_HOST: Final = "by_host"
_BUILT_IN: Final[Mapping[str, Grouping]] = MappingProxyType({BY_HOST: lambda host: host, "none": lambda host: "all"})
_HOST: Final = re.compile(r"[\w.:\-]+", re.ASCII)


def add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hosts", metavar="HOST,HOST", help="the hosts, as their agents call them")
    parser.add_argument("--filename", metavar="FILE", help="file with the hosts, one in a line")


def add_grouping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grouping",
        default=BY_HOST,
        metavar="NAME",
        help=f"which hosts go together: by_host, none (all of them), or what a plug-in adds; default: {BY_HOST}",
    )


def grouping_named(name: str) -> Grouping:
    """The way to group hosts called *name*. Raises InvalidParameter, naming those there are."""
    known: dict[str, Any] = dict(_BUILT_IN)
    if name not in known:
        known.update(load_all(GROUPINGS))
    if name not in known:
        close = nearest(name, known)
        hint = f"did you mean '{close}'?" if close is not None else f"there are {', '.join(sorted(known))}"
        raise InvalidParameter(f"there is no grouping '{name}'; {hint}")
    found: Grouping = known[name]
    return found


def from_options(args: argparse.Namespace) -> tuple[str, ...]:
    """The hosts of ``--hosts`` or ``--filename``, in their order. Raises InvalidParameter: not exactly one is given."""
    found = optional(args.hosts, args.filename, "--hosts", "--filename")
    if found is None:
        raise InvalidParameter("which hosts? Write --hosts HOST,HOST or --filename FILE")
    return found


def optional(listed: str | None, filename: str | None, of_list: str, of_file: str) -> tuple[str, ...] | None:
    """The hosts of a list or of a file; None where neither is given."""
    if listed is not None and filename is not None:
        raise InvalidParameter(f"{of_list} and {of_file} say the same thing: give one of them")
    if filename is not None:
        with open(filename, encoding="utf-8") as file:
            words, source = file.read().split("\n"), filename
    elif listed is not None:
        words, source = listed.split(","), of_list
    else:
        return None
    hosts = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    wrong = [host for host in hosts if not _HOST.fullmatch(host)]
    if wrong:
        raise InvalidParameter(f"{source}: {clean(wrong[0])!r} is no name of a host")
    if not hosts:
        raise InvalidParameter(f"{source} names no host")
    return hosts


def percentage(text: str) -> float:
    """A percentage above 0, up to 100. For argparse."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is no percentage: write a number above 0, up to 100")
    return number


def domain(scheduler: Scheduler, session: Session, min_instances: int, hosts: Iterable[str] | None) -> Domain:
    """The jobs on *hosts*, with all their instances wherever they are; None: all jobs."""
    query = api.TaskQuery(statuses=tuple(sorted(LIVE)))
    name = scheduler.cluster.name
    if hosts is not None:
        there = scheduler.query(query._replace(slave_hosts=tuple(hosts)))
        jobs = sorted({job for task in there if (job := job_of(name, task)) is not None})
        if not jobs:
            return Domain(name, (), session.world.wall_s(), min_instances)
        query = query._replace(job_keys=tuple(job.key for job in jobs))
    return Domain(name, scheduler.query(query), session.world.wall_s(), min_instances)


#: What a call on hosts answers: its result's field.
_RESULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "startMaintenance": "start_maintenance_result",
        "drainHosts": "drain_hosts_result",
        "slaDrainHosts": "drain_hosts_result",
        "maintenanceStatus": "maintenance_status_result",
        "endMaintenance": "end_maintenance_result",
    }
)


def call(scheduler: Scheduler, method: str, hosts: Iterable[str], **more: Any) -> dict[str, MaintenanceMode]:
    """What *method* says of each host that the scheduler knows, in the order of *hosts*."""
    wanted = tuple(hosts)
    result = scheduler.result(method, _RESULTS[method], hosts=api.Hosts(wanted), **more)
    found = {each.host: each.mode for each in result.statuses or ()}
    return {host: found[host] for host in wanted if found.get(host) is not None}


def unknown(wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those of *wanted* that the scheduler does not know; told on stderr."""
    absent = sorted(set(wanted) - set(known))
    if absent:
        say(f"the scheduler knows no host {', '.join(absent)}: it must be named as its agent is, and have been offered")
    return absent


def unknown_in(domain: Domain, wanted: Iterable[str], scheduler: Scheduler) -> list[str]:
    """As `unknown`; the scheduler is only asked about hosts that nothing in *domain* is on."""
    there = {task.assigned_task.slave_host for task in domain.tasks if task.assigned_task is not None}
    empty = [host for host in wanted if host not in there]
    return unknown(empty, call(scheduler, "maintenanceStatus", empty)) if empty else []


def wait_drained(scheduler: Scheduler, session: Session, hosts: Iterable[str]) -> dict[str, MaintenanceMode]:
    """Those of *hosts* that are not DRAINED after some minutes, each with its state."""
    world = session.world
    left = dict.fromkeys(hosts, MaintenanceMode.DRAINING)
    teller = Teller(world, "hosts to be DRAINED")
    until_s = world.mono_s() + DRAIN_FOR_S
    while left:
        teller.tell(", ".join(f"{host} {mode.name}" for host, mode in left.items()))
        world.sleep(POLL_S)
        found = call(scheduler, "maintenanceStatus", left)
        left = {host: mode for host, mode in found.items() if mode is not MaintenanceMode.DRAINED}
        if world.mono_s() >= until_s:
            break
    return left
