"""What clients see of the state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core import queries
from scheduler.core.changes import PutCronJob, PutTask
from scheduler.core.queries import compare, config_groups, from_wire, job_diff, matches, select, to_wire
from scheduler.core.ranges import instances_of, ranges_of
from scheduler.core.state import State
from scheduler.model import Config, JobKey, Task
from scheduler.states import ACTIVE, ScheduleStatus
from tests.support.scheduled import (
    CONFIGS,
    JOB,
    KEYS,
    config,
    job,
    limit_constraint,
    state_of,
    task,
    task_config,
    tasks,
)
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    SCHEDULED_TASK,
    ConfigGroup,
    GetJobUpdateDiffResult,
    JobStats,
    Range,
    RoleSummary,
    ScheduledTask,
    TaskQuery,
)
from thermos.formats.thrift_binary import decode_struct, encode_struct

S = ScheduleStatus
NOTHING = TaskQuery()

# -- which tasks -------------------------------------------------------------------------------------------------------

ONE = task(
    S.PENDING,
    S.RUNNING,
    task_id="one",
    instance=3,
    of=config(job=wire.JobKey("www", "prod", "web")),
    agent_id="a1",
    host="h1",
)


@pytest.mark.parametrize(
    "query, expected",
    [
        (NOTHING, True),
        (TaskQuery(role="www"), True),
        (TaskQuery(role="ads"), False),
        (TaskQuery(role=""), False),
        (TaskQuery(environment="prod"), True),
        (TaskQuery(environment="test"), False),
        (TaskQuery(job_name="web"), True),
        (TaskQuery(job_name="we"), False),
        (TaskQuery(task_ids=("two", "one")), True),
        (TaskQuery(task_ids=("two",)), False),
        (TaskQuery(statuses=(S.PENDING, S.RUNNING)), True),
        (TaskQuery(statuses=(S.PENDING,)), False),
        (TaskQuery(instance_ids=(0, 3)), True),
        (TaskQuery(instance_ids=(0,)), False),
        (TaskQuery(slave_hosts=("h1",)), True),
        (TaskQuery(slave_hosts=("h2",)), False),
        (TaskQuery(job_keys=(wire.JobKey("www", "prod", "web"),)), True),
        (TaskQuery(job_keys=(wire.JobKey("www", "prod", "bew"),)), False),
        (TaskQuery(role="www", instance_ids=(4,)), False),
        (TaskQuery(task_ids=(), statuses=(), instance_ids=(), slave_hosts=(), job_keys=()), True),
    ],
)
def test_each_part_of_a_query(query: TaskQuery, expected: bool) -> None:
    assert matches(ONE, query) is expected
    assert select(state_of([ONE]), query) == [ONE] * expected


def test_a_task_on_no_host_is_on_none() -> None:
    assert not matches(task(S.PENDING), TaskQuery(slave_hosts=("h1",)))


def some(*values: object) -> st.SearchStrategy[tuple[object, ...] | None]:
    return st.none() | st.lists(st.sampled_from(values), max_size=3).map(tuple)


TASK_QUERIES = st.builds(
    TaskQuery,
    role=st.sampled_from([None, None, "www", "ads", "nobody"]),
    environment=st.sampled_from([None, None, "prod", "test"]),
    job_name=st.sampled_from([None, None, "a", "b"]),
    task_ids=some(*[f"task-{number}" for number in range(12)], "unknown"),
    statuses=some(*ScheduleStatus),
    instance_ids=some(*range(5)),
    slave_hosts=some("host-1", "host-2", "nowhere"),
    job_keys=some(*[wire.JobKey(*key) for key in KEYS], wire.JobKey("no", "such", "job")),
    offset=st.sampled_from([None, 0, 1, 5, -1]),
    limit=st.sampled_from([None, 0, 1, 3, -1]),
)


def obviously(some: Sequence[Task], query: TaskQuery) -> list[Task]:
    """``select`` without index or thought."""
    found = []
    for one in some:
        asked = [
            (query.role, one.job.role),
            (query.environment, one.job.environment),
            (query.job_name, one.job.name),
        ]
        among = [
            (query.task_ids, one.task_id),
            (query.statuses, one.status),
            (query.instance_ids, one.instance),
            (query.slave_hosts, one.host),
            (query.job_keys, one.job),
        ]
        if all(want is None or want == has for want, has in asked) and all(
            not want or has in want for want, has in among
        ):
            found.append(one)
    found.sort(key=lambda one: (-one.created_at_ms, str(one.job), one.instance, one.task_id))
    if query.offset is not None and query.offset > 0:
        found = found[query.offset :]
    if query.limit is not None and query.limit > 0:
        found = found[: query.limit]
    return found


@given(st.lists(tasks(), max_size=12, unique_by=lambda one: one.task_id), TASK_QUERIES)
def test_select_finds_what_an_obvious_filter_finds(some: list[Task], query: TaskQuery) -> None:
    assert select(state_of(some), query) == obviously(some, query)


@given(st.lists(tasks(), max_size=12, unique_by=lambda one: one.task_id), st.integers(1, 5))
def test_pages_are_all_of_it(some: list[Task], size: int) -> None:
    state = state_of(some)
    pages = [select(state, TaskQuery(offset=first, limit=size)) for first in range(0, len(some), size)]
    assert [one for page in pages for one in page] == select(state, NOTHING)
    for one, following in pairwise(one for page in pages for one in page):
        assert one.created_at_ms >= following.created_at_ms


class Counted(dict[str, Task]):
    """Tasks that count how often one is looked at."""

    looks = 0

    def __getitem__(self, task_id: str) -> Task:
        self.looks += 1
        return super().__getitem__(task_id)

    def __iter__(self):  # type: ignore[no-untyped-def]
        for task_id in super().__iter__():
            self.looks += 1
            yield task_id


@pytest.mark.parametrize(
    "query, at_most",
    [
        (TaskQuery(job_keys=(wire.JobKey("r1", "prod", "j7"),)), 100),
        (TaskQuery(role="r1", environment="prod", job_name="j7"), 100),
        (TaskQuery(role="r1", statuses=(S.PENDING,)), 10),
        (TaskQuery(role="r1"), 1000),
        (TaskQuery(statuses=(S.PENDING,)), 10),
        (TaskQuery(task_ids=("r1-7-3",)), 10),
        (TaskQuery(slave_hosts=("host-7",)), 300),
    ],
)
def test_no_more_tasks_are_looked_at_than_an_index_gives(query: TaskQuery, at_most: int) -> None:
    """10 roles of 10 jobs of 20 instances, on 40 hosts."""
    state = State()
    for role in range(10):
        for name in range(10):
            of = config(job=wire.JobKey(f"r{role}", "prod", f"j{name}"))
            for instance in range(20):
                number = (role * 10 + name) * 20 + instance
                one = task(
                    S.PENDING,
                    *([] if number in (0, 250) else [S.RUNNING]),
                    task_id=f"r{role}-{name}-{instance}",
                    instance=instance,
                    of=of,
                    agent_id=f"agent-{number % 40}",
                    host=f"host-{number % 40}",
                )
                state.apply(PutTask(one))
    counted = Counted(state.tasks)
    state.tasks = counted
    assert select(state, query)
    assert counted.looks <= at_most


# -- jobs --------------------------------------------------------------------------------------------------------------


def crowd() -> State:
    web, db = config(job=wire.JobKey("www", "prod", "web")), config(job=wire.JobKey("ads", "test", "db"))
    newer = config(job=wire.JobKey("www", "prod", "web"), cpus=2.0)
    state = state_of([
        task(S.PENDING, S.RUNNING, task_id="a", instance=0, of=web),
        task(S.PENDING, S.RUNNING, task_id="b", instance=1, of=newer, at_ms=7),
        task(S.PENDING, task_id="c", instance=2, of=web),
        task(S.PENDING, S.FINISHED, task_id="d", instance=2, of=web, at_ms=90),
        task(S.PENDING, S.LOST, task_id="e", instance=1, of=db),
        task(S.PENDING, S.FAILED, task_id="f", instance=1, of=db),
    ])  # fmt: skip
    described = job(instances=5, cron_schedule="* * * * *", job=wire.JobKey("www", "prod", "cron"))
    state.apply(PutCronJob(JobKey("www", "prod", "cron"), described))
    return state


def test_roles() -> None:
    assert queries.role_summaries(crowd()) == (RoleSummary("ads", 1, 0), RoleSummary("www", 1, 1))
    assert queries.role_summaries(State()) == ()


def test_jobs_are_those_that_are_active_or_scheduled() -> None:
    cron, web = queries.jobs(crowd(), "www")
    assert (cron.key, cron.instance_count, cron.cron_schedule) == (wire.JobKey("www", "prod", "cron"), 5, "* * * * *")
    assert (web.key, web.instance_count, web.cron_schedule) == (wire.JobKey("www", "prod", "web"), 3, None)
    assert web.task_config is not None
    assert wire.Resource(num_cpus=2.0) in (web.task_config.resources or ()), "of the task that moved last"
    assert queries.jobs(crowd(), "ads") == ()
    assert queries.jobs(crowd()) == queries.jobs(crowd(), "") == (cron, web)


def test_summaries_have_jobs_that_are_over_too() -> None:
    (db,) = queries.job_summaries(crowd(), "ads")
    assert db.job is not None
    assert db.job.instance_count == 1
    assert db.stats == JobStats(active_task_count=0, finished_task_count=0, failed_task_count=2, pending_task_count=0)
    cron, web = queries.job_summaries(crowd(), "www", lambda job: 77)
    assert (cron.next_cron_run_ms, web.next_cron_run_ms) == (77, None)
    assert web.stats == JobStats(2, 1, 0, 1)
    assert cron.stats == JobStats(0, 0, 0, 0)
    assert [one.job.key.name for one in queries.job_summaries(crowd()) if one.job and one.job.key] == [
        "db",
        "cron",
        "web",
    ]


@pytest.mark.parametrize("state", sorted(ScheduleStatus))
def test_every_state_is_counted_once(state: ScheduleStatus) -> None:
    stats = queries.job_stats([task(state)])
    assert sum(stats) == 1  # type: ignore[arg-type]
    assert (stats.active_task_count == 1) is (state in ACTIVE - {S.PENDING, S.THROTTLED})


# -- ranges and configurations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instances, ranges",
    [
        ([], []),
        ([3], [(3, 3)]),
        ([0, 1, 2], [(0, 2)]),
        ([5, 0, 2, 1, 7, 6, 0], [(0, 2), (5, 7)]),
        ([0, 2, 4], [(0, 0), (2, 2), (4, 4)]),
    ],
)
def test_ranges(instances: list[int], ranges: list[tuple[int, int]]) -> None:
    assert ranges_of(instances) == tuple(Range(*one) for one in ranges)


@given(st.sets(st.integers(0, 50)))
def test_ranges_there_and_back(instances: set[int]) -> None:
    ranges = ranges_of(instances)
    assert instances_of(ranges) == instances
    for one, following in pairwise(ranges):
        assert (one.last or 0) + 1 < (following.first or 0), "merged, and in order"


def test_ranges_that_hold_nothing() -> None:
    assert (
        instances_of(None) == instances_of([]) == instances_of([Range(3, 2), Range(None, 2), Range(2, None)]) == set()
    )


def instances(of: Config, *numbers: int) -> list[Task]:
    return [task(S.RUNNING, task_id=f"{of.digest[:4]}-{one}", instance=one, of=of) for one in numbers]


A, B, C = config(cpus=1.0), config(cpus=2.0), config(cpus=3.0)


def test_groups() -> None:
    groups = config_groups([*instances(B, 7, 3, 2), *instances(A, 1, 5, 0)])
    assert groups == (ConfigGroup(A.wire, (Range(0, 1), Range(5, 5))), ConfigGroup(B.wire, (Range(2, 3), Range(7, 7))))


def test_what_an_update_changes() -> None:
    state = state_of([*instances(A, 0, 1), *instances(B, 2, 3), *instances(C, 9)])
    assert job_diff(state, A, 5) == GetJobUpdateDiffResult(
        add=(ConfigGroup(A.wire, (Range(4, 4),)),),
        remove=(ConfigGroup(C.wire, (Range(9, 9),)),),
        update=(ConfigGroup(B.wire, (Range(2, 3),)),),
        unchanged=(ConfigGroup(A.wire, (Range(0, 1),)),),
    )


def test_what_an_update_of_some_instances_changes() -> None:
    state = state_of([*instances(A, 0, 1), *instances(B, 2, 3), *instances(C, 9)])
    found = compare(state, A, 7, [Range(3, 4)])
    assert (set(found.add), dict(found.remove), dict(found.update)) == ({4}, {}, {3: B})
    assert found.unchanged == {0: A, 1: A, 2: B, 9: C}


def test_an_update_of_a_job_that_is_not_there() -> None:
    assert job_diff(State(), A, 2) == GetJobUpdateDiffResult((ConfigGroup(A.wire, (Range(0, 1),)),), (), (), ())


def test_only_active_instances_are_there() -> None:
    over = task(S.PENDING, S.FINISHED, instance=0, of=A)
    assert compare(state_of([over]), A, 1).add == {0}


@given(
    st.dictionaries(st.integers(0, 6), st.sampled_from([A, B]), max_size=5),
    st.integers(0, 6),
    st.lists(st.builds(Range, st.integers(0, 6), st.integers(0, 6)), max_size=2),
)
def test_every_instance_is_in_one_part(present: dict[int, Config], count: int, scope: list[Range]) -> None:
    state = state_of([one for instance, of in present.items() for one in instances(of, instance)])
    found = compare(state, A, count, scope)
    parts = [set(found.add), set(found.remove), set(found.update), set(found.unchanged)]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set().union(*parts[1:]) == set(present)
    if not scope:
        assert found.add | found.update.keys() | found.unchanged.keys() == set(range(count))
        assert all(of is A for of in found.unchanged.values())
    else:
        assert found.add | found.update.keys() | found.remove.keys() <= instances_of(scope)


# -- on the wire -------------------------------------------------------------------------------------------------------


@given(tasks(), st.lists(st.tuples(st.sampled_from(["http", "a"]), st.integers(1, 65535)), unique_by=lambda p: p[0]))
def test_there_and_back(one: Task, ports: list[tuple[str, int]]) -> None:
    one = one._replace(ports=tuple(sorted(ports)), failure_count=3, times_partitioned=2)
    encoded = encode_struct(SCHEDULED_TASK, to_wire(one))
    scheduled, _ = decode_struct(SCHEDULED_TASK, encoded, 0)
    known = {found.digest: found for found in CONFIGS}
    again = from_wire(scheduled, lambda found: known[found.digest])
    assert again == one
    assert again.config is one.config, "shared with all other tasks that have it"


def test_zeros_are_sent() -> None:
    sent = to_wire(task(S.PENDING))
    assert sent.assigned_task is not None
    assert (sent.assigned_task.instance_id, sent.failure_count, sent.status) == (0, 0, S.PENDING)
    assert sent.assigned_task.assigned_ports == {}


def test_without_configurations_all_but_the_executors_part_is_there() -> None:
    some = [task(S.PENDING, task_id=str(number), of=config(constraints=(limit_constraint("host", 1),))) for number in
            range(3)]  # fmt: skip
    found = queries.all_to_wire(some, is_without_config=True)
    described = [one.assigned_task.task for one in found if one.assigned_task]
    assert [one.executor_config for one in described] == [None] * 3
    assert described[0] is not None
    assert described[0]._replace(executor_config=some[0].config.wire.executor_config) == some[0].config.wire
    assert found[0] == to_wire(some[0], is_without_config=True)
    assert queries.all_to_wire(some)[1] == to_wire(some[1])
    assert described[0] is described[1], "equal configurations are one"


@pytest.mark.parametrize(
    "scheduled, why",
    [
        (ScheduledTask(), "no id or no configuration"),
        (ScheduledTask(wire.AssignedTask("", None, None, task_config(), None, 0), S.RUNNING), "no id"),
        (ScheduledTask(wire.AssignedTask("t", None, None, task_config(), None, 0)), "t has no state"),
        (ScheduledTask(wire.AssignedTask("t", None, None, task_config(), None, 0), S.RUNNING), "t has no events"),
    ],
)
def test_tasks_that_are_none(scheduled: ScheduledTask, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_wire(scheduled)


def test_a_name_with_holes() -> None:
    assert queries.key_of(JOB) == JobKey("www", "prod", "web")
    assert queries.key_of(wire.JobKey()) == JobKey("", "", "")
