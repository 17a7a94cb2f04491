"""What a watcher knows of each detector: the roots it names, and the directories in which others may appear."""

from __future__ import annotations

import os
from bisect import bisect_left, insort
from typing import TypeVar

from detectors.roots import Look, LookingPathDetector, PathDetector
from detectors.watches import Watches, nearest

_Value = TypeVar("_Value")


class ByPath(dict[str, _Value]):
    """Values by path, which also knows those below a directory without looking at them all."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[str] = []

    def __setitem__(self, path: str, value: _Value) -> None:
        if path not in self:
            insort(self._order, path)
        super().__setitem__(path, value)

    def __delitem__(self, path: str) -> None:
        super().__delitem__(path)
        del self._order[bisect_left(self._order, path)]

    def below(self, scope: str | None) -> list[str]:
        """The paths at and below *scope*; None: all."""
        if scope is None:
            return self._order.copy()
        first, behind = bisect_left(self._order, f"{scope}/"), bisect_left(self._order, f"{scope}0")  # "0" follows "/"
        return [*([scope] if scope in self else []), *self._order[first:behind]]


class Member:
    """One detector: the roots it names, and the directories in which others may appear."""

    def __init__(self, detector: PathDetector) -> None:
        self._detector = detector
        self.roots: ByPath[None] = ByPath()
        self.parents: ByPath[Parent] = ByPath()
        #: Directories in which there may be roots, and that may not be read.
        self.closed: ByPath[None] = ByPath()
        #: Why it does not work.
        self.trouble: str | None = None

    def look(self, changed: str | None) -> Look:
        """What it sees. Raises ThermosError."""
        if isinstance(self._detector, LookingPathDetector):
            return self._detector.look(changed)
        roots = self._detector.get_paths()
        return Look(None, roots, sorted({os.path.dirname(path) for path in roots}))


class Parent:
    """A directory in which a root may appear; ``above`` is watched while it is not there itself."""

    def __init__(self, member: Member, path: str) -> None:
        self.member = member
        self.path = path
        self.watch: int | None = None
        self.above: int | None = None
        self.above_name = ""
        #: How often in a row something came here that was no root, and until when nobody listens for that.
        self.idle_looks = 0
        self.ignored_until_s = 0.0

    def lost(self, watch: int) -> None:
        """A watch is gone, and so is its directory."""
        if self.watch == watch:
            self.watch = None
        if self.above == watch:
            self.above = None

    def listen(self, watches: Watches) -> None:
        """Have it told what comes and goes here, or when the directory itself comes."""
        before = self.watch
        self.watch = watches.add(self.path, self)
        if before != self.watch:
            watches.drop(before, self)
        watches.drop(self.above, self)
        self.above = None
        if self.watch is None and not os.path.isdir(self.path):
            above, self.above_name = nearest(self.path)
            self.above = watches.add(above, self)

    def ignore(self, watches: Watches) -> None:
        """Be told nothing any more."""
        watches.drop(self.watch, self)
        watches.drop(self.above, self)
        self.watch = self.above = None
