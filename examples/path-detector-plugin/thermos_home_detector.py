"""Finds the checkpoint roots in home directories: where ``thermos run`` keeps tasks without privileges."""

from __future__ import annotations

import os

from detectors import Look


class HomesPathDetector:
    """The root ``.local/state/thermos`` of each home directory in *base*; links among those are skipped.

    Options come from ``--detector homes:base=/home,below=.local/state/thermos``: as keywords, and as text.
    """

    def __init__(self, base: str = "/home", below: str = ".local/state/thermos") -> None:
        self._base = os.path.abspath(base)
        self._parts = below.strip("/").split("/")

    def get_paths(self) -> list[str]:
        """The roots there are now. This method is all that a detector must have."""
        return self.look().roots

    def look(self, changed: str | None = None) -> Look:
        """The same, and where others may appear; with it, an observer notices new roots at once.

        Whatever *changed*, all is looked at: few homes cost nothing.
        """
        roots, parents = [], [self._base]
        for home in self._homes():
            path = home
            for part in self._parts:
                below = f"{path}/{part}"
                if not os.path.isdir(below) or os.path.islink(below):
                    parents.append(path)  # the next part of the path must appear here
                    break
                path = below
            else:
                roots.append(path)
        return Look(None, roots, parents)

    def _homes(self) -> list[str]:
        try:
            with os.scandir(self._base) as entries:
                return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            return []
