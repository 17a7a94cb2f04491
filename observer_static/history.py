"""What a task used over time: a ring of fixed length, in memory only."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

#: What the original keeps (``thermos/monitoring/resource.py``).
HISTORY_S: Final = 3600.0
#: More is a mistake in an interval; the original's limit too.
MAX_SAMPLES: Final = 10_000


class UsagePoint(NamedTuple):
    """What a task used at one moment. None: not known."""

    at_s: float
    cpu: float | None
    ram_bytes: int | None
    disk_bytes: int | None


class History:
    """The points of the last *kept_s* seconds, one each *interval_s* at most. Raises ValueError for too many."""

    # A point is four doubles, which hold whole numbers up to 2⁵³; NaN is "not known". A tuple of objects takes six
    # times the memory, and a host keeps some ten thousand points.
    __slots__ = ("_kept_s", "_limit", "_numbers", "_oldest")

    def __init__(self, interval_s: float, kept_s: float = HISTORY_S) -> None:
        if not interval_s > 0:
            raise ValueError(f"an interval must be above 0, this one is {interval_s:g} s")
        if kept_s / interval_s > MAX_SAMPLES:
            raise ValueError(f"{kept_s:g} s at one point each {interval_s:g} s are more than {MAX_SAMPLES} points")
        self._kept_s = kept_s
        self._limit = max(int(kept_s / interval_s), 1)
        self._numbers = array("d")
        self._oldest = 0  # number of the point that the next one overwrites, once the ring is full

    def add(self, point: UsagePoint) -> None:
        """Keep *point*; the oldest goes when the ring is full. Raises ValueError for one before the newest."""
        newest = self.newest
        if newest is not None and point.at_s < newest.at_s:
            raise ValueError(f"a point at {point.at_s:.3f} s comes after one at {newest.at_s:.3f} s")
        numbers = array("d", [math.nan if number is None else number for number in point])
        if len(self) < self._limit:
            self._numbers.extend(numbers)
        else:
            self._numbers[4 * self._oldest : 4 * self._oldest + 4] = numbers
            self._oldest = (self._oldest + 1) % self._limit

    def _point(self, number: int) -> UsagePoint:
        at_s, cpu, ram, disk = self._numbers[4 * number : 4 * number + 4]
        return UsagePoint(
            at_s,
            None if math.isnan(cpu) else cpu,
            None if math.isnan(ram) else int(ram),
            None if math.isnan(disk) else int(disk),
        )

    def __len__(self) -> int:
        return len(self._numbers) // 4

    def __iter__(self) -> Iterator[UsagePoint]:
        """Oldest first; none that is older than the newest by more than the time that is kept."""
        newest = self.newest
        for offset in range(len(self)):
            point = self._point((self._oldest + offset) % len(self))
            if newest is not None and point.at_s >= newest.at_s - self._kept_s:
                yield point

    @property
    def newest(self) -> UsagePoint | None:
        """The point that was added last."""
        return self._point((self._oldest - 1) % len(self)) if self._numbers else None
