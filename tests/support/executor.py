"""A task that our executor runs on a real Mesos, for a framework of the test's."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.box import until, with_words
from tests.support.mesos import Cluster, Scheduler
from thermos.checkpoints import read_task
from thermos.host import proc

PROJECT: Final = str(Path(__file__).parents[2])
COMMAND: Final = (sys.executable, "-m", "thermos.executor.main")
ME: Final = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Task:
    """A task that the executor runs for a framework of the test's."""

    def __init__(self, cluster: Cluster, framework: Scheduler, *processes: dict[str, object], **more: Any) -> None:
        self.task_id = more.pop("task_id", "t")
        self.cluster = cluster
        self.framework = framework
        self.word = f"thermos-test-{secrets.token_hex(8)}"
        flags = more.pop("flags", ())
        command = more.pop("command", None)
        data = more.pop("data", None)
        more_environ = more.pop("environ", {})
        fields = {name: more.pop(name) for name in list(more) if name in ("kill_policy",)}
        task = {"name": "task", "finalization_wait": 10, "processes": list(processes), **more.pop("task", {})}
        whole = {"task": task, "role": ME, "environment": "test", "name": "job", **more}
        body = data if data is not None else json.dumps(whole).replace("WORD", self.word).encode()
        environ = {"PYTHONPATH": PROJECT, **more_environ}
        framework.launch(self.task_id, command or [*COMMAND, *flags], data=body, environ=environ, **fields)

    def until(self, state: str) -> dict[str, Any]:
        return self.framework.wait_for(self.task_id, state)

    @property
    def states(self) -> list[str]:
        """Each status once, however often Mesos delivers it; two that we made of one are two. Without what the master
        makes up when it is asked about a task that is over, as by a second kill."""
        made_up = ("REASON_RECONCILIATION", "TASK_UNKNOWN")
        told: dict[object, str] = {}
        for number, one in enumerate(self.framework.of(self.task_id)):
            if one.get("reason") not in made_up and one["state"] not in made_up:
                told.setdefault(one.get("uuid", number), one["state"])
        return list(told.values())

    def says_each_once(self) -> bool:
        """Mesos may deliver a status twice; we must not have made two of one."""
        return len(set(self.states)) == len(self.states)

    @property
    def sandbox(self) -> Path:
        return self.cluster.sandboxes()[-1]

    @property
    def root(self) -> str:
        return str(self.sandbox / "checkpoints")

    def record(self) -> Any:
        return read_task(self.root, self.task_id).state

    def executor_pid(self) -> int:
        pids = [pid for pid in with_words("thermos.executor.main") if self._is_mine(pid)]
        # Children that it has forked, to write pages for instance, look like it.
        (pid,) = [pid for pid in pids if (stat := proc.read_stat(pid)) is not None and stat.ppid not in pids]
        return pid

    def _is_mine(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{pid}/cwd") == str(self.sandbox)
        return False

    def is_gone(self) -> None:
        """Neither a process of the task nor the executor is left, and no state was told twice."""
        until(lambda: not with_words(self.word), "no process of the task is left")
        until(
            lambda: not [pid for pid in with_words("thermos.executor.main") if self._is_mine(pid)], "the executor ends"
        )
        assert self.says_each_once(), self.framework.of(self.task_id)
