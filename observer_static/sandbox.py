"""What lies in a sandbox: names, kinds and sizes, within bounds, by descriptors below it and through no link.

A sandbox is its user's: he may put a million files into it, name them as he likes, and swap any part of it while we
look. See :mod:`observer_static.reach` for what is opened.
"""

from __future__ import annotations

import grp
import heapq
import os
import pwd
import stat
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from observer_static import layout
from observer_static.logtext import visible_name
from observer_static.parts import Entry
from observer_static.reach import Claim, NotShown, Place, kind_of, open_place, parts_of

MAX_ENTRIES: Final = 2000
MAX_DEPTH: Final = 6
#: Names that are looked at; then even counting ends.
MAX_LOOKS: Final = 10 * MAX_ENTRIES


class Found(NamedTuple):
    """One file or directory of a sandbox."""

    #: Path below the sandbox, as the system has it (``os.fsencode`` gives its bytes).
    relative: str
    depth: int
    kind: str
    info: os.stat_result
    #: Where a link says it leads.
    target: str | None
    #: Whether :func:`open_file` would open it.
    is_readable: bool

    @property
    def name(self) -> str:
        """Last part of the path, as the system has it."""
        return self.relative.rpartition("/")[2]


class Listing(NamedTuple):
    """What was found; directories stand before what is in them."""

    entries: tuple[Found, ...] = ()
    #: Entries that are not listed: too many or too deep. Counted as far as was looked.
    left_out: int = 0
    #: Nothing is there any more.
    is_gone: bool = False
    #: Why it cannot be listed; None: it can.
    note: str | None = None


def browse(
    sandbox: str,
    below: str = "",
    max_entries: int = MAX_ENTRIES,
    max_depth: int = MAX_DEPTH,
    *,
    claim: Claim,
) -> Listing:
    """What lies in the directory *below* of *sandbox*. Never raises for what is on disk.

    Where there is too much, what lies nearest to the top is listed. *claim*: who says where the sandbox is, see
    :func:`observer_static.reach.claim_of`.
    """
    try:
        with open_place(sandbox, claim) as place:
            walk = _Walk(place, below, max_entries, max_depth)
            walk.run()
            return Listing(walk.in_order(), walk.left_out)
    except NotShown as error:
        return Listing(is_gone=error.is_gone, note=None if error.is_gone else str(error))


def open_file(sandbox: str, relative: str, claim: Claim) -> int | None:
    """A descriptor to read the regular file *relative* of *sandbox*; None: there is none that may be shown.

    *relative* is decoded already: what is percent-encoded in it is part of a name.
    """
    try:
        parts = parts_of(relative)
        with open_place(sandbox, claim) as place:
            return place.open_file(parts)
    except NotShown:
        return None


class _Walk:
    """Goes through a tree from the top down, level by level, so that no deep part takes the room of all others."""

    def __init__(self, place: Place, below: str, max_entries: int, max_depth: int) -> None:
        self.left_out = 0
        self._place = place
        self._start = parts_of(below)
        self._room = max_entries
        self._looks = max(MAX_LOOKS, 10 * max_entries)
        self._max_depth = max_depth
        self._children: dict[tuple[str, ...], list[Found]] = {}
        self._device = -1

    def run(self) -> None:
        """Look, until there is no more or no more room. Raises NotShown if the first directory is not listable."""
        waiting: deque[tuple[tuple[str, ...], int]] = deque([(self._start, 0)])
        while waiting:
            parts, depth = waiting.popleft()
            try:
                found = self._list(parts, depth)
            except NotShown:
                if depth == 0:
                    raise
                continue  # gone, swapped or closed to him meanwhile
            self._children[parts] = found
            for entry in found:
                if self._may_descend(entry, depth):
                    waiting.append(((*parts, entry.name), depth + 1))

    def _may_descend(self, entry: Found, depth: int) -> bool:
        if entry.kind != "directory" or entry.name == layout.PAGES_NAME:
            return False
        # What is mounted in a sandbox may be slow, endless, or never answer.
        return depth + 1 < self._max_depth and entry.info.st_dev == self._device

    def _list(self, parts: tuple[str, ...], depth: int) -> list[Found]:
        if self._looks <= 0:
            return []
        dir_fd = self._place.open_dir(parts)
        try:
            info = os.fstat(dir_fd)
            if not self._place.may_list(info):
                raise NotShown("a directory that the task's user may not list")
            if depth == 0:
                self._device = info.st_dev
            names = self._names(dir_fd)
            wanted = heapq.nsmallest(self._room, names)
            self.left_out += len(names) - len(wanted)
            found = [entry for name in wanted if (entry := self._look(dir_fd, parts, name, depth)) is not None]
            self._room -= len(found)
            return found
        except OSError as error:
            raise NotShown(f"not readable: {error.strerror}") from None
        finally:
            os.close(dir_fd)

    def _names(self, dir_fd: int) -> list[str]:
        names = []
        with os.scandir(dir_fd) as entries:
            for entry in entries:
                if self._looks <= 0:
                    break
                self._looks -= 1
                names.append(entry.name)
        return names

    def _look(self, dir_fd: int, parts: tuple[str, ...], name: str, depth: int) -> Found | None:
        try:
            info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            target = os.readlink(name, dir_fd=dir_fd) if stat.S_ISLNK(info.st_mode) else None
        except OSError:
            return None  # gone meanwhile, or another thing under the same name
        relative = "/".join((*parts, name))
        return Found(relative, depth, kind_of(info.st_mode), info, target, self._place.may_read(info))

    def in_order(self) -> tuple[Found, ...]:
        """What was found, each directory right before what is in it."""
        ordered = []
        stack = list(reversed(self._children.get(self._start, [])))
        while stack:
            entry = stack.pop()
            ordered.append(entry)
            if entry.kind == "directory":
                stack += reversed(self._children.get(tuple(entry.relative.split("/")), []))
        return tuple(ordered)


def to_entries(listing: Listing, href: Callable[[str], str | None]) -> tuple[Entry, ...]:
    """*listing* as a page shows it; *href* makes the link to a file from its path below the sandbox."""
    return tuple(
        Entry(
            path=visible_name(found.relative),
            name=visible_name(found.name),
            depth=found.depth,
            kind=found.kind,
            mode=stat.filemode(found.info.st_mode),
            links=found.info.st_nlink,
            owner=f"{_user(found.info.st_uid)}:{_group(found.info.st_gid)}",
            size_bytes=found.info.st_size,
            changed_at_s=found.info.st_mtime,
            target=visible_name(found.target) if found.target is not None else None,
            href=href(found.relative) if found.is_readable else None,
        )
        for found in listing.entries
    )


@lru_cache(1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
