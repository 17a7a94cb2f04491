"""Which tasks a site shows, where their pages lie, and what a change makes due. No files are touched here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from detectors.watch import TaskKey
from observer_static import layout
from observer_static.paging import NEWEST, Change, Shelf


class Roster:
    """The tasks of a site, and what is to be written because they changed."""

    def __init__(self, finished_pages: int) -> None:
        #: Every task that is shown → whether it is active.
        self.tasks: dict[TaskKey, bool] = {}
        #: Those that are finished, on pages.
        self.shelf: Shelf[TaskKey] = Shelf(finished_pages)
        #: Tasks whose row and pages are to be looked at, in the order in which they became so.
        self.due: dict[TaskKey, None] = {}
        self.is_index_due = True
        #: Numbers of pages of finished tasks to be written, or taken away if there is no such page any more.
        self.shelves_due: set[int] = {NEWEST}
        #: Those of them whose tasks' own pages are to be looked at as well.
        self.whole: set[int] = set()
        #: Directories of tasks to be taken away.
        self.gone: set[str] = set()
        self._roots: dict[str, set[str]] = {}

    def page_key(self, key: TaskKey) -> str:
        """Name of the directory of the task's pages: its id's, and its root's where several have that id."""
        return _names(key.task_id, self._roots.get(key.task_id, {key.root}))[key.root]

    def is_kept(self, key: TaskKey) -> bool:
        """Whether the task has pages of its own."""
        return self.tasks[key] or self.shelf.is_kept(key)

    def is_listed(self, key: TaskKey) -> bool:
        """Whether it stands on one of the two pages that change all the time."""
        return self.tasks[key] or self.shelf.number(key) == NEWEST

    # -- Changes -----------------------------------------------------------------------------------------------------

    def begin(self, active: Iterable[TaskKey], finished: Iterable[TaskKey]) -> None:
        """Begin with these; *finished*: the one that ended first comes first."""
        self.shelf.fill(finished)
        self.tasks.update(dict.fromkeys(self.shelf, False))
        self.tasks.update(dict.fromkeys(active, True))
        for key in self.tasks:
            self._roots.setdefault(key.task_id, set()).add(key.root)
        self.refresh()

    def refresh(self) -> None:
        """Everything is due."""
        self.due.update((key, None) for key, is_active in self.tasks.items() if is_active)
        self.due.update((key, None) for key in self.shelf.page(NEWEST))
        self.is_index_due = True
        self.shelves_due.update(self.shelf.numbers, (NEWEST,))
        self.whole.update(self.shelf.numbers)

    def update(self, key: TaskKey, is_active: bool) -> None:
        """The task is new, has changed, or has ended."""
        was_active = self.tasks.get(key)
        self.tasks[key] = is_active
        if was_active is None:
            self._set_roots(key.task_id, self._roots.get(key.task_id, set()) | {key.root})
        self.due[key] = None
        if is_active != was_active:
            self.listing_changed()
            if key in self.shelf:
                self._note(self.shelf.remove(key))
            if not is_active:
                self._note(self.shelf.add(key))
        elif not is_active:
            self.shelves_due.add(self.shelf.number(key))

    def forget(self, key: TaskKey) -> None:
        """The task is no more; nothing if it was not there."""
        if self.tasks.pop(key, None) is None:
            return
        self.due.pop(key, None)
        self.listing_changed()
        if key in self.shelf:
            self._note(self.shelf.remove(key))
        self._set_roots(key.task_id, self._roots[key.task_id] - {key.root})

    def listing_changed(self) -> None:
        """What the two pages that change all the time say of all tasks, such as their numbers, is different."""
        self.is_index_due = True
        self.shelves_due.add(NEWEST)

    def _note(self, change: Change) -> None:
        self.shelves_due |= change.dirty | change.gone
        self.whole -= change.gone

    def _set_roots(self, task_id: str, roots: set[str]) -> None:
        before = _names(task_id, self._roots.get(task_id, set()))
        after = _names(task_id, roots)
        if roots:
            self._roots[task_id] = roots
        else:
            del self._roots[task_id]
        self.gone.update(set(before.values()) - set(after.values()))
        self.gone.difference_update(after.values())
        for root in before.keys() & after.keys():
            if before[root] != after[root]:  # it has moved
                key = TaskKey(root, task_id)
                self.due[key] = None
                if not self.tasks[key]:
                    self.shelves_due.add(self.shelf.number(key))


def _names(task_id: str, roots: Iterable[str]) -> Mapping[str, str]:
    """Root → name of the directory of the pages of the task of that id in it."""
    held = list(roots)
    if len(held) == 1:
        return {held[0]: layout.segment(task_id)}
    return {root: layout.segment(f"{task_id}@{root}") for root in held}
