"""Killing a runner, or a coordinator, after a chosen one of its system calls, and looking how the task ends."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.support.invariants import violations
from tests.support.lab import Lab
from tests.support.nursery import Nursery, nursery, time_limit
from tests.support.ptrace import EPOLL_WAIT, UNSEEN, Tracee
from thermos.errors import IllegalMove
from thermos.records import ProcessStatus
from thermos.states import ProcessState, TaskState

#: One round: a task of three short processes, started two or three times.
ROUND_S = 60.0
#: A point no life is long enough to reach.
NEVER = 1 << 30


@dataclass(frozen=True)
class Story:
    """A task, how it must end, and who is killed. Sent to workers, so plain data."""

    definition: Mapping[str, Any]
    end: TaskState = TaskState.SUCCESS
    flags: tuple[str, ...] = ()
    #: Whom to kill: the runner; the first coordinator that it forks; or what that forks, which becomes the command.
    victim: Literal["runner", "coordinator", "command"] = "runner"
    #: Send the runner SIGUSR1 when the first process runs, and count its system calls from there.
    asked_to_kill: bool = False
    #: Only when the runner is started again: how a supervisor would end a task that it was told to end.
    kill_flag: str = field(default="--kill=KILLED")


class Round(NamedTuple):
    """What came of a kill after system call number ``at``."""

    at: tuple[int, ...]
    #: (number of the system call, its result) that was the last; empty when all was over before.
    calls: tuple[tuple[int, int], ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        where = " and then ".join(f"after system call {at}" for at in self.at)
        return f"killed {where} (last ones {self.calls}):\n    " + "\n    ".join(self.problems)


def play(story: Story, at: Sequence[int]) -> Round:
    """Kill after the *at*-th system call, the next time after the next *at*, then let the task end."""
    directory = tempfile.mkdtemp(prefix="thermos-kill-")
    try:
        with nursery() as place, time_limit(ROUND_S, f"a kill after system call {tuple(at)}"):
            lab = Lab(Path(directory), story.definition, *story.flags)
            return _play(story, lab, place, at)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def count(story: Story) -> list[tuple[int, int]]:
    """The system calls of an unkilled life, each with its result."""
    calls: list[tuple[int, int]] = []
    directory = tempfile.mkdtemp(prefix="thermos-kill-")
    try:
        with nursery() as place, time_limit(ROUND_S, "an unkilled life"):
            lab = Lab(Path(directory), story.definition, *story.flags)
            if story.victim != "runner":
                _kill_below(story, lab, place, NEVER, calls)
            else:
                _kill_runner(story, lab, NEVER, calls, first=True)
            problems = violations(lab, place, story.end)
            assert not problems, f"not even an unkilled life is well: {problems}"
            return calls
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _play(story: Story, lab: Lab, place: Nursery, at: Sequence[int]) -> Round:
    calls: list[tuple[int, int]] = []
    seen = b""
    try:
        if story.victim != "runner":
            passed: list[tuple[int, int]] = []
            if _kill_below(story, lab, place, at[0], passed):
                calls += passed[-1:]
        else:
            for number, point in enumerate(at):
                passed = []
                over = _kill_runner(story, lab, point, passed, first=number == 0)
                if over:
                    break
                calls += passed[-1:]
                seen = lab.bytes_of(lab.runner_path)[: lab.stream().good_bytes]
            lab.run_to_end(place, *_told(story, lab))
        problems = violations(lab, place, story.end, seen=seen)
        if story.victim != "runner":
            problems += _lost_once_at_most(lab)
        return Round(tuple(at), tuple(calls), tuple(problems))
    except AssertionError as error:
        lines = [str(error), f"it said: {lab.words}", *map(str, lab.records())]
        return Round(tuple(at), tuple(calls), tuple(lines))


def _told(story: Story, lab: Lab) -> list[str]:
    """The task's end was asked for: if that is not on disk yet, it must be asked for again."""
    if not story.asked_to_kill:
        return []
    try:
        forced = any(status.forced_end is not None for status in lab.state().statuses)
    except IllegalMove:
        return []
    return [] if forced else [story.kill_flag]


def _lost_once_at_most(lab: Lab) -> list[str]:
    """One process was killed once: its run is LOST or KILLED, or had told its end already."""
    over = (ProcessState.LOST, ProcessState.KILLED)
    bad = [r for r in lab.records() if isinstance(r, ProcessStatus) and r.state in over]
    return [f"one process was killed, {len(bad)} runs ended badly"] if len(bad) > 1 else []


def _kill_runner(story: Story, lab: Lab, at: int, calls: list[tuple[int, int]], *, first: bool) -> bool:
    """Whether the runner ended before its *at*-th system call. *calls*: those it made."""
    tracee = Tracee.start([*lab.argv, *([] if first else _told(story, lab))], lab.said)
    try:
        return _run_until(tracee, at, calls, _signal(story, lab, tracee) if first else _touches(lab, tracee))
    finally:
        tracee.kill()


def _run_until(tracee: Tracee, at: int, calls: list[tuple[int, int]], begins: Callable[[int], bool]) -> bool:
    begun = False
    while (stop := tracee.next()) is not None:
        if stop.result is None:
            begun = begun or begins(stop.number)
        elif begun and stop.number not in UNSEEN:
            calls.append((stop.number, stop.result))
            if len(calls) >= at:
                return False
    return True


def _touches(lab: Lab, tracee: Tracee) -> Callable[[int], bool]:
    """Python has started, and the call just entered is the first that names the checkpoint root."""
    root = os.fsencode(lab.root)
    return lambda number: any(tracee.text_at(argument).startswith(root) for argument in (0, 1))


def _signal(story: Story, lab: Lab, tracee: Tracee) -> Callable[[int], bool]:
    if not story.asked_to_kill:
        return _touches(lab, tracee)

    def begins(number: int) -> bool:
        if number not in EPOLL_WAIT or not _is_running(lab):
            return False
        os.kill(tracee.pid, signal.SIGUSR1)
        return True

    return begins


def _is_running(lab: Lab) -> bool:
    return any(isinstance(r, ProcessStatus) and r.state is ProcessState.RUNNING for r in lab.records())


def _kill_below(story: Story, lab: Lab, place: Nursery, at: int, calls: list[tuple[int, int]]) -> bool:
    """Whether the victim was killed before it ended. The task has ended when this returns."""
    runner = Tracee.start(lab.argv, lab.said, stop_at_fork=True)
    victim = runner.next_fork(stop_at_fork=story.victim == "command")
    if story.victim == "command" and victim is not None:
        victim = victim.next_fork()
    assert victim is not None, f"nothing was forked: {lab.words}"
    try:
        over = _run_until(victim, at, calls, lambda number: True)
    finally:
        victim.kill()
    code = place.wait_end(runner.pid, "the runner")
    assert code == 0, f"the runner exited {code}"
    return not over
