"""A task as it moves: its runner's stream read as it grows, and the wait for that."""

from __future__ import annotations

import os
from typing import Final

from thermos.checkpoints import is_owned
from thermos.core.state import RunnerState, is_repeat
from thermos.errors import IllegalMove, TaskInvalid
from thermos.formats import checkpoint, paths
from thermos.host.beneath import open_regular
from thermos.records import ProcessStatus
from thermos.schema import Task

#: Task files and coordinators' streams are read this far; what is longer is no file of ours.
_LONGEST_BYTES: Final = 64 << 20


class LiveTask:
    """What is known of a task; ``refresh`` reads on. Never raises for what lies on disk."""

    def __init__(self, root: str, task_id: str) -> None:
        self.root = root
        self.task_id = task_id
        self.path = paths.runner_checkpoint(root, task_id)
        self.state = RunnerState()
        #: What ended the reading, if something did.
        self.trouble: str | None = None
        self._decoder = checkpoint.Decoder()
        self._fd = -1
        self._offset = 0
        try:
            self._fd = _open_below(root, self.path)
        except OSError as error:
            self.trouble = f"{self.path}: {error.strerror}"

    def refresh(self) -> bool:
        """Read what was added; True if something was."""
        moved = False
        while self._fd >= 0 and self.trouble is None:
            data = os.pread(self._fd, 1 << 20, self._offset)
            if not data:
                break
            self._offset += len(data)
            for entry in self._decoder.feed(data):
                if entry.record is None or is_repeat(self.state, entry.record):
                    continue
                try:
                    self.state.apply(entry.record)
                    moved = True
                except IllegalMove as error:
                    self.trouble = f"{self.path} at byte {entry.offset}: {error}"
                    break
            damage = self._decoder.damage
            if damage is not None:
                self.trouble = f"{self.path} at byte {damage.offset}: {damage.detail}"
        return moved

    @property
    def is_over(self) -> bool:
        """Whether the task ended."""
        state = self.state.task_state
        return state is not None and state.is_terminal

    def runner_lives(self) -> bool | None:
        """Whether a runner owns the task; None: cannot be told."""
        return is_owned(self.path)

    def run_is_over(self, process: str, number: int) -> bool:
        """Whether run *number* of *process* ended, as the runner says, or its coordinator where there is no runner."""
        history = self.state.processes.get(process)
        if history is None:
            return self.is_over
        if self.is_over or history.last.number > number or history.last.state.is_terminal:
            return True
        return self.runner_lives() is False and self._coordinator_says_over(process, history.last.seq)

    def _coordinator_says_over(self, process: str, seq: int) -> bool:
        try:
            data = _read_below(self.root, paths.process_checkpoint(self.root, self.task_id, process))
        except (OSError, ValueError):
            return False
        return any(
            isinstance(record, ProcessStatus) and record.state.is_terminal and record.seq > seq
            for record in checkpoint.decode(data).records
        )

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_below(root: str, path: str) -> int:
    """A descriptor of the regular file *path*, which starts with *root*; nothing below may be a link."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_regular(root_fd, path[len(root) + 1 :], os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(root_fd)


def _read_below(root: str, path: str) -> bytes:
    with os.fdopen(_open_below(root, path), "rb") as file:
        return file.read(_LONGEST_BYTES)


def definition(root: str, task_id: str) -> tuple[Task | None, str | None]:
    """(the task's definition, or None; why there is none)."""
    from thermos.formats import task_json

    trouble = "the task file is gone"
    for where in (paths.ACTIVE, paths.FINISHED):
        path = paths.task_path(root, task_id, where)
        try:
            return task_json.decode(_read_below(root, path), path), None
        except FileNotFoundError:
            continue
        except OSError as error:
            trouble = f"{path}: {error.strerror or error}"
        except TaskInvalid as error:
            trouble = str(error)
    return None, trouble
