"""How fast a long stream is read and folded: what a recovery, and every reader, waits for."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.harness import Bench, Row, median
from thermos.checkpoints import read_task
from thermos.formats import checkpoint, paths
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

RECORDS = 100_000
#: A tenth of two seconds for a million.
TARGET_S = 0.2


def measure(bench: Bench) -> list[Row]:
    """A daemon that was restarted many times, as we write it and as the original does (without checksums)."""
    rows = []
    for name, cut in (("ours", False), ("the original's", True)):
        root = bench.fresh("replay")
        states = (ProcessState.WAITING, ProcessState.FORKED, ProcessState.RUNNING, ProcessState.SUCCESS)
        records: list[Record] = [TaskStatus(TaskState.ACTIVE, 1, 1, 0), RunnerHeader("t", 1)]
        records += [ProcessStatus(n, "p", states[n % 4], fork_time=1.5, pid=n % 4) for n in range(RECORDS)]
        data = b"".join(plain(checkpoint.encode(r)) if cut else checkpoint.encode(r) for r in records)
        path = Path(paths.runner_checkpoint(str(root), "t"))
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        taken = []
        for _ in range(bench.pick(5, 2)):
            start = time.perf_counter()
            found = read_task(str(root), "t", keep_runs=2)
            taken.append(time.perf_counter() - start)
            if found.findings:
                raise RuntimeError(str(found.findings[0]))
        rows.append(Row(f"{RECORDS} records read, {name}", median(taken), "s", TARGET_S))
    if rows[1].ours:
        rows[0] = Row(rows[0].name, rows[0].ours, "s", TARGET_S, "without checksum", rows[1].ours)
    return rows


def plain(frame: bytes) -> bytes:
    """*frame* without its checksum."""
    payload = frame[4:-8] + b"\0"
    return len(payload).to_bytes(4, "big") + payload
