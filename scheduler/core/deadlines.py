"""When something is to be looked at again: one heap of deadlines, each with a name that replaces its former one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum
from typing import TypeAlias


class Due(Enum):
    """What is to be done when a deadline has come."""

    UNTHROTTLE = "unthrottle"
    FIRST_TRY = "first try"  # a task that was pending when the scheduler started
    KILL_AGAIN = "kill again"
    STUCK = "stuck"
    PARTITIONED_FOR_LONG = "partitioned for long"
    PRUNE = "prune"
    RECONCILE = "reconcile"
    UPDATE = "update"  # about (job, update id): look at all of it after a start
    UPDATE_CANARIES = "update canaries"  # about (job, update id): they were watched for long enough
    UPDATE_PULSE = "update pulse"  # about (job, update id): none came in time
    UPDATE_INSTANCE = "update instance"  # about (job, update id, instance)
    PRUNE_UPDATES = "prune updates"
    PREEMPT = "preempt"
    CRON = "cron"  # about a job: a run of it may begin; about none: look at the clock
    COORDINATOR = "coordinator"  # an SLA coordinator that does not answer, nor is said not to
    DRAIN = "drain"
    FORGET_HOSTS = "forget hosts"
    SLA_FIGURES = "SLA figures"


#: What is due, and about what: a task's id, a job, or nothing.
Key: TypeAlias = tuple[Due, object]


class Deadlines:
    """Deadlines by name, in monotonic seconds. Setting one again moves it."""

    def __init__(self) -> None:
        self._at_s: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        #: Breaks ties in the order of setting: keys need no order of their own.
        self._number = 0

    def __len__(self) -> int:
        return len(self._at_s)

    def set(self, due: Due, about: object, at_s: float) -> None:
        key = (due, about)
        self._at_s[key] = at_s
        self._number += 1
        heapq.heappush(self._heap, (at_s, self._number, key))

    def cancel(self, due: Due, about: object) -> None:
        self._at_s.pop((due, about), None)

    @property
    def next_s(self) -> float | None:
        """When the first is due; None: there is none."""
        while self._heap and self._is_stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now_s: float) -> Iterator[Key]:
        """Those whose time has come, in order, each taken out as it is given; one set meanwhile may be among them."""
        while (at_s := self.next_s) is not None and at_s <= now_s:
            key = heapq.heappop(self._heap)[2]
            del self._at_s[key]
            yield key

    def clear(self) -> None:
        self._at_s.clear()
        self._heap.clear()

    def _is_stale(self, entry: tuple[float, int, Key]) -> bool:
        return self._at_s.get(entry[2]) != entry[0]
