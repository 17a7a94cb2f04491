"""How fast the scheduler's store loads and commits, beside bare SQLite doing the same with the same bytes."""

from __future__ import annotations

import gc
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.harness import Bench, Row, median
from scheduler.core.changes import PutTask
from scheduler.core.state import State
from scheduler.model import Config, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from scheduler.store.rows import batch_of
from scheduler.store.sqlite import SqliteStore
from thermos.formats import assigned_task as wire

TASKS: Final = 100_000
CONFIGS: Final = 1_000
#: Of a whole restart, whose largest part this is.
LOAD_TARGET_S: Final = 10.0
CHANGED: Final = 1_000
COMMIT_TARGET_S: Final = 0.05

_STATES: Final = (
    ScheduleStatus.PENDING, ScheduleStatus.ASSIGNED, ScheduleStatus.STARTING, ScheduleStatus.RUNNING,
)  # fmt: skip


def _config(number: int) -> Config:
    """Of the size of a small job: eight processes."""
    processes = ",".join(f'{{"name":"p{one}","cmdline":"{"run " * 25}"}}' for one in range(8))
    return config_of(
        wire.TaskConfig(
            job=wire.JobKey(f"role{number % 50}", "prod", f"job{number}"),
            owner=wire.Identity("owner"),
            is_service=True,
            resources=(wire.Resource(num_cpus=1.0), wire.Resource(ram_mb=128), wire.Resource(disk_mb=128)),
            executor_config=wire.ExecutorConfig("AuroraExecutor", f'{{"task":{{"processes":[{processes}]}}}}'),
        )
    )


def _task(number: int, config: Config) -> Task:
    events = tuple(
        TaskEvent(1_700_000_000_000 + number + step, status, None, "scheduler.example.com")
        for step, status in enumerate(_STATES)
    )
    return Task(
        f"{config.job.role}-prod-{config.job.name}-{number}-12345678-1234-1234-1234-123456789012",
        number // CONFIGS, config, ScheduleStatus.RUNNING, events, f"agent-{number % 2000}",
        f"host{number % 2000}.example.com", (("http", 31000),),
    )  # fmt: skip


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class _Bare:
    """A table of keys and bodies in a file with the same promises, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=10000", "cache_size=-65536"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, body TEXT)")

    def put(self, rows: list[tuple[str, str]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", rows)
        self.connection.execute("COMMIT")

    def get(self) -> list[tuple[str, str]]:
        return self.connection.execute("SELECT key, body FROM rows").fetchall()


def measure(bench: Bench) -> list[Row]:
    """A restart's load, a commit as after a failover, a commit of one task, a backup."""
    directory = Path(bench.fresh("store"))
    count = bench.pick(TASKS, TASKS // 10)
    rounds = bench.pick(9, 3)
    configs = [_config(number) for number in range(CONFIGS)]
    tasks = [_task(number, configs[number % CONFIGS]) for number in range(count)]
    chance = random.Random(1)

    def changed(number: int) -> list[PutTask]:
        return [PutTask(task._replace(failure_count=number)) for task in chance.sample(tasks, CHANGED)]

    def as_rows(changes: list[PutTask]) -> list[tuple[str, str]]:
        return [(row.key, row.body) for row in batch_of(changes).tasks.values()]

    bare = _Bare(directory / "bare")
    store = SqliteStore(str(directory / "store"))
    store.lead()
    everything = [PutTask(task) for task in tasks]
    bare.put(as_rows(everything))
    store.commit(everything)

    commits, bare_commits, singles, bare_singles = [], [], [], []
    for number in range(rounds):
        changes = changed(number)
        rows = as_rows(changes)
        commits.append(_timed(lambda changes=changes: store.commit(changes)))  # type: ignore[misc]
        bare_commits.append(_timed(lambda rows=rows: bare.put(rows)))  # type: ignore[misc]
        singles.append(_timed(lambda changes=changes: store.commit(changes[:1])))  # type: ignore[misc]
        bare_singles.append(_timed(lambda rows=rows: bare.put(rows[:1])))  # type: ignore[misc]
    backup_s = _timed(lambda: store.backup(str(directory / "backup")))
    store.close()

    everything.clear()
    tasks.clear()
    gc.collect()
    with closing(SqliteStore(str(directory / "store"))) as opened:

        def restart() -> None:
            opened.lead()
            state = State()
            for change in opened.load():
                state.apply(change)

        # A program that knows what it does looks for garbage when it has loaded, not while it does.
        gc.disable()
        try:
            loads = [_timed(restart) for _ in range(bench.pick(3, 1))]
        finally:
            gc.enable()
    bare_loads = [_timed(bare.get) for _ in range(bench.pick(3, 1))]
    bare.connection.close()
    peer = "bare sqlite3"
    return [
        Row(f"{count} tasks loaded and indexed", median(loads), "s", LOAD_TARGET_S, peer, median(bare_loads)),
        Row(f"{CHANGED} changed tasks committed", median(commits), "ms", COMMIT_TARGET_S, peer, median(bare_commits)),
        Row("one changed task committed", median(singles), "ms", None, peer, median(bare_singles)),
        Row(f"{count} tasks backed up", backup_s, "s"),
    ]
