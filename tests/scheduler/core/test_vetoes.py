"""What attempts came to grief on is counted under Aurora's names: of the agent that came nearest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.world import World, offer
from thermos.formats import assigned_task as wire


def limited(name: str, limit: int) -> wire.Constraint:
    return wire.Constraint(name, wire.TaskConstraint(limit=wire.LimitConstraint(limit)))


def valued(name: str, *values: str) -> wire.Constraint:
    return wire.Constraint(name, wire.TaskConstraint(value=wire.ValueConstraint(False, values)))


def vetoes(world: World) -> dict[str, float]:
    figures = world.engine.metrics().items()
    return {name.removeprefix("scheduling_veto_"): value for name, value in figures if "_veto_" in name and value}


@pytest.mark.parametrize(
    "there, wanted, what",
    [
        (offer(cpus=0.1), {}, {"insufficient_resources": 1, "static": 1}),
        (offer(cpus=0.1, ram_mb=1), {}, {"insufficient_resources": 2, "static": 1}),
        (offer(attributes=(("rack", "a"),)), {"constraints": (valued("rack", "b"),)},
         {"constraint_mismatch": 1, "static": 1}),
        (offer(attributes=(("rack", "a"),)), {"constraints": (limited("rack", 0),)},
         {"limit_not_satisfied": 1, "dynamic": 1}),
        (offer(attributes=(("dedicated", "www/x"),)), {}, {"dedicated_constraint_mismatch": 1, "static": 1}),
    ],
)  # fmt: skip
def test_one_attempt(there: Any, wanted: dict[str, Any], what: dict[str, float]) -> None:
    world = World()
    assert vetoes(world) == {}
    world.offers(there)
    world.create(**wanted)
    world.pass_s(0.5)
    assert vetoes(world) == what
    assert world.engine.metrics()["schedule_attempts_no_match"] == 1


def test_an_attempt_that_places_all_counts_nothing() -> None:
    world = World()
    world.offers(offer())
    world.create()
    world.pass_s(0.5)
    assert world.launched() and vetoes(world) == {}


def test_names_are_there_from_the_start() -> None:
    names = {name for name in World().engine.metrics() if name.startswith("scheduling_veto_")}
    assert {name.removeprefix("scheduling_veto_") for name in names} == {
        "constraint_mismatch", "dedicated_constraint_mismatch", "dynamic", "insufficient_resources",
        "limit_not_satisfied", "maintenance", "mixed", "reserved", "static",
    }  # fmt: skip


def test_moves_that_may_not_be_are_counted_under_auroras_name() -> None:
    world = World()
    (task,) = world.run()
    assert "illegal_task_state_transitions" not in world.engine.metrics()
    world.status(task, "STARTING")
    assert world.engine.metrics()["illegal_task_state_transitions"] == 1
