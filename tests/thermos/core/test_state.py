"""Folding records: every pair of states, and that a refused record changes nothing."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.core.state import RunnerState, is_repeat, replay
from thermos.errors import IllegalMove
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

P = ProcessState
T = TaskState

#: The shortest way of one process to each state: the states of its records.
PROCESS_WAYS: dict[ProcessState | None, list[ProcessState]] = {
    None: [],
    P.WAITING: [P.WAITING],
    P.FORKED: [P.WAITING, P.FORKED],
    P.RUNNING: [P.WAITING, P.FORKED, P.RUNNING],
    P.SUCCESS: [P.WAITING, P.FORKED, P.RUNNING, P.SUCCESS],
    P.FAILED: [P.WAITING, P.FAILED],
    P.KILLED: [P.WAITING, P.FORKED, P.KILLED],
    P.LOST: [P.WAITING, P.FORKED, P.LOST],
}
PROCESS_LEGAL = {
    (None, P.WAITING),
    (P.WAITING, P.FORKED),
    (P.WAITING, P.FAILED),
    (P.FORKED, P.RUNNING),
    (P.FORKED, P.KILLED),
    (P.FORKED, P.LOST),
    (P.RUNNING, P.SUCCESS),
    (P.RUNNING, P.FAILED),
    (P.RUNNING, P.KILLED),
    (P.RUNNING, P.LOST),
    (P.SUCCESS, P.WAITING),
    (P.FAILED, P.WAITING),
    (P.KILLED, P.WAITING),
    (P.LOST, P.WAITING),
}

#: The shortest way of a task to each state.
TASK_WAYS: dict[TaskState | None, list[TaskState]] = {
    None: [],
    T.ACTIVE: [T.ACTIVE],
    T.CLEANING: [T.ACTIVE, T.CLEANING],
    T.FINALIZING: [T.ACTIVE, T.CLEANING, T.FINALIZING],
    T.SUCCESS: [T.ACTIVE, T.CLEANING, T.SUCCESS],
    T.FAILED: [T.ACTIVE, T.CLEANING, T.FAILED],
    T.KILLED: [T.ACTIVE, T.KILLED],
    T.LOST: [T.ACTIVE, T.LOST],
}
TASK_LEGAL = (
    {(None, T.ACTIVE), (T.ACTIVE, T.ACTIVE), (T.ACTIVE, T.CLEANING), (T.ACTIVE, T.KILLED), (T.ACTIVE, T.LOST)}
    | {(T.CLEANING, T.CLEANING), (T.CLEANING, T.ACTIVE), (T.CLEANING, T.FINALIZING)}
    | {(T.FINALIZING, T.FINALIZING), (T.FINALIZING, T.ACTIVE)}
    | set(product([T.CLEANING, T.FINALIZING], [T.SUCCESS, T.FAILED, T.KILLED, T.LOST]))
)

CERTIFICATE = DeathCertificate(signal=9, oom_killed=True, peak_rss_bytes=1 << 20)


def process(state: ProcessState, seq: int, name: str = "p") -> ProcessStatus:
    """A record with every field that belongs to *state*, and none other."""
    match state:
        case P.WAITING:
            return ProcessStatus(seq, name, state)
        case P.FORKED:
            return ProcessStatus(
                seq, name, state, fork_time=seq + 0.25, coordinator_pid=100 + seq, coordinator_start_ticks=7
            )
        case P.RUNNING:
            return ProcessStatus(seq, name, state, start_time=seq + 0.5, pid=200 + seq, pid_start_ticks=8)
        case _:
            return ProcessStatus(
                seq, name, state, stop_time=seq + 0.75, return_code=seq, certificate=CERTIFICATE, reason="why"
            )


def task(state: TaskState, at_ms: int = 1) -> TaskStatus:
    return TaskStatus(state, at_ms, runner_pid=42, runner_uid=0)


def at(ways: list[ProcessState], name: str = "p") -> RunnerState:
    return replay(process(state, seq, name) for seq, state in enumerate(ways))


def view(state: RunnerState) -> Any:
    """All that a state holds, as plain data: equal views are equal states."""
    return (
        state.header,
        list(state.statuses),
        list(state.notes),
        {
            name: (
                [tuple(getattr(run, slot) for slot in sorted(run.__slots__)) for run in history.runs],
                (history.total, history.successes, history.failures, history.kills, history.losses),
            )
            for name, history in state.processes.items()
        },
    )


@pytest.mark.parametrize("old, new", list(product([None, *P], P)))
def test_every_pair_of_process_states(old: ProcessState | None, new: ProcessState) -> None:
    state = at(PROCESS_WAYS[old])
    before = view(state)
    legal = (old, new) in PROCESS_LEGAL
    with nullcontext() if legal else pytest.raises(IllegalMove) as caught:
        state.apply(process(new, seq=len(PROCESS_WAYS[old])))
    if legal:
        assert state.processes["p"].last.state is new
    else:
        assert view(state) == before
        assert caught is not None
        assert "'p'" in str(caught.value)
        assert new.name in str(caught.value)


@pytest.mark.parametrize("old, new", list(product([None, *T], T)))
def test_every_pair_of_task_states(old: TaskState | None, new: TaskState) -> None:
    state = replay(task(each) for each in TASK_WAYS[old])
    before = view(state)
    legal = (old, new) in TASK_LEGAL
    with nullcontext() if legal else pytest.raises(IllegalMove):
        state.apply(task(new, at_ms=99))
    if legal:
        assert state.task_state is new
        assert state.statuses[-1].timestamp_ms == 99
    else:
        assert view(state) == before


@pytest.mark.parametrize("old", P)
@pytest.mark.parametrize("step", [-2, -1, 0, 2, 1000])
def test_a_number_out_of_turn_is_refused_and_changes_nothing(old: ProcessState, step: int) -> None:
    state = at(PROCESS_WAYS[old])
    before = view(state)
    last = len(PROCESS_WAYS[old]) - 1
    for new in P:
        with pytest.raises(IllegalMove, match=f"record {last + step} follows record {last}"):
            state.apply(process(new, seq=last + step))
    assert view(state) == before


def test_numbers_run_on_over_all_runs_of_a_process_and_apart_for_each() -> None:
    state = replay(
        [
            *(process(s, n, "a") for n, s in enumerate([P.WAITING, P.FORKED, P.LOST, P.WAITING])),
            *(process(s, n, "b") for n, s in enumerate([P.WAITING, P.FORKED])),
        ]
    )
    assert state.processes["a"].last.seq == 3
    assert state.processes["b"].last.seq == 1


@pytest.mark.parametrize("end", [P.SUCCESS, P.FAILED, P.KILLED, P.LOST])
def test_a_run_keeps_what_each_of_its_records_told(end: ProcessState) -> None:
    run = at([P.WAITING, P.FORKED, P.RUNNING, end]).processes["p"].last
    assert (run.number, run.seq, run.state) == (0, 3, end)
    assert (run.fork_time, run.coordinator_pid, run.coordinator_start_ticks) == (1.25, 101, 7)
    assert (run.start_time, run.pid, run.pid_start_ticks) == (2.5, 202, 8)
    # The original forgets both of FAILED runs when it replays.
    assert (run.stop_time, run.return_code) == (3.75, 3)
    assert (run.certificate, run.reason) == (CERTIFICATE, "why")


def test_a_run_that_could_not_be_forked_keeps_when_and_why() -> None:
    run = at([P.WAITING, P.FAILED]).processes["p"].last
    assert (run.stop_time, run.return_code, run.reason) == (1.75, 1, "why")
    assert (run.fork_time, run.pid) == (None, None)


def test_a_reason_stays_until_another_is_given() -> None:
    state = at([P.WAITING])
    state.apply(process(P.FORKED, 1)._replace(reason="because"))
    state.apply(process(P.RUNNING, 2))
    assert state.processes["p"].last.reason == "because"
    state.apply(process(P.FAILED, 3))
    assert state.processes["p"].last.reason == "why"


def test_a_new_run_starts_with_nothing_of_the_one_before() -> None:
    run = at([P.WAITING, P.FORKED, P.RUNNING, P.FAILED, P.WAITING]).processes["p"].last
    assert (run.number, run.seq, run.state) == (1, 4, P.WAITING)
    assert (run.fork_time, run.coordinator_pid, run.start_time, run.pid) == (None,) * 4
    assert (run.stop_time, run.return_code, run.certificate, run.reason) == (None,) * 4


ONE_OF_EACH = [
    *[P.WAITING, P.FORKED, P.RUNNING, P.SUCCESS],
    *[P.WAITING, P.FAILED],
    *[P.WAITING, P.FORKED, P.RUNNING, P.FAILED],
    *[P.WAITING, P.FORKED, P.KILLED],
    *[P.WAITING, P.FORKED, P.RUNNING, P.LOST],
    *[P.WAITING, P.FORKED],
]


@pytest.mark.parametrize("keep, kept", [(None, list(range(6))), (1, [5]), (2, [4, 5]), (9, list(range(6)))])
def test_keep_runs_forgets_runs_and_no_count(keep: int | None, kept: list[int]) -> None:
    state = replay((process(s, n) for n, s in enumerate(ONE_OF_EACH)), keep_runs=keep)
    history = state.processes["p"]
    assert [run.number for run in history.runs] == kept
    assert (history.total, history.successes, history.failures) == (6, 1, 2)
    assert (history.kills, history.losses) == (1, 1)
    assert (history.last.number, history.last.state) == (5, P.FORKED)


def test_a_run_knows_the_runner_that_forked_it() -> None:
    first, second = task(T.ACTIVE, 1)._replace(boot_id="one"), task(T.ACTIVE, 2)._replace(boot_id="two")
    state = replay([first, process(P.WAITING, 0), second, process(P.FORKED, 1), task(T.CLEANING, 3)])
    assert state.processes["p"].last.boot == second


def test_a_second_header_is_refused_and_changes_nothing() -> None:
    state = replay([RunnerHeader("one", 1), task(T.ACTIVE)])
    before = view(state)
    for header in (RunnerHeader("one", 1), RunnerHeader("two", 2)):
        with pytest.raises(IllegalMove, match="second header"):
            state.apply(header)
    assert view(state) == before
    assert state.header == RunnerHeader("one", 1)


def test_the_header_may_come_after_the_first_state_as_the_original_writes_it() -> None:
    state = replay([task(T.ACTIVE), RunnerHeader("one", 1)])
    assert (state.task_state, state.header) == (T.ACTIVE, RunnerHeader("one", 1))


def test_process_records_are_taken_after_the_end_as_the_original_writes_them() -> None:
    records: list[Record] = [task(T.ACTIVE), process(P.WAITING, 0), process(P.FORKED, 1), task(T.LOST)]
    state = replay([*records, process(P.KILLED, 2)])
    assert (state.task_state, state.processes["p"].last.state) == (T.LOST, P.KILLED)


def test_notes_are_kept_in_order_and_move_nothing() -> None:
    notes = [Note(1, "disk-full", "no room"), Note(2, "survivor", "pid 9", "p")]
    state = replay([task(T.ACTIVE), *notes])
    assert state.notes == notes
    assert (state.task_state, state.processes) == (T.ACTIVE, {})


def test_a_repeat_is_a_process_record_that_was_told_before() -> None:
    state = at([P.WAITING, P.FORKED, P.RUNNING])
    assert [is_repeat(state, process(P.FORKED, seq)) for seq in range(5)] == [True, True, True, False, False]
    assert not is_repeat(state, process(P.WAITING, 0, "other"))
    assert not is_repeat(state, task(T.ACTIVE))
    assert not is_repeat(state, RunnerHeader("one", 1))
    assert not is_repeat(state, Note(1, "kind", "text"))


def test_replay_stops_at_the_record_that_does_not_follow() -> None:
    with pytest.raises(IllegalMove, match="WAITING → RUNNING"):
        at([P.WAITING, P.RUNNING])


records = st.one_of(
    st.builds(task, st.sampled_from(T), st.integers(0, 9)),
    st.builds(process, st.sampled_from(P), st.integers(0, 6), st.sampled_from(["a", "b"])),
    st.just(RunnerHeader("t", 1)),
    st.just(Note(1, "kind", "text")),
)


@settings(deadline=None)
@given(st.lists(records, max_size=40))
def test_whatever_comes_is_taken_whole_or_not_at_all(stream: list[Record]) -> None:
    state, taken = RunnerState(), []
    for record in stream:
        before = view(state)
        try:
            state.apply(record)
        except IllegalMove:
            assert view(state) == before
        else:
            assert view(state) != before
            taken.append(record)
    assert view(replay(taken)) == view(state)


@settings(deadline=None)
@given(st.lists(records, max_size=40))
def test_keeping_few_runs_refuses_the_same_records(stream: list[Record]) -> None:
    full, short = RunnerState(), RunnerState(keep_runs=1)
    for record in stream:
        outcomes = []
        for state in (full, short):
            try:
                state.apply(record)
            except IllegalMove as error:
                outcomes.append(str(error))
        assert len(set(outcomes)) <= 1
        assert len(outcomes) in (0, 2)
    assert full.task_state == short.task_state
    for name, history in full.processes.items():
        assert history.total == short.processes[name].total
        assert view_run(history.last) == view_run(short.processes[name].last)


def view_run(run: Any) -> tuple[Any, ...]:
    return tuple(getattr(run, slot) for slot in sorted(run.__slots__))
