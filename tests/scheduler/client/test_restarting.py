"""Rolling restarts with a clock of the test's own: events in, what is asked for out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pytest

from scheduler.client.restarting import Active, Restart, Settings


class Fake:
    """Instances that come back after some looks, each with task ids that count up: ``0-1`` after ``0-0``."""

    def __init__(self, instances: int) -> None:
        self.now_s = 0.0
        self.asked: list[tuple[int, ...]] = []
        self.told: list[str] = []
        self.ids = dict.fromkeys(range(instances), 0)
        self.down_until_s: dict[int, float] = {}
        #: instance → how many of its new tasks die after a second
        self.flaky: dict[int, int] = {}
        self.dies_at_s: dict[int, float] = {}
        #: instance → when somebody kills it
        self.killed_at_s: dict[int, float] = {}

    def restart(self, instances: Sequence[int]) -> None:
        self.asked.append(tuple(instances))
        for number in instances:
            self._start(number, 4.0)
            if self.flaky.get(number, 0) > 0:
                self.flaky[number] -= 1
                self.dies_at_s[number] = self.now_s + 4.0 + 1

    def _start(self, number: int, after_s: float) -> None:
        self.ids[number] += 1
        self.down_until_s[number] = self.now_s + after_s

    def active(self, instances: Collection[int]) -> dict[int, Active]:
        for number, at_s in list(self.dies_at_s.items()):
            if self.now_s > at_s:
                del self.dies_at_s[number]
                self._start(number, 0.0)
        return {
            number: Active(f"{number}-{self.ids[number]}", self.down_until_s.get(number, 0) <= self.now_s)
            for number in instances
            if self.now_s < self.killed_at_s.get(number, float("inf"))
        }

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def job() -> Fake:
    return Fake(5)


def restart(job: Fake, note: Callable[[], None] = lambda: None, **settings: float) -> Restart:
    chosen = Settings(**{"watch_s": 10, "interval_s": 1, **settings})  # type: ignore[arg-type]
    old = {number: f"{number}-0" for number in job.ids}
    return Restart(chosen, job, old, lambda: job.now_s, job.sleep, job.told.append, note)


def test_batch_after_batch(job: Fake) -> None:
    made = restart(job, batch_size=2)
    assert made.run([4, 0, 1, 2, 3])
    assert job.asked == [(0, 1), (2, 3), (4,)]
    assert made.done == [0, 1, 2, 3, 4]
    assert job.now_s == 3 * (4 + 10)


def test_watch_of_no_length_takes_running_for_done(job: Fake) -> None:
    assert restart(job, watch_s=0).run([0])
    assert job.now_s == 4


def test_the_old_task_is_not_taken_for_the_new_one(job: Fake) -> None:
    """The scheduler may not have begun when we look first."""

    def restart_late(instances: Sequence[int]) -> None:
        job.asked.append(tuple(instances))  # and nothing happens for a while

    job.restart = restart_late  # type: ignore[method-assign]
    made = restart(job)
    late = made.sleep

    def sleep(seconds: float) -> None:
        late(seconds)
        if job.now_s == 15:
            Fake.restart(job, [0])

    made.sleep = sleep
    assert made.run([0])
    assert job.now_s == 15 + 4 + 10


def test_an_instance_that_does_not_stay_up_fails(job: Fake) -> None:
    job.flaky[1] = 1
    made = restart(job)
    assert not made.run([0, 1, 2])
    assert job.asked == [(0,), (1,)]
    assert (made.done, made.failed, made.waiting) == ([0], [1], [2])
    assert made.story() == "restarted: 0; failed: 1; asked to restart, not confirmed: none; not touched: 2"


def test_failures_that_are_allowed(job: Fake) -> None:
    job.flaky[1] = 1
    made = restart(job, max_total_failures=1)
    assert made.run([0, 1, 2])
    assert (made.done, made.failed) == ([0, 2], [1])


def test_an_instance_is_tried_again_before_the_others(job: Fake) -> None:
    job.flaky[0] = 1
    made = restart(job, max_per_instance_failures=1)
    assert made.run([0, 1])
    assert job.asked == [(0,), (0,), (1,)]
    assert made.done == [0, 1]


def test_an_instance_is_not_tried_more_often_than_allowed(job: Fake) -> None:
    job.flaky[0] = 9
    made = restart(job, max_per_instance_failures=2)
    assert not made.run([0, 1])
    assert job.asked == [(0,), (0,), (0,)]


def test_below_zero_is_no_limit(job: Fake) -> None:
    job.flaky[0] = 4
    assert restart(job, max_per_instance_failures=-1).run([0])
    assert len(job.asked) == 5


@pytest.mark.parametrize("at_s", [2, 8], ids=["before it runs", "while it is watched"])
@pytest.mark.parametrize("allowed", [0, -1])
def test_an_instance_that_is_killed_meanwhile_fails(job: Fake, at_s: float, allowed: int) -> None:
    """Nobody makes another task of it, so that waiting, or asking again, would be for ever."""
    job.killed_at_s[1] = at_s
    made = restart(job, batch_size=2, max_per_instance_failures=allowed)
    assert not made.run([0, 1, 2])
    assert job.asked == [(0, 1)]
    assert (made.done, made.failed, made.waiting) == ([0], [1], [2])
    assert "instance 1 was killed, or ended, and has no new task" in job.told


def test_an_instance_that_is_killed_before_its_turn_is_not_asked_for(job: Fake) -> None:
    """The scheduler would refuse the whole batch."""
    job.killed_at_s[1] = 5
    made = restart(job, max_total_failures=1)
    assert made.run([0, 1, 2])
    assert job.asked == [(0,), (2,)]
    assert (made.done, made.failed) == ([0, 2], [1])


def test_a_new_task_that_stops_running_has_failed_before_the_next_one_runs(job: Fake) -> None:
    """A task that waits for a place, after one that died, might wait for ever."""
    look = job.active

    def active(instances: Collection[int]) -> dict[int, Active]:
        return {
            number: Active(f"{number}-2", False) if job.now_s >= 6 else task for number, task in look(instances).items()
        }

    job.active = active  # type: ignore[method-assign]
    made = restart(job)
    assert not made.run([0])
    assert (made.failed, job.now_s) == ([0], 6)


def test_what_it_tells_when_it_is_interrupted(job: Fake) -> None:
    stories: list[str] = []
    made = restart(job, batch_size=2)
    made.note = lambda: stories.append(made.story())
    made.run([0, 1, 2])
    assert stories == [
        "restarted: none; failed: none; asked to restart, not confirmed: 0-1; not touched: 2",
        "restarted: 0-1; failed: none; asked to restart, not confirmed: 2; not touched: none",
        "restarted: 0-2; failed: none; asked to restart, not confirmed: none; not touched: none",
    ]


def test_why_an_instance_does_not_come_is_asked_for_seldom(job: Fake) -> None:
    asked: list[tuple[float, list[int]]] = []
    made = restart(job, batch_size=2)

    def why(instances: Sequence[int]) -> str:
        asked.append((job.now_s, list(instances)))
        return "1 PENDING (Insufficient: CPU)"

    made.why = why
    job.down_until_s = {}
    start = job._start

    def slow(number: int, after_s: float) -> None:
        start(number, 40.0 if number == 1 else after_s)

    job._start = slow  # type: ignore[method-assign]
    assert made.run([0, 1])
    assert asked == [(15, [1]), (30, [1])]
    assert "1 PENDING (Insufficient: CPU)" in job.told
