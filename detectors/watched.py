"""What is watched of one root: its directories of task files, and the checkpoints of its active tasks."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from detectors.changes import TaskKey
from detectors.closed import closed_at
from thermos.formats import paths

if TYPE_CHECKING:
    from detectors.rootwatch import RootWatch

#: Device and inode.
Identity: TypeAlias = tuple[int, int]

PATH: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

#: What a file system answers when something is not there, or is not what it should be. Any other error says only
#: that it cannot be told now: no descriptor is free, the disk fails.
_ABSENT: Final = (
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG,
    errno.EINVAL, errno.EISDIR,
)  # fmt: skip


#: A directory that changed longer ago than this when it is read cannot change again without its time stamp telling.
_SETTLED_NS: Final = 1_000_000_000
#: No more task files of one directory are listed: whoever owns the root could use up the memory of all.
MOST_TASKS: Final = 200_000


class TaskDir:
    """One of the two directories of task files."""

    __slots__ = ("closed", "identity", "is_cut", "root", "settled_ns", "watch", "where")

    def __init__(self, root: RootWatch, where: str) -> None:
        self.root = root
        self.where = where
        self.watch: int | None = None
        self.identity: Identity | None = None
        #: Time stamp under which its names are known for sure.
        self.settled_ns: int | None = None
        #: It has more task files than are listed.
        self.is_cut = False
        #: The directory, it or one above, that may not be read.
        self.closed: str | None = None

    @property
    def path(self) -> str:
        """Where it lies."""
        return paths.task_dir(self.root.path, self.where)

    def lost(self, watch: int) -> None:
        """Its watch is gone, and so is the directory."""
        if self.watch == watch:
            self.watch = self.identity = self.settled_ns = None

    def forget(self) -> None:
        """Nothing is known of it any more."""
        self.watch = self.identity = self.settled_ns = self.closed = None
        self.is_cut = False

    def note(self, error: OSError) -> None:
        """It was not there, as *error* says, or may not be entered."""
        self.closed = closed_at(self.path) if isinstance(error, PermissionError) else None

    def is_settled(self) -> bool:
        """Whether it is as it was read last. Raises OSError."""
        info = os.stat(self.path)
        return (
            self.closed is None and self.identity == (info.st_dev, info.st_ino) and self.settled_ns == info.st_mtime_ns
        )

    def names(self, fd: int) -> set[str] | None:
        """The names of task files in it, open as *fd*; None: as they were when this last told them. Raises OSError."""
        changed_ns = os.fstat(fd).st_mtime_ns
        if self.settled_ns == changed_ns:
            return None
        self.settled_ns = None
        self.is_cut = False
        is_settled = time.time_ns() - changed_ns > _SETTLED_NS
        found: set[str] = set()
        with os.scandir(fd) as entries:
            for entry in entries:
                if is_task_name(entry.name) and entry.is_file(follow_symlinks=False):
                    if len(found) == MOST_TASKS:
                        self.is_cut = True
                        return found
                    found.add(entry.name)
        if is_settled:
            self.settled_ns = changed_ns
        return found


class ActiveTask:
    """A task that is under way, and the directory of its checkpoint."""

    __slots__ = ("root", "signature", "task_id", "watch")

    def __init__(self, root: RootWatch, task_id: str) -> None:
        self.root = root
        self.task_id = task_id
        self.watch: int | None = None
        #: What its files were like when it was last looked at.
        self.signature: tuple[int, ...] | None = None

    @property
    def key(self) -> TaskKey:
        """Its name on this host."""
        return TaskKey(self.root.path, self.task_id)

    def lost(self, watch: int) -> None:
        """Its watch is gone, and so is the directory."""
        if self.watch == watch:
            self.watch = None

    def has_changed(self) -> bool:
        """Whether its files are others, or of another size, than when this was last asked."""
        before = self.signature
        self.signature = (
            *_signature(paths.runner_checkpoint(self.root.path, self.task_id)),
            *_signature(paths.task_path(self.root.path, self.task_id, paths.ACTIVE)),
            *_signature(paths.health_file(self.root.path, self.task_id)),
        )
        return self.signature != before


def _signature(path: str) -> tuple[int, int]:
    try:
        info = os.lstat(path)
    except (OSError, ValueError):  # ValueError: a NUL in it
        return 0, -1
    return info.st_ino, info.st_size


def is_absent(error: OSError) -> bool:
    """Whether *error* says that something is not there, rather than that nobody can tell."""
    return error.errno in _ABSENT


def open_root(path: str) -> int:
    """A descriptor of the root. Raises OSError; refuses a link that somebody else made, who may turn it anywhere."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except ValueError:  # a NUL in it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    info = os.fstat(fd)
    if stat.S_ISDIR(info.st_mode):
        return fd
    os.close(fd)
    if not stat.S_ISLNK(info.st_mode) or info.st_uid not in (0, os.geteuid()):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return os.open(path, PATH)


def is_task_name(name: str) -> bool:
    """Whether a file of that name among the task files can be one."""
    return not name.startswith(".")
