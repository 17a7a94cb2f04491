"""Whether a task may go: each rule, and that no drain ever takes a job below what it was promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from scheduler.core.changes import PutQuota, PutTask
from scheduler.core.commands import DrainHosts, EndMaintenance
from scheduler.core.decision import Decision
from scheduler.core.sla import Verdict, may_kill, problems_of, required, standings_by_the_clock
from scheduler.core.state import State
from scheduler.model import Config, JobKey, Resources, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from tests.support.scheduled import SETTINGS, state_of, task_config
from tests.support.world import World, offer
from thermos.formats import assigned_task as wire

NOW_MS = 1_000_000_000
RUNNING = ScheduleStatus.RUNNING


def percentage(percent: float, duration_s: int = 60) -> wire.SlaPolicy:
    return wire.SlaPolicy(percentage_sla_policy=wire.PercentageSlaPolicy(percent, duration_s))


def count(number: int, duration_s: int = 60) -> wire.SlaPolicy:
    return wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(number, duration_s))


def coordinator(url: str = "http://c/") -> wire.SlaPolicy:
    return wire.SlaPolicy(coordinator_sla_policy=wire.CoordinatorSlaPolicy(url))


def config(policy: wire.SlaPolicy | None = None, production: bool = True) -> Config:
    return config_of(task_config(production=production, sla_policy=policy))


def job(
    running: int, others: int = 0, policy: wire.SlaPolicy | None = None, for_s: float = 100.0, production: bool = True
) -> tuple[State, list[Task]]:
    """A job of so many that run for so long, and of others that wait."""
    of = config(policy, production)
    tasks = []
    for number in range(running + others):
        status = RUNNING if number < running else ScheduleStatus.PENDING
        events = (TaskEvent(0, ScheduleStatus.PENDING), TaskEvent(NOW_MS - round(for_s * 1000), status))
        tasks.append(Task(f"t-{number}", number, of, status, events))
    return state_of(tasks), tasks


def is_allowed(state: State, task: Task, policy: wire.SlaPolicy | None = None) -> bool:
    return may_kill(task, state, NOW_MS, SETTINGS, policy).is_allowed


@pytest.mark.parametrize(
    "policy, running, others, allowed",
    [
        (percentage(95), 20, 0, True),
        (percentage(95), 19, 1, False),  # 18 of 20 would be left
        (percentage(90), 20, 0, True),
        (percentage(90), 19, 1, True),
        (percentage(90), 18, 2, False),
        (percentage(95), 21, 0, True),  # 20 of 21 are left, and no more could be
        (percentage(95), 20, 1, False),
        (percentage(100), 20, 0, True),  # would allow nothing: one may go
        (percentage(100), 19, 1, False),
        (percentage(0), 1, 30, True),
        (count(19), 20, 0, True),
        (count(19), 19, 1, False),
        (count(10), 11, 9, True),
        (count(10), 10, 10, False),
        (count(1000), 20, 0, True),  # would allow nothing: one may go
        (count(1000), 19, 1, False),
        (count(0), 1, 19, True),
    ],
)
def test_limits(policy: wire.SlaPolicy, running: int, others: int, allowed: bool) -> None:
    state, tasks = job(running, others)
    assert is_allowed(state, tasks[0], policy) is allowed


def test_who_does_not_run_counts_as_who_waits() -> None:
    state, tasks = job(19, 1)
    assert is_allowed(state, tasks[-1], percentage(95))  # the 19 others stay


def test_only_those_that_have_run_for_longer_count() -> None:
    assert is_allowed(*_first(job(20, for_s=60.001)), percentage(95, 60))
    assert not is_allowed(*_first(job(20, for_s=60.0)), percentage(95, 60))


def test_small_jobs_and_those_that_are_not_for_production_are_not_held_up() -> None:
    assert is_allowed(*_first(job(1, 18)), percentage(95))
    state, tasks = job(1, 30, production=False)
    assert is_allowed(state, tasks[0], percentage(95))
    strict = replace(SETTINGS, sla_aware_kill_non_prod=True)
    assert not may_kill(tasks[0], state, NOW_MS, strict, percentage(95)).is_allowed
    large = replace(SETTINGS, min_required_instances_for_sla_check=1)
    state, tasks = job(1, 18)
    assert not may_kill(tasks[0], state, NOW_MS, large, percentage(95)).is_allowed


def test_without_a_policy_nothing_is_promised() -> None:
    state, tasks = job(1, 30)
    assert may_kill(tasks[0], state, NOW_MS, SETTINGS) == Verdict(True)
    assert is_allowed(state, tasks[0], wire.SlaPolicy())


def test_its_own_policy_comes_first() -> None:
    state, tasks = job(19, 1, policy=count(19))
    assert not is_allowed(state, tasks[0], percentage(0))
    state, tasks = job(19, 1, policy=wire.SlaPolicy())
    assert not is_allowed(state, tasks[0], percentage(95))


def test_a_coordinator_is_to_be_asked_whatever_the_job() -> None:
    for production in (True, False):
        state, tasks = job(1, policy=coordinator(), production=production)
        verdict = may_kill(tasks[0], state, NOW_MS, SETTINGS)
        assert (verdict.is_allowed, verdict.coordinator) == (False, wire.CoordinatorSlaPolicy("http://c/"))


def test_a_refusal_says_why() -> None:
    state, tasks = job(19, 1)
    assert may_kill(tasks[0], state, NOW_MS, SETTINGS, percentage(95)).reason == (
        "of 20 active tasks, 18 others have run for 60 s, and 19 have to"
    )


def test_standings_know_who_left() -> None:
    state, tasks = job(40)
    standings = standings_by_the_clock(state, NOW_MS)
    gone = 0
    for task in tasks:
        if may_kill(task, state, NOW_MS, SETTINGS, percentage(90), standings).is_allowed:
            standings.left(task)
            gone += 1
    assert gone == 4


@given(st.floats(0, 100), st.integers(1, 5000))
def test_what_is_required_is_enough_and_never_all(percent: float, total: int) -> None:
    needed = required(percentage(percent), total)
    assert 0 <= needed < total
    assert needed == total - 1 or needed * 100 >= total * percent - 1e-6


@pytest.mark.parametrize(
    "policy, problems",
    [
        (percentage(95), 0),
        (count(3), 0),
        (coordinator(), 0),
        (percentage(100.5), 1),
        (percentage(float("nan")), 1),
        (percentage(-1, -1), 2),
        (count(-1, 10_000), 2),
        (coordinator("file:///etc/passwd"), 1),
        (wire.SlaPolicy(), 1),
        (percentage(1)._replace(count_sla_policy=wire.CountSlaPolicy(1, 1)), 1),
    ],
)
def test_policies_that_cannot_be_meant(policy: wire.SlaPolicy, problems: int) -> None:
    assert len(list(problems_of(policy, SETTINGS))) == problems


def _first(made: tuple[State, list[Task]]) -> tuple[State, Task]:
    return made[0], made[1][0]


# -- whole drains ------------------------------------------------------------------------------------------------------


class Watched(World):
    """One in which each decision that takes a task away leaves so many running as *policies* say."""

    def __init__(self, policies: dict[JobKey, wire.SlaPolicy], **more: Any) -> None:
        self.policies = policies
        self.drained = 0
        super().__init__(**more)

    def _decided(self, decision: Decision) -> None:
        super()._decided(decision)
        gone = [change.task for change in decision.changes if isinstance(change, PutTask)]
        for key in {task.job for task in gone if task.status is ScheduleStatus.DRAINING}:
            self.drained += 1
            total, policy = len(self.tasks(key)), self.policies[key]
            counted = policy.count_sla_policy or policy.percentage_sla_policy
            assert counted is not None
            before_ms = self.now.wall_ms - (counted.duration_secs or 0) * 1000
            runs = sum(task.status is RUNNING and task.changed_at_ms < before_ms for task in self.tasks(key))
            if total >= self.settings.min_required_instances_for_sla_check:
                assert runs >= required(policy, total), (key, policy, runs, total)

    def go_on(self, host: int, crashes: Callable[[], bool]) -> None:
        """Mesos does as it was told, and gives a new host; some tasks fail."""
        for key in self.policies:
            for task in self.tasks(key):
                if task.status is ScheduleStatus.DRAINING:
                    self.status(task, "KILLED")
                elif task.status is RUNNING and crashes():
                    self.status(task, "FAILED")
        self.offers(offer(host, cpus=64.0))
        self.pass_s(0.1)
        for key in self.policies:
            for task in self.tasks(key):
                if task.status is ScheduleStatus.ASSIGNED:
                    self.status(task, "RUNNING")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_drain_takes_a_job_below_what_it_was_promised(data: st.DataObject) -> None:
    """Random jobs, policies, drains and ends. Drains here never run out of time."""
    default = percentage(data.draw(st.floats(0, 100)), 30)
    policies: dict[JobKey, wire.SlaPolicy] = {}
    world = Watched(policies, min_required_instances_for_sla_check=3, flapping_task_threshold_s=0.0)
    world.engine.state.apply(PutQuota("www", Resources(10**9, 10**9, 10**9)))
    hosts = data.draw(st.integers(2, 6))
    for number in range(data.draw(st.integers(1, 3))):
        key = JobKey("www", "prod", f"job{number}")
        instances = data.draw(st.integers(3, 12))
        own = data.draw(st.one_of(st.none(), st.builds(count, st.integers(0, instances - 1), st.sampled_from([0, 30]))))
        policies[key] = own or default
        assert world.create(key, instances, tier="preferred", sla_policy=own).code.name == "OK"
    world.offers(*(offer(number, cpus=8.0) for number in range(1, hosts + 1)))
    world.pass_s(1)
    world.go_on(100, lambda: False)
    for step in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from(["drain", "go on", "crash", "wait", "end"]))
        if kind == "drain":
            names = data.draw(st.sets(st.integers(1, hosts), min_size=1))
            world.command(DrainHosts(frozenset(f"host-{one}" for one in names), "ann", default, 10**6))
        elif kind == "wait":
            world.pass_s(data.draw(st.sampled_from([1.0, 40.0, 100.0])))
        elif kind == "end":
            world.command(EndMaintenance(frozenset({f"host-{data.draw(st.integers(1, hosts))}"}), "ann"))
        else:
            chance = 5 if kind == "crash" else 10**9
            world.go_on(101 + step, lambda chance=chance: data.draw(st.integers(0, chance)) == 1)  # type: ignore[misc]
    event(f"drained {min(world.drained, 3)}")
