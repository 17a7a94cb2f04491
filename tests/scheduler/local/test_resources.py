"""Resources as values, and as Mesos writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.local.resources import EMPTY, Bag, attribute_text, parse, parse_attributes, read, write


def test_flags() -> None:
    bag = parse("cpus:4.5; mem:4096;disk:0;ports:[31000-32000, 5-5]")
    assert bag == Bag({"cpus": 4500, "mem": 4096000}, {"ports": ((5, 5), (31000, 32000))})
    assert str(bag) == "cpus:4.5; mem:4096; ports:[5-5, 31000-32000]"
    assert parse("") == EMPTY


@pytest.mark.parametrize("text", ["cpus", "cpus:", "cpus:x", "cpus:-1", "ports:[1]", "ports:[1-2", "cpus:4 mem:5"])
def test_flags_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="should be like"):
        parse(text)


def test_attributes() -> None:
    found = parse_attributes("host:a.example.com;rack:r-1;zone:[1-2,4-5];level:3")
    assert [(one["name"], attribute_text(one)) for one in found] == [
        ("host", "a.example.com"), ("rack", "r-1"), ("zone", "[1-2, 4-5]"), ("level", "3.0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"name": "cpus", "type": "SCALAR"},
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": -1}},
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": "1"}},
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 2, "end": 1}]}},
        {"name": "disks", "type": "SET", "set": {"item": ["a"]}},
        "cpus",
    ],
)
def test_what_is_no_resource(resource: object) -> None:
    with pytest.raises(ValueError):
        read([resource])  # type: ignore[list-item]


NUMBERS = st.sets(st.integers(0, 12), max_size=8)


def bag(cpus: int, numbers: set[int]) -> Bag:
    spans = read([{"name": "p", "type": "RANGES", "ranges": {"range": [{"begin": n, "end": n} for n in numbers]}}])
    return Bag({"cpus": cpus} if cpus else {}, spans.spans)


@given(st.integers(0, 5), st.integers(0, 5), NUMBERS, NUMBERS)
def test_bags_are_counts_and_sets(one: int, other: int, left: set[int], right: set[int]) -> None:
    a, b = bag(one, left), bag(other, right)
    assert b.fits(a) == (other <= one and right <= left)
    if not left & right:
        assert a.plus(b) == bag(one + other, left | right)
        assert a.plus(b).minus(b) == a
    assert bool(a) == bool(one or left)
    assert read(write(a, "*")) == a
