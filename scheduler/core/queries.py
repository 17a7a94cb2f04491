"""What clients ask to see of the state: tasks, jobs, roles, configurations, what an update would change.

For reading only, and without a clock: the same state gives the same answer, in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from scheduler.core.ranges import instances_of, ranges_of
from scheduler.core.state import State
from scheduler.model import Config, Intern, JobKey, Task, TaskEvent, config_of
from scheduler.states import ACTIVE, AGENT_ASSIGNED, ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    ConfigGroup,
    GetJobUpdateDiffResult,
    JobConfiguration,
    JobStats,
    JobSummary,
    Range,
    RoleSummary,
    ScheduledTask,
    TaskQuery,
)
from thermos.formats.aurora_api import TaskEvent as WireEvent

_S = ScheduleStatus
_STATUS: Final = attrgetter("status")

# -- tasks -------------------------------------------------------------------------------------------------------------


def key_of(key: wire.JobKey) -> JobKey:
    """The job that *key* names; what is missing is ""."""
    return JobKey(key.role or "", key.environment or "", key.name or "")


def _test(query: TaskQuery) -> Callable[[Task], bool]:
    """Whether a task fits *query*, as a function to be asked often. A set that is empty asks for nothing, like one that
    is not there: Go's clients always send all sets."""
    ids, statuses, instances = set(query.task_ids or ()), set(query.statuses or ()), set(query.instance_ids or ())
    hosts, jobs = set(query.slave_hosts or ()), {key_of(key) for key in query.job_keys or ()}
    role, environment, name = query.role, query.environment, query.job_name

    def fits(task: Task) -> bool:
        job = task.config.job
        return (
            (not statuses or task.status in statuses)
            and (role is None or job.role == role)
            and (environment is None or job.environment == environment)
            and (name is None or job.name == name)
            and (not jobs or job in jobs)
            and (not instances or task.instance in instances)
            and (not ids or task.task_id in ids)
            and (not hosts or task.host in hosts)
        )

    return fits


def matches(task: Task, query: TaskQuery) -> bool:
    """Whether *task* fits everything that *query* asks for; its offset and limit are not looked at."""
    return _test(query)(task)


def _candidates(state: State, query: TaskQuery) -> Iterable[str]:
    """Ids of the tasks among which those are that *query* asks for: the shortest list that an index gives. An id may
    come twice."""
    if query.task_ids:
        return [task_id for task_id in query.task_ids if task_id in state.tasks]
    found: list[list[Collection[str]]] = []
    if query.job_keys:
        found.append([state.by_job.get(key_of(key), ()) for key in query.job_keys])
    if query.role is not None:
        if query.environment is not None and query.job_name is not None:
            jobs: Iterable[JobKey] = (JobKey(query.role, query.environment, query.job_name),)
        else:
            jobs = state.by_role.get(query.role, ())
        found.append([state.by_job.get(job, ()) for job in jobs])
    if query.statuses:
        found.append([state.by_status[status] for status in query.statuses])
    if query.slave_hosts:
        hosts = set(query.slave_hosts)
        # All tasks of an agent are on one host: an agent that changes its host's name gets a new id.
        found.append([ids for ids in state.by_agent.values() if state.tasks[next(iter(ids))].host in hosts])
    if not found:
        return state.tasks
    shortest = min(found, key=lambda lists: sum(map(len, lists)))
    return (task_id for ids in shortest for task_id in ids)


def select(state: State, query: TaskQuery) -> list[Task]:
    """The tasks that fit *query*, newest first; of those created at the same moment, by job, instance and id. An
    offset skips the first of them, a limit above 0 ends the list."""
    fits = _test(query)
    tasks = state.tasks
    found = [task for task_id in dict.fromkeys(_candidates(state, query)) if fits(task := tasks[task_id])]
    found.sort(key=lambda task: (-task.events[0].at_ms, task.config.job, task.instance, task.task_id))
    first = max(0, query.offset or 0)
    limit = query.limit or 0
    return found[first : first + limit] if limit > 0 else found[first:]


# -- jobs --------------------------------------------------------------------------------------------------------------


def role_summaries(state: State) -> tuple[RoleSummary, ...]:
    """Each role that has tasks or cron jobs, by name, with the number of its jobs of which tasks are known, and of its
    cron jobs."""
    crons: dict[str, int] = {}
    for key in state.cron_jobs:
        crons[key.role] = crons.get(key.role, 0) + 1
    return tuple(
        RoleSummary(role, len(state.by_role.get(role, ())), crons.get(role, 0))
        for role in sorted(state.by_role.keys() | crons.keys())
    )


def _keys(state: State, role: str | None) -> list[JobKey]:
    """All jobs of the role (None or "": of all roles) that are scheduled or have tasks, in order."""
    if not role:
        return sorted(state.by_job.keys() | state.cron_jobs.keys())
    return sorted({*state.by_role.get(role, ()), *(key for key in state.cron_jobs if key.role == role)})


def _as_job(key: JobKey, tasks: Sequence[Task]) -> JobConfiguration:
    """A job as its tasks show it, of which there must be one: the configuration is that of the one that moved last,
    since a job may be in the middle of an update."""
    latest = max(tasks, key=lambda task: (task.changed_at_ms, task.task_id))
    config = latest.config.wire
    return JobConfiguration(
        key=wire.JobKey(*key),
        owner=config.owner,
        task_config=config,
        instance_count=len({task.instance for task in tasks}),
    )


def jobs(state: State, role: str | None = None) -> tuple[JobConfiguration, ...]:
    """The jobs of a role (None or "": all) that have active tasks, and its cron jobs as they are scheduled."""
    found = []
    for key in _keys(state, role):
        cron = state.cron_jobs.get(key)
        if cron is not None:
            found.append(cron)
        elif active := state.active_of(key):
            found.append(_as_job(key, active))
    return tuple(found)


def job_stats(tasks: Iterable[Task]) -> JobStats:
    """How many of *tasks* wait, are on an agent, ended well or as they were told, or failed."""
    counts = Counter(map(_STATUS, tasks))
    return JobStats(
        active_task_count=sum(counts[status] for status in AGENT_ASSIGNED),
        finished_task_count=counts[_S.FINISHED] + counts[_S.KILLED],
        failed_task_count=counts[_S.FAILED] + counts[_S.LOST],
        pending_task_count=counts[_S.PENDING] + counts[_S.THROTTLED] + counts[_S.INIT],
    )


def job_summaries(
    state: State, role: str | None = None, next_run_ms: Callable[[JobConfiguration], int | None] | None = None
) -> tuple[JobSummary, ...]:
    """Each job of a role (None or "": all), those without active tasks too, with numbers. *next_run_ms* says when a
    cron job will run next."""
    found = []
    for key in _keys(state, role):
        tasks = list(state.tasks_of(key))
        cron = state.cron_jobs.get(key)
        job = cron or _as_job(key, [task for task in tasks if task.status in ACTIVE] or tasks)
        next_ms = next_run_ms(cron) if cron is not None and next_run_ms is not None else None
        run = state.cron_runs.get(key)
        missed = (run.missed, run.missed_at_ms) if run is not None and run.missed else (None, None)
        found.append(JobSummary(job, job_stats(tasks), next_ms, *missed))
    return tuple(found)


# -- configurations ----------------------------------------------------------------------------------------------------


def _groups(configs: Iterable[tuple[int, Config]]) -> tuple[ConfigGroup, ...]:
    """Which instances have which configuration; the group of the lowest instance first."""
    instances: dict[Config, list[int]] = {}
    for instance, config in sorted(configs, key=lambda one: one[0]):
        instances.setdefault(config, []).append(instance)
    return tuple(ConfigGroup(config.wire, ranges_of(found)) for config, found in instances.items())


def config_groups(tasks: Iterable[Task]) -> tuple[ConfigGroup, ...]:
    """Which instances of *tasks* have which configuration, as merged ranges; the group of the lowest instance first."""
    return _groups((task.instance, task.config) for task in tasks)


class JobDiff(NamedTuple):
    """What an update would change. Instances that there are come with the configuration that they have."""

    add: frozenset[int]
    remove: Mapping[int, Config]
    update: Mapping[int, Config]
    unchanged: Mapping[int, Config]


def compare(state: State, config: Config, instances: int, scope: Sequence[Range] | None = None) -> JobDiff:
    """What has to change for the job of *config* to have *instances* instances of it. With a *scope* that is not
    empty, only those instances are to be changed (``JobDiff.java``)."""
    present = {task.instance: task.config for task in state.active_of(config.job)}
    wanted = range(max(0, instances))
    limit = instances_of(scope)
    scoped = bool(scope)
    touched = [instance for instance in present if not scoped or instance in limit]
    remove = {instance: present[instance] for instance in touched if instance not in wanted}
    update = {instance: present[instance] for instance in touched if instance in wanted and present[instance] != config}
    return JobDiff(
        frozenset(instance for instance in wanted if instance not in present and (not scoped or instance in limit)),
        remove,
        update,
        {instance: found for instance, found in present.items() if instance not in remove and instance not in update},
    )


def job_diff(
    state: State, config: Config, instances: int, scope: Sequence[Range] | None = None
) -> GetJobUpdateDiffResult:
    """``compare`` as ``getJobUpdateDiff`` answers it: what is added with the new configuration, all else with the one
    that it has."""
    found = compare(state, config, instances, scope)
    return GetJobUpdateDiffResult(
        add=_groups((instance, config) for instance in found.add),
        remove=_groups(found.remove.items()),
        update=_groups(found.update.items()),
        unchanged=_groups(found.unchanged.items()),
    )


# -- on the wire -------------------------------------------------------------------------------------------------------


def without_config(config: wire.TaskConfig) -> wire.TaskConfig:
    """*config* as ``getTasksWithoutConfigs`` gives it: without the executor's part, which is nearly all of it."""
    return config._replace(executor_config=None)


def to_wire(task: Task, is_without_config: bool = False) -> ScheduledTask:
    """*task* as clients get it."""
    config = task.config.wire
    return _scheduled(task, without_config(config) if is_without_config else config)


def all_to_wire(tasks: Iterable[Task], is_without_config: bool = False) -> tuple[ScheduledTask, ...]:
    """*tasks* as clients get them. Those that share a configuration share it here too."""
    if not is_without_config:
        return tuple(_scheduled(task, task.config.wire) for task in tasks)
    known: dict[Config, wire.TaskConfig] = {}
    found = []
    for task in tasks:
        config = known.get(task.config)
        if config is None:
            config = known[task.config] = without_config(task.config.wire)
        found.append(_scheduled(task, config))
    return tuple(found)


def _scheduled(task: Task, config: wire.TaskConfig) -> ScheduledTask:
    return ScheduledTask(
        assigned_task=wire.AssignedTask(
            task_id=task.task_id,
            slave_id=task.agent_id,
            slave_host=task.host,
            task=config,
            assigned_ports=dict(task.ports),
            instance_id=task.instance,
        ),
        status=task.status,
        failure_count=task.failure_count,
        times_partitioned=task.times_partitioned,
        task_events=tuple(WireEvent(*event) for event in task.events),
        ancestor_id=task.ancestor_id,
    )


def from_wire(scheduled: ScheduledTask, intern: Intern = lambda config: config) -> Task:
    """The task that *scheduled* describes, its configuration given through *intern*. Raises ValueError where it has no
    id, configuration or state, or no event that says when it came to be."""
    assigned = scheduled.assigned_task
    if assigned is None or not assigned.task_id or assigned.task is None:
        raise ValueError("a task has no id or no configuration")
    if scheduled.status is None:
        raise ValueError(f"the task {assigned.task_id} has no state")
    events = tuple(
        TaskEvent(event.timestamp or 0, event.status, event.message, event.scheduler)
        for event in scheduled.task_events or ()
        if event.status is not None
    )
    if not events:
        raise ValueError(f"the task {assigned.task_id} has no events")
    return Task(
        task_id=assigned.task_id,
        instance=assigned.instance_id or 0,
        config=intern(config_of(assigned.task)),
        status=scheduled.status,
        events=events,
        agent_id=assigned.slave_id,
        host=assigned.slave_host,
        ports=tuple(sorted((assigned.assigned_ports or {}).items())),
        failure_count=scheduled.failure_count or 0,
        times_partitioned=scheduled.times_partitioned or 0,
        ancestor_id=scheduled.ancestor_id,
    )
