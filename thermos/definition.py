"""What a schema's definition says of its fields: kind, default, unit, limits and meaning.

:mod:`thermos.schema` and :mod:`thermos.config.job_schema` define each struct once, as a frozen dataclass
whose fields carry :func:`about`. From that one definition come the JSON reader and writer (here), the names
in configuration files, the limits that are checked, the published JSON Schema and the reference page.

The runner imports this module, and a node runs hundreds of runners: nothing but what ``dataclasses`` imports
anyway.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Struct = TypeVar("Struct")

# Patterns are compiled at their first use, by ``re`` itself: seldom, and never at import.
_INTEGER = r"[+-]?[0-9]+"
_FLOAT = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a configuration: where it is, what is wrong, and what to do about it.

    *line* is that of *file*, or of the file that is being loaded where *file* is empty.
    """

    path: str
    message: str
    hint: str = ""
    line: int | None = None
    file: str = ""

    def __str__(self) -> str:
        where = [f"{self.file} line {self.line}".lstrip()] if self.line is not None else []
        text = ": ".join([*where, self.path, self.message] if self.path else [*where, self.message])
        return f"{text}; {self.hint}" if self.hint else text


def about(
    doc: str,
    *,
    unit: str = "",
    choices: tuple[str, ...] = (),
    enum: str = "",
    at_least: float | None = None,
    more_than: float | None = None,
    at_most: float | None = None,
    dsl_default: object = None,
    sparse: bool = False,
) -> dict[str, object]:
    """Metadata of a field, for ``dataclasses.field(metadata=...)``.

    *enum* is the name configuration files have for the type of a field with *choices*. *dsl_default* is what
    a configuration file's struct has where the dataclass has nothing or only a finished value (a template
    such as ``{{processes[0].name}}``). A *sparse* field is written only when it differs from its default:
    what we add to the original's schema must not appear where it is not used.
    """
    return {
        "doc": doc,
        "unit": unit,
        "choices": choices,
        "enum": enum,
        "at_least": at_least,
        "more_than": more_than,
        "at_most": at_most,
        "dsl_default": dsl_default,
        "sparse": sparse,
    }


class Kind:
    """The kind of value a field holds.

    *base* is ``str``, ``int``, ``float`` or ``bool``, ``list``, ``map`` or ``struct``. *of* holds the structs
    a ``struct`` may be (several: the first that fits), or the one kind of a list's elements or a map's
    values.
    """

    __slots__ = ("base", "of", "optional")

    def __init__(self, base: str, of: tuple[Any, ...] = (), optional: bool = False) -> None:
        self.base = base
        self.of = of
        self.optional = optional


class FieldShape:
    """One field of a struct as its definition says it is."""

    __slots__ = ("default", "kind", "meta", "name", "required")

    def __init__(self, name: str, kind: Kind, required: bool, default: object, meta: Mapping[str, Any]) -> None:
        self.name = name
        self.kind = kind
        self.required = required
        self.default = default
        self.meta = meta


def _kind(annotation: str, namespace: Mapping[str, Any]) -> Kind:
    parts = [part for part in annotation.split(" | ") if part != "None"]
    optional = annotation.endswith(" | None")
    text = parts[0]
    if text in ("str", "int", "float", "bool"):
        return Kind(text, (), optional)
    if text.startswith("tuple["):
        return Kind("list", (_kind(text[6:].removesuffix(", ...]"), namespace),), optional)
    if text.startswith("Mapping[str, "):
        return Kind("map", (_kind(text[13:-1], namespace),), optional)
    return Kind("struct", tuple(namespace[part] for part in parts), optional)


_shapes: dict[type, tuple[FieldShape, ...]] = {}


def shapes(struct: type) -> tuple[FieldShape, ...]:
    """The fields of *struct* in the order of their definition."""
    known = _shapes.get(struct)
    if known is None:
        namespace = vars(sys.modules[struct.__module__])
        found = []
        for item in fields(struct):
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            found.append(
                FieldShape(item.name, _kind(str(item.type), namespace), default is MISSING, default, item.metadata)
            )
        known = _shapes[struct] = tuple(found)
    return known


def build(struct: type[Struct], raw: object, path: str, problems: list[Problem]) -> Struct | None:
    """A *struct* from parsed JSON or TOML, or None, with the reasons added to *problems*.

    Fields it does not know are passed over, so that what a newer version wrote can be read. Numbers and
    booleans may be given as text. Limits are not checked here: see :func:`limit_problems`.
    """
    if not isinstance(raw, Mapping):
        problems.append(Problem(path, f"must be an object, a {struct.__name__}, not {_said(raw)}"))
        return None
    before = len(problems)
    values: dict[str, Any] = {}
    prefix = f"{path}." if path else ""
    for shape in shapes(struct):
        value = raw.get(shape.name)
        if value is not None:
            values[shape.name] = _build_value(shape.kind, value, prefix + shape.name, problems)
        elif shape.required:
            problems.append(Problem(prefix + shape.name, f"is required in a {struct.__name__} and missing"))
    return struct(**values) if len(problems) == before else None


def _build_value(kind: Kind, raw: object, path: str, problems: list[Problem]) -> Any:
    base = kind.base
    if base == "list":
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            problems.append(Problem(path, f"must be a list, not {_said(raw)}"))
            return ()
        of = kind.of[0]
        if of.base == "struct" and len(of.of) == 1:
            return tuple(build(of.of[0], item, f"{path}[{i}]", problems) for i, item in enumerate(raw))
        return tuple(_build_value(of, item, f"{path}[{i}]", problems) for i, item in enumerate(raw))
    if base == "map":
        if not isinstance(raw, Mapping):
            problems.append(Problem(path, f"must be an object, not {_said(raw)}"))
            return {}
        of = kind.of[0]
        return {str(key): _build_value(of, item, f"{path}[{key}]", problems) for key, item in raw.items()}
    if base == "struct":
        return build(_fitting(kind.of, raw), raw, path, problems)
    try:
        return scalar(base, raw)
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return None


def _fitting(structs: tuple[type, ...], raw: object) -> type:
    """Of several structs the first with all of *raw*'s fields and nothing lacking, else the first."""
    if len(structs) > 1 and isinstance(raw, Mapping):
        for struct in structs:
            known = shapes(struct)
            if set(raw) <= {shape.name for shape in known} and all(s.name in raw for s in known if s.required):
                return struct
    return structs[0]


def scalar(base: str, raw: object) -> str | int | float | bool:
    """*raw* as a ``str``, ``int``, ``float`` or ``bool``, where it can mean one.

    As with pystachio, a number with a fraction loses it where a whole one is wanted: ``ram=0.3 * GB`` is
    common.

    Raises:
        ValueError: it cannot; the message says what was expected.
    """
    if base == "str":
        if isinstance(raw, str):
            return raw
        if isinstance(raw, (int, float)):
            return str(raw)
        raise ValueError(f"must be text, not {_said(raw)}")
    if base == "bool":
        if isinstance(raw, (bool, int, float)):
            return bool(raw)
        if isinstance(raw, str) and raw.strip().lower() in _BOOLEANS:
            return _BOOLEANS[raw.strip().lower()]
        raise ValueError(f"must be true or false, not {_said(raw)}")
    if isinstance(raw, str):
        text = raw.strip()
        if base == "int" and re.fullmatch(_INTEGER, text):
            return int(text) if len(text) < 40 else _refuse(raw)
        if base == "float" and re.fullmatch(_FLOAT, text):
            return _finite(float(text), raw)
    elif isinstance(raw, (int, float)):
        if raw != raw or abs(raw) >= 1e300:
            _refuse(raw)
        return float(raw) if base == "float" else int(raw)
    raise ValueError(f"must be a {'whole ' if base == 'int' else ''}number, not {_said(raw)}")


def _finite(value: float, raw: object) -> float:
    return value if abs(value) < 1e300 else _refuse(raw)


def _refuse(raw: object) -> int:
    raise ValueError(f"must be a number of sensible size, not {_said(raw)}")


def _said(raw: object) -> str:
    if raw is None or isinstance(raw, bool):
        return {None: "null", True: "true", False: "false"}[raw]
    if isinstance(raw, Mapping):
        return "an object"
    if isinstance(raw, (list, tuple)):
        return "a list"
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."


def plain(value: object) -> Any:
    """*value* as JSON's own types: every field that is set, defaults included, in the order of definition."""
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in sorted(value)}
    result = {}
    for shape in shapes(type(value)):
        item = getattr(value, shape.name)
        if item is None or (shape.meta["sparse"] and item == shape.default):
            continue
        result[shape.name] = float(item) if shape.kind.base == "float" else plain(item)
    return result


def limit_problems(value: object, path: str = "") -> Iterator[Problem]:
    """Each number in *value* outside its field's limits, and each text that is not one of its choices."""
    prefix = f"{path}." if path else ""
    for shape in shapes(type(value)):
        item, meta, where = getattr(value, shape.name), shape.meta, prefix + shape.name
        if item is None:
            continue
        if isinstance(item, (int, float)):
            yield from _number_problems(item, meta, where)
        elif isinstance(item, str):
            if meta["choices"] and item not in meta["choices"]:
                allowed = ", ".join(map(repr, meta["choices"]))
                yield Problem(where, f"is {_said(item)}", f"it may be {allowed}")
        elif isinstance(item, tuple):
            for index, element in enumerate(item):
                if is_dataclass(element):
                    yield from limit_problems(element, f"{where}[{index}]")
                elif isinstance(element, (int, float)):
                    yield from _number_problems(element, meta, f"{where}[{index}]")
        elif isinstance(item, Mapping):
            for key, element in item.items():
                if is_dataclass(element):
                    yield from limit_problems(element, f"{where}[{key}]")
        else:
            yield from limit_problems(item, where)


def _number_problems(number: float, meta: Mapping[str, Any], where: str) -> Iterator[Problem]:
    unit = f" {meta['unit']}" if meta["unit"] else ""
    at_least, more_than, at_most = meta["at_least"], meta["more_than"], meta["at_most"]
    if number != number:
        yield Problem(where, "is not a number")
    elif at_least is not None and number < at_least:
        yield Problem(where, f"is {number}{unit}", f"it may not be below {at_least}")
    elif more_than is not None and number <= more_than:
        yield Problem(where, f"is {number}{unit}", f"it must be above {more_than}")
    elif at_most is not None and number > at_most:
        yield Problem(where, f"is {number}{unit}", f"it may not be above {at_most}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of *known* that *name* may have been meant to be, or None if none is close."""
    best, best_cost = None, max(1, len(name) // 3) + 1
    for candidate in known:
        if abs(len(candidate) - len(name)) < best_cost:
            cost = _distance(name.lower(), candidate.lower())
            if cost < best_cost:
                best, best_cost = candidate, cost
    return best


def _distance(one: str, other: str) -> int:
    """Characters to insert, remove, replace or swap with their neighbour to make *other* of *one*."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row = row, [i]
        for j, b in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]
