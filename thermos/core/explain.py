"""Why is this task where it is? From its definition and records, the facts an answer is made of. Pure.

Nothing here is recorded anywhere: it is worked out from the same plans and waits that the runner decides with.
The words are the command line's.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from thermos.core.backoff import Restarts
from thermos.core.planner import Plan, Progress
from thermos.core.state import History, Run, RunnerState
from thermos.records import DeathCertificate, Note
from thermos.states import ProcessState, TaskState

if TYPE_CHECKING:  # a third of what `thermos status` imports
    from thermos.schema import Process, Task

#: What a shell says of a command that it could not execute, or not find (POSIX, "Exit Status for Commands").
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
#: A shell whose command died of signal N exits with this plus N.
SIGNAL_BASE: Final = 128
_LAST_SIGNAL: Final = 64
_SIGKILL: Final = 9


class EndKind(Enum):
    """How a run ended, as far as its records tell."""

    SUCCESS = "success"
    CODE = "code"  # an exit code of the command's own
    NOT_EXECUTABLE = "not executable"
    NOT_FOUND = "not found"
    SIGNAL = "signal"  # the shell itself died of it
    CHILD_SIGNAL = "child signal"  # the shell's command died of it: 128 + N
    OUT_OF_MEMORY = "out of memory"
    NEVER_BEGAN = "never began"
    LOST = "lost"
    UNKNOWN = "unknown"


class Ending(NamedTuple):
    """How a run ended."""

    kind: EndKind
    code: int | None = None
    signal: int | None = None


class Stage(Enum):
    """What a process is doing, or waits for."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPING = "stopping"  # it runs, and the task is over but for that
    BLOCKED = "waits for others"
    QUEUED = "waits for a slot"  # max_concurrency
    THROTTLED = "waits for its next try"
    AT_THE_END = "runs when the task ends"
    FINISHED = "finished"
    FAILED = "failed for good"
    NOT_RUN = "was not run"  # the task ended before its turn
    ENDED = "ended"  # and what it means cannot be told without its definition


class ProcessView(NamedTuple):
    """One process, as it is now."""

    name: str
    stage: Stage
    final: bool
    runs: int
    failures: int
    #: Failed runs after which it has failed for good; 0: never; None: unknown.
    max_failures: int | None
    #: The newest run; None: it had none.
    run: int | None
    state: ProcessState | None
    pid: int | None
    start_time_s: float | None
    stop_time_s: float | None
    ending: Ending | None
    certificate: DeathCertificate | None
    reason: str | None
    #: The predecessors that it still waits for.
    waits_for: tuple[str, ...] = ()
    #: When it may start again.
    due_at_s: float | None = None


class Explanation(NamedTuple):
    """A task, as it is now."""

    state: TaskState | None
    #: When it got there; None with the state.
    since_s: float | None
    reason: str | None
    #: How it must end, because somebody asked for it.
    forced_end: TaskState | None
    #: When cleaning up and finalizing must be over.
    deadline_s: float | None
    processes: tuple[ProcessView, ...]
    #: Names of the processes whose end decided how the task ended.
    culprits: tuple[str, ...]
    notes: tuple[Note, ...]


def ending(run: Run) -> Ending | None:
    """How *run* ended; None: it has not."""
    if not run.state.is_terminal:
        return None
    code, certificate = run.return_code, run.certificate
    signal = certificate.signal if certificate is not None else None
    if signal is None and code is not None and code < 0:
        signal = -code
    if run.state is ProcessState.SUCCESS:
        return Ending(EndKind.SUCCESS, code)
    if certificate is not None and certificate.oom_killed:
        return Ending(EndKind.OUT_OF_MEMORY, code, signal if signal is not None else _SIGKILL)
    if run.state is ProcessState.LOST:
        return Ending(EndKind.LOST, code, signal)
    if run.start_time is None and run.state is ProcessState.FAILED:
        return Ending(EndKind.NEVER_BEGAN, code)
    if signal is not None:
        return Ending(EndKind.SIGNAL, code, signal)
    if code is None:
        return Ending(EndKind.UNKNOWN)
    if code == NOT_EXECUTABLE:
        return Ending(EndKind.NOT_EXECUTABLE, code)
    if code == NOT_FOUND:
        return Ending(EndKind.NOT_FOUND, code)
    if SIGNAL_BASE < code <= SIGNAL_BASE + _LAST_SIGNAL:
        return Ending(EndKind.CHILD_SIGNAL, code, code - SIGNAL_BASE)
    return Ending(EndKind.CODE, code)


class _Plans:
    """Both plans of a task, brought to where its records say they are."""

    def __init__(self, task: Task, state: RunnerState) -> None:
        uncapped = [name for name, extension in task.x_processes.items() if extension.backoff is not None]
        self.regular = Plan([p for p in task.processes if not p.final], task.constraints, uncapped)
        self.final = Plan([p for p in task.processes if p.final], task.constraints, uncapped)
        self.restarts = Restarts(task, state.header.task_id if state.header is not None else "")
        for name, history in state.processes.items():
            plan = self.of(name)
            if plan is not None:
                self._follow(plan, name, history)

    def of(self, name: str) -> Plan | None:
        if name in self.regular.processes:
            return self.regular
        return self.final if name in self.final.processes else None

    def _follow(self, plan: Plan, name: str, history: History) -> None:
        so_far = History()
        for run in history.runs:
            so_far.runs.append(run)
            so_far.total += 1
            so_far.successes += run.state is ProcessState.SUCCESS
            so_far.failures += run.state is ProcessState.FAILED
            so_far.losses += run.state is ProcessState.LOST
            plan.started(name)
            if run.state.is_terminal:
                self.restarts.ended(name, so_far)
                runs = so_far.successes + so_far.failures + so_far.losses
                plan.ended(name, run.state, so_far.failures, runs)


def is_over_for_good(task: Task | None, state: RunnerState, name: str) -> bool:
    """Whether *name* will not run again: it finished, failed for good, or its task is over."""
    if state.task_state is not None and state.task_state.is_terminal:
        return True
    plan = _Plans(task, state).of(name) if task is not None else None
    return plan is not None and plan.progress[name] in (Progress.FINISHED, Progress.FAILED)


def explain(state: RunnerState, task: Task | None) -> Explanation:
    """What is known; *task* None: its definition cannot be read, so nothing is known of what waits.

    *state* must keep all runs.
    """
    plans = _Plans(task, state) if task is not None else None
    processes = {process.name: process for process in task.processes} if task is not None else {}
    names = dict.fromkeys([*processes, *state.processes])
    views = tuple(_view(name, state, processes.get(name), plans) for name in names)
    last = state.statuses[-1] if state.statuses else None
    return Explanation(
        state=last.state if last is not None else None,
        since_s=last.timestamp_ms / 1000 if last is not None else None,
        reason=last.reason if last is not None else None,
        forced_end=last.forced_end if last is not None else None,
        deadline_s=last.deadline_ms / 1000 if last is not None and last.deadline_ms is not None else None,
        processes=views,
        culprits=_culprits(state, views),
        notes=tuple(state.notes),
    )


def _culprits(state: RunnerState, views: tuple[ProcessView, ...]) -> tuple[str, ...]:
    if state.task_state in (TaskState.SUCCESS, TaskState.KILLED):
        return ()
    failed = [view for view in views if view.stage is Stage.FAILED and not view.final]
    if not failed and state.task_state is TaskState.FAILED:
        failed = [view for view in views if view.state is ProcessState.FAILED and not view.final]
    if state.task_state is TaskState.LOST:
        failed += [view for view in views if view.state is ProcessState.LOST and view not in failed]
    failed.sort(key=lambda view: view.stop_time_s or 0.0)
    return tuple(view.name for view in failed)


def _view(name: str, state: RunnerState, process: Process | None, plans: _Plans | None) -> ProcessView:
    history = state.processes.get(name)
    run = history.last if history is not None else None
    plan = plans.of(name) if plans is not None else None
    progress = plan.progress[name] if plan is not None else None
    stage = _stage(state.task_state, run, progress, process is not None and process.final)
    waits_for: tuple[str, ...] = ()
    due_at_s = None
    if plan is not None and stage in (Stage.BLOCKED, Stage.NOT_RUN):
        order = {other: place for place, other in enumerate(plan.processes)}
        open_ = [other for other in plan.predecessors[name] if plan.progress[other] is not Progress.FINISHED]
        waits_for = tuple(sorted(open_, key=order.__getitem__))
    if plans is not None and history is not None and stage is Stage.THROTTLED:
        stop_s = history.last.stop_time
        due_at_s = stop_s + plans.restarts.delay_s(name, history) if stop_s is not None else None
    return ProcessView(
        name=name,
        stage=stage,
        final=process is not None and process.final,
        runs=history.total if history is not None else 0,
        failures=history.failures if history is not None else 0,
        max_failures=process.max_failures if process is not None else None,
        run=run.number if run is not None else None,
        state=run.state if run is not None else None,
        pid=run.pid if run is not None else None,
        start_time_s=run.start_time if run is not None else None,
        stop_time_s=run.stop_time if run is not None else None,
        ending=ending(run) if run is not None else None,
        certificate=run.certificate if run is not None else None,
        reason=run.reason if run is not None else None,
        waits_for=waits_for,
        due_at_s=due_at_s,
    )


def _stage(task_state: TaskState | None, run: Run | None, progress: Progress | None, final: bool) -> Stage:
    is_over = task_state is not None and task_state.is_terminal
    winding_down = task_state is TaskState.CLEANING or (task_state is TaskState.FINALIZING and not final)
    if run is not None and not run.state.is_terminal and not is_over:
        if winding_down:
            return Stage.STOPPING if run.state is not ProcessState.WAITING else Stage.NOT_RUN
        return Stage.RUNNING if run.state is ProcessState.RUNNING else Stage.STARTING
    if progress is Progress.FINISHED:
        return Stage.FINISHED
    if progress is Progress.FAILED:
        return Stage.FAILED
    if is_over or winding_down:
        if run is None or run.state is ProcessState.WAITING:
            return Stage.AT_THE_END if final and not is_over else Stage.NOT_RUN
        return Stage.ENDED
    if progress is Progress.THROTTLED:
        return Stage.THROTTLED
    if final and task_state is not TaskState.FINALIZING:
        return Stage.AT_THE_END
    if progress is Progress.BLOCKED:
        return Stage.BLOCKED
    if progress is Progress.READY:
        return Stage.QUEUED
    return Stage.ENDED if run is not None else Stage.QUEUED
