"""Hosts that are to be maintained, and what holds that up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from observer_static.context import MAX_SENTENCE, from_ms, shown
from observer_static.parts import Link
from scheduler.api.backend import View
from scheduler.core.sla import Standings, may_kill, standings_by_the_clock
from scheduler.model import Host, Mode, Task
from scheduler.pages import paths
from scheduler.pages.collect import Common, common, is_active, job_name, paged
from scheduler.pages.pages import MaintenancePage
from scheduler.pages.parts import HeldRow, MaintenanceView, Paging
from scheduler.states import MOVES, ScheduleStatus
from thermos.formats.assigned_task import SlaPolicy
from thermos.formats.aurora_api import HostMaintenanceRequest

#: What the modes of hosts are called, but for the one of no maintenance.
MODES: Final = {Mode.SCHEDULED: "SCHEDULED", Mode.DRAINING: "DRAINING", Mode.DRAINED: "DRAINED"}
#: Hosts of one page, and tasks of each: whether one may go is found out while the scheduler decides nothing else.
HOSTS: Final = 50
MAX_HELD: Final = 5
#: First what is going on, then what is over, then what is to come.
_ORDER: Final = (Mode.DRAINING, Mode.DRAINED, Mode.SCHEDULED)


class SeenMaintenance(NamedTuple):
    """What is to be told of one host."""

    host: Host
    tasks: int
    request: HostMaintenanceRequest | None
    #: Tasks with why they are still there, for people.
    held: tuple[tuple[Task, str], ...]


def seen_maintenance(view: View, host: Host, most: int, standings: Standings | None = None) -> SeenMaintenance | None:
    """Picks a host's maintenance, with *most* tasks that hold it up; None: there is none."""
    if host.mode not in MODES:
        return None
    state = view.state
    there = [task for task in state.on_agent(host.agent_id) if is_active(task)] if host.agent_id is not None else []
    request = state.maintenance.get(host.name)
    held: tuple[tuple[Task, str], ...] = ()
    if host.mode == Mode.DRAINING:
        standings = standings or standings_by_the_clock(state, view.wall_ms)
        there.sort(key=lambda task: (task.job, task.instance))
        held = tuple((task, _why(view, task, request, standings)) for task in there[:most])
    return SeenMaintenance(host, len(there), request, held)


def _why(view: View, task: Task, request: HostMaintenanceRequest | None, standings: Standings) -> str:
    if ScheduleStatus.DRAINING not in MOVES.get(task.status, ()):
        return "it is being ended"
    if request is None:
        return "what it was promised is not known any more: drain the host again"
    ends_ms = _ends_ms(request)
    if ends_ms is not None and ends_ms <= view.wall_ms:
        return "it goes with the next look"
    verdict = may_kill(task, view.state, view.wall_ms, view.settings, request.default_sla_policy, standings)
    return "it goes with the next look" if verdict.is_allowed else verdict.reason


def _ends_ms(request: HostMaintenanceRequest | None) -> int | None:
    if request is None or request.created_timestamp_ms is None:
        return None
    return request.created_timestamp_ms + (request.timeout_secs or 0) * 1000


def maintenance_view(picked: SeenMaintenance) -> MaintenanceView:
    """The maintenance of one host."""
    request = picked.request
    is_draining = picked.host.mode == Mode.DRAINING
    return MaintenanceView(
        host=Link(text=shown(picked.host.name), href=paths.agent_path(picked.host.name)),
        mode=MODES[picked.host.mode],
        asked_s=from_ms(request.created_timestamp_ms) if request is not None else None,
        ends_s=from_ms(_ends_ms(request)),
        policy=shown(_policy(request.default_sla_policy), MAX_SENTENCE) if request is not None else None,
        tasks=picked.tasks,
        held=tuple(
            HeldRow(
                job=job_name(task.job),
                instance=task.instance,
                instance_href=paths.instance_path(task.job, task.instance),
                state=task.status.name,
                why=shown(why, MAX_SENTENCE),
            )
            for task, why in picked.held
        ),
        held_left_out=picked.tasks - len(picked.held) if is_draining else 0,
    )


def _policy(policy: SlaPolicy | None) -> str:
    """What tasks without a policy of their own are promised."""
    if policy is not None and policy.coordinator_sla_policy is not None:
        return f"they go when the coordinator {policy.coordinator_sla_policy.coordinator_url} allows it"
    if policy is not None and policy.count_sla_policy is not None:
        count = policy.count_sla_policy
        return f"{count.instances or 0} tasks of each job run for {count.duration_secs or 0} s"
    if policy is not None and policy.percentage_sla_policy is not None and policy.percentage_sla_policy.percentage:
        share = policy.percentage_sla_policy
        return f"{share.percentage:g} % of each job's tasks run for {share.duration_secs or 0} s"
    return "nothing"


class SeenHosts(NamedTuple):
    """What the page of maintenance is made from."""

    seen: Common
    hosts: Sequence[SeenMaintenance]
    paging: Paging


def pick_maintenance(view: View, query: Mapping[str, str]) -> SeenHosts:
    """Picks the hosts of one page: of the query ``page`` counts."""
    found = [host for host in view.state.hosts.values() if host.mode in MODES]
    found.sort(key=lambda host: (_ORDER.index(host.mode), host.name))
    rows, paging = paged(
        found, query.get("page"), HOSTS, lambda number: paths.with_query(paths.MAINTENANCE, {"page": number})
    )
    standings = standings_by_the_clock(view.state, view.wall_ms)
    picked = [one for host in rows if (one := seen_maintenance(view, host, MAX_HELD, standings)) is not None]
    return SeenHosts(common(view), picked, paging)


def maintenance_page(picked: SeenHosts) -> MaintenancePage:
    """The hosts, and what holds up their draining."""
    seen = picked.seen
    return MaintenancePage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        rows=tuple(map(maintenance_view, picked.hosts)),
        paging=picked.paging,
    )
