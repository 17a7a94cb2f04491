"""The directories that an observer has watched, in one inotify instance, and for whom."""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple, Protocol

from thermos.host.inotify import (
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_MASK_ADD,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    Watcher,
)

#: An entry comes or goes, or the directory itself does. Nothing that reading a directory does is among them.
ENTRIES: Final = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF
#: The directory itself is not where it was any more.
SELF: Final = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED

_LIMIT_FILE: Final = "/proc/sys/fs/inotify/max_user_watches"
#: Why a directory cannot be watched now and may be later: no watch is free, or no memory.
_FULL: Final = (errno.ENOSPC, errno.ENOMEM)
#: Reads of what is queued in one go; each takes some thousand events.
_READS: Final = 16


class Owner(Protocol):
    """Who has a directory watched."""

    def lost(self, watch: int) -> None:
        """The kernel dropped this watch: its directory is gone."""
        ...


class Happening(NamedTuple):
    """All that happened to one name in one watched directory, or to the directory (name ``""``)."""

    watch: int
    name: str
    mask: int
    owners: tuple[Owner, ...]
    #: How often.
    events: int


class Watches:
    """One inotify instance. ``trouble`` says in words why not everything is watched; None: it is."""

    def __init__(self, poll_s: float) -> None:
        self._watcher = Watcher(poll_s)
        self._owners: dict[int, tuple[Owner, ...]] = {}
        self.is_full = False

    @property
    def trouble(self) -> str | None:
        """Why changes may go unnoticed; None: they do not."""
        if self._watcher.fallback is not None:
            return self._watcher.fallback
        if self.is_full:
            return f"inotify's limit of watches is reached ({_LIMIT_FILE}: {_limit()})"
        return None

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, directory: str | int, owner: Owner, mask: int = ENTRIES) -> int | None:
        """Watch *directory* (a path, or an open descriptor) for *owner*. None: it is not there, or cannot be."""
        if self._watcher.fallback is not None or self.is_full:
            return None
        try:
            # One inode has one watch, whoever wants it: masks are added up.
            watch = self._watcher.add(directory, mask | IN_ONLYDIR | IN_MASK_ADD)
        except OSError as error:
            self.is_full = error.errno in _FULL
            return None
        except ValueError:  # a NUL in the path
            return None
        owners = self._owners.get(watch, ())
        if owner not in owners:
            self._owners[watch] = (*owners, owner)
        return watch

    def drop(self, watch: int | None, owner: Owner) -> None:
        """*owner* does not want *watch* any more."""
        if watch is None or watch not in self._owners:
            return
        left = tuple(each for each in self._owners[watch] if each is not owner)
        if left:
            self._owners[watch] = left
        else:
            del self._owners[watch]
            self._watcher.unwatch(watch)

    def wait(self, timeout_s: float | None, *also: int) -> tuple[list[Happening], bool]:
        """(what happened, whether events were lost); returns early when one of *also* can be read."""
        together: dict[tuple[int, str], tuple[int, int]] = {}
        overflow = False
        events = self._watcher.wait(timeout_s, *also)
        for _ in range(_READS):
            for event in events:
                if event.mask & IN_Q_OVERFLOW:
                    overflow = True
                else:
                    key = event.watch, event.name
                    mask, count = together.get(key, (0, 0))
                    together[key] = mask | event.mask, count + 1
            if not events or self._watcher.fallback is not None:
                break
            events = self._watcher.wait(0)
        happenings = []
        for (watch, name), (mask, count) in together.items():
            owners = self._owners.get(watch)
            if owners is None:  # of a watch that was dropped meanwhile
                continue
            if mask & IN_IGNORED:
                del self._owners[watch]
                for owner in owners:
                    owner.lost(watch)
            happenings.append(Happening(watch, name, mask, owners, count))
        return happenings, overflow

    def close(self) -> None:
        """Give the instance back."""
        self._watcher.close()
        self._owners.clear()


def nearest(path: str) -> tuple[str, str]:
    """The nearest directory above *path* that exists, and the name in it that leads there."""

    while True:
        above, _, name = path.rpartition("/")
        if not above:
            return "/", name
        if os.path.isdir(above):
            return above, name
        path = above


def _limit() -> str:
    try:
        with open(_LIMIT_FILE, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
