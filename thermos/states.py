"""The states of processes and tasks, and every legal move between them.

The numbers are Aurora's (``thermos_internal.thrift``): they lie on disk and never change.
The diagrams in ``docs/reference/states.md`` are drawn from the two tables below.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class ProcessState(IntEnum):
    """Where one run of a process is."""

    WAITING = 0
    FORKED = 1
    RUNNING = 2
    SUCCESS = 3
    KILLED = 4
    FAILED = 5
    LOST = 6

    @property
    def is_terminal(self) -> bool:
        """True when the run is over and can never change again."""
        return self >= ProcessState.SUCCESS


class TaskState(IntEnum):
    """Where a task is."""

    ACTIVE = 0
    SUCCESS = 1
    FAILED = 2
    KILLED = 3
    LOST = 4
    CLEANING = 5
    FINALIZING = 6

    @property
    def is_terminal(self) -> bool:
        """True when the task is over: its file lies under ``finished/`` or is about to."""
        return TaskState.SUCCESS <= self <= TaskState.LOST


_P = ProcessState
_T = TaskState

#: Every legal move within one run; ``None`` stands for "no run yet". Absence means illegal.
#: A run that is over is followed by a new run, which starts at WAITING.
PROCESS_MOVES: Final[Mapping[ProcessState | None, frozenset[ProcessState]]] = {
    None: frozenset({_P.WAITING}),
    _P.WAITING: frozenset({_P.FORKED, _P.FAILED}),
    _P.FORKED: frozenset({_P.RUNNING, _P.KILLED, _P.LOST}),
    _P.RUNNING: frozenset({_P.SUCCESS, _P.FAILED, _P.KILLED, _P.LOST}),
    _P.SUCCESS: frozenset({_P.WAITING}),
    _P.FAILED: frozenset({_P.WAITING}),
    _P.KILLED: frozenset({_P.WAITING}),
    _P.LOST: frozenset({_P.WAITING}),
}

#: Every legal move of a task. A state may be recorded again: each runner that takes the task over does so,
#: with its own pid. ACTIVE → KILLED and LOST without CLEANING is what a forced kill leaves.
TASK_MOVES: Final[Mapping[TaskState | None, frozenset[TaskState]]] = {
    None: frozenset({_T.ACTIVE}),
    _T.ACTIVE: frozenset({_T.ACTIVE, _T.CLEANING, _T.KILLED, _T.LOST}),
    _T.CLEANING: frozenset(
        {_T.CLEANING, _T.ACTIVE, _T.FINALIZING, _T.SUCCESS, _T.FAILED, _T.KILLED, _T.LOST}
    ),
    _T.FINALIZING: frozenset({_T.FINALIZING, _T.ACTIVE, _T.SUCCESS, _T.FAILED, _T.KILLED, _T.LOST}),
    _T.SUCCESS: frozenset(),
    _T.FAILED: frozenset(),
    _T.KILLED: frozenset(),
    _T.LOST: frozenset(),
}
