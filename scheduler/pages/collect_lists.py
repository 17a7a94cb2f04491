"""The pages of the whole cluster: roles, a role's jobs, agents, offers, and what waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from observer_static.context import MAX_PHRASE, MAX_SENTENCE, from_ms, shown
from observer_static.pages import Link
from scheduler.api.backend import View
from scheduler.core.matching import Room
from scheduler.core.offers import room_of
from scheduler.core.queries import job_stats
from scheduler.core.quota import Consumption, consumption
from scheduler.model import Config, Host, JobKey, Mode, Resources, Task, config_of
from scheduler.pages import paths
from scheduler.pages.collect import (
    Common,
    amounts,
    common,
    is_active,
    job_name,
    message,
    paged,
    state_counts,
)
from scheduler.pages.collect_job import kind_of, newest
from scheduler.pages.pages import (
    AgentRow,
    AgentsPage,
    Ended,
    GroupRow,
    JobRow,
    Labeled,
    OfferRow,
    OffersPage,
    PendingPage,
    PoolRow,
    RolePage,
    RoleRow,
    RolesPage,
)
from scheduler.states import ScheduleStatus
from thermos.formats.aurora_api import JobConfiguration
from thermos.formats.mesos_v1_scheduler import Offer

#: Rows of one page.
ROWS: Final = 200
#: Attributes of a host that are shown.
MAX_ATTRIBUTES: Final = 50
_BAD: Final = frozenset({ScheduleStatus.FAILED, ScheduleStatus.LOST})
_MODES: Final = {Mode.SCHEDULED: "SCHEDULED", Mode.DRAINING: "DRAINING", Mode.DRAINED: "DRAINED"}
_POOLS: Final = {
    "prod_shared": "production",
    "prod_dedicated": "production, dedicated hosts",
    "non_prod_shared": "not production",
    "non_prod_dedicated": "not production, dedicated hosts",
}


# -- Roles -------------------------------------------------------------------------------------------------------------


class SeenCluster(NamedTuple):
    """What the first page is made from."""

    seen: Common
    tasks: tuple[Task, ...]
    jobs: Mapping[str, frozenset[JobKey]]
    roles: frozenset[str]
    agents: int
    offers: tuple[Offer, ...]
    is_registered: bool
    leading_since_ms: int | None


def pick_cluster(view: View) -> SeenCluster:
    """Picks how the cluster is."""
    state = view.state
    jobs = {role: frozenset(keys) for role, keys in state.by_role.items()}
    for key in state.cron_jobs:
        jobs[key.role] = jobs.get(key.role, frozenset()) | {key}
    return SeenCluster(
        common(view),
        tuple(state.tasks.values()),
        jobs,
        frozenset(jobs) | frozenset(state.quotas),
        len(state.hosts),
        tuple(view.offers),
        bool(view.metrics.get("framework_registered")),
        view.leading_since_ms,
    )


def roles_page(picked: SeenCluster) -> RolesPage:
    """The first page."""
    seen = picked.seen
    tasks: dict[str, list[Task]] = {}
    for task in picked.tasks:
        tasks.setdefault(task.job.role, []).append(task)
    rows = []
    for role in sorted(picked.roles):
        stats = job_stats(tasks.get(role, ()))
        rows.append(
            RoleRow(
                name=shown(role),
                href=paths.role_path(role),
                jobs=len(picked.jobs.get(role, ())),
                active=stats.active_task_count or 0,
                pending=stats.pending_task_count or 0,
                failed=stats.failed_task_count or 0,
            )
        )
    free = Resources()
    for offer in picked.offers:
        free = free.plus(_fixed(room_of(offer)))
    return RolesPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        is_registered=picked.is_registered,
        framework_id=seen.framework_id,
        leading_since_s=from_ms(picked.leading_since_ms),
        agents=picked.agents,
        offering=len({offer.agent_id for offer in picked.offers}),
        free=amounts(free),
        states=state_counts(picked.tasks),
        roles=tuple(rows),
    )


def _fixed(room: Room) -> Resources:
    return Resources(room.milli_cpus, room.ram_mb, room.disk_mb, room.gpus)


# -- A role ------------------------------------------------------------------------------------------------------------


class SeenRole(NamedTuple):
    """What a role's page is made from."""

    seen: Common
    role: str
    jobs: Mapping[JobKey, tuple[Task, ...]]
    crons: Mapping[JobKey, JobConfiguration]
    quota: Resources | None
    used: Consumption


def pick_role(view: View, role: str) -> SeenRole | None:
    """Picks a role; None: nothing is known of it."""
    state = view.state
    crons = {key: job for key, job in state.cron_jobs.items() if key.role == role}
    jobs = {key: tuple(state.tasks_of(key)) for key in state.by_role.get(role, ())}
    quota = state.quotas.get(role)
    if not jobs and not crons and quota is None:
        return None
    return SeenRole(common(view), role, jobs, crons, quota, consumption(state, role))


def role_page(picked: SeenRole, environment: str | None, query: Mapping[str, str]) -> RolePage | None:
    """The role's jobs, of one environment or of all; of the query ``page`` counts. None: it has none in that one."""
    seen, role = picked.seen, picked.role
    keys = sorted(picked.jobs.keys() | picked.crons.keys())
    wanted = [key for key in keys if environment is None or key.environment == environment]
    if environment is not None and not wanted:
        return None
    path = paths.role_path(role, environment)
    rows, paging = paged(wanted, query.get("page"), ROWS, lambda number: paths.with_query(path, {"page": number}))
    return RolePage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        role=shown(role),
        role_href=paths.role_path(role),
        environment=shown(environment) if environment is not None else None,
        environments=tuple(
            Link(text=shown(one), href=paths.role_path(role, one)) for one in sorted({key.environment for key in keys})
        ),
        jobs=tuple(_job_row(key, picked.jobs.get(key, ()), picked.crons.get(key)) for key in rows),
        paging=paging,
        pools=_pools(picked),
    )


def _pools(picked: SeenRole) -> tuple[PoolRow, ...]:
    """The pool that has a quota always, the others where something is used."""
    return tuple(
        PoolRow(
            name=words,
            used=amounts(getattr(picked.used, name)),
            allowed=amounts(picked.quota or Resources()) if name == "prod_shared" else None,
        )
        for name, words in _POOLS.items()
        if name == "prod_shared" or any(getattr(picked.used, name))
    )


def _job_row(key: JobKey, tasks: tuple[Task, ...], cron: JobConfiguration | None) -> JobRow:
    active = [task for task in tasks if is_active(task)]
    return JobRow(
        job=job_name(key),
        kind=kind_of(cron, tasks),
        tier=shown(_config(tasks, cron).tier),
        states=state_counts(active),
        ended=len(tasks) - len(active),
        last_failure=_last_failure(tasks),
        is_waiting=any(task.status in (ScheduleStatus.PENDING, ScheduleStatus.THROTTLED) for task in active),
    )


def _config(tasks: tuple[Task, ...], cron: JobConfiguration | None) -> Config:
    if cron is not None and cron.task_config is not None:
        return config_of(cron.task_config)
    return newest(tasks).config


def _last_failure(tasks: tuple[Task, ...]) -> Ended | None:
    bad = [task for task in tasks if task.status in _BAD]
    if not bad:
        return None
    last = max(bad, key=lambda task: (task.changed_at_ms, task.task_id))
    return Ended(
        at_s=last.changed_at_ms / 1000,
        state=last.status.name,
        message=message(last.events[-1].message),
        instance=last.instance,
        href=paths.instance_path(last.job, last.instance),
    )


# -- Agents ------------------------------------------------------------------------------------------------------------


class SeenAgents(NamedTuple):
    """What the page of agents is made from."""

    seen: Common
    hosts: tuple[Host, ...]
    offers: tuple[Offer, ...]
    tasks: tuple[Task, ...]


def pick_agents(view: View) -> SeenAgents:
    """Picks all agents."""
    state = view.state
    return SeenAgents(common(view), tuple(state.hosts.values()), tuple(view.offers), tuple(state.tasks.values()))


def agents_page(picked: SeenAgents, query: Mapping[str, str]) -> AgentsPage:
    """The agents; of the query ``page`` counts."""
    seen = picked.seen
    offers = {offer.agent_id: offer for offer in picked.offers}
    counts: dict[str | None, int] = {}
    for task in picked.tasks:
        if task.agent_id is not None and is_active(task):
            counts[task.agent_id] = counts.get(task.agent_id, 0) + 1
    hosts = sorted(picked.hosts, key=lambda host: host.name)
    rows, paging = paged(
        hosts, query.get("page"), ROWS, lambda number: paths.with_query(paths.AGENTS, {"page": number})
    )
    found = []
    for host in rows:
        offer = offers.get(host.agent_id or "")
        found.append(
            AgentRow(
                host=shown(host.name),
                agent_id=shown(host.agent_id) if host.agent_id is not None else None,
                attributes=tuple(
                    Labeled(name=shown(name), value=shown(", ".join(sorted(values)), MAX_PHRASE))
                    for name, values in host.attributes[:MAX_ATTRIBUTES]
                ),
                mode=_MODES.get(host.mode),
                tasks=counts.get(host.agent_id, 0) if host.agent_id is not None else 0,
                offered=amounts(_fixed(room_of(offer))) if offer is not None else None,
            )
        )
    return AgentsPage(
        stamp=seen.stamp(), cluster=seen.cluster, notices=seen.notices(), rows=tuple(found), paging=paging
    )


# -- Offers ------------------------------------------------------------------------------------------------------------


class SeenOffers(NamedTuple):
    """What the page of offers is made from."""

    seen: Common
    offers: tuple[Offer, ...]


def pick_offers(view: View) -> SeenOffers:
    """Picks all offers."""
    return SeenOffers(common(view), tuple(view.offers))


def offers_page(picked: SeenOffers, query: Mapping[str, str]) -> OffersPage:
    """The offers; of the query ``page`` counts."""
    seen = picked.seen
    offers = sorted(picked.offers, key=lambda offer: (offer.hostname, offer.offer_id))
    rows, paging = paged(
        offers, query.get("page"), ROWS, lambda number: paths.with_query(paths.OFFERS, {"page": number})
    )
    return OffersPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        rows=tuple(map(_offer_row, rows)),
        paging=paging,
    )


def _offer_row(offer: Offer) -> OfferRow:
    room = room_of(offer)
    revocable = Resources(room.revocable_milli_cpus, room.revocable_ram_mb)
    return OfferRow(
        host=shown(offer.hostname),
        agent_id=shown(offer.agent_id),
        offer_id=shown(offer.offer_id),
        free=amounts(_fixed(room)),
        ports=room.ports,
        revocable=amounts(revocable) if any(revocable) else None,
        goes_s=from_ms(offer.unavailability.start_ns // 1_000_000) if offer.unavailability is not None else None,
    )


# -- What waits --------------------------------------------------------------------------------------------------------


class SeenGroup(NamedTuple):
    """Tasks of one configuration that wait."""

    config: Config
    tasks: int
    since_ms: int | None
    penalty_s: float
    reason: str


class SeenPending(NamedTuple):
    """What the page of what waits is made from."""

    seen: Common
    groups: tuple[SeenGroup, ...]


def pick_pending(view: View) -> SeenPending:
    """Picks all groups."""
    found = []
    for group in view.groups.values():
        pending = group.pending
        oldest = view.state.tasks.get(pending[0]) if pending else None
        found.append(
            SeenGroup(
                group.config,
                len(pending),
                oldest.changed_at_ms if oldest is not None else None,
                group.penalty_s,
                group.reason,
            )
        )
    return SeenPending(common(view), tuple(found))


def pending_page(picked: SeenPending, query: Mapping[str, str]) -> PendingPage:
    """What waits; of the query ``page`` counts."""
    seen = picked.seen
    groups = sorted(picked.groups, key=lambda group: (group.since_ms or 0, group.config.job, group.config.digest))
    rows, paging = paged(
        groups, query.get("page"), ROWS, lambda number: paths.with_query(paths.PENDING, {"page": number})
    )
    return PendingPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        rows=tuple(
            GroupRow(
                job=job_name(group.config.job),
                tasks=group.tasks,
                since_s=from_ms(group.since_ms),
                penalty_s=group.penalty_s,
                reason=shown(seen.holds[0] if seen.holds else group.reason, MAX_SENTENCE),
                needs=amounts(group.config.resources),
            )
            for group in rows
        ),
        paging=paging,
    )
