"""``thermos_observer`` on a host of 1000 finished and 130 active tasks of ten processes, in sandboxes of an agent.

Fifty of the active tasks write while it runs. The checkpoints are real ones, each in a root of its own, with their
sandboxes and logs; their owners' locks are held here, so the runners seem to live.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.harness import (
    Bench,
    Row,
    activity,
    environment,
    median,
    memory,
    percentile,
    process,
    script,
    task,
)
from thermos.formats import checkpoint, paths
from thermos.host.inotify import IN_CLOSE_WRITE, IN_MOVED_TO, Watcher
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

PROCESSES: Final = 10
FIRST_S: Final = 5.0
INDEX_S: Final = 0.05
LATENCY_S: Final = 0.25
MEMORY_BYTES: Final = 40 << 20
PAGE_BYTES: Final = 150 << 10
#: What one stream holds, a few lines as most do.
_LOG: Final = b"".join(
    b"2024-05-01 12:00:%02d INFO worker %d: handled a request in %d ms\n" % (n, n, n) for n in range(40)
)
_AT_S: Final = 1714564800.0
_LOCK: Final = struct.Struct("hhqqi4x")  # struct flock


class Fake(NamedTuple):
    """A task on disk, and how its next records go on."""

    task_id: str
    sandbox: Path
    root: Path

    @property
    def stream(self) -> Path:
        """Its runner's stream."""
        return Path(paths.runner_checkpoint(str(self.root), self.task_id))


def records(fake: Fake, count: int, is_over: bool, at_s: float) -> list[Record]:
    """What a runner writes of a task whose first process failed once, and whose others run or have ended."""
    at_ms = int(at_s * 1000)
    pid = os.getpid()
    found: list[Record] = [
        RunnerHeader(
            fake.task_id,
            at_ms,
            str(fake.sandbox),
            "agent-17",
            "www-data",
            {"http": 31000},
            f"{fake.sandbox}/.logs",
            33,
            checkpoint.VERSION,
            "c" * 16,
        ),  # fmt: skip
        TaskStatus(TaskState.ACTIVE, at_ms, pid, 0, boot_id="b" * 36, pid_namespace=4026531836, runner_start_ticks=5),
    ]
    for n in range(count):
        name = f"process-{n}"
        found += run_records(name, 0, at_s, ProcessState.FAILED if n == 0 else None)
        if n == 0:
            found += run_records(name, 4, at_s + 1, None)
        if is_over:
            seq = 7 if n == 0 else 3
            found.append(ProcessStatus(seq, name, ProcessState.SUCCESS, stop_time=at_s + 60, return_code=0))
    if is_over:
        for state in (TaskState.CLEANING, TaskState.FINALIZING, TaskState.SUCCESS):
            found.append(TaskStatus(state, at_ms + 60_000, pid, 0))
    return found


def run_records(name: str, seq: int, at_s: float, end: ProcessState | None) -> list[Record]:
    """One run of a process, to its *end* or on."""
    found: list[Record] = [
        ProcessStatus(seq, name, ProcessState.WAITING),
        ProcessStatus(seq + 1, name, ProcessState.FORKED, fork_time=at_s, coordinator_pid=200),
        ProcessStatus(seq + 2, name, ProcessState.RUNNING, start_time=at_s, pid=300, pid_start_ticks=6),
    ]
    if end is not None:
        found.append(ProcessStatus(seq + 3, name, end, stop_time=at_s + 0.5, return_code=1))
    return found


def make(work_dir: Path, number: int, is_over: bool, count: int = PROCESSES) -> Fake:
    """A task in a sandbox of an agent, as its runner would have left it by now."""
    task_id = f"www-data-prod-hello-{number}-{'f' if is_over else 'a'}"
    sandbox = work_dir / "slaves" / "agent-1" / "frameworks" / "aurora" / "executors" / f"thermos-{task_id}" / "runs"
    sandbox = sandbox / f"run-{number}"
    fake = Fake(task_id, sandbox, sandbox / "checkpoints")
    where = paths.FINISHED if is_over else paths.ACTIVE
    for state in (paths.ACTIVE, paths.FINISHED):
        Path(paths.task_dir(str(fake.root), state)).mkdir(parents=True)
    fake.stream.parent.mkdir(parents=True)
    at_s = _AT_S + number
    fake.stream.write_bytes(b"".join(map(checkpoint.encode, records(fake, count, is_over, at_s))))
    os.utime(fake.stream, (at_s, at_s))
    definition = task(
        "hello", [process(f"process-{n}", f"exec ./serve --shard {n} --token s3cr3t") for n in range(count)]
    )
    Path(paths.task_path(str(fake.root), task_id, where)).write_text(json.dumps(definition))
    for n in range(count):
        for run in range(2 if n == 0 else 1):
            logs = sandbox / ".logs" / f"process-{n}" / str(run)
            logs.mkdir(parents=True)
            (logs / "stdout").write_bytes(_LOG)
            (logs / "stderr").write_bytes(_LOG[:200])
    return fake


@contextmanager
def owned(fakes: list[Fake]) -> Iterator[None]:
    """Hold the locks of their runners."""
    fds = []
    try:
        for fake in fakes:
            fd = os.open(fake.stream, os.O_RDWR | os.O_CLOEXEC)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            fds.append(fd)
        yield
    finally:
        for fd in fds:
            os.close(fd)
