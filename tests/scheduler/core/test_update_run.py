"""An update that was kept is taken up where it was, also as Aurora and our first stores wrote it: without the fields of
ours that say in numbers what they left to words and times."""

from __future__ import annotations

import pytest

from scheduler.core.changes import PutUpdate
from scheduler.core.updates import AUTO_PAUSED
from tests.support.updates import Updated, batches
from tests.support.world import JOB
from thermos.formats.aurora_api import (
    JOB_INSTANCE_UPDATE_EVENT,
    JOB_UPDATE_EVENT,
    JobInstanceUpdateEvent,
    JobUpdateAction,
    JobUpdateEvent,
    JobUpdateStatus,
    UpdatePause,
)
from thermos.formats.thrift_binary import decode_struct, encode_struct


def as_before(world: Updated, update: str) -> Updated:
    """Another scheduler, with the update as it was written before."""
    details = world.details(update)
    events = tuple(event._replace(pause=None) for event in details.update_events or ())
    of_instances = tuple(event._replace(failed_before=None) for event in details.instance_events or ())
    world.engine.state.apply(
        PutUpdate(JOB, update, details._replace(update_events=events, instance_events=of_instances))
    )
    return world.failover()


def test_variable_batches_pause_of_themselves() -> None:
    world = Updated()
    world.run(instances=6)
    update = world.start(instances=6, update_strategy=batches(1, 2, is_autopaused=True))
    for group in ([0], [1, 2], [3, 4], [5]):
        assert world.roll(update) == [group]
        if group != [5]:
            event = (world.details(update).update_events or ())[-1]
            assert (str(event.status), event.message, event.user, event.pause) == (
                "ROLL_FORWARD_PAUSED", AUTO_PAUSED, None, UpdatePause.GROUP_DONE,
            )  # fmt: skip
            world.client("resume", update)
    assert world.state(update) == "ROLLED_FORWARD"


@pytest.mark.parametrize("is_old", [False, True])
def test_a_pause_of_its_own_is_told_from_one_that_was_asked_for(is_old: bool) -> None:
    world = Updated()
    world.run(instances=4)
    update = world.start(instances=4, update_strategy=batches(1, is_autopaused=True))
    world.client("pause", update, AUTO_PAUSED)
    world.client("resume", update)
    assert world.roll(update) == [[0]]
    world.client("resume", update)
    world = as_before(world, update) if is_old else world.failover()
    world.pass_s(20)
    assert world.roll(update) == [[1]]
    assert world.state(update) == "ROLL_FORWARD_PAUSED", "the pause that was asked for is none of its own"


@pytest.mark.parametrize("is_old", [False, True])
def test_canaries_are_waited_for_once(is_old: bool) -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, canary_count=1)
    assert world.roll(update) == [[0]]
    assert (world.details(update).update_events or ())[-1].pause is UpdatePause.CANARIES_DONE
    world = as_before(world, update) if is_old else world.failover()
    world.client("resume", update)
    assert world.roll(update) == [[1], [2]]
    assert world.state(update) == "ROLLED_FORWARD"


def test_old_records_tell_failures_by_their_times() -> None:
    world = Updated()
    world.run()
    first = world.start(max_per_instance_failures=1)
    world.end_killed()
    world.fail()
    world.client("rollback", first)
    world.pass_s(100)
    world.roll(first)
    world.pass_s(50)
    assert world.state(first) == "ROLLED_BACK"
    second = world.start(max_per_instance_failures=1)
    world.end_killed()
    world = as_before(world, second)
    world.pass_s(60)
    world.fail()
    assert world.state(second) == "ROLLING_FORWARD", "what failed before does not count"
    world = as_before(world, second)
    world.pass_s(100)
    world.fail()
    assert world.state(second) == "ROLLING_BACK", "what failed since does"


@pytest.mark.parametrize("fails", [False, True])
def test_old_records_tell_by_their_times_whether_a_canary_failed(fails: bool) -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, canary_count=1, canary_promote_after_ms=60_000, max_per_instance_failures=1)
    world.end_killed()
    world.fail()
    world.pass_s(60)
    world.healthy(*world.place())
    assert world.events(update) == [(0, "UPDATING"), (0, "UPDATED")]
    world.client("pause", update)
    world.pass_s(1)
    if fails:
        world.status(world.task_of(0), "FAILED")
    world = as_before(world, update)
    world.client("resume", update)
    assert world.state(update) == ("ROLLING_BACK" if fails else "ROLLING_FORWARD")


def test_what_is_kept_says_so_in_fields_that_old_records_lack() -> None:
    pause = JobUpdateEvent(JobUpdateStatus.ROLL_FORWARD_PAUSED, 5, None, AUTO_PAUSED, UpdatePause.GROUP_DONE)
    begun = JobInstanceUpdateEvent(0, 5, JobUpdateAction.INSTANCE_UPDATING, None, ("t-1",))
    for struct, event, name in (
        (JOB_UPDATE_EVENT, pause, "pause"),
        (JOB_INSTANCE_UPDATE_EVENT, begun, "failed_before"),
    ):
        data = encode_struct(struct, event)
        assert decode_struct(struct, data, 0) == (event, len(data))
        old = event._replace(**{name: None})
        written = encode_struct(struct, old)
        assert data.startswith(written[:-1]), "a field at the end, and else nothing"
        assert decode_struct(struct, written, 0)[0] == old


def test_words_can_be_changed() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, update_strategy=batches(1, is_autopaused=True))
    assert world.roll(update) == [[0]]
    details = world.details(update)
    events = tuple(event._replace(message="other words") for event in details.update_events or ())
    world.engine.state.apply(PutUpdate(JOB, update, details._replace(update_events=events)))
    world = world.failover()
    world.client("resume", update)
    assert world.roll(update) == [[1]]
