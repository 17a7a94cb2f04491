"""Somebody sets the clock back by an hour: whatever waits, waits no longer than it should."""

from __future__ import annotations

import pytest

from scheduler.core.commands import SetQuota
from scheduler.core.events import Kill
from scheduler.model import Resources
from tests.scheduler.core.test_maintenance import PERCENT_95, drain, killed
from tests.scheduler.core.test_preempting import Full
from tests.scheduler.core.test_update_sla import promising, running
from tests.support.updates import Updated
from tests.support.world import World

HOUR_S = 3600


def test_a_time_to_run() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, min_wait_in_instance_running_ms=10_000)
    world.end_killed()
    world.healthy(*world.place())
    world.turn_clock(-HOUR_S)
    world.pass_s(11)
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


def test_the_end_of_a_drain() -> None:
    world = World(min_required_instances_for_sla_check=2)
    world.command(SetQuota("www", Resources(10**6, 10**6, 10**6), "root"))
    world.run(instances=2, tier="preferred")
    drain(world, 1, policy=PERCENT_95, timeout_s=90)
    drain(world, 2, policy=PERCENT_95, timeout_s=90)
    world.taken()
    world.turn_clock(-HOUR_S)
    world.pass_s(91)
    assert len(killed(world)) >= 1
    assert world.engine.state.hosts["host-1"].mode
    world.pass_s(1)
    assert all(task.status.name == "DRAINING" for task in world.tasks() if task.host)


def test_preemption() -> None:
    world = Full()
    (weak,) = world.fill()
    world.want()
    world.turn_clock(-HOUR_S)
    world.pass_s(300)
    assert world.preempted() == [weak.task_id]
    assert world.taken(Kill)
