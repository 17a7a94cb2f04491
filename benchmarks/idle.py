"""What a runner and its coordinators do while nothing happens. It should be nothing."""

from __future__ import annotations

import time

from benchmarks.harness import (
    Activity,
    Bench,
    Row,
    Skipped,
    activity,
    children,
    peer,
    runner_argv,
    running,
    sleepers,
    supervisord,
    wait_commands,
)

COUNT = 100


def settled(pids: list[int], window_s: float) -> Activity:
    """What *pids* did within *window_s*, once they have come to rest (or 5 s have passed)."""
    deadline = time.perf_counter() + 5
    before = [activity(pid) for pid in pids]
    while time.perf_counter() < deadline:
        time.sleep(0.5)
        now = [activity(pid) for pid in pids]
        if now == before:
            break
        before = now
    time.sleep(window_s)
    after = [activity(pid) for pid in pids]
    return Activity(
        sum(a.switches - b.switches for a, b in zip(after, before, strict=True)),
        sum(a.cpu_s - b.cpu_s for a, b in zip(after, before, strict=True)),
    )


def measure(bench: Bench) -> list[Row]:
    """Switches to them, wanted or not, and processor time; supervisord beside it wakes once a second."""
    window_s = bench.pick(30, 5)
    directory = bench.fresh("idle")
    with running(runner_argv(directory, sleepers(COUNT)), directory) as runner:
        runner.wait_running(COUNT)
        ours = settled([runner.pid, *children(runner.pid)], window_s)
    theirs: Activity | None = None
    try:
        other = bench.fresh("supervisord")
        seconds = "1000003"
        with peer(supervisord(other, COUNT, seconds), other) as daemon:
            wait_commands(f"sleep {seconds}", COUNT)
            theirs = settled([daemon.pid], window_s)
    except Skipped as reason:
        bench.log(f"supervisord: {reason}")
    name = f"{COUNT} sleeping for {window_s} s"
    peers = ("supervisord", theirs.switches if theirs else None), ("supervisord", theirs.cpu_s if theirs else None)
    return [
        Row(f"{name}: wake-ups", ours.switches, "", 0, *peers[0]),
        Row(f"{name}: processor time", ours.cpu_s, "ms", 0, *peers[1]),
    ]
