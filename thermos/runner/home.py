"""Where a runner keeps its task: the directories of one task below a root, held by descriptors.

The root may lie in a sandbox whose user can rename what is there and put links in its place. A descriptor stays
what it was; and as root we work in nobody else's directories.
"""

from __future__ import annotations

import os
import stat

from thermos.checkpoints import read_task
from thermos.errors import NotPermitted, TaskOwned
from thermos.formats import paths
from thermos.host import proc
from thermos.host.beneath import make_dirs, open_dir, open_regular
from thermos.host.journal import Journal

#: How long to wait for the lock of a runner that is dead: a child that it had just forked may hold it still.
ORPHANED_LOCK_S = 10.0
#: Largest task file that is read.
MAX_TASK_BYTES = 64 << 20


class Home:
    """The directories of task *task_id* below *root*, made where they are missing. Raises OSError, NotPermitted."""

    def __init__(self, root: str, task_id: str) -> None:
        self.root = root
        self.task_id = task_id
        root_fd = _open_root(root)
        try:
            self.active_fd = make_dirs(root_fd, f"tasks/{paths.ACTIVE}")
            self.finished_fd = make_dirs(root_fd, f"tasks/{paths.FINISHED}")
            checkpoints_fd = make_dirs(root_fd, "checkpoints")
            self.checkpoint_fd = make_dirs(checkpoints_fd, task_id, 0o700)
            os.close(checkpoints_fd)
        except OSError as error:
            error.filename = f"{root}/{error.filename}"
            raise
        finally:
            os.close(root_fd)
        for fd in (self.active_fd, self.finished_fd, self.checkpoint_fd):
            owner_uid = os.fstat(fd).st_uid
            if os.geteuid() == 0 != owner_uid:
                raise NotPermitted(
                    f"a directory of task {task_id} below {root} belongs to uid {owner_uid}: run as that user, "
                    "or choose another root; root trusts nobody else's checkpoints"
                )

    def close(self) -> None:
        """Let go of the directories."""
        for fd in (self.active_fd, self.finished_fd, self.checkpoint_fd):
            os.close(fd)

    def own_stream(self) -> Journal:
        """The runner's stream, locked. Raises TaskOwned if a runner that lives has it."""
        path = paths.runner_checkpoint(self.root, self.task_id)
        try:
            return Journal.open(path, self.checkpoint_fd)
        except TaskOwned:
            statuses = read_task(self.root, self.task_id, keep_runs=1).state.statuses
            last = statuses[-1] if statuses else None
            if last is None or proc.is_alive(last.runner_pid, last.runner_start_ticks):
                who = f"its runner, pid {last.runner_pid}, lives" if last is not None else "another runner starts it"
                raise TaskOwned(f"task {self.task_id} is owned: {who}; `thermos kill {self.task_id}` ends it") from None
            return Journal.open(path, self.checkpoint_fd, wait_s=ORPHANED_LOCK_S)

    @property
    def is_finished(self) -> bool:
        """The task's file lies under ``finished/``."""
        try:
            os.stat(self.task_id, dir_fd=self.finished_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def read_task_file(self) -> str | None:
        """The task as it lies under ``active/``; None if it does not. Raises OSError, UnicodeDecodeError."""
        try:
            fd = open_regular(self.active_fd, self.task_id, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(MAX_TASK_BYTES).decode()

    def write_task_file(self, text: str) -> None:
        """Put the task under ``active/``, durably: whole or not at all. Raises OSError.

        It is written in the checkpoint's directory first, where no reader of tasks sees it, and where the next
        attempt uses the same name if we die on the way.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(paths.NEW_TASK, flags, 0o600, dir_fd=self.checkpoint_fd)
        try:
            try:
                data = text.encode()
                while data:
                    data = data[os.write(fd, data) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            os.fsync(self.checkpoint_fd)  # the stream's name too: a task without its stream would begin anew
            os.rename(paths.NEW_TASK, self.task_id, src_dir_fd=self.checkpoint_fd, dst_dir_fd=self.active_fd)
        except OSError as error:
            error.filename = paths.task_path(self.root, self.task_id, paths.ACTIVE)
            os.unlink(paths.NEW_TASK, dir_fd=self.checkpoint_fd)
            raise
        os.fsync(self.active_fd)

    def finish(self) -> None:
        """``tasks/active/ID`` becomes ``tasks/finished/ID``, durably. Does nothing if that is done already."""
        try:
            os.rename(self.task_id, self.task_id, src_dir_fd=self.active_fd, dst_dir_fd=self.finished_fd)
        except FileNotFoundError:
            return
        os.fsync(self.finished_fd)
        os.fsync(self.active_fd)


def _open_root(root: str) -> int:
    os.makedirs(root, exist_ok=True)
    info = os.lstat(root)
    if stat.S_ISLNK(info.st_mode):
        if info.st_uid != os.geteuid():
            raise NotPermitted(f"the root {root} is a link that uid {info.st_uid} made; give the directory itself")
        root = os.path.realpath(root)
    return open_dir(root)
