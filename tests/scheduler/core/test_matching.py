"""Each stage of the filter, their order, their words and scores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.core.matching import Room, Veto, VetoKind, needed, total, vetoes
from scheduler.model import Config, Host, Mode, Resources
from tests.support import scheduled
from tests.support.scheduled import SETTINGS, limit_constraint, value_constraint

PLENTY = Room(64_000, 65_536, 500_000, 8, 1000, 64_000, 65_536)
RACK_A = (("rack", frozenset({"a"})),)
DEDICATED = (("dedicated", frozenset({"www/db"})),)


def host(*attributes: tuple[str, frozenset[str]], mode: int = Mode.NONE) -> Host:
    return Host("h1", "agent-1", attributes, mode)


def none_yet(attribute: str, value: str) -> int:
    return 0


def reasons(config: Config, on: Host, room: Room = PLENTY, unavailable_in_s: float | None = None) -> list[str]:
    found = vetoes(config, room, on, none_yet, SETTINGS, unavailable_in_s)
    return [veto.reason for veto in found]


def test_a_host_with_room_and_no_conditions_takes_it() -> None:
    assert vetoes(scheduled.config(), PLENTY, host(*RACK_A), none_yet, SETTINGS) == ()


def test_a_dedicated_host_takes_only_those_who_ask_for_it() -> None:
    found = vetoes(scheduled.config(), PLENTY, host(*DEDICATED), none_yet, SETTINGS)
    assert found == (Veto(VetoKind.DEDICATED, "Host is dedicated", 1_000_000),)
    assert reasons(scheduled.config(dedicated="www/db"), host(*DEDICATED)) == []
    assert reasons(scheduled.config(dedicated="www/web"), host(*DEDICATED)) == ["Constraint not satisfied: dedicated"]
    assert reasons(scheduled.config(dedicated="www/db"), host()) == ["Constraint not satisfied: dedicated"]


@pytest.mark.parametrize(
    "mode, expected",
    [
        (Mode.NONE, ()),
        (Mode.SCHEDULED, ()),
        (Mode.DRAINING, (Veto(VetoKind.MAINTENANCE, "Host draining for maintenance", 100_000),)),
        (Mode.DRAINED, (Veto(VetoKind.MAINTENANCE, "Host drained for maintenance", 100_000),)),
    ],
)
def test_modes(mode: int, expected: tuple[Veto, ...]) -> None:
    assert vetoes(scheduled.config(), PLENTY, host(mode=mode), none_yet, SETTINGS) == expected


@pytest.mark.parametrize("in_s, is_vetoed", [(None, False), (360.5, False), (360.0, True), (0.0, True), (-10.0, True)])
def test_mesos_maintenance_that_is_near(in_s: float | None, is_vetoed: bool) -> None:
    found = reasons(scheduled.config(), host(), unavailable_in_s=in_s)
    assert found == (["Host draining for maintenance"] if is_vetoed else [])


@pytest.mark.parametrize(
    "constraint, attributes, is_satisfied",
    [
        (value_constraint("rack", "a", "b"), RACK_A, True),
        (value_constraint("rack", "b"), RACK_A, False),
        (value_constraint("rack", "a"), (), False),
        (value_constraint("rack", "a", negated=True), RACK_A, False),
        (value_constraint("rack", "b", negated=True), RACK_A, True),
        (value_constraint("rack", "b", negated=True), (), True),
        (value_constraint("rack", "b"), (("rack", frozenset({"a", "b"})),), True),
        (value_constraint("rack", "b", negated=True), (("rack", frozenset({"a", "b"})),), False),
        (value_constraint("host", "h1"), (), True),
        (value_constraint("host", "h2"), (), False),
        (limit_constraint("host", 1), (), True),
        (limit_constraint("rack", 1), (), False),
    ],
)
def test_constraints(
    constraint: object, attributes: tuple[tuple[str, frozenset[str]], ...], is_satisfied: bool
) -> None:
    config = scheduled.config(constraints=(constraint,))
    found = vetoes(config, PLENTY, host(*attributes), none_yet, SETTINGS)
    name = config.constraints[0].name
    mismatch = Veto(VetoKind.CONSTRAINT, f"Constraint not satisfied: {name}", 10_000)
    assert found == (() if is_satisfied else (mismatch,))


@pytest.mark.parametrize("there, is_full", [(0, False), (1, False), (2, True), (3, True)])
def test_a_limit_is_how_many_may_be_there(there: int, is_full: bool) -> None:
    config = scheduled.config(constraints=(limit_constraint("rack", 2),))
    found = vetoes(
        config, PLENTY, host(*RACK_A), lambda name, value: there if (name, value) == ("rack", "a") else 0, SETTINGS
    )
    assert found == ((Veto(VetoKind.LIMIT, "Limit not satisfied: rack", 10_000),) if is_full else ())


def test_each_stage_hides_those_after_it() -> None:
    config = scheduled.config(cpus=100.0, constraints=(limit_constraint("zone", 1), value_constraint("rack", "b")))
    attributes = (*DEDICATED, *RACK_A)
    assert reasons(config, host(*attributes, mode=Mode.DRAINED)) == ["Host is dedicated"]
    assert reasons(config, host(*RACK_A, mode=Mode.DRAINED)) == ["Host drained for maintenance"]
    assert reasons(config, host(*RACK_A)) == ["Constraint not satisfied: rack"]
    assert reasons(config, host(("rack", frozenset({"b"})))) == ["Constraint not satisfied: zone"]
    fitting = host(("rack", frozenset({"b"})), ("zone", frozenset({"z"})))
    assert reasons(config, fitting) == ["Insufficient: CPU"]


def test_all_that_lacks_is_named_with_how_much() -> None:
    config = scheduled.config(cpus=3.75, ram_mb=2432 - 128, disk_mb=46_080, ports=("a", "b"))
    found = vetoes(config, Room(), host(), none_yet, SETTINGS)
    assert found == (
        Veto(VetoKind.RESOURCES, "Insufficient: CPU", 250),  # 4 of 16
        Veto(VetoKind.RESOURCES, "Insufficient: RAM", 98),  # 2432 of 24576
        Veto(VetoKind.RESOURCES, "Insufficient: disk", 100),  # 46080 of 460800
        Veto(VetoKind.RESOURCES, "Insufficient: ports", 2),  # 2 of 1000
    )
    assert total(found) == 450


def test_no_shortage_counts_more_than_a_thousand() -> None:
    found = vetoes(scheduled.config(cpus=500.0), PLENTY, host(), none_yet, SETTINGS)
    assert found == (Veto(VetoKind.RESOURCES, "Insufficient: CPU", 1000),)


def test_gpus_are_a_resource_too() -> None:
    wanted = replace(scheduled.config(), resources=Resources(1000, 128, 256, gpus=2))
    assert reasons(wanted, host(), PLENTY._replace(gpus=1)) == ["Insufficient: GPU"]


def test_what_the_executor_takes_is_added() -> None:
    assert needed(scheduled.config(cpus=1.0, ram_mb=100, ports=("http",)), SETTINGS) == Room(1250, 228, 256, 0, 1)
    other = scheduled.config(cpus=1.0, ram_mb=100, executor_config=None)
    assert needed(other, SETTINGS) == Room(1000, 100, 256)


def test_a_revocable_tier_takes_revocable_cpus_and_ram_where_enabled() -> None:
    config = scheduled.config(cpus=1.0, ram_mb=100, tier="revocable")
    assert needed(config, SETTINGS) == Room(0, 228, 256, 0, 0, 1250, 0)
    assert needed(config, replace(SETTINGS, enable_revocable_ram=True)) == Room(0, 0, 256, 0, 0, 1250, 228)
    assert needed(config, replace(SETTINGS, enable_revocable_cpus=False)) == Room(1250, 228, 256)
    assert reasons(config, host(), PLENTY._replace(revocable_milli_cpus=1249)) == ["Insufficient: CPU"]
    assert reasons(config, host(), PLENTY._replace(milli_cpus=0)) == []
