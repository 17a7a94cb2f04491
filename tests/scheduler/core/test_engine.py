"""Stories of the engine: what happened goes in, what is asked of Mesos and kept comes out, literally."""

from __future__ import annotations

import pytest

from scheduler.core.changes import DropTask, PutFramework
from scheduler.core.commands import AddInstances, CreateJob, ForceTaskState, RestartShards
from scheduler.core.events import (
    Acknowledge,
    Decline,
    Disconnected,
    DiskFull,
    Failure,
    Kill,
    Launch,
    Now,
    Reconcile,
    Resumed,
    Subscribed,
    Suspended,
)
from scheduler.model import JobKey
from scheduler.states import ScheduleStatus
from tests.support.world import JOB, World, job_of, offer
from thermos.formats.assigned_task import PartitionPolicy
from thermos.formats.aurora_api import ResponseCode
from thermos.mesos import Reason


def test_a_job_is_placed_launched_and_runs() -> None:
    world = World()
    assert world.create(instances=2).code is ResponseCode.OK
    assert world.statuses() == ["PENDING", "PENDING"]
    world.offers(offer(1))
    world.pass_s(0.1)
    (launch,) = world.taken(Launch)
    assert [task.instance for task in launch.tasks] == [0, 1]
    assert {task.status for task in launch.tasks} == {ScheduleStatus.ASSIGNED}
    assert {(task.agent_id, task.host) for task in launch.tasks} == {("agent-1", "host-1")}
    for task in world.tasks():
        world.status(task, "STARTING")
        world.status(task, "RUNNING")
    assert world.statuses() == ["RUNNING", "RUNNING"]
    assert [event.status.name for event in world.tasks()[0].events] == ["PENDING", "ASSIGNED", "STARTING", "RUNNING"]


def test_a_status_is_acknowledged_after_what_it_changed() -> None:
    world = World()
    (task,) = world.run()
    world.status(task, "FINISHED", uuid=b"0123456789abcdef")
    (acknowledge,) = world.taken(Acknowledge)
    assert acknowledge == Acknowledge("agent-1", task.task_id, b"0123456789abcdef")
    world.status(task, "FINISHED", uuid=None)
    assert world.taken(Acknowledge) == []


def test_a_service_that_ends_is_started_again_at_once_if_it_ran_for_long() -> None:
    world = World()
    (task,) = world.run()
    world.pass_s(600)
    world.status(task, "FINISHED")
    assert world.statuses() == ["FINISHED", "PENDING"]
    successor = world.task()
    assert (successor.instance, successor.ancestor_id) == (0, task.task_id)


def test_one_that_ends_soon_is_throttled_and_then_pending() -> None:
    world = World()
    (task,) = world.run()
    world.status(task, "FAILED")
    assert world.statuses() == ["FAILED", "THROTTLED"]
    world.pass_s(29)
    assert world.task().status is ScheduleStatus.THROTTLED
    world.pass_s(2)
    assert world.task().status is ScheduleStatus.PENDING


def test_a_kill_is_repeated_until_mesos_says_what_became_of_it() -> None:
    world = World()
    (task,) = world.run()
    assert world.kill().messages == ()
    assert world.taken(Kill) == [Kill(task.task_id, "agent-1")]
    world.pass_s(14.9)
    assert world.taken(Kill) == []
    world.pass_s(0.2)
    assert world.taken(Kill) == [Kill(task.task_id, "agent-1")]
    world.pass_s(30.1)
    assert world.taken(Kill) == [Kill(task.task_id, "agent-1")]
    world.status(task, "KILLED")
    assert world.statuses() == ["KILLED"]
    world.pass_s(1000)
    assert world.taken(Kill) == []


def test_a_kill_that_nobody_confirms_is_lost_in_the_end() -> None:
    world = World()
    (task,) = world.run()
    world.kill()
    world.pass_s(301)
    assert world.statuses() == ["LOST"]
    world.status(task, "RUNNING")  # it lives after all
    assert Kill(task.task_id, "agent-1") in world.taken(Kill)


def test_a_pending_task_is_killed_without_mesos() -> None:
    world = World()
    world.create()
    task = world.task()
    world.kill()
    assert world.statuses() == []
    assert DropTask(task.task_id) in world.changes
    assert world.taken(Kill) == []


def test_a_task_that_is_unknown_is_killed_and_acknowledged() -> None:
    world = World()
    (task,) = world.run()
    stranger = task._replace(task_id="stranger")
    world.status(stranger, "RUNNING", uuid=b"x" * 16)
    assert world.taken() == [Kill("stranger", "agent-1"), Acknowledge("agent-1", "stranger", b"x" * 16)]
    world.status(stranger, "FINISHED", uuid=b"y" * 16)
    assert world.taken() == [Acknowledge("agent-1", "stranger", b"y" * 16)]


def test_an_assigned_task_of_which_nothing_is_heard_is_lost_and_replaced() -> None:
    world = World()
    world.create()
    world.offers(offer())
    world.pass_s(0.1)
    assert world.statuses() == ["ASSIGNED"]
    world.pass_s(301)
    assert world.statuses()[0] == "LOST"
    assert world.task().status in (ScheduleStatus.PENDING, ScheduleStatus.THROTTLED)


@pytest.mark.parametrize("is_partition_aware, said", [(True, "GONE"), (True, "UNKNOWN"), (False, "LOST")])
def test_a_launch_that_mesos_never_heard_of_is_made_again_at_once(is_partition_aware: bool, said: str) -> None:
    world = World(is_partition_aware=is_partition_aware)
    world.create()
    world.offers(offer())
    world.pass_s(0.1)
    (task,) = world.launched()
    world.status(task, said, reason=Reason.REASON_RECONCILIATION, uuid=None)
    assert world.statuses() == ["LOST", "PENDING"], "not five minutes later, and nobody has flapped"
    lost = world.engine.state.tasks[task.task_id]
    assert "its launch was lost with the scheduler" in str(lost.events[-1].message)


def test_a_restart_kills_and_starts_the_same_configuration_elsewhere() -> None:
    world = World()
    one, two = world.run(instances=2)
    assert world.command(RestartShards(JOB, frozenset({1}), "ann")).code is ResponseCode.OK
    assert world.taken(Kill) == [Kill(two.task_id, two.agent_id)]
    assert world.statuses() == ["RUNNING", "RESTARTING"]
    world.status(two, "KILLED")
    assert world.statuses() == ["RUNNING", "KILLED", "PENDING"]
    assert world.tasks()[0] == one
    assert world.command(RestartShards(JOB, frozenset({7}), "ann")).code is ResponseCode.INVALID_REQUEST


def test_a_job_that_is_there_is_not_created_again() -> None:
    world = World()
    world.create()
    before = list(world.changes)
    answer = world.create()
    assert answer.code is ResponseCode.INVALID_REQUEST
    assert "already exists" in answer.messages[0]
    assert world.changes == before


def test_instances_are_added_behind_the_last_one() -> None:
    world = World()
    world.run(instances=2)
    assert world.command(AddInstances(JOB, 0, 2, "ann")).code is ResponseCode.OK
    assert [task.instance for task in world.tasks()] == [0, 1, 2, 3]
    assert world.command(AddInstances(JOB, 9, 1, "ann")).code is ResponseCode.INVALID_REQUEST


def test_a_kill_of_nobody_says_so() -> None:
    world = World()
    answer = world.kill(JobKey("www", "prod", "none"))
    assert answer.code is ResponseCode.OK
    assert answer.messages


def test_forcing_a_state() -> None:
    world = World()
    (task,) = world.run()
    assert world.command(ForceTaskState(task.task_id, ScheduleStatus.PENDING, "root")).code is (
        ResponseCode.INVALID_REQUEST
    )
    assert world.command(ForceTaskState(task.task_id, ScheduleStatus.LOST, "root")).code is ResponseCode.OK
    assert world.statuses()[0] == "LOST"


def test_after_a_registration_both_kinds_of_reconciliation_are_asked_for() -> None:
    world = World()
    (task,) = world.run()
    world.handle(Disconnected("gone"))
    world.handle(Subscribed("fw-1", 15.0, "master:5050"))
    assert world.taken(Reconcile) == [Reconcile(((task.task_id, "agent-1"),))]
    world.pass_s(6)
    assert world.taken(Reconcile) == [Reconcile(())]


def test_explicit_and_implicit_take_turns() -> None:
    world = World()
    world.run()
    world.pass_s(3 * 3600)
    kinds = ["implicit" if not one.tasks else "explicit" for one in world.taken(Reconcile)]
    assert kinds[1:] == ["explicit", "implicit"] * ((len(kinds) - 1) // 2) + ["explicit"] * ((len(kinds) - 1) % 2)
    assert kinds[0] == "implicit"  # what follows the registration's explicit one
    assert len(kinds) == 5


def test_the_framework_id_is_kept_once() -> None:
    world = World()
    assert world.changes.count(PutFramework("fw-1")) == 1
    world.handle(Subscribed("fw-1", 15.0, "master:5050"))
    assert world.changes.count(PutFramework("fw-1")) == 1


def test_nothing_is_launched_while_zookeeper_is_away() -> None:
    world = World()
    world.handle(Suspended())
    world.create()
    world.offers(offer())
    world.pass_s(100)
    assert world.launched() == []
    assert "ZooKeeper" in world.engine.pending_reasons()[world.task().task_id]
    world.handle(Resumed())
    world.pass_s(0.1)
    assert len(world.launched()) == 1


def test_a_disconnection_forgets_the_offers() -> None:
    world = World()
    world.offers(offer())
    world.handle(Disconnected("gone"))
    world.create()
    world.pass_s(1)
    assert world.launched() == []
    assert "Mesos" in world.engine.pending_reasons()[world.task().task_id]
    world.handle(Subscribed("fw-1", 15.0, "master:5050"))
    world.pass_s(1)
    assert world.launched() == []  # offers of before are worth nothing


def test_offers_are_given_back_in_the_end() -> None:
    world = World()
    one = offer()
    world.offers(one)
    world.pass_s(361)
    assert [call.offer_ids for call in world.taken(Decline)] == [(one.offer_id,)]


def test_what_could_not_be_kept_was_never_decided() -> None:
    world = World()
    running = world.run()
    before = dict(world.engine.state.tasks)
    one = offer(2)
    world.offers(one)
    world.taken()
    other = JobKey("www", "prod", "other")
    now = Now(world.now.wall_ms + 10, world.now.mono_s + 0.01)
    answer, _ = world.engine.command(CreateJob(job_of(other), "ann"), now)
    assert answer.code is ResponseCode.OK
    decision = world.engine.undo(now)
    assert dict(world.engine.state.tasks) == before
    assert decision.changes == ()
    assert [action.offer_ids for action in decision.actions if isinstance(action, Decline)] == [(one.offer_id,)]
    world.handle(DiskFull())
    assert world.tasks() == running
    world.create(other)
    world.offers(offer(3))
    world.pass_s(5)
    assert world.launched() == []


def test_a_start_finds_everything_again() -> None:
    world = World()
    running, killed, fresh = JobKey("r", "prod", "a"), JobKey("r", "prod", "b"), JobKey("r", "prod", "c")
    world.run(running)
    (doomed,) = world.run(killed)
    world.kill(killed)
    world.create(fresh)
    again = World(state=world.engine.state)
    again.pass_s(16)
    assert Kill(doomed.task_id, doomed.agent_id) in again.taken(Kill)
    again.offers(offer(5))
    again.pass_s(1)
    assert [task.job for task in again.launched()] == [fresh]


def test_tasks_that_are_over_are_forgotten_after_two_days() -> None:
    world = World()
    (task,) = world.run(is_service=False)
    world.status(task, "FINISHED")
    world.pass_s(2 * 86400 - 10)
    assert world.statuses() == ["FINISHED"]
    world.pass_s(20)
    assert world.statuses() == []


def test_a_lost_agent_gives_no_more_offers() -> None:
    world = World()
    world.offers(offer(1))
    world.handle(Failure("agent-1", None, None))
    world.create()
    world.pass_s(1)
    assert world.launched() == []


def test_a_partitioned_task_is_replaced_at_once() -> None:
    world = World()
    (task,) = world.run()
    world.pass_s(600)
    world.status(task, "UNREACHABLE")
    world.pass_s(0.1)
    assert world.statuses() == ["LOST", "PENDING"]


def test_a_partition_is_waited_out_as_its_policy_says() -> None:
    world = World()
    (task,) = world.run(partition_policy=PartitionPolicy(True, 60))
    world.status(task, "UNREACHABLE")
    world.pass_s(59)
    assert world.statuses() == ["PARTITIONED"]
    world.status(task, "RUNNING")
    world.pass_s(100)
    assert world.statuses() == ["RUNNING"]
    world.status(task, "UNREACHABLE")
    world.pass_s(61)
    assert world.statuses() == ["LOST", "PENDING"]
