"""Thrift's TBinaryProtocol for structs given as tables; no dependency, no generated code.

A struct is a sequence of fields, each ``type (1 byte), id (2 bytes, signed, big-endian), value``, ended by
type 0. Source: thrift/doc/specs/thrift-binary-protocol.md (structs only: no message envelope). A reader skips
any field that it does not know, or whose type is not the one it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, Final

STOP: Final = 0
BOOL: Final = 2
BYTE: Final = 3
DOUBLE: Final = 4
I16: Final = 6
I32: Final = 8
I64: Final = 10
STRING: Final = 11
STRUCT: Final = 12
MAP: Final = 13
SET: Final = 14
LIST: Final = 15

#: A struct nested deeper than this is an attack, not data of ours (ours nest three deep).
MAX_DEPTH: Final = 16

_FIELD = Struct(">bh")
_I16 = Struct(">h")
_I32 = Struct(">i")
_I64 = Struct(">q")
_DOUBLE = Struct(">d")
_MAP_HEAD = Struct(">bbi")
_LIST_HEAD = Struct(">bi")
_FIXED: Final = {BOOL: 1, BYTE: 1, DOUBLE: 8, I16: 2, I32: 4, I64: 8}


class ThriftError(ValueError):
    """The bytes are no struct; says at which offset within them (``offset``, where it is known)."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        self.offset = offset
        super().__init__(reason)


class Field:
    """One field of a struct: its id, the attribute that holds it, its Thrift type."""

    __slots__ = ("convert", "doc", "id", "name", "of", "struct", "type")

    def __init__(
        self,
        id: int,
        name: str,
        type: int,
        struct: StructType | None = None,
        convert: Callable[[Any], Any] | None = None,
        of: int = I64,
    ) -> None:
        self.id = id
        self.name = name
        self.type = type
        self.struct = struct  # of a STRUCT, and of the structs in a LIST or SET
        self.convert = convert  # raw value → what the attribute holds; ValueError on one unknown to it
        self.of = of  # type of what a LIST or SET holds, or of a MAP's values (its keys are strings)


class StructType:
    """A struct as a table: *factory* takes all fields by position, in the order of *names*."""

    __slots__ = ("by_id", "factory", "fields", "name", "slots")

    def __init__(self, factory: Any, fields: Sequence[Field]) -> None:
        self.name: str = factory.__name__
        self.factory = factory
        self.fields = tuple(sorted(fields, key=lambda field: field.id))
        names: tuple[str, ...] = factory._fields
        #: (field, position in the factory) in order of ids: the order in which fields are written
        self.slots = tuple((field, names.index(field.name)) for field in self.fields)
        self.by_id = {field.id: (position, field) for field, position in self.slots}


def encode_struct(struct: StructType, value: Sequence[Any]) -> bytes:
    """The bytes of *value*, fields in order of their ids, None left out."""
    parts: list[bytes] = []
    for field, position in struct.slots:
        item = value[position]
        if item is None:
            continue
        kind = field.type
        parts.append(_FIELD.pack(kind, field.id))
        if kind == STRING:
            raw = item.encode("utf-8", "surrogatepass")
            parts.append(_I32.pack(len(raw)))
            parts.append(raw)
        elif kind == I32:
            parts.append(_I32.pack(item))
        elif kind == I64:
            parts.append(_I64.pack(item))
        elif kind == DOUBLE:
            parts.append(_DOUBLE.pack(item))
        elif kind == BOOL:
            parts.append(b"\x01" if item else b"\x00")
        elif kind == STRUCT:
            assert field.struct is not None
            parts.append(encode_struct(field.struct, item))
        elif kind == MAP:
            parts.append(_MAP_HEAD.pack(STRING, field.of, len(item)))
            for key in sorted(item):
                raw = key.encode("utf-8", "surrogatepass")
                parts.append(_I32.pack(len(raw)) + raw + _encode_value(field.of, None, item[key]))
        elif kind in (LIST, SET):
            parts.append(_LIST_HEAD.pack(field.of, len(item)))
            parts.extend(_encode_value(field.of, field.struct, one) for one in item)
        else:
            raise ThriftError(f"no encoding for Thrift type {kind}")
    parts.append(b"\x00")
    return b"".join(parts)


def _encode_value(kind: int, struct: StructType | None, value: Any) -> bytes:
    """One item of a list or set, or one value of a map."""
    if kind == STRING:
        raw: bytes = value.encode("utf-8", "surrogatepass")
        return _I32.pack(len(raw)) + raw
    if kind == I32:
        return _I32.pack(value)
    if kind == I64:
        return _I64.pack(value)
    if kind == STRUCT and struct is not None:
        return encode_struct(struct, value)
    raise ThriftError(f"no encoding for Thrift type {kind} in a container")


def decode_struct(struct: StructType, data: bytes, offset: int, depth: int = 0) -> tuple[Any, int]:
    """The struct that starts at *offset*, and the offset behind it. Raises ThriftError."""
    values: list[Any] = [None] * len(struct.factory._fields)
    by_id = struct.by_id
    try:
        while (kind := data[offset]) != STOP:
            field_id = _FIELD.unpack_from(data, offset)[1]
            offset += 3
            known = by_id.get(field_id)
            if known is None or known[1].type != kind:
                offset = skip(kind, data, offset, depth)
                continue
            position, field = known
            value: Any
            if kind == STRING:
                value, offset = _string(data, offset)
            elif kind == I32:
                value = _I32.unpack_from(data, offset)[0]
                offset += 4
            elif kind == I64:
                value = _I64.unpack_from(data, offset)[0]
                offset += 8
            elif kind == DOUBLE:
                value = _DOUBLE.unpack_from(data, offset)[0]
                offset += 8
            elif kind == BOOL:
                value = data[offset] != 0
                offset += 1
            elif kind == STRUCT:
                assert field.struct is not None
                value, offset = decode_struct(field.struct, data, offset, depth + 1)
            elif kind == MAP:
                value, offset = _map(field.of, data, offset, depth)
            elif kind in (LIST, SET):
                value, offset = _items(field, data, offset, depth)
            else:
                raise ThriftError(f"no decoding for Thrift type {kind}", offset)
            if field.convert is not None and value is not None:
                try:
                    value = field.convert(value)
                except ValueError as error:
                    raise ThriftError(f"{struct.name}.{field.name}: {error}", offset) from None
            values[position] = value
    except (IndexError, StructError):
        raise ThriftError(f"{struct.name} ends early at byte {offset}", offset) from None
    except UnicodeDecodeError as error:
        detail = f"{struct.name} holds a string that is not UTF-8 near byte {offset}: {error}"
        raise ThriftError(detail, offset) from None
    return struct.factory(*values), offset + 1


def _string(data: bytes, offset: int) -> tuple[str, int]:
    size = _I32.unpack_from(data, offset)[0]
    end = offset + 4 + size
    if size < 0 or end > len(data):
        raise ThriftError(f"a string of {size} bytes at byte {offset} does not fit", offset)
    return data[offset + 4 : end].decode("utf-8", "surrogatepass"), end


def _map(value_kind: int, data: bytes, offset: int, depth: int) -> tuple[dict[str, Any] | None, int]:
    key_kind, found_kind, count = _MAP_HEAD.unpack_from(data, offset)
    if count < 0:
        raise ThriftError(f"a map of {count} entries at byte {offset}", offset)
    if (key_kind, found_kind) != (STRING, value_kind):  # an empty map may name any types
        return ({} if count == 0 else None), skip(MAP, data, offset, depth)
    offset += 6
    result: dict[str, Any] = {}
    for _ in range(count):
        key, offset = _string(data, offset)
        result[key], offset = _value(value_kind, None, data, offset, depth)
    return result, offset


def _items(field: Field, data: bytes, offset: int, depth: int) -> tuple[tuple[Any, ...] | None, int]:
    found_kind, count = _LIST_HEAD.unpack_from(data, offset)
    if count < 0:
        raise ThriftError(f"a container of {count} entries at byte {offset}", offset)
    if found_kind != field.of:
        return (() if count == 0 else None), skip(LIST, data, offset, depth)
    offset += 5
    result = []
    for _ in range(count):
        value, offset = _value(field.of, field.struct, data, offset, depth)
        result.append(value)
    return tuple(result), offset


def _value(kind: int, struct: StructType | None, data: bytes, offset: int, depth: int) -> tuple[Any, int]:
    """One item of a list or set, or one value of a map."""
    if kind == STRING:
        return _string(data, offset)
    if kind == I64:
        return _I64.unpack_from(data, offset)[0], offset + 8
    if kind == I32:
        return _I32.unpack_from(data, offset)[0], offset + 4
    if kind == STRUCT and struct is not None:
        return decode_struct(struct, data, offset, depth + 1)
    raise ThriftError(f"no decoding for Thrift type {kind} in a container", offset)


def skip(kind: int, data: bytes, offset: int, depth: int = 0) -> int:
    """The offset behind a value of type *kind*. Raises ThriftError, IndexError or struct.error."""
    if depth > MAX_DEPTH:
        raise ThriftError(f"nested more than {MAX_DEPTH} deep at byte {offset}", offset)
    if kind in _FIXED:
        offset += _FIXED[kind]
    elif kind == STRING:
        size = _I32.unpack_from(data, offset)[0]
        if size < 0:
            raise ThriftError(f"a string of {size} bytes at byte {offset}", offset)
        offset += 4 + size
    elif kind == STRUCT:
        while (inner := data[offset]) != STOP:
            offset = skip(inner, data, offset + 3, depth + 1)
        offset += 1
    elif kind == MAP:
        key_kind, value_kind, count = _MAP_HEAD.unpack_from(data, offset)
        offset = _skip_many((key_kind, value_kind), count, data, offset + 6, depth)
    elif kind in (LIST, SET):
        item_kind, count = _LIST_HEAD.unpack_from(data, offset)
        offset = _skip_many((item_kind,), count, data, offset + 5, depth)
    else:
        raise ThriftError(f"no Thrift type has the number {kind} (byte {offset})", offset)
    if offset > len(data):
        raise ThriftError(f"a value ends at byte {offset}, behind the end of the data", offset)
    return offset


def _skip_many(kinds: tuple[int, ...], count: int, data: bytes, offset: int, depth: int) -> int:
    if count < 0:
        raise ThriftError(f"a container of {count} entries at byte {offset}", offset)
    for _ in range(count):
        if offset > len(data):
            raise ThriftError(f"a container ends behind the end of the data (byte {offset})", offset)
        for kind in kinds:
            offset = skip(kind, data, offset, depth + 1)
    return offset
