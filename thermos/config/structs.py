"""The structs of configuration files, made from the definitions, each at its first use."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from thermos import schema
from thermos.config.pystachio_fixes import frozendict, pystachio
from thermos.definition import FieldShape, Kind, plain, shapes


def _definitions(module: object) -> dict[str, type]:
    """The dataclasses that *module* defines itself, by name."""
    own = getattr(module, "__name__", "")
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == own and hasattr(value, "__dataclass_fields__")
    }


#: The structs of a task, and its enumerations, by name.
TASK_DEFINITIONS: Final[Mapping[str, type]] = _definitions(schema)
TASK_ENUMS: Final = frozenset({"LoggerDestination", "LoggerMode"})


@functools.cache
def definitions() -> Mapping[str, type]:
    """Every struct a configuration file can name, and its definition.

    Those of jobs are a third of this package's import time: a file that only has tasks does without.
    """
    from thermos.config import job_schema, probe_schema

    return {**TASK_DEFINITIONS, **_definitions(probe_schema), **_definitions(job_schema)}


_SIMPLE: Final = {"str": "String", "int": "Integer", "float": "Float", "bool": "Boolean"}

#: pystachio makes types of tuples that describe them and keeps them here, so that each is made once.
_types: dict[Any, Any] = {}
_signatures: dict[type, tuple[Any, ...]] = {}


def struct(name: str) -> Any:
    """The pystachio type of the struct called *name*. Raises KeyError where there is none."""
    definition = TASK_DEFINITIONS.get(name) or definitions()[name]
    return pystachio.TypeFactory.new(_types, *_struct_signature(definition))


def enum(name: str) -> Any:
    """The pystachio type of the enumeration called *name*. Raises KeyError where there is none."""
    for definition in (TASK_DEFINITIONS if name in TASK_ENUMS else definitions()).values():
        for shape in shapes(definition):
            if shape.meta["enum"] == name:
                return pystachio.TypeFactory.new(_types, "Enum", name, shape.meta["choices"])
    raise KeyError(name)


def _struct_signature(definition: type) -> tuple[Any, ...]:
    known = _signatures.get(definition)
    if known is None:
        parameters = tuple(sorted((shape.name, _field_signature(shape)) for shape in shapes(definition)))
        known = _signatures[definition] = ("Struct", definition.__name__, parameters)
    return known


def _field_signature(shape: FieldShape) -> tuple[Any, ...]:
    """Whether it is required, its default, whether it has none, and its type: ``TypeSignature.serialize``'s form."""
    default = shape.meta["dsl_default"]
    if default is None and not shape.required and not shape.meta["sparse"]:
        default = shape.default
    kind = _signature(shape.kind, shape)
    if default is None:
        return (shape.required, (), True, kind)
    return (False, _frozen(plain(default)), False, kind)


def _signature(kind: Kind, shape: FieldShape) -> tuple[Any, ...]:
    if kind.base == "list":
        return ("List", _signature(kind.of[0], shape))
    if kind.base == "map":
        return ("Map", ("String",), _signature(kind.of[0], shape))
    if kind.base == "struct" and len(kind.of) == 1:
        return _struct_signature(kind.of[0])
    if kind.base == "struct":
        name = "Choice_" + "_".join(definition.__name__ for definition in kind.of)
        return ("Choice", name, tuple(_struct_signature(definition) for definition in kind.of))
    if shape.meta["enum"]:
        return ("Enum", shape.meta["enum"], shape.meta["choices"])
    return (_SIMPLE[kind.base],)


def _frozen(value: Any) -> Any:
    """*value* such that it can be hashed, as pystachio does with the descriptions of types."""
    if isinstance(value, Mapping):
        return frozendict((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value
