"""Tasks are placed wherever asking every offer would place them, and nowhere else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.changes import PutHost, PutTask
from scheduler.core.events import Now
from scheduler.core.matching import RESERVED, Room, Veto, VetoKind, needed, total, vetoes
from scheduler.core.offers import OfferBook, room_of
from scheduler.core.placement import Placement, Result, place
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.model import Config, Host, Mode, Task
from scheduler.states import ACTIVE, ScheduleStatus
from tests.support import scheduled
from tests.support.offered import chance_of, hold, never_by_chance, offer
from tests.support.scheduled import SETTINGS, limit_constraint, value_constraint
from thermos.formats.mesos_v1_scheduler import Offer

S = ScheduleStatus
NOW = Now(wall_ms=1_000_000, mono_s=50.0)


def pending(config: Config, count: int) -> list[Task]:
    return [scheduled.task(S.PENDING, task_id=f"t{number}", instance=number, of=config) for number in range(count)]


class Cluster:
    """A book and a state that agree."""

    def __init__(self, *offers: Offer, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.book = OfferBook(settings, never_by_chance)
        self.state = State()
        hold(self.book, self.state, *offers)

    def running(self, config: Config, *hosts: str, status: ScheduleStatus = S.RUNNING) -> None:
        for number, host in enumerate(hosts):
            task_id = f"{status.name}-{number}-{host}"
            one = scheduled.task(S.PENDING, status, task_id=task_id, of=config, agent_id="a", host=host)
            self.state.apply(PutTask(one))

    def place(self, config: Config, count: int = 1) -> Result:
        return place(config, pending(config, count), self.book, self.state, self.settings, NOW, never_by_chance)

    def hosts(self, config: Config, count: int = 1) -> list[str]:
        return [one.host for one in self.place(config, count).placements]

    def reasons(self, config: Config) -> list[str]:
        result = self.place(config)
        assert not result.is_complete
        return [veto.reason for veto in result.nearest]


# -- stories -----------------------------------------------------------------------------------------------------------


def test_a_placement_says_where_and_with_which_ports() -> None:
    cluster = Cluster(offer(7, ports=[(31000, 31001)]))
    (one,) = cluster.place(scheduled.config(ports=("http", "admin"))).placements
    assert one == ("t0", "offer-7", "agent-7", "h7", (("admin", 31000), ("http", 31001)))


def test_several_fit_on_one_offer_and_no_more_than_fit() -> None:
    cluster = Cluster(offer(1, cpus=4.0))
    config = scheduled.config(cpus=1.0)  # and a quarter for each executor
    result = cluster.place(config, 5)
    assert [one.task_id for one in result.placements] == ["t0", "t1", "t2"]
    assert not result.is_complete
    assert result.nearest == (Veto(VetoKind.RESOURCES, "Insufficient: CPU", 62),)
    assert cluster.reasons(config) == ["Insufficient: CPU"]
    assert cluster.hosts(scheduled.config(cpus=0.0)) == ["h1"]


def test_tasks_spread_over_agents_before_they_share_one() -> None:
    cluster = Cluster(*(offer(number) for number in range(4)))
    assert sorted(cluster.hosts(scheduled.config(cpus=0.25), 4)) == ["h0", "h1", "h2", "h3"]


def test_small_rests_are_filled_where_that_is_the_order() -> None:
    cluster = Cluster(offer(1, cpus=4.0), offer(2, cpus=2.0), settings=replace(SETTINGS, offer_order=("CPU",)))
    assert cluster.hosts(scheduled.config(cpus=0.75), 4) == ["h2", "h2", "h1", "h1"]


def test_a_taken_offer_is_not_used_again() -> None:
    cluster = Cluster(offer(1))
    assert cluster.hosts(scheduled.config(cpus=0.25)) == ["h1"]
    cluster.book.take("offer-1")
    assert cluster.place(scheduled.config(cpus=0.25)) == Result((), False, (), Room(500, 256, 256), frozenset())


def test_limits_count_what_is_active_and_what_was_just_placed() -> None:
    racks = {"h1": "a", "h2": "a", "h3": "b", "h4": "c"}
    cluster = Cluster(*(offer(int(host[1]), attributes=[("rack", rack)]) for host, rack in racks.items()))
    config = scheduled.config(cpus=0.25, constraints=(limit_constraint("rack", 2),))
    cluster.running(config, "h1")
    cluster.running(config, "h3", "h3")
    cluster.running(config, "h4", "h4", "h4", status=S.FINISHED)
    result = cluster.place(config, 9)
    assert Counter(racks[one.host] for one in result.placements) == {"a": 1, "c": 2}
    assert result.nearest == (Veto(VetoKind.LIMIT, "Limit not satisfied: rack", 10_000),)
    assert result.full == {("rack", "a"), ("rack", "b"), ("rack", "c")}


def test_another_job_does_not_count() -> None:
    cluster = Cluster(offer(1))
    cluster.running(scheduled.config(job=scheduled.JOB._replace(name="other")), "h1")
    assert cluster.hosts(scheduled.config(cpus=0.25, constraints=(limit_constraint("host", 1),)), 3) == ["h1"]


def test_tasks_on_hosts_without_an_offer_count_too() -> None:
    cluster = Cluster(offer(1, attributes=[("rack", "a")]))
    cluster.state.apply(PutHost(Host("away", "agent-9", (("rack", frozenset({"a"})),))))
    config = scheduled.config(cpus=0.25, constraints=(limit_constraint("rack", 1),))
    cluster.running(config, "away")
    assert cluster.reasons(config) == ["Limit not satisfied: rack"]


def test_a_change_of_mode_counts_though_the_book_was_not_told() -> None:
    cluster = Cluster(offer(1), offer(2))
    cluster.state.apply(PutHost(cluster.state.hosts["h1"]._replace(mode=Mode.DRAINING)))
    assert cluster.hosts(scheduled.config(cpus=0.25), 4) == ["h2"] * 4
    cluster.state.apply(PutHost(cluster.state.hosts["h2"]._replace(mode=Mode.DRAINED)))
    assert cluster.reasons(scheduled.config(cpus=0.25)) == ["Host draining for maintenance"]


def test_agents_about_to_go_are_left_out() -> None:
    soon_s, later_s = NOW.wall_ms / 1000 + 300, NOW.wall_ms / 1000 + 900
    cluster = Cluster(offer(1, unavailable_at_s=soon_s), offer(2, unavailable_at_s=later_s))
    assert cluster.hosts(scheduled.config(cpus=0.25), 2) == ["h2", "h2"]


def test_revocable_cpus_are_for_revocable_tiers_alone() -> None:
    cluster = Cluster(offer(1, cpus=0.0, revocable_cpus=8.0))
    assert cluster.reasons(scheduled.config(cpus=1.0)) == ["Insufficient: CPU"]
    assert cluster.hosts(scheduled.config(cpus=1.0, tier="revocable")) == ["h1"]


def test_a_reserved_agent_takes_those_it_is_kept_for_and_they_go_there_first() -> None:
    cluster = Cluster(offer(1), offer(2))
    config = scheduled.config(cpus=1.5)
    cluster.book.reserve("agent-2", (config.job, 1), 60.0)
    assert cluster.hosts(config, 3) == ["h1", "h2", "h1"]


def test_a_reservation_for_a_group_is_for_all_its_tasks() -> None:
    cluster = Cluster(offer(1), offer(2))
    config = scheduled.config(cpus=1.5)
    cluster.book.reserve("agent-2", config.digest, 60.0)
    assert cluster.hosts(config, 3) == ["h2", "h2", "h1"]


def test_what_is_kept_for_others_is_the_reason() -> None:
    cluster = Cluster(offer(1))
    cluster.book.reserve("agent-1", "somebody", 60.0)
    assert cluster.place(scheduled.config()).nearest == (RESERVED,)
    cluster.book.reserve("agent-1", "somebody", NOW.mono_s)
    assert cluster.hosts(scheduled.config()) == ["h1"]


@pytest.mark.parametrize(
    "offers, expected",
    [
        ([], []),
        ([offer(1, cpus=1.0)], ["Insufficient: CPU"]),
        ([offer(1, cpus=1.0, ram_mb=10.0, ports=[])],
         ["Insufficient: CPU", "Insufficient: RAM", "Insufficient: ports"]),
        # Little of one kind is nearer than much of another, and a shortage nearer than any constraint.
        ([offer(1, cpus=2.2), offer(2, ram_mb=20.0), offer(3, disk_mb=0.0)], ["Insufficient: disk"]),
        ([offer(1, ram_mb=200.0), offer(2, cpus=0.0)], ["Insufficient: RAM"]),
        ([offer(1, attributes=[("dedicated", "x")]), offer(2, cpus=0.0, ram_mb=1.0)],
         ["Insufficient: CPU", "Insufficient: RAM"]),
        ([offer(1, attributes=[("dedicated", "x")])], ["Host is dedicated"]),
        ([offer(1, unavailable_at_s=1.0), offer(2, attributes=[("dedicated", "x")])],
         ["Host draining for maintenance"]),
    ],
)  # fmt: skip
def test_the_nearest_agent_is_the_reason(offers: list[Offer], expected: list[str]) -> None:
    assert Cluster(*offers).reasons(scheduled.config(cpus=2.0, ram_mb=500, ports=("http",))) == expected


# -- against the slow and obvious way ----------------------------------------------------------------------------------

OFFERS = st.builds(
    offer,
    cpus=st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    ram_mb=st.sampled_from([100.0, 300.0, 5000.0]),
    disk_mb=st.sampled_from([100.0, 600.0, 5000.0]),
    ports=st.sampled_from([[], [(1, 1)], [(1, 2), (5, 9)]]),
    revocable_cpus=st.sampled_from([0.0, 2.0]),
    attributes=st.lists(
        st.tuples(st.sampled_from(["rack", "zone"]), st.sampled_from("ab"))
        | st.tuples(st.just("dedicated"), st.sampled_from(["www/db", "*/gpu"])),
        max_size=3,
        unique=True,
    ),
    unavailable_at_s=st.sampled_from([None, None, None, 1200.0, 1400.0]),
)
NUMBERED = st.lists(OFFERS, max_size=8).map(
    lambda offers: [
        one._replace(offer_id=f"offer-{number}", agent_id=f"agent-{number}", hostname=f"h{number}")
        for number, one in enumerate(offers)
    ]
)
CONSTRAINTS = st.one_of(
    st.builds(
        lambda name, values, negated: value_constraint(name, *values, negated=negated),
        st.sampled_from(["rack", "zone"]),
        st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        st.booleans(),
    ),
    st.builds(limit_constraint, st.sampled_from(["rack", "host"]), st.integers(0, 3)),
    st.just(value_constraint("dedicated", "www/db")),
)
CONFIGS = st.builds(
    lambda constraints, **more: scheduled.config(constraints=tuple(constraints), **more),
    st.lists(CONSTRAINTS, max_size=3),
    cpus=st.sampled_from([0.25, 1.0]),
    ram_mb=st.sampled_from([64, 256]),
    disk_mb=st.sampled_from([64, 512]),
    ports=st.sampled_from([(), ("http",), ("http", "admin")]),
    tier=st.sampled_from(["preemptible", "preemptible", "revocable"]),
)


class Given(NamedTuple):
    offers: list[Offer]
    modes: list[int]
    configs: list[tuple[Config, int]]
    running: list[tuple[int, ScheduleStatus]]
    order: tuple[str, ...]
    seed: int


GIVEN = st.builds(
    Given,
    NUMBERED,
    st.lists(st.sampled_from([Mode.NONE, Mode.NONE, Mode.SCHEDULED, Mode.DRAINING]), min_size=8, max_size=8),
    st.lists(st.tuples(CONFIGS, st.integers(1, 6)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from([S.RUNNING, S.ASSIGNED, S.FAILED])), max_size=4),
    st.sampled_from([("RANDOM",), ("CPU",), ("MEMORY", "RANDOM"), ("DISK", "CPU")]),
    st.integers(0, 3),
)


class Slow:
    """What is left of each offer and which tasks are where, asked one by one."""

    def __init__(self, given: Given, state: State, options: Settings) -> None:
        self.options = options
        self.offers = {one.offer_id: one for one in given.offers}
        self.rooms = {one.offer_id: room_of(one) for one in given.offers}
        self.state = state
        self.ports: dict[str, set[int]] = {one.offer_id: set() for one in given.offers}

    def vetoes(self, config: Config, offer_id: str) -> tuple[Veto, ...]:
        one = self.offers[offer_id]
        unavailable = one.unavailability

        def active_with(attribute: str, value: str) -> int:
            tasks = [task for task in self.state.tasks.values() if task.job == config.job and task.status in ACTIVE]
            hosts = [self.state.hosts.get(task.host) or Host(task.host, None) for task in tasks if task.host]
            return sum(value in host.values(attribute) for host in hosts)

        return vetoes(
            config,
            self.rooms[offer_id],
            self.state.hosts[one.hostname],
            active_with,
            self.options,
            None if unavailable is None else unavailable.start_ns / 1e9 - NOW.wall_ms / 1000,
        )

    def nearest(self, config: Config) -> tuple[Veto, ...] | None:
        """None: there is no offer; empty: one would take it."""
        return min(
            (self.vetoes(config, offer_id) for offer_id in self.offers),
            key=lambda one: (one != (), total(one)),
            default=None,
        )


def attempt(given: Given) -> list[tuple[Config, int, Result]]:
    """Places each of the configurations after the other, and checks each placement as it comes."""
    options = replace(SETTINGS, offer_order=given.order)
    book = OfferBook(options, chance_of(given.seed))
    state = State()
    for one, mode in zip(given.offers, given.modes, strict=False):
        hold(book, state, one, mode=mode)
    for number, (host, status) in enumerate(given.running):
        config = given.configs[0][0]
        there = scheduled.task(S.PENDING, status, task_id=f"r{number}", of=config, agent_id="a", host=f"h{host}")
        state.apply(PutTask(there))
    slow = Slow(given, state, options)
    chance = chance_of(given.seed)
    results = []
    for number, (config, count) in enumerate(given.configs):
        tasks = [task._replace(task_id=f"{number}-{task.task_id}") for task in pending(config, count)]
        result = place(config, tasks, book, state, options, NOW, chance)
        results.append((config, count, result))
        assert [one.task_id for one in result.placements] == [task.task_id for task in tasks][: len(result.placements)]
        for placement, task in zip(result.placements, tasks, strict=False):
            check_placement(placement, task, slow)
        check_rest(result, config, count, slow)
    return results


def check_placement(one: Placement, task: Task, slow: Slow) -> None:
    _, offer_id, agent_id, host, ports = one
    config = task.config
    assert slow.vetoes(config, offer_id) == (), "the slow way would not place it there"
    assert (agent_id, host) == (slow.offers[offer_id].agent_id, slow.offers[offer_id].hostname)
    assert [name for name, _ in ports] == sorted(config.ports)
    numbers = {number for _, number in ports}
    offered = {
        port for some in slow.offers[offer_id].ports for begin, end in some.ranges for port in range(begin, end + 1)
    }
    assert len(numbers) == len(ports)
    assert numbers <= offered
    assert not numbers & slow.ports[offer_id], "a port is given twice"
    slow.ports[offer_id] |= numbers
    slow.rooms[offer_id] = slow.rooms[offer_id].minus(needed(config, slow.options))
    assert min(slow.rooms[offer_id]) >= 0
    slow.state.apply(PutTask(task._replace(status=S.ASSIGNED, agent_id=agent_id, host=host, ports=ports)))


def check_rest(result: Result, config: Config, count: int, slow: Slow) -> None:
    assert result.is_complete == (len(result.placements) == count)
    if result.is_complete:
        return
    least = slow.nearest(config)
    assert least != (), "the slow way would place one more"
    assert total(result.nearest) == total(least or ())
    assert bool(result.nearest) == (least is not None)
    assert result.need == needed(config, slow.options)
    for offer_id, one in slow.offers.items():
        limited = any(veto.kind is VetoKind.LIMIT for veto in slow.vetoes(config, offer_id))
        host = slow.state.hosts[one.hostname]
        if any(value in host.values(name) for name, value in result.full):
            assert slow.vetoes(config, offer_id)
        elif limited:
            # Only a limit that lets nobody in is not told by what is full.
            assert any(limit.limit == 0 for limit in config.constraints)


@settings(max_examples=400, deadline=None)
@given(GIVEN)
def test_it_places_what_asking_every_offer_would(given: Given) -> None:
    attempt(given)


@settings(max_examples=50, deadline=None)
@given(GIVEN)
def test_the_same_inputs_give_the_same_placements(given: Given) -> None:
    assert attempt(given) == attempt(given)


def test_the_property_sees_placements_limits_and_failures() -> None:
    """The examples above would prove little if they placed nothing."""
    config = scheduled.config(cpus=0.25, constraints=(limit_constraint("rack", 1),), ports=("http",))
    offers = [offer(0, attributes=[("rack", "a")]), offer(1, attributes=[("rack", "b")])]
    ((_, _, result),) = attempt(Given(offers, [1] * 8, [(config, 3)], [], ("RANDOM",), 1))
    assert len(result.placements) == 2
    assert result.full == {("rack", "a"), ("rack", "b")}
