"""Stories of hosts that are to be maintained: what an operator asks for, what becomes of the tasks there."""

from __future__ import annotations

import itertools
from typing import Any

from scheduler.core.changes import PutHost, PutQuota
from scheduler.core.commands import Answer, DrainHosts, EndMaintenance, StartMaintenance
from scheduler.core.events import (
    AcceptInverseOffers,
    AskCoordinator,
    CoordinatorAnswered,
    DeclineInverseOffers,
    InverseOffers,
    Kill,
)
from scheduler.core.state import State
from scheduler.model import JobKey, Mode, Resources, Task
from scheduler.states import ScheduleStatus
from scheduler.store.backups import changes_of
from tests.support.world import JOB, SETTINGS, World, offer
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import HostStatus, MaintenanceMode, ResponseCode
from thermos.formats.mesos_v1_scheduler import InverseOffer, Unavailability

PERCENT_95 = wire.SlaPolicy(percentage_sla_policy=wire.PercentageSlaPolicy(95.0, 60))
PLENTY = Resources(1_000_000, 1_000_000, 1_000_000)
COORDINATOR = wire.SlaPolicy(coordinator_sla_policy=wire.CoordinatorSlaPolicy("http://c/ask", "ok"))


def drain(world: World, *numbers: int, policy: wire.SlaPolicy | None = None, timeout_s: int = 0) -> None:
    answer = world.command(DrainHosts(hosts(*numbers), "ann", policy, timeout_s))
    assert answer.code is ResponseCode.OK, answer


def hosts(*numbers: int) -> frozenset[str]:
    return frozenset(f"host-{number}" for number in numbers)


def told(answer: Answer) -> tuple[HostStatus, ...]:
    """The hosts' modes that a client hears, whichever the method."""
    result: Any = next(member for member in answer.result or () if member is not None)
    statuses: tuple[HostStatus, ...] = result.statuses
    return statuses


def mode(world: World, number: int = 1) -> int:
    return world.engine.state.hosts[f"host-{number}"].mode


def on(world: World, number: int = 1, job: JobKey = JOB) -> list[Task]:
    return [task for task in world.tasks(job) if task.host == f"host-{number}"]


def killed(world: World) -> set[str]:
    """Ids of the tasks that Mesos was asked to end since the last look; kills are repeated."""
    return {kill.task_id for kill in world.taken(Kill)}


def production(world: World, instances: int = 20, **more: Any) -> list[Task]:
    """A production service whose instances run on a host each, for long."""
    world.engine.state.apply(PutQuota("www", PLENTY))
    tasks = world.run(instances=instances, tier="preferred", **more)
    assert {task.host for task in tasks} == {f"host-{number}" for number in range(1, instances + 1)}
    world.pass_s(100)
    world.taken()
    return tasks


# -- an operator's day -------------------------------------------------------------------------------------------------


def test_a_scheduled_host_is_used_only_where_no_other_can_be() -> None:
    world = World()
    world.offers(offer(1), offer(2))
    answer = world.command(StartMaintenance(hosts(1), "ann"))
    assert answer.messages == ()
    assert told(answer) == (HostStatus("host-1", MaintenanceMode.SCHEDULED),)
    world.create(instances=7)
    world.pass_s(0.1)
    assert {task.host for task in world.tasks()} == {"host-2"}
    world.create(JobKey("www", "prod", "more"))
    world.pass_s(0.1)
    assert world.task(JobKey("www", "prod", "more")).host == "host-1"


def test_a_drained_hosts_tasks_run_elsewhere() -> None:
    world = World()
    (task,) = world.run()
    drain(world, 1)
    assert world.taken(Kill) == [Kill(task.task_id, "agent-1")]
    draining = world.engine.state.tasks[task.task_id]
    assert (draining.status, draining.events[-1].message) == (
        ScheduleStatus.DRAINING,
        "Its host is to be maintained",
    )
    assert mode(world) == Mode.DRAINING
    world.status(task, "KILLED")
    assert mode(world) == Mode.DRAINED  # in that very decision
    world.offers(offer(1))
    world.pass_s(60)
    assert world.launched() == []
    assert "maintenance" in world.engine.pending_reasons()[world.task().task_id].lower()
    world.offers(offer(2))
    world.pass_s(1)
    assert [one.host for one in world.launched()] == ["host-2"]


def test_a_drained_host_is_used_again_after_its_maintenance() -> None:
    world = World()
    (task,) = world.run()
    drain(world, 1)
    world.status(task, "KILLED")
    world.offers(offer(1))
    world.pass_s(30)
    assert world.launched() == []
    answer = world.command(EndMaintenance(hosts(1), "ann"))
    assert told(answer) == (HostStatus("host-1", MaintenanceMode.NONE),)
    world.pass_s(0.1)
    assert [one.host for one in world.launched()] == ["host-1"]


def test_an_empty_host_is_drained_at_once_and_nothing_is_kept_of_the_request() -> None:
    world = World()
    world.offers(offer(1))
    answer = world.command(DrainHosts(hosts(1), "ann"))
    assert told(answer) == (HostStatus("host-1", MaintenanceMode.DRAINED),)
    assert world.engine.state.maintenance == {}
    assert world.engine.wake_at_s is None or world.engine.wake_at_s > world.now.mono_s + 60


def test_a_host_that_was_emptied_otherwise_is_drained_and_nothing_is_kept_of_the_request() -> None:
    """Aurora's poll leaves the request where it was."""
    world = World()
    tasks = production(world)
    drain(world, 1, 2, policy=PERCENT_95, timeout_s=3600)
    assert set(world.engine.state.maintenance) == {"host-1", "host-2"}
    world.kill()
    for task in tasks:
        world.status(task, "KILLED")
    assert (mode(world, 1), mode(world, 2)) == (Mode.DRAINED, Mode.DRAINED)
    assert world.engine.state.maintenance == {}


def test_unknown_hosts_are_named_and_the_others_are_done() -> None:
    world = World()
    world.offers(offer(1))
    for command in (
        StartMaintenance(frozenset({"host-1", "nowhere", "else"}), "ann"),
        DrainHosts(frozenset({"host-1", "nowhere", "else"}), "ann"),
        EndMaintenance(frozenset({"host-1", "nowhere", "else"}), "ann"),
    ):
        answer = world.command(command)
        assert answer.code is ResponseCode.OK
        assert answer.messages == ("No agent of this name is known: else, nowhere",)
        assert [status.host for status in told(answer)] == ["host-1"]
    assert "nowhere" not in world.engine.state.maintenance


def test_a_drain_that_cannot_be_meant_is_refused_with_all_problems() -> None:
    world = World()
    world.offers(offer(1))
    nonsense = wire.SlaPolicy(percentage_sla_policy=wire.PercentageSlaPolicy(101.0, 10_000))
    answer = world.command(DrainHosts(hosts(1), "ann", nonsense, -1))
    assert answer.code is ResponseCode.INVALID_REQUEST
    assert len(answer.messages) == 3
    assert mode(world) == Mode.NONE
    assert world.command(DrainHosts(hosts(1), "ann", wire.SlaPolicy())).code is ResponseCode.INVALID_REQUEST


def test_maintenance_that_is_only_planned_ends_a_drain() -> None:
    world = World()
    production(world)
    drain(world, 1, 2, policy=PERCENT_95, timeout_s=3600)
    world.command(StartMaintenance(hosts(1, 2), "ann"))
    assert world.engine.state.maintenance == {}
    ends = killed(world)
    world.pass_s(200)
    assert killed(world) <= ends


# -- SLA ---------------------------------------------------------------------------------------------------------------


def test_an_sla_drain_takes_one_after_the_other() -> None:
    world = World()
    production(world)
    drain(world, 1, 2, 3, policy=PERCENT_95, timeout_s=86400)
    elsewhere = itertools.count(21)
    for _ in range(3):
        (task_id,) = killed(world)
        world.pass_s(10)
        world.status(world.engine.state.tasks[task_id], "KILLED")
        world.offers(offer(next(elsewhere)))
        world.pass_s(0.1)
        (successor,) = world.launched()
        world.status(successor, "RUNNING")
        world.pass_s(50)
        assert killed(world) == set()  # it has not run for a minute yet
        world.pass_s(70)
    assert [mode(world, number) for number in (1, 2, 3)] == [Mode.DRAINED] * 3
    assert world.engine.state.maintenance == {}


def test_what_may_not_go_goes_when_the_time_is_over() -> None:
    world = World()
    production(world)
    drain(world, 1, 2, policy=PERCENT_95, timeout_s=90)
    assert len(world.taken(Kill)) == 1
    world.pass_s(89)
    (waiting,) = [task for number in (1, 2) for task in on(world, number) if task.status is ScheduleStatus.RUNNING]
    assert waiting.task_id not in killed(world)
    world.pass_s(1)
    assert waiting.task_id in killed(world)
    assert "host host-1 was to be empty after 90 s: all tasks on it go now" in world.engine.take_notes()
    assert "not waited for any longer" in (world.engine.state.tasks[waiting.task_id].events[-1].message or "")


def test_a_tasks_own_policy_counts_more_than_the_drains() -> None:
    world = World()
    own = wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(19, 60))
    production(world, sla_policy=own)
    drain(world, 1, 2, policy=wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(0, 0)), timeout_s=3600)
    assert len(world.taken(Kill)) == 1


def test_a_plain_drain_waits_for_nothing() -> None:
    world = World()
    tasks = production(world, sla_policy=wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(19, 60)))
    drain(world, *range(1, 21))
    assert killed(world) == {task.task_id for task in tasks}


def test_a_partitioned_task_goes_with_the_others() -> None:
    world = World()
    (task,) = world.run(partition_policy=wire.PartitionPolicy(False))
    world.status(task, "UNREACHABLE")
    drain(world, 1)
    assert mode(world) == Mode.DRAINED
    assert world.statuses() == ["LOST", "PENDING"]


def test_a_drain_goes_on_after_a_failover() -> None:
    world = World()
    production(world)
    drain(world, 1, 2, policy=PERCENT_95, timeout_s=1000)
    state = State()
    for change in changes_of(world.engine.state):
        state.apply(change)
    other = World(SETTINGS, state)
    other.now = world.now
    (waiting,) = [task for number in (1, 2) for task in on(other, number) if task.status is ScheduleStatus.RUNNING]
    assert (mode(other, 1), mode(other, 2)) == (Mode.DRAINING, Mode.DRAINING)
    other.offers(offer(1), offer(2))  # agents that come back keep their modes
    assert (mode(other, 1), mode(other, 2)) == (Mode.DRAINING, Mode.DRAINING)
    other.pass_s(1001)
    assert waiting.task_id in killed(other)


def test_a_draining_host_without_a_request_waits_for_a_person() -> None:
    world = World()
    world.run()
    host = world.engine.state.hosts["host-1"]
    world.engine.state.apply(PutHost(host._replace(mode=Mode.DRAINING)))
    other = World(SETTINGS, world.engine.state)
    other.pass_s(130)
    assert other.engine.metrics()["missing_maintenance_request"] == 2
    (words,) = other.engine.take_notes()
    assert words == "host host-1 is DRAINING, and no request says how: drain it again, or end its maintenance"
    assert other.taken(Kill) == []
    drain(other, 1)
    assert len(other.taken(Kill)) == 1


def test_the_countdown_is_a_figure() -> None:
    world = World()
    production(world)
    drain(world, 1, 2, policy=PERCENT_95, timeout_s=90)
    world.pass_s(60)
    figures = world.engine.metrics()
    assert figures["hosts_draining"] == 2
    waiting = {
        name: value for name, value in figures.items() if name.startswith("maintenance_countdown_ms_www/prod/web/")
    }
    assert set(waiting.values()) == {30_000}


def test_what_could_not_be_kept_was_never_decided() -> None:
    world = World()
    (task,) = world.run()
    world.engine.command(DrainHosts(hosts(1), "ann"), world.now)
    world.engine.undo(world.now)
    assert (mode(world), world.task().status) == (Mode.NONE, ScheduleStatus.RUNNING)
    world.pass_s(3600)
    assert world.taken(Kill) == []
    drain(world, 1)
    assert world.taken(Kill) == [Kill(task.task_id, "agent-1")]


# -- coordinators ------------------------------------------------------------------------------------------------------


def test_a_coordinator_is_asked_one_question_at_a_time() -> None:
    world = World()
    world.run(instances=3)
    drain(world, 1, 2, 3, policy=COORDINATOR, timeout_s=3600)
    first = world.taken(AskCoordinator)
    assert [(one.url, one.status_key, one.countdown_ms) for one in first] == [("http://c/ask", "ok", 3_600_000)]
    world.handle(CoordinatorAnswered(first[0].number, True))
    answered = world.taken(object)
    assert isinstance(answered[0], Kill)
    assert answered[0].task_id == first[0].task.task_id
    second = answered[1]
    assert isinstance(second, AskCoordinator)
    assert second.task.task_id != first[0].task.task_id
    world.handle(CoordinatorAnswered(second.number, False))
    (third,) = world.taken(AskCoordinator)
    world.handle(CoordinatorAnswered(third.number, False, "no answer"))
    assert world.taken() == []
    world.pass_s(60)  # the next poll asks anew
    assert len(world.taken(AskCoordinator)) == 1


def test_coordinators_are_asked_in_parallel_up_to_a_limit() -> None:
    world = World(max_parallel_coordinated_maintenance=2)
    world.engine.state.apply(PutQuota("www", PLENTY))
    for number in range(4):
        policy = wire.SlaPolicy(coordinator_sla_policy=wire.CoordinatorSlaPolicy(f"http://c{number}/"))
        answer = world.create(JobKey("www", "prod", f"job{number}"), tier="preferred", sla_policy=policy)
        assert answer.code is ResponseCode.OK, answer
    world.offers(offer(1))
    world.pass_s(0.1)
    world.taken()
    drain(world, 1, policy=PERCENT_95, timeout_s=3600)
    asked = world.taken(AskCoordinator)
    assert len({one.url for one in asked}) == len(asked) == 2
    world.handle(CoordinatorAnswered(asked[0].number, False))
    (third,) = world.taken(AskCoordinator)
    assert third.url not in {one.url for one in asked}
    assert third.status_key == "drain"


def test_a_coordinator_of_whom_nothing_is_heard_is_given_up() -> None:
    world = World()
    world.run(instances=2)
    drain(world, 1, 2, policy=COORDINATOR, timeout_s=3600)
    (first,) = world.taken(AskCoordinator)
    world.pass_s(80)
    (second,) = world.taken(AskCoordinator)
    assert second.number != first.number
    world.handle(CoordinatorAnswered(first.number, True))  # too late
    assert world.taken(Kill) == []
    assert world.engine.metrics()["sla_coordinator_errors"] == 1


def test_what_a_coordinator_allows_after_the_maintenance_is_not_done() -> None:
    world = World()
    world.run()
    drain(world, 1, policy=COORDINATOR, timeout_s=3600)
    (asked,) = world.taken(AskCoordinator)
    world.command(EndMaintenance(hosts(1), "ann"))
    world.handle(CoordinatorAnswered(asked.number, True))
    assert world.taken(Kill) == []


# -- Mesos' own maintenance --------------------------------------------------------------------------------------------


def inverse(begins_in_s: float, world: World, agent: str | None = "agent-1") -> InverseOffers:
    start_ns = round((world.now.wall_ms / 1000 + begins_in_s) * 1e9)
    return InverseOffers((InverseOffer("inverse-1", agent, Unavailability(start_ns, None), {}),))


def test_an_agent_that_is_about_to_go_is_drained_by_force() -> None:
    world = World()
    tasks = production(world, sla_policy=wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(19, 60)))
    there = [task for task in tasks if task.agent_id in ("agent-1", "agent-2")]
    world.handle(inverse(300, world))
    world.handle(inverse(300, world, "agent-2"))
    actions = world.taken(object)
    assert [one for one in actions if isinstance(one, AcceptInverseOffers)] == [AcceptInverseOffers(("inverse-1",))] * 2
    assert {one.task_id for one in actions if isinstance(one, Kill)} == {task.task_id for task in there}
    assert mode(world) == Mode.NONE  # Mesos says in its offers that it goes, and when it is back


def test_an_agent_that_goes_later_is_left_alone_for_now() -> None:
    world = World()
    world.run()
    world.handle(inverse(3600, world))
    assert world.taken() == [AcceptInverseOffers(("inverse-1",))]


def test_an_inverse_offer_of_nobody_is_declined() -> None:
    world = World()
    world.run()
    world.handle(inverse(10, world, None))
    assert world.taken() == [DeclineInverseOffers(("inverse-1",))]
