"""Hypothesis strategies for every struct of the API, made of its table."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from scheduler.wire.schema import Slot, schema_of
from thermos.formats.thrift_binary import BOOL, DOUBLE, I32, I64, LIST, MAP, SET, STRING, STRUCT, StructType

#: Few and short: a Response holds so many fields that anything more takes long.
_TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    STRING: _TEXT,
    BOOL: st.booleans(),
    I32: st.integers(-(1 << 31), (1 << 31) - 1),
    I64: st.integers(-(1 << 63), (1 << 63) - 1),
    DOUBLE: st.floats(-1e12, 1e12),
}


@cache
def values(struct: StructType) -> st.SearchStrategy[Any]:
    """Values of *struct*: any of its fields missing; of a union exactly one there."""
    schema = schema_of(struct)
    fields = [(slot.field.name, _value(slot, slot.field.type)) for slot in schema.slots]
    if schema.is_union:
        return st.one_of([st.fixed_dictionaries({name: value}) for name, value in fields]).map(
            lambda found: struct.factory(**found)
        )
    absent = dict.fromkeys(struct.factory._fields)
    given = st.fixed_dictionaries({}, optional=dict(fields))
    return given.map(lambda found: struct.factory(**(absent | found)))


def _value(slot: Slot, kind: int) -> st.SearchStrategy[Any]:
    field = slot.field
    if kind == STRUCT:
        assert field.struct is not None
        return values(field.struct)
    if kind in (LIST, SET):
        return st.lists(_value(slot, field.of), max_size=2).map(tuple)
    if kind == MAP:
        return st.dictionaries(_TEXT, _value(slot, field.of), max_size=2)
    if slot.enum is not None:
        return st.sampled_from(list(slot.enum))
    return _SCALARS[kind]
