"""``thermos status`` of a root with a thousand tasks."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.harness import Bench, Row, best, median, script, time_s
from thermos.formats import checkpoint, paths
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

COUNT = 1000
PROCESSES = 3
TARGET_S = 0.25


def story(task_id: str) -> list[Record]:
    """What a runner writes of a task of a few processes that all succeed."""
    at_ms = 1700000000000
    records: list[Record] = [
        TaskStatus(TaskState.ACTIVE, at_ms, 100, 0, boot_id="b" * 36, pid_namespace=4026531836, runner_start_ticks=5),
        RunnerHeader(task_id, at_ms, "/sandbox", "host", "www", {}, "/sandbox/.logs", 0, checkpoint.VERSION, "c" * 16),
    ]
    for n in range(PROCESSES):
        name = f"process-{n}"
        records += [
            ProcessStatus(0, name, ProcessState.WAITING),
            ProcessStatus(1, name, ProcessState.FORKED, fork_time=at_ms / 1e3, coordinator_pid=200 + n),
            ProcessStatus(2, name, ProcessState.RUNNING, start_time=at_ms / 1e3, pid=300 + n, pid_start_ticks=6),
            ProcessStatus(3, name, ProcessState.SUCCESS, stop_time=at_ms / 1e3, return_code=0),
        ]
    ends = (TaskState.CLEANING, TaskState.FINALIZING, TaskState.SUCCESS)
    return [*records, *(TaskStatus(state, at_ms, 100, 0) for state in ends)]


def fill(root: Path, count: int) -> None:
    """Put *count* finished tasks there."""
    directory = Path(paths.task_dir(str(root), paths.FINISHED))
    directory.mkdir(parents=True)
    for number in range(count):
        task_id = f"www-data-prod-hello-{number}"
        (directory / task_id).write_text("{}")
        path = Path(paths.runner_checkpoint(str(root), task_id))
        path.parent.mkdir(parents=True)
        path.write_bytes(b"".join(map(checkpoint.encode, story(task_id))))


def measure(bench: Bench) -> list[Row]:
    """Ids alone, as scripts ask for them, and with the state of each, for which its stream is read."""
    root = bench.fresh("status") / "root"
    fill(root, COUNT)
    rows = []
    count = bench.pick(10, 3)
    for name, words in (("ids", []), ("states", ["--verbosity=1"]), ("JSON", ["--json"])):
        argv = [script("thermos"), f"--root={root}", "status", *words]
        time_s(argv)
        ours = [time_s(argv) for _ in range(count)]
        floor = median([time_s([sys.executable, "-c", "pass"]) for _ in range(count)])
        title = f"status of {COUNT} tasks: {name}"
        rows.append(Row(title, median(ours), "s", TARGET_S, "python3 -c pass", floor, best(ours)))
    return rows
