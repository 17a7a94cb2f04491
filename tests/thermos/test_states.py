"""Every pair of states, against lists written by hand: who adds a move adds it here too."""

from __future__ import annotations

from itertools import product

import pytest

from thermos.states import PROCESS_MOVES, TASK_MOVES, ProcessState, TaskState

#: Aurora's numbers (``thermos_internal.thrift``); they lie on disk.
PROCESS_NUMBERS = {"WAITING": 0, "FORKED": 1, "RUNNING": 2, "SUCCESS": 3, "KILLED": 4, "FAILED": 5, "LOST": 6}
TASK_NUMBERS = {
    "ACTIVE": 0,
    "SUCCESS": 1,
    "FAILED": 2,
    "KILLED": 3,
    "LOST": 4,
    "CLEANING": 5,
    "FINALIZING": 6,
}

#: ``-`` is "no run yet". A run that is over is followed by the next run.
LEGAL_PROCESS = {
    "- WAITING",
    "WAITING FORKED",
    "WAITING FAILED",  # could not be forked at all
    "FORKED RUNNING",
    "FORKED KILLED",
    "FORKED LOST",
    "RUNNING SUCCESS",
    "RUNNING FAILED",
    "RUNNING KILLED",
    "RUNNING LOST",
    "SUCCESS WAITING",
    "FAILED WAITING",
    "KILLED WAITING",
    "LOST WAITING",
}

LEGAL_TASK = {
    "- ACTIVE",
    "ACTIVE ACTIVE",  # another runner took the task over
    "ACTIVE CLEANING",
    "ACTIVE KILLED",  # what a kill through the checkpoint alone leaves
    "ACTIVE LOST",
    "CLEANING CLEANING",
    "CLEANING ACTIVE",  # the original writes ACTIVE at every takeover
    "CLEANING FINALIZING",
    "CLEANING SUCCESS",
    "CLEANING FAILED",
    "CLEANING KILLED",
    "CLEANING LOST",
    "FINALIZING FINALIZING",
    "FINALIZING ACTIVE",
    "FINALIZING SUCCESS",
    "FINALIZING FAILED",
    "FINALIZING KILLED",
    "FINALIZING LOST",
}

TERMINAL_PROCESS = {"SUCCESS", "FAILED", "KILLED", "LOST"}
TERMINAL_TASK = {"SUCCESS", "FAILED", "KILLED", "LOST"}


def name(state: ProcessState | TaskState | None) -> str:
    return "-" if state is None else state.name


def test_numbers_are_those_on_disk() -> None:
    assert {state.name: state.value for state in ProcessState} == PROCESS_NUMBERS
    assert {state.name: state.value for state in TaskState} == TASK_NUMBERS


@pytest.mark.parametrize("old, new", list(product([None, *ProcessState], ProcessState)), ids=name)
def test_process_moves(old: ProcessState | None, new: ProcessState) -> None:
    assert (new in PROCESS_MOVES[old]) == (f"{name(old)} {new.name}" in LEGAL_PROCESS)


@pytest.mark.parametrize("old, new", list(product([None, *TaskState], TaskState)), ids=name)
def test_task_moves(old: TaskState | None, new: TaskState) -> None:
    assert (new in TASK_MOVES[old]) == (f"{name(old)} {new.name}" in LEGAL_TASK)


def test_the_lists_name_only_states() -> None:
    assert {word for pair in LEGAL_PROCESS for word in pair.split()} == {"-", *PROCESS_NUMBERS}
    assert {word for pair in LEGAL_TASK for word in pair.split()} == {"-", *TASK_NUMBERS}


@pytest.mark.parametrize("state", ProcessState)
def test_terminal_process_states(state: ProcessState) -> None:
    assert state.is_terminal == (state.name in TERMINAL_PROCESS)
    assert not state.is_terminal or PROCESS_MOVES[state] == {ProcessState.WAITING}


@pytest.mark.parametrize("state", TaskState)
def test_terminal_task_states(state: TaskState) -> None:
    assert state.is_terminal == (state.name in TERMINAL_TASK)
    assert state.is_terminal == (not TASK_MOVES[state])
