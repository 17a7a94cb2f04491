"""What a store keeps, made up: by hand for stories, by hypothesis for everything else; and a State as a plain value."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

from scheduler.core.changes import (
    AddInstanceEvent,
    AddUpdateEvent,
    Change,
    CronRun,
    DropCronJob,
    DropCronRun,
    DropHost,
    DropMaintenance,
    DropQuota,
    DropTask,
    DropUpdate,
    PutCronJob,
    PutCronRun,
    PutFramework,
    PutHost,
    PutMaintenance,
    PutQuota,
    PutTask,
    PutUpdate,
)
from scheduler.core.state import State
from scheduler.model import Config, Host, JobKey, Resources, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats import aurora_api as api

T = TypeVar("T")

EPOCH_MS: Final = 1_700_000_000_000


def config(name: str = "web", **fields: Any) -> Config:
    """A job's configuration; *fields* are those of the wire's ``TaskConfig``."""
    return config_of(
        wire.TaskConfig(
            job=wire.JobKey("www", "prod", name),
            owner=wire.Identity("mchucarroll"),
            is_service=True,
            resources=(wire.Resource(num_cpus=0.5), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64)),
            executor_config=wire.ExecutorConfig("AuroraExecutor", '{"name": "web", "task": {"processes": []}}'),
        )._replace(**fields)
    )


def task(
    task_id: str, of: Config | None = None, status: ScheduleStatus = ScheduleStatus.PENDING, **fields: Any
) -> Task:
    """A task with one event, in that state."""
    events = (TaskEvent(EPOCH_MS, status, None, "scheduler.example.com"),)
    return Task(task_id, 0, of or config(), status, events)._replace(**fields)


def update(job: JobKey, update_id: str, message: str = "") -> PutUpdate:
    """An update that has begun."""
    key = api.JobUpdateKey(wire.JobKey(*job), update_id)
    summary = api.JobUpdateSummary(key, "mchucarroll", api.JobUpdateState(api.JobUpdateStatus.ROLLING_FORWARD, 1, 2))
    events = (api.JobUpdateEvent(api.JobUpdateStatus.ROLLING_FORWARD, EPOCH_MS, "mchucarroll", message),)
    return PutUpdate(job, update_id, api.JobUpdateDetails(api.JobUpdate(summary), events, ()))


def state_of(changes: Iterable[Change]) -> State:
    """What they make of nothing."""
    state = State()
    for change in changes:
        state.apply(change)
    return state


def picture(state: State) -> dict[str, object]:
    """All of it as a value that can be compared and shown, in its order."""
    return {
        "framework_id": state.framework_id,
        "tasks": list(state.tasks.items()),
        "by_job": {job: list(ids) for job, ids in state.by_job.items()},
        "cron_jobs": list(state.cron_jobs.items()),
        "cron_runs": list(state.cron_runs.items()),
        "quotas": list(state.quotas.items()),
        "hosts": list(state.hosts.items()),
        "updates": list(state.updates.items()),
        "maintenance": list(state.maintenance.items()),
    }


# -- hypothesis --------------------------------------------------------------------------------------------------------


def made(of: Callable[..., T], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Of a struct whose other fields are not set."""
    return st.fixed_dictionaries(fields).map(lambda found: of(**found))


#: Half of them plain, the other half with all that a string can hold: quotes, NUL, half a surrogate pair.
names = st.one_of(
    st.sampled_from(["www", "db", "a b", "", '"', "[", '["x"]', "\x00", "\ud800", "ü", "x" * 300]),
    st.text(max_size=5),
    st.text(string.ascii_letters, min_size=1, max_size=3),
)
texts = st.none() | names
i32 = st.integers(-(2**31), 2**31 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
keys = st.builds(JobKey, names, st.sampled_from(["prod", "devel"]), names)
resources = st.builds(Resources, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 8))
wire_configs = made(
    wire.TaskConfig,
    job=keys.map(lambda key: wire.JobKey(*key)),
    owner=st.none() | made(wire.Identity, user=texts),
    is_service=st.none() | st.booleans(),
    priority=st.none() | i32,
    max_task_failures=st.none() | i32,
    tier=texts,
    resources=st.none()
    | st.lists(
        made(wire.Resource, num_cpus=st.floats(0, 64))
        | made(wire.Resource, ram_mb=st.integers(0, 10**6))
        | made(wire.Resource, named_port=names),
        max_size=3,
    ).map(tuple),
    task_links=st.none() | st.dictionaries(names, names, max_size=2),
    executor_config=st.none() | made(wire.ExecutorConfig, name=texts, data=texts),
    metadata=st.none() | st.lists(made(wire.Metadata, key=texts, value=texts), max_size=2).map(tuple),
)
#: Few, so that tasks share them and change theirs; a task never changes its job.
_POOLS: Final = {
    "t1": [config("web"), config("web", priority=1)],
    "t2": [config("web"), config("web", priority=2)],
    "t3": [config("db"), config("db", priority=1)],
}
statuses = st.sampled_from(list(ScheduleStatus))
events = st.builds(TaskEvent, i64, statuses, texts, texts)
task_ids = st.sampled_from(sorted(_POOLS)) | names


def _of_one_job(task: Task, choice: int) -> Task:
    pool = _POOLS.get(task.task_id)
    if pool is not None:
        return task._replace(config=pool[choice])
    return task._replace(task_id=f"{task.config.digest[:8]}{task.task_id}")


any_task = st.builds(
    Task,
    task_id=task_ids,
    instance=i32,
    config=wire_configs.map(config_of),
    status=statuses,
    events=st.lists(events, min_size=1, max_size=4).map(tuple),
    agent_id=texts,
    host=texts,
    ports=st.dictionaries(names, i32, max_size=2).map(lambda ports: tuple(sorted(ports.items()))),
    failure_count=i32,
    times_partitioned=i32,
    ancestor_id=texts,
    health=texts,
)
tasks = st.builds(_of_one_job, any_task, st.integers(0, 1))
hosts = st.builds(
    Host,
    name=names,
    agent_id=texts,
    attributes=st.dictionaries(names, st.frozensets(names, max_size=2), max_size=2).map(
        lambda found: tuple(sorted(found.items()))
    ),
    mode=st.sampled_from([1, 2, 3, 4]),
)
update_details = made(
    api.JobUpdateDetails,
    update=st.none()
    | made(
        api.JobUpdate,
        instructions=made(
            api.JobUpdateInstructions,
            desired_state=made(
                api.InstanceTaskConfig, task=wire_configs, instances=st.none() | st.just((api.Range(0, 3),))
            ),
            settings=st.none() | made(api.JobUpdateSettings, update_group_size=i32, sla_aware=st.booleans()),
        ),
    ),
    update_events=st.none()
    | st.lists(
        made(
            api.JobUpdateEvent,
            status=st.sampled_from(list(api.JobUpdateStatus)),
            timestamp_ms=i64,
            user=texts,
            message=texts,
        ),
        max_size=3,
    ).map(tuple),
    instance_events=st.none() | st.just(()),
)
#: Few, so that events meet their updates.
update_keys = st.sampled_from([JobKey("www", "prod", "web"), JobKey('["', "prod", "ü")])
update_ids = st.sampled_from(["u1", "[u2"])
update_events = made(
    api.JobUpdateEvent, status=st.sampled_from(list(api.JobUpdateStatus)), timestamp_ms=i64, user=texts, message=texts
)
instance_events = made(
    api.JobInstanceUpdateEvent, instance_id=i32, timestamp_ms=i64, action=st.sampled_from(list(api.JobUpdateAction)),
    message=texts,
)  # fmt: skip
cron_jobs = made(
    api.JobConfiguration,
    key=keys.map(lambda key: wire.JobKey(*key)),
    cron_schedule=texts,
    cron_collision_policy=st.sampled_from(list(api.CronCollisionPolicy)),
    task_config=wire_configs,
    instance_count=i32,
)
changes: st.SearchStrategy[Change] = st.one_of(
    tasks.map(PutTask),
    tasks.map(PutTask),
    task_ids.map(DropTask),
    names.filter(bool).map(PutFramework),
    st.builds(PutCronJob, keys, cron_jobs),
    keys.map(DropCronJob),
    st.builds(PutCronRun, keys, st.builds(CronRun, i64, st.booleans(), i32, st.none() | i64)),
    keys.map(DropCronRun),
    st.builds(PutQuota, names, resources),
    names.map(DropQuota),
    hosts.map(PutHost),
    names.map(DropHost),
    st.builds(PutUpdate, update_keys | keys, update_ids | names, update_details),
    st.builds(DropUpdate, update_keys | keys, update_ids | names),
    st.builds(AddUpdateEvent, update_keys, update_ids, update_events),
    st.builds(AddInstanceEvent, update_keys, update_ids, instance_events),
    made(api.HostMaintenanceRequest, host=names, timeout_secs=i64, created_timestamp_ms=i64).map(PutMaintenance),
    names.map(DropMaintenance),
)


def _possible(made: list[list[Change]]) -> list[list[Change]]:
    """Without events of updates that are not there."""
    known: set[tuple[JobKey, str]] = set()
    found: list[list[Change]] = []
    for changes in made:
        kept: list[Change] = []
        for change in changes:
            if isinstance(change, PutUpdate):
                known.add((change.key, change.update_id))
            elif isinstance(change, DropUpdate):
                known.discard((change.key, change.update_id))
            elif isinstance(change, (AddUpdateEvent, AddInstanceEvent)) and (
                (change.key, change.update_id) not in known
            ):
                continue
            kept.append(change)
        found.append(kept)
    return found


commits = st.lists(st.lists(changes, max_size=5), max_size=4).map(_possible)
