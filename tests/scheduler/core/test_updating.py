"""Stories of updates: what clients and Mesos do goes in, what becomes of the job comes out."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.core.changes import PutUpdate
from scheduler.core.commands import SetQuota
from scheduler.core.events import AskCoordinator, CoordinatorAnswered, Kill
from scheduler.core.updates import CANARIES_DONE
from scheduler.model import Health, Resources
from scheduler.states import ScheduleStatus
from tests.support.updates import HEALTHY, Updated, batch, batches, only
from tests.support.world import JOB
from thermos.formats.assigned_task import CoordinatorSlaPolicy, CountSlaPolicy, Resource, SlaPolicy
from thermos.formats.aurora_api import ResponseCode
from thermos.mesos import HEALTH_LABEL, Reason


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


@pytest.mark.parametrize("what, ran", [("GONE", False), ("UNKNOWN", False), ("UNREACHABLE", True)])
def test_a_lost_launch_and_a_lost_agent_are_no_fault_of_the_new_version(what: str, ran: bool) -> None:
    """A scheduler that is killed between a decision and its call has launched nothing; it hears so when it is back."""
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, min_wait_in_instance_running_ms=5000)
    world.end_killed()
    (new,) = world.place()
    if ran:
        world.healthy(new)
    world.status(new, what, reason=Reason.REASON_RECONCILIATION)
    world.pass_s(0.1)
    assert world.state(update) == "ROLLING_FORWARD"
    assert world.statuses()[-2:] == ["LOST", "ASSIGNED"], "another one is launched at once"
    world = world.failover()
    assert world.state(update) == "ROLLING_FORWARD"
    for _ in range(3):
        world.roll(update, 5)
        world.pass_s(6)
    assert world.state(update) == "ROLLED_FORWARD"
    assert (0, "UPDATE_FAILED") not in world.events(update)
    assert world.configs() == {0: 7, 1: 7}


# -- how many at once --------------------------------------------------------------------------------------------------


def test_a_queue_keeps_so_many_under_way() -> None:
    world = Updated()
    world.run(instances=4)
    update = world.start(instances=4, update_group_size=2)
    assert sorted(world.end_killed()) == [0, 1]
    first, second = world.place()
    world.healthy(second)
    assert world.end_killed() == [2], "one is done, so the next one begins"
    assert world.task_of(0).status is ScheduleStatus.ASSIGNED
    world.healthy(first)
    world.roll(update)
    assert world.state(update) == "ROLLED_FORWARD"


def test_a_batch_waits_for_all_of_it() -> None:
    for more in ({"update_strategy": batch(2)}, {"update_group_size": 2, "wait_for_batch_completion": True}):
        world = Updated()
        world.run(instances=5)
        update = world.start(instances=5, **more)
        assert sorted(world.end_killed()) == [0, 1]
        first, second = world.place()
        world.healthy(second)
        assert world.end_killed() == []
        world.healthy(first)
        assert [sorted(one) for one in world.roll(update)] == [[2, 3], [4]]
        assert world.state(update) == "ROLLED_FORWARD"


def test_variable_batches_and_their_way_back() -> None:
    world = Updated()
    world.run(instances=8)
    update = world.start(instances=8, update_strategy=batches(1, 2, 3))
    assert world.end_killed() == [0]
    world.healthy(*world.place())
    assert world.end_killed() == [1, 2]
    world.healthy(*world.place())
    assert world.end_killed() == [3, 4, 5]
    bad, *_ = world.place()
    world.status(bad, "FAILED")
    assert world.state(update) == "ROLLING_BACK"
    # The one that failed had a successor that waited: it just goes.
    assert [sorted(one) for one in world.roll(update)] == [[4, 5], [1, 2], [0]]
    assert world.state(update) == "ROLLED_BACK"
    assert set(world.configs().values()) == {0}


def test_the_last_size_is_used_again() -> None:
    world = Updated()
    world.run(instances=6)
    update = world.start(instances=6, update_strategy=batches(1, 2))
    assert [sorted(one) for one in world.roll(update)] == [[0], [1, 2], [3, 4], [5]]


def test_it_pauses_of_itself_before_each_batch_but_the_first() -> None:
    world = Updated()
    world.run(instances=5)
    update = world.start(instances=5, update_strategy=batch(2, is_autopaused=True))
    assert world.roll(update) == [[0, 1]]
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    assert (world.details(update).update_events or ())[-1].message == "auto paused"
    assert world.waits(update)[0] == (2, "the update is paused, until somebody resumes it")
    assert world.client("resume", update).code is ResponseCode.OK
    assert world.roll(update) == [[2, 3]]
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    world.client("resume", update)
    assert world.roll(update) == [[4]]
    assert world.state(update) == "ROLLED_FORWARD", "not before nothing"


def test_what_was_paused_of_itself_is_remembered_after_a_failover() -> None:
    world = Updated()
    world.run(instances=4)
    update = world.start(instances=4, update_strategy=batch(2, is_autopaused=True))
    world.roll(update)
    world.client("resume", update)
    world = world.failover()
    world.pass_s(20)  # kills that may have been lost are repeated
    assert world.roll(update) == [[2, 3]]
    assert world.states(update).count("ROLL_FORWARD_PAUSED") == 1


# -- in which order ----------------------------------------------------------------------------------------------------


def test_create_then_change_then_kill_and_back_again() -> None:
    world = Updated()
    world.run(instances=3)
    world.kill(instances=frozenset({0}))
    world.end_killed()  # 1 and 2 are there; the update wants 0 and 1
    update = world.start(instances=2)
    world.healthy(*world.place())
    assert world.configs() == {0: 7, 1: 0, 2: 0}
    world.roll(update, 1)
    assert world.end_killed() == [2]
    assert world.state(update) == "ROLLED_FORWARD"
    assert [event for event in world.events(update) if event[1] == "UPDATING"] == [
        (0, "UPDATING"), (1, "UPDATING"), (2, "UPDATING"),
    ]  # fmt: skip
    assert world.configs() == {0: 7, 1: 7}


def test_the_way_back_creates_what_was_killed_and_kills_what_was_created() -> None:
    world = Updated()
    world.run(instances=3)
    world.kill(instances=frozenset({0}))
    world.end_killed()
    update = world.start(instances=2, min_wait_in_instance_running_ms=60_000)
    world.healthy(*world.place())
    world.pass_s(61)
    world.end_killed()
    world.healthy(*world.place())
    assert world.client("rollback", update, "no").code is ResponseCode.OK
    world.roll(update)
    world.pass_s(200)
    world.roll(update)
    assert world.state(update) == "ROLLED_BACK"
    assert world.configs() == {1: 0, 2: 0}
    assert [event for event in world.events(update) if "ROLL" in event[1]] == [
        (1, "ROLLING_BACK"), (1, "ROLLED_BACK"), (0, "ROLLING_BACK"), (0, "ROLLED_BACK"),
    ]  # fmt: skip


def test_only_the_instances_that_were_named() -> None:
    world = Updated()
    world.run(instances=4)
    update = world.start(instances=4, update_only_these_instances=only(1, 3))
    assert world.roll(update) == [[1], [3]]
    assert world.configs() == {0: 0, 1: 7, 2: 0, 3: 7}


def test_a_job_that_is_not_there_is_created() -> None:
    world = Updated()
    update = world.start(instances=2, update_group_size=5)
    world.roll(update)
    assert (world.state(update), world.configs()) == ("ROLLED_FORWARD", {0: 7, 1: 7})


# -- one instance ------------------------------------------------------------------------------------------------------


def test_a_time_to_run_is_waited_for() -> None:
    world = Updated()
    world.run()
    update = world.start(min_wait_in_instance_running_ms=10_000)
    world.end_killed()
    world.healthy(*world.place())
    world.pass_s(9)
    assert world.state(update) == "ROLLING_FORWARD"
    assert world.waits(update) == [(0, "its task must run for 10 s")]
    world.pass_s(1.1)
    assert world.state(update) == "ROLLED_FORWARD"


@pytest.mark.parametrize(
    ("health", "why"),
    [
        (None, "its executor does not say that RUNNING means healthy"),
        (Health.UNCHECKED, "the task has no health check"),
        ("something of the future", "its executor does not say that RUNNING means healthy"),
    ],
)
def test_where_running_does_not_mean_healthy_the_old_time_is_waited_for(health: str | None, why: str) -> None:
    world = Updated()
    world.run()
    update = world.start()
    world.end_killed()
    (new,) = world.place()
    world.status(new, "RUNNING", labels=() if health is None else ((HEALTH_LABEL, health),))
    world.pass_s(44)
    assert world.waits(update) == [(0, f"its task must run for 45 s, since {why}")]
    world.pass_s(1.1)
    assert world.state(update) == "ROLLED_FORWARD"
    assert (world.details(update).instance_events or ())[-1].message == f"ran for 45 s, since {why}"


def test_executors_of_both_kinds_in_one_update() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, update_group_size=2)
    world.end_killed()
    first, second = world.place()
    world.status(first, "STARTING", labels=HEALTHY)
    world.status(first, "RUNNING")  # it said so before
    world.status(second, "RUNNING")
    assert world.events(update)[-1] == (0, "UPDATED")
    world.pass_s(46)
    assert world.state(update) == "ROLLED_FORWARD"


def test_failures_of_an_instance_are_counted() -> None:
    world = Updated()
    world.run()
    update = world.start(max_per_instance_failures=1)
    world.end_killed()
    world.fail()
    assert world.state(update) == "ROLLING_FORWARD"
    world.pass_s(60)
    world.fail()
    assert world.state(update) == "ROLLING_BACK"
    assert world.events(update)[1] == (0, "UPDATE_FAILED")


def test_failures_are_remembered_after_a_failover() -> None:
    world = Updated()
    world.run()
    update = world.start(max_per_instance_failures=1)
    world.end_killed()
    world.fail()
    world = world.failover()
    world.pass_s(60)
    world.fail()
    assert world.state(update) == "ROLLING_BACK"


def test_failed_instances_are_counted_too() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, max_failed_instances=1)
    world.end_killed()
    world.fail()
    assert world.state(update) == "ROLLING_FORWARD"
    assert world.end_killed() == [1]
    world.status(world.task_of(1, world.place()), "FAILED")
    assert world.state(update) == "ROLLING_BACK"
    event = (world.details(update).update_events or ())[-1]
    assert (event.user, event.message) == (None, "2 of its instances failed, and 1 may")


def test_without_rollback_it_has_failed() -> None:
    world = Updated()
    world.run()
    update = world.start(rollback_on_failure=False)
    world.end_killed()
    world.fail()
    assert world.states(update) == ["ROLLING_FORWARD", "FAILED"]


def test_one_that_fails_leaves_no_instance_behind() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2, update_group_size=2, rollback_on_failure=False)
    first, second = sorted(world.taken(Kill), key=lambda kill: kill.task_id)
    world.status(world.engine.state.tasks[first.task_id], "KILLED")
    world.fail()
    assert world.state(update) == "ROLLING_FORWARD", "the other one is being killed, and must come back"
    world.status(world.engine.state.tasks[second.task_id], "KILLED")
    assert world.state(update) == "FAILED"
    assert set(world.configs()) == {0, 1}


def test_who_is_under_way_goes_back_first() -> None:
    """Its old task is being killed, and nobody else would start it again."""
    world = Updated()
    world.run(instances=4)
    update = world.start(instances=4, update_group_size=2)
    kills = {kill.task_id: kill for kill in world.taken(Kill)}
    first, second = (world.task_of(instance) for instance in (0, 1))
    assert set(kills) == {first.task_id, second.task_id}
    world.status(second, "KILLED")
    world.healthy(*world.place())
    assert world.end_killed() == [2]
    world.fail()
    assert world.state(update) == "ROLLING_BACK"
    assert world.events(update)[-2:] == [(0, "ROLLING_BACK"), (2, "ROLLING_BACK")]
    world.status(first, "KILLED")
    assert 0 in world.configs()
    world.roll(update)
    assert world.state(update) == "ROLLED_BACK"
    assert set(world.configs().values()) == {0}


def test_a_way_back_that_fails_too() -> None:
    world = Updated()
    world.run()
    update = world.start()
    world.end_killed()
    world.fail()
    world.end_killed()  # there is nothing to kill: its successor waits
    world.pass_s(60)
    world.fail()
    assert world.states(update) == ["ROLLING_FORWARD", "ROLLING_BACK", "FAILED"]
    assert world.events(update)[-1] == (0, "ROLLBACK_FAILED")


def test_a_task_that_the_scheduler_moves_away_did_not_fail() -> None:
    world = Updated()
    world.run()
    update = world.start(min_wait_in_instance_running_ms=60_000)
    world.end_killed()
    (new,) = world.place()
    world.healthy(new)
    world.engine.tasks.move(new.task_id, ScheduleStatus.DRAINING)
    world.status(new, "KILLED")
    assert world.state(update) == "ROLLING_FORWARD"
    world.healthy(*world.place())
    world.pass_s(61)
    assert world.state(update) == "ROLLED_FORWARD"


def test_a_progress_deadline() -> None:
    world = Updated()
    world.run()
    update = world.start(progress_deadline_ms=30_000)
    world.end_killed()
    world.pass_s(29)
    assert world.waits(update)[0][1].startswith("its task waits for room on an agent")
    world.pass_s(2)
    assert world.states(update) == ["ROLLING_FORWARD", "ROLLING_BACK"]
    event = (world.details(update).instance_events or ())[1]
    assert event.message == "it was not updated within 30 s: its task waits for room on an agent"


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_paused_nothing_begins_and_what_was_begun_is_finished() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2)
    assert world.client("pause", update, "let me think").code is ResponseCode.OK
    assert world.end_killed() == [0]
    world.healthy(*world.place())
    assert world.configs() == {0: 7, 1: 0}, "nobody is left without the instance"
    world.pass_s(600)
    assert world.end_killed() == []
    last = (world.details(update).update_events or ())[-1]
    assert (str(last.status), last.user, last.message) == ("ROLL_FORWARD_PAUSED", "bob", "let me think")
    world.client("resume", update)
    assert world.roll(update) == [[1]]
    assert world.states(update) == ["ROLLING_FORWARD", "ROLL_FORWARD_PAUSED", "ROLLING_FORWARD", "ROLLED_FORWARD"]


def test_a_pause_over_a_failover() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2)
    world.client("pause", update)
    world = world.failover()
    world.pass_s(5)
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    world.engine.tasks.resume()
    world.client("resume", update)
    world.status(world.task_of(0), "KILLED")
    world.roll(update)
    assert world.state(update) == "ROLLED_FORWARD"


def test_an_update_goes_on_after_a_failover_where_it_was() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3)
    world.end_killed()
    world.healthy(*world.place())
    before = world.events(update)
    world = world.failover()
    assert world.events(update) == before
    world.status(world.task_of(1), "KILLED")
    world.roll(update)
    assert world.state(update) == "ROLLED_FORWARD"
    assert world.events(update) == [
        (0, "UPDATING"), (0, "UPDATED"), (1, "UPDATING"), (1, "UPDATED"), (2, "UPDATING"), (2, "UPDATED"),
    ]  # fmt: skip


def test_a_rollback_by_hand_and_its_pause() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3)
    world.end_killed()
    world.healthy(*world.place())
    world.client("pause", update)
    assert world.client("rollback", update).code is ResponseCode.OK
    assert world.client("pause", update).code is ResponseCode.OK
    assert world.state(update) == "ROLL_BACK_PAUSED"
    assert world.client("rollback", update).code is ResponseCode.INVALID_REQUEST
    world.client("resume", update)
    world.roll(update)
    assert world.states(update)[-4:] == ["ROLLING_BACK", "ROLL_BACK_PAUSED", "ROLLING_BACK", "ROLLED_BACK"]
    assert set(world.configs().values()) == {0}


def test_an_abort_leaves_things_as_they_are() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2)
    world.end_killed()
    world.healthy(*world.place())
    assert world.end_killed() == [1]
    world.healthy(*world.place())
    other = world.start(instances=2, config={"priority": 8})
    world.end_killed()
    world.place()
    assert world.client("abort", other).code is ResponseCode.OK
    assert world.state(update) == "ROLLED_FORWARD"
    assert world.state(other) == "ABORTED"
    world.pass_s(600)
    assert world.configs() == {0: 8, 1: 7}
    for verb in ("pause", "resume", "abort", "rollback"):
        answer = world.client(verb, other)
        assert answer.code is ResponseCode.INVALID_REQUEST
        assert "is over (ABORTED)" in answer.messages[0]
    assert world.client("pause", "nothing").messages == ("www/prod/web has no update nothing",)


def test_only_what_is_paused_is_resumed() -> None:
    world = Updated()
    world.run()
    update = world.start()
    assert "and not paused" in world.client("resume", update).messages[0]


# -- pulses ------------------------------------------------------------------------------------------------------------


def test_it_waits_for_the_first_pulse_and_for_every_other() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, block_if_no_pulses_after_ms=10_000)
    assert world.states(update) == ["ROLL_FORWARD_AWAITING_PULSE"]
    assert world.end_killed() == []
    assert world.pulse(update) == "OK"
    assert world.end_killed() == [0]
    world.pass_s(8)
    assert world.pulse(update) == "OK"
    world.pass_s(8)
    assert world.state(update) == "ROLLING_FORWARD"
    world.pass_s(3)
    assert world.state(update) == "ROLL_FORWARD_AWAITING_PULSE"
    world.healthy(*world.place())
    assert world.events(update) == [(0, "UPDATING"), (0, "UPDATED")]
    assert world.waits(update) == [(1, "the update waits for a pulse of the service that watches it")]
    world.pulse(update)
    world.roll(update)
    assert world.state(update) == "ROLLED_FORWARD"
    assert world.pulse(update) == "FINISHED"
    assert world.pulse("nothing") == "FINISHED"


def test_a_pulse_does_not_resume_a_pause_and_resuming_needs_one() -> None:
    world = Updated()
    world.run()
    update = world.start(block_if_no_pulses_after_ms=10_000)
    world.client("pause", update)
    assert world.pulse(update) == "OK"
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    world.pass_s(11)
    world.client("resume", update)
    assert world.state(update) == "ROLL_FORWARD_AWAITING_PULSE"
    world.client("rollback", update)
    assert world.states(update)[-2:] == ["ROLLING_BACK", "ROLL_BACK_AWAITING_PULSE"]
    world.pulse(update)
    assert world.state(update) == "ROLLED_BACK", "nothing was touched"


def test_pulses_over_a_failover() -> None:
    world = Updated()
    world.run(instances=2)
    waiting = world.start(instances=2, block_if_no_pulses_after_ms=10_000)
    world = world.failover()
    world.pass_s(5)
    assert world.state(waiting) == "ROLL_FORWARD_AWAITING_PULSE"
    world.pulse(waiting)
    world = world.failover()
    world.pass_s(9)
    assert world.state(waiting) == "ROLLING_FORWARD", "pulses could not be heard meanwhile"
    world.pass_s(2)
    assert world.state(waiting) == "ROLL_FORWARD_AWAITING_PULSE"


# -- canaries ----------------------------------------------------------------------------------------------------------


def test_canaries_hold_the_others_up_until_somebody_resumes() -> None:
    world = Updated()
    world.run(instances=5)
    update = world.start(instances=5, canary_count=2, update_group_size=3)
    assert world.roll(update) == [[0, 1]]
    assert world.state(update) == "ROLL_FORWARD_PAUSED"
    assert (world.details(update).update_events or ())[-1].message == CANARIES_DONE
    world = world.failover()
    world.client("resume", update)
    assert world.roll(update) == [[2, 3, 4]]
    assert world.state(update) == "ROLLED_FORWARD"


def test_canaries_are_promoted_after_a_time() -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, canary_count=1, canary_promote_after_ms=60_000, update_group_size=2)
    assert world.roll(update) == [[0]]
    world.pass_s(50)
    assert world.state(update) == "ROLLING_FORWARD"
    assert world.waits(update)[0][1].startswith("the canaries are watched for")
    world = world.failover()
    world.pass_s(11)
    assert sorted(world.end_killed()) == [1, 2]


@pytest.mark.parametrize("is_updated", [False, True])
def test_no_canary_may_fail(is_updated: bool) -> None:
    world = Updated()
    world.run(instances=3)
    update = world.start(instances=3, canary_count=1, canary_promote_after_ms=60_000, max_failed_instances=3)
    world.end_killed()
    (canary,) = world.place()
    if is_updated:
        world.healthy(canary)
        world.pass_s(5)
    world.status(canary, "FAILED")
    assert world.state(update) == "ROLLING_BACK"
    world.roll(update)
    assert world.state(update) == "ROLLED_BACK"


# -- promises to others ------------------------------------------------------------------------------------------------


def test_what_a_job_promised_holds_up_kills() -> None:
    policy = SlaPolicy(count_sla_policy=CountSlaPolicy(19, 0))
    world = Updated(min_required_instances_for_sla_check=2)
    config: dict[str, Any] = {"tier": "preferred", "sla_policy": policy}
    world.engine.command(SetQuota("www", Resources(10**6, 10**6, 10**6), "root"), world.now)
    world.run(instances=20, **config)
    world.pass_s(1)
    update = world.start(instances=20, config=config, sla_aware=True, update_group_size=5)
    assert world.end_killed() == [0], "19 have to run"
    assert world.waits(update)[1][1] == (
        "its old task may not go yet: of 20 active tasks, 18 others have run for 0 s, and 19 have to"
    )
    world.healthy(*world.place())
    assert world.end_killed() == []
    world.pass_s(61)
    assert len(world.end_killed()) == 1


def test_a_coordinator_is_asked() -> None:
    policy = SlaPolicy(coordinator_sla_policy=CoordinatorSlaPolicy("http://sla", "go"))
    config: dict[str, Any] = {"tier": "preferred", "sla_policy": policy}
    world = Updated()
    world.engine.command(SetQuota("www", Resources(10**6, 10**6, 10**6), "root"), world.now)
    world.run(instances=2)
    update = world.start(instances=2, config=config, sla_aware=True, update_group_size=2)
    (asked,) = world.taken(AskCoordinator)
    assert (asked.url, asked.task.instance) == ("http://sla", 0), "one question at a time"
    world.handle(CoordinatorAnswered(asked.number, True, None))
    assert world.task_of(0).status is ScheduleStatus.KILLING
    (second,) = world.taken(AskCoordinator)
    world.handle(CoordinatorAnswered(second.number, False, None))
    assert world.task_of(1).status is ScheduleStatus.RUNNING
    world.pass_s(59)
    assert world.taken(AskCoordinator) == []
    world.pass_s(2)
    (third,) = world.taken(AskCoordinator)
    assert third.task.instance == 1
    world.client("pause", update)
    world.handle(CoordinatorAnswered(third.number, True, None))
    assert world.task_of(1).status is ScheduleStatus.RUNNING, "paused, nothing is killed"


def test_a_place_is_kept() -> None:
    world = Updated(enable_update_affinity=True)
    before = {task.instance: task.agent_id for task in world.run(instances=2)}
    update = world.start(instances=2)
    for instance in (0, 1):
        assert world.end_killed() == [instance]
        number = int((before[instance] or "").removeprefix("agent-"))
        assert world.place(10 + instance) == [], "there is room, and it waits for its own place"
        (new,) = world.place(number)
        assert new.agent_id == before[instance]
        world.healthy(new)
    assert world.state(update) == "ROLLED_FORWARD"


def test_a_place_is_not_kept_for_ever() -> None:
    world = Updated(enable_update_affinity=True)
    world.run()
    update = world.start()
    world.end_killed()
    assert world.place(5) == []
    world.pass_s(250)
    assert world.task().host == "host-5"
    world.healthy(world.task())
    assert world.state(update) == "ROLLED_FORWARD"


def test_a_task_that_needs_more_goes_where_there_is_room() -> None:
    world = Updated(enable_update_affinity=True)
    world.run()
    more = (Resource(num_cpus=2.0), Resource(ram_mb=128), Resource(disk_mb=64))
    world.start(config={"resources": more})
    world.end_killed()
    (new,) = world.place(5)
    assert new.host == "host-5"


# -- history -----------------------------------------------------------------------------------------------------------


def test_old_updates_are_forgotten() -> None:
    world = Updated(job_update_history_per_job=2)
    world.run()
    updates = []
    for priority in (1, 2, 3, 4):
        updates.append(world.start(config={"priority": priority}))
        world.roll(updates[-1])
        world.pass_s(1)
    last = world.start(config={"priority": 9})
    world.pass_s(901)
    assert [update_id for _, update_id in world.engine.state.updates] == [*updates[2:], last]
    world.client("abort", last)
    world.pass_s(31 * 86400)
    assert not world.engine.state.updates


def test_updates_of_a_job_that_is_gone_are_forgotten() -> None:
    world = Updated(history_prune_threshold_s=10.0, history_min_retention_s=10.0)
    world.run()
    update = world.start()
    world.roll(update)
    world.kill()
    world.end_killed()
    world.pass_s(901)
    assert not world.engine.state.updates


def test_an_update_that_says_nothing_ends() -> None:
    world = Updated()
    world.run()
    update = world.start()
    details = world.details(update)
    assert details.update is not None
    world.engine.state.apply(
        PutUpdate(JOB, update, details._replace(update=details.update._replace(instructions=None)))
    )
    world = world.failover()
    world.pass_s(2)
    assert world.state(update) == "ERROR"
    assert world.engine.metrics()["job_update_recovery_errors"] == 1


def test_figures() -> None:
    world = Updated()
    assert world.engine.metrics()["update_transition_ROLLED_FORWARD"] == 0
    world.run()
    world.roll(world.start())
    metrics = world.engine.metrics()
    assert metrics["update_transition_ROLLED_FORWARD"] == 1
    assert metrics["update_instance_transition_INSTANCE_UPDATED"] == 1
