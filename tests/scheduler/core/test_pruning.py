"""Which tasks are forgotten, and when."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.pruning import prunable
from scheduler.model import Task
from scheduler.states import TERMINAL, ScheduleStatus
from tests.support.scheduled import SETTINGS, task

S = ScheduleStatus
HOUR_MS = 3_600_000
DAYS_2_MS = 48 * HOUR_MS


def ended(task_id: str, at_ms: int, end: ScheduleStatus = S.FINISHED) -> Task:
    return task(S.PENDING, end, task_id=task_id, at_ms=at_ms, each_ms=0)


def test_after_two_days() -> None:
    one = ended("a", 5)
    assert prunable([one], 5 + DAYS_2_MS - 1, SETTINGS) == []
    assert prunable([one], 5 + DAYS_2_MS, SETTINGS) == ["a"]


def test_of_more_than_a_hundred_the_oldest_after_an_hour() -> None:
    tasks = [ended(f"{number:03}", number) for number in reversed(range(103))]
    assert prunable(tasks, HOUR_MS + 102, SETTINGS) == ["000", "001", "002"]
    assert prunable(tasks, HOUR_MS + 1, SETTINGS) == ["000", "001"]
    assert prunable(tasks, HOUR_MS - 1, SETTINGS) == []
    assert prunable(tasks, HOUR_MS, SETTINGS) == ["000"]


def test_who_is_not_over_is_kept() -> None:
    tasks = [task(status, task_id=status.name) for status in ScheduleStatus]
    over = {status.name for status in TERMINAL}
    assert set(prunable(tasks, 100 * DAYS_2_MS, SETTINGS)) == over


def test_nothing_goes_within_the_hour_whatever_else_is_set() -> None:
    settings = replace(SETTINGS, history_prune_threshold_s=1.0, history_max_per_job=0)
    assert prunable([ended("a", 0)], HOUR_MS - 1, settings) == []
    assert prunable([ended("a", 0)], HOUR_MS, settings) == ["a"]


@given(st.lists(st.integers(0, 3 * DAYS_2_MS), max_size=20), st.integers(0, 5), st.integers(0, 4 * DAYS_2_MS))
def test_what_is_left(ends_ms: list[int], kept: int, now_ms: int) -> None:
    settings = replace(SETTINGS, history_max_per_job=kept)
    tasks = {str(number): ended(str(number), at_ms) for number, at_ms in enumerate(ends_ms)}
    gone = prunable(list(tasks.values()), now_ms, settings)
    assert all(now_ms - tasks[one].changed_at_ms >= HOUR_MS for one in gone)
    rest = [one for name, one in tasks.items() if name not in gone]
    assert all(now_ms - one.changed_at_ms < DAYS_2_MS for one in rest)
    if len(rest) > kept:
        oldest = min(one.changed_at_ms for one in rest)
        assert now_ms - oldest < HOUR_MS, "more than are to be kept, but the oldest is too young to go"
