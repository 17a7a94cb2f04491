"""Which finished tasks stand on which page of the index, and which of them keep pages of their own. Pure.

Pages are numbered from the oldest and are filled once: a task that ends changes the newest page alone, but once in
a while, when that has grown to twice the length of the others, its older half becomes a page with a number.
A task that vanishes leaves its page shorter; no other page changes for that.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

#: Rows of a page with a number; the newest page has up to twice as many.
ROWS: Final = 100
#: Stands for the newest page, which has no number.
NEWEST: Final = 0


class Change(NamedTuple):
    """What a change of the finished tasks means for the pages of the index."""

    #: Numbers of pages to write; NEWEST among them.
    dirty: frozenset[int]
    #: Numbers of pages that are no more.
    gone: frozenset[int]


class Shelf(Generic[K]):
    """The finished tasks, on pages. *kept* is how many of the newest have pages of their own, at most."""

    def __init__(self, kept: int, rows: int = ROWS) -> None:
        self._kept = kept
        self._rows = rows
        self._newest: list[K] = []  # oldest first, as on all pages
        self._full: dict[int, list[K]] = {}  # by number, ascending
        self._number: dict[K, int] = {}
        self._next = 1
        self._oldest_kept = 1

    def __len__(self) -> int:
        return len(self._number)

    def __contains__(self, key: K) -> bool:
        return key in self._number

    # -- Looking ---------------------------------------------------------------------------------------------------

    @property
    def numbers(self) -> list[int]:
        """Pages with a number, the newest first."""
        return list(reversed(self._full))

    def page(self, number: int) -> Sequence[K]:
        """The tasks on that page, newest first; none if there is no such page."""
        return (self._newest if number == NEWEST else self._full.get(number, []))[::-1]

    def number(self, key: K) -> int:
        """The page that the task stands on."""
        return self._number[key]

    def first(self, number: int) -> int:
        """What the newest task on that page is among all, from 1."""
        if number == NEWEST:
            return 1 if self._newest else 0
        return 1 + len(self._newest) + sum(len(keys) for other, keys in self._full.items() if other > number)

    def newer(self, number: int) -> int | None:
        """The page after that one; None: it is the newest."""
        if number == NEWEST:
            return None
        return min((other for other in self._full if other > number), default=NEWEST)

    def older(self, number: int) -> int | None:
        """The page before that one; None: it is the oldest."""
        return max((other for other in self._full if number in (NEWEST,) or other < number), default=None)

    def is_kept(self, key: K) -> bool:
        """Whether the task has pages of its own."""
        number = self._number[key]
        if number != NEWEST:
            return number >= self._oldest_kept
        return len(self._newest) <= self._kept or key in self._newest[len(self._newest) - self._kept :]

    def kept(self, number: int) -> bool:
        """Whether the tasks of that page, which has a number, have pages of their own."""
        return number >= self._oldest_kept

    def __iter__(self) -> Iterator[K]:
        return iter(self._number)

    # -- Changing --------------------------------------------------------------------------------------------------

    def fill(self, oldest_first: Iterable[K]) -> None:
        """Begin with these."""
        keys = list(oldest_first)
        full = max(len(keys) // self._rows - 1, 0)
        for start in range(0, full * self._rows, self._rows):
            self._new_page(keys[start : start + self._rows])
        self._newest = keys[full * self._rows :]
        self._number.update(dict.fromkeys(self._newest, NEWEST))
        self._drop_old()

    def add(self, key: K) -> Change:
        """A task has finished."""
        self._newest.append(key)
        self._number[key] = NEWEST
        dirty = {NEWEST}
        if len(self._newest) >= 2 * self._rows:
            before = self.older(NEWEST)
            dirty.add(self._new_page(self._newest[: self._rows]))
            del self._newest[: self._rows]
            if before is not None:
                dirty.add(before)
        dirty |= self._drop_old()
        return Change(frozenset(dirty), frozenset())

    def remove(self, key: K) -> Change:
        """A task has vanished."""
        number = self._number.pop(key)
        keys = self._newest if number == NEWEST else self._full[number]
        keys.remove(key)
        dirty = {number, NEWEST}  # which tells how many there are
        gone = set()
        if number != NEWEST and not keys:
            dirty.discard(number)
            gone.add(number)
            neighbours = {self.newer(number), self.older(number)}
            del self._full[number]
            dirty |= {other for other in neighbours if other is not None}
        if not self._newest and self._full:  # the newest page is never empty while there is anything to show
            number = max(self._full)
            self._newest = self._full.pop(number)
            self._number.update(dict.fromkeys(self._newest, NEWEST))
            dirty.discard(number)
            gone.add(number)
            before = self.older(NEWEST)
            if before is not None:
                dirty.add(before)
        return Change(frozenset(dirty), frozenset(gone))

    def _new_page(self, keys: list[K]) -> int:
        number = self._next
        self._next += 1
        self._full[number] = keys
        self._number.update(dict.fromkeys(keys, number))
        return number

    def _drop_old(self) -> set[int]:
        """Let pages of tasks go, a page of the index at a time, until no more than wanted are left."""
        kept = len(self._newest)
        oldest = self._next
        for number in reversed(self._full):
            kept += len(self._full[number])
            if kept > self._kept or number < self._oldest_kept:
                break
            oldest = number
        dropped = {number for number in self._full if self._oldest_kept <= number < oldest}
        self._oldest_kept = max(self._oldest_kept, oldest)
        return dropped
