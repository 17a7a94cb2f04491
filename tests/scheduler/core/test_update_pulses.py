"""Pulses beside other waits: none makes an update forget what else it waits for."""

from __future__ import annotations

from tests.support.updates import Updated


def beat(world: Updated, update: str, seconds: int, every_s: int = 5) -> None:
    """A pulse every few seconds, for so long."""
    for _ in range(seconds // every_s):
        world.pass_s(every_s)
        world.pulse(update)


def test_canaries_are_promoted_while_pulses_arrive() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(
        instances=3, canary_count=1, canary_promote_after_ms=60_000, block_if_no_pulses_after_ms=10_000
    )
    world.pulse(update)
    world.end_killed()
    world.healthy(*world.place())
    assert world.events(update) == [(0, "UPDATING"), (0, "UPDATED")]
    beat(world, update, 65)
    assert world.state(update) == "ROLLING_FORWARD"
    assert world.events(update)[-1] == (1, "UPDATING")


def test_a_pulse_right_after_a_failover_does_not_keep_the_update_from_going_on() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, min_wait_in_instance_running_ms=30_000, block_if_no_pulses_after_ms=10_000)
    world.pulse(update)
    world.end_killed()
    world.healthy(*world.place())
    world = world.failover()
    world.pass_s(0.5)
    world.pulse(update)
    beat(world, update, 40)
    assert world.state(update) == "ROLLING_FORWARD"
    assert world.events(update)[1:] == [(0, "UPDATED"), (1, "UPDATING")]


def test_a_pulse_that_does_not_come_is_missed_while_canaries_are_watched() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(
        instances=3, canary_count=1, canary_promote_after_ms=60_000, block_if_no_pulses_after_ms=10_000
    )
    world.pulse(update)
    world.end_killed()
    world.healthy(*world.place())
    beat(world, update, 20)
    world.pass_s(11)
    assert world.state(update) == "ROLL_FORWARD_AWAITING_PULSE"
    world.pass_s(60)
    assert world.events(update)[-1] == (0, "UPDATED"), "without a pulse nothing begins"
    world.pulse(update)
    assert world.events(update)[-1] == (1, "UPDATING"), "the canaries were watched for long enough meanwhile"
