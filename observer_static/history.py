"""What a task used over time: a ring of fixed length, in memory only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

#: What the original keeps (``thermos/monitoring/resource.py``: HISTORY_TIME).
HISTORY_S: Final = 3600.0
#: More is a mistake in an interval (the same: HISTORY_SAMPLES limit).
MAX_SAMPLES: Final = 10_000


class UsagePoint(NamedTuple):
    """What a task used at one moment. None: not known."""

    at_s: float
    cpu: float | None
    ram_bytes: int | None
    disk_bytes: int | None


class History:
    """The points of the last *kept_s* seconds at one each *interval_s*. Raises ValueError for too many."""

    def __init__(self, interval_s: float, kept_s: float = HISTORY_S) -> None:
        if not interval_s > 0:
            raise ValueError(f"an interval must be above 0, this one is {interval_s:g} s")
        samples = kept_s / interval_s
        if samples > MAX_SAMPLES:
            raise ValueError(f"{kept_s:g} s at one point each {interval_s:g} s are more than {MAX_SAMPLES} points")
        self._points: deque[UsagePoint] = deque(maxlen=max(int(samples), 1))

    def add(self, point: UsagePoint) -> None:
        """Keep *point*; the oldest goes when the ring is full. Raises ValueError for one before the last."""
        if self._points and point.at_s < self._points[-1].at_s:
            raise ValueError(f"a point at {point.at_s:.3f} s comes after one at {self._points[-1].at_s:.3f} s")
        self._points.append(point)

    def __iter__(self) -> Iterator[UsagePoint]:
        """Oldest first."""
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    @property
    def last(self) -> UsagePoint | None:
        """The newest point."""
        return self._points[-1] if self._points else None
