"""Structs of a configuration file → plain data, with every fault on the way, its path and its line.

pystachio's own ``check`` stops at the first fault and does not say where it is. What references mean is
pystachio's: the nearest scope that knows a name wins, an object's own fields before what is bound to it,
before its parents'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from thermos.config.problems import Place, Sources, kind_name, prefixes, recorded_call, said, was_refused
from thermos.config.pystachio_fixes import (
    ChoiceContainer,
    ListContainer,
    MapContainer,
    Namable,
    Ref,
    SimpleObject,
    Structural,
    pystachio,
)
from thermos.definition import FieldShape, Kind, Problem, nearest, scalar, shapes
from thermos.templates import Address, BadTemplate, join_address, parse_address, resolve

#: References to references to references: beyond this many it is a circle.
_MAX_DEPTH: Final = 50

#: Gives a value to an address that no scope knows, such as ``docker.image[name][tag]``; None where it is not
#: its own.
Binder = Callable[[str], str | None]


class Scope:
    """Where an object's references are looked up. Costly with pystachio, so only worked out when there is one."""

    def __init__(self, value: Any, parent: Scope | None) -> None:
        self._value = value
        self._parent = parent
        self._scopes: tuple[Any, ...] | None = None

    def namables(self) -> tuple[Any, ...]:
        """The scopes, the nearest first."""
        if self._scopes is None:
            outer = self._parent.namables() if self._parent is not None else ()
            self._scopes = tuple(self._value.in_scope(*outer).scopes()) if outer else tuple(self._value.scopes())
        return self._scopes


class Evaluation:
    """One pass over the objects of a configuration. ``problems`` fills as it goes."""

    def __init__(
        self,
        sources: Sources,
        late: Callable[[Address], bool],
        binders: Iterable[Binder] = (),
        keep_literals: bool = False,
    ) -> None:
        """*late* says of which addresses a value may be given later, in texts; they are left as they are."""
        self.problems: list[Problem] = []
        #: Problems of fields left at a default that refers to others: they count only where those are in
        #: order.
        self.consequences: list[Problem] = []
        #: Paths at which there is a placeholder or another fault: what else is wrong there follows from that.
        self.faulty: set[str] = set()
        self._sources = sources
        self._late = late
        self._binders = tuple(binders)
        self._keep_literals = keep_literals
        self._places: dict[str, Place] = {}

    def struct(self, definition: type, value: Any, path: str, parent: Scope | None = None) -> dict[str, Any]:
        """The fields of *value* as parsed JSON has them, placeholders where they are at fault."""
        scope = Scope(value, parent)
        result = {}
        for shape in shapes(definition):
            where = f"{path}.{shape.name}" if path else shape.name
            call = recorded_call(value, shape.name)
            place = self._sources.place(call, shape.name) if call is not None else None
            if place is not None:
                self._places[where] = place
            refused = was_refused(value, shape.name)
            if refused:
                self.faulty.add(where)
            raw = value._schema_data[shape.name]
            if raw is not pystachio.Empty:
                before = len(self.problems)
                result[shape.name] = self._value(shape, shape.kind, raw, where, scope)
                if isinstance(raw, SimpleObject) and raw._value == shape.meta["dsl_default"]:
                    self.consequences += self.problems[before:]
                    del self.problems[before:]
            elif shape.required and shape.meta["dsl_default"] is None:
                if not refused:
                    self._report(where, f"is required in a {definition.__name__} and missing")
                result[shape.name] = _placeholder(shape.kind)
        return result

    def text(self, value: Any, scope: Scope) -> str | None:
        """The text of a simple object, without reporting anything; None where it is not known."""
        try:
            text, unbound = self._resolved(value, scope.namables(), 0)
        except (BadTemplate, RecursionError, ValueError):
            return None
        return None if unbound else text

    def place(self, path: str) -> Place | None:
        """The line that gave the value at *path*, or what it lies in."""
        return next((self._places[prefix] for prefix in prefixes(path) if prefix in self._places), None)

    def _report(self, path: str, message: str, hint: str = "") -> None:
        self.faulty.add(path)
        self.problems.append(self._sources.problem(self.place(path), path, message, hint))

    def _value(self, shape: FieldShape, kind: Kind, value: Any, path: str, scope: Scope) -> Any:
        if kind.base == "list":
            inner = Scope(value, scope) if value._scopes else scope
            return [
                self._value(shape, kind.of[0], item, f"{path}[{index}]", inner)
                for index, item in enumerate(value._values)
            ]
        if kind.base == "map":
            inner = Scope(value, scope) if value._scopes else scope
            result = {}
            for key, item in value._map:
                name = self._simple("str", key, f"{path} key", inner)
                result[name] = self._value(shape, kind.of[0], item, f"{path}[{name}]", inner)
            return result
        if kind.base == "struct":
            if isinstance(value, ChoiceContainer):
                inner = Scope(value, scope) if value._scopes else scope
                return self._choice(kind, value, path, inner)
            return self.struct(kind.of[0], value, path, scope)
        return self._simple(kind.base, value, path, scope, shape.meta["choices"])

    def _choice(self, kind: Kind, value: Any, path: str, scope: Scope) -> Any:
        raw = value._value
        for definition, klass in zip(kind.of, value.CHOICES, strict=True):
            if isinstance(raw, klass):
                return self.struct(definition, raw, path, scope)
        if isinstance(raw, dict):
            for definition, klass in zip(kind.of, value.CHOICES, strict=True):
                if set(raw) <= set(klass.TYPEMAP) and all(
                    name in raw for name, signature in klass.TYPEMAP.items() if signature.required
                ):
                    return self.struct(definition, klass(raw), path, scope)
        self._report(path, f"must be {kind_name(type(value))}, not {said(raw)}")
        return None

    def _simple(self, base: str, value: Any, path: str, scope: Scope, choices: tuple[str, ...] = ()) -> Any:
        raw = value._value
        while isinstance(raw, SimpleObject):
            raw = raw._value
        if not isinstance(raw, (str, int, float)):
            self._report(path, f"must be {kind_name(type(value))}, not {said(raw)}")
            return _placeholder(Kind(base))
        try:
            if isinstance(raw, str) and "{{" in raw:
                inner = Scope(value, scope) if value._scopes else scope
                raw, unbound = self._resolved(value, inner.namables(), 0)
                if self._report_unbound(base, unbound, path):
                    return _placeholder(Kind(base)) if base != "str" else raw
            if choices and raw not in choices:
                allowed = ", ".join(map(repr, choices))
                self._report(path, f"is {said(raw)}", f"it may be {allowed}")
                return choices[0]
            return scalar(base, raw)
        except RecursionError:
            self._report(path, "its references go in a circle")
        except (BadTemplate, ValueError) as error:
            self._report(path, str(error))
        return _placeholder(Kind(base)) if base != "str" else raw

    def _report_unbound(self, base: str, unbound: tuple[str, ...], path: str) -> bool:
        """Report what of *unbound* cannot wait; whether there was any."""
        found = False
        for address in unbound:
            if base == "str" and self._late(parse_address(address)):
                continue
            found = True
            self._report(path, f"nothing gives {{{{{address}}}}} a value", _unbound_hint(address))
        return found

    def _resolved(self, value: Any, namables: tuple[Any, ...], depth: int) -> tuple[str, tuple[str, ...]]:
        raw = value._value
        while isinstance(raw, SimpleObject):
            raw = raw._value
        if not isinstance(raw, str):
            return str(type(value).coerce(raw)), ()
        if depth > _MAX_DEPTH:
            raise BadTemplate(f"its references go in a circle: {said(raw)} leads back to itself")
        keep = self._keep_literals or depth > 0
        text, unbound = resolve(raw, lambda address: self._lookup(address, namables, depth), keep_literals=keep)
        if unbound or depth == 0 or isinstance(value, pystachio.String):
            return text, unbound
        return str(type(value).coerce(text)), ()

    def _lookup(self, address: Address, namables: tuple[Any, ...], depth: int) -> str | None:
        written = join_address(address)
        reference = Ref.from_address(written)
        for namable in namables:
            if not isinstance(namable, Namable):
                continue
            try:
                found = namable.find(reference)
            except (Namable.Error, ValueError):
                continue
            if isinstance(found, SimpleObject):
                return self._resolved(found, tuple(found.scopes()), depth + 1)[0]
            if isinstance(found, (Structural, ListContainer, MapContainer, ChoiceContainer)):
                raise BadTemplate(f"{{{{{written}}}}} is {kind_name(type(found))}, which has no text of its own")
            return str(found)
        for binder in self._binders:
            text = binder(written)
            if text is not None:
                return text
        return None


def _unbound_hint(address: str) -> str:
    if address.startswith("docker.image["):
        return "looking up images in a registry is not available here: write the image's digest"
    late = nearest(address, ("thermos.task_id", "thermos.user", "mesos.instance", "mesos.hostname"))
    if late is not None and late != address:
        return f"did you mean {{{{{late}}}}}?"
    return f"give it one with .bind(...) or -E {address}=VALUE, or write {{{{&{address}}}}} for the text itself"


def _placeholder(kind: Kind) -> Any:
    """Something of the right kind in place of a value at fault, so that the rest can be looked at."""
    return {"str": "", "int": 1, "float": 1.0, "bool": False, "list": [], "map": {}, "struct": {}}[kind.base]
