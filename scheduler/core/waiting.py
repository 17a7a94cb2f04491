"""Which waiting groups could use an offer: asked about all of them at once, as :mod:`scheduler.core.offers` is.

Each group that waits has a row. What it needs and where it may go is kept so that a new offer finds the groups that it
may help in a few operations, and those that it cannot help cost nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from scheduler.core.matching import Room
from scheduler.core.sliced import Labels, Sliced, each
from scheduler.model import Config, Host

#: Values that no attribute has: for groups that want an attribute, whichever its value is; and for those that nobody
#: can help, since no value is wanted or the limit is none.
_ANY: Final = "\0any"
_NONE: Final = frozenset({"\0none"})


class Waiting:
    """Groups by number, each with what it takes to place one of its tasks."""

    def __init__(self) -> None:
        self._numbers: list[int | None] = []
        self._unused_rows: list[int] = []
        self._rows: dict[int, tuple[int, Room, Config, frozenset[tuple[str, str]]]] = {}
        self._all = 0
        self._open_to_all = 0
        self._needs = tuple(Sliced() for _ in Room._fields)
        self._wanted = Labels()
        self._shunned = Labels()
        #: How many groups want or shun some value of an attribute.
        self._uses: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def add(self, number: int, config: Config, need: Room, full: frozenset[tuple[str, str]]) -> None:
        """The group waits until there is *need* somewhere where *config* may go, but not where it is *full*."""
        self.remove(number)
        if self._unused_rows:
            row = heapq.heappop(self._unused_rows)
        else:
            row = len(self._numbers)
            self._numbers.append(None)
        self._numbers[row] = number
        self._rows[number] = (row, need, config, full)
        self._all |= 1 << row
        if config.dedicated is None:
            self._open_to_all |= 1 << row
        for plane, amount in zip(self._needs, need, strict=True):
            plane.change(row, 0, amount)
        wanted, shunned = _labels(config, full)
        self._wanted.add(row, wanted)
        self._shunned.add(row, shunned)
        for attribute, _ in (*wanted, *shunned):
            self._uses[attribute] = self._uses.get(attribute, 0) + 1

    def remove(self, number: int) -> None:
        """The group does not wait any longer."""
        if number not in self._rows:
            return
        row, need, config, full = self._rows.pop(number)
        self._numbers[row] = None
        heapq.heappush(self._unused_rows, row)
        self._all &= ~(1 << row)
        self._open_to_all &= ~(1 << row)
        for plane, amount in zip(self._needs, need, strict=True):
            plane.change(row, amount, 0)
        wanted, shunned = _labels(config, full)
        self._wanted.remove(row, wanted)
        self._shunned.remove(row, shunned)
        for attribute, _ in (*wanted, *shunned):
            self._uses[attribute] -= 1
            if not self._uses[attribute]:
                del self._uses[attribute]

    def helped_by(self, host: Host, room: Room) -> list[int]:
        """Numbers of groups that may have a task placed there."""
        rows = self._all ^ self._open_to_all if host.values("dedicated") else self._all
        for plane, amount in zip(self._needs, room, strict=True):
            if not rows:
                return []
            rows = plane.at_most(rows, amount)
        for attribute in self._uses:
            if not rows:
                return []
            values = host.values(attribute)
            wanting = rows & self._wanted.having(attribute)
            if wanting:
                satisfied = self._wanted.with_any(attribute, (*values, _ANY) if values else ())
                rows ^= wanting ^ (wanting & satisfied)
            rows ^= rows & self._shunned.with_any(attribute, values)
        return [number for row in each(rows) if (number := self._numbers[row]) is not None]


_Labels = list[tuple[str, frozenset[str]]]


def _labels(config: Config, full: Iterable[tuple[str, str]]) -> tuple[_Labels, _Labels]:
    """What a host must have one value of, for each attribute; and what it must have none of. Where an attribute is
    constrained twice, the first counts here: a group that is tried in vain waits again."""
    wanted: dict[str, frozenset[str]] = {}
    shunned: dict[str, set[str]] = {}
    for one in config.constraints:
        if one.is_negated:
            shunned.setdefault(one.name, set()).update(one.values)
        elif one.limit is None:
            wanted.setdefault(one.name, one.values or _NONE)
        else:
            wanted.setdefault(one.name, frozenset({_ANY}) if one.limit > 0 else _NONE)
    for attribute, value in full:
        shunned.setdefault(attribute, set()).add(value)
    return list(wanted.items()), [(name, frozenset(values)) for name, values in shunned.items()]
