"""Thousands of living processes: started, and found again after kill -9 of their runner."""

from __future__ import annotations

import os
import resource
import select
import signal

from benchmarks.harness import Bench, Row, Runner, Skipped, activity, children, runner_argv, running, sleepers
from thermos.records import ProcessStatus, TaskStatus
from thermos.states import ProcessState

COUNT = 5000
TARGET_START_S = 20.0
TARGET_RECOVER_S = 2.0


def wait_taken_over(runner: Runner) -> float:
    """When the runner recorded that the task is its own now: it watches all processes by then."""
    for now, record in runner.records(60):
        if isinstance(record, TaskStatus) and record.runner_pid == runner.pid:
            return now
    raise RuntimeError(f"the runner ended; {runner.complaint()}")


def check_it_watches(runner: Runner, victim: ProcessStatus) -> None:
    """Prove that a process it did not start is watched: end one, and see its record. Raises RuntimeError."""
    assert victim.pid is not None
    pid_fd = os.pidfd_open(victim.pid)
    try:
        signal.pidfd_send_signal(pid_fd, signal.SIGKILL)
        select.select([pid_fd], [], [], 10)
    finally:
        os.close(pid_fd)
    for _, record in runner.records(10):
        if isinstance(record, ProcessStatus) and record.process == victim.process:
            if record.state is not ProcessState.KILLED:
                raise RuntimeError(f"{victim.process} became {record.state.name}, not KILLED")
            return
    raise RuntimeError(f"the runner ended; {runner.complaint()}")


def measure(bench: Bench) -> list[Row]:
    """Start them, kill the runner, start it again."""
    count = bench.pick(COUNT, 500)
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if processes != resource.RLIM_INFINITY and processes < 3 * count:
        raise Skipped(f"ulimit -u is {processes}; {3 * count} are needed")
    directory = bench.fresh("thousands")
    argv = runner_argv(directory, sleepers(count))
    with running(argv, directory) as first:
        at, records = first.wait_running(count)
        start_s = at - first.started_s
        bench.log(f"{count} running after {start_s:.2f} s")
        coordinators = children(first.pid)
        cpu_s = sum(activity(pid).cpu_s for pid in [first.pid, *coordinators]) / count
        first.kill()
        with running(argv, directory) as second:
            recover_s = wait_taken_over(second) - second.started_s
            check_it_watches(second, records[-1])
    scale = count / COUNT
    return [
        Row(f"{count} living: started", start_s, "s", TARGET_START_S * scale),
        Row(f"{count} living: processor time to start one", cpu_s, "ms", note="without the command"),
        Row(f"{count} living: recovered after kill -9", recover_s, "s", TARGET_RECOVER_S),
    ]
