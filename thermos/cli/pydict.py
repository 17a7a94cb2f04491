"""A parsed configuration in the form that Python 2's ``pprint`` with an indent of 4 gives it, but for its ``u``.

Scripts read what ``thermos inspect`` prints. Python 3's pprint breaks strings and indents inner dictionaries
otherwise. The ``u`` before each text counts when lines are broken, so that they break where they did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_WIDTH: Final = 80
_INDENT: Final = 4


def _items(value: Mapping[str, object]) -> list[tuple[str, object]]:
    return sorted(value.items())


def _length(value: object) -> int:
    """How long Python 2's repr() of *value* is; keys are not Unicode there, texts are."""
    if isinstance(value, str):
        return len(ascii(value)) + 1
    if isinstance(value, Mapping):
        return 2 + sum(len(ascii(key)) + 2 + _length(item) for key, item in value.items()) + _commas(value)
    if isinstance(value, (list, tuple)):
        return 2 + sum(map(_length, value)) + (_commas(value) if len(value) != 1 else 1)
    return len(ascii(value))


def _commas(value: Mapping[str, object] | list[object] | tuple[object, ...]) -> int:
    return 2 * max(len(value) - 1, 0)


def pydict(value: object, column: int = 0, behind: int = 0) -> str:
    """*value* as text that starts at *column*, with *behind* characters to come after it on its last line."""
    breaks = _length(value) > _WIDTH - 1 - column - behind
    inner = column + _INDENT
    between = ",\n" + " " * inner if breaks else ", "
    if isinstance(value, Mapping):
        parts = []
        for key, item in _items(value):
            name = ascii(key) + ": "
            parts.append(name + pydict(item, inner + len(name), behind + 1))
        return "{" + " " * (_INDENT - 1) + between.join(parts) + "}"
    if isinstance(value, (list, tuple)):
        lead = " " * (_INDENT - 1) if breaks else ""
        body = between.join(pydict(item, inner, behind + 1) for item in value)
        return f"({lead}{body}{',' if len(value) == 1 else ''})"
    return ascii(value)
