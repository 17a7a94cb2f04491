"""``/apibeta`` described for programs, as OpenAPI 3.1: made of the tables that also read and write it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from scheduler.wire.schema import ARGUMENTS, Slot, schema_of, structs_below
from thermos import __version__
from thermos.formats.aurora_api import METHODS, RESPONSE
from thermos.formats.thrift_binary import BOOL, DOUBLE, I32, I64, LIST, MAP, SET, STRING, STRUCT, StructType

_PLAIN: Final[dict[int, dict[str, Any]]] = {
    STRING: {"type": "string"},
    BOOL: {"type": "boolean"},
    DOUBLE: {"type": "number"},
    I32: {"type": "integer", "format": "int32", "minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    I64: {"type": "integer", "format": "int64", "minimum": -(1 << 63), "maximum": (1 << 63) - 1},
}
_ERRORS: Final = {
    "400": "The body is not JSON, or not what the method takes.",
    "404": "There is no such method.",
}


def _type(slot: Slot, kind: int) -> dict[str, Any]:
    field = slot.field
    if kind == STRUCT:
        assert field.struct is not None
        return {"$ref": f"#/components/schemas/{field.struct.name}"}
    if kind in (LIST, SET):
        return {"type": "array", "items": _type(slot, field.of)}
    if kind == MAP:
        return {"type": "object", "additionalProperties": _type(slot, field.of)}
    if slot.enum is not None:
        return {"$ref": f"#/components/schemas/{slot.enum.__name__}"}
    if kind == DOUBLE and field.convert is not None:
        # What one can calculate with; see thermos.formats.assigned_task.
        return {"type": "number", "minimum": -1e12, "maximum": 1e12}
    return _PLAIN[kind]


def _object(struct: StructType) -> dict[str, Any]:
    schema = schema_of(struct)
    described: dict[str, Any] = {
        "type": "object",
        "properties": {slot.name: _type(slot, slot.field.type) for slot in schema.slots},
        "additionalProperties": False,
    }
    if schema.is_union:
        return described | {"minProperties": 1, "maxProperties": 1}
    # Null is as good as nothing.
    described["properties"] = {name: _or_null(one) for name, one in described["properties"].items()}
    return described


def _or_null(one: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "null"}]} if "$ref" in one else one | {"type": [one["type"], "null"]}


def describe() -> dict[str, Any]:
    """The whole description."""
    found: dict[str, dict[str, Any]] = {}
    for root in (RESPONSE, *ARGUMENTS.values()):
        for struct in structs_below(root):
            for slot in schema_of(struct).slots:
                if slot.enum is not None:
                    found[slot.enum.__name__] = {"type": "string", "enum": [member.name for member in slot.enum]}
            if struct not in ARGUMENTS.values():
                found[struct.name] = _object(struct)
    schemas = dict(sorted(found.items()))
    schemas["Response"]["required"] = ["responseCode", "serverInfo", "details"]
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Response"}}}
    paths = {}
    for name, method in METHODS.items():
        responses = {"200": {"description": "What the scheduler answers; its responseCode says how.", "content": body}}
        responses |= {status: {"description": words, "content": body} for status, words in _ERRORS.items()}
        responses["401"] = {
            "description": "A user's name and password are needed.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
        paths[f"/apibeta/{name}"] = {
            "post": {
                "operationId": name,
                "tags": [method.service.value],
                "requestBody": {
                    "required": bool(method.arguments),
                    "content": {"application/json": {"schema": _object(ARGUMENTS[name])}},
                },
                "responses": responses,
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Aurora's scheduler API as JSON",
            "version": __version__,
            "description": "Every method of Aurora's Thrift API. A union is an object with exactly one key; what is "
            "not set is left out.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
        "security": [{}, {"basic": []}],
    }


@cache
def document() -> bytes:
    """The description as JSON."""
    return (json.dumps(describe(), indent=2) + "\n").encode()
