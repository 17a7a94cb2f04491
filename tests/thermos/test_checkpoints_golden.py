"""Checkpoints that the original wrote: read as it read them, but where it is known to be wrong.

They lie beside the checkout, in ``../shared``; where that is absent, these tests are skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thermos import checkpoints
from thermos.core.state import Run, RunnerState, replay
from thermos.formats import checkpoint, paths
from thermos.formats.thrift_binary import encode_struct
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
TASKS = sorted(path.name for path in (GOLDEN / "root" / "checkpoints").glob("*"))
DAMAGED = sorted(path.name for path in (GOLDEN / "root-damaged" / "checkpoints").glob("*"))

pytestmark = pytest.mark.skipif(not TASKS, reason=f"needs checkpoints of the original in {GOLDEN}")


def stream(task: str, name: str = "runner", root: str = "root") -> bytes:
    return (GOLDEN / root / "checkpoints" / task / name).read_bytes()


def told(task: str, name: str) -> str:
    return (GOLDEN / "expected" / task / name).read_text("utf-8")


def as_told(record: Record) -> dict[str, Any]:
    """*record* as ``records.json`` has it."""
    kinds: dict[type, str] = {RunnerHeader: "runner_header", ProcessStatus: "process_status", TaskStatus: "task_status"}
    fields = {name: value for name, value in record._asdict().items() if value is not None}
    if isinstance(record, (ProcessStatus, TaskStatus)):
        fields["state_name"] = record.state.name
    return {kinds[type(record)]: fields}


def files(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Contents, mtime and mode of all that lies below *root*."""
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (content, info.st_mtime_ns, info.st_mode)
    return found


def test_there_is_something_to_read() -> None:
    assert len(TASKS) >= 10
    assert DAMAGED


@pytest.mark.parametrize("task", TASKS)
def test_every_record_of_every_stream_is_read(task: str) -> None:
    expected = json.loads(told(task, "records.json"))
    directory = GOLDEN / "root" / "checkpoints" / task
    assert {path.name for path in directory.iterdir()} == set(expected)
    for name, records in expected.items():
        found = checkpoint.decode(stream(task, name))
        assert found.damage is None
        assert [as_told(record) for record in found.records] == records
        assert len(found.entries) == len(found.records)


@pytest.mark.parametrize("task", TASKS)
def test_what_we_write_is_byte_for_byte_what_the_original_wrote(task: str) -> None:
    for name in json.loads(told(task, "records.json")):
        data = stream(task, name)
        union = {struct.factory: (union_id, struct) for union_id, struct in checkpoint.UNION.items()}
        written = b""
        for record in checkpoint.decode(data).records:
            union_id, table = union[type(record)]
            payload = struct.pack(">bh", 12, union_id) + encode_struct(table, record) + b"\0"
            written += struct.pack(">I", len(payload)) + payload
            # With our checksum, seven bytes more in front of the last one: else the same.
            ours = checkpoint.encode(record)
            assert (ours[4:-8], len(ours)) == (payload[:-1], len(payload) + 4 + 7)
        assert written == data


def test_a_header_with_ports_is_written_in_an_order_of_its_own() -> None:
    """The original's order of ports is Python 2's; ours is sorted, and both are read."""
    header = RunnerHeader("t", 1, ports={"b": 1, "a": 2})
    frame = checkpoint.encode(header)
    assert frame.index(b"\1a") < frame.index(b"\1b")


READ_HEADER = re.compile(r"  id: +(.*)\n  user: +(.*)\n  host: +(.*)\n  sandbox: +(.*)\n")
READ_STATE = re.compile(r"^  (\w{3} \w{3} .{7,13} \d{4}) \[pid: (\d+)\] => (\w+)$", re.MULTILINE)
READ_PROCESS = re.compile(r"^  (\S.*?)   runs: (\d+)\n((?:     .*\n?)+)", re.MULTILINE)
READ_RUN = re.compile(r"^     (\d+): pid=(\d+), rc=(-?\d*), finish:(.+?), state:(\w+)$", re.MULTILINE)
STATUS = re.compile(r"^  (\S+) +\[owner: +(\S+)\]  state: +(\w+) start: +(.*)$", re.MULTILINE)
STATUS_PROCESS = re.compile(
    r"^      - (.+) runs: (\d+) last: pid=(\d+), rc=(-?\d*), finish:(.+), state:(\w+)$", re.MULTILINE
)


def ctime(at_s: float | None) -> str:
    return "None" if at_s is None else time.asctime(time.gmtime(at_s))


def as_original(run: Run) -> tuple[str, str, str, str]:
    """pid, code, end and state as the original prints them: for FAILED runs it has forgotten two."""
    code = "" if run.return_code is None else str(run.return_code)
    if run.state is ProcessState.FAILED:
        return str(run.pid), "", "None", "FAILED"
    return str(run.pid), code, ctime(run.stop_time), run.state.name


@pytest.mark.parametrize("task", TASKS)
def test_replay_gives_what_the_originals_read_printed(task: str) -> None:
    state, text = replay(checkpoint.decode(stream(task)).records), told(task, "read.txt")
    header = state.header
    assert header is not None
    assert READ_HEADER.search(text, 0) is not None
    assert READ_HEADER.findall(text) == [(header.task_id, header.user, header.hostname, header.sandbox)]
    assert READ_STATE.findall(text) == [
        (ctime(status.timestamp_ms // 1000), str(status.runner_pid), status.state.name) for status in state.statuses
    ]
    processes = {name: (runs, READ_RUN.findall(lines)) for name, runs, lines in READ_PROCESS.findall(text)}
    assert processes == {
        name: (
            str(history.total),
            [(str(run.number), *as_original(run)) for run in reversed(history.runs)],
        )
        for name, history in state.processes.items()
    }
    assert processes


@pytest.mark.parametrize("task", TASKS)
def test_reading_a_task_gives_what_the_originals_status_printed(task: str) -> None:
    found = checkpoints.read_task(str(GOLDEN / "root"), task)
    assert found.findings == []
    state, text = found.state, told(task, "status-v3.txt")
    assert state.header is not None
    assert state.task_state is not None
    launched = ctime(state.header.launch_time_ms // 1000)
    assert STATUS.findall(text) == [(task, "root", state.task_state.name, launched)]
    assert f"\n    user: {state.header.user} ports: {state.header.ports or None}\n" in text
    assert f"\n    sandbox: {state.header.sandbox}\n" in text
    assert {row[0]: row[1:] for row in STATUS_PROCESS.findall(text)} == {
        name: (str(history.total), *as_original(history.last)) for name, history in state.processes.items()
    }


def failed_runs() -> Iterator[tuple[str, Run, ProcessStatus]]:
    for task in TASKS:
        records = checkpoint.decode(stream(task)).records
        ends = {(r.process, r.seq): r for r in records if isinstance(r, ProcessStatus)}
        for name, history in replay(records).processes.items():
            for run in history.runs:
                if run.state is ProcessState.FAILED:
                    yield task, run, ends[name, run.seq]


def test_failed_runs_keep_their_code_and_end_where_the_original_loses_both() -> None:
    found = list(failed_runs())
    assert {task for task, _, _ in found} >= {"g02-failed", "g08-killed-usr1", "g21-deadlock"}
    for task, run, end in found:
        assert f"pid={run.pid}, rc=, finish:None, state:FAILED" in told(task, "read.txt")
        assert run.return_code == end.return_code is not None
        assert run.stop_time == end.stop_time is not None
    assert {run.return_code for _, run, _ in found} >= {1, 3, 5}


@pytest.mark.parametrize("task", TASKS)
def test_a_coordinators_stream_is_the_same_story_as_the_runners(task: str) -> None:
    told_by_runner = checkpoint.decode(stream(task)).records
    for path in (GOLDEN / "root" / "checkpoints" / task).glob("coordinator.*"):
        process = path.name.removeprefix(paths.COORDINATOR_PREFIX)
        theirs = checkpoint.decode(path.read_bytes()).records
        runners = [r for r in told_by_runner if isinstance(r, ProcessStatus) and r.process == process]
        # The runner alone says that a run is to start or is lost, and may have ended one before the coordinator did.
        own = [r for r in runners if r.state in (ProcessState.WAITING, ProcessState.LOST) or r.return_code == -1]
        ended = {r.seq for r in own}
        assert [r for r in theirs if isinstance(r, ProcessStatus) and r.seq not in ended] == [
            r for r in runners if r not in own
        ]


@pytest.mark.parametrize("task", TASKS)
def test_keeping_one_run_gives_the_same_last_runs(task: str) -> None:
    full = checkpoints.read_task(str(GOLDEN / "root"), task).state
    short = checkpoints.read_task(str(GOLDEN / "root"), task, keep_runs=1).state
    assert {n: (h.total, h.last.number, h.last.state) for n, h in full.processes.items()} == {
        n: (h.total, h.runs[0].number, h.runs[0].state) for n, h in short.processes.items()
    }


def test_tasks_are_listed() -> None:
    assert sorted(checkpoints.list_tasks(str(GOLDEN / "root"))) == [("finished", task) for task in TASKS]
    assert sorted(checkpoints.list_tasks(str(GOLDEN / "root-damaged"))) == [("finished", task) for task in DAMAGED]


def test_reading_changes_nothing_and_takes_no_lock() -> None:
    before = files(GOLDEN)
    held = []
    try:
        for root, tasks in (("root", TASKS), ("root-damaged", DAMAGED)):
            for task in tasks:
                path = paths.runner_checkpoint(str(GOLDEN / root), task)
                findings = checkpoints.read_task(str(GOLDEN / root), task).findings
                fd = os.open(path, os.O_RDONLY)
                held.append(fd)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a reader that wanted it would now hang or fail
                assert checkpoints.read_task(str(GOLDEN / root), task).findings == findings
                assert checkpoints.is_owned(path) is True  # by us: that is how the original owns it
    finally:
        for fd in held:
            os.close(fd)
    assert files(GOLDEN) == before


# --- Damaged ones ---------------------------------------------------------------------------------------------


def damaged(task: str) -> tuple[checkpoints.TaskCheckpoint, str]:
    root = str(GOLDEN / "root-damaged")
    return checkpoints.read_task(root, task), paths.runner_checkpoint(root, task)


def whole_prefix(data: bytes) -> list[Record]:
    """The records of the whole frames at the start of *data*, found without the code under test."""
    frames, offset = [], 0
    while offset + 4 <= len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        if size > 1000 or offset + 4 + size > len(data):
            break
        frames.append(data[offset : offset + 4 + size])
        offset += 4 + size
    return [record for frame in frames for record in checkpoint.decode(frame).records]


def view(state: RunnerState) -> Any:
    return (
        state.header,
        state.statuses,
        {n: [(r.number, r.seq, r.state, r.pid, r.return_code) for r in h.runs] for n, h in state.processes.items()},
    )


@pytest.mark.parametrize("task", ["d1-truncated-midrecord", "d3-trailing-garbage"])
def test_what_came_before_the_damage_is_kept_and_where_it_is_is_told(task: str) -> None:
    found, path = damaged(task)
    data = stream(task, root="root-damaged")
    records = whole_prefix(data)
    assert records
    assert view(found.state) == view(replay(records))
    (finding,) = found.findings
    assert finding.path == path
    assert finding.offset is not None
    assert 0 < finding.offset < len(data)
    assert checkpoint.decode(data).good_bytes == finding.offset
    assert checkpoint.decode(data[: finding.offset]).records == records
    assert str(finding).startswith(f"{path} at byte {finding.offset}: ")


def test_a_truncated_stream_is_torn_not_broken() -> None:
    found = checkpoint.decode(stream("d1-truncated-midrecord", root="root-damaged"))
    assert found.damage is not None
    assert found.damage.torn


def test_an_empty_stream_is_a_finding() -> None:
    found, path = damaged("d4-empty")
    assert view(found.state) == (None, [], {})
    assert [str(finding) for finding in found.findings] == [f"{path}: holds no header yet"]
    assert found.exists


def test_a_record_that_is_there_twice_is_told_and_counts_once() -> None:
    found, path = damaged("d6-duplicate-record")
    records = checkpoint.decode(stream("d6-duplicate-record", root="root-damaged")).records
    unique = [r for i, r in enumerate(records) if r not in records[:i]]
    assert len(unique) == len(records) - 1
    assert view(found.state) == view(replay(unique))
    (finding,) = found.findings
    assert finding.path == path
    assert finding.offset is not None
    assert "before" in finding.detail
    assert found.state.task_state is TaskState.SUCCESS
