"""What a runner decides: events in, records and actions out. Pure: no clock, file, process or random source.

``replay`` folds records that are on disk already and returns nothing, so replaying cannot act. ``handle``
answers an event; the records it returns are folded in by then, and must be durable before its actions are done.
"""

from __future__ import annotations

from typing import Final, NamedTuple, assert_never

from thermos.core.backoff import Restarts
from thermos.core.events import (
    Action,
    CoordinatorGone,
    Decision,
    Due,
    Event,
    Finish,
    KillRequested,
    KillRun,
    Launch,
    LaunchDelayed,
    Launched,
    LaunchFailed,
    Noted,
    Recovered,
    Release,
    Reported,
    Started,
    SweepOrphans,
    Terminate,
    Wake,
)
from thermos.core.planner import Plan, Progress
from thermos.core.state import Run, RunnerState
from thermos.records import Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.schema import Task
from thermos.states import PROCESS_MOVES, ProcessState, TaskState

#: How long what was sent SIGKILL may take to go before the task ends without it. A process in an
#: uninterruptible sleep goes when its disk answers; the agent above us gives up after 120 s at most.
UNKILLABLE_S: Final = 10.0

DEADLINE: Final = "deadline"
UNKILLABLE: Final = "unkillable"
_LAUNCH: Final = "launch:"
_PROCESS: Final = "process:"


class Identity(NamedTuple):
    """Who a runner is, for the records: pids mean something only within one boot and pid namespace."""

    pid: int
    uid: int
    start_ticks: int | None = None
    boot_id: str | None = None
    pid_namespace: int | None = None


class Machine:
    """One task's decisions. The owner feeds it every event and does what comes out, in order."""

    def __init__(self, task: Task, header: RunnerHeader, identity: Identity) -> None:
        self.task = task
        self.state = RunnerState(keep_runs=2)
        uncapped = [name for name, extension in task.x_processes.items() if extension.backoff is not None]
        self.regular = Plan([p for p in task.processes if not p.final], task.constraints, uncapped)
        self.final = Plan([p for p in task.processes if p.final], task.constraints, uncapped)
        self._header = header
        self._identity = identity
        self._restarts = Restarts(task, header.task_id)
        #: Over but for those that were sent SIGKILL: the task ends when they are gone.
        self._ending = False
        self._live: dict[str, None] = {}
        self._never_began: dict[str, int] = {}  # process → runs LOST before their command began
        self._records: list[Record] = []
        self._actions: list[Action] = []
        self._now_s = 0.0

    # -- the two doors -----------------------------------------------------------------------------------------

    def replay(self, record: Record) -> None:
        """Fold in a record that is on disk. Raises IllegalMove."""
        self.state.apply(record)
        if isinstance(record, ProcessStatus):
            self._follow(record)

    def handle(self, event: Event, now_s: float) -> Decision:
        """What to record and do about *event*. Raises IllegalMove: a fault of ours."""
        self._records, self._actions, self._now_s = [], [], now_s
        match event:
            case Started():
                self._record_task(TaskState.ACTIVE)
                self._record(self._header)
            case Recovered():
                self._recover()
            case Launched():
                self._record_process(
                    event.process,
                    ProcessState.FORKED,
                    coordinator_pid=event.coordinator_pid,
                    coordinator_start_ticks=event.coordinator_start_ticks,
                    fork_time=event.fork_time,
                )
                self._actions.append(Release(event.process))
                return self._decision()
            case LaunchFailed():
                self._record_process(
                    event.process, ProcessState.FAILED, stop_time=now_s, return_code=1, reason=event.reason
                )
            case LaunchDelayed():
                self._actions.append(Wake(_LAUNCH + event.process, event.retry_in_s))
                return self._decision()
            case Reported():
                self._reported(event.status)
            case Noted():
                if event.note not in self.state.notes:
                    self._record(event.note)
                return self._decision()
            case CoordinatorGone():
                self._gone(event)
            case Due():
                self._due(event.key)
            case KillRequested():
                self._kill(event)
            case _:
                assert_never(event)
        self._advance()
        return self._decision()

    # -- questions ---------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """The task's terminal state is recorded."""
        state = self.state.task_state
        return state is not None and state.is_terminal

    def run_of(self, process: str) -> Run | None:
        """The newest run of *process*."""
        history = self.state.processes.get(process)
        return history.last if history is not None else None

    def may_launch(self, name: str) -> bool:
        """Whether *name*'s time has come and is not over: a launch that was decided earlier may be so no more."""
        state = self.state.task_state
        if self._ending:
            return False
        return (state is TaskState.ACTIVE and name in self.regular.processes) or (
            state is TaskState.FINALIZING and name in self.final.processes
        )

    def live_runs(self) -> list[tuple[str, Run]]:
        """Every process with a run that is FORKED or RUNNING."""
        return [(name, self.state.processes[name].last) for name in self._live]

    # -- events ------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        state = self.state.task_state
        last = self.state.statuses[-1] if self.state.statuses else None
        deadline_ms = last.deadline_ms if last is not None else None
        if state is None or last is None:
            self._record_task(TaskState.ACTIVE)
        else:
            if deadline_ms is None and state in (TaskState.CLEANING, TaskState.FINALIZING):  # the original's record
                deadline_ms = last.timestamp_ms + self.task.finalization_wait * 1000
            self._record_task(state, forced_end=last.forced_end, deadline_ms=deadline_ms, reason="taken over")
        if self.state.header is None:
            self._record(self._header)
        for name, history in self.state.processes.items():
            plan = self._plan_of(name)
            if plan is not None and plan.progress[name] is Progress.THROTTLED:
                self._actions.append(Wake(_PROCESS + name, self._restarts.remaining_s(name, history, self._now_s)))
        if last is not None and deadline_ms is not None:
            # A clock that was set back does not stretch the budget.
            left_s = min(deadline_ms / 1000 - self._now_s, (deadline_ms - last.timestamp_ms) / 1000)
            self._actions.append(Wake(DEADLINE, max(left_s, 0.0)))
        if state is TaskState.CLEANING:
            self._actions.append(SweepOrphans(kill=False))
            self._actions.extend(Terminate(name) for name, _ in self.live_runs())
        for name, history in self.state.processes.items():
            if history.last.state is ProcessState.WAITING and self.may_launch(name):
                self._actions.append(Launch(name, history.last.number, history.last.seq + 1))

    def _reported(self, status: ProcessStatus) -> None:
        run = self.run_of(status.process)
        if run is None or status.seq <= run.seq or run.state.is_terminal:
            return  # told before
        if status.seq != run.seq + 1 or status.state not in PROCESS_MOVES[run.state]:
            self._doubt(status, run)
            return
        self._record(status)
        if status.state is ProcessState.RUNNING:
            if self._ending:
                self._actions.append(KillRun(status.process))
            elif self._is_cleaning_up(status.process):
                self._actions.append(Terminate(status.process))

    def _doubt(self, status: ProcessStatus, run: Run) -> None:
        """Say once of a process that its coordinators' stream makes no sense: it may be forged. It changes nothing."""
        if not any(note.kind == "stream" and note.process == status.process for note in self.state.notes):
            text = (
                f"its coordinator's record {status.seq}, {status.state.name}, cannot follow record {run.seq}, "
                f"{run.state.name}; ignored, as are others like it"
            )
            self._record(Note(int(self._now_s * 1000), "stream", text, status.process))

    def _gone(self, event: CoordinatorGone) -> None:
        run = self.run_of(event.process)
        if run is None or run.state not in (ProcessState.FORKED, ProcessState.RUNNING):
            return
        self._actions.append(KillRun(event.process))
        if self._ending or (self._is_cleaning_up(event.process) and run.state is ProcessState.FORKED):
            # We killed it ourselves, or it saw us die before its command began.
            self._record_process(
                event.process, ProcessState.KILLED, stop_time=self._now_s, return_code=-9, reason=event.reason
            )
            return
        reason = event.reason or "its coordinator died"
        self._record_process(event.process, ProcessState.LOST, stop_time=self._now_s, reason=reason)

    def _due(self, key: str) -> None:
        if key == DEADLINE:
            if self.state.task_state in (TaskState.CLEANING, TaskState.FINALIZING):
                self._end()
        elif key == UNKILLABLE:
            for name, live in self.live_runs():
                self._record(
                    Note(
                        int(self._now_s * 1000),
                        "survivors",
                        f"could not be killed: pid {live.pid or live.coordinator_pid}, of process {name}",
                        name,
                    )
                )
                self._record_process(
                    name,
                    ProcessState.KILLED,
                    stop_time=self._now_s,
                    return_code=-9,
                    reason="it could not be killed",
                )
        elif key.startswith(_LAUNCH):
            name = key[len(_LAUNCH) :]
            run = self.run_of(name)
            if run is not None and run.state is ProcessState.WAITING and self.may_launch(name):
                self._actions.append(Launch(name, run.number, run.seq + 1))
        elif key.startswith(_PROCESS):
            plan = self._plan_of(name := key[len(_PROCESS) :])
            if plan is not None:
                plan.due(name)

    def _kill(self, event: KillRequested) -> None:
        if self.is_over or self.state.task_state is None:
            return
        budget_s = float(self.task.finalization_wait)
        if event.budget_s is not None:
            budget_s = min(budget_s, event.budget_s)
        state = self.state.task_state
        if state is TaskState.ACTIVE:
            self._clean_up(budget_s, event.end, event.reason)
        else:
            last = self.state.statuses[-1]
            deadline_ms = int((self._now_s + budget_s) * 1000)
            if last.deadline_ms is not None:
                deadline_ms = min(deadline_ms, last.deadline_ms)
            self._record_task(state, forced_end=event.end, deadline_ms=deadline_ms, reason=event.reason)
            self._actions.append(Wake(DEADLINE, max(deadline_ms / 1000 - self._now_s, 0.0)))
        if budget_s <= 0:
            self._end()

    # -- what follows from the state -----------------------------------------------------------------------------

    def _advance(self) -> None:
        """Move the task on as far as it will go now: one call may pass several states."""
        if self.state.task_state is TaskState.ACTIVE:
            if self.regular.is_complete or not self._is_healthy():
                self._clean_up(float(self.task.finalization_wait), None, self._why_over())
            else:
                self._launch(self.regular)
        if self.state.task_state is TaskState.CLEANING and not self._ending and not self._live:
            last = self.state.statuses[-1]
            self._record_task(TaskState.FINALIZING, last.forced_end, last.deadline_ms, last.reason)
            self._actions.append(SweepOrphans(kill=True))
        if self.state.task_state is TaskState.FINALIZING and not self._ending:
            if self.final.is_complete or self.final.is_stuck:
                self._end()
            else:
                self._launch(self.final)
        if self._ending and not self.is_over and not self._live:
            end = self._verdict()
            last = self.state.statuses[-1]
            self._record_task(end, reason=last.reason)
            self._actions.append(SweepOrphans(kill=True))
            self._actions.append(Finish(end))

    def _clean_up(self, budget_s: float, forced_end: TaskState | None, reason: str | None) -> None:
        deadline_ms = int((self._now_s + budget_s) * 1000)
        self._record_task(TaskState.CLEANING, forced_end=forced_end, deadline_ms=deadline_ms, reason=reason)
        self._actions.append(Wake(DEADLINE, budget_s))
        self._actions.append(SweepOrphans(kill=False))
        self._actions.extend(Terminate(name) for name, _ in self.live_runs())

    def _end(self) -> None:
        if self._ending:
            return
        self._ending = True
        live = [name for name, _ in self.live_runs()]
        self._actions.extend(KillRun(name) for name in live)
        if live:
            self._actions.append(Wake(UNKILLABLE, UNKILLABLE_S))

    def _launch(self, plan: Plan) -> None:
        limit = self.task.max_concurrency
        while not limit or plan.active < limit:
            name = plan.take_ready()
            if name is None:
                return
            history = self.state.processes.get(name)
            seq = history.last.seq + 1 if history is not None else 0
            self._record(ProcessStatus(seq, name, ProcessState.WAITING))
            self._actions.append(Launch(name, self.state.processes[name].last.number, seq + 1))

    def _is_healthy(self) -> bool:
        limit = self.task.max_failures
        return not self.regular.is_stuck and (not limit or self.regular.failed < limit)

    def _why_over(self) -> str | None:
        limit = self.task.max_failures
        if limit and self.regular.failed >= limit:
            failed = [name for name, progress in self.regular.progress.items() if progress is Progress.FAILED]
            return f"failed: {', '.join(failed[:5])}" + (" …" if len(failed) > 5 else "")
        if self.regular.is_stuck:
            return "stuck: what is left waits for a process that failed"
        return None

    def _verdict(self) -> TaskState:
        forced = self.state.statuses[-1].forced_end
        if forced is not None:
            return forced
        return TaskState.SUCCESS if self._is_healthy() else TaskState.FAILED

    # -- small ---------------------------------------------------------------------------------------------------

    def _plan_of(self, name: str) -> Plan | None:
        if name in self.regular.processes:
            return self.regular
        return self.final if name in self.final.processes else None

    def _is_cleaning_up(self, name: str) -> bool:
        """True when *name* should no longer run: its plan's time is over."""
        state = self.state.task_state
        return state is TaskState.CLEANING or (state is TaskState.FINALIZING and name in self.regular.processes)

    def _follow(self, status: ProcessStatus) -> None:
        """Keep the plans and the restart delays abreast of the records."""
        if status.state is ProcessState.FORKED:
            self._live[status.process] = None
        elif status.state.is_terminal:
            self._live.pop(status.process, None)
        plan = self._plan_of(status.process)
        if plan is None:
            return
        if status.state is ProcessState.WAITING:
            plan.started(status.process)
        elif status.state.is_terminal:
            history = self.state.processes[status.process]
            self._restarts.ended(status.process, history)
            # Kills are the doing of others and do not use up the runs a process has; nor does what never began.
            if history.last.start_time is None and status.state is ProcessState.LOST:
                self._never_began[status.process] = self._never_began.get(status.process, 0) + 1
            runs = history.successes + history.failures + history.losses - self._never_began.get(status.process, 0)
            plan.ended(status.process, status.state, history.failures, runs)

    def _record(self, record: Record) -> None:
        self.state.apply(record)
        self._records.append(record)
        if isinstance(record, ProcessStatus):
            self._follow(record)
            plan = self._plan_of(record.process)
            if record.state.is_terminal and plan is not None and plan.progress[record.process] is Progress.THROTTLED:
                history = self.state.processes[record.process]
                self._actions.append(Wake(_PROCESS + record.process, self._restarts.delay_s(record.process, history)))

    def _record_process(
        self,
        name: str,
        state: ProcessState,
        *,
        coordinator_pid: int | None = None,
        coordinator_start_ticks: int | None = None,
        fork_time: float | None = None,
        stop_time: float | None = None,
        return_code: int | None = None,
        reason: str | None = None,
    ) -> None:
        seq = self.state.processes[name].last.seq + 1
        self._record(
            ProcessStatus(
                seq,
                name,
                state,
                coordinator_pid=coordinator_pid,
                coordinator_start_ticks=coordinator_start_ticks,
                fork_time=fork_time,
                stop_time=stop_time,
                return_code=return_code,
                reason=reason,
            )
        )

    def _record_task(
        self,
        state: TaskState,
        forced_end: TaskState | None = None,
        deadline_ms: int | None = None,
        reason: str | None = None,
    ) -> None:
        identity = self._identity
        self._record(
            TaskStatus(
                state,
                int(self._now_s * 1000),
                identity.pid,
                identity.uid,
                identity.boot_id,
                identity.pid_namespace,
                identity.start_ticks,
                reason,
                forced_end,
                deadline_ms,
            )
        )

    def _decision(self) -> Decision:
        return Decision(self._records, self._actions)
