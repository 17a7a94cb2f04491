"""The scheduler as its own process on a real Mesos: how long a job takes to RUNNING, and two hundred tasks at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from benchmarks.harness import Bench, Row, Skipped
from tests.support.cluster import Cluster, cluster
from thermos.formats import assigned_task as wire

#: Seconds; what takes longer is no measurement any more.
_LIMIT_S: Final = 150.0
_AGENTS: Final = 3


@contextmanager
def _cluster() -> Iterator[Cluster]:
    try:
        with cluster(_AGENTS, MESOS_RESOURCES="cpus:64;mem:65536;disk:500000;ports:[31000-35000]") as made:
            yield made
    except pytest.skip.Exception as error:
        raise Skipped(str(error)) from None


def _until_running(made: Cluster, key: wire.JobKey, count: int) -> float:
    """How long it takes from now."""
    began_s = time.perf_counter()
    made.wait_running(key, count, timeout_s=_LIMIT_S)
    return time.perf_counter() - began_s


def _event_s(made: Cluster, key: wire.JobKey) -> float:
    """From PENDING to RUNNING, by the task's own history."""
    (task,) = made.active(key)
    events = task.task_events or ()
    return ((events[-1].timestamp or 0) - (events[0].timestamp or 0)) / 1000


def measure(bench: Bench) -> list[Row]:
    """A job of one task, several times; then many at once, with a scheduler that is killed in the middle."""
    many = bench.pick(200, 30)
    with _cluster() as made:
        waits, histories = [], []
        for number in range(bench.pick(10, 3)):
            began_s = time.perf_counter()
            key = made.create(f"one-{number}")
            made.wait_running(key)
            waits.append(time.perf_counter() - began_s)
            histories.append(_event_s(made, key))
            made.api.ok("killTasks", job=key)
        began_s = time.perf_counter()
        key = made.create("many", instances=many)
        half = many // 2
        made.wait("half of them run", lambda: made.states(key).count("RUNNING") >= half, _LIMIT_S)
        made.scheduler.kill()
        made.scheduler.start()
        tasks = made.wait_running(key, many, _LIMIT_S)
        many_s = time.perf_counter() - began_s
        instances = [task.assigned_task.instance_id for task in tasks if task.assigned_task is not None]
        lost = abs(many - len(instances)) + many - len(set(instances))
        made.api.ok("killTasks", job=key)
        made.wait("all are over", lambda: not made.active(key), _LIMIT_S)
    return [
        Row("create → RUNNING on an idle Mesos", statistics.median(waits), "s", target=1.0, note="as a client sees it"),
        Row("the same, by the task's history", statistics.median(histories), "s", note=f"worst {max(histories):.2f} s"),
        Row(f"{many} tasks on {_AGENTS} agents, all RUNNING", many_s, "s", note="the scheduler killed in the middle"),
        Row("tasks lost or run twice by that", lost, "", target=0),
    ]
