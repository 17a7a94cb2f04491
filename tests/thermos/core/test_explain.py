"""What an explanation is made of: stages, endings, what waits for what, when the next try is due."""

from __future__ import annotations

import pytest

from thermos.core.explain import Ending, EndKind, Stage, ending, explain, is_over_for_good
from thermos.core.state import Run, RunnerState, replay
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.schema import Backoff, Constraint, Process, ProcessExtension, Task
from thermos.states import ProcessState, TaskState

P = ProcessState


def task_status(state: TaskState, **more: object) -> TaskStatus:
    return TaskStatus(state, 1000, 7, 0, **more)  # type: ignore[arg-type]


def one_run(name: str, end: ProcessState | None = None, seq: int = 0, stop: float = 10.0) -> list[Record]:
    records: list[Record] = [
        ProcessStatus(seq, name, P.WAITING),
        ProcessStatus(seq + 1, name, P.FORKED, fork_time=1.0, coordinator_pid=5),
        ProcessStatus(seq + 2, name, P.RUNNING, start_time=2.0, pid=6),
    ]
    if end is not None:
        code = {P.SUCCESS: 0, P.FAILED: 3, P.KILLED: -15}.get(end)
        records.append(ProcessStatus(seq + 3, name, end, stop_time=stop, return_code=code))
    return records


def state_of(*records: Record, state: TaskState = TaskState.ACTIVE) -> RunnerState:
    ends = {
        TaskState.ACTIVE: [],
        TaskState.CLEANING: [TaskState.CLEANING],
        TaskState.FINALIZING: [TaskState.CLEANING, TaskState.FINALIZING],
        TaskState.FAILED: [TaskState.CLEANING, TaskState.FINALIZING, TaskState.FAILED],
        TaskState.SUCCESS: [TaskState.CLEANING, TaskState.FINALIZING, TaskState.SUCCESS],
        TaskState.LOST: [TaskState.LOST],
    }[state]
    first: list[Record] = [task_status(TaskState.ACTIVE), RunnerHeader("t", 0)]
    return replay([*first, *records, *map(task_status, ends)])


def task(*processes: Process, order: tuple[str, ...] = (), **more: object) -> Task:
    return Task("t", processes, (Constraint(order),) if order else (), **more)  # type: ignore[arg-type]


def stages(state: RunnerState, definition: Task | None) -> dict[str, Stage]:
    return {view.name: view.stage for view in explain(state, definition).processes}


A, B, C = (Process(name, "true") for name in "abc")


@pytest.mark.parametrize(
    ("state", "code", "certificate", "started", "expected"),
    [
        (P.RUNNING, None, None, True, None),
        (P.SUCCESS, 0, None, True, Ending(EndKind.SUCCESS, 0)),
        (P.FAILED, 1, None, True, Ending(EndKind.CODE, 1)),
        (P.FAILED, 126, None, True, Ending(EndKind.NOT_EXECUTABLE, 126)),
        (P.FAILED, 127, None, True, Ending(EndKind.NOT_FOUND, 127)),
        (P.FAILED, 128, None, True, Ending(EndKind.CODE, 128)),
        (P.FAILED, 129, None, True, Ending(EndKind.CHILD_SIGNAL, 129, 1)),
        (P.FAILED, 137, None, True, Ending(EndKind.CHILD_SIGNAL, 137, 9)),
        (P.FAILED, 192, None, True, Ending(EndKind.CHILD_SIGNAL, 192, 64)),
        (P.FAILED, 193, None, True, Ending(EndKind.CODE, 193)),
        (P.FAILED, -11, None, True, Ending(EndKind.SIGNAL, -11, 11)),
        (P.FAILED, -9, DeathCertificate(signal=9, oom_killed=True), True, Ending(EndKind.OUT_OF_MEMORY, -9, 9)),
        (P.FAILED, 137, DeathCertificate(oom_killed=True), True, Ending(EndKind.OUT_OF_MEMORY, 137, 9)),
        (P.FAILED, 1, None, False, Ending(EndKind.NEVER_BEGAN, 1)),
        (P.FAILED, None, None, True, Ending(EndKind.UNKNOWN)),
        (P.KILLED, -15, DeathCertificate(signal=15), True, Ending(EndKind.SIGNAL, -15, 15)),
        (P.LOST, None, None, True, Ending(EndKind.LOST)),
    ],
)
def test_endings(
    state: ProcessState, code: int | None, certificate: DeathCertificate | None, started: bool, expected: Ending | None
) -> None:
    run = Run(0, 0, None)
    run.state, run.return_code, run.certificate = state, code, certificate
    run.start_time = 1.0 if started else None
    assert ending(run) == expected


def test_a_chain_names_who_waits_for_whom() -> None:
    state = state_of(*one_run("a"))
    why = explain(state, task(A, B, C, order=("a", "b", "c")))
    assert {view.name: view.waits_for for view in why.processes} == {"a": (), "b": ("a",), "c": ("b",)}
    assert stages(state, task(A, B, C, order=("a", "b", "c"))) == {
        "a": Stage.RUNNING, "b": Stage.BLOCKED, "c": Stage.BLOCKED,
    }  # fmt: skip


def test_only_what_has_not_finished_is_waited_for() -> None:
    definition = Task("t", (A, B, C), (Constraint(("a", "c")), Constraint(("b", "c"))))
    state = state_of(*one_run("a", P.SUCCESS), *one_run("b"))
    assert explain(state, definition).processes[2].waits_for == ("b",)


def test_what_is_ready_but_does_not_run_waits_for_a_slot() -> None:
    assert stages(state_of(*one_run("a")), task(A, B, max_concurrency=1))["b"] is Stage.QUEUED


def test_a_failed_predecessor_is_the_culprit_and_the_others_were_not_run() -> None:
    state = state_of(*one_run("a", P.SUCCESS), *one_run("b", P.FAILED), state=TaskState.FAILED)
    why = explain(state, task(A, B, C, order=("a", "b", "c")))
    assert why.culprits == ("b",)
    by_name = {view.name: view for view in why.processes}
    assert (by_name["a"].stage, by_name["b"].stage, by_name["c"].stage) == (
        Stage.FINISHED, Stage.FAILED, Stage.NOT_RUN,
    )  # fmt: skip
    assert by_name["c"].waits_for == ("b",)


def test_the_next_try_is_due_after_min_duration() -> None:
    process = Process("a", "false", max_failures=3, min_duration=7)
    (view,) = explain(state_of(*one_run("a", P.FAILED, stop=100.0)), task(process)).processes
    assert (view.stage, view.due_at_s, view.failures) == (Stage.THROTTLED, 107.0, 1)


def test_the_next_try_is_due_after_the_back_off_of_the_second_run() -> None:
    process = Process("a", "false", max_failures=0, min_duration=0)
    extension = ProcessExtension(backoff=Backoff(initial_s=10.0, factor=3.0, jitter=0.0, reset_after_s=1e6))
    records = [*one_run("a", P.FAILED, stop=100.0), *one_run("a", P.FAILED, seq=4, stop=200.0)]
    (view,) = explain(state_of(*records), task(process, x_processes={"a": extension})).processes
    assert view.due_at_s == 230.0


def test_final_processes_run_at_the_end() -> None:
    last = Process("last", "true", final=True)
    assert stages(state_of(*one_run("a")), task(A, last))["last"] is Stage.AT_THE_END
    assert stages(state_of(*one_run("a", P.SUCCESS), state=TaskState.FINALIZING), task(A, last))["last"] is Stage.QUEUED
    running = state_of(*one_run("a", P.SUCCESS), state=TaskState.FINALIZING)
    for record in one_run("last"):
        running.apply(record)
    assert stages(running, task(A, last))["last"] is Stage.RUNNING


def test_what_still_runs_while_cleaning_up_is_stopping() -> None:
    assert stages(state_of(*one_run("a"), state=TaskState.CLEANING), task(A, B)) == {
        "a": Stage.STOPPING, "b": Stage.NOT_RUN,
    }  # fmt: skip


def test_without_a_definition_there_is_no_guessing() -> None:
    why = explain(state_of(*one_run("a", P.FAILED), state=TaskState.FAILED), None)
    assert [(view.name, view.stage, view.max_failures) for view in why.processes] == [("a", Stage.ENDED, None)]
    assert why.culprits == ("a",)


def test_nothing_recorded() -> None:
    why = explain(RunnerState(), task(A))
    assert (why.state, why.since_s, why.processes[0].stage) == (None, None, Stage.QUEUED)


def test_a_lost_run_is_the_culprit_of_a_lost_task() -> None:
    assert explain(state_of(*one_run("a", P.LOST), state=TaskState.LOST), task(A)).culprits == ("a",)


def test_what_was_asked_for_and_notes_are_there() -> None:
    state = state_of(*one_run("a"))
    state.apply(task_status(TaskState.CLEANING, reason="SIGUSR1", forced_end=TaskState.KILLED, deadline_ms=9000))
    state.apply(Note(5, "disk", "full"))
    why = explain(state, task(A))
    assert (why.reason, why.forced_end, why.deadline_s) == ("SIGUSR1", TaskState.KILLED, 9.0)
    assert why.notes == (Note(5, "disk", "full"),)


@pytest.mark.parametrize(
    ("process", "end", "over"),
    [
        (Process("a", ""), None, False),
        (Process("a", ""), P.SUCCESS, True),
        (Process("a", "", daemon=True), P.SUCCESS, False),
        (Process("a", ""), P.FAILED, True),
        (Process("a", "", max_failures=2), P.FAILED, False),
        (Process("a", ""), P.LOST, False),
        (Process("a", ""), P.KILLED, False),
    ],
)
def test_over_for_good(process: Process, end: ProcessState | None, over: bool) -> None:
    assert is_over_for_good(task(process), state_of(*one_run("a", end)), "a") is over


def test_all_is_over_when_the_task_is() -> None:
    assert is_over_for_good(None, state_of(state=TaskState.SUCCESS), "a")
    assert not is_over_for_good(None, state_of(*one_run("a", P.SUCCESS)), "a")
