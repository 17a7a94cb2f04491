"""The state: its indexes say what its tasks say, whatever changes; what is taken back leaves no trace."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.changes import (
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
from scheduler.core.state import State, Transaction
from scheduler.model import Host, Resources, Task, config_of
from scheduler.states import ACTIVE, ScheduleStatus
from tests.support.scheduled import CONFIGS, KEYS, config, state_of, task, tasks
from thermos.formats.aurora_api import HostMaintenanceRequest, JobConfiguration, JobUpdate, JobUpdateDetails

S = ScheduleStatus
IDS = [f"task-{number}" for number in range(12)]

#: An id belongs to one job for good: ids are made of the job's name and chance.
OWNERS = {task_id: CONFIGS[number % len(CONFIGS)].job for number, task_id in enumerate(IDS)}


@st.composite
def put_task(draw: st.DrawFn) -> PutTask:
    one = draw(tasks())
    own = [of for of in CONFIGS if of.job == OWNERS[one.task_id]]
    return PutTask(one._replace(config=draw(st.sampled_from(own))))


#: The same configurations, as other objects.
TWINS = {of.digest: config_of(of.wire) for of in CONFIGS}

KEY = st.sampled_from(KEYS)
NAME = st.sampled_from(["h1", "h2"])
CHANGES: st.SearchStrategy[Change] = st.one_of(
    put_task(),
    put_task(),
    st.builds(DropTask, st.sampled_from([*IDS, "unknown"])),
    st.builds(PutFramework, st.sampled_from(["f1", "f2"])),
    st.builds(PutCronJob, KEY, st.builds(JobConfiguration, instance_count=st.integers(1, 3))),
    st.builds(DropCronJob, KEY),
    st.builds(PutCronRun, KEY, st.builds(CronRun, st.integers(1, 3), st.booleans())),
    st.builds(DropCronRun, KEY),
    st.builds(PutQuota, NAME, st.builds(Resources, st.integers(0, 3))),
    st.builds(DropQuota, NAME),
    st.builds(PutHost, st.builds(Host, NAME, st.just("a"), mode=st.integers(1, 4))),
    st.builds(DropHost, NAME),
    st.builds(PutUpdate, KEY, NAME, st.sampled_from([JobUpdateDetails(), JobUpdateDetails(JobUpdate())])),
    st.builds(DropUpdate, KEY, NAME),
    st.builds(PutMaintenance, st.builds(HostMaintenanceRequest, host=NAME, timeout_secs=st.integers(0, 2))),
    st.builds(DropMaintenance, NAME),
)


def check_indexes(state: State) -> None:
    """What the indexes say is what the tasks say, and nothing more."""
    by_job: dict[Any, set[str]] = {}
    by_agent: dict[Any, set[str]] = {}
    by_status: dict[Any, set[str]] = {status: set() for status in ScheduleStatus}
    by_role: dict[str, set[Any]] = {}
    for task_id, one in state.tasks.items():
        assert one.task_id == task_id
        by_job.setdefault(one.job, set()).add(task_id)
        by_status[one.status].add(task_id)
        by_role.setdefault(one.job.role, set()).add(one.job)
        if one.agent_id is not None:
            by_agent.setdefault(one.agent_id, set()).add(task_id)
        assert state.interned(one.config) is one.config, "equal configurations are one object"
    assert {key: set(ids) for key, ids in state.by_job.items()} == by_job
    assert {key: set(ids) for key, ids in state.by_agent.items()} == by_agent
    assert {key: set(ids) for key, ids in state.by_status.items()} == by_status
    assert {role: set(keys) for role, keys in state.by_role.items()} == by_role
    for of in CONFIGS:
        twin = TWINS[of.digest]
        is_known = any(one.config == of for one in state.tasks.values())
        assert (state.interned(twin) is not twin) is is_known, "known as long as a task has it, and no longer"


def kept(state: State) -> dict[str, Any]:
    """All that a state holds, as values to compare; the order of indexes by agent and status is no promise."""
    return {
        "framework_id": state.framework_id,
        "tasks": dict(state.tasks),
        "cron_jobs": dict(state.cron_jobs),
        "quotas": dict(state.quotas),
        "hosts": dict(state.hosts),
        "updates": dict(state.updates),
        "active_updates": dict(state.active_updates),
        "maintenance": dict(state.maintenance),
        "by_job": {key: set(ids) for key, ids in state.by_job.items()},
        "by_agent": {key: set(ids) for key, ids in state.by_agent.items()},
        "by_status": {key: set(ids) for key, ids in state.by_status.items()},
        "by_role": {key: set(ids) for key, ids in state.by_role.items()},
    }


@given(st.lists(CHANGES, max_size=40))
def test_indexes_say_what_the_tasks_say(changes: list[Change]) -> None:
    state = State()
    for change in changes:
        state.apply(change)
        check_indexes(state)


@given(st.lists(CHANGES, max_size=20), st.lists(CHANGES, max_size=20))
def test_what_is_taken_back_leaves_no_trace(before: list[Change], changes: list[Change]) -> None:
    state = State()
    state.apply(PutFramework("f0"))  # which is never forgotten
    for change in before:
        state.apply(change)
    was = kept(state)
    transaction = Transaction(state)
    for change in changes:
        transaction.apply(change)
    assert transaction.changes == changes
    transaction.undo()
    assert kept(state) == was
    check_indexes(state)
    assert transaction.changes == []
    transaction.undo()
    assert kept(state) == was, "taken back once"


@given(st.lists(CHANGES, max_size=20))
def test_a_change_made_twice_is_made_once(changes: list[Change]) -> None:
    once, twice = State(), State()
    for change in changes:
        once.apply(change)
        twice.apply(change)
        twice.apply(change)
    assert kept(once) == kept(twice)


def test_tasks_share_their_configuration() -> None:
    one, other = config(cpus=1.0), config(cpus=1.0)
    assert one is not other
    state = state_of([task(S.PENDING, task_id="a", of=one), task(S.PENDING, task_id="b", of=other)])
    assert state.tasks["b"].config is one
    state.apply(DropTask("a"))
    assert state.interned(other) is one, "b has it still"
    state.apply(DropTask("b"))
    assert state.interned(other) is other


def test_tasks_of_a_job_come_oldest_first_wherever_they_are() -> None:
    state = state_of([task(S.PENDING, task_id=name, at_ms=number) for number, name in enumerate("cab")])
    moved = state.tasks["c"]._replace(status=S.ASSIGNED, agent_id="a1")
    state.apply(PutTask(moved))
    assert [one.task_id for one in state.tasks_of(moved.job)] == ["c", "a", "b"]
    assert list(state.tasks_of(KEYS[0])) == []


def test_looking_by_state_and_agent() -> None:
    every = [task(status, task_id=status.name, agent_id="a1") for status in ScheduleStatus]
    state = state_of([*every, task(S.RUNNING, task_id="elsewhere", agent_id="a2")])
    assert {one.status for one in state.active_of(every[0].job)} == ACTIVE
    assert ids(state.on_agent("a1")) == {one.task_id for one in every}
    assert ids(state.on_agent("a3")) == set()
    assert ids(state.with_status([S.RUNNING, S.LOST])) == {"RUNNING", "LOST", "elsewhere"}


def ids(some: list[Task]) -> set[str]:
    return {one.task_id for one in some}


def test_to_forget_what_is_not_there_is_nothing() -> None:
    state = State()
    job = KEYS[0]
    for change in (
        DropTask("a"),
        DropCronJob(job),
        DropCronRun(job),
        DropQuota("r"),
        DropHost("h"),
        DropUpdate(job, "u"),
        DropMaintenance("h"),
    ):
        assert state.apply(change) is None
