"""From the end of a process to the record of it, durable: how soon can something depend on it?"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from benchmarks.harness import Bench, Row, Runner, percentile, process, runner_argv, running, task
from thermos.records import ProcessStatus
from thermos.states import ProcessState

TARGET_P50_S = 0.005
TARGET_P99_S = 0.020


def bare_fdatasync_s(directory: Path, count: int) -> list[float]:
    """What the disk takes to keep a record, with nothing around it."""
    taken = []
    fd = os.open(directory / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            start = time.perf_counter()
            os.write(fd, b"x" * 120)
            os.fdatasync(fd)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(fd)
    return taken


def end_one(runner: Runner, fifo: Path, record: ProcessStatus) -> float:
    """Let one process end, and say how long after that its record was on disk."""
    assert record.pid is not None
    pid_fd = os.pidfd_open(record.pid)
    try:
        with fifo.open("w") as file:
            file.write("go\n")
        if not select.select([pid_fd], [], [], 10)[0]:
            raise TimeoutError(f"{record.process} does not end")
        ended = time.perf_counter()
    finally:
        os.close(pid_fd)
    for now, entry in runner.records(10):
        if isinstance(entry, ProcessStatus) and entry.process == record.process and entry.state is ProcessState.SUCCESS:
            return max(now - ended, 0.0)
    raise RuntimeError(f"the runner ended; {runner.complaint()}")


def measure(bench: Bench) -> list[Row]:
    """Processes that wait for a word are let go one by one; the last stays, so that the task does."""
    count = bench.pick(200, 40)
    directory = bench.fresh("latency")
    fifos = {f"p{n}": directory / f"fifo{n}" for n in range(count)}
    for fifo in fifos.values():
        os.mkfifo(fifo)
    processes = [process(name, f"read -r word <{fifo}") for name, fifo in fifos.items()]
    definition = task("latency", [*processes, process("last", "exec sleep 1000000")])
    with running(runner_argv(directory, definition), directory) as runner:
        _, records = runner.wait_running(count + 1)
        taken = [end_one(runner, fifos[r.process], r) for r in records if r.process in fifos]
        bare = bare_fdatasync_s(directory, count)
    return [
        Row("exit → record, p50", percentile(taken, 50), "ms", TARGET_P50_S, "bare fdatasync", percentile(bare, 50)),
        Row("exit → record, p99", percentile(taken, 99), "ms", TARGET_P99_S, "bare fdatasync", percentile(bare, 99)),
    ]
