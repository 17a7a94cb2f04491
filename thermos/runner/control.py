"""Ending a task from outside: by a signal to its runner, or in its runner's place if that is dead."""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass

from thermos import checkpoints
from thermos.errors import NotPermitted, TaskNotFound, TaskOver
from thermos.formats import paths
from thermos.host import proc
from thermos.records import TaskStatus
from thermos.runner import signals, spawn
from thermos.runner.home import Home
from thermos.states import TaskState

#: How long a runner that was sent SIGKILL may take to be gone.
RUNNER_GONE_S = 10.0


@dataclass(frozen=True)
class KillOutcome:
    """What became of the task. ``ended`` is None if it has not ended (yet); ``detail`` says why, in words."""

    ended: TaskState | None
    detail: str
    survivors: tuple[str, ...] = ()


def kill_task(root: str, task_id: str, *, force: bool = False, timeout_s: float | None = None) -> KillOutcome:
    """End the task and wait until it has ended, for *timeout_s* at most.

    Gracefully: processes get SIGTERM, finalizers run, within the task's own ``finalization_wait``. With *force*
    everything is killed at once, runner first, and no finalizer runs. If the runner is dead we take its place.

    Raises TaskNotFound, TaskOver, NotPermitted.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    task = checkpoints.read_task(root, task_id, keep_runs=1)
    path = paths.runner_checkpoint(root, task_id)
    if os.path.lexists(paths.task_path(root, task_id, paths.FINISHED)):
        raise TaskOver(f"task {task_id} is over already")
    if not task.exists and force and os.path.lexists(paths.task_path(root, task_id, paths.ACTIVE)):
        home = Home(root, task_id)
        try:
            home.finish()
        finally:
            home.close()
        return KillOutcome(TaskState.LOST, "it had no checkpoint: nothing says what it had running; its file was moved")
    if not task.exists:
        raise TaskNotFound(f"there is no checkpoint of task {task_id} at {path}")
    owner_uid = os.stat(path, follow_symlinks=False).st_uid
    if os.geteuid() not in (0, owner_uid):
        raise NotPermitted(f"task {task_id} belongs to uid {owner_uid}, this is uid {os.geteuid()}")
    last = task.state.statuses[-1] if task.state.statuses else None
    if last is not None and checkpoints.is_owned(path) and _is_runner(last, owner_uid):
        waited = _signal_runner(last, owner_uid, force, deadline)
        if not force:
            return _outcome(root, task_id, waited)
    return _take_over(root, task_id, owner_uid, force, deadline)


def _is_runner(last: TaskStatus, owner_uid: int) -> bool:
    return proc.is_alive(last.runner_pid, last.runner_start_ticks) and proc.uid_of(last.runner_pid) == owner_uid


def _signal_runner(last: TaskStatus, owner_uid: int, force: bool, deadline: float | None) -> bool:
    """Signal the runner and wait for it to end; whether it has."""
    fd = os.pidfd_open(last.runner_pid)
    try:
        signum = signal.SIGKILL if force else signal.SIGUSR1
        if not signals.send(last.runner_pid, signum, last.runner_start_ticks, {owner_uid}):
            return True  # it has just ended
        return _wait(fd, time.monotonic() + RUNNER_GONE_S if force else deadline)
    finally:
        os.close(fd)


def _wait(pidfd: int, deadline: float | None) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    timeout_ms = None if deadline is None else max(deadline - time.monotonic(), 0.0) * 1000
    return bool(poll.poll(timeout_ms))


def _take_over(root: str, task_id: str, owner_uid: int, force: bool, deadline: float | None) -> KillOutcome:
    reason = f"`thermos kill` by uid {os.geteuid()}, in the place of a dead runner"
    arguments = ["--kill=KILLED", f"--kill_reason={reason}"]
    if force:
        arguments.append("--kill_budget=0")
    as_uid = owner_uid if owner_uid != os.geteuid() else None
    pid = spawn.take_over(root, task_id, arguments, as_uid)
    fd = os.pidfd_open(pid)
    try:
        ended = _wait(fd, deadline)
    finally:
        os.close(fd)
    if ended:
        os.waitpid(pid, 0)
    return _outcome(root, task_id, ended)


def _outcome(root: str, task_id: str, waited: bool) -> KillOutcome:
    task = checkpoints.read_task(root, task_id, keep_runs=1)
    state = task.state.task_state
    survivors = tuple(note.text for note in task.state.notes if note.kind == "survivors")
    if state is not None and state.is_terminal:
        return KillOutcome(state, f"ended {state.name}", survivors)
    if not waited:
        return KillOutcome(None, "still ending: the time given ran out", survivors)
    name = state.name if state is not None else "unknown"
    return KillOutcome(None, f"its runner ended and left it {name}; see what the runner said", survivors)
