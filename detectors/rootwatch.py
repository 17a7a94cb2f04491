"""One checkpoint root, kept current: its tasks, and the directories that tell when they change."""

from __future__ import annotations

import os
import stat
from collections.abc import Set as AbstractSet
from typing import Final

from detectors.changes import Ledger, TaskKey
from detectors.closed import closed_at
from detectors.remote import remote_name
from detectors.watched import MOST_TASKS, PATH, ActiveTask, Identity, TaskDir, is_absent, is_task_name, open_root
from detectors.watches import ENTRIES, Owner, Watches, nearest
from thermos.checkpoints import is_owned
from thermos.formats import paths
from thermos.host.beneath import open_beneath
from thermos.host.inotify import IN_CLOSE_WRITE, IN_MODIFY

#: No more active tasks of one root are watched: whoever owns the root could use up the watches of all.
MOST_WATCHED: Final = 5_000


class Holders(dict[Identity, "RootWatch"]):
    """Which root stands for which directory; ``released`` are those that nobody stands for any more."""

    def __init__(self) -> None:
        super().__init__()
        self.released: set[Identity] = set()


class RootWatch:
    """The tasks of the root at *path*; what changes goes to *ledger*. *holders*: who stands for which directory."""

    __slots__ = (
        "_checkpoints", "_closed", "_holders", "_is_cut", "_ledger", "_own", "_tasks", "_watches", "above",
        "above_name", "actives", "dirs", "finished", "identity", "is_muted", "names", "noise", "path", "remote",
        "twin_of",
    )  # fmt: skip

    def __init__(self, path: str, watches: Watches, ledger: Ledger, holders: Holders) -> None:
        self.path = path
        #: How many detectors name it.
        self.names = 0
        self.actives: dict[str, ActiveTask] = {}
        self.finished: set[str] = set()
        self.dirs = (TaskDir(self, paths.ACTIVE), TaskDir(self, paths.FINISHED))
        #: None: it is not there.
        self.identity: Identity | None = None
        #: The directory that is known by another path already; its tasks count there.
        self.twin_of: Identity | None = None
        #: The remote file system that it lies in.
        self.remote: str | None = None
        self._is_cut = False  # it has had more tasks than are kept in mind
        self._closed: str | None = None  # a directory, it or one above, that keeps us from entering it
        #: What happened in it since the last sweep, and whether that was too much to be told of each.
        self.noise = 0
        self.is_muted = False
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

    @property
    def trouble(self) -> str | None:
        """Why its changes may be noticed late; None: they are told."""
        if self.remote is not None:
            return f"is on a remote file system ({self.remote})"
        if self.is_muted:
            return "changes faster than anybody can be told"
        if len(self.actives) > MOST_WATCHED:
            return f"has more than {MOST_WATCHED} active tasks"
        return None

    @property
    def omission(self) -> str | None:
        """What of it is not shown; None: all is."""
        is_cut = self._is_cut or any(directory.is_cut for directory in self.dirs)
        return f"has more than {MOST_TASKS} task files: not all are shown" if is_cut else None

    @property
    def closed(self) -> set[str]:
        """The directories that may not be read, and may hold tasks of it."""
        return {path for path in (self._closed, *(directory.closed for directory in self.dirs)) if path is not None}

    # -- Looking at all of it ----------------------------------------------------------------------------------------

    def sync(self, is_thorough: bool = False) -> bool:
        """Bring it up to date; False: it is not there. *is_thorough*: no watch is believed to be right."""
        try:
            if is_thorough or not self._is_settled():
                fd = open_root(self.path)
                try:
                    self._sync(fd)
                finally:
                    os.close(fd)
        except OSError as error:
            if not is_absent(error):  # nobody can tell now: as it was
                return self.identity is not None
            self.empty()
            self._closed = closed_at(self.path) if isinstance(error, PermissionError) else None
            return False
        self._closed = None
        for active in [*self.actives.values()]:
            self._check(active, is_thorough)
        self._tidy()
        return True

    def _tidy(self) -> None:
        """Watch no longer what only tells of something that is there by now."""
        if self._tasks is not None and None not in (self.dirs[0].identity, self.dirs[1].identity):
            self._watches.drop(self._tasks, self)
            self._tasks = None
        if self._checkpoints is not None and all(each.watch is not None for each in self.actives.values()):
            self._watches.drop(self._checkpoints, self)
            self._checkpoints = None

    def _is_settled(self) -> bool:
        """Whether nothing came or went, as far as time stamps tell."""
        if None in (self.identity, self._own, self.dirs[0].watch, self.dirs[1].watch):
            return False
        try:
            info = os.stat(self.path)
            return self.identity == (info.st_dev, info.st_ino) and all(each.is_settled() for each in self.dirs)
        except OSError:
            return False

    def _sync(self, fd: int) -> None:
        info = os.fstat(fd)
        identity = info.st_dev, info.st_ino
        if self.identity is not None and self.identity != identity:  # another directory in its place
            self.empty()
        self._unwatch_above()
        self.twin_of = identity if self._holders.setdefault(identity, self) is not self else None
        if self.twin_of is not None:
            return
        if self.identity is None:
            self.identity = identity
            self.remote = remote_name(fd)
        if self._own is None:
            self._own = self._watch(fd, self)
        self._is_cut = False
        active, finished = (self._names(directory, fd) for directory in self.dirs)
        if any(directory.identity is None for directory in self.dirs):
            self._watch_tasks(fd)
            for directory in self.dirs:
                directory.settled_ns = None  # something may have come before the watch
            active, finished = (self._names(directory, fd) for directory in self.dirs)
        suspects = set(active ^ self.actives.keys())
        if finished is not self.finished:  # else nothing is new among so many
            suspects |= finished ^ self.finished
        for task_id in suspects:
            is_finished = task_id in finished
            self._place(task_id, paths.FINISHED if is_finished else paths.ACTIVE if task_id in active else None)

    def _watch(self, directory: int | str, owner: Owner, mask: int = ENTRIES) -> int | None:
        return None if self.is_muted else self._watches.add(directory, owner, mask)

    def _watch_tasks(self, fd: int) -> None:
        """Have it told when one of the two directories comes."""
        self._watches.drop(self._tasks, self)
        self._tasks = None
        try:
            tasks_fd = open_beneath(fd, paths.TASKS, PATH)
        except OSError:
            return  # the root's own watch tells when it comes
        self._tasks = self._watch(tasks_fd, self)
        os.close(tasks_fd)

    def _names(self, directory: TaskDir, fd: int) -> AbstractSet[str]:
        """The names of its task files; those that are known where they are as they were, or nobody can tell now."""
        known = self.actives.keys() if directory.where == paths.ACTIVE else self.finished
        try:
            below = open_beneath(fd, f"{paths.TASKS}/{directory.where}", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if not is_absent(error):
                return known
            self._unwatch_dir(directory)
            directory.note(error)
            return set()
        try:
            info = os.fstat(below)
            if directory.identity != (info.st_dev, info.st_ino):
                self._unwatch_dir(directory)
                directory.identity = info.st_dev, info.st_ino
            directory.closed = None
            if directory.watch is None:
                directory.watch = self._watch(below, directory, ENTRIES | IN_CLOSE_WRITE)
            names = directory.names(below)
            return names if names is not None else known
        except OSError:  # its disk fails
            return known
        finally:
            os.close(below)

    # -- One task ----------------------------------------------------------------------------------------------------

    def look_at(self, task_id: str) -> None:
        """Something happened to the task file of that name."""
        if not is_task_name(task_id) or self.identity is None:
            return
        before = self.actives.get(task_id)
        try:
            where = self._where(task_id)
        except OSError:  # nobody can tell now; the next sweep will
            return
        if where is not None and len(self.actives) + len(self.finished) >= 2 * MOST_TASKS:
            self._is_cut = True
            return
        self._place(task_id, where)
        if before is not None and self.actives.get(task_id) is before:  # where it was, so written anew
            before.has_changed()
            self._ledger.change(before.key)

    def _where(self, task_id: str) -> str | None:
        """Where its task file lies; one that is being moved counts as finished. Raises OSError."""
        root_fd = open_root(self.path)
        try:
            for where in (paths.FINISHED, paths.ACTIVE, paths.FINISHED):  # moved between the first two: the third
                try:
                    fd = open_beneath(root_fd, f"{paths.TASKS}/{where}/{task_id}", os.O_PATH)
                except OSError as error:
                    if not is_absent(error):
                        raise
                    self.dirs[where == paths.FINISHED].note(error)
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
            new.has_changed()
        else:
            if active is not None:
                del self.actives[task_id]
                self._watches.drop(active.watch, active)
                self._tidy()
            if where is None:
                self.finished.discard(task_id)
                if active is not None or is_finished:
                    self._ledger.vanish(key)
                return
            if is_finished and active is None:
                return
            self.finished.add(task_id)
        if active is not None or is_finished:
            self._ledger.change(key)
        else:
            self._ledger.appear(key)

    def _watch_checkpoint(self, active: ActiveTask) -> None:
        """Watch the directory of its checkpoint, or where that must appear."""
        if self.is_muted or len(self.actives) > MOST_WATCHED:
            return
        try:
            root_fd = open_root(self.path)
        except OSError:
            return
        try:
            for _ in range(2):  # again, should it come before what tells of it is watched
                try:
                    fd = open_beneath(root_fd, f"{paths.CHECKPOINTS}/{active.task_id}", PATH)
                except OSError:
                    self._watches.drop(active.watch, active)
                    active.watch = None
                    if self._checkpoints is None:
                        self._watch_checkpoints(root_fd)
                    continue
                before = active.watch
                active.watch = self._watch(fd, active, ENTRIES | IN_MODIFY | IN_CLOSE_WRITE)
                if before != active.watch:
                    self._watches.drop(before, active)
                os.close(fd)
                return
        finally:
            os.close(root_fd)

    def _watch_checkpoints(self, root_fd: int) -> None:
        try:
            fd = open_beneath(root_fd, paths.CHECKPOINTS, PATH)
        except OSError:
            return  # the root's own watch tells when it comes
        self._checkpoints = self._watch(fd, self)
        os.close(fd)

    def _check(self, active: ActiveTask, is_thorough: bool = False) -> None:
        """See whether its files changed, and that it is watched."""
        if active.watch is None or is_thorough:
            self._watch_checkpoint(active)
        if active.has_changed():
            self._ledger.change(active.key)

    # -- Events ------------------------------------------------------------------------------------------------------

    def is_about(self, watch: int, name: str) -> bool:
        """Whether what happened to *name* in the watched directory calls for a look at the whole root."""
        if watch == self._checkpoints:
            active = self.actives.get(name)
            if active is not None:
                self._check(active)
            self._tidy()
            return not name
        if watch == self.above:
            return name in (self.above_name, "")
        return name in ("", paths.TASKS, paths.CHECKPOINTS, paths.ACTIVE, paths.FINISHED)

    def happened(self, active: ActiveTask, name: str, mask: int) -> bool:
        """Take in what happened in the directory of a checkpoint; True: its runner may be about to let go of it."""
        if not name:  # the directory itself is gone, or another
            self._check(active, is_thorough=True)
            return False
        if name not in (paths.RUNNER, paths.HEALTH):
            return False
        active.has_changed()
        self._ledger.change(active.key)
        path = paths.runner_checkpoint(self.path, active.task_id)
        return name == paths.RUNNER and bool(mask & IN_CLOSE_WRITE) and is_owned(path) is True

    # -- Coming and going --------------------------------------------------------------------------------------------

    def await_it(self) -> None:
        """Have it told when the root, which is not there, comes."""
        self._unwatch_above()
        above, self.above_name = nearest(self.path)
        self.above = self._watches.add(above, self)
        if os.path.isdir(self.path):  # it came just now
            self.sync()

    def ignore_above(self) -> None:
        """Wait no longer to be told that it comes: too much else happens there."""
        self._unwatch_above()

    def mute(self) -> None:
        """Be told nothing until ``is_muted`` is taken back; what is known stays."""
        self.is_muted = True
        self._unwatch()
        for active in self.actives.values():
            self._watches.drop(active.watch, active)
            active.watch = None

    def empty(self) -> None:
        """Nothing is in it any more: it is gone, or is known by another name."""
        for task_id in [*self.actives, *self.finished]:
            self._place(task_id, None)
        self._unwatch()
        if self.identity is not None and self._holders.get(self.identity) is self:
            del self._holders[self.identity]
            self._holders.released.add(self.identity)
        self.identity = self.remote = self.twin_of = self._closed = None
        self._is_cut = False

    def close(self) -> None:
        """It is no root any more."""
        self.empty()
        self._unwatch_above()

    def _unwatch(self) -> None:
        for watch in (self._own, self._tasks, self._checkpoints):
            self._watches.drop(watch, self)
        self._own = self._tasks = self._checkpoints = None
        for directory in self.dirs:
            self._unwatch_dir(directory)

    def _unwatch_above(self) -> None:
        self._watches.drop(self.above, self)
        self.above = None

    def _unwatch_dir(self, directory: TaskDir) -> None:
        self._watches.drop(directory.watch, directory)
        directory.forget()
