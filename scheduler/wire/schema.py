"""What the tables of Aurora's structs leave open, and both JSON forms need: names, enums, unions, arguments."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from thermos.formats.aurora_api import METHODS, RESPONSE, Each, Response
from thermos.formats.thrift_binary import STRUCT, Field, StructType


class WireError(ValueError):
    """The bytes are not what they should be; says where and why. Whoever sent them is at fault."""


class Mode(IntEnum):
    """``Mode`` of a volume."""

    RW = 1
    RO = 2


#: Structs of which exactly one field is set (``api.thrift``).
UNIONS: Final = frozenset({
    "Container", "Image", "JobUpdateStrategy", "Resource", "Result", "SlaPolicy", "TaskConstraint",
})  # fmt: skip

#: Names that Python keeps for itself.
_NAMES: Final = {("CountSlaPolicy", "instances"): "count"}
#: Enums that the tables keep as numbers.
_ENUMS: Final = {("Volume", "mode"): Mode}


def wire_name(struct: str, attribute: str) -> str:
    """The name of a struct's field as Aurora spells it: ``job_key`` is ``jobKey``."""
    if (name := _NAMES.get((struct, attribute))) is not None:
        return name
    first, *rest = attribute.split("_")
    return first + "".join(part.capitalize() for part in rest)


def enum_of(struct: str, field: Field) -> type[IntEnum] | None:
    """The enum that the field, or each of its items, is one of."""
    convert = field.convert.kind if isinstance(field.convert, Each) else field.convert
    if isinstance(convert, type) and issubclass(convert, IntEnum):
        return convert
    return _ENUMS.get((struct, field.name))


class Slot(NamedTuple):
    """A field with all that is worked out of it once."""

    field: Field
    position: int
    name: str
    enum: type[IntEnum] | None


class Schema(NamedTuple):
    """A struct's fields, in order of their ids and by their names on the wire."""

    struct: StructType
    slots: tuple[Slot, ...]
    by_name: Mapping[str, Slot]
    is_union: bool


_schemas: dict[StructType, Schema] = {}


def schema_of(struct: StructType) -> Schema:
    """The struct's, worked out once."""
    known = _schemas.get(struct)
    if known is None:
        name = struct.name
        slots = tuple(
            Slot(field, position, wire_name(name, field.name), enum_of(name, field)) for field, position in struct.slots
        )
        known = Schema(struct, slots, MappingProxyType({slot.name: slot for slot in slots}), name in UNIONS)
        _schemas[struct] = known
    return known


def structs_below(struct: StructType) -> Iterator[StructType]:
    """*struct*, and every struct that it can hold, each once."""
    seen = {struct}
    waiting = [struct]
    while waiting:
        one = waiting.pop()
        yield one
        for field in one.fields:
            if field.struct is not None and field.struct not in seen:
                seen.add(field.struct)
                waiting.append(field.struct)


def _arguments(name: str, fields: tuple[Field, ...]) -> StructType:
    factory: Any = namedtuple(f"{name}_args", [field.name for field in fields])  # type: ignore[misc]
    return StructType(factory, fields)


#: Every method's arguments as a struct.
ARGUMENTS: Final[Mapping[str, StructType]] = MappingProxyType(
    {name: _arguments(name, method.arguments) for name, method in METHODS.items()}
)


class Reply(NamedTuple):
    """What every method answers."""

    success: Response | None = None


REPLY: Final = StructType(Reply, [Field(0, "success", STRUCT, RESPONSE)])
