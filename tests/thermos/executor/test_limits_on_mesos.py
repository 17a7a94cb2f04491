"""Limits on a real Mesos: what the scheduler is told when a task uses more disk or memory than it may."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import SOON_S, process, until, with_words
from tests.support.executor import Task
from tests.support.mesos import Mesos, mesos, scheduler

pytestmark = pytest.mark.timeout(300)  # the first run on a machine sets Mesos up

MB = 1 << 20


def test_a_task_that_fills_its_disk_is_ended() -> None:
    with mesos() as cluster, scheduler(cluster) as framework:
        fill = process("a", f"head -c {8 * MB} /dev/zero > big; exec -a WORD sleep 600")
        resources = {"cpu": 0.1, "ram": 64 * MB, "disk": 4 * MB}
        task = Task(cluster, framework, fill, task={"resources": resources})
        status = task.until("TASK_FAILED")
        assert status["reason"] == "REASON_CONTAINER_LIMITATION_DISK"
        assert "Disk limit exceeded" in status["message"]
        assert str(4 * MB) in status["message"]
        assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
        found = json.loads((task.sandbox / "executor_vars.json").read_text())
        assert found["disk_reserved"] == 4 * MB
        assert found["disk_used"] >= 8 * MB
        assert found["thermos_pss"] > MB
        task.is_gone()


def has_memory_cgroup() -> bool:
    return os.geteuid() == 0 and os.access("/sys/fs/cgroup/memory/cgroup.procs", os.W_OK)


@pytest.fixture
def limiting() -> Any:
    if not has_memory_cgroup():
        pytest.skip("limiting memory takes root and a memory control group of version 1, as Mesos 1.11 wants it")
    root = f"mesoslab-{os.getpid()}"
    flags = {"MESOS_LAUNCHER": "linux", "MESOS_ISOLATION": "cgroups/cpu,cgroups/mem", "MESOS_CGROUPS_ROOT": root}
    with mesos(**flags) as cluster:  # type: ignore[arg-type]
        yield cluster
        _remove_groups(cluster, root)


def _remove_groups(cluster: Mesos, root: str) -> None:
    cluster.kill()
    deadline_s = time.monotonic() + SOON_S
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        for directory, _, _ in os.walk(hierarchy / root, topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                    break
                except OSError:
                    for line in Path(directory, "cgroup.procs").read_text().split():
                        os.kill(int(line), 9)
                    assert time.monotonic() < deadline_s, f"{directory} is still in use"


def test_a_process_that_the_container_s_memory_limit_kills(limiting: Mesos) -> None:
    with scheduler(limiting) as framework:
        eat = f"exec {sys.executable} -S -c 'x = bytearray(400 << 20); print(len(x))' WORD"
        task = Task(limiting, framework, process("hungry", eat))
        status = task.until("TASK_FAILED")
        # Whoever is first tells: the agent, which then ends the whole container, or our executor.
        assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
        if status["source"] == "SOURCE_EXECUTOR":
            assert "hungry" in status["message"]
        assert [state for state in task.states if state not in ("TASK_STARTING", "TASK_RUNNING")] == ["TASK_FAILED"]
        until(lambda: not with_words(task.word), "no process of the task is left")
        task.is_gone()
