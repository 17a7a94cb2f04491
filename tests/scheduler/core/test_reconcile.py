"""When Mesos is asked about tasks, and who waits too long."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.reconcile import (
    after_explicit,
    after_implicit,
    batches,
    explicit_takes_s,
    first,
    kill_retry_s,
    registered_again,
)
from scheduler.core.settings import Settings
from scheduler.states import ScheduleStatus
from tests.support.scheduled import SETTINGS, task

S = ScheduleStatus
HOUR_S = 3600.0
WEEK_S = 7 * 24 * HOUR_S


class Run(NamedTuple):
    kind: str
    begins_s: float
    ends_s: float


def simulated(
    for_s: float, registered_s: list[float], task_count: int = 0, settings: Settings = SETTINGS, late_s: float = 0.0
) -> list[Run]:
    """Every run within *for_s* seconds, with registrations at these times; a run begins *late_s* after it was due."""
    runs: list[Run] = []
    registrations = sorted(registered_s, reverse=True)
    now_s = registrations.pop()
    schedule = first(now_s, settings)
    takes_s = explicit_takes_s(task_count, settings.reconciliation_explicit_batch_size, settings)
    while len(runs) < 10_000:
        due_s = max(now_s, schedule.due_s + late_s)
        if registrations and registrations[-1] <= due_s:
            now_s = registrations.pop()
            if runs and runs[-1].ends_s > now_s:  # what was left of it is dropped
                runs[-1] = runs[-1]._replace(ends_s=now_s)
            schedule = registered_again(schedule, now_s, settings)
            continue
        now_s = due_s
        if now_s >= for_s:
            return runs
        if schedule.explicit_at_s <= now_s:
            runs.append(Run("explicit", now_s, now_s + takes_s))
            schedule = after_explicit(schedule, now_s, settings, takes_s)
        else:
            runs.append(Run("implicit", now_s, now_s))
            schedule = after_implicit(schedule, now_s, settings)
    raise AssertionError("more runs than there can be: the schedule does not move on")


def times(runs: list[Run], kind: str) -> list[float]:
    return [run.begins_s for run in runs if run.kind == kind]


def test_a_week() -> None:
    """Hourly each, half an hour apart, the first after a minute."""
    runs = simulated(WEEK_S, [0.0])
    assert times(runs, "explicit") == [60 + hour * HOUR_S for hour in range(7 * 24)]
    assert times(runs, "implicit") == [60 + 1800 + hour * HOUR_S for hour in range(7 * 24)]


@pytest.mark.parametrize("task_count", [0, 1, 1000, 100_000, 360_000, 700_000, 2_000_000])
def test_in_a_week_no_run_begins_while_another_is_under_way(task_count: int) -> None:
    """700 000 tasks take an hour: even then."""
    runs = simulated(WEEK_S, [1000.0], task_count)
    for one, following in pairwise(runs):
        assert one.ends_s <= following.begins_s
    assert len(times(runs, "explicit")) >= 24
    assert len(times(runs, "implicit")) >= 24


@given(
    st.lists(st.floats(0, 2 * 24 * HOUR_S), min_size=1, max_size=20),
    st.integers(0, 400_000),
    st.floats(0, 100),
)
def test_registrations_at_any_time(registered_s: list[float], task_count: int, late_s: float) -> None:
    runs = simulated(2 * 24 * HOUR_S, registered_s, task_count, late_s=late_s)
    for one, following in pairwise(runs):
        assert one.ends_s <= following.begins_s
    for registration_s in registered_s:
        if registration_s + HOUR_S < 2 * 24 * HOUR_S:
            soon = [at_s for at_s in times(runs, "explicit") if registration_s <= at_s <= registration_s + 60 + late_s]
            assert soon, "one after every registration"


def test_a_master_that_comes_and_goes_keeps_no_run_from_happening() -> None:
    runs = simulated(24 * HOUR_S, [minute * 30.0 for minute in range(24 * 120)])
    assert len(times(runs, "implicit")) >= 23
    assert len(times(runs, "explicit")) >= 23


def test_after_a_second_registration_they_are_half_an_hour_apart_again() -> None:
    runs = simulated(24 * HOUR_S, [0.0, 10_000.0])
    explicit, implicit = times(runs, "explicit"), times(runs, "implicit")
    assert 10_060.0 in explicit
    assert explicit[-1] % HOUR_S == 10_060.0 % HOUR_S
    assert implicit[-1] % HOUR_S == 11_860.0 % HOUR_S


def test_a_run_that_is_late_is_not_followed_by_another_at_once() -> None:
    schedule = after_explicit(first(0.0, SETTINGS), 3 * HOUR_S, SETTINGS)
    assert schedule.explicit_at_s == 60 + 4 * HOUR_S
    assert after_implicit(schedule, 3 * HOUR_S, SETTINGS).implicit_at_s == 60 + 1800 + 3 * HOUR_S


def test_batches() -> None:
    tasks = [task(S.RUNNING, task_id=str(number), agent_id=f"a{number}") for number in range(5)]
    assert batches(tasks, 2) == [(("0", "a0"), ("1", "a1")), (("2", "a2"), ("3", "a3")), (("4", "a4"),)]
    assert batches([task(S.ASSIGNED)], 1000) == [(("t", None),)]
    assert batches([], 1000) == []
    assert explicit_takes_s(5, 2, SETTINGS) == 10.0
    assert explicit_takes_s(2, 2, SETTINGS) == 0.0


def test_a_kill_is_sent_again_ever_later() -> None:
    assert [kill_retry_s(retries, SETTINGS) for retries in range(7)] == [15, 30, 60, 120, 240, 300, 300]
    assert kill_retry_s(10**9, SETTINGS) == 300


def test_how_long_is_an_operators_choice() -> None:
    settings = replace(SETTINGS, transient_task_state_timeout_s=1.0)
    assert kill_retry_s(0, settings) == 1.0
