"""JSON for people and scripts, as ``/apibeta`` and ``--write-json`` have it.

Fields by their Aurora names, enums by name, a union as an object with one key, sets as arrays; what is not set is left
out. Source: Aurora's ``ApiBeta`` and ``GsonMessageBodyHandler``.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf, isfinite
from typing import Any, Final

from scheduler.wire.schema import Schema, Slot, WireError, schema_of
from thermos.formats.thrift_binary import BOOL, DOUBLE, I32, I64, LIST, MAP, SET, STRING, STRUCT, StructType

_BITS: Final = {I32: 32, I64: 64}


def plain(struct: StructType, value: Any) -> dict[str, Any]:
    """*value* as what ``json`` writes."""
    written: dict[str, Any] = {}
    for slot in schema_of(struct).slots:
        item = value[slot.position]
        if item is not None:
            written[slot.name] = _plain(slot, slot.field.type, item)
    return written


def _plain(slot: Slot, kind: int, item: Any) -> Any:
    if kind == STRUCT:
        assert slot.field.struct is not None
        return plain(slot.field.struct, item)
    if kind in (LIST, SET):
        return [_plain(slot, slot.field.of, one) for one in item]
    if kind == MAP:
        return {key: _plain(slot, slot.field.of, one) for key, one in item.items()}
    if slot.enum is not None:
        return slot.enum(item).name
    if kind == DOUBLE and not isfinite(item):
        return None  # JSON has no such number
    return item


def parsed(struct: StructType, written: object, where: str = "") -> Any:
    """The value that *written*, as ``json`` read it, says. Raises WireError with the place: ``query.statuses[0]``."""
    schema = schema_of(struct)
    if not isinstance(written, dict):
        raise WireError(f"{where or 'the body'}: an object should be here, not {_called(written)}")
    _check_names(schema, written, where)
    values: list[Any] = [None] * len(struct.factory._fields)
    for name, item in written.items():
        if item is None:
            continue
        slot = schema.by_name[name]
        here = f"{where}.{name}" if where else name
        value = _parsed(slot, slot.field.type, item, here)
        if slot.field.convert is not None:
            try:
                value = slot.field.convert(value)
            except ValueError as error:
                raise WireError(f"{here}: {error}") from None
        values[slot.position] = value
    return struct.factory(*values)


def _check_names(schema: Schema, written: dict[str, Any], where: str) -> None:
    unknown = sorted(written.keys() - schema.by_name.keys())
    if unknown:
        known = ", ".join(sorted(schema.by_name)) or "no fields"
        raise WireError(f"{where or 'the body'}: {unknown[0][:60]!r} is unknown; there are {known}")
    if schema.is_union and (len(written) != 1 or None in written.values()):
        raise WireError(f"{where}: exactly one of {', '.join(sorted(schema.by_name))} should be here")


def _parsed(slot: Slot, kind: int, item: Any, where: str) -> Any:
    if kind == STRUCT:
        assert slot.field.struct is not None
        return parsed(slot.field.struct, item, where)
    if kind in (LIST, SET) and isinstance(item, list):
        return tuple(_parsed(slot, slot.field.of, one, f"{where}[{index}]") for index, one in enumerate(item))
    if kind == MAP and isinstance(item, dict):
        return {key: _parsed(slot, slot.field.of, one, f"{where}.{key}") for key, one in item.items()}
    if kind in _BITS:
        if slot.enum is not None:
            return _member(slot.enum, item, where)
        bits = _BITS[kind]
        if isinstance(item, float) and item.is_integer():
            item = int(item)  # JSON knows one kind of number only: 7.0 is 7
        if isinstance(item, int) and not isinstance(item, bool) and -(1 << bits - 1) <= item < 1 << bits - 1:
            return item
    elif isinstance(item, {STRING: str, BOOL: bool}.get(kind, ())):
        return item
    elif kind == DOUBLE and isinstance(item, (int, float)) and not isinstance(item, bool):
        try:
            return float(item)
        except OverflowError:
            return inf if item > 0 else -inf
    wanted = {I32: "a whole number of 32 bits", I64: "a whole number of 64 bits", STRING: "a string", BOOL: "true or "
              "false", DOUBLE: "a number", LIST: "an array", SET: "an array", MAP: "an object"}[kind]  # fmt: skip
    raise WireError(f"{where}: {wanted} should be here, not {_called(item)}")


def _member(enum: type[IntEnum], item: object, where: str) -> int:
    if isinstance(item, str) and item in enum.__members__:
        return enum[item]
    raise WireError(f"{where}: one of {', '.join(enum.__members__)} should be here, not {_called(item)}")


def _called(item: object) -> str:
    if isinstance(item, dict):
        return "an object"
    if isinstance(item, list):
        return "an array"
    return repr(item)[:60]
