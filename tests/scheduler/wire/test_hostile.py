"""Bodies that mean harm, or are simply broken, end in a WireError that says why, soon and without taking memory."""

from __future__ import annotations

import json
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.wire import thrift
from scheduler.wire.schema import ARGUMENTS
from scheduler.wire.thrift import Protocol, WireError
from tests.support.api_values import values
from thermos.formats.aurora_api import METHODS, ScheduleStatus, TaskQuery

BINARY, JSON = Protocol.BINARY, Protocol.JSON


def binary(name: str, fields: bytes) -> bytes:
    raw = name.encode()
    return b"\x80\x01\x00\x01" + struct.pack(">i", len(raw)) + raw + struct.pack(">i", 1) + fields


def query(fields: bytes) -> bytes:
    """A call of getTasksStatus; *fields* of its query."""
    return binary("getTasksStatus", b"\x0c\x00\x01" + fields + b"\x00\x00")


def field(kind: int, number: int, value: bytes) -> bytes:
    return struct.pack(">bh", kind, number) + value


def json_query(fields: Any) -> bytes:
    return json.dumps([1, "getTasksStatus", 1, 1, {"1": {"rec": fields}}]).encode()


MANY = struct.pack(">i", 2**31 - 1)
NEGATIVE = struct.pack(">i", -1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80",
        b"\x80\x02\x00\x01" + binary("getTierConfigs", b"\x00")[4:],  # another version
        b"\x80\x01\x00\x02" + binary("getTierConfigs", b"\x00")[4:],  # a reply
        b"\x80\x01\x00\x01" + MANY + b"x",
        b"\x80\x01\x00\x01" + NEGATIVE + b"x",
        MANY,
        b"\x00\x00\x00\x04name",
        b"\x00\x00\x00\x04name\x01\x00",
        binary("getTasksStatus", b"")[:-2],
        binary("getTasksStatus", b""),
        binary("getTasksStatus", b"\x0c\x00\x01"),
        query(field(11, 14, MANY)),  # a string of 2 GB
        query(field(11, 14, NEGATIVE)),
        query(field(11, 14, struct.pack(">i", 2) + b"\xff\xfe")),  # no UTF-8
        query(field(14, 4, b"\x0b" + MANY)),  # a set of 2^31 strings
        query(field(14, 4, b"\x0b" + NEGATIVE)),
        query(field(14, 11, b"\x0c" + MANY)),  # of structs
        query(field(14, 99, b"\x00" + MANY)),  # unknown, of nothing at all
        query(field(14, 99, b"\x01" + MANY)),
        query(field(15, 99, b"\x02" + MANY)),
        query(field(13, 99, b"\x0b\x0b" + MANY)),
        query(field(15, 99, b"\x0f\x00\x00\x03\xe8" + b"\x00\x7f\xff\xff\xff" * 1000)),
        query(field(77, 99, b"")),  # no type has that number
        query(b"\x0c\x00\x63" * 100_000),  # deep
        query(field(14, 5, b"\x08\x00\x00\x00\x01" + struct.pack(">i", 99))),  # no such state
    ],
    ids=lambda body: f"{len(body)}-{body[-8:].hex()}",
)  # fmt: skip
def test_binary(body: bytes) -> None:
    with pytest.raises(WireError):
        thrift.decode_call(body, BINARY)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"7", b"{}", b"[]", b"[1,2,3,4,5]", b'[1,"x",1,1]', b'[2,"getTierConfigs",1,1,{}]',
        b'["1","getTierConfigs",1,1,{}]', b'[1,"getTierConfigs",true,1,{}]', b'[1,"getTierConfigs",1,1e9,{}]',
        b'[1,"getTierConfigs",1,99999999999,{}]', b'[1,"getTierConfigs",1,1,[]]', b'[1,"getTierConfigs",2,1,{}]',
        b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"[1," + b"9" * 100_000 + b"]", b"[NaN]",
        json_query([]), json_query({"14": "x"}), json_query({"14": {"str": 7}}),
        json_query({"14": {"str": "a", "x": 1}}),
        json_query({"12": {"i32": "7"}}), json_query({"12": {"i32": True}}), json_query({"12": {"i32": 1.0}}),
        json_query({"12": {"i32": 2**31}}), json_query({"4": {"set": ["str", 2, "a"]}}), json_query({"4": {"set": []}}),
        json_query({"4": {"set": ["str", 1, 7]}}), json_query({"4": {"set": {"a": 1}}}),
        json_query({"5": {"set": ["i32", 1, 99]}}), json_query({"11": {"set": ["rec", 1, 7]}}),
    ],
    ids=lambda body: f"{len(body)}-{body[-24:].decode(errors='replace')}",
)  # fmt: skip
def test_json(body: bytes) -> None:
    with pytest.raises(WireError):
        thrift.decode_call(body, JSON)


def test_what_is_claimed_takes_no_memory() -> None:
    """A set of 2^31 strings, of which none is there."""
    tracemalloc.start()
    with pytest.raises(WireError):
        thrift.decode_call(query(field(14, 4, b"\x0b" + MANY)), BINARY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_an_error_says_where() -> None:
    with pytest.raises(WireError, match=r"TaskQuery\.statuses: 99 is not a valid ScheduleStatus"):
        thrift.decode_call(json_query({"5": {"set": ["i32", 1, 99]}}), JSON)
    with pytest.raises(WireError, match=r"TaskQuery\.statuses: 99 is not a valid ScheduleStatus"):
        thrift.decode_call(query(field(14, 5, b"\x08\x00\x00\x00\x01" + struct.pack(">i", 99))), BINARY)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", 1e300, 10**400])
def test_an_amount_with_which_nobody_can_calculate(number: Any) -> None:
    body = json.dumps(
        [1, "setQuota", 1, 1, {"2": {"rec": {"4": {"set": ["rec", 1, {"1": {"dbl": number}}]}}}}]
    ).encode()
    with pytest.raises(WireError, match=r"num_cpus: .* is no amount"):
        thrift.decode_call(body, JSON)


def test_what_is_unknown_is_passed_over() -> None:
    """Fields that are unknown, and known ones of another type: a later client may send them."""
    known = field(11, 14, struct.pack(">i", 3) + b"www")
    others = [
        field(2, 90, b"\x01"), field(3, 91, b"\x01"), field(6, 92, bytes(2)), field(8, 93, bytes(4)),
        field(10, 94, bytes(8)),
        field(4, 95, bytes(8)), field(11, 96, struct.pack(">i", 1) + b"x"),
        field(12, 97, field(2, 1, b"\x00") + b"\x00"),
        field(13, 98, b"\x0b\x08" + struct.pack(">i", 1) + struct.pack(">i", 1) + b"x" + bytes(4)),
        field(14, 99, b"\x0b" + struct.pack(">i", 1) + struct.pack(">i", 1) + b"x"),
        field(8, 9, bytes(4)),  # the environment is no number
        field(14, 5, b"\x0b" + struct.pack(">i", 1) + struct.pack(">i", 1) + b"x"),  # states are no strings
        field(14, 7, b"\x0b" + bytes(4)),  # an empty set may name any type
    ]  # fmt: skip
    call = thrift.decode_call(query(b"".join(others) + known), BINARY)
    assert call.arguments["query"] == TaskQuery(role="www", instance_ids=())
    written = {"14": {"str": "www"}, "90": {"zz": 1}, "9": {"i32": 1}, "5": {"set": ["str", 1, "x"]},
               "7": {"set": ["str", 0]}}  # fmt: skip
    assert thrift.decode_call(json_query(written), JSON).arguments["query"] == TaskQuery(role="www", instance_ids=())


def test_json_with_white_space_and_something_behind_it() -> None:
    body = b' [ 1 , "getTasksStatus", 1, 1, { "1" : { "rec" : {"14": {"str": "www"} } } } ] trailing'
    assert thrift.decode_call(body, JSON).arguments["query"] == TaskQuery(role="www")


@pytest.mark.parametrize("protocol", Protocol)
def test_a_lone_surrogate_comes_and_goes(protocol: Protocol) -> None:
    body = thrift.encode_call("getTasksStatus", 1, {"query": TaskQuery(role="\ud800")}, protocol)
    assert thrift.decode_call(body, protocol).arguments["query"] == TaskQuery(role="\ud800")


@pytest.mark.parametrize("protocol", Protocol)
def test_zero_is_written(protocol: Protocol) -> None:
    zeroes = TaskQuery(statuses=(ScheduleStatus.PENDING,), instance_ids=(0,), offset=0, limit=0, role="")
    body = thrift.encode_call("getTasksStatus", 0, {"query": zeroes}, protocol)
    assert thrift.decode_call(body, protocol).arguments["query"] == zeroes


def test_a_reply_to_another_call() -> None:
    body = thrift.encode_fault("getQuota", 1, 6, "", BINARY)
    with pytest.raises(thrift.ApplicationError, match="does not say why"):
        thrift.decode_reply(body, "getQuota", 1, BINARY)
    call = thrift.encode_call("getTierConfigs", 1, {}, BINARY)
    with pytest.raises(WireError, match="no reply"):
        thrift.decode_reply(call, "getTierConfigs", 1, BINARY)
    with pytest.raises(WireError, match="holds no response"):
        thrift.decode_reply(binary("x", b"\x00").replace(b"\x80\x01\x00\x01", b"\x80\x01\x00\x02"), "x", 1, BINARY)
    with pytest.raises(WireError, match="where one to y 1 is due"):
        thrift.decode_reply(binary("x", b"\x00").replace(b"\x80\x01\x00\x01", b"\x80\x01\x00\x02"), "y", 1, BINARY)


def test_a_call_of_nothing() -> None:
    with pytest.raises(KeyError):
        thrift.encode_call("nothing", 1, {}, BINARY)
    with pytest.raises(KeyError, match="no nobody"):
        thrift.encode_call("getQuota", 1, {"nobody": 1}, BINARY)


@pytest.mark.parametrize("protocol", Protocol)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_anything_that_is_changed(protocol: Protocol, data: st.DataObject) -> None:
    """A good call with some bytes changed, or cut off: a call or a WireError, nothing else."""
    name = data.draw(st.sampled_from(sorted(METHODS)))
    body = bytearray(thrift.encode_call(name, 1, data.draw(values(ARGUMENTS[name]))._asdict(), protocol))
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        thrift.decode_call(bytes(body[:cut]), protocol)
    except WireError:
        pass
