"""Whole numbers of many rows, asked about all at once: which rows have at least this much, which have the least.

A set of rows is one ``int``: row *i* is in it where bit *i* is set. A :class:`Sliced` keeps the numbers as bit planes:
plane *k* is the set of rows whose number has bit *k*. A comparison with all rows is then some twenty operations on long
integers, each a fraction of a microsecond for ten thousand rows, and exact; no row is looked at by itself. (Known as a
bit-sliced index: O'Neil and Quass, "Improved query performance with variant indexes", SIGMOD 1997.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Sliced:
    """One number, none of them negative, for every row. A row that was never set has 0."""

    def __init__(self) -> None:
        self._planes: list[int] = []

    def change(self, row: int, old: int, new: int) -> None:
        """Row number *row* had *old* and has *new* now. Raises ValueError where that is negative."""
        if new < 0:
            raise ValueError(f"row {row} cannot have {new}: no number here is negative")
        planes = self._planes
        while new >> len(planes):
            planes.append(0)
        bit = 1 << row
        differing = old ^ new
        while differing:
            lowest = differing & -differing
            planes[lowest.bit_length() - 1] ^= bit
            differing ^= lowest

    def at_least(self, rows: int, amount: int) -> int:
        """Those of *rows* that have *amount* or more."""
        if amount <= 0:
            return rows
        if amount >> len(self._planes):
            return 0
        more = 0
        equal = rows
        for number in range(len(self._planes) - 1, -1, -1):
            plane = self._planes[number]
            if amount >> number & 1:
                equal &= plane
            else:
                more |= equal & plane
                equal ^= equal & plane
            # What is left of the amount is nought: all that are equal so far have it.
            if not equal or not amount & ((1 << number) - 1):
                break
        return more | equal

    def at_most(self, rows: int, amount: int) -> int:
        """Those of *rows* that have *amount* or less."""
        return rows ^ self.at_least(rows, amount + 1)

    def least(self, rows: int) -> int:
        """Those of *rows* that have the smallest number among them."""
        for plane in reversed(self._planes):
            rows = rows ^ (rows & plane) or rows
        return rows

    def most(self, rows: int) -> int:
        """Those of *rows* that have the greatest number among them."""
        for plane in reversed(self._planes):
            rows = rows & plane or rows
        return rows


class Labels:
    """Which rows have which values of which attribute."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, set[int]]] = {}
        #: Sets of rows, each made when it was first asked for; None: those that have the attribute at all.
        self._made: dict[str, dict[str | None, int]] = {}

    def add(self, row: int, labels: Iterable[tuple[str, frozenset[str]]]) -> None:
        """The row has these values."""
        for attribute, values in labels:
            known = self._rows.setdefault(attribute, {})
            for value in values:
                known.setdefault(value, set()).add(row)
            self._unmake(attribute, values)

    def remove(self, row: int, labels: Iterable[tuple[str, frozenset[str]]]) -> None:
        """The row, which had these values, has them no more."""
        for attribute, values in labels:
            known = self._rows.get(attribute, {})
            for value in values:
                known[value].discard(row)
                if not known[value]:
                    del known[value]
            if not known:
                self._rows.pop(attribute, None)
            self._unmake(attribute, values)

    def _unmake(self, attribute: str, values: Iterable[str]) -> None:
        made = self._made.get(attribute)
        if made:
            for value in (None, *values):
                made.pop(value, None)

    def having(self, attribute: str) -> int:
        """Rows that have any value of it."""
        made = self._made.setdefault(attribute, {})
        rows = made.get(None)
        if rows is None:
            rows = made[None] = rows_of(row for there in self._rows.get(attribute, {}).values() for row in there)
        return rows

    def with_any(self, attribute: str, values: Iterable[str]) -> int:
        """Rows that have one of these values (and maybe others, too)."""
        known = self._rows.get(attribute, {})
        made = self._made.setdefault(attribute, {})
        few: list[int] = []
        rows = 0
        for value in values:
            there = known.get(value, ())
            if len(there) < 9:
                few += there
                continue
            many = made.get(value)
            if many is None:
                many = made[value] = rows_of(there)
            rows |= many
        return rows | rows_of(few)


def rows_of(numbers: Iterable[int]) -> int:
    """The set of these rows."""
    numbers = list(numbers)
    if len(numbers) < 3:
        return sum(1 << number for number in set(numbers))
    found = bytearray(max(numbers) // 8 + 1)
    for number in numbers:
        found[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(found, "little")


def first_from(rows: int, start: int) -> int:
    """The first of *rows*, which are not empty, from number *start* on; where none follows, the very first."""
    later = rows >> start
    if later:
        return start + (later & -later).bit_length() - 1
    return (rows & -rows).bit_length() - 1


def each(rows: int) -> Iterator[int]:
    """The numbers of *rows*, ascending."""
    while rows:
        lowest = rows & -rows
        yield lowest.bit_length() - 1
        rows ^= lowest
