"""How long ago something was: by monotonic time where it was seen, by the clock of the start where it was not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.elapsed import Elapsed, by_the_clock
from scheduler.core.events import Now
from scheduler.states import ScheduleStatus

START = Now(1_000_000, 50.0)


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**6))
def test_what_was_seen_is_told_whatever_the_clock_says(jump_ms: int, passed_s: int) -> None:
    elapsed = Elapsed(START)
    seen = Now(1_005_000 + jump_ms, 55.0)
    elapsed.note("it", seen)
    assert elapsed.since_ms("it", seen.wall_ms, Now(7, 55.0 + passed_s)) == passed_s * 1000


def test_what_was_not_seen_is_told_by_the_clock_of_the_start() -> None:
    elapsed = Elapsed(START)
    assert elapsed.since_ms("it", 990_000, Now(0, 51.0)) == 11_000
    assert elapsed.since_ms("it", 9_990_000, Now(0, 51.0)) == 1000, "what lies in the future was just at the start"
    elapsed.begin(Now(2_000_000, 100.0))
    assert elapsed.since_ms("it", 1_990_000, Now(0, 100.0)) == 10_000


def test_what_was_seen_and_taken_back_is_not_told() -> None:
    """The state has another time than the one that was seen: what happened then was never decided."""
    elapsed = Elapsed(START)
    elapsed.note("it", Now(1_030_000, 80.0))
    assert elapsed.since_ms("it", 999_000, Now(1_030_000, 80.0)) == 31_000


def test_tasks_that_are_over_or_gone_are_forgotten() -> None:
    for end in (ScheduleStatus.FAILED, None):
        elapsed = Elapsed(START)
        elapsed.note_task("t", ScheduleStatus.RUNNING, Now(1_030_000, 80.0))
        assert elapsed.since_ms("t", 1_030_000, Now(0, 81.0)) == 1000
        elapsed.note_task("t", end, Now(1_031_000, 81.0))
        assert elapsed.since_ms("t", 1_030_000, Now(0, 81.0)) == 31_000


def test_whoever_has_only_the_clock() -> None:
    elapsed, now = by_the_clock(5000)
    assert elapsed.since_ms("it", 2000, now) == 3000
    assert elapsed.since_ms("it", 9000, now) == 0
