"""Every error this project raises on purpose, by whose fault it is, with the exit code each ends a program with.

``docs/reference/exit-codes.md`` is generated from :class:`ExitCode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of each of our programs means. 101 to 105 are those of Aurora's runner."""

    doc: str

    def __new__(cls, value: int, doc: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    OK = 0, "Done. For `thermos run`: the task ended SUCCESS. For `thermos_runner`: the task ended, however it did."
    NOT_FOUND = 1, "Nothing matched: no such task, process or file."
    USAGE = 2, "The command line is wrong."
    DAMAGED = 3, "A checkpoint is damaged; what could be read before the damage was shown."
    TASK_FAILED = 20, "`thermos run`: the task ended FAILED."
    TASK_KILLED = 21, "`thermos run`: the task was KILLED."
    TASK_LOST = 22, "`thermos run`: the task was LOST."
    TIMED_OUT = 23, "What was asked for had not happened when the time given ran out."
    SURVIVORS = 24, "The task is over but processes of it could not be killed; they are named."
    INTERNAL = 101, "A fault of ours, or of the system under us."
    INVALID_TASK = 102, "The task or its configuration is invalid, or differs from what this task id already runs."
    REFUSED = (
        103,
        "Another runner owns this task and lives. For pages: another observer keeps that directory, or it holds "
        "something else.",
    )
    UNKNOWN_USER = 104, "The user to run as does not exist on this host."
    TERMINAL_TASK = 105, "The task is already over."
    PERMISSION = (
        106,
        "The system refused: not root but another user was asked for, or a directory is not writable. For pages: or "
        "one in which there may be tasks is not readable.",
    )
    CORRUPT = 107, "The task's own checkpoint is damaged in its middle, so its runner will not go on from it."
    NEWER_FORMAT = 108, "The checkpoint was written by a newer version of this software."
    UNSUPPORTED_SYSTEM = 109, "This kernel is too old, or not Linux."
    NO_SPACE = 110, "No space left, or a quota is exceeded, where the task's first records must go."
    PLUGIN = 111, "A plug-in does not work; the message says which, and which distribution it is from."
    INTERRUPTED = 130, "Stopped by Ctrl-C before anything was started."


def code_of(error: OSError) -> ExitCode:
    """The exit code of a program that the system under it refused something."""
    return ExitCode.PERMISSION if isinstance(error, PermissionError) else ExitCode.INTERNAL


class ThermosError(Exception):
    """Root of all our errors. ``exit_code`` is what a program that ends on it exits with."""

    exit_code = ExitCode.INTERNAL


class TaskInvalid(ThermosError):
    """A task is not one that can run; carries all problems found, each with its path in the configuration."""

    exit_code = ExitCode.INVALID_TASK

    def __init__(self, source: str, problems: Sequence[object]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        text = lines[0] if len(lines) == 1 else f"{len(lines)} problems:\n  " + "\n  ".join(lines)
        super().__init__(f"{source}: {text}")


class ConfigError(TaskInvalid):
    """A configuration file cannot be used; carries all its problems."""


class TaskDiffers(ThermosError):
    """The task id already belongs to a task with another definition."""

    exit_code = ExitCode.INVALID_TASK


class IllegalMove(ThermosError):
    """A record does not follow from the state before it: our fault, or a stream that was meddled with."""


class CheckpointCorrupt(ThermosError):
    """A checkpoint is damaged before its end; names file and offset."""

    exit_code = ExitCode.CORRUPT

    def __init__(self, path: str, offset: int, detail: str) -> None:
        self.path = path
        self.offset = offset
        self.detail = detail
        super().__init__(
            f"checkpoint {path} is damaged at byte {offset}: {detail}; `thermos read {path}` shows what can be read"
        )


class CheckpointNewer(ThermosError):
    """A checkpoint was written by a version of ours that knows more than this one."""

    exit_code = ExitCode.NEWER_FORMAT


class TaskOwned(ThermosError):
    """Another runner holds the task's lock and lives."""

    exit_code = ExitCode.REFUSED


class TaskOver(ThermosError):
    """The task is already terminal; nothing can be run or killed any more."""

    exit_code = ExitCode.TERMINAL_TASK


class TaskNotFound(ThermosError):
    """No such task under the roots that were searched."""

    exit_code = ExitCode.NOT_FOUND


class UnknownUser(ThermosError):
    """The user to run as is not known on this host."""

    exit_code = ExitCode.UNKNOWN_USER


class NotPermitted(ThermosError):
    """The system does not let us: a directory, a change of user, a signal."""

    exit_code = ExitCode.PERMISSION


class NoSpace(ThermosError):
    """No room where the task's first records must go."""

    exit_code = ExitCode.NO_SPACE


class UnsupportedSystem(ThermosError):
    """The kernel lacks what the runner stands on (pidfd, openat2: Linux 5.6)."""

    exit_code = ExitCode.UNSUPPORTED_SYSTEM


class Internal(ThermosError):
    """A system call failed that must not fail; says which."""
