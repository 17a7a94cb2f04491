"""Preemption: whoever matters less gives way, only where that helps, and what it frees is for whoever waited."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.core.changes import DropHost, PutHost, PutQuota
from scheduler.core.events import Disconnected, Kill, Rescind, Subscribed
from scheduler.model import JobKey, Mode, Resources, Task
from scheduler.states import ScheduleStatus
from tests.support.world import World, offer
from thermos.formats import assigned_task as wire

WEAK = JobKey("www", "prod", "weak")
STRONG = JobKey("db", "prod", "strong")
BIG = (wire.Resource(num_cpus=7.0), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64))
HALF = (wire.Resource(num_cpus=3.5), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64))


class Full(World):
    """Hosts of 8 CPUs, each full of tasks of a job."""

    def fill(self, hosts: int = 1, job: JobKey = WEAK, tasks: int = 1, **more: Any) -> list[Task]:
        more.setdefault("tier", "preemptible")
        more.setdefault("resources", BIG if tasks == 1 else HALF)
        assert self.create(job, hosts * tasks, **more).code.name == "OK"
        self.offers(*(offer(number + 1, attributes=(("rack", f"r{number % 2}"),)) for number in range(hosts)))
        self.pass_s(0.1)
        found = self.tasks(job)
        for task in found:
            self.status(task, "RUNNING")
        self.taken()
        return found

    def want(self, job: JobKey = STRONG, instances: int = 1, **more: Any) -> None:
        more.setdefault("tier", "preferred")
        more.setdefault("resources", BIG)
        if more["tier"] == "preferred":
            self.engine.state.apply(PutQuota(job.role, Resources(10**6, 10**6, 10**6)))
        answer = self.create(job, instances, **more)
        assert answer.code.name == "OK", answer

    def preempted(self) -> list[str]:
        return [task.task_id for task in self.engine.state.with_status([ScheduleStatus.PREEMPTING])]

    def count(self, name: str) -> float:
        return self.engine.metrics()[f"preemptor_{name}"]


def test_after_three_minutes_a_preemptible_task_gives_way() -> None:
    world = Full()
    (weak,) = world.fill()
    world.want()
    world.pass_s(175)
    assert world.preempted() == []
    world.pass_s(70)
    assert world.preempted() == [weak.task_id]
    assert {kill.task_id for kill in world.taken(Kill)} == {weak.task_id}
    event = world.engine.state.tasks[weak.task_id].events[-1]
    assert event.message == "Gives way to db/prod/strong"
    world.status(weak, "KILLED")
    world.offers(offer(1))
    world.pass_s(1)
    assert [task.job for task in world.launched()] == [STRONG]
    (again,) = world.tasks(WEAK)
    assert again.status == ScheduleStatus.PENDING
    assert again.ancestor_id == weak.task_id


@pytest.mark.parametrize(
    ("weak", "strong", "gives_way"),
    [
        ({}, {}, True),
        ({}, {"tier": "preemptible"}, False),
        ({}, {"tier": "preemptible", "priority": 9}, False),  # another role
        ({"job": JobKey("db", "prod", "weak")}, {"tier": "preemptible", "priority": 9}, True),
        ({"job": JobKey("db", "prod", "weak")}, {"tier": "preemptible"}, False),
        ({"job": JobKey("db", "prod", "weak"), "priority": 9}, {"tier": "preemptible", "priority": 9}, False),
        ({"job": JobKey("db", "prod", "weak"), "priority": 9}, {}, True),  # priority is nothing across tiers
        ({"job": JobKey("db", "prod", "weak"), "tier": "preferred"}, {"priority": 1}, True),
        ({"job": JobKey("db", "prod", "weak"), "tier": "preferred"}, {}, False),
        ({"tier": "preferred"}, {"priority": 9}, False),
        ({"tier": "preferred"}, {"tier": "preemptible", "priority": 9}, False),
    ],
)
def test_who_gives_way_to_whom(weak: dict[str, Any], strong: dict[str, Any], gives_way: bool) -> None:
    world = Full()
    for role in ("www", "db"):
        world.engine.state.apply(PutQuota(role, Resources(10**6, 10**6, 10**6)))
    world.fill(**weak)
    world.want(**strong)
    world.pass_s(300)
    assert bool(world.preempted()) is gives_way


def test_nobody_goes_where_it_would_not_help() -> None:
    world = Full()
    world.fill()
    world.want(resources=(wire.Resource(num_cpus=9.0), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64)))
    world.pass_s(600)
    assert world.preempted() == []
    assert world.count("searches") > 5
    assert world.count("slots") == 0


def test_no_more_go_than_must() -> None:
    world = Full()
    world.fill(tasks=2)
    world.want(resources=HALF)
    world.pass_s(300)
    assert len(world.preempted()) == 1


def test_constraints_say_where() -> None:
    world = Full()
    weak = world.fill(hosts=2)
    value = wire.TaskConstraint(value=wire.ValueConstraint(False, ("r1",)))
    world.want(constraints=(wire.Constraint("rack", value),))
    world.pass_s(300)
    assert world.preempted() == [task.task_id for task in weak if task.host == "host-2"]


def test_limits_count_those_that_will_be_there() -> None:
    world = Full()
    world.fill(hosts=2, tasks=2)
    limit = wire.TaskConstraint(limit=wire.LimitConstraint(1))
    world.want(instances=3, resources=HALF, constraints=(wire.Constraint("host", limit),))
    world.pass_s(260)
    hosts = [world.engine.state.tasks[task_id].host for task_id in world.preempted()]
    assert sorted(map(str, hosts)) == ["host-1", "host-2"]


def test_a_host_that_is_drained_or_unknown_is_no_target() -> None:
    world = Full()
    world.fill(hosts=2)
    hosts = world.engine.state.hosts
    world.engine.state.apply(PutHost(hosts["host-1"]._replace(mode=Mode.DRAINING)))
    world.engine.state.apply(DropHost("host-2"))
    world.want()
    world.pass_s(600)
    assert world.preempted() == []


def test_so_many_slots_at_a_time_and_no_second_for_whom_one_is_made() -> None:
    world = Full()
    world.fill(hosts=8)
    world.want(instances=7)
    world.pass_s(239)
    first = world.preempted()
    assert len(first) == 5
    world.pass_s(62)
    assert len(world.preempted()) == 7, "two more, and none for those that wait for theirs"
    world.pass_s(120)
    assert world.count("slots") == 7


def test_what_was_made_free_is_for_the_group_and_the_rest_for_others_afterwards() -> None:
    world = Full()
    (weak,) = world.fill()
    world.want()
    world.pass_s(300)
    other = JobKey("other", "prod", "other")
    world.create(other)
    world.status(weak, "KILLED")
    world.pass_s(100)
    world.offers(offer(1, cpus=1.5))
    world.pass_s(1)
    assert world.launched() == [], "too small for whom it is kept, and kept all the same"
    (held,) = world.engine.offers
    world.handle(Rescind(held.offer_id))
    world.offers(offer(1))
    world.pass_s(1)
    assert [task.job for task in world.launched()] == [STRONG]
    world.offers(offer(1, cpus=1.1))
    world.pass_s(60)
    assert [task.job for task in world.launched()] == [other]


def test_a_slot_that_is_not_used_is_not_waited_for_for_ever() -> None:
    world = Full(offer_reservation_duration_s=30.0)
    weak = world.fill(hosts=2)
    world.want()
    world.pass_s(300)
    assert len(world.preempted()) == 1
    for task in weak:
        if task.task_id in world.preempted():
            world.status(task, "KILLED")
    world.pass_s(170)
    assert world.preempted() == []
    world.pass_s(300)  # five minutes were over, and nothing was offered
    assert len(world.preempted()) == 1
    assert world.count("slots") == 2


def test_nobody_gives_way_while_mesos_is_away_or_has_only_just_come_back() -> None:
    world = Full()
    world.fill()
    world.want()
    world.pass_s(100)
    world.handle(Disconnected("the master is gone"))
    world.pass_s(500)
    assert world.preempted() == []
    world.handle(Subscribed("fw-1", 15.0, "master:5050"))
    world.pass_s(59)
    assert world.preempted() == []
    world.pass_s(70)
    assert len(world.preempted()) == 1


def test_switched_off_it_does_nothing() -> None:
    world = Full(enable_preemptor=False)
    world.fill()
    world.want()
    world.pass_s(900)
    assert world.preempted() == []


def test_after_a_failover_a_full_host_that_offers_nothing_is_a_target() -> None:
    world = Full()
    (weak,) = world.fill()
    world.want()
    world.pass_s(10)
    other = Full(state=world.engine.state, now=world.now)
    other.pass_s(300)
    assert other.preempted() == [weak.task_id]


def test_nothing_is_looked_for_while_nobody_waits() -> None:
    world = Full()
    world.fill()
    world.pass_s(1000)
    assert world.count("searches") == 0
