"""What follows from each move of a task: stories of states in, tasks and consequences out."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.lifecycle import (
    Moved,
    assign,
    created,
    from_mesos,
    move,
    status_message,
    successor,
    task_id,
    zombie_kill,
)
from scheduler.model import JobKey, Task
from scheduler.states import TERMINAL, ScheduleStatus
from tests.support.scheduled import config, task
from thermos.formats.mesos_v1_scheduler import Status
from thermos.mesos import MesosTaskState, Reason

S = ScheduleStatus
SERVICE = config(is_service=True)
ONCE = config(max_task_failures=1)
ON_AGENT = [S.ASSIGNED, S.STARTING, S.RUNNING]
REPLACED = [S.PREEMPTING, S.RESTARTING, S.DRAINING]


def follows(moved: Moved) -> str:
    """What is to be done after a move, in the order in which it is done."""
    before = ["illegal"] if not moved.is_legal else []
    done = ["saved" if moved.task is not None else "deleted"] if moved.has_changed else []
    return " ".join([
        *before,
        *done,
        *(name for name in ("reschedule", "then_lost", "kill") if getattr(moved, name)),
    ])  # fmt: skip


def after(*states: ScheduleStatus, **more: Any) -> str:
    """What follows from the last of the moves in *states*."""
    return follows(move(task(*states[:-1], **more), states[-1], 99))


# -- never launched ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.PENDING, S.THROTTLED])
def test_what_never_ran_vanishes_when_killed(state: ScheduleStatus) -> None:
    moved = move(task(state), S.KILLING, 99)
    assert moved == Moved(None, True, True, False, False, False)


def test_waiting_ends_as_pending() -> None:
    assert after(S.THROTTLED, S.PENDING) == "saved"


# -- on an agent -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state, end", list(product(ON_AGENT, [*REPLACED, S.KILLING])))
def test_ending_it_asks_mesos_to_kill_it(state: ScheduleStatus, end: ScheduleStatus) -> None:
    assert after(S.PENDING, state, end) == "saved kill"


@pytest.mark.parametrize("state", ON_AGENT)
def test_finished(state: ScheduleStatus) -> None:
    assert after(S.PENDING, state, S.FINISHED, of=ONCE) == "saved"
    assert after(S.PENDING, state, S.FINISHED, of=SERVICE) == "saved reschedule"


@pytest.mark.parametrize("state", [*ON_AGENT, S.PARTITIONED])
@pytest.mark.parametrize(
    "is_service, allowed, failed_before, runs_again",
    [
        (False, 1, 0, False),
        (False, 2, 0, True),
        (False, 2, 1, False),
        (False, 0, 0, False),
        (False, -1, 1000, True),
        (True, 1, 1000, True),
    ],
)
def test_failed(state: ScheduleStatus, is_service: bool, allowed: int, failed_before: int, runs_again: bool) -> None:
    of = config(is_service=is_service, max_task_failures=allowed)
    moved = move(task(S.PENDING, state, of=of, failure_count=failed_before), S.FAILED, 99)
    assert follows(moved) == ("saved reschedule" if runs_again else "saved")
    assert moved.task is not None
    assert moved.task.failure_count == failed_before + 1


@pytest.mark.parametrize("state", ON_AGENT)
def test_killed_though_nobody_asked(state: ScheduleStatus) -> None:
    moved = move(task(S.PENDING, state, of=ONCE), S.KILLED, 99)
    assert follows(moved) == "saved reschedule"
    assert moved.task is not None
    assert moved.task.failure_count == 0


@pytest.mark.parametrize("state, expected", [
    (S.ASSIGNED, "saved reschedule kill"),  # the launch may have got through
    (S.STARTING, "saved reschedule"),
    (S.RUNNING, "saved reschedule"),
])  # fmt: skip
def test_lost(state: ScheduleStatus, expected: str) -> None:
    assert after(S.PENDING, state, S.LOST, of=ONCE) == expected


# -- being replaced ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", REPLACED)
def test_who_is_replaced_runs_again_however_it_ends(state: ScheduleStatus) -> None:
    for end in (S.FINISHED, S.FAILED, S.KILLED):
        moved = move(task(S.PENDING, S.RUNNING, state, of=ONCE), end, 99)
        assert follows(moved) == "saved reschedule"
        assert moved.task is not None
        assert moved.task.failure_count == 0, "it failed since it was ended"
    assert after(S.PENDING, S.RUNNING, state, S.LOST, of=ONCE) == "saved reschedule kill"


@pytest.mark.parametrize("state", REPLACED)
def test_who_is_replaced_and_killed_meanwhile_does_not_run_again(state: ScheduleStatus) -> None:
    killing = move(task(S.PENDING, S.RUNNING, state, of=SERVICE), S.KILLING, 99)
    assert follows(killing) == "saved"  # the kill is on its way already
    assert killing.task is not None
    for end in TERMINAL:
        assert follows(move(killing.task, end, 100)) == "saved"


@pytest.mark.parametrize("state, report", list(product([*REPLACED, S.KILLING], ON_AGENT)))
def test_a_late_report_of_life_is_answered_with_another_kill(state: ScheduleStatus, report: ScheduleStatus) -> None:
    assert after(S.PENDING, S.RUNNING, state, report) == "illegal kill"


@pytest.mark.parametrize("end", sorted(TERMINAL))
def test_nothing_follows_the_end_of_what_was_killed(end: ScheduleStatus) -> None:
    moved = move(task(S.PENDING, S.RUNNING, S.KILLING, of=SERVICE), end, 99)
    assert follows(moved) == "saved"
    assert moved.task is not None
    assert moved.task.failure_count == 0


# -- partitions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
def test_a_partition_is_waited_for(state: ScheduleStatus) -> None:
    moved = move(task(S.PENDING, state), S.PARTITIONED, 99)
    assert follows(moved) == "saved"
    assert moved.task is not None
    assert moved.task.times_partitioned == 1


@pytest.mark.parametrize("state", ON_AGENT)
def test_an_agent_comes_back(state: ScheduleStatus) -> None:
    assert after(S.PENDING, S.RUNNING, S.PARTITIONED, state) == "saved"


def test_a_partition_that_lasts_ends_in_another_task_and_a_kill() -> None:
    assert after(S.PENDING, S.RUNNING, S.PARTITIONED, S.LOST, of=ONCE) == "saved reschedule kill"


@pytest.mark.parametrize("state", REPLACED)
def test_a_partition_while_being_replaced(state: ScheduleStatus) -> None:
    partitioned = move(task(S.PENDING, S.RUNNING, state, of=ONCE), S.PARTITIONED, 99)
    assert follows(partitioned) == "saved then_lost"
    assert partitioned.task is not None
    assert follows(move(partitioned.task, S.LOST, 99)) == "saved reschedule kill"


def test_a_partition_while_being_killed() -> None:
    partitioned = move(task(S.PENDING, S.RUNNING, S.KILLING, of=SERVICE), S.PARTITIONED, 99)
    assert follows(partitioned) == "saved then_lost"
    assert partitioned.task is not None
    assert follows(move(partitioned.task, S.LOST, 99)) == "saved kill", "once killed, never again"


@pytest.mark.parametrize("end", REPLACED)
def test_replaced_while_partitioned(end: ScheduleStatus) -> None:
    moved = move(task(S.PENDING, S.RUNNING, S.PARTITIONED, of=ONCE), end, 99)
    assert follows(moved) == "saved then_lost"
    assert moved.task is not None
    assert follows(move(moved.task, S.LOST, 99)) == "saved reschedule kill"


def test_killed_while_partitioned() -> None:
    moved = move(task(S.PENDING, S.RUNNING, S.PARTITIONED, of=SERVICE), S.KILLING, 99)
    assert follows(moved) == "saved then_lost"
    assert moved.task is not None
    assert follows(move(moved.task, S.LOST, 99)) == "saved"


def test_a_service_that_finished_behind_a_partition_runs_again() -> None:
    """Aurora forgets it."""
    assert after(S.PENDING, S.RUNNING, S.PARTITIONED, S.FINISHED, of=SERVICE) == "saved reschedule"
    assert after(S.PENDING, S.RUNNING, S.PARTITIONED, S.KILLED, of=ONCE) == "saved reschedule"
    assert after(S.PENDING, S.RUNNING, S.PARTITIONED, S.FINISHED, of=ONCE) == "saved"


def through(one: Task, *states: ScheduleStatus) -> Task:
    for number, status in enumerate(states):
        moved = move(one, status, 100 + number)
        assert moved.is_legal
        assert moved.task is not None
        one = moved.task
    return one


def test_an_agent_that_comes_and_goes_does_not_make_the_history_grow() -> None:
    one = through(task(S.PENDING, S.ASSIGNED, S.RUNNING), *[S.PARTITIONED, S.RUNNING] * 50, S.PARTITIONED)
    assert [event.status for event in one.events] == [S.PENDING, S.ASSIGNED, S.RUNNING, S.PARTITIONED]
    assert one.times_partitioned == 51
    assert one.events[2].at_ms == 2000, "since when it runs is kept"
    assert one.events[-1].at_ms == 200, "and when it was last out of reach"


def test_a_history_that_begins_with_the_recovery() -> None:
    """As of a task that came out of a backup."""
    one = through(task(S.RUNNING, S.PARTITIONED, S.RUNNING), S.PARTITIONED)
    assert [event.status for event in one.events] == [S.RUNNING, S.PARTITIONED]


def test_a_recovery_to_another_state_is_kept() -> None:
    one = through(task(S.PENDING, S.STARTING), S.PARTITIONED, S.RUNNING, S.PARTITIONED)
    assert [event.status for event in one.events] == [S.PENDING, S.STARTING, S.PARTITIONED, S.RUNNING, S.PARTITIONED]


# -- over, unknown, unchanged ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state, report", list(product(sorted(TERMINAL), ON_AGENT)))
def test_who_is_over_and_reported_alive_is_killed(state: ScheduleStatus, report: ScheduleStatus) -> None:
    assert after(S.PENDING, S.RUNNING, state, report) == "illegal kill"


@pytest.mark.parametrize("state", [*sorted(TERMINAL), S.KILLING])
def test_who_is_over_can_be_forgotten(state: ScheduleStatus) -> None:
    assert move(task(S.PENDING, state), None, 99) == Moved(None, True, True, False, False, False)


@pytest.mark.parametrize("state", sorted(ScheduleStatus))
def test_only_a_living_task_that_nobody_knows_is_killed(state: ScheduleStatus) -> None:
    assert zombie_kill(state) is (state.name in ("ASSIGNED", "STARTING", "RUNNING"))


@pytest.mark.parametrize("state", sorted(ScheduleStatus))
def test_to_be_where_one_is_is_nothing(state: ScheduleStatus) -> None:
    one = task(S.PENDING, state)
    assert move(one, state, 99) == Moved(one, True, False, False, False, False)


def test_waiting_tasks_are_not_killed_for_a_report() -> None:
    assert after(S.PENDING, S.RUNNING) == "illegal"
    assert after(S.THROTTLED, S.FAILED) == "illegal"


@given(st.lists(st.sampled_from([None, *ScheduleStatus]), max_size=30), st.booleans())
def test_whatever_happens(targets: list[ScheduleStatus | None], is_service: bool) -> None:
    """No task has two successors, none after it was killed, and histories tell what happened in order."""
    one = task(S.PENDING, of=config(is_service=is_service, max_task_failures=3))
    successors = 0
    for number, target in enumerate(targets):
        moved = move(one, target, 10 + number)
        successors += moved.reschedule
        if moved.reschedule:
            assert moved.task is not None
            assert moved.task.status in TERMINAL
        if moved.task is None:
            break
        one = moved.task
        if moved.then_lost:
            lost = move(one, S.LOST, 10 + number)
            assert lost.is_legal
            assert lost.task is not None
            successors += lost.reschedule
            one = lost.task
        assert one.events[-1].status is one.status
        times = [event.at_ms for event in one.events]
        assert times == sorted(times)
    assert successors <= 1
    if any(event.status is S.KILLING for event in one.events):
        assert successors == 0


# -- new tasks ---------------------------------------------------------------------------------------------------------


def test_an_instance_is_created_and_assigned() -> None:
    one = created("id", 3, ONCE, S.PENDING, 5, None, "here")
    assert one == Task("id", 3, ONCE, S.PENDING, ((5, S.PENDING, None, "here"),))  # type: ignore[arg-type]
    placed = assign(one, "agent", "host", [("http", 31001), ("admin", 31000)], 7, "here")
    assert (placed.status, placed.agent_id, placed.host) == (S.ASSIGNED, "agent", "host")
    assert placed.ports == (("admin", 31000), ("http", 31001))
    assert placed.events[-1] == (7, S.ASSIGNED, None, "here")


def test_only_who_waits_can_be_assigned() -> None:
    for states in ([S.RUNNING], [S.KILLING], [S.RUNNING, S.PARTITIONED]):
        with pytest.raises(ValueError, match=r"t is .*, so it cannot be assigned to host"):
            assign(task(S.PENDING, *states), "agent", "host", [], 7)


def test_a_successor() -> None:
    one = task(S.PENDING, S.RUNNING, S.FAILED, instance=4, failure_count=2, times_partitioned=3, agent_id="a", host="h")
    assert successor(one, "new", S.THROTTLED, 7, "waits", "here") == Task(
        "new",
        4,
        one.config,
        S.THROTTLED,
        ((7, S.THROTTLED, "waits", "here"),),  # type: ignore[arg-type]
        failure_count=2,
        ancestor_id="t",
    )


@pytest.mark.parametrize(
    "key, expected",
    [
        (JobKey("www", "prod", "web"), "www-prod-web-7-u"),
        (JobKey("w.w", "pr_od", "we-b"), "w-w-pr_od-we-b-7-u"),
        (JobKey("rôle", "prod", "a b"), "r-le-prod-a-b-7-u"),
    ],
)
def test_ids(key: JobKey, expected: str) -> None:
    assert task_id(key, 7, "u") == expected


# -- what Mesos says ---------------------------------------------------------------------------------------------------

#: By hand (``Conversions.java``).
OF_MESOS = {
    "STAGING": "STARTING", "STARTING": "STARTING", "RUNNING": "RUNNING", "FINISHED": "FINISHED", "FAILED": "FAILED",
    "KILLING": "KILLED", "KILLED": "KILLED", "LOST": "LOST", "ERROR": "LOST", "DROPPED": "LOST", "GONE": "LOST",
    "GONE_BY_OPERATOR": "LOST", "UNREACHABLE": "PARTITIONED", "UNKNOWN": "PARTITIONED",
}  # fmt: skip


@pytest.mark.parametrize("state", MesosTaskState)
def test_states_of_mesos(state: MesosTaskState) -> None:
    expected = OF_MESOS[state.removeprefix("TASK_")]
    assert from_mesos(state, True).name == expected
    assert from_mesos(state, False).name == ("LOST" if expected == "PARTITIONED" else expected)


def status(reason: Reason | str | None, message: str | None) -> Status:
    return Status("t", MesosTaskState.TASK_FAILED, None, reason, message, None, None, None, None, None, (), None, {})


@pytest.mark.parametrize(
    "reason, message, expected",
    [
        (None, None, None),
        (None, "", None),
        (None, "exit 1", "exit 1"),
        (Reason.REASON_EXECUTOR_TERMINATED, "Executor terminated", "Executor terminated"),
        (Reason.REASON_EXECUTOR_UNREGISTERED, "Unregistered executor", None),
        ("REASON_OF_TOMORROW", "news", "news"),
        (Reason.REASON_CONTAINER_LIMITATION_MEMORY, None, "Used more memory than the task asked for"),
        (
            Reason.REASON_CONTAINER_LIMITATION_MEMORY,
            "Memory limit exceeded: Requested: 32MB Maximum Used: 33MB\n\nMEMORY STATISTICS:\ncache 0\n",
            "Used more memory than the task asked for: Memory limit exceeded: Requested: 32MB Maximum Used: 33MB",
        ),
        (Reason.REASON_CONTAINER_LIMITATION_DISK, "7 of 5 MB", "Used more disk than the task asked for: 7 of 5 MB"),
    ],
)
def test_messages(reason: Reason | str | None, message: str | None, expected: str | None) -> None:
    assert status_message(status(reason, message)) == expected
