"""Thrift's TJSONProtocol for structs given as tables, over the standard library's ``json``.

A struct is ``{"1": {"str": "x"}, …}``: id, type, value. A list or set is ``["i32", 2, 7, 8]``, a map
``["str", "i32", 1, {"http": 31000}]``, a message ``[1, "method", type, seqid, struct]``; booleans are 1 and 0.
Source: thrift/lib/java TJSONProtocol and thrift/doc/specs. Unlike Thrift's own readers it takes white space.
"""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any, Final, NoReturn, TypeAlias

from scheduler.wire.schema import WireError
from thermos.formats.assigned_task import TASK_CONFIG
from thermos.formats.thrift_binary import (
    BOOL,
    BYTE,
    DOUBLE,
    I16,
    I32,
    I64,
    LIST,
    MAP,
    SET,
    STRING,
    STRUCT,
    Field,
    StructType,
    ThriftError,
)

VERSION: Final = 1

_TYPES: Final = {
    BOOL: "tf", BYTE: "i8", I16: "i16", I32: "i32", I64: "i64", DOUBLE: "dbl", STRING: "str", STRUCT: "rec",
    MAP: "map", LIST: "lst", SET: "set",
}  # fmt: skip
_BITS: Final = {BYTE: 8, I16: 16, I32: 32, I64: 64}
_NOT_FINITE: Final = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}


def encode_message(name: str, kind: int, seqid: int, struct: StructType, value: Any) -> bytes:
    """A whole message; what is None is left out."""
    # ASCII: then a lone surrogate, which a client may have sent, is no trouble.
    return f"[{VERSION},{_quoted(name)},{kind},{seqid},{_written(struct, value, {})}]".encode("ascii")


def decode_message(body: bytes) -> tuple[str, int, int, object]:
    """(method, type, sequence number, the struct as it was read). Raises WireError."""
    try:
        # What follows the message is passed over.
        message, _ = _decoder.raw_decode(body.decode("utf-8", "surrogatepass").lstrip())
    except UnicodeDecodeError:
        raise WireError("the message is not UTF-8") from None
    except RecursionError:
        raise WireError("the message is nested too deep") from None
    except ValueError as error:
        raise WireError(f"the message is not JSON: {error}") from None
    if not isinstance(message, list) or len(message) != 5:
        raise WireError("a message of Thrift's JSON protocol is an array of five")
    version, name, kind, seqid, struct = message
    if version != VERSION:
        raise WireError(f"version {VERSION} of Thrift's JSON protocol is known, not {str(version)[:40]}")
    if not isinstance(name, str) or not _is_whole(kind, 32) or not _is_whole(seqid, 32):
        raise WireError("a message of Thrift's JSON protocol begins [1, name, type, sequence number")
    return name, kind, seqid, struct


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


#: Not strict: Thrift's own Python writes control characters as they are.
_decoder = json.JSONDecoder(parse_constant=_no_constant, strict=False)


#: (position in the factory, field, all that stands before its value) of a struct's fields, in order of their ids.
_Heads: TypeAlias = tuple[tuple[int, Field, str], ...]
_heads: dict[StructType, _Heads] = {}
#: Texts of configurations that were written already: thousands of tasks share one object.
_Known: TypeAlias = dict[int, str]

_quoted = json.encoder.encode_basestring_ascii


def _heads_of(struct: StructType) -> _Heads:
    heads = _heads.get(struct)
    if heads is None:
        heads = _heads[struct] = tuple(
            (position, field, f'"{field.id}":{{"{_TYPES[field.type]}":') for field, position in struct.slots
        )
    return heads


def _written(struct: StructType, value: Any, known: _Known) -> str:
    """The text of a struct. Made of pieces: twice as fast as objects for ``json``, and half the memory."""
    parts = []
    for position, field, head in _heads_of(struct):
        item = value[position]
        if item is not None:
            parts.append(f"{head}{_value_written(field, field.type, item, known)}}}")
    return "{" + ",".join(parts) + "}"


def _value_written(field: Field, kind: int, item: Any, known: _Known) -> str:
    if kind == STRING:
        return _quoted(item)
    if kind in (I32, I64):
        return int.__repr__(item)  # an enum is its number
    if kind == STRUCT:
        assert field.struct is not None
        if field.struct is not TASK_CONFIG:
            return _written(field.struct, item, known)
        text = known.get(id(item))
        if text is None:
            text = known[id(item)] = _written(TASK_CONFIG, item, known)
        return text
    if kind == BOOL:
        return "1" if item else "0"
    if kind == DOUBLE:
        return _double(item)
    if kind in (LIST, SET):
        return ",".join(
            [f'["{_TYPES[field.of]}"', str(len(item)), *(_value_written(field, field.of, one, known) for one in item)]
        ) + "]"  # fmt: skip
    entries = ",".join(f"{_quoted(key)}:{_value_written(field, field.of, one, known)}" for key, one in item.items())
    return f'["str","{_TYPES[field.of]}",{len(item)},{{{entries}}}]'


def _double(value: float) -> str:
    if value != value:
        return '"NaN"'
    if value in (inf, -inf):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    return repr(float(value))


def decode_struct(struct: StructType, written: object) -> Any:
    """The struct that *written* says; fields that are unknown or have another type are passed over.

    Raises:
        ThriftError: a value is not of the type that it says it is, or is not one that the table's field takes.
    """
    if not isinstance(written, dict):
        raise ThriftError(f"{struct.name}: an object should be here")
    values: list[Any] = [None] * len(struct.factory._fields)
    for field, position in struct.slots:
        typed = written.get(str(field.id))
        if typed is None:
            continue
        if not isinstance(typed, dict) or len(typed) != 1:
            raise ThriftError(f"{struct.name}, field {field.id}: an object of one type should be here")
        ((type_name, plain),) = typed.items()
        if type_name != _TYPES[field.type]:
            continue
        value = _value(struct, field, field.type, plain)
        if field.convert is not None and value is not None:
            try:
                value = field.convert(value)
            except ValueError as error:
                raise ThriftError(f"{struct.name}.{field.name}: {error}") from None
        values[position] = value
    return struct.factory(*values)


def _value(struct: StructType, field: Field, kind: int, plain: Any) -> Any:
    if kind == STRING:
        if isinstance(plain, str):
            return plain
    elif kind in _BITS:
        if _is_whole(plain, _BITS[kind]):
            return plain
    elif kind == BOOL:
        if plain in (0, 1) and not isinstance(plain, float):
            return bool(plain)
    elif kind == DOUBLE:
        if isinstance(plain, (int, float)) and not isinstance(plain, bool):
            return _as_float(plain)
        if isinstance(plain, str) and plain in _NOT_FINITE:
            return _NOT_FINITE[plain]
    elif kind == STRUCT:
        assert field.struct is not None
        return decode_struct(field.struct, plain)
    elif kind in (LIST, SET):
        if isinstance(plain, list) and len(plain) >= 2 and plain[1] == len(plain) - 2:
            if plain[0] != _TYPES[field.of]:
                return () if len(plain) == 2 else None  # an empty one may name any type
            return tuple(_value(struct, field, field.of, one) for one in plain[2:])
    elif kind == MAP and isinstance(plain, list) and len(plain) == 4 and isinstance(plain[3], dict):
        if plain[:2] != [_TYPES[STRING], _TYPES[field.of]]:
            return {} if not plain[3] else None
        return {key: _value(struct, field, field.of, one) for key, one in plain[3].items()}
    raise ThriftError(f"{struct.name}.{field.name}: {str(plain)[:60]!r} is no {_TYPES[kind]}")


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return inf if number > 0 else -inf


def _is_whole(value: object, bits: int) -> bool:
    """Whether it is an integer of so many bits; JSON's ``true`` is none."""
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits - 1) <= value < 1 << bits - 1
