"""How long a process waits between two runs: ``min_duration``, or a back-off that grows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from thermos.core.state import History, Run
from thermos.states import ProcessState

if TYPE_CHECKING:  # a third of what `thermos status` imports
    from thermos.schema import Process, Task


class Restarts:
    """The waits of one task's processes. ``ended`` is told of every run that ends, in replay too."""

    def __init__(self, task: Task, seed: str) -> None:
        self._processes: Mapping[str, Process] = {process.name: process for process in task.processes}
        self._extensions = task.x_processes
        self._seed = seed
        self._short_runs: dict[str, int] = {}

    def ended(self, name: str, history: History) -> None:
        """The newest run of *name* is over."""
        extension = self._extensions.get(name)
        if extension is None or extension.backoff is None:
            return
        run = history.last
        length_s = run.stop_time - run.start_time if run.stop_time and run.start_time else 0.0
        stable = length_s >= extension.backoff.reset_after_s
        self._short_runs[name] = 1 if stable else self._short_runs.get(name, 0) + 1

    def delay_s(self, name: str, history: History) -> float:
        """Seconds from the end of the newest run of *name* to the start of the next."""
        if _never_began(history.last) and not (len(history.runs) > 1 and _never_began(history.runs[-2])):
            return 0.0  # there is nothing to throttle; twice in a row there may be
        least_s = float(self._processes[name].min_duration)
        extension = self._extensions.get(name)
        if extension is None or extension.backoff is None:
            return least_s
        backoff = extension.backoff
        exponent = min(self._short_runs.get(name, 1) - 1, 64)
        wait_s = min(backoff.initial_s * backoff.factor**exponent, backoff.max_s)
        wait_s *= 1 + backoff.jitter * _share(f"{self._seed}\0{name}\0{history.total}")
        return max(least_s, wait_s)

    def remaining_s(self, name: str, history: History, now_s: float) -> float:
        """What is left of that wait at *now_s*; never more than all of it, wherever the clock has jumped."""
        delay_s = self.delay_s(name, history)
        stop_time = history.last.stop_time
        if stop_time is None:
            return delay_s
        return min(max(stop_time + delay_s - now_s, 0.0), delay_s)


def _never_began(run: Run) -> bool:
    return run.state is ProcessState.LOST and run.start_time is None


def _share(text: str) -> float:
    """A number in [-1, 1) that *text* alone decides (FNV-1a, 32 bits): jitter without a random source."""
    value = 0x811C9DC5
    for byte in text.encode("utf-8", "surrogatepass"):
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return (value - (1 << 31)) / (1 << 31)
