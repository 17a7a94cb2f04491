"""What the tests of the command line share: the real command, hand-made checkpoints, the golden ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from thermos.formats import checkpoint
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

REPOSITORY = Path(__file__).parents[3]
GOLDEN = REPOSITORY.parent / "shared" / "golden"

needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(),
    reason=f"{GOLDEN} is absent: checkpoints of the original are beside a developer's checkout only",
)

#: 2026-11-20 13:43:33 UTC.
START_MS = 1795182213000
START_S = START_MS / 1000


def thermos(
    *args: object,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = 60,
    before: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in UTC, away from a terminal. *before*: words that go before it."""
    return subprocess.run(
        [*before, sys.executable, "-m", "thermos.cli", *map(str, args)],
        env=environment(env),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=timeout_s,
        check=False,
    )


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command under test."""
    return {**os.environ, "TZ": "UTC", "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "", **(env or {})}


def header(task_id: str, **more: Any) -> RunnerHeader:
    fields: dict[str, Any] = {
        "launch_time_ms": START_MS, "sandbox": f"/sandboxes/{task_id}", "hostname": "host", "user": "root",
        "ports": {}, "log_dir": f"/sandboxes/{task_id}/.logs", "uid": 0,
    }  # fmt: skip
    return RunnerHeader(task_id, **{**fields, **more})


def task_status(state: TaskState, after_s: float = 0.0, **more: Any) -> TaskStatus:
    return TaskStatus(state, START_MS + round(after_s * 1000), 4000, 0, **more)


def run_records(
    process: str,
    end: ProcessState | None,
    seq: int = 0,
    code: int | None = None,
    at_s: float = 1.0,
    **more: Any,
) -> list[ProcessStatus]:
    """The records of one run; *end* None: it still runs."""
    state = ProcessState
    records = [
        ProcessStatus(seq, process, state.WAITING),
        ProcessStatus(seq + 1, process, state.FORKED, fork_time=START_S + at_s, coordinator_pid=4001),
        ProcessStatus(seq + 2, process, state.RUNNING, start_time=START_S + at_s, pid=4002),
    ]
    if end is not None:
        last = ProcessStatus(seq + 3, process, end, stop_time=START_S + at_s + 1, return_code=code)
        records.append(last._replace(**more))
    return records


def write_stream(path: Path, records: Iterable[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(checkpoint.encode(record) for record in records))
    return path


def write_task(
    root: Path, task_id: str, records: Iterable[Record] | None, is_active: bool = False, task_json: str = "{}"
) -> Path:
    """A task under *root*; *records* None: it has no stream. Returns where the stream is or would be."""
    file = root / "tasks" / ("active" if is_active else "finished") / task_id
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(task_json)
    stream = root / "checkpoints" / task_id / "runner"
    return write_stream(stream, records) if records is not None else stream


def success(task_id: str, process: str = "hello", **more: Any) -> list[Record]:
    """The records of a task with one process that went well."""
    state = TaskState
    return [
        task_status(state.ACTIVE),
        header(task_id, **more),
        *run_records(process, ProcessState.SUCCESS, code=0),
        task_status(state.CLEANING, 2),
        task_status(state.FINALIZING, 2),
        task_status(state.SUCCESS, 3),
    ]
