"""The pages of one job and of one of its instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from observer_static.context import from_ms, ports_of, shown
from observer_static.parts import Link
from scheduler.api.backend import View
from scheduler.model import Config, JobKey, Task, config_of
from scheduler.pages import paths
from scheduler.pages.collect import (
    Common,
    Teller,
    common,
    config_view,
    host_link,
    is_active,
    job_name,
    message,
    paged,
    reasons_of,
    state_counts,
)
from scheduler.pages.collect_cron import SeenCron, cron_view, seen_cron
from scheduler.pages.collect_updates import MAX_CONFIGS, update_row
from scheduler.pages.pages import InstancePage, JobPage
from scheduler.pages.parts import ConfigView, EventRow, TaskHistory
from thermos.formats.aurora_api import JobConfiguration, JobUpdateDetails

#: Rows of one page.
ACTIVE_ROWS: Final = 100
COMPLETED_ROWS: Final = 25
UPDATE_ROWS: Final = 10
HISTORY_TASKS: Final = 10


class SeenJob(NamedTuple):
    """What a job's pages are made from."""

    seen: Common
    job: JobKey
    tasks: tuple[Task, ...]
    cron: JobConfiguration | None
    reasons: Mapping[str, str]
    schedule: SeenCron | None
    #: Of all jobs: which are this one's is not for the thread that owns the state to find out.
    updates: Mapping[tuple[JobKey, str], JobUpdateDetails]


def pick_job(view: View, job: JobKey) -> SeenJob | None:
    """Picks a job; None: there is none of that name."""
    tasks = tuple(view.state.tasks_of(job))
    cron = view.state.cron_jobs.get(job)
    if not tasks and cron is None and not any(key == job for key, _ in view.state.updates):
        return None
    return SeenJob(
        common(view), job, tasks, cron, reasons_of(view, tasks), seen_cron(view, job), dict(view.state.updates)
    )


# -- A job -------------------------------------------------------------------------------------------------------------


def job_page(picked: SeenJob, query: Mapping[str, str], task_page_url: str) -> JobPage:
    """The job. Of the query count ``state``, and ``active``, ``completed`` and ``updates``: which page of these."""
    seen, job = picked.seen, picked.job
    teller = Teller(seen, picked.reasons, task_page_url)
    active = sorted((task for task in picked.tasks if is_active(task)), key=lambda task: task.instance)
    completed = sorted(
        (task for task in picked.tasks if not is_active(task)),
        key=lambda task: (-task.changed_at_ms, task.instance, task.task_id),
    )
    chosen = query.get("state")
    shown_tasks = [task for task in active if chosen is None or task.status.name == chosen]
    path = paths.job_path(job)
    given = {name: query.get(name) for name in ("state", "active", "completed", "updates")}

    def href(name: str, number: int | None) -> str:
        return f"{paths.with_query(path, {**given, name: number})}#{name}"

    active_rows, active_paging = paged(shown_tasks, given["active"], ACTIVE_ROWS, lambda number: href("active", number))
    ended_rows, ended_paging = paged(
        completed, given["completed"], COMPLETED_ROWS, lambda number: href("completed", number)
    )
    updates = [update_row(job, update_id, found) for (key, update_id), found in picked.updates.items() if key == job]
    updates.sort(key=lambda row: (row.began_s or 0, row.update_id), reverse=True)
    update_rows, updates_paging = paged(updates, given["updates"], UPDATE_ROWS, lambda number: href("updates", number))
    configs = _configs(picked, active or completed)
    return JobPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        job=job_name(job),
        kind=kind_of(picked.cron, picked.tasks),
        cron=cron_view(picked.schedule, seen.wall_ms) if picked.schedule is not None else None,
        states=state_counts(active, lambda state: paths.with_query(path, {"state": state}), chosen),
        all_href=path,
        active=tuple(map(teller.row, active_rows)),
        active_paging=active_paging,
        completed=tuple(map(teller.row, ended_rows)),
        completed_paging=ended_paging,
        updates=tuple(update_rows),
        updates_paging=updates_paging,
        configs=configs[:MAX_CONFIGS],
        configs_left_out=len(configs[MAX_CONFIGS:]),
    )


def kind_of(cron: JobConfiguration | None, tasks: Sequence[Task]) -> str:
    """``service``, ``batch`` or ``cron``, as the task that moved last has it."""
    if cron is not None:
        return "cron"
    if not tasks:
        return "service"  # of which there are updates only, and only services are updated
    return "service" if newest(tasks).config.is_service else "batch"


def newest(tasks: Sequence[Task]) -> Task:
    """Of *tasks*, of which there must be one, the one that moved last, an active one where there is any: a job may be
    in the middle of an update."""
    return max(tasks, key=lambda task: (is_active(task), task.changed_at_ms, task.task_id))


def _configs(picked: SeenJob, tasks: Sequence[Task]) -> tuple[ConfigView, ...]:
    """Which instances have which configuration; of a cron job without any, what is scheduled."""
    instances: dict[Config, set[int]] = {}
    for task in tasks:
        instances.setdefault(task.config, set()).add(task.instance)
    if not instances and picked.cron is not None and picked.cron.task_config is not None:
        instances[config_of(picked.cron.task_config)] = set(range(min(picked.cron.instance_count or 0, 100_000)))
    return tuple(config_view(config, have) for config, have in sorted(instances.items(), key=lambda one: min(one[1])))


# -- An instance -------------------------------------------------------------------------------------------------------


def instance_page(picked: SeenJob, instance: int, query: Mapping[str, str], task_page_url: str) -> InstancePage | None:
    """The instance, of the query ``page`` counts; None: the job has no task of that number."""
    seen = picked.seen
    teller = Teller(seen, picked.reasons, task_page_url)
    tasks = [task for task in picked.tasks if task.instance == instance]
    if not tasks:
        return None
    # Not by when they came alone: who came at one moment follows whom it succeeds.
    tasks.sort(key=lambda task: (is_active(task), task.created_at_ms, task.changed_at_ms), reverse=True)
    path = paths.instance_path(picked.job, instance)
    rows, paging = paged(
        tasks, query.get("page"), HISTORY_TASKS, lambda number: paths.with_query(path, {"page": number})
    )
    places = {
        task.task_id: f"{paths.with_query(path, {'page': number or None})}#{_anchor(place)}"
        for place, task in enumerate(tasks)
        for number in (place // HISTORY_TASKS + 1 if place >= HISTORY_TASKS else 0,)
    }
    successors = {task.ancestor_id: task.task_id for task in tasks if task.ancestor_id is not None}
    first = max(0, paging.first - 1)

    def link(task_id: str | None) -> Link | None:
        return Link(text=shown(task_id), href=places.get(task_id)) if task_id is not None else None

    return InstancePage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        job=job_name(picked.job),
        instance=instance,
        tasks=tuple(
            TaskHistory(
                task_id=shown(task.task_id),
                anchor=_anchor(first + place),
                state=task.status.name,
                since_s=from_ms(task.changed_at_ms),
                host=host_link(task.host),
                agent_id=shown(task.agent_id) if task.agent_id is not None else None,
                task_href=teller.task_href(task),
                ports=ports_of(dict(task.ports), task.host) if task.host is not None else (),
                why=teller.why(task),
                events=_events(task),
                ancestor=link(task.ancestor_id),
                successor=link(successors.get(task.task_id)),
                failures=task.failure_count,
                partitions=task.times_partitioned,
                config=config_view(task.config, [task.instance]),
            )
            for place, task in enumerate(rows)
        ),
        paging=paging,
    )


def _anchor(place: int) -> str:
    """Ids of tasks are others' words; a place on the page is ours."""
    return f"task-{place + 1}"


def _events(task: Task) -> tuple[EventRow, ...]:
    """What happened; how long each state lasted, but for the last one of a task that is over."""
    found = []
    for place, event in enumerate(task.events):
        after = task.events[place + 1] if place + 1 < len(task.events) else None
        found.append(
            EventRow(
                at_s=from_ms(event.at_ms),
                state=event.status.name,
                for_s=(after.at_ms - event.at_ms) / 1000 if after is not None else None,
                message=message(event.message),
                scheduler=shown(event.scheduler) if event.scheduler else None,
            )
        )
    return tuple(found)
