"""Somebody sets the clock back by an hour: whatever waits, waits no longer than it should."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.core.commands import SetQuota
from scheduler.core.events import AskCoordinator, CoordinatorAnswered, Kill
from scheduler.core.state import State
from scheduler.model import Resources
from scheduler.store.backups import changes_of
from tests.scheduler.core.test_maintenance import COORDINATOR, PERCENT_95, drain
from tests.scheduler.core.test_preempting import Full
from tests.support.updates import Updated, promising, running
from tests.support.world import World

HOUR_S = 3600


@pytest.mark.parametrize("by_s", [-HOUR_S, HOUR_S])
def test_a_time_to_run(by_s: float) -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, min_wait_in_instance_running_ms=10_000)
    world.end_killed()
    world.healthy(*world.place())
    world.turn_clock(by_s)
    world.pass_s(9)
    assert len(world.events(update)) == 1
    world.pass_s(2)
    assert world.events(update)[1] == (0, "UPDATED")


@pytest.mark.parametrize("by_s", [-HOUR_S, 5])
def test_a_time_to_run_after_a_failover_is_at_most_the_whole_time_again(by_s: float) -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, min_wait_in_instance_running_ms=10_000)
    world.end_killed()
    world.healthy(*world.place())
    world.turn_clock(by_s)
    world = world.failover()
    world.pass_s(4)
    assert len(world.events(update)) == 1
    world.pass_s(7)
    assert world.events(update)[1] == (0, "UPDATED")


def test_a_progress_deadline() -> None:
    world = Updated()
    world.run()
    update = world.start(progress_deadline_ms=30_000)
    world.end_killed()
    world.turn_clock(-HOUR_S)
    world.pass_s(31)
    assert world.state(update) == "ROLLING_BACK"


def test_failures_are_counted() -> None:
    world = Updated()
    world.run()
    update = world.start(max_per_instance_failures=1)
    world.end_killed()
    world.turn_clock(-HOUR_S)
    world.fail()
    world = world.failover()
    world.pass_s(60)
    world.fail()
    assert world.state(update) == "ROLLING_BACK"


def test_failures_of_before_are_not() -> None:
    """The same configuration failed before the update came to the instance; then the clock was set back."""
    world = Updated()
    world.run()
    first = world.start(max_per_instance_failures=1)
    world.end_killed()
    world.fail()
    world.client("rollback", first)
    world.roll(first)
    world.pass_s(100)
    world.roll(first)
    world.pass_s(50)
    assert world.state(first) == "ROLLED_BACK"
    world.turn_clock(-HOUR_S)
    second = world.start(max_per_instance_failures=1)
    world.end_killed()
    world = world.failover()
    world.pass_s(60)
    world.fail()
    assert world.state(second) == "ROLLING_FORWARD", "one failure is allowed, and this is the first"


def test_canaries() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, canary_count=1, canary_promote_after_ms=60_000)
    assert world.roll(update) == [[0]]
    world.turn_clock(-HOUR_S)
    world.pass_s(30)
    assert world.waits(update)[0][1] == "the canaries are watched for 60 s more", "as far as a reader can know"
    world.pass_s(31)
    assert world.events(update)[-1] == (1, "UPDATING")


def test_canaries_after_a_failover() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, canary_count=1, canary_promote_after_ms=60_000)
    assert world.roll(update) == [[0]]
    world.turn_clock(-HOUR_S)
    world = world.failover()
    world.pass_s(59)
    assert world.events(update)[-1] == (0, "UPDATED")
    world.pass_s(2)
    assert world.events(update)[-1] == (1, "UPDATING")


def test_a_canary_that_ended_is_remembered() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, canary_count=1, canary_promote_after_ms=60_000, max_failed_instances=3)
    assert world.roll(update) == [[0]]
    world.client("pause", update)
    world.turn_clock(-HOUR_S)
    world.status(world.task_of(0), "FAILED")
    world = world.failover()
    world.client("resume", update)
    assert world.state(update) == "ROLLING_BACK"


def test_what_counts_as_running_for_an_sla_policy() -> None:
    config = promising(18, 30)
    world = running(config)
    world.turn_clock(-HOUR_S)
    world.start(instances=20, config=config, sla_aware=True, update_group_size=2)
    assert sorted(world.end_killed()) == [0, 1]


def drained(**more: Any) -> World:
    """Both hosts are drained, within 90 s; one task may go at a time."""
    world = World(min_required_instances_for_sla_check=2, **more)
    world.command(SetQuota("www", Resources(10**6, 10**6, 10**6), "root"))
    world.run(instances=2, tier="preferred")
    drain(world, 1, 2, policy=PERCENT_95, timeout_s=90)
    world.taken()
    return world


def leaving(world: World) -> int:
    return sum(task.status.name == "DRAINING" for task in world.tasks())


def test_the_end_of_a_drain() -> None:
    world = drained()
    world.turn_clock(-HOUR_S)
    world.pass_s(80)
    assert leaving(world) < 2
    assert all(0 < left_ms <= 90_000 for left_ms in countdowns(world))
    world.pass_s(11)
    assert leaving(world) == 2


def test_the_end_of_a_drain_after_a_failover_is_at_most_the_whole_time_again() -> None:
    world = drained()
    world.pass_s(60)
    world.turn_clock(-HOUR_S)
    state = State()
    for change in changes_of(world.engine.state):
        state.apply(change)
    world = World(world.settings, state, world.now)
    world.pass_s(80)
    assert leaving(world) < 2
    world.pass_s(11)
    assert leaving(world) == 2


def countdowns(world: World) -> list[float]:
    found = world.engine.metrics()
    return [value for name, value in found.items() if name.startswith("maintenance_countdown")]


def test_what_a_coordinator_is_told_of_the_end_of_a_drain() -> None:
    world = World()
    world.command(SetQuota("www", Resources(10**6, 10**6, 10**6), "root"))
    world.run(instances=2, tier="preferred")
    drain(world, 1, policy=COORDINATOR, timeout_s=90)
    (asked,) = world.taken(AskCoordinator)
    assert asked.countdown_ms == 90_000
    world.turn_clock(-HOUR_S)
    world.handle(CoordinatorAnswered(asked.number, False, None))
    world.pass_s(61)
    (asked,) = world.taken(AskCoordinator)
    assert asked.countdown_ms == 30_000


def test_preemption() -> None:
    world = Full()
    (weak,) = world.fill()
    world.want()
    world.turn_clock(-HOUR_S)
    world.pass_s(300)
    assert world.preempted() == [weak.task_id]
    assert world.taken(Kill)
