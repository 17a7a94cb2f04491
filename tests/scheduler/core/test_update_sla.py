"""SLA-aware updates: the promise holds at every moment, the asking gets rarer, and time that is waited for others does
not count as the instance's."""

from __future__ import annotations

import pytest

from scheduler.core.commands import DrainHosts
from scheduler.core.events import AskCoordinator, CoordinatorAnswered
from tests.support.updates import Updated, promising, running
from thermos.formats.assigned_task import CoordinatorSlaPolicy, SlaPolicy
from thermos.formats.aurora_api import JobUpdateAction


def failed(world: Updated, update: str) -> list[tuple[int | None, str | None]]:
    return [
        (event.instance_id, event.message)
        for event in world.details(update).instance_events or ()
        if event.action in (JobUpdateAction.INSTANCE_UPDATE_FAILED, JobUpdateAction.INSTANCE_ROLLBACK_FAILED)
    ]


def lasting(world: Updated, duration_s: int) -> int:
    before_ms = world.now.wall_ms - duration_s * 1000
    return sum(task.status.name == "RUNNING" and task.changed_at_ms < before_ms for task in world.tasks())


@pytest.mark.parametrize("is_drained", [False, True])
def test_a_task_that_leaves_within_the_same_millisecond_counts_no_longer(is_drained: bool) -> None:
    config = promising(16, 30)
    world = running(config)
    update = world.start(instances=20, config=config, sla_aware=True, update_group_size=2)
    assert sorted(world.end_killed()) == [0, 1]
    first, second = sorted(world.place(), key=lambda task: task.instance)
    world.pass_s(1)
    world.healthy(first)
    assert world.task_of(2).status.name == "KILLING", "17 others have run for long enough"
    if is_drained:
        world.command(DrainHosts(frozenset({world.task_of(10).host or ""}), "ann"))
    else:
        world.status(world.task_of(10), "FAILED")
    assert lasting(world, 30) == 16
    world.healthy(second)
    assert world.events(update)[-1] == (3, "UPDATING")
    assert world.task_of(3).status.name == "RUNNING"
    assert lasting(world, 30) == 16


def test_asking_gets_rarer_up_to_a_limit() -> None:
    config = {
        "tier": "preferred",
        "sla_policy": SlaPolicy(coordinator_sla_policy=CoordinatorSlaPolicy("http://sla", "go")),
    }
    world = running(config, instances=1)
    world.start(config=config, sla_aware=True)
    gaps_s = []
    for _ in range(6):
        (asked,) = world.taken(AskCoordinator)
        world.handle(CoordinatorAnswered(asked.number, False, None))
        begin_s = world.now.mono_s
        while not any(isinstance(action, AskCoordinator) for action in world.actions):
            assert world.now.mono_s - begin_s < 1000
            world.pass_s(1)
        gaps_s.append(round(world.now.mono_s - begin_s))
    assert gaps_s == [60, 120, 240, 300, 300, 300]


def test_the_way_back_keeps_the_promise_that_comes_back() -> None:
    """Forward nothing was promised; what was there before promised that 19 run."""
    old, new = promising(19), promising(0)
    world = running(old)
    update = world.start(
        instances=20, config=new, sla_aware=True, update_group_size=5, min_wait_in_instance_running_ms=600_000
    )
    assert len(world.end_killed()) == 5
    world.healthy(*world.place())
    world.pass_s(1)
    world.client("rollback", update)
    assert len(world.end_killed()) == 1


def test_forward_the_promise_that_comes_counts() -> None:
    old, new = promising(0), promising(19)
    world = running(old)
    world.start(instances=20, config=new, sla_aware=True, update_group_size=5)
    assert len(world.end_killed()) == 1


# -- the deadline of an instance ---------------------------------------------------------------------------------------


def test_what_an_sla_policy_forbids_does_not_use_up_the_deadline() -> None:
    config = promising(19)
    world = running(config)
    update = world.start(instances=20, config=config, sla_aware=True, update_group_size=5, progress_deadline_ms=300_000)
    for _ in range(400):
        world.end_killed()
        world.healthy(*world.place())
        world.pass_s(5)
        if world.state(update) != "ROLLING_FORWARD":
            break
    assert failed(world, update) == []
    assert world.state(update) == "ROLLED_FORWARD"


def test_a_pause_does_not_use_up_the_deadline() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, progress_deadline_ms=120_000)
    world.end_killed()
    world.pass_s(60)
    world.client("pause", update)
    world.pass_s(3600)
    assert failed(world, update) == []
    world.client("resume", update)
    world.pass_s(59)
    assert failed(world, update) == []
    world.pass_s(2)
    assert failed(world, update) == [(0, "it was not updated within 120 s: its task waits for room on an agent")]


def test_the_deadline_is_not_waited_for_anew_after_a_failover_nor_is_the_pause_counted() -> None:
    world = Updated()
    world.run()
    update = world.start(progress_deadline_ms=120_000)
    world.end_killed()
    world.pass_s(60)
    world.client("pause", update)
    world.pass_s(3600)
    world = world.failover()
    world.client("resume", update)
    world.pass_s(59)
    assert failed(world, update) == []
    world.pass_s(2)
    assert failed(world, update) == [(0, "it was not updated within 120 s: its task waits for room on an agent")]


def test_the_way_back_has_no_deadline() -> None:
    world = Updated()
    world.run()
    update = world.start(progress_deadline_ms=30_000)
    world.end_killed()
    world.pass_s(31)
    assert world.state(update) == "ROLLING_BACK"
    world.pass_s(3600)
    assert world.state(update) == "ROLLING_BACK"
    world.roll(update)
    assert world.state(update) == "ROLLED_BACK"
    assert world.task().config.priority == 0


def test_an_instance_whose_old_task_does_not_end_in_time_gets_its_new_one_all_the_same() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, progress_deadline_ms=30_000, max_failed_instances=1)
    world.pass_s(60)
    assert world.task_of(0).status.name == "KILLING"
    assert world.end_killed() != []
    assert 0 in world.configs(), "nobody but the update would create it"
    assert world.events(update)[1] == (0, "UPDATE_FAILED")
