"""What tasks lie on this host, kept current: told by the kernel where it can tell, swept now and then besides.

Watched are: where a detector says that roots may appear; each root, and its two directories of task files; and
of each active task the directory of its checkpoint. A watch is always added before the directory is looked at,
so nothing that happens in between is missed. Events only say where to look: what is there is what counts.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping
from typing import Final

from detectors.changes import Changes, Ledger, TaskKey
from detectors.closed import DENIED
from detectors.members import Member, Parent
from detectors.roots import Look, PathDetector, flat
from detectors.rootwatch import Holders, RootWatch
from detectors.watched import ActiveTask, TaskDir
from detectors.watches import SELF, Happening, Watches
from thermos.errors import ThermosError
from thermos.formats.paths import RUNNER
from thermos.host.inotify import IN_DELETE, IN_MOVED_FROM

__all__ = ["Changes", "HostWatcher", "TaskKey"]

#: How long after a dead runner's files are closed its lock is surely gone: the kernel tells of the one first.
LOCK_GONE_S: Final = 0.2
#: Sweeps take no more than this share of the time, however much there is to sweep.
_SWEEP_SHARE: Final = 0.05
#: A root that has more events for so long is not watched until the next sweep, but looked at each second: being
#: told costs more than that, and whoever owns the root could keep us busy. Looking costs as much as some events.
_NOISY_PER_S: Final = 2_000
_NOISY_FOR_S: Final = 15.0
_NOISY_POLL_S: Final = 1.0
_LOOK_EVENTS: Final = 10
#: Directories may be renamed faster than this can follow; what is left waits for the next event.
_RESOLVES: Final = 5
#: So often may something come where roots may appear, and be none, before nobody listens there for a while.
_IDLE_LOOKS: Final = 100
_IGNORED_S: Final = 600.0


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
        self._members = [Member(each) for each in flat(detector)]
        self._roots: dict[str, RootWatch] = {}
        self._holders = Holders()
        self._again_s: dict[TaskKey, float] = {}
        self._muted: dict[str, float] = {}  # roots, and when to look at each
        self._sweep_due_s: float | None = None
        self._swept_at_s = 0.0
        self._tasks = _Tasks(self._roots)

    # -- What there is -----------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[TaskKey, bool]:
        """Every task, and whether it is active; as of the last answer of ``scan`` or ``wait``."""
        return self._tasks

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots, existing or not; a directory that two names lead to is there once."""
        return tuple(root.path for root in self._roots.values() if root.twin_of is None)

    @property
    def watch_count(self) -> int:
        """How many directories are watched."""
        return len(self._watches)

    @property
    def is_polling(self) -> bool:
        """Whether it has to look again and again, since the kernel does not tell of all changes."""
        return self._watches.trouble is not None or any(root.trouble is not None for root in self._roots.values())

    @property
    def closed(self) -> frozenset[str]:
        """The directories that may not be read: there may be tasks that are not shown."""
        found = {path for member in self._members for path in member.closed}
        return frozenset(found.union(*(root.closed for root in self._roots.values() if root.twin_of is None)))

    @property
    def notices(self) -> tuple[str, ...]:
        """In words: what is not shown, why changes may be noticed late, and which detectors do not work."""
        found = [member.trouble for member in self._members if member.trouble is not None]
        polling = f"changes are looked for every {min(self._poll_s, self._rescan_s):g} s"
        if self._watches.trouble is not None:
            found.append(f"{self._watches.trouble}: {polling}")
        why: dict[str, list[str]] = {DENIED: [*closed]} if (closed := self.closed) else {}
        for root in self._roots.values():
            if root.omission is not None:
                why.setdefault(root.omission, []).append(root.path)
            if root.trouble is not None:
                why.setdefault(f"{root.trouble}: {polling}", []).append(root.path)
        for reason, places in sorted(why.items()):
            what = "directories" if reason == DENIED else "roots"
            more = f" (and {len(places) - 1} more {what})" if len(places) > 1 else ""
            found.append(f"{min(places)}{more} {reason}")
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
            due_s = min([self._sweep_due_s, *self._again_s.values(), *self._muted.values()])
            if deadline_s is not None:
                due_s = min(due_s, deadline_s)
            happenings, is_overflow = self._watches.wait(max(due_s - time.monotonic(), 0.0), *also)
            for happening in happenings:
                self._handle(happening)
            self._resolve_twins()
            now_s = time.monotonic()
            if is_overflow or now_s >= self._sweep_due_s:
                self._sweep(is_thorough=is_overflow)
            self._look_again(now_s)
            changes = self._ledger.take()
            is_late = deadline_s is not None and now_s >= deadline_s
            if changes or is_late or (also and _is_ready(also)):
                return changes

    def _look_again(self, now_s: float) -> None:
        """Look at what was to be looked at by now."""
        for key in [key for key, at_s in self._again_s.items() if now_s >= at_s]:
            del self._again_s[key]
            if self._tasks.get(key):
                self._ledger.change(key)
        for path in [path for path, at_s in self._muted.items() if now_s >= at_s]:
            root = self._roots.get(path)
            if root is None:
                del self._muted[path]
            else:
                self._refresh(root)
                self._muted[path] = now_s + _NOISY_POLL_S

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
        self._muted.clear()
        known = list(self._roots.values())
        for member in self._members:
            self._look(member, None)
            for parent in member.parents.values():
                if parent.watch is None and parent.above is None and begin_s >= parent.ignored_until_s:
                    parent.idle_looks = 0
                    parent.listen(self._watches)
        for root in known:
            root.noise = 0
            root.is_muted = False
            self._refresh(root, is_thorough)
        self._resolve_twins()
        end_s = time.monotonic()
        pause_s = min(self._poll_s, self._rescan_s) if self.is_polling else self._rescan_s
        self._swept_at_s = end_s
        self._sweep_due_s = end_s + max(pause_s, (end_s - begin_s) / _SWEEP_SHARE)

    def _refresh(self, root: RootWatch, is_thorough: bool = False) -> None:
        """Bring *root* up to date; if it is not there, its detectors may know of another, or it is awaited."""
        if not root.names:  # nobody names it any more
            return
        was_there = root.identity is not None
        is_there = root.sync(is_thorough)
        if is_there:
            return
        if was_there:
            for member in self._members:
                if root.path in member.roots:
                    self._look(member, root.path)
        if root.names:
            root.await_it()

    def _resolve_twins(self) -> None:
        """Where the name that stood for a directory is gone, let another stand for it."""
        for _ in range(_RESOLVES):
            released = self._holders.released.copy()
            self._holders.released.clear()
            for root in [root for root in self._roots.values() if root.twin_of in released]:
                self._refresh(root)

    def _look(self, member: Member, changed: str | None) -> None:
        """Bring the roots of *member* up to date, where the entry *changed* can matter, or everywhere."""
        ask = [changed]
        while ask:
            try:
                look = member.look(ask.pop())
            except (ThermosError, OSError) as error:  # of a plug-in, or for want of a descriptor: what was found stays
                member.trouble = f"{error}: roots that come and go are not seen"
                return
            member.trouble = None
            wanted = set(look.parents)
            for path in member.parents.below(look.scope):
                if path not in wanted:
                    self._drop_parent(member.parents[path])
            for path in member.closed.below(look.scope):
                del member.closed[path]
            for path in look.closed:
                member.closed[path] = None
            new = [path for path in look.parents if self._listen(member, path)]
            gone = self._set_roots(member, look)
            # What came between the look and the watch was missed, what went may be another now: look again.
            ask += [*new, *gone] if look.scope is not None else [None] * bool(new)

    def _listen(self, member: Member, path: str) -> bool:
        """Have it told what comes and goes in the directory *path*; True if that is new."""
        parent = member.parents.get(path)
        if parent is None:
            parent = member.parents[path] = Parent(member, path)
        elif parent.watch is None:
            return False
        before = parent.watch  # another directory may have taken its place, when one further up was renamed
        parent.listen(self._watches)
        return parent.watch != before or before is None

    def _set_roots(self, member: Member, look: Look) -> list[str]:
        """Take in the roots that *member* saw; those that are not there any more."""
        there = set(look.roots)
        for path in member.roots.below(look.scope):
            if path in there:
                continue
            del member.roots[path]
            root = self._roots[path]
            root.names -= 1
            if root.names == 0:
                del self._roots[path]
                root.close()
        gone = []
        for path in look.roots:
            root = self._roots.get(path) or RootWatch(path, self._watches, self._ledger, self._holders)
            if path not in member.roots:
                member.roots[path] = None
                self._roots[path] = root
                root.names += 1
            elif look.scope is None:
                continue
            # A known one may be another directory of the same name, when one further up was renamed.
            if not root.sync():
                root.await_it()
                gone.append(path)
        return gone

    def _drop_parent(self, parent: Parent) -> None:
        del parent.member.parents[parent.path]
        parent.ignore(self._watches)

    # -- Events ------------------------------------------------------------------------------------------------------

    def _handle(self, happening: Happening) -> None:
        watch, name, mask, owners, events = happening
        for owner in owners:
            if isinstance(owner, Parent):
                self._handle_parent(owner, watch, name, mask)
            elif isinstance(owner, RootWatch):
                is_about = owner.names and owner.is_about(watch, name)
                self._count(owner, watch, events)
                if is_about:
                    self._refresh(owner)
            elif isinstance(owner, TaskDir):
                self._count(owner.root, watch, events + _LOOK_EVENTS)
                if mask & SELF:
                    self._refresh(owner.root)
                else:
                    owner.root.look_at(name)
            elif isinstance(owner, ActiveTask) and owner.root.actives.get(owner.task_id) is owner:
                self._count(owner.root, watch, events + _LOOK_EVENTS * (name == RUNNER))
                if owner.root.happened(owner, name, mask):
                    self._again_s[owner.key] = time.monotonic() + LOCK_GONE_S

    def _count(self, root: RootWatch, watch: int, events: int) -> None:
        """So much happened in *root*; if that is too much, it is not watched for a while."""
        root.noise += events
        if watch == root.above:
            if root.noise > _IDLE_LOOKS:
                root.ignore_above()
        elif not root.is_muted and root.noise > _NOISY_PER_S * _NOISY_FOR_S:
            now_s = time.monotonic()
            if root.noise > _NOISY_PER_S * (now_s - self._swept_at_s):
                root.mute()
                self._muted[root.path] = now_s + _NOISY_POLL_S

    def _handle_parent(self, parent: Parent, watch: int, name: str, mask: int) -> None:
        member = parent.member
        if member.parents.get(parent.path) is not parent:
            return
        before = len(member.parents), len(member.roots)
        if watch == parent.watch and not mask & SELF:
            self._look(member, f"{parent.path}/{name}")
        elif mask & SELF or name == parent.above_name:
            self._drop_parent(parent)
            self._look(member, parent.path)
        if before != (len(member.parents), len(member.roots)):
            parent.idle_looks = 0
        elif mask & ~(IN_DELETE | IN_MOVED_FROM):
            parent.idle_looks += 1
            if parent.idle_looks > _IDLE_LOOKS:  # the sandbox of something else, most likely
                parent.ignore(self._watches)
                parent.ignored_until_s = time.monotonic() + _IGNORED_S


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


def _is_ready(fds: tuple[int, ...]) -> bool:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
