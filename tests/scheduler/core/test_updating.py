"""Stories of updates: what clients and Mesos do goes in, what becomes of the job comes out."""

from __future__ import annotations

from tests.support.updates import Updated, batch, batches, only, settings


def test_a_queue_rolls_forward_one_after_the_other() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3)
    assert world.states(update) == ["ROLLING_FORWARD"]
    assert world.roll(update) == [[0], [1], [2]]
    assert world.state(update) == "ROLLED_FORWARD"
    assert world.events(update) == [
        (0, "UPDATING"), (0, "UPDATED"), (1, "UPDATING"), (1, "UPDATED"), (2, "UPDATING"), (2, "UPDATED"),
    ]  # fmt: skip
    assert world.configs() == {0: 7, 1: 7, 2: 7}


def test_it_rolls_back_to_exactly_what_was() -> None:
    world = Updated()
    before = {task.instance: task.config for task in world.run(instances=3)}
    update = world.start(instances=3)
    world.end_killed()
    (new,) = world.place()
    world.healthy(new)
    world.end_killed()
    (bad,) = world.place()
    world.status(bad, "FAILED")
    assert world.states(update) == ["ROLLING_FORWARD", "ROLLING_BACK"]
    world.roll(update)
    assert world.state(update) == "ROLLED_BACK"
    assert {task.instance: task.config for task in world.tasks()} == before
    assert world.events(update) == [
        (0, "UPDATING"), (0, "UPDATED"), (1, "UPDATING"), (1, "UPDATE_FAILED"), (1, "ROLLING_BACK"),
        (1, "ROLLED_BACK"), (0, "ROLLING_BACK"), (0, "ROLLED_BACK"),
    ]  # fmt: skip
