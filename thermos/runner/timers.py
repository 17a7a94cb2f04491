"""Waits by name. Counted on the monotonic clock, which no administrator can set."""

from __future__ import annotations

import heapq


class Timers:
    """What is due, and when the next is. The caller brings the time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._due_at: dict[str, float] = {}

    def set(self, key: str, at_s: float) -> None:
        """*key* is due at *at_s*; an earlier wait of that name is forgotten."""
        self._due_at[key] = at_s
        heapq.heappush(self._heap, (at_s, key))

    def next_at_s(self) -> float | None:
        """When the next wait is over; None: there is none."""
        while self._heap and self._due_at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expired(self, now_s: float) -> list[str]:
        """The names whose waits are over, in order; they are forgotten."""
        keys = []
        while (at_s := self.next_at_s()) is not None and at_s <= now_s:
            _, key = heapq.heappop(self._heap)
            del self._due_at[key]
            keys.append(key)
        return keys
