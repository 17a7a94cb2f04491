"""When a checker asks, and what it tells: with a clock of the test's and probes that answer as told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thermos.core.health import HEALTHY, HealthPolicy, Verdict
from thermos.health.checker import SNOOZE_NAME, Checker
from thermos.health.probes import Cancel, Done, Result
from thermos.host.loop import Loop


class Stage:
    """A loop whose time the test moves, a probe that answers at once by *answers*, and what was told."""

    name = "staged"

    def __init__(self, answers: Callable[[float], str | None] | None) -> None:
        self.now_s = 0.0
        self.loop = Loop(lambda: self.now_s)
        self.answers = answers
        self.asked_s: list[float] = []
        self.told: list[tuple[float, Verdict]] = []
        self.cancelled = 0

    def start(self, loop: Loop, done: Done) -> Cancel:
        self.asked_s.append(round(self.now_s, 3))
        if self.answers is not None:
            result = Result(self.answers(self.now_s), 0.01)
            loop.call_later(("answer", len(self.asked_s)), 0.0, lambda: done(result))
        return self.cancel

    def cancel(self) -> None:
        self.cancelled += 1

    def tell(self, verdict: Verdict) -> None:
        self.told.append((round(self.now_s, 3), verdict))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            for _ in range(3):
                self.loop.step(0)
            self.now_s += 0.05
        self.loop.step(0)

    def checker(self, policy: HealthPolicy, snooze_file: str | None = None) -> Checker:
        checker = Checker(self.loop, policy, self, self.tell, snooze_file)
        checker.start()
        return checker


@pytest.fixture
def stage() -> Iterator[Callable[[Callable[[float], str | None] | None], Stage]]:
    stages: list[Stage] = []

    def make(answers: Callable[[float], str | None] | None) -> Stage:
        stages.append(Stage(answers))
        return stages[-1]

    yield make
    for each in stages:
        each.loop.close()


Make = Callable[[Callable[[float], str | None] | None], Stage]


def test_a_healthy_task_is_told_at_once_and_asked_each_interval(stage: Make) -> None:
    at = stage(lambda now_s: None)
    checker = at.checker(HealthPolicy())
    at.run(25)
    assert at.told == [(0.0, Verdict(True, HEALTHY))]
    assert at.asked_s == [0.0, 10.0, 20.0]
    assert checker.counts.checks == 3


def test_until_the_first_success_it_is_asked_more_often(stage: Make) -> None:
    at = stage(lambda now_s: None if now_s >= 1.0 else "not yet")
    at.checker(HealthPolicy())
    at.run(12)
    # Twice as long each time, to the grain of the test's clock.
    assert at.asked_s == pytest.approx([0.0, 0.1, 0.3, 0.7, 1.5, 10.0], abs=0.06)
    assert [verdict for _, verdict in at.told] == [Verdict(True, HEALTHY)]
    assert at.told[0][0] == at.asked_s[4]


def test_failures_between_attempts_never_end_a_task(stage: Make) -> None:
    at = stage(lambda now_s: "ill")
    checker = at.checker(HealthPolicy())
    at.run(19)
    assert at.told == []
    assert len(at.asked_s) > 10
    at.run(2)
    assert at.told == [(20.0, Verdict(False, "ill", True))]
    assert checker.counts.consecutive_failures == 1


def test_a_task_that_falls_ill_is_told_and_then_ended(stage: Make) -> None:
    at = stage(lambda now_s: "ill" if now_s > 15 else None)
    at.checker(HealthPolicy(max_consecutive_failures=1))
    at.run(35)
    assert at.told == [
        (0.0, Verdict(True, HEALTHY)),
        (20.0, Verdict(False, "ill")),
        (30.0, Verdict(False, "ill", True)),
    ]


def test_one_that_recovers_is_healthy_again(stage: Make) -> None:
    at = stage(lambda now_s: "ill" if 15 < now_s < 25 else None)
    at.checker(HealthPolicy(max_consecutive_failures=1))
    at.run(35)
    assert [verdict.is_healthy for _, verdict in at.told] == [True, False, True]


def test_snoozed_every_attempt_succeeds_and_none_is_made(stage: Make, tmp_path: Path) -> None:
    snooze = tmp_path / SNOOZE_NAME
    snooze.touch()
    at = stage(lambda now_s: "ill")
    checker = at.checker(HealthPolicy(), str(snooze))
    at.run(25)
    assert at.asked_s == []
    assert at.told == [(0.0, Verdict(True, HEALTHY))]
    assert checker.counts.snoozed == 1
    snooze.unlink()
    at.run(10)
    assert at.told[-1] == (30.0, Verdict(False, "ill", True))
    assert checker.counts.snoozed == 0


def test_a_probe_that_does_not_answer_gives_way_to_the_next_attempt(stage: Make) -> None:
    at = stage(lambda now_s: "not yet")
    at.checker(HealthPolicy())
    at.run(0.2)
    at.answers = None  # from here on nobody answers
    at.run(11)
    assert at.cancelled == 1
    assert at.asked_s[-1] == 10.0


def test_after_the_stop_nothing_is_asked_or_told(stage: Make) -> None:
    at = stage(lambda now_s: "ill")
    checker = at.checker(HealthPolicy())
    at.run(15)
    asked = len(at.asked_s)
    checker.stop()
    at.run(30)
    assert len(at.asked_s) == asked
    assert at.told == []


def test_an_attempt_that_hangs_is_given_up_by_the_stop(stage: Make) -> None:
    at = stage(None)
    checker = at.checker(HealthPolicy())
    at.run(1)
    checker.stop()
    assert at.cancelled == 1
