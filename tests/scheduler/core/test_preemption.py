"""Choosing victims: nobody goes for nothing, and a search of all agents finds what looking at each one does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.changes import PutHost, PutTask
from scheduler.core.matching import Room, needed, vetoes
from scheduler.core.offers import OfferBook
from scheduler.core.placement import Limits
from scheduler.core.preemption import Targets, choose_victims, gives_way
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.model import Config, Host, Mode, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from tests.support.world import offer
from thermos.formats import assigned_task as wire

SETTINGS = Settings(receive_revocable_resources=True)
TIERS = ("preferred", "preemptible", "revocable")


def config(
    tier: str, role: str = "www", priority: int = 0, cpus: float = 1.0, ram_mb: int = 100, limit: int | None = None
) -> Config:
    constraints = () if limit is None else (
        wire.Constraint("host", wire.TaskConstraint(limit=wire.LimitConstraint(limit))),
    )  # fmt: skip
    return config_of(
        wire.TaskConfig(
            job=wire.JobKey(role, "prod", f"{tier}{priority}"),
            tier=tier,
            priority=priority,
            resources=(wire.Resource(num_cpus=cpus), wire.Resource(ram_mb=ram_mb), wire.Resource(disk_mb=1)),
            constraints=constraints,
        )
    )


configs = st.builds(
    config, st.sampled_from(TIERS), st.sampled_from(["www", "db"]), st.integers(0, 2), st.sampled_from([0.5, 1.0, 4.0]),
    st.sampled_from([50, 100, 400]),
)  # fmt: skip
statuses = st.sampled_from([ScheduleStatus.RUNNING] * 4 + [ScheduleStatus.ASSIGNED, ScheduleStatus.KILLING])


def tasks_on(number: int, found: list[tuple[Config, ScheduleStatus]]) -> list[Task]:
    return [
        Task(f"task-{number}-{index}", index, of, status, (TaskEvent(1, status),), f"agent-{number}", f"host-{number}")
        for index, (of, status) in enumerate(found)
    ]


agents = st.lists(st.lists(st.tuples(configs, statuses), max_size=6), min_size=1, max_size=5)
HOST = Host("host-0", "agent-0")


@settings(max_examples=300, deadline=None)
@given(configs, st.lists(st.tuples(configs, statuses), max_size=8), st.integers(0, 3))
def test_nobody_goes_for_a_task_that_would_not_fit_afterwards(
    candidate: Config, found: list[tuple[Config, ScheduleStatus]], cpus: int
) -> None:
    tasks = tasks_on(0, found)
    free = Room(cpus * 1000, 200, 100)
    victims = choose_victims(candidate, tasks, free, HOST, lambda *_: 0, SETTINGS)

    def fits(gone: list[Task]) -> bool:
        room = free
        for task in gone:
            room = room.plus(needed(task.config, SETTINGS))
        return not vetoes(candidate, room, HOST, lambda *_: 0, SETTINGS)

    may = [task for task in tasks if task.status is not ScheduleStatus.KILLING]
    may = [task for task in may if gives_way(task.config, candidate, SETTINGS)]
    if victims is None:
        assert not fits(may)
        return
    assert fits(list(victims))
    assert set(victims) <= set(may)
    for spared in victims:
        assert not fits([task for task in victims if task is not spared]), "none of them goes without need"
    again = choose_victims(candidate, tasks[::-1], free, HOST, lambda *_: 0, SETTINGS)
    assert again is not None and set(again) == set(victims), "whatever the order in which they are known"


def test_the_largest_go_first_and_who_is_not_needed_is_spared() -> None:
    running = ScheduleStatus.RUNNING
    sizes = [1.0, 2.0, 4.0, 3.0]
    tasks = tasks_on(
        0, [(config("preemptible", priority=index, cpus=cpus), running) for index, cpus in enumerate(sizes)]
    )
    candidate = config("preferred", cpus=5.0)
    victims = choose_victims(candidate, tasks, Room(0, 1000, 100), HOST, lambda *_: 0, SETTINGS)
    assert victims is not None
    assert [task.config.resources.cpus for task in victims] == [4.0, 3.0]
    # With 4 free, the largest is more than enough; with 7 to get, 4 and 3 are, and nobody else.
    victims = choose_victims(config("preferred", cpus=7.0), tasks, Room(1000, 1000, 100), HOST, lambda *_: 0, SETTINGS)
    assert victims is not None and [task.config.resources.cpus for task in victims] == [4.0, 3.0]


def test_revocable_cpus_do_not_help_who_needs_others() -> None:
    tasks = tasks_on(0, [(config("revocable", cpus=8.0), ScheduleStatus.RUNNING)])
    candidate = config("preferred", cpus=1.0)
    assert choose_victims(candidate, tasks, Room(0, 1000, 100), HOST, lambda *_: 0, SETTINGS) is None
    # Its memory is memory like any other.
    assert choose_victims(candidate, tasks, Room(1000, 0, 100), HOST, lambda *_: 0, SETTINGS) == tuple(tasks)


@settings(max_examples=150, deadline=None)
@given(configs, agents, st.integers(0, 4), st.integers(0, 4), st.sampled_from([None, 1]))
def test_a_search_finds_an_agent_exactly_where_one_by_one_would(
    candidate: Config, found: list[list[tuple[Config, ScheduleStatus]]], drained: int, offering: int, limit: int | None
) -> None:
    candidate = config(
        candidate.tier,
        candidate.job.role,
        candidate.priority,
        candidate.resources.cpus,
        candidate.resources.ram_mb,
        limit,
    )
    state, book, targets = State(), OfferBook(SETTINGS, lambda: 0.5), Targets(SETTINGS)
    for number, there in enumerate(found):
        mode = Mode.DRAINED if number == drained else Mode.NONE
        state.apply(PutHost(Host(f"host-{number}", f"agent-{number}", (), mode)))
        for task in tasks_on(number, there):
            state.apply(PutTask(task))
            if task.status is not ScheduleStatus.KILLING:
                targets.put(task)
        if number == offering:
            one = offer(number, cpus=0.5, ram_mb=50, disk_mb=5)
            book.add(one, 0.0, state.hosts[f"host-{number}"])
    targets.refresh(state.hosts, book)
    limits = Limits(candidate, state, book)
    chosen = {}
    for number, there in enumerate(found):
        agent = book.offering(f"agent-{number}")
        free = agent.room if agent is not None else Room()
        host = state.hosts[f"host-{number}"]
        victims = choose_victims(candidate, tasks_on(number, there), free, host, limits, SETTINGS)
        if victims == ():
            return  # it fits as it is
        if victims:
            chosen[f"agent-{number}"] = {task.task_id for task in victims}
    slot = targets.search(candidate, limits, book, 0)
    assert (slot is None) == (not chosen)
    if slot is not None:
        assert {task.task_id for task in slot.victims} == chosen[slot.agent_id]
        assert targets.search(candidate, limits, book, 0, without=chosen) is None
    # What went is not found any more.
    for task in list(state.tasks.values()):
        targets.drop(task)
    targets.refresh(state.hosts, book)
    assert targets.search(candidate, limits, book, 0) is None
