"""What is different since somebody last asked."""

from __future__ import annotations

from typing import NamedTuple


class TaskKey(NamedTuple):
    """A task on this host: two roots may hold the same id."""

    root: str
    task_id: str


class Changes(NamedTuple):
    """What is different since the last answer; false when nothing is."""

    #: New ones; ``HostWatcher.tasks`` says whether they are active.
    appeared: frozenset[TaskKey]
    #: Their checkpoint, task file or place changed, or their runner closed its stream: it may have died.
    changed: frozenset[TaskKey]
    vanished: frozenset[TaskKey]

    def __bool__(self) -> bool:
        return bool(self.appeared or self.changed or self.vanished)


class Ledger:
    """Collects changes until they are asked for; of several to one task, what they come to."""

    def __init__(self) -> None:
        self._appeared: set[TaskKey] = set()
        self._changed: set[TaskKey] = set()
        self._vanished: set[TaskKey] = set()

    def appear(self, key: TaskKey) -> None:
        """It is there."""
        if key in self._vanished:  # away and back: another of the same name
            self._vanished.remove(key)
            self._changed.add(key)
        else:
            self._appeared.add(key)

    def change(self, key: TaskKey) -> None:
        """It is different."""
        if key not in self._appeared:
            self._changed.add(key)

    def vanish(self, key: TaskKey) -> None:
        """It is gone."""
        self._changed.discard(key)
        if key in self._appeared:  # nobody was told of it
            self._appeared.remove(key)
        else:
            self._vanished.add(key)

    def take(self) -> Changes:
        """All that was collected, once."""
        changes = Changes(frozenset(self._appeared), frozenset(self._changed), frozenset(self._vanished))
        for each in (self._appeared, self._changed, self._vanished):
            each.clear()
        return changes
