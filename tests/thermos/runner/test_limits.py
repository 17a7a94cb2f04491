"""What the system refuses, what nobody can kill, and what whoever started the runner holds in his hand."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import Box, process, until
from thermos.formats import checkpoint
from thermos.host import coordinator, proc
from thermos.states import ProcessState, TaskState

P = ProcessState

#: A uid that no user has: nothing else counts against its limits.
NAMELESS = 54321


def test_too_few_pids_delay_and_fail_nothing_and_are_told_once(box: Box) -> None:
    """Run by a uid without a name, which has one made of its number."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (14, 14))

    task = [process(f"p{number}", "sleep 3.3", min_duration=1) for number in range(9)]
    assert box.run(task, user=NAMELESS, prepare=few) == 0, box.story()
    assert box.task_state is TaskState.SUCCESS
    ends = [state for number in range(9) for state in box.states(f"p{number}")]
    assert ends.count(P.SUCCESS) == 9
    assert set(ends) <= {P.SUCCESS, P.LOST}
    told = [note for note in box.notes if note.startswith("launch: ")]
    assert len(told) == 1, box.notes
    header = box.state.header
    assert header is not None
    assert (header.user, header.uid) == (str(NAMELESS), NAMELESS)


def test_descriptors_of_high_numbers_are_no_trouble(box: Box) -> None:
    """More than select() takes: a runner that watches a thousand adopted coordinators has such."""
    ours = os.memfd_create("filler")
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 3000:
            pytest.skip(f"this system lets us open {hard} files only")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        fillers = [fcntl.fcntl(ours, fcntl.F_DUPFD, 100) for _ in range(1500)]
        for fd in fillers:
            stack.callback(os.close, fd)
        logger = {"destination": "both", "mode": "rotate", "rotate": {"log_size": 1000, "backups": 2}}
        task = [process("p", "seq 1000; ls /proc/self/fd >&2", logger=logger)]
        assert box.run(task, pass_fds=fillers) == 0
    assert box.states("p") == [P.SUCCESS], box.story()
    assert box.log("p").endswith("1000\n")
    assert box.log("p", "stderr").split() == ["0", "1", "2", "3"]  # 3: what ls reads


# -- what nobody can kill ------------------------------------------------------------------------------------------


@pytest.fixture(name="freezer")
def _freezer() -> Iterator[Path]:
    """A version 1 freezer group: what is frozen in it does not even die of SIGKILL."""
    group = Path(f"/sys/fs/cgroup/freezer/thermos-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no version 1 freezer that we may use here: {error}")
    yield group
    (group / "freezer.state").write_text("THAWED")
    until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
    group.rmdir()


@pytest.mark.slow
def test_what_cannot_be_killed_is_named_and_does_not_keep_the_task(box: Box, freezer: Path) -> None:
    runner = box.start([process("p", "exec sleep 600"), process("q", "exec sleep 600")], "--no_cgroup")
    box.until_running("p", "q")
    run = box.last("p")
    (freezer / "cgroup.procs").write_text(str(run.pid))
    (freezer / "freezer.state").write_text("FROZEN")
    until(lambda: (freezer / "freezer.state").read_text() == "FROZEN\n", "it is frozen")
    runner.send_signal(signal.SIGUSR2)
    assert box.wait(runner, 40) == 0
    assert box.task_state is TaskState.LOST
    assert (box.states("p"), box.states("q")) == ([P.KILLED], [P.KILLED])
    assert box.last("p").reason == "it could not be killed"
    assert f"survivors: could not be killed: pid {run.pid}, of process p" in box.notes
    assert proc.is_alive(run.pid or 0, run.pid_start_ticks)
    (freezer / "freezer.state").write_text("THAWED")
    until(lambda: not proc.is_alive(run.coordinator_pid or 0, run.coordinator_start_ticks), "all of it ends")


# -- the executor's hand -------------------------------------------------------------------------------------------


def start_with_pipe(box: Box, flag: str, task: Any, *flags: str) -> tuple[int, int]:
    """Start a runner that is given one end of a pipe; our end, and the runner's pid."""
    read, write = os.pipe()
    ours, theirs = (write, read) if flag == "--leash_fd" else (read, write)
    runner = box.start(task, f"{flag}={theirs}", *flags, pass_fds=(theirs,))
    os.close(theirs)
    return ours, runner.pid


def test_the_leash_ends_the_task_as_lost_at_once(box: Box) -> None:
    leash, _ = start_with_pipe(box, "--leash_fd", [process("p", "trap '' TERM; echo >up; sleep 600; sleep 600")])
    box.until_file("up")
    os.close(leash)
    assert box.wait(box.runners[0], 15) == 0
    assert (box.task_state, box.states("p")) == (TaskState.LOST, [P.KILLED])
    assert box.state.statuses[-1].reason == "the executor died"


def test_a_runner_that_hangs_does_not_keep_the_task_of_a_dead_executor(box: Box) -> None:
    """Whether the coordinator only waits or copies output as well."""
    logged = {"logger": {"destination": "file", "mode": "rotate"}}
    task = [
        process("p", "setsid sleep 600 & trap '' TERM; echo >up; wait; sleep 600"),
        process("q", "setsid sleep 600 & echo >too; wait", **logged),
    ]
    leash, pid = start_with_pipe(box, "--leash_fd", task, "--no_cgroup")
    for name, file in (("p", "up"), ("q", "too")):
        box.until_file(file)
        box.until_running(name)
    runs = [box.last("p"), box.last("q")]
    trees = [each for run in runs for each in (run.pid or 0, *proc.children(run.pid or 0))]
    assert len(trees) >= 4
    os.kill(pid, signal.SIGSTOP)
    os.close(leash)
    assert box.runners[0].wait(coordinator.HUNG_S * 3) == -signal.SIGKILL
    for run in runs:
        until(lambda run=run: not proc.is_alive(run.coordinator_pid or 0, run.coordinator_start_ticks), "it ends")  # type: ignore[misc]
    assert [each for each in trees if proc.is_alive(each, None)] == []
    for name in ("p", "q"):
        last = checkpoint.decode(Path(box.root, f"checkpoints/task/coordinator.{name}").read_bytes()).records[-1]
        assert last.state is P.KILLED  # type: ignore[union-attr]
        assert last.certificate.killed_by == "the executor died"  # type: ignore[union-attr]


@pytest.mark.parametrize("runner_first", [True, False])
def test_without_runner_and_executor_a_coordinator_kills_its_tree_and_says_so(box: Box, runner_first: bool) -> None:
    task = [process("p", "setsid sleep 600 & echo >up; wait; sleep 600")]
    leash, pid = start_with_pipe(box, "--leash_fd", task, "--no_cgroup")
    box.until_file("up")
    box.until_running("p")
    run = box.last("p")
    below = proc.children(run.pid or 0)
    if runner_first:
        os.kill(pid, signal.SIGKILL)
        box.runners[0].wait()
        os.close(leash)
    else:
        os.kill(pid, signal.SIGSTOP)  # the runner cannot be quicker than we
        os.close(leash)
        os.kill(pid, signal.SIGKILL)
        box.runners[0].wait()
    until(lambda: not proc.is_alive(run.coordinator_pid or 0, run.coordinator_start_ticks), "it ends")
    assert [each for each in (run.pid, *below) if proc.is_alive(each or 0, None)] == []
    records = checkpoint.decode(Path(box.root, "checkpoints/task/coordinator.p").read_bytes()).records
    last = records[-1]
    assert last.state is P.KILLED  # type: ignore[union-attr]
    assert last.certificate.killed_by == "the executor died"  # type: ignore[union-attr]


def test_a_report_is_the_stream_itself(box: Box) -> None:
    report, _ = start_with_pipe(box, "--report_fd", [process("p", "ls /proc/self/fd")])
    assert box.wait(box.runners[0]) == 0
    data = b"".join(iter(lambda: os.read(report, 1 << 16), b""))
    os.close(report)
    assert data == Path(box.root, "checkpoints/task/runner").read_bytes()
    assert box.log("p").split() == ["0", "1", "2", "3"]


def test_a_report_that_nobody_reads_holds_nothing_up(box: Box) -> None:
    report, _ = start_with_pipe(box, "--report_fd", [process(f"p{n}", "true") for n in range(20)])
    fcntl.fcntl(report, fcntl.F_SETPIPE_SZ, 4096)
    assert box.wait(box.runners[0]) == 0
    os.close(report)
    assert box.task_state is TaskState.SUCCESS


def test_a_task_id_is_made_of_name_and_time(box: Box) -> None:
    words = [
        word for word in box.command({"name": "hello", "processes": [process("p", "true")]}) if "task_id" not in word
    ]
    pid = os.posix_spawn(words[0], words, os.environ)
    assert os.waitpid(pid, 0)[1] == 0
    [task_id] = os.listdir(f"{box.root}/tasks/finished")
    name, stamp, rest = task_id.split("-", 2)
    assert (name, len(stamp)) == ("hello", 8)
    assert [len(part) for part in rest.split(".")] == [6, 6]
