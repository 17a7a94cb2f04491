"""A runner of its own, started from a program: it hears of a kill from its first moment on."""

from __future__ import annotations

import os
import signal

from tests.support.box import Box, until
from thermos.runner import spawn
from thermos.states import TaskState

TASK = '{"name": "t", "processes": [{"name": "p", "cmdline": "exec sleep 600"}], "finalization_wait": 20}'


def test_a_kill_that_comes_before_the_runner_listens_is_heard(box: Box) -> None:
    for number in range(5):
        task_id = f"task-{number}"
        command = spawn.RunnerCommand(box.root, task_id, TASK, f"{box.sandbox}-{number}")
        started = spawn.start(command, report=False)
        os.kill(started.pid, signal.SIGUSR1)
        assert _end_of(started.pid) == 0
        box.task_id = task_id
        assert box.task_state is TaskState.KILLED


def _end_of(pid: int) -> int:
    """The exit code of our child *pid*, when it has ended."""
    ended: list[int] = []

    def reaped() -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(found)

    until(reaped, "the runner ends")
    return ended[0]
