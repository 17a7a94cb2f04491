"""pystachio 0.8.10, mended where a configuration would trip over it, and made to say what it met where.

Each mend is small and says what it prevents; ``tests/thermos/config/test_pystachio_fixes.py`` shows each.
They are made at the import of this module, once, in the one process that evaluates configurations; runner and
executor never import pystachio. The last release is of 2021, so that the version is pinned and nothing moves
under us.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

with warnings.catch_warnings():
    # naming.py has '\w' in plain strings: a warning on every compilation, on each start where bytecode is not
    # kept.
    warnings.simplefilter("ignore")
    import pystachio
    from pystachio.base import Object
    from pystachio.basic import EnumContainer, SimpleObject
    from pystachio.choice import ChoiceContainer
    from pystachio.composite import Structural
    from pystachio.container import ListContainer, MapContainer
    from pystachio.naming import Namable, Ref, frozendict
    from pystachio.parsing import MustacheParser

from thermos.templates import BadTemplate, join_address, resolve

__all__ = [
    "ChoiceContainer",
    "ListContainer",
    "MapContainer",
    "Namable",
    "Object",
    "Recorder",
    "Ref",
    "SimpleObject",
    "Structural",
    "frozendict",
    "pystachio",
    "recording",
]


class Recorder:
    """Told of every struct a configuration makes, and of every field it gives one that the struct cannot take."""

    def made(self, struct: Any, fields: Mapping[str, object]) -> None:
        """*fields* were given to *struct*."""

    def refused(self, struct: Any, field: str, value: object, error: Exception) -> None:
        """*struct* cannot take *value* as *field*; it goes on without."""


_recorder: Recorder | None = None


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """While this lasts, *recorder* is told, and what would end the configuration at its first fault goes on instead."""
    global _recorder
    _recorder, before = recorder, _recorder
    try:
        yield
    finally:
        _recorder = before


@contextmanager
def _not_recording() -> Iterator[None]:
    global _recorder
    before, _recorder = _recorder, None
    try:
        yield
    finally:
        _recorder = before


def _update_schema_data(self: Any, **fields: object) -> None:
    """Where it was told: a field a struct cannot take is reported, and left out, so that all are found at once."""
    for field, value in fields.items():
        try:
            self._schema_data[field] = self._process_schema_attribute(field, value)
        except (AttributeError, TypeError, ValueError) as error:
            if _recorder is None:
                raise
            _recorder.refused(self, field, value, error)
    if _recorder is not None:
        _recorder.made(self, fields)


_plain_dup: Final[Callable[[Any], Any]] = Structural.dup


def _dup(self: Any) -> Any:
    """A copy keeps what was recorded of its original."""
    copy = _plain_dup(self)
    recorded = self.__dict__.get("_recorded")
    if recorded is not None:
        copy._recorded = recorded
    return copy


def _resolve(stream: str, *namables: Any) -> tuple[str, list[Any]]:
    """References as :mod:`thermos.templates` resolves them: a circle that doubles its text is ended, not fed memory."""

    def lookup(address: tuple[str, ...]) -> str | None:
        reference = Ref.from_address(join_address(address))
        for namable in namables:
            try:
                return str(namable.find(reference))
            except Namable.Error:
                continue
        return None

    try:
        text, unbound = resolve(stream, lookup)
    except BadTemplate as error:
        raise MustacheParser.Uninterpolatable(f"Unable to interpolate: {error}") from None
    return text, [Ref.from_address(address) for address in unbound]


_plain_unwrap: Final[Callable[..., Any]] = ChoiceContainer._unwrap


def _unwrap(self: Any, returned: Callable[[Any], Any], failed: Callable[[Any], Any]) -> Any:
    """Try each alternative as pystachio does, but go on also after a struct that does not know a field.

    Without this, a Choice of structs cannot be read back from its own JSON: the first struct's AttributeError
    ends it.
    """
    with _not_recording():
        for alternative in self.CHOICES:
            if isinstance(self._value, alternative):
                return returned(self._value)
            try:
                found = returned(alternative(self._value))
            except (self.CoercionError, ValueError, AttributeError, TypeError):
                continue
            if found:
                return found
        return failed(self._value)


_plain_enum_init: Final[Callable[[Any, object], None]] = EnumContainer.__init__


def _enum_init(self: Any, value: object) -> None:
    """While recorded, a wrong choice is kept, to be reported where it ends up."""
    try:
        _plain_enum_init(self, value)
    except ValueError:
        if _recorder is None:
            raise
        SimpleObject.__init__(self, value)


def _enum_eq(self: Any, other: object) -> bool:
    """Equal choices of equal enumerations are equal, though each reading of a schema makes classes of its own."""
    return isinstance(other, EnumContainer) and tuple(self.VALUES) == tuple(other.VALUES) and str(self) == str(other)


def _known_only(klass: Any, value: Any) -> Any:
    """*value* without what *klass* does not know, at any depth: newer JSON can be read, inside lists as well."""
    if issubclass(klass, Structural) and isinstance(value, Mapping):
        return {key: _known_only(klass.TYPEMAP[key].klazz, item) for key, item in value.items() if key in klass.TYPEMAP}
    if issubclass(klass, ListContainer) and isinstance(value, (list, tuple)):
        return [_known_only(klass.TYPE, item) for item in value]
    if issubclass(klass, MapContainer) and isinstance(value, Mapping):
        return {key: _known_only(klass.VALUETYPE, item) for key, item in value.items()}
    return value


Structural._update_schema_data = _update_schema_data
Structural.dup = _dup
Structural._filter_against_schema = classmethod(_known_only)
MustacheParser.resolve = staticmethod(_resolve)
ChoiceContainer._unwrap = _unwrap
EnumContainer.__init__ = _enum_init
EnumContainer.__eq__ = _enum_eq
EnumContainer.__hash__ = SimpleObject.__hash__
# Compared with anything but its like, a frozendict raised AttributeError.
frozendict.__eq__ = dict.__eq__
frozendict.__ne__ = dict.__ne__
