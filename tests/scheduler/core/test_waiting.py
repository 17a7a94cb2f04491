"""An offer finds exactly the groups that it may help."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.matching import Room, is_satisfied
from scheduler.core.waiting import Waiting
from scheduler.model import Config, Host
from tests.support import scheduled
from tests.support.scheduled import limit_constraint, value_constraint

VALUES = st.lists(st.sampled_from("abc"), min_size=0, max_size=2, unique=True)
CONSTRAINTS = st.one_of(
    st.builds(
        lambda name, values, negated: value_constraint(name, *values, negated=negated),
        st.sampled_from(["rack", "zone", "dedicated"]),
        VALUES,
        st.booleans(),
    ),
    st.builds(limit_constraint, st.sampled_from(["rack", "zone", "host"]), st.integers(0, 2)),
)
CONFIGS = st.builds(
    lambda constraints: scheduled.config(constraints=tuple(constraints)),
    st.lists(CONSTRAINTS, max_size=2, unique_by=lambda one: one.name),
)
#: Chosen so that about half of what is needed has room.
NEEDS = st.builds(Room, *[st.sampled_from([0, 0, 0, 1, 2])] * 7)
ROOMS = st.builds(Room, *[st.sampled_from([2, 2, 2, 3, 1, 0])] * 7)
FULL = st.frozensets(st.tuples(st.sampled_from(["rack", "zone"]), st.sampled_from("abc")), max_size=2)
GROUPS = st.lists(st.tuples(st.integers(0, 9), CONFIGS, NEEDS, FULL), max_size=12)
HOSTS = st.builds(
    lambda attributes: Host("h1", "agent-1", tuple(sorted(attributes.items()))),
    st.dictionaries(
        st.sampled_from(["rack", "zone", "dedicated"]), st.frozensets(st.sampled_from("abc"), min_size=1)
    ),
)  # fmt: skip


def may_help(host: Host, room: Room, config: Config, need: Room, full: frozenset[tuple[str, str]]) -> bool:
    return (
        room.holds(need)
        and (config.dedicated is not None or not host.values("dedicated"))
        and not any(value in host.values(name) for name, value in full)
        and all(
            is_satisfied(one, host.values(one.name))
            if one.limit is None
            else one.limit > 0 and bool(host.values(one.name))
            for one in config.constraints
        )
    )


@settings(deadline=None)
@given(GROUPS, st.sets(st.integers(0, 9)), HOSTS, ROOMS)
def test_it_finds_those_that_asking_each_one_finds(
    groups: list[tuple[int, Config, Room, frozenset[tuple[str, str]]]], gone: set[int], host: Host, room: Room
) -> None:
    waiting = Waiting()
    expected = {}
    for number, config, need, full in groups:
        waiting.add(number, config, need, full)
        expected[number] = (config, need, full)
    for number in gone:
        waiting.remove(number)
        expected.pop(number, None)
    assert len(waiting) == len(expected)
    found = {number for number, group in expected.items() if may_help(host, room, *group)}
    assert set(waiting.helped_by(host, room)) == found


def test_an_attribute_constrained_twice_lets_too_many_through_not_too_few() -> None:
    waiting = Waiting()
    config = scheduled.config(constraints=(value_constraint("rack", "a", "b"), value_constraint("rack", "b", "c")))
    waiting.add(1, config, Room(), frozenset())
    assert waiting.helped_by(Host("h", "x", (("rack", frozenset({"b"})),)), Room()) == [1]
    assert waiting.helped_by(Host("h", "x", (("rack", frozenset({"d"})),)), Room()) == []
