"""A store that has no room: what could not be kept was never decided, and nothing of it is forgotten elsewhere."""

from __future__ import annotations

from scheduler.core.changes import PutFramework
from scheduler.core.commands import CreateJob
from scheduler.core.decision import Decision
from scheduler.core.engine import Engine
from scheduler.core.events import (
    AcceptInverseOffers,
    Decline,
    DeclineInverseOffers,
    Disconnected,
    DiskFull,
    DiskHasRoom,
    Elected,
    Event,
    InverseOffers,
    Launch,
    Now,
    Offers,
    Reconcile,
    Subscribed,
    Update,
    Woke,
)
from scheduler.model import Task
from tests.support.world import BEGIN, JOB, SETTINGS, World, job_of, offer
from thermos.formats.mesos_v1_scheduler import InverseOffer, Status, Unavailability
from thermos.mesos import MesosTaskState, Source

REGISTERED = Subscribed("fw-1", 15.0, "master:5050")


def tried(world: World, event: Event) -> tuple[Decision, Decision]:
    """What is decided about *event*, which the store has no room for; and what is left to do then."""
    decided = world.engine.handle(event, world.now)
    assert decided.changes
    world.engine.handle(DiskFull(), world.now)
    undone = world.engine.undo(world.now)
    assert undone.changes == ()
    world.engine.committed()
    return decided, undone


def declined(decision: Decision) -> list[str]:
    """Ids of the offers that Mesos is told that they are not used."""
    return sorted(
        offer_id for action in decision.actions if isinstance(action, Decline) for offer_id in action.offer_ids
    )


def kept_id(world: World) -> str | None:
    return world.engine.state.framework_id


def test_the_offer_of_a_launch_is_given_back() -> None:
    world = World()
    world.create()
    world.pass_s(3)
    one = offer()
    decided, undone = tried(world, Offers((one,)))
    assert [action for action in decided.actions if isinstance(action, Launch)]
    assert declined(undone) == [one.offer_id]
    assert len(world.engine.offers) == 0
    assert world.statuses() == ["PENDING"]
    world.handle(DiskHasRoom())
    world.offers(offer())
    world.pass_s(31)
    assert len(world.launched()) == 1


def test_so_are_those_that_were_just_declined_and_those_that_are_held() -> None:
    world = World()
    old, other, held = offer(1), offer(1), offer(2)
    world.offers(old, held)
    world.taken()
    decided, undone = tried(world, Offers((other, offer(3))))
    assert declined(decided) == [old.offer_id, other.offer_id]
    assert {old.offer_id, other.offer_id, held.offer_id} < set(declined(undone))


def test_an_offer_that_ran_out_in_that_turn_is_still_given_back() -> None:
    world = World()
    one = offer()
    world.offers(one)
    late = Now(world.now.wall_ms + 400_000, world.now.mono_s + 400.0)
    gone = world.engine.handle(Woke(), late)
    assert declined(gone) == [one.offer_id]
    world.engine.command(CreateJob(job_of(), "ann"), late)
    assert declined(world.engine.undo(late)) == [one.offer_id]


def test_an_inverse_offer_is_declined_so_that_mesos_asks_again() -> None:
    world = World()
    world.run()
    soon = Unavailability(world.now.wall_ms * 1_000_000, None)
    decided, undone = tried(world, InverseOffers((InverseOffer("i1", "agent-1", soon, {}),)))
    assert AcceptInverseOffers(("i1",)) in decided.actions
    assert undone.actions == (DeclineInverseOffers(("i1",)),)
    assert world.statuses() == ["RUNNING"]


def test_what_was_durable_before_is_not_given_back() -> None:
    world = World()
    world.create()
    world.pass_s(3)
    world.offers(offer())
    assert len(world.launched()) == 1
    world.engine.command(CreateJob(job_of(JOB._replace(name="other")), "ann"), world.now)
    assert world.engine.undo(world.now).actions == ()


def test_the_id_of_a_first_registration_is_kept_once_there_is_room() -> None:
    world = World.__new__(World)
    world.engine, world.now = Engine(SETTINGS, lambda: "u", lambda: 0.5), BEGIN
    world.engine.handle(Elected(), BEGIN)
    decided, _ = tried(world, REGISTERED)
    assert decided.changes == (PutFramework("fw-1"),)
    assert kept_id(world) is None
    again, _ = tried(world, DiskHasRoom())  # there was none after all
    assert PutFramework("fw-1") in again.changes
    assert kept_id(world) is None
    last = world.engine.handle(DiskHasRoom(), BEGIN)
    assert last.changes == (PutFramework("fw-1"),)
    assert kept_id(world) == "fw-1"
    assert world.engine.held == ()


def test_whatever_mesos_said_meanwhile_is_asked_for_again_once_there_is_room() -> None:
    world = World()
    (task,) = world.run()
    world.pass_s(600)
    world.status(task, "RUNNING")
    world.taken()
    # The master itself says so: once, and without an acknowledgement.
    tried(world, lost(task))
    assert world.statuses() == ["RUNNING"]
    world.pass_s(5)
    assert world.taken(Reconcile) == []
    again, _ = tried(world, DiskHasRoom())
    assert Reconcile(((task.task_id, "agent-1"),)) in again.actions
    world.handle(DiskHasRoom())
    assert world.taken(Reconcile) == [Reconcile(((task.task_id, "agent-1"),))]
    world.pass_s(6)
    assert world.taken(Reconcile) == [Reconcile(())]


def lost(task: Task) -> Update:
    """Its agent is gone, as the master says it."""
    return Update(
        Status(
            task_id=task.task_id, state=MesosTaskState.TASK_LOST, source=Source.SOURCE_MASTER, reason=None,
            message=None, agent_id=task.agent_id, executor_id=None, timestamp_s=None, uuid=None, healthy=None,
            labels=(), unreachable_time_ns=None, raw={},
        )
    )  # fmt: skip


def test_what_is_due_waits_for_room_and_is_not_tried_over_and_over() -> None:
    world = World()
    (task,) = world.run()
    world.status(task, "FAILED")
    assert world.statuses() == ["FAILED", "THROTTLED"]
    world.now = Now(world.now.wall_ms + 60_000, world.now.mono_s + 60.0)
    tried(world, Woke())
    assert world.statuses() == ["FAILED", "THROTTLED"]
    assert world.engine.wake_at_s is None
    assert world.engine.handle(Woke(), world.now).changes == ()
    world.engine.committed()
    world.handle(DiskHasRoom())
    world.pass_s(0.1)
    assert world.statuses() == ["FAILED", "PENDING"]


def test_while_mesos_is_away_nothing_is_asked_when_there_is_room() -> None:
    world = World()
    world.run()
    world.handle(Disconnected("gone"))
    world.handle(DiskFull())
    world.handle(DiskHasRoom())
    assert world.taken() == []
