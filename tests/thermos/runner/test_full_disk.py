"""A disk that is full, and has room again: for logs, for the checkpoint, for both. On a small one of its own.

It is mounted in a mount namespace of the runner's; the test sees it through ``/proc/RUNNER/root``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.box import IS_ROOT, Box, process, until
from thermos.formats import checkpoint
from thermos.host import proc
from thermos.records import Note, ProcessStatus, TaskStatus
from thermos.states import ProcessState, TaskState

P = ProcessState


class Disk:
    """A file system of *kilobytes* at *directory*, there only for what ``words`` starts."""

    def __init__(self, directory: str, kilobytes: int) -> None:
        os.makedirs(directory)
        script = f'mount -t tmpfs -o size={kilobytes}k none {directory} && exec "$@"'
        self.words = ("unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh")
        self._directory = directory
        self._pid = 0

    def seen_by(self, pid: int) -> None:
        self._pid = pid
        until(lambda: os.path.ismount(self.path), "it is mounted")

    @property
    def path(self) -> Path:
        return Path(f"/proc/{self._pid}/root{self._directory}")

    def fill(self) -> None:
        """Take all room there is, to the last byte."""
        with open(self.path / "filler", "ab", buffering=0) as file:
            for size in (1 << 16, 4096, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture(name="disk")
def _disk() -> Callable[[str, int], Disk]:
    probe = ["unshare", "-m", "--propagation", "private", "sh", "-c", "mount -t tmpfs none /mnt"]
    if not IS_ROOT or shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("a disk of its own takes root, and a kernel that lets it mount")
    return Disk


def records(path: Path) -> list[object]:
    """The records of a stream as far as it can be read."""
    return [entry.record for entry in checkpoint.decode(path.read_bytes()).entries] if path.exists() else []


def states(path: Path, name: str) -> list[str]:
    return [
        record.state.name for record in records(path) if isinstance(record, ProcessStatus) and record.process == name
    ]


LOGGERS = {
    "plain": {"destination": "file"},
    "rotating": {"destination": "file", "mode": "rotate", "rotate": {"log_size": 100_000, "backups": 2}},
    "both": {"destination": "both"},
}


def test_a_full_disk_for_logs_stops_no_process(box: Box, disk: Callable[[str, int], Disk]) -> None:
    """Each writes on and on; output is dropped, the task ends well, and what is copied is told of."""
    small = disk(box.sandbox, 400)
    os.makedirs(f"{box.path}/flags")
    cmdline = (
        "head -c 300000 /dev/zero | tr '\\0' '\\n'; echo >$F/full-$N; until [ -e $F/free ]; do sleep 0.05; done;"
        "head -c 300000 /dev/zero | tr '\\0' '\\n'; echo last words >&2; exit 4"
    )
    task = [
        process(name, cmdline.replace("$F", f"{box.path}/flags").replace("$N", name), logger=logger)
        for name, logger in LOGGERS.items()
    ]
    runner = box.start({"processes": task, "max_failures": 0}, before=small.words)
    small.seen_by(runner.pid)
    until(lambda: len(os.listdir(f"{box.path}/flags")) == 3, lambda: f"all have written; {box.story()}")
    small.fill()
    small.free()
    Path(f"{box.path}/flags/free").touch()
    assert box.wait(runner) == 0
    assert {name: box.last(name).return_code for name in LOGGERS} == dict.fromkeys(LOGGERS, 4)
    assert box.task_state is TaskState.SUCCESS
    told = {note.process for note in box.state.notes if "No space left" in note.text}
    assert told >= {"both"}, box.notes


def test_a_checkpoint_that_is_full_goes_on_with_its_reserve(box: Box, disk: Callable[[str, int], Disk]) -> None:
    """Some processes end while there is no room at all: all of it is told, at once, and in order."""
    small = disk(box.root, 1024)
    task = [process(f"p{number}", "until [ -e go ]; do sleep 0.1; done") for number in range(40)]
    runner = box.start(task, before=small.words)
    small.seen_by(runner.pid)
    stream = small.path / "checkpoints/task/runner"
    until(lambda: [states(stream, f"p{n}")[-1:] for n in range(40)] == [["RUNNING"]] * 40, "all run")
    small.fill()
    root = os.open(small.path, os.O_RDONLY | os.O_DIRECTORY)
    Path(box.sandbox, "go").touch()
    assert box.wait(runner) == 0, box.story()
    try:
        stream = Path(f"/proc/self/fd/{root}/checkpoints/task/runner")
        assert [states(stream, f"p{n}")[-1] for n in range(40)] == ["SUCCESS"] * 40
        last = [record for record in records(stream) if isinstance(record, TaskStatus)][-1]
        assert last.state is TaskState.SUCCESS
        assert os.path.exists(f"/proc/self/fd/{root}/tasks/finished/task")
    finally:
        os.close(root)


def test_a_coordinator_holds_the_end_of_its_run_until_there_is_room(box: Box, disk: Callable[[str, int], Disk]) -> None:
    """Its last record is too long for what is left of its block, and nothing could be reserved for it."""
    small = disk(box.root, 1024)
    task = [process("p", "head -c 2000 /dev/zero | tr '\\0' x >&2; exit 1", max_failures=2, min_duration=2)]
    runner = box.start(task, before=small.words)
    small.seen_by(runner.pid)
    stream = small.path / "checkpoints/task/coordinator.p"
    until(lambda: states(stream, "p")[-1:] == ["FAILED"], "its first run ends")
    small.fill()
    until(
        lambda: states(stream, "p")[3:] == ["FORKED", "RUNNING"], f"its second run: {records(stream.parent / 'runner')}"
    )
    [shell] = [each.pid for each in records(stream)[-1:] if isinstance(each, ProcessStatus)]
    until(lambda: not proc.is_alive(shell or 0, None), "its second run ends")
    looks: list[list[str]] = []

    def nothing_more() -> bool:
        looks.append(states(stream, "p")[3:])
        return len(looks) >= 50

    until(nothing_more, "half a second")
    assert looks[-1] == ["FORKED", "RUNNING"], "there was room"
    small.free()
    root = os.open(small.path, os.O_RDONLY | os.O_DIRECTORY)
    assert box.wait(runner) == 0
    try:
        stream = Path(f"/proc/self/fd/{root}/checkpoints/task/runner")
        assert states(stream, "p") == ["WAITING", "FORKED", "RUNNING", "FAILED"] * 2
    finally:
        os.close(root)


def test_records_are_held_while_there_is_no_room_and_written_when_there_is(
    box: Box, disk: Callable[[str, int], Disk]
) -> None:
    """More happens than the reserve has room for. Nothing is started that is not recorded; nothing is lost."""
    small = disk(box.root, 1024)
    again = "echo >>runs-$N; until [ -e full ]; do sleep 0.05; done; [ -e free ]"
    task = [process(f"p{n}", again.replace("$N", str(n)), max_failures=0) for n in range(6)]
    backoff = {f"p{n}": {"backoff": {"initial_s": 0.05, "factor": 1, "max_s": 0.05}} for n in range(6)}
    runner = box.start({"processes": task, "x_processes": backoff}, before=small.words)
    small.seen_by(runner.pid)
    stream = small.path / "checkpoints/task/runner"
    until(lambda: [states(stream, f"p{n}")[-1:] for n in range(6)] == [["RUNNING"]] * 6, "all run")
    small.fill()
    Path(box.sandbox, "full").touch()

    def runs() -> list[int]:
        files = [Path(box.sandbox, f"runs-{n}") for n in range(6)]
        return [len(file.read_text()) if file.exists() else 0 for file in files]

    seen = [(0, [0])]

    def stalled() -> bool:
        seen.append((stream.stat().st_size, runs()))
        return len(seen) > 100 and seen[-100:].count(seen[-1]) == 100

    until(stalled, lambda: f"it stalls: {seen[-1]}")
    assert runner.poll() is None
    assert sum(seen[-1][1]) > 6
    Path(box.sandbox, "free").touch()
    small.free()
    root = os.open(small.path, os.O_RDONLY | os.O_DIRECTORY)
    assert box.wait(runner) == 0, box.story()
    try:
        stream = Path(f"/proc/self/fd/{root}/checkpoints/task/runner")
        found = checkpoint.decode(stream.read_bytes())
        assert found.damage is None
        assert [states(stream, f"p{n}")[-1] for n in range(6)] == ["SUCCESS"] * 6
        for n in range(6):
            assert states(stream, f"p{n}").count("RUNNING") == runs()[n]
        assert any(isinstance(record, Note) and record.kind == "disk" for record in found.records)
    finally:
        os.close(root)


def test_a_kill_works_while_there_is_no_room(box: Box, disk: Callable[[str, int], Disk]) -> None:
    small = disk(box.root, 512)
    runner = box.start([process("p", "exec sleep 600"), process("f", "true", final=True)], before=small.words)
    small.seen_by(runner.pid)
    stream = small.path / "checkpoints/task/runner"
    until(lambda: states(stream, "p")[-1:] == ["RUNNING"], "it runs")
    small.fill()
    runner.send_signal(signal.SIGUSR1)
    root = os.open(small.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until(lambda: runner.poll() is not None or len(states(stream, "p")) == 4, "it is dead")
        if runner.poll() is None:
            small.free()
        assert box.wait(runner) == 0
        stream = Path(f"/proc/self/fd/{root}/checkpoints/task/runner")
        assert [record for record in records(stream) if isinstance(record, TaskStatus)][-1].state is TaskState.KILLED
    finally:
        os.close(root)
