"""A lighter start: a stand-in for ``inspect`` until somebody uses it.

``dataclasses`` imports ``inspect`` for classes without a docstring, and ours all have one: 0.8 MB and 7 ms that every
runner of a node, and every call of the command, would pay for nothing.
"""

from __future__ import annotations

import sys
from types import ModuleType


class _Inspect(ModuleType):
    """Becomes the real module at the first look at it."""

    def __getattr__(self, name: str) -> object:
        if sys.modules.get("inspect") is self:
            del sys.modules["inspect"]
        import inspect

        return getattr(inspect, name)


def stand_in_for_inspect() -> None:
    """Put the stand-in in place, unless ``inspect`` is there already."""
    sys.modules.setdefault("inspect", _Inspect("inspect"))
