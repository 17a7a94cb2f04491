"""What a runner and its coordinators keep in memory while their processes sleep."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import (
    Bench,
    Row,
    Skipped,
    children,
    memory,
    peer,
    runner_argv,
    running,
    s6,
    sleepers,
    supervisord,
    wait_commands,
)

TARGET_RUNNER_BYTES = 10e6
TARGET_EACH_BYTES = 0.4e6


def name_of(pid: int) -> str:
    """What the kernel calls it."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def of_s6(bench: Bench, count: int) -> float:
    """Private memory of s6 for each process it supervises. Raises Skipped."""
    directory = bench.fresh("s6")
    seconds = "1000001"
    with peer(s6(directory, count, seconds), directory) as svscan:
        wait_commands(f"sleep {seconds}", count)
        pids = [svscan.pid, *children(svscan.pid)]
        return sum(memory(pid).private for pid in pids) / count


def of_supervisord(bench: Bench, count: int) -> float:
    """PSS of supervisord. Raises Skipped."""
    directory = bench.fresh("supervisord")
    seconds = "1000002"
    with peer(supervisord(directory, count, seconds), directory) as daemon:
        wait_commands(f"sleep {seconds}", count)
        return float(memory(daemon.pid).pss)


def measure(bench: Bench) -> list[Row]:
    """At several sizes, beside s6 (a supervisor for each process) and supervisord (one for all)."""
    rows = []
    for count in (1, 10, 100) if bench.quick else (1, 10, 100, 1000):
        directory = bench.fresh("memory")
        with running(runner_argv(directory, sleepers(count)), directory) as runner:
            runner.wait_running(count)
            coordinators = children(runner.pid)
            if len(coordinators) != count:
                raise RuntimeError(f"{len(coordinators)} coordinators for {count} processes")
            pss = float(memory(runner.pid).pss)
            each = sum(memory(pid).private for pid in coordinators) / count
        peers: dict[str, float | None] = {"s6": None, "supervisord": None}
        for name, of in (("s6", of_s6), ("supervisord", of_supervisord)):
            try:
                peers[name] = of(bench, count) if count <= 100 else None
            except Skipped as reason:
                bench.log(f"{name}: {reason}")
        name = f"{count} sleeping: runner, PSS"
        rows.append(Row(name, pss, "MB", TARGET_RUNNER_BYTES, "supervisord", peers["supervisord"]))
        name = f"{count} sleeping: coordinator, private"
        if count == 1:  # has to itself what more of them share: no price of an extra process
            rows.append(Row(name, each, "kB", None, "s6", peers["s6"], "the first, and svscan with it"))
        else:
            rows.append(Row(name, each, "kB", TARGET_EACH_BYTES, "s6", peers["s6"], "for each process"))
    return rows
