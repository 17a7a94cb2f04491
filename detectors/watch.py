"""What tasks lie on this host, kept current: told by the kernel where it can tell, swept now and then besides.

Watched are: where a detector says that roots may appear; each root, and its two directories of task files; and
of each active task the directory of its checkpoint. A watch is always added before the directory is looked at,
so nothing that happens in between is missed. Events only say where to look: what is there is what counts.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator, Mapping
from typing import Final

from detectors.changes import Changes, Ledger, TaskKey
from detectors.roots import ChainedPathDetector, Look, LookingPathDetector, PathDetector
from detectors.rootwatch import ActiveTask, Identity, RootWatch, TaskDir
from detectors.watches import SELF, Happening, Watches, nearest
from thermos.errors import ThermosError

__all__ = ["Changes", "HostWatcher", "TaskKey"]

#: How long after a dead runner's files are closed its lock is surely gone: the kernel tells of the one first.
LOCK_GONE_S: Final = 0.2
#: Sweeps take no more than this share of the time, however much there is to sweep.
_SWEEP_SHARE: Final = 0.05


class _Member:
    """One detector: the roots it names, and the directories in which others may appear."""

    def __init__(self, detector: PathDetector) -> None:
        self._detector = detector
        self.roots: set[str] = set()
        self.parents: dict[str, _Parent] = {}
        #: Why it does not work.
        self.trouble: str | None = None

    def look(self, changed: str | None) -> Look:
        """What it sees. Raises ThermosError."""
        if isinstance(self._detector, LookingPathDetector):
            return self._detector.look(changed)
        roots = self._detector.get_paths()
        return Look(None, roots, sorted({os.path.dirname(path) for path in roots}))


class _Parent:
    """A directory in which a root may appear; ``above`` is watched while it is not there itself."""

    def __init__(self, member: _Member, path: str) -> None:
        self.member = member
        self.path = path
        self.watch: int | None = None
        self.above: int | None = None
        self.above_name = ""

    def lost(self, watch: int) -> None:
        """A watch is gone, and so is its directory."""
        if self.watch == watch:
            self.watch = None
        if self.above == watch:
            self.above = None


class HostWatcher:
    """The tasks below all roots of *detector*; a context manager, for the one inotify instance it holds.

    *rescan_s*: everything is looked at anew this often, should the kernel have failed to tell. *poll_s*: the same
    where the kernel cannot tell; ``notices`` says so then.
    """

    def __init__(self, detector: PathDetector, rescan_s: float = 30.0, poll_s: float = 5.0) -> None:
        self._rescan_s = rescan_s
        self._poll_s = poll_s
        self._watches = Watches(poll_s)
        self._ledger = Ledger()
        self._members = [_Member(each) for each in _flat(detector)]
        self._roots: dict[str, RootWatch] = {}
        self._holders: dict[Identity, RootWatch] = {}
        self._again_s: dict[TaskKey, float] = {}
        self._sweep_due_s: float | None = None
        self._tasks = _Tasks(self._roots)

    # -- What there is -----------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[TaskKey, bool]:
        """Every task, and whether it is active; as of the last answer of ``scan`` or ``wait``."""
        return self._tasks

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots, existing or not; a directory that two names lead to is there once."""
        return tuple(root.path for root in self._roots.values() if not root.is_twin)

    @property
    def watch_count(self) -> int:
        """How many directories are watched."""
        return len(self._watches)

    @property
    def notices(self) -> tuple[str, ...]:
        """In words: why changes may be noticed late, and which detectors do not work."""
        found = [member.trouble for member in self._members if member.trouble is not None]
        polling = f"changes are looked for every {min(self._poll_s, self._rescan_s):g} s"
        if self._watches.trouble is not None:
            found.append(f"{self._watches.trouble}: {polling}")
        remote = sorted((root.path, root.remote) for root in self._roots.values() if root.remote is not None)
        if remote:
            more = f" and {len(remote) - 1} more roots are" if len(remote) > 1 else " is"
            found.append(f"{remote[0][0]}{more} on a remote file system ({remote[0][1]}): {polling}")
        return tuple(found)

    # -- Asking ------------------------------------------------------------------------------------------------------

    def scan(self) -> Changes:
        """Look at everything now; the first time, every task has appeared."""
        self._sweep()
        return self._ledger.take()

    def wait(self, timeout_s: float | None, *also: int) -> Changes:
        """Return once something changed; or nothing, after *timeout_s*, or when one of *also* can be read."""
        if self._sweep_due_s is None:
            return self.scan()
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            due_s = min([self._sweep_due_s, *self._again_s.values(), *([] if deadline_s is None else [deadline_s])])
            happenings, is_overflow = self._watches.wait(max(due_s - time.monotonic(), 0.0), *also)
            for happening in happenings:
                self._handle(happening)
            now_s = time.monotonic()
            if is_overflow or now_s >= self._sweep_due_s:
                self._sweep(is_thorough=is_overflow)
            for key in [key for key, at_s in self._again_s.items() if now_s >= at_s]:
                del self._again_s[key]
                if self._tasks.get(key):
                    self._ledger.change(key)
            changes = self._ledger.take()
            is_late = deadline_s is not None and now_s >= deadline_s
            if changes or is_late or (also and _is_ready(also)):
                return changes

    def close(self) -> None:
        """Give the inotify instance back."""
        self._watches.close()

    def __enter__(self) -> HostWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- Sweeping ----------------------------------------------------------------------------------------------------

    def _sweep(self, is_thorough: bool = False) -> None:
        begin_s = time.monotonic()
        self._watches.is_full = False  # some may be free again
        known = list(self._roots.values())
        for member in self._members:
            self._look(member, None)
        for root in known:
            if root.names:
                self._refresh(root, is_thorough)
        end_s = time.monotonic()
        is_told = self._watches.trouble is None and not any(root.remote for root in self._roots.values())
        pause_s = self._rescan_s if is_told else min(self._poll_s, self._rescan_s)
        self._sweep_due_s = end_s + max(pause_s, (end_s - begin_s) / _SWEEP_SHARE)

    def _refresh(self, root: RootWatch, is_thorough: bool = False) -> None:
        """Bring *root* up to date; if it is not there, its detectors may know of another, or it is awaited."""
        was_there = root.identity is not None
        is_there = root.sync(is_thorough)
        if is_there:
            return
        if was_there:
            self._resolve_twins()
            for member in self._members:
                if root.path in member.roots:
                    self._look(member, root.path)
        if root.names:
            root.await_it()

    def _resolve_twins(self) -> None:
        for root in list(self._roots.values()):
            if root.is_twin:
                root.sync()

    def _look(self, member: _Member, changed: str | None) -> None:
        """Bring the roots of *member* up to date, where the entry *changed* can matter, or everywhere."""
        ask = [changed]
        while ask:
            try:
                look = member.look(ask.pop())
            except ThermosError as error:  # a plug-in that fails: what it found before stays
                member.trouble = str(error)
                return
            member.trouble = None
            wanted = set(look.parents)
            for path in [path for path in member.parents if path not in wanted and _within(path, look.scope)]:
                self._drop_parent(member.parents.pop(path))
            new = [path for path in look.parents if path not in member.parents]
            for path in new:
                member.parents[path] = _Parent(member, path)
                self._watch_parent(member.parents[path])
            self._set_roots(member, look)
            # What came between the look and the watch was missed: look again, now that it is watched.
            ask += new if look.scope is not None else [None] * bool(new)

    def _set_roots(self, member: _Member, look: Look) -> None:
        there = set(look.roots)
        for path in [path for path in member.roots if path not in there and _within(path, look.scope)]:
            member.roots.discard(path)
            root = self._roots[path]
            root.names -= 1
            if root.names == 0:
                del self._roots[path]
                root.close()
                self._resolve_twins()
        for path in look.roots:
            if path in member.roots:
                continue
            member.roots.add(path)
            root = self._roots.get(path) or RootWatch(path, self._watches, self._ledger, self._holders)
            self._roots[path] = root
            root.names += 1
            if root.names == 1 and not root.sync():
                root.await_it()

    def _watch_parent(self, parent: _Parent) -> None:
        parent.watch = self._watches.add(parent.path, parent)
        if parent.watch is None and not os.path.isdir(parent.path):
            above, parent.above_name = nearest(parent.path)
            parent.above = self._watches.add(above, parent)

    def _drop_parent(self, parent: _Parent) -> None:
        self._watches.drop(parent.watch, parent)
        self._watches.drop(parent.above, parent)

    # -- Events ------------------------------------------------------------------------------------------------------

    def _handle(self, happening: Happening) -> None:
        watch, name, mask, owners = happening
        for owner in owners:
            if isinstance(owner, _Parent):
                self._handle_parent(owner, watch, name, mask)
            elif isinstance(owner, RootWatch):
                if owner.names and owner.is_about(watch, name):
                    self._refresh(owner)
            elif isinstance(owner, TaskDir):
                if mask & SELF:
                    self._refresh(owner.root)
                else:
                    owner.root.look_at(name)
            elif isinstance(owner, ActiveTask):
                is_known = owner.root.actives.get(owner.task_id) is owner
                if is_known and owner.root.happened(owner, name, mask):
                    self._again_s[owner.key] = time.monotonic() + LOCK_GONE_S

    def _handle_parent(self, parent: _Parent, watch: int, name: str, mask: int) -> None:
        member = parent.member
        if member.parents.get(parent.path) is not parent:
            return
        if watch == parent.watch and not mask & SELF:
            self._look(member, f"{parent.path}/{name}")
        elif mask & SELF or name == parent.above_name:
            self._drop_parent(parent)
            del member.parents[parent.path]
            self._look(member, parent.path)


class _Tasks(Mapping[TaskKey, bool]):
    """The tasks of all roots as one mapping; holds nothing itself."""

    def __init__(self, roots: Mapping[str, RootWatch]) -> None:
        self._roots = roots

    def __getitem__(self, key: TaskKey) -> bool:
        root = self._roots[key[0]]
        if key[1] in root.actives:
            return True
        if key[1] in root.finished:
            return False
        raise KeyError(key)

    def __iter__(self) -> Iterator[TaskKey]:
        for root in self._roots.values():
            for task_id in (*root.actives, *root.finished):
                yield TaskKey(root.path, task_id)

    def __len__(self) -> int:
        return sum(len(root.actives) + len(root.finished) for root in self._roots.values())


def _flat(detector: PathDetector) -> Iterator[PathDetector]:
    if isinstance(detector, ChainedPathDetector):
        for member in detector.detectors:
            yield from _flat(member)
    else:
        yield detector


def _within(path: str, scope: str | None) -> bool:
    return scope is None or path == scope or path.startswith(scope + "/")


def _is_ready(fds: tuple[int, ...]) -> bool:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
