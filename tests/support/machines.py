"""Telling a machine's story: tasks from few words, decisions as short lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from thermos.core.events import (
    Action,
    CoordinatorGone,
    Decision,
    Due,
    Event,
    Finish,
    KillRun,
    Launch,
    Launched,
    LaunchFailed,
    Release,
    Reported,
    Started,
    SweepOrphans,
    Terminate,
    Wake,
)
from thermos.core.machine import Identity, Machine
from thermos.core.planner import Plan, Progress
from thermos.core.state import RunnerState
from thermos.records import Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.schema import Constraint, Process, ProcessExtension, Task
from thermos.states import ProcessState, TaskState

HEADER = RunnerHeader("task-1", launch_time_ms=0, sandbox="/box")
RUNNER = Identity(pid=42, uid=0)
T0 = 1000.0


def process(name: str, **fields: object) -> Process:
    values: dict[str, object] = {"min_duration": 0, "cmdline": "true", **fields}
    return Process(name=name, **values)  # type: ignore[arg-type]


def task(
    *processes: Process | str,
    order: Iterable[str] = (),
    extensions: dict[str, ProcessExtension] | None = None,
    **fields: object,
) -> Task:
    """A task; *order* holds chains such as ``a b c``. A name alone is a process that lives on defaults."""
    return Task(
        name="task",
        processes=tuple(process(each) if isinstance(each, str) else each for each in processes),
        constraints=tuple(Constraint(tuple(chain.split())) for chain in order),
        x_processes=extensions or {},
        **fields,  # type: ignore[arg-type]
    )


def said(record: Record) -> str:
    match record:
        case RunnerHeader():
            return "header"
        case TaskStatus():
            end = f" as {record.forced_end.name}" if record.forced_end is not None else ""
            return f"{record.state.name}{end}"
        case ProcessStatus():
            return f"{record.process}#{record.seq} {record.state.name}"
        case Note():
            return f"note: {record.text}"
    assert_never(record)


def told(action: Action) -> str:
    match action:
        case Launch():
            return f"> launch {action.process} run {action.run}"
        case Release():
            return f"> release {action.process}"
        case Terminate():
            return f"> terminate {action.process}"
        case KillRun():
            return f"> kill {action.process}"
        case SweepOrphans():
            return "> sweep -9" if action.kill else "> sweep"
        case Wake():
            return f"> wake {action.key} in {action.in_s:g}"
        case Finish():
            return f"> finish {action.end.name}"
    assert_never(action)


class Story:
    """A machine, and what is durable of it. Each step gives what it decided: records, then actions with ``>``."""

    def __init__(self, of: Task, *, now_s: float = T0) -> None:
        self.task = of
        self.now_s = now_s
        self.log: list[Record] = []
        self.machine = Machine(of, HEADER, RUNNER)

    def on(self, event: Event) -> list[str]:
        return self.lines(self.machine.handle(event, self.now_s))

    def lines(self, decision: Decision) -> list[str]:
        self.log += decision.records
        return [*map(said, decision.records), *map(told, decision.actions)]

    def start(self) -> list[str]:
        return self.on(Started())

    def later(self, seconds: float) -> None:
        self.now_s += seconds

    def forked(self, name: str) -> list[str]:
        return self.on(Launched(name, 100, 7, self.now_s))

    def report(self, name: str, state: ProcessState, code: int | None = None) -> list[str]:
        run = self.machine.run_of(name)
        assert run is not None
        status = ProcessStatus(run.seq + 1, name, state)
        if state is ProcessState.RUNNING:
            status = status._replace(start_time=self.now_s, pid=200)
        elif state.is_terminal:
            status = status._replace(stop_time=self.now_s, return_code=code)
        return self.on(Reported(status))

    def run(self, name: str) -> list[str]:
        """Fork it and let it come up; what both steps decided."""
        return self.forked(name) + self.report(name, ProcessState.RUNNING)

    def succeed(self, name: str) -> list[str]:
        return self.report(name, ProcessState.SUCCESS, 0)

    def fail(self, name: str) -> list[str]:
        return self.report(name, ProcessState.FAILED, 1)

    def killed(self, name: str) -> list[str]:
        return self.report(name, ProcessState.KILLED, -9)

    def gone(self, name: str) -> list[str]:
        return self.on(CoordinatorGone(name))

    def due(self, key: str) -> list[str]:
        return self.on(Due(key))

    def launch_failed(self, name: str) -> list[str]:
        return self.on(LaunchFailed(name, "no such thing"))

    def crash(self) -> None:
        """The runner dies and another one replays what is durable. Replaying can return nothing: it cannot act."""
        self.machine = Machine(self.task, HEADER, RUNNER._replace(pid=43))
        for record in self.log:
            self.machine.replay(record)

    @property
    def state(self) -> TaskState | None:
        return self.machine.state.task_state


def progress(plan: Plan) -> dict[str, Progress]:
    """How far each process is, as far as records tell: that a wait is over is not recorded."""
    return {name: Progress.READY if found is Progress.THROTTLED else found for name, found in plan.progress.items()}


def view(state: RunnerState) -> object:
    """What a state holds of its processes, as plain data."""
    return {
        name: (
            [tuple(str(getattr(run, slot)) for slot in sorted(run.__slots__)) for run in history.runs[-2:]],
            (history.total, history.successes, history.failures, history.kills, history.losses),
        )
        for name, history in state.processes.items()
    }
