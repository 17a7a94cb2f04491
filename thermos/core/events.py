"""What can happen to a task, and what its runner can be told to do about it. Values only.

Events are past tense, actions imperative. ``now_s`` is wall time for the records; the core knows no clock, so
a wait is an action (:class:`Wake`) whose end comes back as an event (:class:`Due`).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from thermos.records import Note, ProcessStatus, Record
from thermos.states import TaskState


class Started(NamedTuple):
    """The runner owns the task, which has not begun."""


class Recovered(NamedTuple):
    """The runner has taken over a task whose records it has replayed."""


class Launched(NamedTuple):
    """A coordinator was forked; it waits for :class:`Release`."""

    process: str
    coordinator_pid: int
    coordinator_start_ticks: int | None
    fork_time: float


class LaunchFailed(NamedTuple):
    """No coordinator could be forked, and trying again will not help."""

    process: str
    reason: str


class LaunchDelayed(NamedTuple):
    """No coordinator could be forked now: no room, no pids."""

    process: str
    reason: str
    retry_in_s: float


class Reported(NamedTuple):
    """A coordinator wrote a record."""

    status: ProcessStatus


class Noted(NamedTuple):
    """Something worth telling that moves nothing."""

    note: Note


class CoordinatorGone(NamedTuple):
    """A coordinator is dead, and all that it wrote has been reported."""

    process: str
    reason: str | None = None


class Due(NamedTuple):
    """A wait is over."""

    key: str


class KillRequested(NamedTuple):
    """Somebody wants the task ended: as KILLED or LOST, within *budget_s* (None: the task's own)."""

    end: TaskState
    reason: str
    budget_s: float | None = None


Event: TypeAlias = (
    Started
    | Recovered
    | Launched
    | LaunchFailed
    | LaunchDelayed
    | Reported
    | Noted
    | CoordinatorGone
    | Due
    | KillRequested
)


class Launch(NamedTuple):
    """Fork a coordinator for run *run*, whose next record is *seq*; it must not start anything before Release."""

    process: str
    run: int
    seq: int


class Release(NamedTuple):
    """Let the coordinator start the command: its FORKED record is durable."""

    process: str


class Terminate(NamedTuple):
    """Ask the run to end: SIGTERM to its shell and to what was left behind by it."""

    process: str


class KillRun(NamedTuple):
    """SIGKILL everything of this process's run."""

    process: str


class SweepOrphans(NamedTuple):
    """Signal what no run holds any more: politely, or with SIGKILL."""

    kill: bool


class Wake(NamedTuple):
    """Say Due(*key*) in *in_s* seconds; an earlier wait of the same key is replaced."""

    key: str
    in_s: float


class Finish(NamedTuple):
    """The task is over, as *end*: move its file and leave."""

    end: TaskState


Action: TypeAlias = Launch | Release | Terminate | KillRun | SweepOrphans | Wake | Finish


class Decision(NamedTuple):
    """What to write down, then what to do."""

    records: list[Record]
    actions: list[Action]
