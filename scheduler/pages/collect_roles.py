"""The first page, and a role's: who runs what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Final, NamedTuple

from observer_static.context import from_ms, shown
from observer_static.parts import Link
from scheduler.api.backend import View
from scheduler.core.cron import next_run_ms
from scheduler.core.queries import job_stats
from scheduler.core.quota import Consumption, consumption
from scheduler.model import Config, JobKey, Resources, Task, config_of
from scheduler.pages import paths
from scheduler.pages.collect import (
    ROWS,
    Common,
    amounts,
    common,
    fixed,
    is_active,
    job_name,
    message,
    paged,
    state_counts,
)
from scheduler.pages.collect_job import kind_of, newest
from scheduler.pages.pages import RolePage, RolesPage
from scheduler.pages.parts import Ended, JobRow, PoolRow, RoleRow
from scheduler.states import ScheduleStatus
from thermos.formats.aurora_api import JobConfiguration
from thermos.formats.mesos_v1_scheduler import Offer

_BAD: Final = frozenset({ScheduleStatus.FAILED, ScheduleStatus.LOST})
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
        free = free.plus(fixed(offer))
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


# -- A role ------------------------------------------------------------------------------------------------------------


class SeenRole(NamedTuple):
    """What a role's page is made from."""

    seen: Common
    role: str
    jobs: Mapping[JobKey, tuple[Task, ...]]
    crons: Mapping[JobKey, JobConfiguration]
    zone: tzinfo
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
    return SeenRole(common(view), role, jobs, crons, view.settings.cron_timezone, quota, consumption(state, role))


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
        jobs=tuple(_job_row(key, picked.jobs.get(key, ()), picked.crons.get(key), picked) for key in rows),
        paging=paging,
        pools=_pools(picked),
    )


def _pools(picked: SeenRole) -> tuple[PoolRow, ...]:
    """The pool that has a quota always, the others where something is used."""
    return tuple(
        PoolRow(
            name=words,
            used=amounts(getattr(picked.used, name)),
            is_limited=name == "prod_shared",
            allowed=amounts(picked.quota) if name == "prod_shared" and picked.quota is not None else None,
        )
        for name, words in _POOLS.items()
        if name == "prod_shared" or any(getattr(picked.used, name))
    )


def _job_row(key: JobKey, tasks: tuple[Task, ...], cron: JobConfiguration | None, picked: SeenRole) -> JobRow:
    active = [task for task in tasks if is_active(task)]
    return JobRow(
        job=job_name(key),
        kind=kind_of(cron, tasks),
        schedule=shown(cron.cron_schedule or "") if cron is not None else None,
        next_s=from_ms(next_run_ms(cron.cron_schedule, picked.seen.wall_ms, picked.zone)) if cron is not None else None,
        tier=shown(_config(tasks, cron).tier),
        states=state_counts(active),
        ended=len(tasks) - len(active),
        last_failure=_last_failure(tasks),
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
