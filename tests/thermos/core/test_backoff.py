"""How long a process waits between two runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.machines import process, task
from thermos.core.backoff import Restarts
from thermos.core.state import History, RunnerState
from thermos.records import ProcessStatus
from thermos.schema import Backoff, ProcessExtension
from thermos.states import ProcessState

P = ProcessState
T0 = 1_000_000.0


class Runs:
    """The runs of one process ``a``, as replaying them tells ``Restarts``."""

    def __init__(self, backoff: Backoff | None = None, min_duration: int = 0, seed: str = "task") -> None:
        extensions = {"a": ProcessExtension(backoff=backoff)} if backoff is not None else {}
        self.restarts = Restarts(task(process("a", min_duration=min_duration), extensions=extensions), seed)
        self.state = RunnerState(keep_runs=2)
        self.seq = 0
        self.at_s = T0

    def _apply(self, status: ProcessStatus) -> None:
        self.state.apply(status._replace(seq=self.seq))
        self.seq += 1

    def run(self, length_s: float = 0.5, end: ProcessState = P.FAILED) -> None:
        self._apply(ProcessStatus(0, "a", P.WAITING))
        self._apply(ProcessStatus(0, "a", P.FORKED, fork_time=self.at_s))
        self._apply(ProcessStatus(0, "a", P.RUNNING, start_time=self.at_s))
        self.at_s += length_s
        self._apply(ProcessStatus(0, "a", end, stop_time=self.at_s))
        self.restarts.ended("a", self.history)

    def lost_before_it_began(self) -> None:
        self._apply(ProcessStatus(0, "a", P.WAITING))
        self._apply(ProcessStatus(0, "a", P.FORKED, fork_time=self.at_s))
        self._apply(ProcessStatus(0, "a", P.LOST, stop_time=self.at_s))
        self.restarts.ended("a", self.history)

    @property
    def history(self) -> History:
        return self.state.processes["a"]

    @property
    def delay_s(self) -> float:
        return self.restarts.delay_s("a", self.history)

    def delays_s(self, count: int, length_s: float = 0.5) -> list[float]:
        found = []
        for _ in range(count):
            self.run(length_s)
            found.append(self.delay_s)
        return found


PLAIN = Backoff(initial_s=1, factor=2, max_s=10, jitter=0, reset_after_s=60)


@pytest.mark.parametrize("end", [P.SUCCESS, P.FAILED, P.KILLED, P.LOST])
def test_without_a_back_off_it_is_min_duration_after_every_end(end: ProcessState) -> None:
    runs = Runs(min_duration=7)
    for _ in range(3):
        runs.run(end=end)
        assert runs.delay_s == 7


def test_it_grows_by_its_factor_up_to_its_most() -> None:
    assert Runs(PLAIN).delays_s(6) == [1, 2, 4, 8, 10, 10]


def test_it_is_never_less_than_min_duration() -> None:
    assert Runs(PLAIN, min_duration=5).delays_s(5) == [5, 5, 5, 8, 10]
    assert Runs(PLAIN, min_duration=60).delays_s(2) == [60, 60]


def test_a_run_that_was_long_enough_begins_it_anew() -> None:
    runs = Runs(PLAIN)
    assert runs.delays_s(3) == [1, 2, 4]
    assert runs.delays_s(1, length_s=59.9) == [8]
    assert runs.delays_s(1, length_s=60.0) == [1]
    assert runs.delays_s(2) == [2, 4]


def test_ten_thousand_failures_in_a_row_overflow_nothing() -> None:
    runs = Runs(Backoff(initial_s=1.0, factor=1000.0, max_s=1e9, jitter=0))
    assert runs.delays_s(10_000)[-1] == 1e9


def test_replaying_the_same_runs_gives_the_same_waits() -> None:
    jittered = Backoff(initial_s=1, factor=2, max_s=300, jitter=0.5)
    assert Runs(jittered).delays_s(20) == Runs(jittered).delays_s(20)


@given(st.text(max_size=20), st.floats(0, 1), st.integers(1, 30))
def test_jitter_stays_within_its_share(seed: str, jitter: float, count: int) -> None:
    spread = Backoff(initial_s=8, factor=1, max_s=8, jitter=jitter)
    for delay_s in Runs(spread, seed=seed).delays_s(count):
        assert 8 * (1 - jitter) <= delay_s <= 8 * (1 + jitter)


def test_jitter_differs_between_tasks_and_between_runs() -> None:
    spread = Backoff(initial_s=100, factor=1, max_s=100, jitter=0.5)
    first = [Runs(spread, seed=f"task-{number}").delays_s(1)[0] for number in range(200)]
    assert len(set(first)) > 190
    assert min(first) < 60
    assert max(first) > 140
    assert len(set(Runs(spread).delays_s(50))) > 45


def test_a_jitter_of_one_may_wait_nothing_but_min_duration_holds() -> None:
    runs = Runs(Backoff(initial_s=1, factor=1, max_s=1, jitter=1), min_duration=3)
    assert runs.delays_s(20) == [3.0] * 20


def test_what_never_began_is_not_throttled_once_and_then_it_is() -> None:
    runs = Runs(min_duration=5)
    runs.lost_before_it_began()
    assert runs.delay_s == 0
    runs.lost_before_it_began()
    assert runs.delay_s == 5
    runs.run()
    runs.lost_before_it_began()
    assert runs.delay_s == 0


# -- what is left of a wait ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "now_s, left_s",
    [
        (T0, 30),
        (T0 + 10, 20),
        (T0 + 30, 0),
        (T0 + 1e9, 0),  # the clock was set forward
        (T0 - 1e9, 30),  # and back: never more than the whole wait
    ],
)
def test_what_is_left_survives_every_jump_of_the_clock(now_s: float, left_s: float) -> None:
    runs = Runs(min_duration=30)
    runs.run(length_s=0)
    assert runs.restarts.remaining_s("a", runs.history, now_s) == left_s


def test_a_run_that_ended_nobody_knows_when_waits_in_full() -> None:
    runs = Runs(min_duration=30)
    runs.run()
    runs.history.last.stop_time = None
    assert runs.restarts.remaining_s("a", runs.history, T0 + 1e6) == 30


@pytest.mark.parametrize("start_time, stop_time", [(T0 + 100, T0), (None, T0), (T0, None)])
def test_a_run_of_odd_times_is_a_short_one(start_time: float | None, stop_time: float | None) -> None:
    runs = Runs(PLAIN)
    runs.run()
    runs.run()
    runs.history.last.start_time, runs.history.last.stop_time = start_time, stop_time
    runs.restarts.ended("a", runs.history)
    assert runs.delay_s == 4
