"""Ends that are asked for: politely, within a budget, at once; and who is told that they asked."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.box import Box, process, until
from thermos.formats import checkpoint
from thermos.host import proc
from thermos.records import ProcessStatus
from thermos.states import ProcessState, TaskState

P = ProcessState


def listens(out: str) -> str:
    """A shell that says which signal it got; a trap interrupts its ``wait``."""
    traps = "".join(f"trap 'echo {name} >>{out}; {then}' {name}; " for name, then in SIGNALS.items())
    return f"{traps} echo up >>{out}; while :; do sleep 600 & wait; done"


SIGNALS = {"TERM": "exit 0", "HUP": "", "INT": "", "USR1": ""}


def test_a_kill_terms_the_shell_and_daemons_and_then_runs_finalizers(box: Box) -> None:
    """What has left its parents has until its shell ends, which waits here."""
    daemons = {name: listens(name).replace("'", "'\\''") for name in ("daemon", "same")}
    shell = f"""
        (setsid bash -c '{daemons["daemon"]}' &)
        (bash -c '{daemons["same"]}' &)
        trap 'echo TERM >>shell; until grep TERM daemon && grep TERM same; do sleep 0.05; done; exit 0' TERM
        echo up >>shell
        while :; do sleep 600 & wait; done
    """
    final = process("f", "cat shell daemon same >told", final=True)
    runner = box.start({"processes": [process("p", shell), final], "finalization_wait": 30})
    for name in ("shell", "daemon", "same"):
        box.until_file(name)
    runner.send_signal(signal.SIGUSR1)
    assert box.wait(runner) == 0
    assert Path(box.sandbox, "told").read_text() == "up\nTERM\n" * 3, box.story()
    assert [status.state.name for status in box.state.statuses] == ["ACTIVE", "CLEANING", "FINALIZING", "KILLED"]
    assert (box.states("p"), box.states("f")) == ([P.SUCCESS], [P.SUCCESS])


def test_the_reason_names_who_asked(box: Box) -> None:
    runner = box.start([process("p", "exec sleep 600")])
    box.until_running("p")
    runner.send_signal(signal.SIGUSR1)
    assert box.wait(runner) == 0
    reason = box.state.statuses[-1].reason
    assert reason is not None
    assert reason.startswith(f"SIGUSR1 from pid {os.getpid()} ")
    assert reason.endswith(f"of uid {os.getuid()}")
    assert (box.last("p").state, box.last("p").return_code) == (P.KILLED, -15)


def test_the_budget_is_kept_by_what_ignores_it(box: Box) -> None:
    task = {
        "processes": [process("p", "trap '' TERM; echo >up; while :; do sleep 600; done")],
        "finalization_wait": 1,
    }
    runner = box.start(task)
    box.until_file("up")
    runner.send_signal(signal.SIGUSR1)
    assert box.wait(runner, 8) == 0
    first, last = box.state.statuses[1], box.state.statuses[-1]
    assert 900 <= last.timestamp_ms - first.timestamp_ms < 6000
    assert (box.task_state, box.last("p").return_code) == (TaskState.KILLED, -9)


def test_a_shorter_deadline_than_the_tasks_own_counts(box: Box) -> None:
    task = {"processes": [process("p", "trap '' TERM; echo >up; while :; do sleep 600; done")], "finalization_wait": 99}
    runner = box.start(task, "--preemption_wait=0.5")
    box.until_file("up")
    runner.send_signal(signal.SIGUSR1)
    assert box.wait(runner, 8) == 0
    assert box.task_state is TaskState.KILLED


@pytest.mark.parametrize("stage", ["ACTIVE", "FINALIZING"])
def test_usr2_is_at_once_and_lost(box: Box, stage: str) -> None:
    ignores = "trap '' TERM; echo >up-$NAME; while :; do sleep 600; done"
    regular = ignores.replace("$NAME", "p") if stage == "ACTIVE" else "true"
    final = process("f", ignores.replace("$NAME", "f"), final=True)
    runner = box.start({"processes": [process("p", regular), final], "finalization_wait": 99})
    box.until_file("up-p" if stage == "ACTIVE" else "up-f")
    runner.send_signal(signal.SIGUSR2)
    assert box.wait(runner, 8) == 0
    assert box.task_state is TaskState.LOST
    assert (box.states("f") == []) == (stage == "ACTIVE")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_once_is_graceful_and_twice_is_at_once(box: Box, signum: signal.Signals) -> None:
    task = {"processes": [process("p", "trap '' TERM; echo >up; while :; do sleep 600; done")], "finalization_wait": 99}
    runner = box.start(task)
    box.until_file("up")
    runner.send_signal(signum)
    box.until_state(TaskState.CLEANING)
    assert proc.is_alive(box.last("p").pid or 0, None)
    runner.send_signal(signum)
    assert box.wait(runner, 8) == 0
    assert box.task_state is TaskState.KILLED


def test_a_kill_while_finalizing_lets_the_finalizer_end(box: Box) -> None:
    task = {
        "processes": [process("p", "true"), process("f", "echo >up; until [ -e go ]; do sleep 0.05; done", final=True)],
    }
    runner = box.start(task)
    box.until_file("up")
    runner.send_signal(signal.SIGUSR1)
    until(lambda: box.state.statuses[-1].forced_end is TaskState.KILLED, "told")
    Path(box.sandbox, "go").touch()
    assert box.wait(runner) == 0
    assert (box.states("f"), box.task_state) == ([P.SUCCESS], TaskState.KILLED)


def test_a_kill_from_outside_with_waiting_runs_starts_none_of_them(box: Box) -> None:
    """Taking over a dead runner's task only to kill it: what was to start next must not."""
    started = "echo >>started-$NAME; exec sleep 600"
    task = [process(name, started.replace("$NAME", name)) for name in "abc"]
    runner = box.start({"processes": task, "max_concurrency": 1}, "--no_cgroup")
    box.until_file("started-a")
    box.until_running("a")
    runner.kill()
    runner.wait()
    os.kill(box.last("a").coordinator_pid or 0, signal.SIGKILL)
    again = box.start({"processes": task, "max_concurrency": 1}, "--takeover", "--kill=KILLED", "--kill_budget=0")
    assert box.wait(again) == 0
    assert (box.task_state, sorted(os.listdir(box.sandbox))) == (
        TaskState.KILLED,
        [".logs", ".thermos-sandbox", "started-a"],
    )


@contextlib.contextmanager
def somebody() -> Iterator[int]:
    """A process of nobody's task."""
    pid = os.posix_spawnp("sleep", ["sleep", "600"], {})
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def forge(box: Box, change: Callable[[ProcessStatus], ProcessStatus | None]) -> None:
    """Write the runner's stream anew, each process record changed, or left out."""
    path = Path(box.root, "checkpoints/task/runner")
    changed = [
        change(record) if isinstance(record, ProcessStatus) else record
        for record in checkpoint.decode(path.read_bytes()).records
    ]
    path.write_bytes(b"".join(checkpoint.encode(record) for record in changed if record is not None))


@pytest.fixture(name="abandoned")
def _abandoned(box: Box) -> Box:
    """A task whose runner is dead, and whose process runs on."""
    runner = box.start([process("p", "exec sleep 600")], "--no_cgroup")
    box.until_running("p")
    runner.kill()
    runner.wait()
    return box


@pytest.mark.parametrize("knows_its_start", [False, True])
def test_a_stranger_named_as_coordinator_is_left_alone(abandoned: Box, knows_its_start: bool) -> None:
    """A coordinator that has not said RUNNING is killed itself; one that does not lead its session is none."""
    run = abandoned.last("p")
    os.kill(run.coordinator_pid or 0, signal.SIGKILL)
    until(lambda: not proc.is_alive(run.pid or 0, run.pid_start_ticks), "its shell is dead")
    with somebody() as stranger:
        ticks = proc.start_ticks(stranger) if knows_its_start else run.coordinator_start_ticks

        def name_the_stranger(record: ProcessStatus) -> ProcessStatus | None:
            if record.state is P.FORKED:
                return record._replace(coordinator_pid=stranger, coordinator_start_ticks=ticks)
            return record if record.state is P.WAITING else None

        forge(abandoned, name_the_stranger)
        Path(abandoned.root, "checkpoints/task/coordinator.p").unlink()
        again = abandoned.start([], "--takeover", "--kill=KILLED", "--kill_budget=0")
        assert abandoned.wait(again) == 0
        assert proc.is_alive(stranger, None)
        assert abandoned.task_state is TaskState.KILLED


@pytest.mark.parametrize("knows_its_start", [False, True])
def test_a_stranger_named_as_shell_is_left_alone(abandoned: Box, knows_its_start: bool) -> None:
    """A shell is one only in the session of its coordinator, which lives here."""
    run = abandoned.last("p")
    with somebody() as stranger:
        ticks = proc.start_ticks(stranger) if knows_its_start else run.pid_start_ticks

        def name_the_stranger(record: ProcessStatus) -> ProcessStatus:
            return record._replace(pid=stranger, pid_start_ticks=ticks) if record.pid else record

        forge(abandoned, name_the_stranger)
        again = abandoned.start([], "--takeover", "--kill=KILLED", "--kill_budget=60")
        assert abandoned.wait(again) == 0
        assert not proc.is_alive(run.pid or 0, run.pid_start_ticks)
        assert proc.is_alive(stranger, None)
        assert abandoned.task_state is TaskState.KILLED
