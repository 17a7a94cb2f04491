"""Structs in Thrift's binary protocol: literal bytes, round trips, and whatever bytes may come."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.formats import thrift_binary as thrift
from thermos.formats.thrift_binary import Field, StructType, ThriftError, decode_struct, encode_struct, skip
from thermos.states import ProcessState


class Inner(NamedTuple):
    text: str | None = None


class Everything(NamedTuple):
    """A field of each type; order and ids disagree on purpose."""

    number: int | None = None
    truth: bool | None = None
    big: int | None = None
    real: float | None = None
    text: str | None = None
    inner: Inner | None = None
    counts: dict[str, int] | None = None
    state: ProcessState | None = None


INNER = StructType(Inner, [Field(1, "text", thrift.STRING)])
EVERYTHING = StructType(
    Everything,
    [
        Field(9, "number", thrift.I32),
        Field(2, "truth", thrift.BOOL),
        Field(3, "big", thrift.I64),
        Field(4, "real", thrift.DOUBLE),
        Field(5, "text", thrift.STRING),
        Field(100, "inner", thrift.STRUCT, INNER),
        Field(7, "counts", thrift.MAP),
        Field(8, "state", thrift.I32, convert=ProcessState),
    ],
)

#: Written by hand from thrift-binary-protocol.md.
VALUE = Everything(
    number=-2,
    truth=True,
    big=1 << 40,
    real=-0.5,
    text="é",
    inner=Inner("x"),
    counts={"b": 2, "a": 1},
    state=ProcessState.KILLED,
)
BYTES = bytes.fromhex(
    "02 0002 01"
    "0a 0003 0000010000000000"
    "04 0004 bfe0000000000000"
    "0b 0005 00000002 c3a9"
    "0d 0007 0b 0a 00000002  00000001 61 0000000000000001  00000001 62 0000000000000002"
    "08 0008 00000004"
    "08 0009 fffffffe"
    "0c 0064  0b 0001 00000001 78  00"
    "00"
)


def decoded(data: bytes) -> Any:
    value, end = decode_struct(EVERYTHING, data, 0)
    assert end == len(data)
    return value


def test_the_bytes_are_those_of_the_specification() -> None:
    assert encode_struct(EVERYTHING, VALUE) == BYTES
    assert decoded(BYTES) == VALUE


def test_none_is_left_out_and_comes_back_as_none() -> None:
    assert encode_struct(EVERYTHING, Everything()) == b"\0"
    assert decoded(b"\0") == Everything()


def test_false_and_zero_and_empty_are_written() -> None:
    value = Everything(number=0, truth=False, text="", counts={}, inner=Inner())
    assert decoded(encode_struct(EVERYTHING, value)) == value


def test_decoding_starts_where_it_is_told_and_says_where_it_ended() -> None:
    assert decode_struct(EVERYTHING, b"\xff" * 5 + BYTES + b"\xff", 5) == (VALUE, 5 + len(BYTES))


texts = st.text(max_size=20)
i32s = st.integers(-(1 << 31), (1 << 31) - 1)
i64s = st.integers(-(1 << 63), (1 << 63) - 1)
values = st.builds(
    Everything,
    number=st.none() | i32s,
    truth=st.none() | st.booleans(),
    big=st.none() | i64s,
    real=st.none() | st.floats(allow_nan=False),
    text=st.none() | texts,
    inner=st.none() | st.builds(Inner, st.none() | texts),
    counts=st.none() | st.dictionaries(texts, i64s, max_size=5),
    state=st.none() | st.sampled_from(ProcessState),
)


@settings(deadline=None)
@given(values)
def test_what_is_written_is_read(value: Everything) -> None:
    assert decoded(encode_struct(EVERYTHING, value)) == value


def test_a_number_that_is_none_survives() -> None:
    value = decoded(encode_struct(EVERYTHING, Everything(real=math.nan)))
    assert math.isnan(value.real)


@pytest.mark.parametrize("name", ["a\udcff", "\ud800"])
def test_names_that_are_no_unicode_survive(name: str) -> None:
    assert decoded(encode_struct(EVERYTHING, Everything(text=name))).text == name


#: A value of every type there is, of which the reader knows nothing: type, bytes.
UNKNOWN = {
    "bool": (2, b"\1"),
    "byte": (3, b"\7"),
    "double": (4, bytes(8)),
    "i16": (6, bytes(2)),
    "i32": (8, bytes(4)),
    "i64": (10, bytes(8)),
    "string": (11, struct.pack(">i", 3) + b"\xff\xfe\0"),  # need not be UTF-8: it may be Thrift's "binary"
    "empty struct": (12, b"\0"),
    "struct": (12, b"\x0c\0\1\x02\0\1\1\0\x08\0\2\0\0\0\0\0"),
    "map": (13, b"\x03\x0b" + struct.pack(">i", 2) + (b"\1" + struct.pack(">i", 1) + b"x") * 2),
    "empty map": (13, bytes(6)),
    "set": (14, b"\x08" + struct.pack(">i", 2) + bytes(8)),
    "list of structs": (15, b"\x0c" + struct.pack(">i", 3) + bytes(3)),
    "empty list": (15, bytes(5)),
}


@pytest.mark.parametrize("kind, raw", UNKNOWN.values(), ids=UNKNOWN.keys())
@pytest.mark.parametrize("field_id", [1, 6, 101, 32767, -1])
def test_an_unknown_field_is_skipped_wherever_it_stands(kind: int, raw: bytes, field_id: int) -> None:
    unknown = struct.pack(">bh", kind, field_id) + raw
    assert decoded(unknown + BYTES) == VALUE
    assert decoded(BYTES[:-1] + unknown + b"\0") == VALUE


@pytest.mark.parametrize("kind, raw", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_skipping_ends_just_behind_the_value_and_never_before_it_is_whole(kind: int, raw: bytes) -> None:
    assert skip(kind, raw + b"\xff" * 9, 0) == len(raw)
    for size in range(len(raw)):
        with pytest.raises((ThriftError, IndexError, struct.error)):
            skip(kind, raw[:size], 0)


@pytest.mark.parametrize("field", EVERYTHING.fields, ids=lambda field: field.name)
@pytest.mark.parametrize("kind, raw", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_a_known_field_of_another_type_is_skipped(field: Field, kind: int, raw: bytes) -> None:
    if kind == field.type:
        return
    value = decoded(struct.pack(">bh", kind, field.id) + raw + b"\0")
    assert value == Everything()


def test_a_map_of_other_types_is_skipped_unless_it_is_empty() -> None:
    head = b"\x0d\0\7"
    i32_to_i64 = b"\x08\x0a" + struct.pack(">i", 1) + bytes(12)
    assert decoded(head + i32_to_i64 + b"\0").counts is None
    assert decoded(head + bytes(6) + b"\0").counts == {}


def test_a_field_given_twice_has_its_last_value() -> None:
    assert decoded(encode_struct(EVERYTHING, Everything(text="a"))[:-1] + b"\x0b\0\5\0\0\0\1b\0").text == "b"


def test_a_state_without_a_name_is_an_error_that_names_the_field() -> None:
    with pytest.raises(ThriftError, match=r"Everything\.state: 7 is not"):
        decoded(b"\x08\0\x08\0\0\0\7\0")


def test_a_string_that_is_no_text_is_an_error() -> None:
    with pytest.raises(ThriftError, match="not UTF-8"):
        decoded(b"\x0b\0\5\0\0\0\1\xff\0")


@pytest.mark.parametrize("size", [-1, -7, -(1 << 31), 2, (1 << 31) - 1])
@pytest.mark.parametrize("field_id", [5, 55], ids=["known", "unknown"])
def test_a_string_of_an_impossible_size_is_an_error(size: int, field_id: int) -> None:
    # -7 would lead back to the start of the field, for ever.
    reason = f"a string of {size} bytes" if size < 0 or field_id == 5 else "a value ends at byte"
    with pytest.raises(ThriftError, match=reason):
        decoded(struct.pack(">bhi", 11, field_id, size) + b"x")


@pytest.mark.parametrize("count", [-1, -(1 << 31), 3, (1 << 31) - 1])
@pytest.mark.parametrize(
    "head", [b"\x0d\0\7\x0b\x0a", b"\x0d\0\x55\x02\x02", b"\x0e\0\x55\x02", b"\x0f\0\x55\x0c"], ids=repr
)
def test_a_container_of_an_impossible_count_is_an_error_at_once(head: bytes, count: int) -> None:
    with pytest.raises(ThriftError):
        decoded(head + struct.pack(">i", count) + bytes(2))


@pytest.mark.parametrize("kind", [0, 1, 5, 7, 9, 16, 255])
def test_a_type_that_does_not_exist_is_an_error(kind: int) -> None:
    with pytest.raises(ThriftError, match=f"number {kind} "):
        skip(kind, bytes(99), 0)


def nested(depth: int, shell: str) -> bytes:
    """An unknown field of *depth* containers within each other."""
    if shell == "struct":
        return b"\x0c\0\1" * depth + bytes(depth) + b"\0"
    if shell == "list":
        return b"\x0f\0\1" + b"\x0f\0\0\0\1" * (depth - 1) + b"\x02\0\0\0\0" + b"\0"
    return b"\x0d\0\1" + b"\x02\x0d\0\0\0\1\1" * (depth - 1) + b"\x02\x02\0\0\0\0" + b"\0"


@pytest.mark.parametrize("shell", ["struct", "list", "map"])
def test_what_nests_deeper_than_allowed_is_an_error_and_no_stack_overflow(shell: str) -> None:
    assert decoded(nested(thrift.MAX_DEPTH, shell)) == Everything()
    for depth in (thrift.MAX_DEPTH + 2, 100_000):
        with pytest.raises(ThriftError, match="nested"):
            decoded(nested(depth, shell))


def test_every_beginning_of_a_struct_is_an_error() -> None:
    for size in range(len(BYTES)):
        with pytest.raises(ThriftError):
            decode_struct(EVERYTHING, BYTES[:size], 0)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_the_documented_error(data: bytes) -> None:
    try:
        value, end = decode_struct(EVERYTHING, data, 0)
    except ThriftError:
        return
    assert isinstance(value, Everything)
    assert 0 < end <= len(data)


@settings(deadline=None)
@given(values, st.data())
def test_damaged_bytes_give_a_value_or_the_documented_error(value: Everything, draw: st.DataObject) -> None:
    data = bytearray(encode_struct(EVERYTHING, value))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        _, end = decode_struct(EVERYTHING, bytes(data), 0)
    except ThriftError:
        return
    assert 0 < end <= len(data)


def test_a_type_that_cannot_be_written_is_refused() -> None:
    for field in (Field(1, "text", thrift.BYTE), Field(1, "text", thrift.SET, of=thrift.DOUBLE)):
        with pytest.raises(ThriftError, match="no encoding"):
            encode_struct(StructType(Inner, [field]), Inner("x"))


def test_a_type_that_cannot_be_read_is_refused() -> None:
    for field, data in (
        (Field(1, "text", thrift.BYTE), b"\x03\0\1\0\0"),
        (Field(1, "text", thrift.LIST, of=thrift.BYTE), b"\x0f\0\1\x03\0\0\0\1\0\0"),
    ):
        with pytest.raises(ThriftError, match="no decoding"):
            decode_struct(StructType(Inner, [field]), data, 0)


class Holder(NamedTuple):
    numbers: tuple[int, ...] | None
    words: tuple[str, ...] | None
    inner: tuple[Inner, ...] | None
    names: dict[str, str] | None
    ports: dict[str, int] | None


def test_containers_come_back_and_those_of_other_types_are_passed_over() -> None:
    struct_type = StructType(
        Holder,
        [
            Field(1, "numbers", thrift.LIST),
            Field(2, "words", thrift.SET, of=thrift.STRING),
            Field(3, "inner", thrift.LIST, StructType(Inner, [Field(1, "text", thrift.STRING)]), of=thrift.STRUCT),
            Field(4, "names", thrift.MAP, of=thrift.STRING),
            Field(5, "ports", thrift.MAP, of=thrift.I32),
        ],
    )
    holder = Holder((1, -2), ("b", "a"), (Inner("x"), Inner(None)), {"a": "b"}, {"http": 80})
    data = encode_struct(struct_type, holder)
    assert decode_struct(struct_type, data, 0) == (holder, len(data))
    empty = Holder((), (), (), {}, {})
    assert decode_struct(struct_type, encode_struct(struct_type, empty), 0)[0] == empty
    other = StructType(Holder, [Field(id, name, kind) for id, (name, kind) in enumerate(
        [("numbers", thrift.LIST), ("words", thrift.SET), ("inner", thrift.LIST), ("names", thrift.MAP),
         ("ports", thrift.MAP)], 1)])  # fmt: skip
    assert decode_struct(other, data, 0) == (Holder((1, -2), None, None, None, None), len(data))
    assert decode_struct(other, encode_struct(struct_type, empty), 0)[0] == empty
