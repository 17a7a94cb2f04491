"""The table of moves and the sets of states, against lists written by hand."""

from __future__ import annotations

from itertools import product

import pytest

from scheduler import states
from scheduler.core.lifecycle import move
from scheduler.states import MOVES, ScheduleStatus
from tests.support.scheduled import task
from thermos.formats.aurora_api import JobUpdateStatus

#: From → to, by hand (``TaskStateMachine.java``). "gone": forgotten.
LEGAL = {
    "INIT": "PENDING THROTTLED",
    "THROTTLED": "PENDING KILLING",
    "PENDING": "ASSIGNED KILLING",
    "ASSIGNED": "STARTING RUNNING FINISHED FAILED RESTARTING DRAINING KILLED KILLING LOST PREEMPTING",
    "STARTING": "RUNNING FINISHED FAILED RESTARTING DRAINING KILLING KILLED LOST PREEMPTING PARTITIONED",
    "RUNNING": "FINISHED RESTARTING DRAINING FAILED KILLING KILLED LOST PREEMPTING PARTITIONED",
    "PREEMPTING": "FINISHED FAILED KILLING KILLED LOST PARTITIONED",
    "RESTARTING": "FINISHED FAILED KILLING KILLED LOST PARTITIONED",
    "DRAINING": "FINISHED FAILED KILLING KILLED LOST PARTITIONED",
    "KILLING": "FINISHED FAILED KILLED LOST gone PARTITIONED",
    "PARTITIONED": "LOST FAILED FINISHED KILLED RUNNING ASSIGNED STARTING RESTARTING DRAINING PREEMPTING KILLING",
    "FINISHED": "gone",
    "FAILED": "gone",
    "KILLED": "gone",
    "LOST": "gone",
}
PAIRS = {(old, new) for old, all_new in LEGAL.items() for new in all_new.split()}


def named(status: ScheduleStatus | None) -> str:
    return "gone" if status is None else status.name


@pytest.mark.parametrize("old, new", list(product(ScheduleStatus, [None, *ScheduleStatus])))
def test_moves(old: ScheduleStatus, new: ScheduleStatus | None) -> None:
    legal = (named(old), named(new)) in PAIRS
    assert (new in MOVES[old]) is legal
    one = task(old, at_ms=5)
    moved = move(one, new, 9, "why", "here")
    assert moved.is_legal is (legal or old is new)
    assert moved.has_changed is legal
    if not legal:
        assert moved.task is one
        assert not moved.reschedule
        assert not moved.then_lost
    elif moved.task is not None:
        assert moved.task.status is new
        assert moved.task.events[-1] == (9, new, "why", "here")


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(ScheduleStatus)
    assert set(LEGAL) == {status.name for status in ScheduleStatus}


@pytest.mark.parametrize(
    "name, members",
    [
        ("TERMINAL", "FAILED FINISHED KILLED LOST"),
        (
            "ACTIVE",
            "ASSIGNED DRAINING KILLING PENDING PREEMPTING RESTARTING RUNNING STARTING PARTITIONED THROTTLED",
        ),
        ("AGENT_ASSIGNED", "ASSIGNED DRAINING KILLING PREEMPTING RESTARTING RUNNING PARTITIONED STARTING"),
        ("LIVE", "KILLING PREEMPTING RESTARTING DRAINING PARTITIONED RUNNING"),
        ("TRANSIENT", "ASSIGNED PREEMPTING RESTARTING KILLING DRAINING"),
    ],
)
def test_sets_are_those_of_the_api(name: str, members: str) -> None:
    assert {status.name for status in getattr(states, name)} == set(members.split())


def test_updates_that_are_not_over() -> None:
    over = {"ROLLED_FORWARD", "ROLLED_BACK", "ABORTED", "ERROR", "FAILED"}
    assert {status.name for status in JobUpdateStatus} - over == {status.name for status in states.ACTIVE_UPDATE}
