"""The runner as the executor's child: real runners, real processes, killed in every way."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import process, until, with_words
from tests.support.scarce import descriptors_left
from thermos.checkpoints import read_task
from thermos.core.lifetime_events import Event, ProcessesRun, RunnerEnded, RunnerReady
from thermos.definition import build
from thermos.executor.runner_child import RunnerChild, RunnerOrder
from thermos.host.loop import Loop
from thermos.schema import Task
from thermos.states import TaskState

DEADLINE_S = 30.0


class Stage:
    """A loop, a runner's child in it, and what it told."""

    def __init__(self, path: Path, task: Mapping[str, Any], **more: Any) -> None:
        raw = {"name": "task", "finalization_wait": 20, **task}
        made = build(Task, raw, "", [])
        assert made is not None
        self.root = str(path / "checkpoints")
        self.sandbox = path / "sandbox"
        self.order = RunnerOrder(
            root=self.root, task_id="t", sandbox=str(self.sandbox), task=made, task_json=json.dumps(raw), **more
        )
        self.loop = Loop()
        self.told: list[Event] = []
        self.changes = 0
        self.child = RunnerChild(self.loop, self.order, self.told.append, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"not in time: {what}; told: {self.told}"
            self.loop.step(0.05)

    def until_told(self, kind: type) -> Any:
        self.until(lambda: any(isinstance(event, kind) for event in self.told), kind.__name__)
        return next(event for event in self.told if isinstance(event, kind))

    def runner_pid(self) -> int:
        return read_task(self.root, "t").state.statuses[-1].runner_pid


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(*processes: dict[str, object], **more: Any) -> Stage:
        stages.append(Stage(tmp_path, {"processes": list(processes)}, **more))
        return stages[-1]

    yield make
    for each in stages:
        if each.child._pidfd >= 0:  # whatever the test did, its runner ends
            each.child.force()
            each.until_told(RunnerEnded)
        each.child.close()
        each.loop.close()


Make = Callable[..., Stage]


def test_a_task_that_ends_well(stage: Make) -> None:
    at = stage(process("a", "echo hello"))
    at.child.start()
    ended = at.until_told(RunnerEnded)
    assert [type(event) for event in at.told] == [RunnerReady, ProcessesRun, RunnerEnded]
    assert ended.status == ended.otherwise
    assert (ended.status.state, ended.status.message) == ("TASK_FINISHED", "Task finished.")
    assert at.changes > 1


@pytest.mark.parametrize("left", range(7))
def test_a_host_without_descriptors_is_told_and_nothing_was_started(stage: Make, left: int) -> None:
    at = stage(process("a", "touch ran"))
    with descriptors_left(left):
        at.child.start()
        at.loop.step(0)
        ended = [event for event in at.told if isinstance(event, RunnerEnded)]
    if not ended:
        assert left == 6
        assert at.until_told(RunnerEnded).status.state == "TASK_FINISHED"
        return
    assert ended[0].status == ended[0].otherwise
    assert (ended[0].otherwise.state, "Too many open files" in str(ended[0].otherwise.message)) == ("TASK_LOST", True)
    assert not (at.sandbox / "ran").exists()


def test_one_that_fails_says_who_and_how_and_what_it_said_last(stage: Make) -> None:
    at = stage(process("web", "echo it is broken >&2; exit 3"), process("other", "true"))
    at.child.start()
    status = at.until_told(RunnerEnded).status
    assert status.state == "TASK_FAILED"
    for word in ("Process web: exit code 3", "it is broken"):
        assert word in status.message
    assert "other" not in status.message


def test_a_kill_runs_finalizers_and_is_told(stage: Make) -> None:
    at = stage(process("a", "sleep 600"), process("f", "touch finalized", final=True))
    at.child.start()
    at.until_told(ProcessesRun)
    at.child.kill(60.0)
    assert at.until_told(RunnerEnded).status.state == "TASK_KILLED"
    assert (at.sandbox / "finalized").exists()


def test_a_kill_before_the_runner_has_recorded_anything_is_recorded_all_the_same(stage: Make) -> None:
    at = stage(process("a", "touch ran; sleep 600"))
    at.child.start()
    at.child.kill(1.0)
    assert at.until_told(RunnerEnded).status.state == "TASK_KILLED"
    assert read_task(at.root, "t").state.task_state is TaskState.KILLED
    assert os.listdir(f"{at.root}/tasks/finished") == ["t"]
    assert not (at.sandbox / "ran").exists()


def test_a_kill_with_little_time_takes_no_more(stage: Make) -> None:
    word = f"stubborn-{os.getpid()}-{time.monotonic_ns()}"
    at = stage(process("a", f"trap '' TERM; exec -a {word} sleep 600"))
    at.child.start()
    until(lambda: with_words(word), "the stubborn one runs")
    at.until_told(ProcessesRun)
    at.child.kill(0.5)
    assert at.until_told(RunnerEnded).status.state == "TASK_KILLED"
    assert with_words(word) == []


def test_lost_is_lost(stage: Make) -> None:
    at = stage(process("a", "sleep 600"))
    at.child.start()
    at.until_told(ProcessesRun)
    at.child.kill(60.0, as_lost=True)
    assert at.until_told(RunnerEnded).status.state == "TASK_LOST"


def test_force_ends_a_kill_that_takes_too_long(stage: Make) -> None:
    at = stage(process("a", "sleep 600"), process("f", "sleep 600", final=True))
    at.child.start()
    at.until_told(ProcessesRun)
    at.child.kill(60.0)
    until(lambda: "f" in read_task(at.root, "t").state.processes, "the finalizer runs")
    at.child.force()
    assert at.until_told(RunnerEnded).status.state == "TASK_KILLED"


def test_a_runner_that_is_stopped_keeps_nothing_alive(stage: Make) -> None:
    word = f"stopped-{os.getpid()}-{time.monotonic_ns()}"
    at = stage(process("a", f"trap '' TERM; exec -a {word} sleep 600"))
    at.child.start()
    at.until_told(ProcessesRun)
    os.kill(at.runner_pid(), signal.SIGSTOP)
    at.child.kill(60.0)  # it hears nothing of that
    at.child.force()
    assert at.until_told(RunnerEnded).status.state == "TASK_KILLED"
    assert with_words(word) == []
    assert read_task(at.root, "t").state.task_state is TaskState.KILLED


def test_when_the_runner_that_forces_it_is_stopped_too_coordinators_end_it(stage: Make) -> None:
    word = f"stopped-{os.getpid()}-{time.monotonic_ns()}"
    at = stage(process("a", f"exec -a {word} sleep 600"))
    at.child.start()
    at.until_told(ProcessesRun)
    first = at.runner_pid()
    os.kill(first, signal.SIGSTOP)
    at.child.force()
    at.until(lambda: at.child._pid not in (0, first), "another runner is there")
    second = at.child._pid
    os.kill(second, signal.SIGSTOP)
    assert with_words(word)
    at.child.close()  # as the executor does in the end
    until(lambda: os.waitpid(second, os.WNOHANG)[0], "the second runner ends")
    until(lambda: not with_words(word), "its processes end")


def test_a_runner_that_died_alone_is_followed_by_another_and_nothing_is_run_twice(stage: Make) -> None:
    at = stage(process("a", "echo once >> log; sleep 600"))
    at.child.start()
    at.until_told(ProcessesRun)
    os.kill(at.runner_pid(), signal.SIGKILL)
    ended = at.until_told(RunnerEnded)
    assert ended.status is None
    assert (ended.otherwise.state, "SIGKILL" in ended.otherwise.message) == ("TASK_KILLED", True)
    at.told.clear()
    at.child.start()
    at.until_told(RunnerReady)
    at.child.kill(60.0)
    assert at.until_told(RunnerEnded).status.state == "TASK_KILLED"
    assert (at.sandbox / "log").read_text() == "once\n"


def test_a_kill_of_a_task_whose_runner_is_dead(stage: Make) -> None:
    word = f"orphan-{os.getpid()}-{time.monotonic_ns()}"
    at = stage(process("a", f"exec -a {word} sleep 600"))
    at.child.start()
    at.until_told(ProcessesRun)
    os.kill(at.runner_pid(), signal.SIGKILL)
    at.until_told(RunnerEnded)
    at.told.clear()
    at.child.kill(60.0)
    assert at.until_told(RunnerEnded).status.state == "TASK_KILLED"
    assert with_words(word) == []


def test_without_us_the_task_ends(tmp_path: Path) -> None:
    """The executor is killed: the leash's other end closes, and the runner ends the task as LOST."""
    word = f"leash-{os.getpid()}-{time.monotonic_ns()}"
    executor = os.fork()
    if not executor:
        try:
            at = Stage(tmp_path, {"processes": [process("a", f"exec -a {word} sleep 600")]})
            at.child.start()
            at.loop.run()
        finally:
            os._exit(1)
    until(lambda: with_words(word), "the process runs")
    os.kill(executor, signal.SIGKILL)
    os.waitpid(executor, 0)
    until(lambda: not with_words(word), "the process has ended with the executor")
    root = str(tmp_path / "checkpoints")
    until(lambda: read_task(root, "t").state.task_state is TaskState.LOST, "it is recorded as LOST")


@pytest.mark.parametrize(
    "more, state, word",
    [
        ({"user": "no-such-user-here"}, "TASK_FAILED", "user"),
        ({"logger": {"process_logger_mode": "nonsense"}}, "TASK_LOST", "nonsense"),
    ],
)
def test_one_that_cannot_start_says_why(stage: Make, more: dict[str, Any], state: str, word: str) -> None:
    at = stage(process("a", "true"), **more)
    at.child.start()
    status = at.until_told(RunnerEnded).status
    assert status.state == state
    assert word in status.message


def ruin(at: Stage, word: str) -> None:
    """Damage the checkpoint of a task that runs, and kill its runner: no other can go on with it."""
    until(lambda: with_words(word), "the process runs")
    pid = at.runner_pid()
    os.kill(pid, signal.SIGSTOP)
    with open(f"{at.root}/checkpoints/t/runner", "r+b") as stream:
        stream.seek(20)
        stream.write(b"\xff" * 20)
    os.kill(pid, signal.SIGKILL)


def test_one_that_no_runner_can_go_on_with_is_not_over(stage: Make) -> None:
    word = f"ruined-{os.getpid()}-{time.monotonic_ns()}"
    at = stage(process("a", f"trap '' TERM; exec -a {word} sleep 600"), process("b", "true"))
    at.child.start()
    at.until_told(ProcessesRun)
    ruin(at, word)
    died = at.until_told(RunnerEnded)
    assert not died.is_over
    at.told.clear()
    at.child.start()
    again = at.until_told(RunnerEnded)
    assert (again.status.state, again.is_over) == ("TASK_LOST", False)
    assert "damaged" in again.status.message
    assert with_words(word), "it lives, and the leash is held"
    at.told.clear()
    at.child.force()
    over = at.until_told(RunnerEnded)
    assert over.is_over and not with_words(word)
    assert over.status.state == "TASK_LOST" and "no Thrift type" in over.status.message


def test_a_task_that_is_over_already_is_not_run_again(stage: Make) -> None:
    at = stage(process("a", "echo once >> log"))
    for _ in range(2):
        at.told.clear()
        at.child.start()
        assert at.until_told(RunnerEnded).status.state == "TASK_FINISHED"
    assert (at.sandbox / "log").read_text() == "once\n"
