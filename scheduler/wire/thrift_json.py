"""Thrift's TJSONProtocol for structs given as tables, over the standard library's ``json``.

A struct is ``{"1": {"str": "x"}, …}``: id, type, value. A list or set is ``["i32", 2, 7, 8]``, a map
``["str", "i32", 1, {"http": 31000}]``, a message ``[1, "method", type, seqid, struct]``; booleans are 1 and 0.
Source: thrift/lib/java TJSONProtocol and thrift/doc/specs. Unlike Thrift's own readers it takes white space.
"""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any, Final, NoReturn

from scheduler.wire.schema import WireError
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
    return json.dumps([VERSION, name, kind, seqid, _struct(struct, value)], separators=(",", ":")).encode("ascii")


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


def _struct(struct: StructType, value: Any) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for field, position in struct.slots:
        item = value[position]
        if item is None:
            continue
        kind = field.type
        if kind in (STRING, I64):
            plain = item
        elif kind == I32:
            plain = int(item)  # an enum is its number
        elif kind == BOOL:
            plain = 1 if item else 0
        elif kind == STRUCT:
            assert field.struct is not None
            plain = _struct(field.struct, item)
        elif kind in (LIST, SET):
            plain = [_TYPES[field.of], len(item), *(_item(field, one) for one in item)]
        elif kind == MAP:
            plain = [_TYPES[STRING], _TYPES[field.of], len(item), {key: _item(field, item[key]) for key in item}]
        else:
            plain = item if kind != DOUBLE else _double(item)
        written[str(field.id)] = {_TYPES[kind]: plain}
    return written


def _item(field: Field, value: Any) -> Any:
    if field.of == STRUCT:
        assert field.struct is not None
        return _struct(field.struct, value)
    return int(value) if field.of in (I32, I64) else value


def _double(value: float) -> float | str:
    if value != value:
        return "NaN"
    return value if value not in (inf, -inf) else ("Infinity" if value > 0 else "-Infinity")


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
