"""Reading a root that somebody else writes, owns, forges or deletes at this moment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from thermos import checkpoints
from thermos.checkpoints import TaskReading, is_owned, list_tasks, read_stream, read_task
from thermos.formats import checkpoint, paths
from thermos.formats.thrift_binary import encode_struct
from thermos.records import Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

#: Whatever lies there, reading it takes no longer than this.
pytestmark = pytest.mark.timeout(20)

ACTIVE = TaskStatus(TaskState.ACTIVE, 1000, 42, 0)
HEADER = RunnerHeader("t", 1000, sandbox="/s")
WAITING = ProcessStatus(0, "p", ProcessState.WAITING)
FORKED = ProcessStatus(1, "p", ProcessState.FORKED, fork_time=1.5, coordinator_pid=7)
STORY: list[Record] = [ACTIVE, HEADER, WAITING, FORKED]


def write(root: Path, records: list[Record], tail: bytes = b"", task_id: str = "t") -> Path:
    """A task's stream under *root*."""
    path = Path(paths.runner_checkpoint(str(root), task_id))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(checkpoint.encode, records)) + tail)
    return path


def told(task: checkpoints.TaskCheckpoint) -> list[tuple[int | None, str]]:
    return [(finding.offset, finding.detail) for finding in task.findings]


# --- Reading one task -----------------------------------------------------------------------------------------


def test_a_task_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, STORY)
    os.utime(path, (5, 1234567890.5))
    task = read_task(str(tmp_path), "t")
    assert task.findings == []
    assert (task.root, task.task_id, task.exists, task.mtime_s) == (str(tmp_path), "t", True, 1234567890.5)
    assert task.state.header == HEADER
    assert task.state.task_state is TaskState.ACTIVE
    assert task.state.processes["p"].last.state is ProcessState.FORKED


def test_a_root_may_be_a_link_and_end_in_a_slash(tmp_path: Path) -> None:
    write(tmp_path / "real", STORY)
    (tmp_path / "root").symlink_to("real")
    for root in ("root", "root/", "real/"):
        task = read_task(f"{tmp_path}/{root}", "t")
        assert (task.findings, task.state.header) == ([], HEADER)


@pytest.mark.parametrize("missing", ["root", "checkpoints", "task", "runner"])
def test_what_is_not_there_is_a_finding(tmp_path: Path, missing: str) -> None:
    path = write(tmp_path, STORY)
    victim = {"root": tmp_path, "checkpoints": path.parent.parent, "task": path.parent, "runner": path}[missing]
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    task = read_task(str(tmp_path), "t")
    assert told(task) == [(None, "No such file or directory")]
    assert (task.exists, task.mtime_s, task.state.header) == (False, None, None)


@pytest.mark.parametrize("task_id", ["", ".", "..", "../checkpoints/t", "t/../t", "/", "a\0b", "x" * 300])
def test_a_task_id_that_leads_elsewhere_reads_nothing(tmp_path: Path, task_id: str) -> None:
    write(tmp_path, STORY)
    shutil.copy(tmp_path / "checkpoints" / "t" / "runner", tmp_path / "checkpoints" / "runner")
    task = read_task(str(tmp_path), task_id)
    assert task.state.header is None
    assert len(task.findings) == 1


@pytest.mark.parametrize("linked", ["checkpoints", "checkpoints/t", "checkpoints/t/runner"])
def test_a_link_below_the_root_is_not_followed(tmp_path: Path, linked: str) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    write(root, STORY)
    write(other, STORY)
    victim = root / linked
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    victim.symlink_to(other / linked)
    task = read_task(str(root), "t")
    assert task.state.header is None
    assert task.exists
    (finding,) = task.findings
    assert finding.path == paths.runner_checkpoint(str(root), "t")
    assert finding.detail in ("Not a directory", "Too many levels of symbolic links")


@pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "null", "zero"])
def test_what_is_no_file_is_a_finding_and_nobody_waits(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, STORY)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/runner")  # a path of its own may be longer than 107 bytes
        os.close(here)
    elif os.geteuid() == 0:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3 if kind == "null" else 5))
    else:
        pytest.skip("only root can make a device")
    task = read_task(str(tmp_path), "t")
    assert len(task.findings) == 1
    assert task.exists
    assert is_owned(str(path)) in (None, False)
    with pytest.raises(OSError):  # of what kind depends on what lies there
        read_stream(str(path))


def test_a_stream_that_may_not_be_read_is_a_finding(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    write(tmp_path, STORY).chmod(0)
    assert told(read_task(str(tmp_path), "t")) == [(None, "Permission denied")]


def test_a_stream_without_a_header_says_so(tmp_path: Path) -> None:
    write(tmp_path, [ACTIVE])
    task = read_task(str(tmp_path), "t")
    assert told(task) == [(None, "holds no header yet")]
    assert task.state.task_state is TaskState.ACTIVE


def test_a_torn_end_is_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path, STORY, tail=b"\0\0\0\x50\x0c")
    task = read_task(str(tmp_path), "t")
    assert told(task) == [(path.stat().st_size - 5, "the stream ends within a frame (1 of 80 bytes)")]
    assert task.state.processes["p"].last.seq == 1


def test_what_follows_a_move_that_is_illegal_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path, [*STORY, ProcessStatus(2, "p", ProcessState.SUCCESS), TaskStatus(TaskState.CLEANING, 2, 1, 0)])
    task = read_task(str(tmp_path), "t")
    offset = sum(len(checkpoint.encode(record)) for record in STORY)
    assert told(task) == [(offset, "process 'p': FORKED → SUCCESS (record 2); the rest is not believed")]
    assert task.state.task_state is TaskState.ACTIVE


def test_a_gap_is_not_believed_and_no_torn_end_is_told_behind_it(tmp_path: Path) -> None:
    write(tmp_path, [*STORY, ProcessStatus(9, "p", ProcessState.RUNNING)], tail=b"\0")
    task = read_task(str(tmp_path), "t")
    assert len(task.findings) == 1
    assert "record 9 follows record 1; the rest is not believed" in task.findings[0].detail


def test_records_that_are_there_twice_are_told_and_skipped(tmp_path: Path) -> None:
    write(tmp_path, [*STORY, WAITING, FORKED, ProcessStatus(2, "p", ProcessState.RUNNING)])
    task = read_task(str(tmp_path), "t")
    assert [detail for _, detail in told(task)] == ["a record that was there before; skipped"] * 2
    assert task.state.processes["p"].last.state is ProcessState.RUNNING


def test_a_flood_of_faults_is_not_told_in_full(tmp_path: Path) -> None:
    write(tmp_path, [*STORY, *([WAITING] * 1000)])
    assert len(read_task(str(tmp_path), "t").findings) == checkpoints.MAX_FINDINGS


@pytest.mark.parametrize("version, findings", [(None, 0), (checkpoint.VERSION, 0), (checkpoint.VERSION + 1, 1)])
def test_a_newer_format_is_told_and_read_as_far_as_it_goes(tmp_path: Path, version: int | None, findings: int) -> None:
    write(tmp_path, [ACTIVE, HEADER._replace(format_version=version)])
    task = read_task(str(tmp_path), "t")
    assert len(task.findings) == findings
    assert task.state.header is not None
    assert all("newer version" in finding.detail for finding in task.findings)


def test_a_finding_says_where(tmp_path: Path) -> None:
    path = write(tmp_path, STORY, tail=b"\0\0\0\1\xff")
    (finding,) = read_task(str(tmp_path), "t").findings
    assert str(finding).startswith(f"{path} at byte {path.stat().st_size - 5}: ")


def test_a_long_stream_is_read_in_pieces(tmp_path: Path) -> None:
    notes: list[Record] = [Note(n, "kind", "x" * 1000) for n in range(3000)]
    write(tmp_path, [*STORY, *notes])
    task = read_task(str(tmp_path), "t")
    assert task.findings == []
    assert task.state.notes == notes


def test_a_long_stream_costs_no_more_memory_than_what_is_kept(tmp_path: Path) -> None:
    run = [ProcessState.WAITING, ProcessState.FORKED, ProcessState.LOST]
    path = write(tmp_path, [ACTIVE, HEADER])
    with path.open("ab") as file:
        for seq in range(900):
            state = run[seq % 3]
            move = ProcessStatus(seq, "p", state, reason="x" * 30_000 if state is ProcessState.LOST else None)
            payload = b"\x0c\0\2" + encode_struct(checkpoint.PROCESS_STATUS, move) + b"\0"
            file.write(len(payload).to_bytes(4, "big") + payload)  # without a checksum, which takes time
    assert path.stat().st_size > 8 << 20
    tracemalloc.start()
    try:
        task = read_task(str(tmp_path), "t", keep_runs=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert task.findings == []
    assert task.state.processes["p"].total == 300
    assert len(task.state.processes["p"].runs) == 2
    assert peak < 5 << 20


def test_a_huge_sparse_file_costs_neither_time_nor_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_STREAM_BYTES", 1 << 50)  # so that reading on would take for ever
    path = write(tmp_path, STORY)
    size = path.stat().st_size
    os.truncate(path, 1 << 40)
    tracemalloc.start()
    try:
        task = read_task(str(tmp_path), "t")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [offset for offset, _ in told(task)] == [size]
    assert task.state.header == HEADER
    assert peak < 8 << 20


def test_a_stream_beyond_any_measure_is_read_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = write(tmp_path, STORY).stat().st_size
    write(tmp_path, [*STORY, ProcessStatus(2, "p", ProcessState.RUNNING)])
    monkeypatch.setattr(checkpoints, "MAX_STREAM_BYTES", size + 3)
    task = read_task(str(tmp_path), "t")
    assert told(task) == [(size, f"more than {size + 3} bytes; the rest was not read")]
    assert task.state.processes["p"].last.state is ProcessState.FORKED


def test_reading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    write(tmp_path, STORY, task_id="t")
    write(tmp_path, STORY, tail=b"\0\0\0\1\xff", task_id="damaged")
    (tmp_path / "checkpoints" / "fifo").mkdir()
    os.mkfifo(tmp_path / "checkpoints" / "fifo" / "runner")
    before = sorted(os.listdir("/proc/self/fd"))
    for task_id in ("t", "damaged", "fifo", "missing", "..", "a\0b"):
        read_task(str(tmp_path), task_id)
        is_owned(paths.runner_checkpoint(str(tmp_path), task_id.replace("\0", "")))
    assert sorted(os.listdir("/proc/self/fd")) == before


# --- Listing tasks --------------------------------------------------------------------------------------------


def make_task_files(root: Path, *names: str) -> None:
    for name in names:
        path = root / "tasks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def test_tasks_are_listed_by_where_their_file_lies(tmp_path: Path) -> None:
    make_task_files(tmp_path, "active/a", "active/b", "finished/c", "elsewhere/d")
    assert sorted(list_tasks(str(tmp_path))) == [("active", "a"), ("active", "b"), ("finished", "c")]


@pytest.mark.parametrize("there", [None, "tasks", "tasks/active"])
def test_a_root_without_tasks_has_none(tmp_path: Path, there: str | None) -> None:
    if there is not None:
        (tmp_path / there).mkdir(parents=True)
    assert list(list_tasks(str(tmp_path / "missing"))) == []
    assert list(list_tasks(str(tmp_path))) == []


def test_a_file_in_place_of_a_directory_has_no_tasks(tmp_path: Path) -> None:
    make_task_files(tmp_path, "finished/c")
    (tmp_path / "tasks" / "active").write_text("")
    assert list(list_tasks(str(tmp_path))) == [("finished", "c")]


def test_garbage_is_not_listed(tmp_path: Path) -> None:
    make_task_files(tmp_path, "active/good", "active/.hidden", "active/.good.tmp")
    directory = tmp_path / "tasks" / "active"
    (directory / "directory").mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "link").symlink_to("good")
    (directory / "dangling").symlink_to("nowhere")
    (directory / "out").symlink_to("/etc/passwd")
    assert list(list_tasks(str(tmp_path))) == [("active", "good")]


def test_odd_names_are_listed_and_can_be_read(tmp_path: Path) -> None:
    names = ["with space", "line\nend", "héllo", "日本語", "-n", "*", "x" * 255]
    raw = b"no\xffutf8"
    make_task_files(tmp_path, *(f"active/{name}" for name in [*names, os.fsdecode(raw)]))
    found = [name for _, name in list_tasks(str(tmp_path))]
    assert sorted(found) == sorted([*names, os.fsdecode(raw)])
    for name in found:
        write(tmp_path, STORY, task_id=name)
        assert read_task(str(tmp_path), name).findings == []


def test_ten_thousand_tasks_are_listed(tmp_path: Path) -> None:
    directory = tmp_path / "tasks" / "finished"
    directory.mkdir(parents=True)
    for number in range(10_000):
        os.close(os.open(directory / str(number), os.O_CREAT | os.O_WRONLY))
    assert len(set(list_tasks(str(tmp_path)))) == 10_000


def test_tasks_that_vanish_while_they_are_listed_and_read_do_no_harm(tmp_path: Path) -> None:
    make_task_files(tmp_path, *(f"active/{n}" for n in range(50)), *(f"finished/{n}" for n in range(50, 60)))
    for number in range(60):
        write(tmp_path, STORY, task_id=str(number))
    read = []
    for count, (_, task_id) in enumerate(list_tasks(str(tmp_path))):
        if count == 5:
            shutil.rmtree(tmp_path / "checkpoints")
            shutil.rmtree(tmp_path / "tasks")
        read.append(read_task(str(tmp_path), task_id))
    assert [task.exists for task in read[:5]] == [True] * 5
    assert not any(task.exists for task in read[5:])
    assert all(task.findings for task in read[5:])


def test_a_task_whose_directory_is_swapped_for_a_link_meanwhile_is_not_read(tmp_path: Path) -> None:
    make_task_files(tmp_path, "active/t")
    write(tmp_path, STORY)
    (found,) = list_tasks(str(tmp_path))
    (tmp_path / "checkpoints" / "t").rename(tmp_path / "away")
    (tmp_path / "checkpoints" / "t").symlink_to(tmp_path / "away")
    assert read_task(str(tmp_path), found[1]).state.header is None


# --- Who owns it ----------------------------------------------------------------------------------------------

#: A process that locks a file in one of the ways there are, says so, and waits.
HOLDER = """
import fcntl, os, struct, sys
path, kind = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
if kind == "flock":
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
elif kind == "ofd":
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, kind: str) -> Iterator[subprocess.Popen[bytes]]:
    holder = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", HOLDER, str(path), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_a_stream_is_owned_as_long_as_its_owner_lives(tmp_path: Path) -> None:
    path = write(tmp_path, STORY)
    assert is_owned(str(path)) is False
    with held(path, "ofd") as holder:
        assert is_owned(str(path)) is True
        assert is_owned(str(path)) is True
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert is_owned(str(path)) is False


def test_asking_takes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, STORY)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert is_owned(str(path)) is False
    for kind in ("ofd", "flock"):
        with held(path, kind):  # would fail if asking had left a lock behind
            is_owned(str(path))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_process_that_only_has_it_open_does_not_own_it(tmp_path: Path) -> None:
    path = write(tmp_path, STORY)
    with held(path, "none"):
        assert is_owned(str(path)) is False


@pytest.mark.parametrize("what", ["missing", "link", "directory link"])
def test_what_cannot_be_told_is_none(tmp_path: Path, what: str) -> None:
    path = write(tmp_path, STORY)
    if what == "missing":
        path.unlink()
    elif what == "link":
        path.rename(tmp_path / "away")
        path.symlink_to(tmp_path / "away")
    else:
        path.unlink()
        path.parent.rmdir()
    assert is_owned(str(path)) is None


def test_a_task_can_be_read_while_it_is_owned(tmp_path: Path) -> None:
    path = write(tmp_path, STORY)
    for kind in ("ofd", "flock"):
        with held(path, kind):
            assert read_task(str(tmp_path), "t").findings == []


def test_a_runner_of_the_original_owns_its_stream_too(tmp_path: Path) -> None:
    path = write(tmp_path, STORY)
    with held(path, "flock"):
        assert is_owned(str(path)) is True
    assert is_owned(str(path)) is False


# -- Reading on -------------------------------------------------------------------------------------------------------


def _records(count: int, start: int = 0) -> bytes:
    notes = [Note(1000 + number, "log", f"line {number}") for number in range(start, start + count)]
    return b"".join(checkpoint.encode(note) for note in notes)


def _stream(root: Path, data: bytes) -> Path:
    path = root / "checkpoints" / "t" / "runner"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(checkpoint.encode(RunnerHeader("t", 1)) + data)
    return path


def test_a_stream_that_grows_is_read_on(tmp_path: Path) -> None:
    path = _stream(tmp_path, _records(3))
    reading = TaskReading(str(tmp_path), "t")
    first = reading.read()
    behind = reading.offset
    assert len(first.state.notes) == 3
    with path.open("ab") as file:
        file.write(_records(2, 3) + b"\0\0")  # and a torn one
    second = reading.read()
    assert second.state is first.state
    assert [note.timestamp_ms for note in second.state.notes] == [1000, 1001, 1002, 1003, 1004]
    assert reading.offset > behind
    assert len(second.findings) == 1
    assert len(reading.read().findings) == 1  # told anew each time, not once more


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    path = _stream(tmp_path, _records(2000))
    reading = TaskReading(str(tmp_path), "t")
    reading.read()
    read = 0
    real = os.read

    def counted(fd: int, size: int) -> bytes:
        nonlocal read
        data = real(fd, size)
        read += len(data)
        return data

    with path.open("ab") as file:
        file.write(_records(1, 2000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", counted)
        assert len(reading.read().state.notes) == 2001
    assert read < 200


@pytest.mark.parametrize("how", ["replaced", "cut", "written over"])
def test_a_stream_that_is_another_is_read_from_its_beginning(how: str, tmp_path: Path) -> None:
    path = _stream(tmp_path, _records(5))
    reading = TaskReading(str(tmp_path), "t")
    old = reading.read()
    data = checkpoint.encode(RunnerHeader("t", 1)) + _records(3 if how == "cut" else 9, 100)
    if how == "replaced":
        (path.parent / "new").write_bytes(data)
        (path.parent / "new").rename(path)
    else:
        path.write_bytes(data)
    new = reading.read()
    assert new.state is not old.state
    assert new.state.notes[0].timestamp_ms == 1100


def test_a_stream_that_went_and_came_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = _stream(tmp_path, _records(5))
    reading = TaskReading(str(tmp_path), "t")
    reading.read()
    path.unlink()
    gone = reading.read()
    assert not gone.exists
    assert gone.state.header is None
    _stream(tmp_path, _records(1))
    assert len(reading.read().state.notes) == 1
