"""Configurations as values: what is read of the wire, and when two are one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.model import (
    LISTS,
    Constraint,
    Host,
    JobKey,
    Resources,
    config_of,
    digest_of,
    encode_config,
    milli,
    resources_of,
)
from tests.support.scheduled import config, limit_constraint, task_config, value_constraint
from thermos.formats import assigned_task as wire
from thermos.formats.assigned_task import TASK_CONFIG
from thermos.formats.thrift_binary import LIST, StructType, decode_struct

# -- what is read ------------------------------------------------------------------------------------------------------


def test_a_configuration() -> None:
    described = task_config(
        job=wire.JobKey("r", "e", "n"),
        owner=wire.Identity("ann"),
        is_service=True,
        priority=7,
        max_task_failures=-1,
        production=True,
        tier="preferred",
        cpus=1.5,
        ram_mb=2,
        disk_mb=3,
        ports=["http", "admin"],
        partition_policy=wire.PartitionPolicy(False, 30),
    )
    found = config_of(described)
    assert found.wire is described
    assert found.job == JobKey("r", "e", "n")
    assert str(found.job) == "r/e/n"
    assert (found.owner, found.is_service, found.priority, found.max_task_failures) == ("ann", True, 7, -1)
    assert (found.is_production, found.tier) == (True, "preferred")
    assert found.resources == Resources(1500, 2, 3, 0)
    assert found.ports == ("admin", "http")
    assert (found.is_rescheduled_when_partitioned, found.partition_delay_s) == (False, 30)


def test_of_nothing_there_are_defaults() -> None:
    found = config_of(wire.TaskConfig())
    assert found.job == JobKey("", "", "")
    assert (found.owner, found.is_service, found.priority, found.max_task_failures) == ("", False, 0, 1)
    assert (found.resources, found.ports, found.constraints, found.dedicated) == (Resources(), (), (), None)
    assert (found.is_rescheduled_when_partitioned, found.partition_delay_s) == (True, 0)


@pytest.mark.parametrize(
    "policy, is_rescheduled, delay_s",
    [
        (None, True, 0),
        (wire.PartitionPolicy(), True, 0),
        (wire.PartitionPolicy(True, 5), True, 5),
        (wire.PartitionPolicy(False), False, 0),
    ],
)
def test_partition_policies(policy: wire.PartitionPolicy | None, is_rescheduled: bool, delay_s: int) -> None:
    found = config(partition_policy=policy)
    assert (found.is_rescheduled_when_partitioned, found.partition_delay_s) == (is_rescheduled, delay_s)


def test_constraints_by_value_come_first() -> None:
    found = config(
        constraints=(
            limit_constraint("host", 1),
            value_constraint("rack", "b", "a", negated=True),
            value_constraint("dedicated", "r/x"),
            wire.Constraint("empty", wire.TaskConstraint()),
        )
    )
    assert found.constraints == (
        Constraint("dedicated", frozenset({"r/x"})),
        Constraint("rack", frozenset({"a", "b"}), is_negated=True),
        Constraint("host", limit=1),
    )
    assert found.dedicated == "r/x"


# -- when two are one --------------------------------------------------------------------------------------------------


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[wire.TaskConfig, wire.TaskConfig]:
    """One configuration, written down in two ways."""
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    job: dict[str, Any] = {name: {"x": number, "y": [number, 2]} for number, name in enumerate(names)}
    described = task_config(
        ports=names,
        constraints=tuple(value_constraint(name, *names) for name in names),
        metadata=tuple(wire.Metadata(name, "v") for name in names),
        executor_config=wire.ExecutorConfig("e", json.dumps(job)),
        task_links=dict.fromkeys(names, "l"),
    )

    def again(items: tuple[Any, ...] | None) -> tuple[Any, ...]:
        return tuple(draw(st.permutations(items or ())))

    other = described._replace(
        resources=again(described.resources),
        constraints=again(tuple(value_constraint(name, *again(tuple(names))) for name in names)),
        metadata=again(described.metadata),
        executor_config=wire.ExecutorConfig(
            "e", json.dumps({name: dict(reversed(job[name].items())) for name in again(tuple(names))}, indent=1)
        ),
        task_links=dict.fromkeys(again(tuple(names)), "l"),
    )
    return described, other


@given(shuffled())
def test_the_order_of_sets_and_of_json_is_none(pair: tuple[wire.TaskConfig, wire.TaskConfig]) -> None:
    one, other = pair
    assert digest_of(one) == digest_of(other)
    assert config_of(one) == config_of(other)
    assert hash(config_of(one)) == hash(config_of(other))
    assert len({config_of(one), config_of(other)}) == 1


def executor(data: str) -> dict[str, Any]:
    return {"executor_config": wire.ExecutorConfig("e", data)}


@pytest.mark.parametrize(
    "one, other",
    [
        ({"cpus": 1.0}, {"cpus": 2.0}),
        ({"ports": ["a"]}, {"ports": ["b"]}),
        ({"priority": 0}, {"priority": 1}),
        ({"is_service": False}, {"is_service": True}),
        ({"constraints": (value_constraint("a", "b"),)}, {"constraints": (value_constraint("a", "b", negated=True),)}),
        ({"constraints": (limit_constraint("a", 0),)}, {"constraints": (limit_constraint("a", 1),)}),
        (executor('{"a": 1}'), executor('{"a": 2}')),
        (executor('{"a": [1, 2]}'), executor('{"a": [2, 1]}')),
        (executor("no JSON"), executor("no  JSON")),
        (executor('"{}"'), executor("{}")),
        ({"metadata": (wire.Metadata("k", "v"),)}, {"metadata": (wire.Metadata("k", "w"),)}),
        ({"metadata": (wire.Metadata("k", "v"), wire.Metadata("k", "w"))}, {"metadata": (wire.Metadata("k", "v"),)}),
        ({"job": wire.JobKey("a", "b", "c")}, {"job": wire.JobKey("a", "b", "d")}),
        ({"container": wire.Container(docker=wire.DockerContainer("a"))}, {}),
        (
            {"container": wire.Container(docker=wire.DockerContainer("a", (wire.DockerParameter("a", "1"),)))},
            {"container": wire.Container(docker=wire.DockerContainer("a", (wire.DockerParameter("a", "2"),)))},
        ),
        ({"partition_policy": wire.PartitionPolicy(True)}, {"partition_policy": wire.PartitionPolicy(False)}),
    ],
)
def test_what_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert config(**one) != config(**other)
    assert config(**one) == config(**one)


def test_the_order_of_a_list_counts() -> None:
    """``docker run`` reads its options from left to right, and volumes are mounted in their order."""
    parameters = (wire.DockerParameter("v", "1"), wire.DockerParameter("v", "2"))
    one = wire.Container(docker=wire.DockerContainer("a", parameters))
    other = wire.Container(docker=wire.DockerContainer("a", parameters[::-1]))
    assert config(container=one) != config(container=other)
    volumes = (wire.Volume("/a", "/b", 1), wire.Volume("/a/c", "/d", 1))
    mounted = wire.Container(mesos=wire.MesosContainer(volumes=volumes))
    otherwise = wire.Container(mesos=wire.MesosContainer(volumes=volumes[::-1]))
    assert config(container=mounted) != config(container=otherwise)


def test_a_set_that_is_empty_is_none() -> None:
    assert config(constraints=(), metadata=(), task_links={}) == config(constraints=None, metadata=None)


def test_every_list_on_the_wire_keeps_its_order() -> None:
    """A field that becomes a list one day must be one here as well."""
    found = set()

    def look(struct: StructType) -> None:
        for field in struct.fields:
            if field.type == LIST:
                found.add(field.name)
            if field.struct is not None:
                look(field.struct)

    look(TASK_CONFIG)
    assert found == LISTS


def test_a_configuration_equals_no_other_thing() -> None:
    assert config() != "config"
    assert config() != task_config()


def test_text_that_utf8_cannot_hold() -> None:
    assert digest_of(task_config(contact_email="\ud800")) != digest_of(task_config(contact_email="\ud801"))


def test_bytes() -> None:
    found = config(ports=["a"])
    again, _ = decode_struct(TASK_CONFIG, encode_config(found), 0)
    assert config_of(again) == found


# -- amounts and hosts -------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 100), min_size=8, max_size=8))
def test_sums(numbers: list[int]) -> None:
    one, other = Resources(*numbers[:4]), Resources(*numbers[4:])
    assert one.plus(other).minus(other) == one
    assert one.plus(other, 3) == one.plus(other).plus(other).plus(other)
    assert one.fits(one.plus(other))
    assert one.fits(other) is all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize("name", Resources._fields)
def test_too_much_of_one_does_not_fit(name: str) -> None:
    room = Resources(5, 5, 5, 5)
    assert room.fits(room)
    assert not room._replace(**{name: 6}).fits(room)


def test_cpus_are_exact() -> None:
    assert sum(milli(0.1) for _ in range(10)) == milli(1.0)
    assert Resources(1500).cpus == 1.5


def test_of_an_amount_given_twice_the_last() -> None:
    assert resources_of([wire.Resource(ram_mb=1), wire.Resource(ram_mb=2), wire.Resource(named_port="p")]) == Resources(
        ram_mb=2
    )
    assert resources_of(None) == Resources()


def test_a_host_is_an_attribute_of_itself() -> None:
    host = Host("h", "a", (("rack", frozenset({"r1", "r2"})),))
    assert host.values("rack") == {"r1", "r2"}
    assert host.values("host") == {"h"}
    assert host.values("zone") == set()
    assert Host("h", "a", (("host", frozenset({"other"})),)).values("host") == {"other"}
