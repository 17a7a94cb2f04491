"""Hosts are kept as long as they have to do with us."""

from __future__ import annotations

from scheduler.core.changes import DropHost
from scheduler.core.commands import StartMaintenance
from scheduler.core.events import Disconnected, DiskFull, DiskHasRoom, Subscribed, Woke
from tests.support.world import BEGIN, JOB, World, offer

DAY_S = 86400.0
BACK = Subscribed("fw-1", 15.0, "master:5050")


def hosts(world: World) -> list[str]:
    return sorted(world.engine.state.hosts)


def test_a_host_that_is_not_offered_for_a_week_is_forgotten() -> None:
    world = World()
    world.offers(offer(1), offer(2))
    world.pass_s(6 * DAY_S)
    world.offers(offer(2))
    assert hosts(world) == ["host-1", "host-2"]
    world.pass_s(1.1 * DAY_S)
    assert hosts(world) == ["host-2"]
    assert world.changes.count(DropHost("host-1")) == 1
    assert world.engine.metrics()["hosts_forgotten"] == 1
    assert len(list(world.engine.offers)) == 0
    world.offers(offer(1))
    assert hosts(world) == ["host-1", "host-2"]


def test_one_whose_offer_is_held_is_not() -> None:
    world = World(hold_offers_forever=True)
    world.offers(offer(1), one := offer(2))
    world.pass_s(8 * DAY_S)
    assert hosts(world) == ["host-1", "host-2"]
    world.engine.offers.rescind(one.offer_id)
    world.pass_s(6 * DAY_S)
    assert hosts(world) == ["host-1", "host-2"], "it was offered until now"
    world.pass_s(2 * DAY_S)
    assert hosts(world) == ["host-1"]


def test_nor_one_that_has_a_task_or_had_one_that_is_still_shown() -> None:
    world = World(hold_offers_forever=True)
    (task,) = world.run(is_service=False)
    world.pass_s(8 * DAY_S)
    world.status(task, "FINISHED")
    world.pass_s(1 * DAY_S)
    assert world.statuses(JOB) == ["FINISHED"]
    assert hosts(world) == ["host-1"]
    world.pass_s(2 * DAY_S)
    assert world.statuses(JOB) == []
    assert hosts(world) == []


def test_nor_one_that_somebody_keeps_from_use() -> None:
    world = World()
    world.offers(offer(1), offer(2))
    world.command(StartMaintenance(frozenset({"host-1"}), "ann"))
    world.pass_s(9 * DAY_S)
    assert hosts(world) == ["host-1"]


def test_while_mesos_is_away_and_for_a_week_after_it_nobody_is_forgotten() -> None:
    world = World()
    world.offers(offer(1))
    world.handle(Disconnected("gone"))
    world.pass_s(9 * DAY_S)
    assert hosts(world) == ["host-1"]
    world.handle(BACK)
    world.pass_s(6.9 * DAY_S)
    assert hosts(world) == ["host-1"]
    world.pass_s(0.2 * DAY_S)
    assert hosts(world) == []


def test_a_start_counts_from_then() -> None:
    before = World()
    before.offers(offer(1))
    before.pass_s(5 * DAY_S)
    after = World(state=before.engine.state, now=before.now)
    after.pass_s(5 * DAY_S)
    assert hosts(after) == ["host-1"]
    after.pass_s(2.1 * DAY_S)
    assert hosts(after) == []


def test_what_cannot_be_forgotten_for_want_of_room_is_forgotten_later() -> None:
    world = World()
    world.offers(offer(1))
    is_forgotten = False
    while not is_forgotten:
        assert world.engine.wake_at_s is not None
        assert world.now.mono_s < BEGIN.mono_s + 9 * DAY_S
        world._set_time(max(world.engine.wake_at_s, world.now.mono_s))
        world.engine.committed()
        is_forgotten = DropHost("host-1") in world.engine.handle(Woke(), world.now).changes
    world.engine.handle(DiskFull(), world.now)
    world.engine.undo(world.now)
    world.engine.committed()
    assert hosts(world) == ["host-1"]
    world.handle(DiskHasRoom())
    world.pass_s(3700)
    assert hosts(world) == []
