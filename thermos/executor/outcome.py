"""What a runner's end means for the task, in Mesos' terms and in words. Pure.

The table is Aurora's (``aurora/executor/thermos_task_runner.py``); the message is ours: who failed, how, and the
last it said, in at most 4 KB, so that whoever sees it in a scheduler's page need not look for the host first.
"""

from __future__ import annotations

import os
from typing import Final

from thermos.core.explain import Explanation, ProcessView, explain
from thermos.core.lifetime_events import FAILED, FINISHED, KILLED, LOST, Status
from thermos.core.state import RunnerState
from thermos.errors import ExitCode
from thermos.schema import Task
from thermos.states import TaskState
from thermos.words import how_it_ended, signal_name, usage

#: Longest message of a status.
MAX_MESSAGE_BYTES: Final = 4096
_MAX_CULPRITS: Final = 5
_MAX_STDERR_BYTES: Final = 1500

_STATES: Final = {
    TaskState.SUCCESS: FINISHED,
    TaskState.FAILED: FAILED,
    TaskState.KILLED: KILLED,
    TaskState.LOST: LOST,
}
#: Exit codes that are the task's fault; with all others it may do better on another host.
_OF_THE_TASK: Final[dict[int, str]] = {
    ExitCode.INVALID_TASK: "The task is invalid, or not the one that this sandbox already runs.",
    ExitCode.UNKNOWN_USER: "The user it should run as does not exist on this host.",
}
_OF_THE_HOST: Final[dict[int, str]] = {
    ExitCode.REFUSED: "Another runner owns this task.",
    ExitCode.PERMISSION: "The runner was not permitted to do what the task needs.",
    ExitCode.CORRUPT: "The task's checkpoint is damaged.",
    ExitCode.NEWER_FORMAT: "The task's checkpoint was written by a newer version.",
    ExitCode.UNSUPPORTED_SYSTEM: "This kernel is too old for the runner.",
    ExitCode.NO_SPACE: "There is no space left for the task's records.",
}


def outcome(wait_status: int, state: RunnerState | None, task: Task | None, said: str = "") -> tuple[bool, Status]:
    """(whether the runner died alone, so that another may go on; what its end means if none does).

    *state*: the task's checkpoint, None if there is none. *said*: what the runner wrote to stderr.
    """
    code = os.waitstatus_to_exitcode(wait_status)
    reached = state.task_state if state is not None else None
    if state is not None and reached is not None and reached.is_terminal:
        return False, ended(state, task)
    because = f" It said: {said.strip()}" if said.strip() else ""
    if code < 0:
        return True, _cut(Status(KILLED, f"The task's runner was ended by {signal_name(-code)}.{because}"))
    if code in (ExitCode.OK, ExitCode.TERMINAL_TASK):
        name = reached.name if reached is not None else "without a record"
        return True, _cut(Status(LOST, f"The task's runner ended and left it {name}.{because}"))
    if code in _OF_THE_TASK:
        return False, _cut(Status(FAILED, f"{_OF_THE_TASK[code]}{because}"))
    text = _OF_THE_HOST.get(code, "The task's runner failed.")
    return False, _cut(Status(LOST, f"{text} (exit code {code}){because}"))


def ended(state: RunnerState, task: Task | None) -> Status:
    """The status of a task whose checkpoint says that it is over."""
    why = explain(state, task)
    assert why.state is not None
    mesos = _STATES[why.state]
    if why.state is TaskState.SUCCESS:
        return Status(mesos, "Task finished.")
    reason = f": {why.reason}" if why.reason else ""
    lines = [f"Task {why.state.name.lower()}{reason}."]
    culprits = [view for view in why.processes if view.name in why.culprits]
    lines += [_culprit(view) for view in culprits[:_MAX_CULPRITS]]
    if len(culprits) > _MAX_CULPRITS:
        lines.append(f"… and {len(culprits) - _MAX_CULPRITS} more processes.")
    return _cut(Status(mesos, "\n".join(lines), _limit(why)))


def _limit(why: Explanation) -> str | None:
    """The reason of one that was ended for want of memory."""
    for view in why.processes:
        if view.name in why.culprits and view.certificate is not None and view.certificate.oom_killed:
            return "REASON_CONTAINER_LIMITATION_MEMORY"
    return None


def _culprit(view: ProcessView) -> str:
    """One process in a few lines: its end, what it used, the last of its stderr."""
    assert view.state is not None
    text = f"Process {view.name}"
    if view.ending is not None:
        text += f": {how_it_ended(view.ending, view.state, view.reason)}"
    used = usage(view.certificate)
    if used:
        text += f"; {used}"
    if view.runs > 1:
        text += f"; {view.failures} of {view.runs} runs failed"
    tail = view.certificate.stderr_tail if view.certificate is not None else None
    if tail and tail.strip():
        last = tail.strip().encode("utf-8", "replace")[-_MAX_STDERR_BYTES:].decode("utf-8", "replace")
        text += f". Its stderr ended:\n{last}"
    return text


def _cut(status: Status) -> Status:
    """*status* with a message that Mesos can carry, and a log can show."""
    text = "".join(char if char.isprintable() or char == "\n" else " " for char in status.message or "")
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_MESSAGE_BYTES:
        text = data[: MAX_MESSAGE_BYTES - 3].decode("utf-8", "ignore") + "…"
    return status._replace(message=text)
