"""How long successors wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.core.throttle import flapped, penalty_s
from scheduler.model import Task
from scheduler.states import ScheduleStatus
from tests.support.scheduled import SETTINGS, task

S = ScheduleStatus
MINUTE_MS = 60_000


def family(*lasted_ms: int, end: ScheduleStatus = S.FAILED) -> dict[str, Task]:
    """Tasks, eldest first, each the ancestor of the next, that were RUNNING for so long."""
    found: dict[str, Task] = {}
    for number, ms in enumerate(lasted_ms):
        one = task(S.PENDING, S.RUNNING, end, task_id=str(number), each_ms=ms)
        found[str(number)] = one._replace(ancestor_id=str(number - 1) if number else None)
    return found


def penalty(tasks: dict[str, Task]) -> float:
    """Of the successor of the youngest."""
    return penalty_s(tasks[max(tasks, key=int)], tasks.get, SETTINGS)


@pytest.mark.parametrize(
    "generations, expected_s", [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (6, 300), (10, 300)]
)
def test_it_doubles_with_each_that_ended_too_soon(generations: int, expected_s: float) -> None:
    assert penalty(family(*[1000] * generations)) == expected_s


def test_who_ran_for_five_minutes_is_not_punished() -> None:
    assert penalty(family(5 * MINUTE_MS)) == 0
    assert penalty(family(5 * MINUTE_MS - 1)) == 30


def test_the_count_ends_with_the_first_that_ran_long() -> None:
    assert penalty(family(1000, 1000, 6 * MINUTE_MS, 1000, 1000)) == 60
    assert penalty(family(1000, 1000, 1000, 6 * MINUTE_MS)) == 0


def test_the_count_ends_where_history_does() -> None:
    tasks = family(*[1000] * 4)
    del tasks["1"]
    assert penalty(tasks) == 60


def test_the_search_ends_at_the_longest_penalty() -> None:
    tasks = family(*[1000] * 100)
    asked = []

    def find(task_id: str) -> Task | None:
        asked.append(task_id)
        return tasks.get(task_id)

    assert penalty_s(tasks["99"], find, SETTINGS) == 300
    assert asked == ["98", "97", "96", "95", "94"]


@pytest.mark.parametrize("interruption", [S.RESTARTING, S.KILLING, S.DRAINING])
def test_who_was_interrupted_is_not_punished(interruption: ScheduleStatus) -> None:
    assert not flapped(task(S.PENDING, S.RUNNING, interruption, S.KILLED), SETTINGS)
    assert flapped(task(S.PENDING, S.RUNNING, S.KILLED), SETTINGS)


def test_the_last_state_counts_and_not_the_whole_life() -> None:
    assert flapped(task(S.PENDING, S.STARTING, S.RUNNING, S.FAILED, each_ms=4 * MINUTE_MS), SETTINGS)
    assert flapped(task(S.PENDING, S.RUNNING, S.PARTITIONED, S.RUNNING, S.FAILED, each_ms=4 * MINUTE_MS), SETTINGS)


@pytest.mark.parametrize("last", [S.PARTITIONED, S.PREEMPTING])
def test_who_lost_its_agent_or_gave_way_is_not_punished(last: ScheduleStatus) -> None:
    """Aurora lets its successor wait."""
    assert not flapped(task(S.PENDING, S.RUNNING, last, S.LOST), SETTINGS)


def test_who_is_not_over_has_not_flapped() -> None:
    assert not flapped(task(S.PENDING, S.RUNNING), SETTINGS)


def test_an_operator_can_set_all_of_it() -> None:
    settings = replace(
        SETTINGS, flapping_task_threshold_s=1.0, initial_flapping_task_delay_s=7.0, max_flapping_task_delay_s=10.0
    )
    tasks = family(999, 999)
    assert penalty_s(tasks["0"], tasks.get, settings) == 7
    assert penalty_s(tasks["1"], tasks.get, settings) == 10
    assert penalty_s(family(1000)["0"], tasks.get, settings) == 0
