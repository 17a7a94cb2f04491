"""Code that Debian's thrift makes of Aurora's interface reads what we write, and we read what it writes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.wire import thrift
from scheduler.wire.plain_json import plain
from scheduler.wire.schema import ARGUMENTS, schema_of, structs_below
from scheduler.wire.thrift import Protocol
from tests.support.api_values import values
from tests.support.independent import MISSING, Independent, compiled
from thermos.formats.aurora_api import METHODS, RESPONSE
from thermos.formats.thrift_binary import STRUCT

#: Of these hypothesis makes values; bounded, since each goes through slow code four times.
QUICK = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

pytestmark = [pytest.mark.skipif(MISSING is not None, reason=str(MISSING)), pytest.mark.process]


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Independent]:
    with compiled(tmp_path_factory.mktemp("thrift")) as found:
        yield found


def theirs(value: Any) -> Any:
    """What the generated code holds, as plain values; sets in some order."""
    if isinstance(value, (set, frozenset, list, tuple)):
        return ordered([theirs(item) for item in value])
    if isinstance(value, dict):
        return {name: theirs(item) for name, item in value.items()}
    if hasattr(value, "thrift_spec"):
        return {name: theirs(item) for name, item in vars(value).items() if item is not None}
    return value


def ours(value: Any) -> Any:
    """What our plain form holds, in the same way; *value* from ``numbers``."""
    if isinstance(value, list):
        return ordered([ours(item) for item in value])
    if isinstance(value, dict):
        return {name: ours(item) for name, item in value.items()}
    return value


def ordered(items: list[Any]) -> list[Any]:
    # Each once: a set of theirs has no twins where it holds no structs.
    by_text = {json.dumps(item, sort_keys=True): item for item in items}
    return [by_text[text] for text in sorted(by_text)]


def numbers(struct: Any, value: Any) -> Any:
    """The plain form with numbers for enums, as Thrift has them; without our own fields, which others skip."""
    written = plain(struct, value)
    for field, position in struct.slots:
        item = value[position]
        if item is None:
            continue
        name = next(slot.name for slot in _slots(struct) if slot.field is field)
        if field.id >= OURS_FROM:
            del written[name]
            continue
        if field.type == STRUCT:
            written[name] = numbers(field.struct, item)
        elif field.of == STRUCT and field.struct is not None:
            written[name] = [numbers(field.struct, one) for one in item]
        elif field.convert is not None:
            written[name] = [int(one) for one in item] if isinstance(item, tuple) else item
        elif (struct.name, name) == ("Volume", "mode"):
            written[name] = int(item)
    return written


def _slots(struct: Any) -> Any:
    return schema_of(struct).slots


#: Ids of fields that are not in Aurora's interface; everybody else skips them.
OURS_FROM = 100
#: What only such fields hold.
OUR_STRUCTS = {"InstanceWait", "InstanceGroup"}


def test_the_tables_are_the_interface(independent: Independent) -> None:
    """Every struct, field, number and enum of the API, and nothing else."""
    known = {
        name
        for name, made in vars(independent.types).items()
        if isinstance(made, type) and getattr(made, "thrift_spec", None)
    }
    seen = set()
    for root in (RESPONSE, *ARGUMENTS.values()):
        for struct in structs_below(root):
            if struct.name in OUR_STRUCTS:
                continue
            made = independent.named(struct.name)
            spec = {entry[0]: (entry[1], entry[2]) for entry in made.thrift_spec if entry is not None}
            shared = [slot for slot in _slots(struct) if slot.field.id < OURS_FROM]
            found = {slot.field.id: (slot.field.type, slot.name) for slot in shared}
            assert found == spec, struct.name
            seen.add(struct.name)
            for slot in shared:
                if slot.enum is not None:
                    names = independent.named(slot.enum.__name__)._VALUES_TO_NAMES
                    assert {member.value: member.name for member in slot.enum} == names
    # Of these nothing travels: locks and packages are of older versions, maintenance requests are kept, not asked for.
    assert known - seen == {
        "HostAttributes",
        "Attribute",
        "HostMaintenanceRequest",
        "Lock",
        "LockKey",
        "Package",
    }
    methods = {
        name.removesuffix("_args")
        for base in independent.bases
        for name in vars(base)
        if name.endswith("_args") and not name.startswith("_")
    }
    assert METHODS.keys() == methods


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("name", METHODS)
@QUICK
@given(data=st.data())
def test_a_call(independent: Independent, name: str, protocol: Protocol, data: st.DataObject) -> None:
    struct = ARGUMENTS[name]
    arguments = data.draw(values(struct))
    body = thrift.encode_call(name, 5, arguments._asdict(), protocol)
    head, read = independent.read(f"{name}_args", body, protocol)
    assert head == (name, 1, 5)
    assert theirs(read) == ours(numbers(struct, arguments))
    again = thrift.decode_call(independent.write(head, read, protocol), protocol)
    assert (again.name, again.seqid) == (name, 5)
    assert ours(numbers(struct, struct.factory(**again.arguments))) == ours(numbers(struct, arguments))
    if protocol is Protocol.BINARY:
        old = independent.write(head, read, protocol, strictWrite=False)
        assert thrift.decode_call(old, protocol) == again


@pytest.mark.parametrize("protocol", Protocol)
@QUICK
@given(response=values(RESPONSE))
def test_a_reply(independent: Independent, protocol: Protocol, response: Any) -> None:
    body = thrift.encode_reply("getQuota", 9, response, protocol)
    head, read = independent.read("getQuota_result", body, protocol)
    assert head == ("getQuota", 2, 9)
    assert theirs(read.success) == ours(numbers(RESPONSE, response))
    again = thrift.decode_reply(independent.write(head, read, protocol), "getQuota", 9, protocol)
    assert ours(numbers(RESPONSE, again)) == ours(numbers(RESPONSE, response))


@pytest.mark.parametrize("protocol", Protocol)
def test_a_fault(independent: Independent, protocol: Protocol) -> None:
    library = importlib.import_module("thrift.Thrift")
    body = thrift.encode_fault("nothing", 3, thrift.Fault.UNKNOWN_METHOD, "there is none", protocol)
    reader = independent.protocols[protocol](independent.transport.TMemoryBuffer(body))
    assert reader.readMessageBegin() == ("nothing", 3, 3)
    fault = library.TApplicationException()
    fault.read(reader)
    assert (fault.type, fault.message) == (library.TApplicationException.UNKNOWN_METHOD, "there is none")
    written = independent.write(("nothing", 3, 3), fault, protocol)
    with pytest.raises(thrift.ApplicationError, match="there is none"):
        thrift.decode_reply(written, "nothing", 3, protocol)
