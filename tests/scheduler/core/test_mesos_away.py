"""Mesos is not heard, or does not want us: nothing is launched, nobody is given up, and all is asked for again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scheduler.core.changes import PutQuota
from scheduler.core.commands import DrainHosts, RestartShards
from scheduler.core.events import Disconnected, Kill, MasterError, Subscribed
from scheduler.model import JobKey, Resources, Task
from tests.support.world import JOB, World, offer
from thermos.formats.assigned_task import PartitionPolicy
from thermos.formats.aurora_api import ResponseCode

AWAY = Disconnected("the master is gone")
BACK = Subscribed("fw-1", 15.0, "master:5050")
#: Longer than any time-out of a state.
LONG_S = 3600.0


def assigned(world: World) -> Task:
    world.create()
    world.offers(offer())
    world.pass_s(0.1)
    return world.task()


def restarting(world: World) -> Task:
    world.run()
    assert world.command(RestartShards(JOB, frozenset({0}), "ann")).code is ResponseCode.OK
    return world.task()


def killing(world: World) -> Task:
    world.run()
    world.kill()
    return world.task()


def draining(world: World) -> Task:
    world.run()
    assert world.command(DrainHosts(frozenset({"host-1"}), "ann", None, 0)).code is ResponseCode.OK
    return world.task()


def preempting(world: World) -> Task:
    """Alone on its host, in the way of what matters more."""
    world.create(tier="preemptible")
    world.offers(offer(cpus=1.5))
    world.pass_s(0.1)
    world.status(world.task(), "RUNNING")
    world.engine.state.apply(PutQuota("db", Resources(10**6, 10**6, 10**6)))
    world.create(JobKey("db", "prod", "strong"), tier="preferred")
    while world.task().status.name == "RUNNING" and world.now.mono_s < 2000:
        world.pass_s(1)
    return world.task()


STATES: list[tuple[Callable[[World], Task], str, bool]] = [
    (assigned, "ASSIGNED", False),
    (restarting, "RESTARTING", True),
    (killing, "KILLING", True),
    (draining, "DRAINING", True),
    (preempting, "PREEMPTING", True),
]
each_state = pytest.mark.parametrize(("bring", "state", "is_killed"), STATES, ids=[state for _, state, _ in STATES])


def status(world: World, task: Task) -> str:
    return world.engine.state.tasks[task.task_id].status.name


def successors(world: World, task: Task) -> list[Task]:
    return [one for one in world.engine.state.tasks.values() if one.ancestor_id == task.task_id]


@each_state
def test_of_whom_nothing_is_heard_for_five_minutes_is_lost(
    bring: Callable[[World], Task], state: str, is_killed: bool
) -> None:
    world = World()
    task = bring(world)
    assert task.status.name == state
    world.pass_s(299)
    assert status(world, task) == state
    world.pass_s(2)
    assert status(world, task) == "LOST"
    event = world.engine.state.tasks[task.task_id].events[-1]
    assert event.message == f"Was {state} for too long: Mesos did not say what became of it"
    assert world.engine.metrics()["timed_out_tasks"] == 1
    assert len(successors(world, task)) == (state != "KILLING")
    world.taken()
    world.status(task, "RUNNING")  # it lives after all
    assert world.taken(Kill) == [Kill(task.task_id, "agent-1")]


@each_state
def test_while_mesos_is_not_heard_nobody_is_given_up(
    bring: Callable[[World], Task], state: str, is_killed: bool
) -> None:
    world = World()
    task = bring(world)
    world.handle(AWAY)
    world.taken()
    world.pass_s(LONG_S)
    assert status(world, task) == state
    assert successors(world, task) == []
    assert world.taken() == [], "there is nobody who would hear it"
    world.handle(BACK)
    world.taken()
    world.pass_s(16)
    assert world.taken(Kill) == [Kill(task.task_id, "agent-1")] * is_killed, "the one of before may not have come there"
    world.pass_s(280)
    assert status(world, task) == state
    world.pass_s(5)
    assert status(world, task) == "LOST", "counted from the moment from which it could be heard"


def test_nobody_is_given_up_by_a_scheduler_that_finds_no_master() -> None:
    before = World()
    task = killing(before)
    after = World(state=before.engine.state)
    after.handle(AWAY)
    after.pass_s(LONG_S)
    assert after.statuses() == ["KILLING"]
    after.handle(BACK)
    after.status(task, "KILLED")
    assert after.statuses() == ["KILLED"]


def test_a_partition_is_not_over_because_mesos_was_away() -> None:
    world = World()
    (task,) = world.run(partition_policy=PartitionPolicy(True, 60))
    world.status(task, "UNREACHABLE")
    world.handle(AWAY)
    world.pass_s(LONG_S)
    assert world.statuses() == ["PARTITIONED"]
    world.handle(BACK)
    world.pass_s(5)
    world.status(task, "RUNNING", "its agent has come back")
    world.pass_s(LONG_S)
    assert world.statuses() == ["RUNNING"]


def test_a_partition_is_over_when_mesos_is_back_and_the_agent_is_not() -> None:
    world = World()
    (task,) = world.run(partition_policy=PartitionPolicy(True, 60))
    world.status(task, "UNREACHABLE")
    world.handle(AWAY)
    world.pass_s(LONG_S)
    world.handle(BACK)
    world.pass_s(60)
    assert world.statuses() == ["LOST", "PENDING"]


def test_a_framework_that_mesos_refuses_launches_nothing_and_says_so() -> None:
    world = World()
    world.offers(offer())
    assert world.engine.metrics()["framework_registered"] == 1
    world.handle(MasterError("Framework has been removed"))
    assert world.engine.metrics()["framework_registered"] == 0
    assert world.engine.metrics()["master_errors"] == 1
    assert len(world.engine.offers) == 0
    world.taken()
    world.create()
    world.offers(offer(2))  # on its way already
    world.pass_s(LONG_S)
    assert world.statuses() == ["PENDING"]
    assert world.launched() == []
    why = "Mesos refuses this scheduler: Framework has been removed"
    assert world.engine.held == (why, "The scheduler has no connection to Mesos")
    assert world.engine.pending_reasons() == {world.task().task_id: why}


def test_one_that_is_wanted_again_goes_on() -> None:
    world = World()
    world.handle(MasterError("Framework failed over"))
    world.handle(BACK)
    assert world.engine.held == ()
    assert world.engine.metrics()["framework_registered"] == 1
    world.create()
    world.offers(offer())
    world.pass_s(1)
    assert len(world.launched()) == 1
