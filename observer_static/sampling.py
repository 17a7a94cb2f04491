"""When tasks are measured: when somebody looks, and at an interval where one was asked for. Never otherwise.

Whoever owns the loop waits for ``fd`` and for ``due_in_s``, and calls ``due`` after either
(:class:`observer_static.loop.Companion`). Looking may be done from any
thread; a lock keeps two from measuring at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from observer_static.disk import Agent, Collector, Disk, Walk
from observer_static.history import History, UsagePoint
from thermos.core.state import RunnerState
from thermos.host.usage import Sampler, TaskUsage, Usage

K = TypeVar("K", bound=Hashable)

#: A measurement is good for this long: whoever looks again meanwhile sees the same.
FRESH_S: Final = 1.0
#: Two tasks looked at within this time: somebody goes through a list. Then all are measured, in one pass.
LIST_S: Final = 0.5
#: Disk is counted again when somebody looks at most this often (the original's interval).
DISK_FRESH_S: Final = 60.0
#: The original's interval: what the ring of history is made for where none was asked for.
HISTORY_INTERVAL_S: Final = 20.0
#: Of a task of which only the disk was counted: all but the time.
_NOT_MEASURED: Final = (None,) * (len(Usage._fields) - 1 - len(Usage._field_defaults))


class Sampling(Generic[K]):
    """What all tasks use, as last measured.

    *interval_s* and *disk_interval_s*: how often to measure all tasks unasked; None: never. *disk* says how disk is
    counted; None: not at all. Raises ValueError for an interval so short that an hour of history were too long.
    """

    def __init__(
        self,
        interval_s: float | None = None,
        disk_interval_s: float | None = None,
        disk: Walk | Agent | None = Walk(),  # noqa: B008 - frozen
        *,
        clock: Callable[[], float] = time.monotonic,
        sampler: Sampler[K] | None = None,
    ) -> None:
        shortest_s = min((wait_s for wait_s in (interval_s, disk_interval_s) if wait_s is not None), default=None)
        self._history_interval_s = shortest_s if shortest_s is not None else HISTORY_INTERVAL_S
        History(self._history_interval_s)  # an interval that is too short is told now
        self._interval_s = interval_s
        self._disk_interval_s = disk_interval_s if disk is not None else None
        self._clock = clock
        self._sampler: Sampler[K] = sampler if sampler is not None else Sampler()
        self._disk: Collector[K] | None = Collector(disk) if disk is not None else None
        self._lock = threading.Lock()
        now_s = clock()
        self._next_s = now_s
        self._next_disk_s = now_s
        self._looked_s = -LIST_S + now_s - 1.0
        self._measured_s: dict[K, float] = {}
        self._usages: dict[K, TaskUsage] = {}
        self._histories: dict[K, History] = {}
        self._disks: dict[K, Disk] = {}
        self._disk_asked_s: dict[K, float] = {}
        self._disk_waiting: dict[K, str] = {}
        #: Measurements so far, of however many tasks.
        self.rounds = 0
        #: Times that a child was started to count disk.
        self.walks = 0

    # -- for the loop ----------------------------------------------------------------------------------------------

    @property
    def fd(self) -> int | None:
        """Readable when ``due`` has a result of disk to take; the same one for good. None: disk is not counted."""
        return self._disk.fd if self._disk is not None else None

    @property
    def is_counting(self) -> bool:
        """True while a child counts disk: ``fd`` will tell of an answer, or of its end."""
        return self._disk is not None and self._disk.is_busy

    def due_in_s(self, now_s: float) -> float | None:
        """When something is due though ``fd`` says nothing, counted from *now_s* (monotonic); None: never."""
        with self._lock:
            waits_s = [self._disk.due_in_s(now_s)] if self._disk is not None else []
            if self._interval_s is not None:
                waits_s.append(max(self._next_s - now_s, 0.0))
            if self._disk_interval_s is not None:
                waits_s.append(max(self._next_disk_s - now_s, 0.0))
            return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)

    def due(self, states: Mapping[K, RunnerState]) -> frozenset[K]:
        """Do what is due, for *states*: all active tasks. The keys of which something is known that was not before."""
        with self._lock:
            for key in self._measured_s.keys() - states.keys():  # somebody looked at it while it ended
                self._forget(key)
            news = self._take_disk()
            now_s = self._clock()
            if self._disk_interval_s is not None and now_s >= self._next_disk_s:
                self._next_disk_s = now_s + self._disk_interval_s
                self._ask_disk(states, states, now_s, 0.0)
            if self._interval_s is not None and now_s >= self._next_s:
                self._next_s = now_s + self._interval_s
                self._measure(states, now_s)
                news |= states.keys()
            return frozenset(news)

    # -- for whoever looks -----------------------------------------------------------------------------------------

    def look(self, keys: Iterable[K], states: Mapping[K, RunnerState]) -> dict[K, TaskUsage]:
        """What *keys* use, measured now or a moment ago; *states* are all active tasks, others are not measured."""
        wanted = [key for key in keys if key in states]
        with self._lock:
            now_s = self._clock()
            stale = self._stale(wanted, now_s)
            if stale and now_s - self._looked_s < LIST_S:
                stale = self._stale(states, now_s)
            if stale:
                self._looked_s = now_s
                self._measure({key: states[key] for key in stale}, now_s)
            fresh_s = self._disk_interval_s if self._disk_interval_s is not None else DISK_FRESH_S
            self._take_disk()
            self._ask_disk(wanted, states, now_s, fresh_s)
            return {key: self._with_disk(key) for key in wanted}

    def usage(self, key: K) -> TaskUsage | None:
        """What *key* used when it was last measured; None: it never was. Measures nothing."""
        with self._lock:
            return self._with_disk(key) if key in self._usages or key in self._disks else None

    def disk(self, key: K) -> Disk | None:
        """What its sandbox used when it was last counted, or why that is not known; None: it never was."""
        with self._lock:
            return self._disks.get(key)

    def history(self, key: K) -> Sequence[UsagePoint]:
        """What *key* used in the last hour, oldest first."""
        with self._lock:
            return tuple(self._histories.get(key, ()))

    def forget(self, key: K) -> None:
        """Drop all that is known of *key*."""
        with self._lock:
            self._forget(key)

    def close(self) -> None:
        """End the child that counts disk, if there is one."""
        with self._lock:
            if self._disk is not None:
                self._disk.close()

    # -- with the lock held ----------------------------------------------------------------------------------------

    def _forget(self, key: K) -> None:
        self._sampler.forget([key])
        self._measured_s.pop(key, None)
        self._usages.pop(key, None)
        self._histories.pop(key, None)
        self._disks.pop(key, None)
        self._disk_asked_s.pop(key, None)
        self._disk_waiting.pop(key, None)

    def _stale(self, keys: Iterable[K], now_s: float) -> list[K]:
        return [key for key in keys if now_s - self._measured_s.get(key, -FRESH_S + now_s - 1.0) >= FRESH_S]

    def _with_disk(self, key: K) -> TaskUsage:
        disk = self._disks.get(key)
        if disk is None:
            return self._usages[key]
        usage = self._usages.get(key) or TaskUsage(Usage(disk.at_s, *_NOT_MEASURED), {})
        return usage._replace(disk_bytes=disk.used_bytes)

    def _measure(self, states: Mapping[K, RunnerState], now_s: float) -> None:
        if not states:
            return
        self.rounds += 1
        for key, usage in self._sampler.sample(states).items():
            self._measured_s[key] = now_s
            self._usages[key] = usage
            self._remember(key, self._with_disk(key))

    def _remember(self, key: K, usage: TaskUsage) -> None:
        history = self._histories.get(key)
        newest = history.newest if history is not None else None
        if history is None or (newest is not None and newest.at_s > usage.task.at_s):  # the wall clock was set back
            history = self._histories[key] = History(self._history_interval_s)
        history.add(UsagePoint(usage.task.at_s, usage.task.cpu, usage.task.ram_bytes, usage.disk_bytes))

    def _take_disk(self) -> set[K]:
        if self._disk is None:
            return set()
        found = {key: disk for key, disk in self._disk.read().items() if key in self._disk_asked_s}
        self._disks |= found
        self._start_disk()
        return set(found)

    def _ask_disk(self, keys: Iterable[K], states: Mapping[K, RunnerState], now_s: float, fresh_s: float) -> None:
        if self._disk is None:
            return
        for key in keys:
            header = states[key].header
            asked_s = self._disk_asked_s.get(key)
            if header is None or header.sandbox is None or (asked_s is not None and now_s - asked_s < fresh_s):
                continue
            self._disk_asked_s[key] = now_s
            self._disk_waiting[key] = header.sandbox
        self._start_disk()

    def _start_disk(self) -> None:
        if self._disk is not None and self._disk_waiting and self._disk.start(self._disk_waiting):
            self._disk_waiting = {}
            self.walks += 1
