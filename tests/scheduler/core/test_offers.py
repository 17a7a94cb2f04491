"""Offers come, are held and go; the book finds by sets what looking at each offer would find."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.matching import Room
from scheduler.core.offers import OfferBook, pick_ports, room_of
from scheduler.core.settings import Settings
from scheduler.core.sliced import each
from scheduler.model import Host, Mode
from tests.support.offered import chance_of, never_by_chance, offer
from thermos.formats.mesos_v1_scheduler import Amount, Offer, Ports, Range

NO_JITTER = Settings(offer_hold_jitter_window_s=0.0)


def book_of(*offers: Offer, settings: Settings = NO_JITTER) -> OfferBook:
    book = OfferBook(settings, never_by_chance)
    for one in offers:
        assert book.add(one, 0.0) == ()
    return book


def held(book: OfferBook) -> list[str]:
    return [one.offer_id for one in book]


def names(book: OfferBook, rows: int) -> set[str]:
    return {book.agent(row).agent_id for row in each(rows)}


# -- what an offer has -------------------------------------------------------------------------------------------------


def test_amounts_of_one_name_add_up_and_revocable_ones_stay_apart() -> None:
    one = offer(cpus=0.1, ram_mb=100.5, disk_mb=10.0, gpus=1.0, revocable_cpus=2.0, revocable_ram_mb=50.0)
    reserved = (Amount("cpus", 0.2, False, {"reservations": []}), Amount("mem", 0.5, False, {"reservations": []}))
    more_ports = Ports("ports", (Range(80, 80),), False, {})
    others = (Amount("bandwidth", 5.0, False, {}), Ports("vlans", (Range(1, 9),), False, {}))
    revocable_ports = Ports("ports", (Range(90, 99),), True, {})
    given = one._replace(
        amounts=(*one.amounts, *reserved, others[0]), ports=(*one.ports, more_ports, others[1], revocable_ports)
    )
    assert room_of(given) == Room(300, 101, 10, 1, 11, 2000, 50)


def test_a_host_is_what_its_offer_says_in_the_mode_it_had() -> None:
    book = OfferBook(NO_JITTER, never_by_chance)
    given = offer(attributes=[("zone", "z"), ("rack", "b"), ("rack", "a")])
    described = (("rack", frozenset({"a", "b"})), ("zone", frozenset({"z"})))
    assert book.host_of(given, None) == Host("h1", "agent-1", described, Mode.NONE)
    draining = Host("h1", "an earlier agent", (), Mode.DRAINING)
    assert book.host_of(given, draining) == Host("h1", "agent-1", described, Mode.DRAINING)


def test_a_host_that_is_as_it_was_is_equal_to_what_is_known() -> None:
    given = offer(attributes=[("rack", "a")])
    book = book_of(given)
    known = book.host_of(given, None)
    assert book.host_of(given._replace(offer_id="another"), known) == known
    drained = known._replace(mode=Mode.DRAINED)
    assert book.host_of(given._replace(offer_id="another"), drained) == drained


def test_an_agent_that_moved_is_where_its_last_offer_says() -> None:
    book = book_of(offer(1, attributes=[("rack", "a"), ("zone", "z")]))
    assert names(book, book.labels.with_any("rack", ["a"])) == {"agent-1"}
    book.take("offer-1")
    moved = offer(1, attributes=[("rack", "b")], offer_id="again")
    book.add(moved._replace(hostname="other"), 1.0)
    assert book.labels.with_any("rack", ["a"]) == book.labels.having("zone") == 0
    assert names(book, book.labels.with_any("rack", ["b"])) == {"agent-1"}
    assert names(book, book.labels.with_any("host", ["other"])) == {"agent-1"}
    book.set_mode("h1", Mode.DRAINED)
    assert book.closed(0) == 0
    book.set_mode("other", Mode.DRAINED)
    assert names(book, book.closed(0)) == {"agent-1"}


def test_the_mode_that_comes_with_an_offer_is_the_newest() -> None:
    book = book_of(offer(1))
    book.take("offer-1")
    book.add(offer(1, offer_id="again"), 1.0, Host("h1", "agent-1", (), Mode.DRAINING))
    assert names(book, book.closed(0)) == {"agent-1"}


# -- coming and going --------------------------------------------------------------------------------------------------


def test_a_second_offer_of_an_agent_gives_both_back() -> None:
    book = book_of(offer(1), offer(2))
    assert book.add(offer(1, offer_id="second"), 1.0) == ("offer-1", "second")
    assert held(book) == ["offer-2"]
    assert book.add(offer(1, offer_id="third"), 2.0) == ()
    assert held(book) == ["offer-2", "third"]


def test_an_offer_heard_twice_is_one() -> None:
    book = book_of(offer(1))
    book.use(book.agent(0), Room(1000), (), never_by_chance)
    assert book.add(offer(1), 1.0) == ()
    assert (held(book), book.agent(0).room.milli_cpus) == (["offer-1"], 3000)


def test_an_offer_is_taken_once() -> None:
    book = book_of(offer(1))
    assert book.take("offer-1") == offer(1)
    with pytest.raises(KeyError):
        book.take("offer-1")


def test_rescinded_offers_and_those_of_lost_agents_are_gone() -> None:
    book = book_of(offer(1), offer(2), offer(3))
    book.rescind("offer-1")
    book.rescind("offer-1")
    book.rescind("never heard of")
    book.lose_agent("agent-2")
    book.lose_agent("never heard of")
    assert held(book) == ["offer-3"]
    assert names(book, book.open) == {"agent-3"}


def test_clear_names_what_was_held() -> None:
    book = book_of(offer(1), offer(2))
    assert book.clear() == ("offer-1", "offer-2")
    assert (len(book), book.open, book.next_expiry_s) == (0, 0, None)


def test_offers_are_held_for_five_minutes() -> None:
    book = book_of(offer(1))
    book.add(offer(2), 10.0)
    assert [book.next_expiry_s, book.expired(299.0)] == [300.0, []]
    assert [book.expired(300.0), book.next_expiry_s] == [["offer-1"], 310.0]
    book.rescind("offer-2")
    assert [book.next_expiry_s, book.expired(1000.0)] == [None, []]


def test_they_do_not_all_end_at_once() -> None:
    book = OfferBook(Settings(), iter([0.0, 0.5]).__next__)
    book.add(offer(1), 0.0)
    book.add(offer(2), 0.0)
    assert book.expired(329.0) == ["offer-1"]
    assert book.next_expiry_s == 330.0


def test_held_for_ever_where_that_is_asked_for() -> None:
    book = book_of(offer(1), settings=Settings(hold_offers_forever=True))
    assert book.next_expiry_s is None
    assert book.expired(1e9) == []


def test_news_are_told_once() -> None:
    book = book_of(offer(1, attributes=[("rack", "a")]), offer(2), offer(3))
    book.rescind("offer-2")
    assert [(host.name, room.milli_cpus) for host, room in book.fresh()] == [("h1", 4000), ("h3", 4000)]
    assert book.fresh() == []
    book.set_mode("h3", Mode.DRAINING)
    book.set_mode("h1", Mode.NONE)
    assert [(host.name, host.mode) for host, _ in book.fresh()] == [("h3", Mode.DRAINING)]


# -- reservations ------------------------------------------------------------------------------------------------------


def test_reservations_end_by_time_by_release_or_by_another() -> None:
    book = book_of(offer(1), offer(2), offer(3))
    book.reserve("agent-1", "group", 10.0)
    book.reserve("agent-2", "group", 20.0)
    book.reserve("agent-3", "other", 20.0)
    assert names(book, book.reserved(0.0)) == {"agent-1", "agent-2", "agent-3"}
    assert names(book, book.reserved_for("group")) == {"agent-1", "agent-2"}
    assert names(book, book.reserved(10.0)) == {"agent-2", "agent-3"}
    assert names(book, book.reserved_for("group")) == {"agent-2"}
    book.reserve("agent-3", "group", 30.0)
    book.release("other")
    assert names(book, book.reserved_for("group")) == {"agent-2", "agent-3"}
    book.release("group")
    assert book.reserved(10.0) == 0


def test_reservations_outlive_a_lost_connection_but_not_the_agent() -> None:
    book = book_of(offer(1), offer(2))
    book.reserve("agent-1", "group", 10.0)
    book.reserve("agent-2", "group", 10.0)
    book.lose_agent("agent-2")
    book.clear()
    book.add(offer(2), 0.0)
    book.add(offer(1), 0.0)
    assert names(book, book.reserved(0.0)) == {"agent-1"}


# -- order -------------------------------------------------------------------------------------------------------------


def best(order: tuple[str, ...], *offers: Offer, modes: dict[str, int] | None = None) -> list[str]:
    """Agents in the order in which the book would choose them."""
    book = book_of(*offers, settings=replace(NO_JITTER, offer_order=order))
    for host, mode in (modes or {}).items():
        book.set_mode(host, mode)
    rows = book.open
    found = []
    while rows:
        chosen = book.choose(rows, never_by_chance)
        found.append(chosen.agent_id.removeprefix("agent-"))
        rows ^= chosen.bit
    return found


@pytest.mark.parametrize(
    "order, expected",
    [
        (("CPU",), ["2", "3", "1"]),
        (("MEMORY",), ["1", "3", "2"]),
        (("DISK",), ["3", "1", "2"]),
        (("DISK", "MEMORY"), ["3", "1", "2"]),
        (("REVOCABLE_CPU", "CPU"), ["2", "1", "3"]),
        (("RANDOM",), ["1", "2", "3"]),
    ],
)
def test_small_rests_are_used_first(order: tuple[str, ...], expected: list[str]) -> None:
    offers = (
        offer(1, cpus=3.0, ram_mb=100.0, disk_mb=20.0, revocable_cpus=1.0),
        offer(2, cpus=1.0, ram_mb=300.0, disk_mb=20.0, revocable_cpus=1.0),
        offer(3, cpus=2.0, ram_mb=200.0, disk_mb=10.0, revocable_cpus=2.0),
    )
    assert best(order, *offers) == expected


def test_maintenance_goes_before_size_and_modes_before_mesos() -> None:
    offers = (
        offer(1, cpus=1.0, unavailable_at_s=1000.0),
        offer(2, cpus=2.0, unavailable_at_s=2000.0),
        offer(3, cpus=3.0),
        offer(4, cpus=4.0),
        offer(5, cpus=0.5),
    )
    assert best(("CPU",), *offers, modes={"h5": Mode.SCHEDULED}) == ["3", "4", "2", "1", "5"]


def test_agents_that_were_begun_come_last_among_equals() -> None:
    book = book_of(offer(1), offer(2))
    book.use(book.agent(0), Room(1000), (), never_by_chance)
    assert book.choose(book.open, never_by_chance).agent_id == "agent-2"


def test_a_new_offer_is_not_begun() -> None:
    book = book_of(offer(1), offer(2))
    for number in (0, 1):
        book.use(book.agent(number), Room(1000), (), never_by_chance)
    book.take("offer-2")
    book.add(offer(2, offer_id="again"), 1.0)
    assert book.choose(book.open, never_by_chance).agent_id == "agent-2"


def test_maintenance_that_was_called_off_is_forgotten() -> None:
    book = book_of(offer(1, unavailable_at_s=10.0))
    assert names(book, book.closed(0)) == {"agent-1"}
    book.rescind("offer-1")
    book.add(offer(1, offer_id="again"), 1.0)
    assert book.closed(0) == 0


def test_an_agent_does_not_inherit_the_maintenance_of_one_that_is_lost() -> None:
    book = book_of(offer(1, unavailable_at_s=1023.0))
    book.lose_agent("agent-1")
    book.add(offer(2, unavailable_at_s=1024.0), 1.0)
    assert book.closed(664_000) == book.open
    assert book.closed(663_000) == 0


def test_chance_decides_among_equals() -> None:
    book = book_of(*(offer(number) for number in range(50)))
    chance = chance_of()
    assert len({book.choose(book.open, chance).agent_id for _ in range(50)}) > 20


# -- ports -------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=5),
    st.integers(0, 8),
    st.integers(0, 10),
)
def test_ports_are_picked_once_each(gaps: list[tuple[int, int]], wanted: int, skipped: int) -> None:
    ranges = []
    at = 0
    for gap, size in gaps:
        ranges.append(Range(at + gap, at + gap + size - 1))
        at += gap + size
    every = [port for one in ranges for port in range(one.begin, one.end + 1)]
    wanted = min(wanted, len(every))
    skipped = min(skipped, len(every) - wanted)
    found, left = pick_ports(ranges, wanted, skipped)
    assert found == every[skipped : skipped + wanted]
    assert [port for one in left for port in range(one.begin, one.end + 1)] == [
        port for port in every if port not in found
    ]


def test_ports_begin_anywhere() -> None:
    given = offer(1, ports=[(1, 100)])
    found = set()
    for seed in range(20):
        book = book_of(given)
        found.add(book.use(book.agent(0), Room(ports=1), ("http",), chance_of(seed)))
    assert len(found) > 10
    book = book_of(given)
    assert book.use(book.agent(0), Room(ports=1), ("http",), lambda: 0.999) == (("http", 100),)


def test_what_is_used_is_not_there_any_more() -> None:
    book = book_of(offer(1, ports=[(1, 2), (5, 6)]))
    agent = book.agent(0)
    ports = book.use(agent, Room(1000, 96, 0, 0, 3), ("a", "b", "c"), never_by_chance)
    assert ports == (("a", 1), ("b", 2), ("c", 5))
    assert agent.room == Room(3000, 4000, 10_000, 0, 1)
    assert book.use(agent, Room(ports=1), ("d",), never_by_chance) == (("d", 6),)
    assert book.with_room(book.open, Room(3000)) == agent.bit
    assert book.with_room(book.open, Room(3001)) == 0
    assert book.with_room(book.open, Room(ports=1)) == 0


# -- sets --------------------------------------------------------------------------------------------------------------

OFFERS = st.builds(
    offer,
    number=st.integers(0, 5),
    cpus=st.integers(0, 6).map(float),
    ram_mb=st.integers(0, 5).map(float),
    ports=st.just(((1, 3),)),
    attributes=st.lists(
        st.tuples(st.sampled_from(["rack", "zone", "host"]), st.sampled_from("abc")), max_size=3, unique=True
    ),
    unavailable_at_s=st.none() | st.integers(500, 900).map(float),
)
STEPS = st.one_of(
    OFFERS.map(lambda one: ("add", one)),
    OFFERS.map(lambda one: ("add", one)),
    st.tuples(st.just("take"), st.integers(0, 5)),
    st.tuples(st.just("use"), st.integers(0, 5)),
    st.tuples(st.just("lose"), st.integers(0, 5)),
    st.tuples(st.just("mode"), st.tuples(st.integers(0, 5), st.sampled_from([1, 2, 3, 4]))),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_sets_are_what_looking_at_each_agent_gives(story: list[tuple[str, object]]) -> None:
    book = OfferBook(NO_JITTER, never_by_chance)
    modes: dict[str, int] = {}
    known: dict[str, Offer] = {}
    for number, (what, about) in enumerate(story):
        if isinstance(about, Offer):
            about = about._replace(offer_id=f"offer-{number}")
            mode = modes.get(about.hostname, Mode.NONE)
            host = book.host_of(about, Host(about.hostname, None, (), mode))
            declined = book.add(about, 0.0, host)
            if declined:
                assert declined == (known.pop(about.agent_id).offer_id, about.offer_id)
            else:
                known[about.agent_id] = about
        elif isinstance(about, tuple):
            which, mode = about
            modes[f"h{which}"] = mode
            book.set_mode(f"h{which}", mode)
        elif what == "take" and f"agent-{about}" in known:
            book.take(known.pop(f"agent-{about}").offer_id)
        elif what == "lose":
            known.pop(f"agent-{about}", None)
            book.lose_agent(f"agent-{about}")
        elif what == "use" and f"agent-{about}" in known:
            agent = next(book.agent(row) for row in each(book.open) if book.agent(row).agent_id == f"agent-{about}")
            if agent.room.ram_mb:
                book.use(agent, Room(ram_mb=1), (), never_by_chance)

    agents = [book.agent(row) for row in each(book.open)]
    assert {agent.agent_id: agent.offer for agent in agents} == known
    assert sorted(held(book)) == sorted(one.offer_id for one in known.values())
    for agent in agents:
        assert agent.host.mode == modes.get(agent.host.name, Mode.NONE)
        assert agent.host == book.host_of(known[agent.agent_id], agent.host)

    def named(rows: int) -> set[str]:
        return names(book, rows & book.open)

    for amount in range(7):
        for kind in (0, 1):
            need = Room(**{Room._fields[kind]: amount * (1000 if kind == 0 else 1)})
            fitting = {agent.agent_id for agent in agents if agent.room.holds(need)}
            assert named(book.with_room(book.open, need)) == fitting
    for attribute in ("rack", "zone", "host"):
        having = {agent.agent_id for agent in agents if agent.host.values(attribute)}
        assert named(book.labels.having(attribute)) == having
        for value in ("a", "b", "c", "h1"):
            with_it = {agent.agent_id for agent in agents if value in agent.host.values(attribute)}
            assert named(book.labels.with_any(attribute, [value])) == with_it
    closed = {
        agent.agent_id
        for agent in agents
        if agent.host.mode in (Mode.DRAINING, Mode.DRAINED)
        or ((in_s := agent.unavailable_in_s(300_000)) is not None and in_s <= NO_JITTER.unavailability_threshold_s)
    }
    assert named(book.closed(300_000)) == closed
