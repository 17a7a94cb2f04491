"""Which groups are tried when, and why the others wait."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.changes import PutHost, PutTask
from scheduler.core.events import Now
from scheduler.core.groups import Group, TaskGroups
from scheduler.core.matching import Room, Veto, VetoKind, vetoes
from scheduler.core.offers import OfferBook
from scheduler.core.placement import Placement, Result, place
from scheduler.core.settings import Settings
from scheduler.core.sliced import each
from scheduler.core.state import State
from scheduler.model import Config, Host, Mode, Task
from scheduler.states import ACTIVE, ScheduleStatus
from tests.support import scheduled
from tests.support.offered import chance_of, hold, offer
from tests.support.scheduled import SETTINGS, limit_constraint, value_constraint

S = ScheduleStatus
SMALL = Settings(max_tasks_per_schedule_attempt=2)
CPU = Veto(VetoKind.RESOURCES, "Insufficient: CPU", 100)
RAM = Veto(VetoKind.RESOURCES, "Insufficient: RAM", 50)
RACK = Veto(VetoKind.CONSTRAINT, "Constraint not satisfied: rack", 10_000)
NEED = Room(1000, 128)


def pending(task_id: str, name: str = "web", priority: int = 0, **more: object) -> Task:
    config = scheduled.config(job=scheduled.JOB._replace(name=name), priority=priority, **more)
    return scheduled.task(S.PENDING, task_id=task_id, of=config)


def groups_of(*tasks: Task, settings: Settings = SMALL) -> TaskGroups:
    groups = TaskGroups(settings)
    for task in tasks:
        groups.add(task, 0.0)
    return groups


def placed(*task_ids: str, is_complete: bool = True) -> Result:
    return Result(tuple(Placement(one, "o", "a", "h", ()) for one in task_ids), is_complete)


def failed(*nearest: Veto, placed: Iterable[str] = (), full: Iterable[tuple[str, str]] = ()) -> Result:
    placements = tuple(Placement(one, "o", "a", "h", ()) for one in placed)
    return Result(placements, False, nearest, NEED, frozenset(full))


def only(groups: TaskGroups, now_s: float) -> Group:
    (group,) = groups.due(now_s)
    return group


def names(found: list[Group]) -> list[str]:
    return [group.config.job.name for group in found]


# -- grouping ----------------------------------------------------------------------------------------------------------


def test_tasks_of_one_configuration_are_one_group_tried_a_few_at_a_time() -> None:
    groups = groups_of(pending("a"), pending("b"), pending("c"))
    assert groups.due(0.0) == []
    assert groups.next_due_s == 0.001
    group = only(groups, 0.001)
    assert group.task_ids == ("a", "b")
    assert groups.due(0.002) == [], "it is being tried"
    groups.tried(group, placed("a", "b"), 0.002)
    assert groups.next_due_s == 0.003
    assert only(groups, 0.003).task_ids == ("c",)


def test_a_group_ends_with_its_last_task() -> None:
    groups = groups_of(pending("a"), pending("b", name="other"))
    groups.remove("a")
    groups.remove("a")
    group = only(groups, 1.0)
    groups.remove("b")  # assigned while it is being tried
    groups.tried(group, placed("b"), 1.0)
    assert (len(groups), groups.next_due_s) == (0, None)


def test_a_task_that_comes_while_its_group_is_tried_is_not_forgotten() -> None:
    groups = groups_of(pending("a"))
    group = only(groups, 1.0)
    groups.remove("a")
    groups.add(pending("b"), 1.0)
    groups.tried(group, placed("a"), 1.0)
    assert only(groups, 1.001).task_ids == ("b",)


def test_after_clear_an_attempt_that_was_under_way_changes_nothing() -> None:
    groups = groups_of(pending("a"))
    group = only(groups, 1.0)
    groups.clear()
    groups.add(pending("a"), 2.0)
    groups.tried(group, failed(CPU), 2.0)
    assert only(groups, 2.001).task_ids == ("a",)


# -- penalties ---------------------------------------------------------------------------------------------------------


def test_each_failure_doubles_the_wait_up_to_a_minute() -> None:
    groups = groups_of(pending("a"))
    now_s, waits = 1.0, []
    for _ in range(8):
        groups.tried(only(groups, now_s), failed(CPU), now_s)
        next_s = groups.next_due_s
        assert next_s is not None
        assert groups.due(next_s - 0.01) == []
        waits.append(next_s - now_s)
        now_s = next_s
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_success_ends_the_penalty() -> None:
    groups = groups_of(pending("a"), pending("b"), pending("c"))
    for now_s in (1.0, 2.0, 4.0):
        groups.tried(only(groups, now_s), failed(CPU), now_s)
    group = only(groups, 8.0)
    groups.tried(group, failed(CPU, placed=["a"]), 8.0)
    assert group.penalty_s == 1.0
    assert groups.next_due_s == 9.0


# -- order and limits --------------------------------------------------------------------------------------------------


def test_higher_priority_first_then_first_come() -> None:
    groups = TaskGroups(Settings())
    for number, (name, priority) in enumerate([("a", 0), ("b", 5), ("c", 0), ("d", 5)]):
        groups.add(pending(name, name, priority), number * 0.1)
    assert names(groups.due(1.0)) == ["b", "d", "a", "c"]


def test_a_large_group_takes_turns_with_others() -> None:
    groups = groups_of(*(pending(f"a{number}", "a") for number in range(9)), pending("b", "b"), pending("c", "c"))
    order = []
    now_s = 1.0
    while found := groups.due(now_s):
        for group in found:
            order.append(group.config.job.name)
            groups.tried(group, placed(*group.task_ids), now_s)
        now_s += 0.01
    assert order == ["a", "b", "c", "a", "a", "a", "a"]


def test_one_step_does_not_try_everything() -> None:
    groups = groups_of(*(pending(f"{name}{number}", name) for name in "abc" for number in range(2)))
    assert names(groups.due(1.0)) == ["a", "b"]
    assert groups.next_due_s is not None
    assert groups.next_due_s <= 1.0, "the rest is due at once"
    assert names(groups.due(1.0)) == ["c"]


def test_no_more_attempts_a_second_than_allowed() -> None:
    tasks = [pending(f"t{number}", f"job{number}") for number in range(20)]
    groups = groups_of(*tasks, settings=Settings(max_schedule_attempts_per_s=4.0))
    assert len(groups.due(1.0)) == 4
    assert groups.due(1.0) == []
    assert groups.next_due_s == 1.25
    assert len(groups.due(1.25)) == 1
    assert len(groups.due(1.75)) == 2
    assert len(groups.due(9.0)) == 4, "what was not used is not saved up"


def test_less_than_one_attempt_a_second_is_some() -> None:
    groups = groups_of(pending("a", "a"), pending("b", "b"), settings=Settings(max_schedule_attempts_per_s=0.5))
    assert len(groups.due(1.0)) == 1
    assert groups.next_due_s == 3.0
    assert len(groups.due(3.0)) == 1


# -- what ends a wait --------------------------------------------------------------------------------------------------


def waiting(task: Task, *, full: Iterable[tuple[str, str]] = ()) -> TaskGroups:
    groups = groups_of(task)
    groups.tried(only(groups, 1.0), failed(CPU, full=full), 1.0)
    return groups


@pytest.mark.parametrize(
    "room, mode, is_woken",
    [
        (NEED, Mode.NONE, True),
        (NEED, Mode.SCHEDULED, True),
        (NEED, Mode.DRAINING, False),
        (NEED._replace(milli_cpus=999), Mode.NONE, False),
    ],
)
def test_an_offer_that_may_help_ends_the_wait(room: Room, mode: int, is_woken: bool) -> None:
    groups = waiting(pending("a"))
    groups.offered([(Host("h", "agent", (), mode), room)], 1.5)
    assert groups.next_due_s == (1.5 if is_woken else 2.0)
    assert bool(groups.due(1.5)) == is_woken


def test_a_wait_that_was_ended_is_not_ended_again_by_time() -> None:
    groups = waiting(pending("a"))
    groups.offered([(Host("h", "agent"), NEED)], 1.5)
    groups.tried(only(groups, 1.5), failed(CPU), 1.5)
    assert groups.due(2.0) == []
    assert groups.next_due_s == 3.5


def test_where_a_limit_is_reached_no_offer_helps_but_a_task_that_ends() -> None:
    task = pending("a", constraints=(limit_constraint("host", 1),))
    groups = waiting(task, full=[("host", "h")])
    groups.offered([(Host("h", "agent"), NEED)], 1.5)
    assert groups.next_due_s == 2.0
    groups.freed(task.job._replace(name="another"), 1.5)
    assert groups.next_due_s == 2.0
    groups.freed(task.job, 1.5)
    assert groups.next_due_s == 1.5


def test_a_task_that_ends_changes_nothing_for_a_job_without_limits() -> None:
    task = pending("a")
    groups = waiting(task)
    groups.freed(task.job, 1.5)
    assert groups.next_due_s == 2.0


# -- reasons -----------------------------------------------------------------------------------------------------------


def test_reasons() -> None:
    task = pending("a")
    groups = groups_of(task)
    assert groups.reason(task) == "Not tried yet"
    assert groups.reason(pending("unknown")) == "Waits for the scheduler, which has just started"
    groups.tried(only(groups, 1.0), failed(), 1.0)
    assert groups.reason(task) == "No agent offers anything"
    groups.tried(only(groups, 2.0), failed(CPU, RAM), 2.0)
    assert groups.reason(task) == "Insufficient: CPU,Insufficient: RAM"


def test_the_nearest_of_the_last_ten_minutes_is_the_reason() -> None:
    task = pending("a")
    groups = groups_of(task)
    reasons = []
    for now_s, nearest in [(10.0, (RACK,)), (100.0, (CPU,)), (200.0, ()), (300.0, (RACK,)), (701.0, (RACK,))]:
        groups.tried(only(groups, now_s), failed(*nearest), now_s)
        reasons.append(groups.reason(task))
    assert reasons == [RACK.reason, CPU.reason, CPU.reason, CPU.reason, RACK.reason]


def test_what_kept_a_task_that_was_placed_is_no_reason_for_the_next() -> None:
    one, other = pending("a"), pending("b")
    groups = groups_of(one, other)
    groups.tried(only(groups, 1.0), failed(CPU), 1.0)
    groups.tried(only(groups, 2.0), failed(RACK, placed=["a"]), 2.0)
    assert groups.reason(other) == RACK.reason


def test_groups_can_be_looked_at() -> None:
    groups = waiting(pending("a"))
    groups.add(pending("b"), 1.0)
    (group,) = groups.groups.values()
    assert (group.pending, group.penalty_s, group.reason) == (("a", "b"), 1.0, CPU.reason)


# -- nobody is forgotten -----------------------------------------------------------------------------------------------

CONFIGS = [
    scheduled.config(job=scheduled.JOB._replace(name=f"job{number}"), cpus=cpus, constraints=constraints)
    for number, (cpus, constraints) in enumerate([
        (0.25, ()),
        (1.0, (limit_constraint("host", 1),)),
        (0.5, (limit_constraint("rack", 2), value_constraint("rack", "a", "b"))),
        (1.0, (value_constraint("rack", "a", negated=True),)),
        (0.5, (value_constraint("dedicated", "x"),)),
    ])
]  # fmt: skip
ATTRIBUTES = [(), (("rack", "a"),), (("rack", "b"),), (("rack", "b"), ("dedicated", "x"))]
STEPS = st.one_of(
    st.tuples(st.just("pending"), st.integers(0, len(CONFIGS) - 1), st.just(0)),
    st.tuples(st.just("offer"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("offer"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("ended"), st.integers(0, 20), st.just(0)),
    st.tuples(st.just("mode"), st.integers(0, 3), st.sampled_from([Mode.NONE, Mode.DRAINING])),
)


class World:
    """Groups, offers and state brought together as the engine does it; time stands still but for the first delay."""

    def __init__(self) -> None:
        self.groups = TaskGroups(Settings(max_schedule_attempts_per_s=1e6, executors=SETTINGS.executors))
        self.book = OfferBook(SETTINGS, chance_of())
        self.state = State()
        self.now_s = 0.0
        self.chance = chance_of()
        self.number = 0

    def take_in(self, what: str, which: int, more: int) -> None:
        self.number += 1
        if what == "pending":
            task = scheduled.task(S.PENDING, task_id=f"t{self.number}", of=CONFIGS[which])
            self.state.apply(PutTask(task))
            self.groups.add(task, self.now_s)
        elif what == "offer":
            self.book.lose_agent(f"agent-{which}")
            one = offer(which, cpus=1.0 + which, attributes=ATTRIBUTES[more], offer_id=f"o{self.number}")
            hold(self.book, self.state, one)
        elif what == "mode" and f"h{which}" in self.state.hosts:
            self.state.apply(PutHost(self.state.hosts[f"h{which}"]._replace(mode=more)))
            self.book.set_mode(f"h{which}", more)
        elif what == "ended":
            running = self.state.with_status([S.ASSIGNED])
            if running:
                task = running[which % len(running)]
                self.state.apply(PutTask(task._replace(status=S.FINISHED)))
                self.groups.freed(task.job, self.now_s)
        self.groups.offered(self.book.fresh(), self.now_s)

    def settle(self) -> None:
        """Try until no group is due."""
        self.now_s += 0.002
        while found := self.groups.due(self.now_s):
            used = set()
            for group in found:
                tasks = [self.state.tasks[task_id] for task_id in group.task_ids]
                now = Now(0, self.now_s)
                result = place(group.config, tasks, self.book, self.state, SETTINGS, now, self.chance)
                for one in result.placements:
                    task = self.state.tasks[one.task_id]
                    self.groups.remove(one.task_id)
                    self.state.apply(PutTask(task._replace(status=S.ASSIGNED, agent_id=one.agent_id, host=one.host)))
                    used.add(one.offer_id)
                self.groups.tried(group, result, self.now_s)
            for offer_id in used:
                self.book.take(offer_id)
            self.now_s += 0.002

    def count(self, config: Config, attribute: str, value: str) -> int:
        active = [task for task in self.state.tasks_of(config.job) if task.status in ACTIVE and task.host]
        return sum(value in self.state.hosts[task.host or ""].values(attribute) for task in active)

    def takers(self, config: Config) -> list[str]:
        """Hosts whose offers would take one more, asked one by one."""
        agents = [self.book.agent(row) for row in each(self.book.open)]
        return [
            agent.host.name
            for agent in agents
            if not vetoes(config, agent.room, agent.host, lambda name, value: self.count(config, name, value), SETTINGS)
        ]


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_no_group_waits_while_an_offer_would_take_it(story: list[tuple[str, int, int]]) -> None:
    world = World()
    for step in story:
        world.take_in(*step)
        world.settle()
        assert world.now_s < 0.9, "no group is tried because its penalty is over"
        pending_ids = [task_id for group in world.groups.groups.values() for task_id in group.pending]
        assert sorted(pending_ids) == sorted(task.task_id for task in world.state.with_status([S.PENDING]))
        for group in world.groups.groups.values():
            assert world.takers(group.config) == []
