"""Which processes of a plan may run: a graph of processes, and how far each has come. Pure.

A task has two plans, its regular and its final processes; an order between the two kinds is invalid. All
methods cost as much as a process has successors, so that a task of thousands starts in linear time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from heapq import heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from thermos.states import ProcessState

if TYPE_CHECKING:  # a third of what `thermos status` imports
    from thermos.schema import Constraint, Process

#: Runs after which Aurora's runner gives a process up (``thermos_runner.py``: CappedTaskPlanner.TOTAL_RUN_LIMIT).
RUN_CAP: Final = 100


class Progress(Enum):
    """How far a process of a plan has come."""

    BLOCKED = "blocked"  # a predecessor has not finished
    READY = "ready"
    ACTIVE = "active"  # a run of it is under way
    THROTTLED = "throttled"  # it will run again, but not yet
    FINISHED = "finished"
    FAILED = "failed"  # for good


class Plan:
    """One plan: what may run now, what is over, and whether that was enough."""

    def __init__(
        self, processes: Iterable[Process], constraints: Iterable[Constraint], uncapped: Iterable[str] = ()
    ) -> None:
        self.processes: dict[str, Process] = {process.name: process for process in processes}
        self._order = {name: index for index, name in enumerate(self.processes)}
        self._names = list(self.processes)
        self._uncapped = frozenset(uncapped)
        self.predecessors, self.successors = _edges(self.processes, constraints)
        self._missing = {name: len(before) for name, before in self.predecessors.items()}
        self.progress = dict.fromkeys(self.processes, Progress.BLOCKED)
        self._ready: list[int] = []
        self._count = dict.fromkeys(Progress, 0)
        self._count[Progress.BLOCKED] = len(self.processes)
        #: Processes that failed for good, ephemeral ones not counted.
        self.failed = 0
        self._open = sum(not process.ephemeral for process in self.processes.values())
        for name, missing in self._missing.items():
            if not missing:
                self._set_ready(name)

    # -- questions ---------------------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Every process that is not ephemeral has finished or failed for good."""
        return self._open == 0

    @property
    def active(self) -> int:
        """How many processes have a run under way."""
        return self._count[Progress.ACTIVE]

    @property
    def is_stuck(self) -> bool:
        """Not complete, and nothing runs, will run or can run: what is left waits for what failed."""
        moving = self._count[Progress.ACTIVE] + self._count[Progress.THROTTLED] + self._count[Progress.READY]
        return not self.is_complete and not moving

    # -- what happened -----------------------------------------------------------------------------------------

    def take_ready(self) -> str | None:
        """The first process, in the task's order, that is ready; it stays so until ``started``."""
        while self._ready:
            name = self._names[self._ready[0]]
            if self.progress[name] is Progress.READY:
                return name
            heappop(self._ready)
        return None

    def started(self, name: str) -> None:
        """A run of *name* is under way."""
        self._move(name, Progress.ACTIVE)

    def ended(self, name: str, state: ProcessState, failures: int, runs: int) -> Progress:
        """A run of *name* ended in *state*, its *failures*-th failure and *runs*-th run; what that makes of it."""
        process = self.processes[name]
        capped = runs >= RUN_CAP and name not in self._uncapped
        if state is ProcessState.SUCCESS and not process.daemon:
            self._close(name, Progress.FINISHED)
        elif state is ProcessState.FAILED and process.max_failures and failures >= process.max_failures:
            self._close(name, Progress.FINISHED if process.ephemeral else Progress.FAILED)
        elif capped:
            self._close(name, Progress.FAILED)
        else:
            self._move(name, Progress.THROTTLED)
        return self.progress[name]

    def due(self, name: str) -> None:
        """*name* has waited long enough; does nothing unless it is throttled."""
        if self.progress[name] is Progress.THROTTLED:
            self._set_ready(name)

    # -- inner -------------------------------------------------------------------------------------------------

    def _move(self, name: str, progress: Progress) -> None:
        self._count[self.progress[name]] -= 1
        self._count[progress] += 1
        self.progress[name] = progress

    def _set_ready(self, name: str) -> None:
        self._move(name, Progress.READY)
        heappush(self._ready, self._order[name])

    def _close(self, name: str, progress: Progress) -> None:
        self._move(name, progress)
        ephemeral = self.processes[name].ephemeral
        if not ephemeral:
            self._open -= 1
        if progress is Progress.FAILED:
            self.failed += not ephemeral
            return
        for after in self.successors[name]:
            self._missing[after] -= 1
            if not self._missing[after] and self.progress[after] is Progress.BLOCKED:
                self._set_ready(after)


def _edges(
    processes: Mapping[str, Process], constraints: Iterable[Constraint]
) -> tuple[dict[str, set[str]], dict[str, list[str]]]:
    before: dict[str, set[str]] = {name: set() for name in processes}
    after: dict[str, list[str]] = {name: [] for name in processes}
    for constraint in constraints:
        order: Sequence[str] = constraint.order
        if any(name not in processes for name in order):
            continue  # of the other plan; the schema refuses chains across both
        for first, second in pairwise(order):
            if first not in before[second]:
                before[second].add(first)
                after[first].append(second)
    return before, after
