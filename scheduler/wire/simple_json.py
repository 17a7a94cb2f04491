"""JSON as Thrift's ``TSimpleJSONProtocol`` writes it: fields by their Aurora names, enums and truths as numbers. What
is not set is left out. Source: thrift ``lib/java/src/org/apache/thrift/protocol/TSimpleJSONProtocol.java``.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from scheduler.wire.schema import schema_of
from thermos.formats.thrift_binary import BOOL, DOUBLE, LIST, MAP, SET, STRUCT, Field, StructType


def simple(struct: StructType, value: Any) -> dict[str, Any]:
    """*value* as what ``json`` writes."""
    return {
        slot.name: _simple(slot.field, slot.field.type, item)
        for slot in schema_of(struct).slots
        if (item := value[slot.position]) is not None
    }


def _simple(field: Field, kind: int, item: Any) -> Any:
    if kind == STRUCT:
        assert field.struct is not None
        return simple(field.struct, item)
    if kind in (LIST, SET):
        return [_simple(field, field.of, one) for one in item]
    if kind == MAP:
        return {key: _simple(field, field.of, one) for key, one in item.items()}
    if kind == BOOL:
        return int(item)
    if kind == DOUBLE:
        return item if isfinite(item) else None  # JSON has no such number
    return int(item) if isinstance(item, int) else item
