"""An abort leaves everything as it is, and loses no instance."""

from __future__ import annotations

import pytest

from scheduler.core.commands import StartJobUpdate
from tests.support.updates import Updated, only, request
from thermos.formats.aurora_api import ResponseCode


def test_nothing_is_under_way() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2)
    world.end_killed()
    world.place()
    answer = world.client("abort", update)
    assert (answer.code, answer.messages) == (ResponseCode.OK, ())
    assert world.state(update) == "ABORTED"


@pytest.mark.parametrize("fails_over", [False, True])
def test_an_instance_whose_old_task_is_being_killed_comes_back(fails_over: bool) -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, update_group_size=2)
    answer = world.client("abort", update, "wrong version")
    assert answer.code is ResponseCode.OK
    assert answer.messages == (
        f"The update {update} of www/prod/web is being aborted: it ends when these instances are back, "
        "whose old tasks are being killed: 0, 1",
    )
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    for verb in ("abort", "resume", "pause", "rollback"):
        assert "is being aborted" in world.client(verb, update).messages[0]
    if fails_over:
        world = world.failover()
        world.pass_s(20)
        assert world.state(update) == "ROLL_FORWARD_PAUSED"
    first, second = world.task_of(0), world.task_of(1)
    world.status(first, "KILLED")
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    world.status(second, "KILLED")
    assert world.states(update) == ["ROLLING_FORWARD", "ROLL_FORWARD_PAUSED", "ABORTED"]
    assert world.configs() == {0: 7, 1: 7, 2: 0}
    last = (world.details(update).update_events or ())[-1]
    assert (last.user, last.message) == ("bob", "wrong version")


def test_on_the_way_back_it_comes_back_as_it_was() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, min_wait_in_instance_running_ms=600_000)
    world.end_killed()
    world.healthy(*world.place())
    world.client("rollback", update)
    world.client("pause", update)
    world.client("abort", update)
    assert world.states(update)[-2:] == ["ROLL_BACK_PAUSED", "ROLL_BACK_PAUSED"]
    assert world.end_killed() == [0]
    assert world.state(update) == "ABORTED"
    assert world.configs() == {0: 0, 1: 0}


def test_an_instance_that_is_not_to_be_there_is_not_waited_for() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=1, config={"priority": 0})
    assert world.task_of(1).status.name == "KILLING"
    world.client("abort", update)
    assert world.state(update) == "ABORTED"


def aborting(instances: int = 3) -> tuple[Updated, str]:
    """One whose instances 0 and 1 are waited for."""
    world = Updated()
    world.run(instances=instances)
    update = world.start(instances=instances, update_group_size=2)
    world.client("abort", update)
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    return world, update


def test_another_update_that_changes_what_is_waited_for_begins_at_once() -> None:
    world, update = aborting()
    other = world.start(instances=3, config={"priority": 8})
    assert world.state(update) == "ABORTED"
    world.end_killed()
    world.roll(other)
    assert world.state(other) == "ROLLED_FORWARD"
    assert world.configs() == {0: 8, 1: 8, 2: 8}


@pytest.mark.parametrize(
    ("priority", "instances"), [(8, (0, 2)), (0, (0, 1, 2))], ids=["leaves one alone", "takes them for unchanged"]
)
def test_another_update_that_does_not_waits_its_turn(priority: int, instances: tuple[int, ...]) -> None:
    world, update = aborting()
    asked = request(3, config={"priority": priority}, update_only_these_instances=only(*instances))
    answer = world.command(StartJobUpdate(asked, None, "ann"))
    assert answer.code is ResponseCode.INVALID_REQUEST
    assert f"is being updated already, by ann (update {update}, ROLL_FORWARD_PAUSED)" in answer.messages[0]
    world.end_killed()
    assert world.configs() == {0: 7, 1: 7, 2: 0}
    assert world.command(StartJobUpdate(asked, None, "ann")).code is ResponseCode.OK


@pytest.mark.parametrize("instances", [None, frozenset({0, 1})])
def test_whoever_kills_what_is_waited_for_gets_it_killed(instances: frozenset[int] | None) -> None:
    world, update = aborting()
    assert world.kill(instances=instances).code is ResponseCode.OK
    assert world.states(update) == ["ROLLING_FORWARD", "ROLL_FORWARD_PAUSED", "ABORTED"]
    world.end_killed()
    assert world.configs() == ({2: 0} if instances else {})
    assert world.engine.metrics()["update_transition_ABORTED"] == 1
    assert "is over (ABORTED)" in world.client("abort", update).messages[0]


def test_whoever_kills_others_waits() -> None:
    world, update = aborting()
    assert world.kill(instances=frozenset({0, 2})).code is ResponseCode.JOB_UPDATING_ERROR
    assert world.state(update) == "ROLL_FORWARD_PAUSED"


def test_what_an_abort_waits_for_is_told() -> None:
    world, update = aborting()
    held = "the update is aborted when these instances are back, whose old tasks are being killed: 0, 1"
    assert world.waits(update)[0][1].endswith(held)
