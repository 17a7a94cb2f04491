"""Cron jobs: when they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import tzinfo
from typing import Final, NamedTuple

from observer_static.context import from_ms, shown
from scheduler.api.backend import View
from scheduler.core.changes import CronRun
from scheduler.core.cron import next_run_ms
from scheduler.model import JobKey
from scheduler.pages import paths
from scheduler.pages.collect import ROWS, Common, common, job_name, paged
from scheduler.pages.pages import CronPage
from scheduler.pages.parts import CronRow, CronView
from scheduler.states import ACTIVE
from thermos.formats.aurora_api import CronCollisionPolicy, JobConfiguration

#: Runs to come of one job that are shown.
NEXT_RUNS: Final = 3
_COLLISIONS: Final = {
    CronCollisionPolicy.KILL_EXISTING: "the old run is killed, and the new one begins",
    CronCollisionPolicy.CANCEL_NEW: "the new run is left out",
    CronCollisionPolicy.RUN_OVERLAP: "the new run is left out, since RUN_OVERLAP is not supported",
}


class SeenCron(NamedTuple):
    """One cron job, as it is kept."""

    config: JobConfiguration
    run: CronRun | None
    zone: tzinfo


def seen_cron(view: View, job: JobKey) -> SeenCron | None:
    """Picks a cron job; None: *job* is none."""
    config = view.state.cron_jobs.get(job)
    if config is None:
        return None
    return SeenCron(config, view.state.cron_runs.get(job), view.settings.cron_timezone)


def cron_view(picked: SeenCron, now_ms: int, runs: int = NEXT_RUNS) -> CronView:
    """When it runs, of its *runs* next times."""
    run = picked.run or CronRun(0)
    found: list[float] = []
    at_ms: int | None = now_ms
    while at_ms is not None and len(found) < runs:
        at_ms = next_run_ms(picked.config.cron_schedule, at_ms, picked.zone)
        if at_ms is not None:
            found.append(at_ms / 1000)
    policy = picked.config.cron_collision_policy
    return CronView(
        schedule=shown(picked.config.cron_schedule or ""),
        zone=shown(str(picked.zone)),
        next_s=tuple(found),
        collision=_COLLISIONS[policy if policy is not None else CronCollisionPolicy.KILL_EXISTING],
        is_waiting=run.is_waiting,
        missed=run.missed,
        missed_s=from_ms(run.missed_at_ms),
    )


class SeenCrons(NamedTuple):
    """What the page of cron jobs is made from."""

    seen: Common
    jobs: tuple[tuple[JobKey, SeenCron], ...]
    active: Mapping[JobKey, int]


def pick_cron(view: View) -> SeenCrons:
    """Picks all cron jobs."""
    state = view.state
    jobs = tuple((key, found) for key in state.cron_jobs if (found := seen_cron(view, key)) is not None)
    active = Counter({key: sum(task.status in ACTIVE for task in state.tasks_of(key)) for key, _ in jobs})
    return SeenCrons(common(view), jobs, active)


def cron_page(picked: SeenCrons, query: Mapping[str, str]) -> CronPage:
    """The cron jobs; of the query ``page`` counts."""
    seen = picked.seen
    jobs = sorted(picked.jobs, key=lambda one: one[0])
    rows, paging = paged(jobs, query.get("page"), ROWS, lambda number: paths.with_query(paths.CRON, {"page": number}))
    return CronPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        rows=tuple(
            CronRow(
                job=job_name(key),
                cron=cron_view(found, seen.wall_ms, 1),
                active=picked.active[key],
                instances=found.config.instance_count or 0,
            )
            for key, found in rows
        ),
        paging=paging,
    )
