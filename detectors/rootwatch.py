"""One checkpoint root, kept current: its tasks, and the directories that tell when they change."""

from __future__ import annotations

import os
import stat
import time
from typing import Final

from detectors.changes import Ledger, TaskKey
from detectors.remote import remote_name
from detectors.watches import ENTRIES, Watches, nearest
from thermos.checkpoints import is_owned
from thermos.formats import paths
from thermos.host.beneath import open_beneath
from thermos.host.inotify import IN_CLOSE_WRITE, IN_MODIFY

#: A directory that changed longer ago than this when it is read cannot change again without its time stamp telling.
_SETTLED_NS: Final = 1_000_000_000
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_PATH: Final = os.O_PATH | os.O_DIRECTORY

#: Device and inode.
Identity = tuple[int, int]


class TaskDir:
    """One of the two directories of task files."""

    __slots__ = ("identity", "root", "settled_ns", "watch", "where")

    def __init__(self, root: RootWatch, where: str) -> None:
        self.root = root
        self.where = where
        self.watch: int | None = None
        self.identity: Identity | None = None
        #: Time stamp under which its names are known for sure.
        self.settled_ns: int | None = None

    def lost(self, watch: int) -> None:
        """Its watch is gone, and so is the directory."""
        if self.watch == watch:
            self.watch = self.identity = self.settled_ns = None

    def is_settled(self) -> bool:
        """Whether it is as it was read last."""
        info = os.stat(paths.task_dir(self.root.path, self.where))
        return self.identity == (info.st_dev, info.st_ino) and self.settled_ns == info.st_mtime_ns


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
        return TaskKey(self.root.path, self.task_id)

    def lost(self, watch: int) -> None:
        """Its watch is gone, and so is the directory."""
        if self.watch == watch:
            self.watch = None


class RootWatch:
    """The tasks of the root at *path*; what changes goes to *ledger*. *holders*: who stands for which directory."""

    __slots__ = (
        "_checkpoints", "_holders", "_ledger", "_own", "_tasks", "_watches", "above", "above_name", "actives",
        "dirs", "finished", "identity", "is_twin", "names", "path", "remote",
    )  # fmt: skip

    def __init__(self, path: str, watches: Watches, ledger: Ledger, holders: dict[Identity, RootWatch]) -> None:
        self.path = path
        #: How many detectors name it.
        self.names = 0
        self.actives: dict[str, ActiveTask] = {}
        self.finished: set[str] = set()
        self.dirs = (TaskDir(self, paths.ACTIVE), TaskDir(self, paths.FINISHED))
        #: None: it is not there.
        self.identity: Identity | None = None
        #: The same directory is known by another path already; its tasks count there.
        self.is_twin = False
        #: The remote file system that it lies in.
        self.remote: str | None = None
        #: The watch that tells when it comes, and the name that must appear there.
        self.above: int | None = None
        self.above_name = ""
        self._own: int | None = None  # watches on the root itself, on tasks/ and on checkpoints/
        self._tasks: int | None = None
        self._checkpoints: int | None = None
        self._watches = watches
        self._ledger = ledger
        self._holders = holders

    def lost(self, watch: int) -> None:
        """A watch is gone, and so is its directory."""
        for name in ("_own", "_tasks", "_checkpoints", "above"):
            if getattr(self, name) == watch:
                setattr(self, name, None)

    # -- Looking at all of it ----------------------------------------------------------------------------------------

    def sync(self, is_thorough: bool = False) -> bool:
        """Bring it up to date; False: it is not there. *is_thorough*: no watch is believed to be right."""
        try:
            if is_thorough or not self._is_settled():
                fd = _open_root(self.path)
                try:
                    self._sync(fd)
                finally:
                    os.close(fd)
        except (OSError, ValueError):  # ValueError: a NUL in its path
            self.empty()
            return False
        for active in [*self.actives.values()]:
            self._check(active, is_thorough)
        return True

    def _is_settled(self) -> bool:
        """Whether nothing came or went, as far as time stamps tell. Raises OSError."""
        if None in (self.identity, self._own, self.dirs[0].watch, self.dirs[1].watch):
            return False
        info = os.stat(self.path)
        return self.identity == (info.st_dev, info.st_ino) and all(each.is_settled() for each in self.dirs)

    def _sync(self, fd: int) -> None:
        info = os.fstat(fd)
        identity = info.st_dev, info.st_ino
        if self.identity is not None and self.identity != identity:  # another directory in its place
            self.empty()
        self._unwatch_above()
        self.is_twin = self._holders.setdefault(identity, self) is not self
        if self.is_twin:
            return
        if self.identity is None:
            self.identity = identity
            self.remote = remote_name(fd)
        if self._own is None:
            self._own = self._watches.add(fd, self)
        active, finished = self._list(fd)
        if None in (self.dirs[0].identity, self.dirs[1].identity):
            self._watch_tasks(fd)
            active, finished = self._list(fd)  # what came before the watch
        elif self._tasks is not None:
            self._watches.drop(self._tasks, self)
            self._tasks = None
        suspects: set[str] = set()
        if active is None:
            active = set(self.actives)
        if finished is None:
            finished = self.finished
        else:
            suspects = finished ^ self.finished
        suspects |= active ^ self.actives.keys()
        for task_id in suspects:
            is_finished = task_id in finished
            self._place(task_id, paths.FINISHED if is_finished else paths.ACTIVE if task_id in active else None)

    def _watch_tasks(self, fd: int) -> None:
        """Have it told when one of the two directories comes."""
        self._watches.drop(self._tasks, self)
        self._tasks = None
        try:
            tasks_fd = open_beneath(fd, "tasks", _PATH)
        except OSError:
            return  # the root's own watch tells when it comes
        self._tasks = self._watches.add(tasks_fd, self)
        os.close(tasks_fd)

    def _list(self, fd: int) -> tuple[set[str] | None, set[str] | None]:
        """The names in both directories; None: as they were."""
        return self._names(self.dirs[0], fd), self._names(self.dirs[1], fd)

    def _names(self, directory: TaskDir, fd: int) -> set[str] | None:
        try:
            below = open_beneath(fd, f"tasks/{directory.where}", _DIRECTORY)
        except OSError:
            self._unwatch_dir(directory)
            return set()
        try:
            info = os.fstat(below)
            if directory.identity != (info.st_dev, info.st_ino):
                self._unwatch_dir(directory)
                directory.identity = info.st_dev, info.st_ino
            if directory.watch is None:
                directory.watch = self._watches.add(below, directory, ENTRIES | IN_CLOSE_WRITE)
            changed_ns = os.fstat(below).st_mtime_ns
            if directory.settled_ns == changed_ns:
                return None
            is_settled = time.time_ns() - changed_ns > _SETTLED_NS
            with os.scandir(below) as entries:
                names = {e.name for e in entries if _is_task_name(e.name) and e.is_file(follow_symlinks=False)}
            directory.settled_ns = changed_ns if is_settled else None
            return names
        except OSError:  # it vanished meanwhile, or its disk fails; what is there cannot be told
            directory.settled_ns = None
            return set()
        finally:
            os.close(below)

    # -- One task ----------------------------------------------------------------------------------------------------

    def look_at(self, task_id: str) -> None:
        """Something happened to the task file of that name."""
        if not _is_task_name(task_id) or self.identity is None:
            return
        before = self.actives.get(task_id)
        self._place(task_id, self._where(task_id))
        if before is not None and self.actives.get(task_id) is before:  # where it was, so written anew
            before.signature = self._signature(before)
            self._ledger.change(before.key)

    def _where(self, task_id: str) -> str | None:
        """Where its task file lies; one that is being moved counts as finished."""
        try:
            root_fd = _open_root(self.path)
        except OSError:
            return None
        try:
            for where in (paths.FINISHED, paths.ACTIVE, paths.FINISHED):  # moved between the first two: the third
                try:
                    fd = open_beneath(root_fd, f"tasks/{where}/{task_id}", os.O_PATH)
                except (OSError, ValueError):
                    continue
                is_file = stat.S_ISREG(os.fstat(fd).st_mode)
                os.close(fd)
                if is_file:
                    return where
            return None
        finally:
            os.close(root_fd)

    def _place(self, task_id: str, where: str | None) -> None:
        """Note where a task lies now."""
        active = self.actives.get(task_id)
        is_finished = task_id in self.finished
        key = TaskKey(self.path, task_id)
        if where == paths.ACTIVE:
            if active is not None:
                return
            new = self.actives[task_id] = ActiveTask(self, task_id)
            self.finished.discard(task_id)
            self._watch_checkpoint(new)
            new.signature = self._signature(new)
        else:
            if active is not None:
                del self.actives[task_id]
                self._watches.drop(active.watch, active)
            if where is None:
                self.finished.discard(task_id)
                if active is not None or is_finished:
                    self._ledger.vanish(key)
                return
            if is_finished:
                return
            self.finished.add(task_id)
        if active is not None or is_finished:
            self._ledger.change(key)
        else:
            self._ledger.appear(key)

    def _watch_checkpoint(self, active: ActiveTask) -> None:
        """Watch the directory of its checkpoint, or where that must appear."""
        try:
            root_fd = _open_root(self.path)
        except OSError:
            return
        try:
            for _ in range(2):  # again, should it come before what tells of it is watched
                try:
                    fd = open_beneath(root_fd, f"checkpoints/{active.task_id}", _PATH)
                except (OSError, ValueError):
                    if self._checkpoints is None:
                        self._watch_checkpoints(root_fd)
                    continue
                before = active.watch
                active.watch = self._watches.add(fd, active, ENTRIES | IN_MODIFY | IN_CLOSE_WRITE)
                if before != active.watch:
                    self._watches.drop(before, active)
                os.close(fd)
                return
        finally:
            os.close(root_fd)

    def _watch_checkpoints(self, root_fd: int) -> None:
        try:
            fd = open_beneath(root_fd, "checkpoints", _PATH)
        except OSError:
            return  # the root's own watch tells when it comes
        self._checkpoints = self._watches.add(fd, self)
        os.close(fd)

    def _check(self, active: ActiveTask, is_thorough: bool = False) -> None:
        """See whether its files changed, by size and inode."""
        if active.watch is None or is_thorough:
            self._watch_checkpoint(active)
        signature = self._signature(active)
        if signature != active.signature:
            active.signature = signature
            self._ledger.change(active.key)

    def _signature(self, active: ActiveTask) -> tuple[int, ...]:
        return (
            *_signature(paths.runner_checkpoint(self.path, active.task_id)),
            *_signature(paths.task_path(self.path, active.task_id, paths.ACTIVE)),
        )

    # -- Events ------------------------------------------------------------------------------------------------------

    def is_about(self, watch: int, name: str) -> bool:
        """Whether what happened to *name* in the watched directory calls for a look at the whole root."""
        if watch == self._checkpoints:
            active = self.actives.get(name)
            if active is not None:
                self._check(active)
            if all(each.watch is not None for each in self.actives.values()):
                self._watches.drop(self._checkpoints, self)
                self._checkpoints = None
            return not name
        if watch == self.above and name == self.above_name:
            return True
        return not name or name in ("tasks", "checkpoints", paths.ACTIVE, paths.FINISHED)

    def happened(self, active: ActiveTask, name: str, mask: int) -> bool:
        """Take in what happened in the directory of a checkpoint; True: its runner may be about to let go of it."""
        if not name:  # the directory itself is gone, or another
            self._check(active, is_thorough=True)
            return False
        if name != paths.RUNNER:
            return False
        active.signature = self._signature(active)
        self._ledger.change(active.key)
        path = paths.runner_checkpoint(self.path, active.task_id)
        return bool(mask & IN_CLOSE_WRITE) and is_owned(path) is True

    # -- Coming and going --------------------------------------------------------------------------------------------

    def await_it(self) -> None:
        """Have it told when the root, which is not there, comes."""
        self._unwatch_above()
        above, self.above_name = nearest(self.path)
        self.above = self._watches.add(above, self)
        if os.path.isdir(self.path):  # it came just now
            self.sync()

    def empty(self) -> None:
        """Nothing is in it any more: it is gone, or is known by another name."""
        for task_id in [*self.actives, *self.finished]:
            self._place(task_id, None)
        for watch in (self._own, self._tasks, self._checkpoints):
            self._watches.drop(watch, self)
        self._own = self._tasks = self._checkpoints = None
        for directory in self.dirs:
            self._unwatch_dir(directory)
        if self.identity is not None and self._holders.get(self.identity) is self:
            del self._holders[self.identity]
        self.identity = self.remote = None
        self.is_twin = False

    def close(self) -> None:
        """It is no root any more."""
        self.empty()
        self._unwatch_above()

    def _unwatch_above(self) -> None:
        self._watches.drop(self.above, self)
        self.above = None

    def _unwatch_dir(self, directory: TaskDir) -> None:
        self._watches.drop(directory.watch, directory)
        directory.watch = directory.identity = directory.settled_ns = None


def _is_task_name(name: str) -> bool:
    return not name.startswith(".")


def _signature(path: str) -> tuple[int, int]:
    try:
        info = os.lstat(path)
    except (OSError, ValueError):
        return 0, -1
    return info.st_ino, info.st_size


def _open_root(path: str) -> int:
    """A descriptor of the root. Raises OSError; refuses a link that somebody else made, who may swap it."""
    fd = os.open(path, _PATH | os.O_CLOEXEC)
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode) and info.st_uid not in (0, os.geteuid()):
            raise NotADirectoryError(f"{path} is a link that uid {info.st_uid} made")
    except OSError:
        os.close(fd)
        raise
    return fd
