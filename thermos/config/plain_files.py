"""Configurations as plain data, JSON or TOML: nothing is executed to read them, and pystachio is not needed.

A JSON file holds a task, a job, or ``{"jobs": [...]}`` as ``aurora job inspect --write-json`` prints it.
Fields that are not known are warnings there: other programs write such files, newer ones too.

A TOML file holds one task. Its keys are those of the task's JSON, at the top or in a table ``[task]``::

    name = "backup"
    [resources]
    cpu = 0.5
    ram = "128 MB"
    disk = "1 GB"
    [[processes]]
    name = "dump"
    cmdline = "dump > {{thermos.task_id}}.sql"
    [[constraints]]
    order = ["dump", "upload"]
    [x_processes.upload.backoff]
    max_s = 60.0

Numbers of bytes may be written with a unit, as in the configuration language (1 KB is 1024 bytes). People
write TOML: a key that is not known is an error.

In both, references such as ``{{name}}`` are looked up in the object they are in, then in those around it,
then in what the command line binds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from thermos import schema
from thermos.definition import FieldShape, Kind, Problem, build, nearest, shapes
from thermos.errors import ConfigError
from thermos.templates import Address, resolve_tree

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(BYTES|KB|MB|GB|TB)")


def read_json(text: bytes, source: str) -> Any:
    """The JSON in *text*. Raises ConfigError with the line of what is wrong."""
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(source, [Problem("", f"is not UTF-8: byte {error.start} is wrong")]) from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            source, [Problem("", f"is not JSON: {error.msg} in column {error.colno}", "", error.lineno)]
        ) from None
    except RecursionError:
        raise ConfigError(source, [Problem("", "is nested too deeply")]) from None


def read_toml(text: bytes, source: str) -> Any:
    """The task in TOML, in the shape of its JSON. Raises ConfigError with the line of what is wrong."""
    import tomllib

    try:
        raw = tomllib.loads(text.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(source, [Problem("", f"is not UTF-8: byte {error.start} is wrong")]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        message = str(error).removesuffix(found[0]) if found else str(error)
        line = int(found[1]) if found else None
        raise ConfigError(source, [Problem("", f"is not TOML: {message}", "", line)]) from None
    inner = raw.pop("task", None)
    if inner is None:
        return raw
    if not isinstance(inner, dict):
        raise ConfigError(source, [Problem("task", "must be a table: [task]")])
    twice = sorted(inner.keys() & raw.keys())
    if twice:
        raise ConfigError(source, [Problem(key, "is given both at the top and in [task]") for key in twice])
    return {**inner, **raw}


def with_sizes(definition: type, raw: Any, path: str, problems: list[Problem]) -> Any:
    """*raw* with sizes such as ``"128 MB"`` as numbers, wherever *definition* counts bytes."""
    if not isinstance(raw, dict):
        return raw
    result = dict(raw)
    for shape in shapes(definition):
        value = raw.get(shape.name)
        where = f"{path}.{shape.name}" if path else shape.name
        if shape.meta["unit"] == "bytes" and isinstance(value, str) and not value.strip().isdecimal():
            found = _SIZE.fullmatch(value.strip())
            if found:
                result[shape.name] = int(float(found[1]) * getattr(schema, found[2]))
            elif "{{" not in value:
                problems.append(Problem(where, f"is '{value}', which is no size", 'write bytes, or "128 MB"'))
                result[shape.name] = 1
        elif value is not None:
            result[shape.name] = _each_struct(
                shape.kind, value, where, lambda struct, item, at: with_sizes(struct, item, at, problems)
            )
    return result


def _each_struct(kind: Kind, value: Any, path: str, change: Any) -> Any:
    """*value* with each struct in it replaced by ``change(definition, struct, path)``."""
    if kind.base == "struct":
        return change(kind.of[0], value, path) if len(kind.of) == 1 else value
    if kind.base == "list" and isinstance(value, list):
        return [_each_struct(kind.of[0], item, f"{path}[{index}]", change) for index, item in enumerate(value)]
    if kind.base == "map" and isinstance(value, dict):
        return {key: _each_struct(kind.of[0], item, f"{path}[{key}]", change) for key, item in value.items()}
    return value


def with_defaults(definition: type, raw: Any, path: str = "") -> Any:
    """*raw* with the defaults that are references, such as a task's name, where they are not given."""
    if not isinstance(raw, dict):
        return raw
    result = dict(raw)
    for shape in shapes(definition):
        default = shape.meta["dsl_default"]
        if raw.get(shape.name) is None:
            if default is not None:
                result[shape.name] = default
        else:
            result[shape.name] = _each_struct(shape.kind, raw[shape.name], path, with_defaults)
    return result


def unknown_fields(definition: type, raw: Any, path: str = "") -> Iterator[Problem]:
    """Each field in *raw* that *definition* does not have."""
    if not isinstance(raw, Mapping):
        return
    known: dict[str, FieldShape] = {shape.name: shape for shape in shapes(definition)}
    for name, value in raw.items():
        where = f"{path}.{name}" if path else name
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean '{close}'?" if close else f"a {definition.__name__} has {', '.join(known)}"
            yield Problem(where, f"a {definition.__name__} has no '{name}'", hint)
            continue
        yield from _unknown_below(known[name].kind, value, where)


def _unknown_below(kind: Kind, value: Any, path: str) -> list[Problem]:
    found: list[Problem] = []
    _each_struct(kind, value, path, lambda struct, item, at: found.extend(unknown_fields(struct, item, at)))
    return found


def evaluate(definition: type, raw: Any, scopes: Iterable[object], problems: list[Problem]) -> Any:
    """The *definition* that *raw* holds, references resolved, or None, with the reasons added to *problems*."""
    completed = with_defaults(definition, raw)
    resolved = resolve_tree(completed, tuple(scopes), "", lambda path, message: problems.append(Problem(path, message)))
    return None if problems else build(definition, resolved, "", problems)


def bound_scopes(bindings: Iterable[tuple[Address, str]]) -> list[object]:
    """What the command line binds, in the shape of parsed JSON, the last one first."""
    scopes: list[object] = []
    for address, value in bindings:
        scope: Any = value
        for part in reversed(address):
            scope = {part[1:] if part[0] == "." else part[1:-1]: scope}
        scopes.insert(0, scope)
    return scopes
