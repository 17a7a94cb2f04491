"""Where in a configuration file each value comes from, and what its structs refused while the file ran."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from thermos.config.pystachio_fixes import Object, Recorder, SimpleObject
from thermos.definition import Problem, nearest

#: Frames to climb from a struct's constructor to the line of the file that called it; helpers add a few.
_MAX_CLIMB: Final = 40


class Call(NamedTuple):
    """One call made by a configuration file."""

    code: CodeType
    instruction: int


class Place(NamedTuple):
    """A line of a configuration file."""

    file: str
    line: int


class Sources:
    """The files of a configuration: what was executed under which name, and what its lines say."""

    def __init__(self, main: str) -> None:
        self.main = main
        self._texts: dict[str, bytes] = {}
        self._calls: dict[str, dict[tuple[int, int, int, int], ast.Call]] = {}

    def add(self, name: str, text: bytes) -> None:
        """*text* is about to be executed as *name*."""
        self._texts[name] = text

    def __contains__(self, name: object) -> bool:
        return name in self._texts

    def here(self, frame: FrameType | None) -> Call | None:
        """The call in a configuration file that led to *frame*, or None."""
        for _ in range(_MAX_CLIMB):
            if frame is None:
                return None
            if frame.f_code.co_filename in self._texts:
                return Call(frame.f_code, frame.f_lasti)
            frame = frame.f_back
        return None

    def place(self, call: Call, field: str = "") -> Place | None:
        """The line of *call*, or, where it can be told, of its keyword argument *field*."""
        position = next(islice(call.code.co_positions(), call.instruction // 2, None), None)
        if position is None or position[0] is None:
            return None
        name = call.code.co_filename
        line = position[0]
        node = self._calls_of(name).get(position) if None not in position else None  # type: ignore[arg-type]
        for keyword in node.keywords if node is not None and field else ():
            if keyword.arg == field:
                line = keyword.value.lineno
        return Place(name, line)

    def problem(self, place: Place | None, path: str, message: str, hint: str = "") -> Problem:
        """A problem at *place*; the file is named where it is not the one that is being loaded."""
        if place is None:
            return Problem(path, message, hint)
        file = "" if place.file == self.main else os.path.basename(place.file)
        return Problem(path, message, hint, place.line, file)

    def _calls_of(self, name: str) -> Mapping[tuple[int, int, int, int], ast.Call]:
        known = self._calls.get(name)
        if known is None:
            known = self._calls[name] = {
                (node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0): node
                for node in ast.walk(ast.parse(self._texts[name]))
                if isinstance(node, ast.Call)
            }
        return known


class Recording(Recorder):
    """What is known of each struct: which call gave it which field. And all that was refused."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.problems: list[Problem] = []

    def made(self, struct: Any, fields: Mapping[str, object]) -> None:
        call = self.sources.here(sys._getframe(2))
        if call is not None:
            calls, refused = struct.__dict__.get("_recorded", ({}, frozenset()))
            struct._recorded = ({**calls, "": call, **dict.fromkeys(fields, call)}, refused)

    def refused(self, struct: Any, field: str, value: object, error: Exception) -> None:
        call = self.sources.here(sys._getframe(2))
        place = self.sources.place(call, field) if call is not None else None
        name = type(struct).__name__
        calls, known = struct.__dict__.get("_recorded", ({}, frozenset()))
        if field not in struct.TYPEMAP:
            close = nearest(field, struct.TYPEMAP)
            struct._recorded = (calls, known | {close})  # what was meant is not missing as well
            hint = f"did you mean '{close}'?" if close else f"a {name} has " + ", ".join(sorted(struct.TYPEMAP))
            self.problems.append(self.sources.problem(place, f"{name}.{field}", f"a {name} has no '{field}'", hint))
        else:
            struct._recorded = (calls, known | {field})
            wanted = kind_name(struct.TYPEMAP[field].klazz)
            message = f"must be {wanted}, not {said(value)}"
            self.problems.append(self.sources.problem(place, f"{name}.{field}", message))


def recorded_call(struct: Any, field: str) -> Call | None:
    """The call that gave *struct* its *field*, else the one that made it, else None."""
    calls, _ = struct.__dict__.get("_recorded", ({}, frozenset()))
    found = calls.get(field) or calls.get("")
    return found if isinstance(found, Call) else None


def was_refused(struct: Any, field: str) -> bool:
    """Whether *struct* was given a *field* it could not take, which is reported already."""
    _, refused = struct.__dict__.get("_recorded", ({}, frozenset()))
    return field in refused


def kind_name(klass: Any) -> str:
    """What a pystachio type holds, in words."""
    factory = klass.type_factory()
    if factory == "List":
        return f"a list, each element {kind_name(klass.TYPE)}"
    if factory == "Map":
        return "a dict"
    if factory == "Struct":
        return f"a {klass.__name__}"
    if factory == "Choice":
        return "one of " + ", ".join(choice.__name__ for choice in klass.CHOICES)
    if factory == "Enum":
        return "one of " + ", ".join(map(repr, klass.VALUES))
    return {"String": "text", "Integer": "a whole number", "Float": "a number", "Boolean": "True or False"}[factory]


def said(value: object) -> str:
    """*value* as an error message shows it: short. (The representations of pystachio's objects raise on a fault.)"""
    while isinstance(value, SimpleObject):
        value = value._value
    if isinstance(value, Object):
        return f"a {type(value).__name__}"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - of an object of the file's own
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def prefixes(path: str) -> Iterator[str]:
    """*path* and what it lies in, the nearest first: ``a.b[0].c``, ``a.b[0]``, ``a.b``, ``a``."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
