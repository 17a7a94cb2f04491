"""Which task is meant by the id in a request, and which tasks a list shows."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from observer_static.serve.aurora_json import slice_of
from observer_static.view import View
from thermos.formats import paths

if TYPE_CHECKING:
    from detectors.watch import TaskKey

#: What the original calls the lists of tasks.
KINDS = ("all", "active", "finished")


class Finder:
    """Looks tasks up in a view; what it works out is kept until the view's tasks are others."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._lock = threading.Lock()
        self._tasks: Mapping[TaskKey, bool] | None = None
        self._by_id: dict[str, list[TaskKey]] = {}
        self._by_page: dict[str, TaskKey] | None = None
        self._ended_s: dict[TaskKey, float] = {}

    def find(self, task_id: str, root: str | None = None) -> TaskKey | None:
        """The task of that id, in that root if one is given; else the active one, else the newest."""
        with self._lock:
            tasks = self._fresh()
            keys = [key for key in self._by_id.get(task_id, ()) if root is None or key.root == root]
        if len(keys) < 2:
            return keys[0] if keys else None
        return max(keys, key=lambda key: (tasks[key], self._changed_s(key, tasks[key])))

    def find_page(self, page_key: str) -> TaskKey | None:
        """The task whose pages lie in the directory of that KEY."""
        with self._lock:
            tasks = self._fresh()
            if self._by_page is None:
                self._by_page = {self._view.page_key(key): key for key in tasks}
            return self._by_page.get(page_key)

    def counts(self) -> dict[str, int]:
        """How many tasks there are of each kind."""
        tasks = self._view.tasks()
        active = sum(tasks.values())
        return {"active": active, "finished": len(tasks) - active, "all": len(tasks)}

    def slice(self, kind: str, offset: int, num: int) -> tuple[Sequence[TaskKey], int, int]:
        """(the tasks of that part of the list, its offset counted from the newest, how many the list has)."""
        with self._lock:
            tasks = self._fresh()
        wanted = [key for key, is_active in tasks.items() if kind == "all" or is_active == (kind == "active")]
        first, behind = slice_of(len(wanted), offset, num)
        if first >= len(wanted):
            return [], first, len(wanted)
        wanted.sort(key=lambda key: (-self._changed_s(key, tasks[key]), key))
        return wanted[first:behind], first, len(wanted)

    def _fresh(self) -> Mapping[TaskKey, bool]:
        tasks = self._view.tasks()
        if tasks is not self._tasks:
            self._tasks = tasks
            self._by_page = None
            self._by_id = {}
            for key in tasks:
                self._by_id.setdefault(key.task_id, []).append(key)
            self._ended_s = {key: at_s for key, at_s in self._ended_s.items() if tasks.get(key) is False}
        return tasks

    def _changed_s(self, key: TaskKey, is_active: bool) -> float:
        """When the task's checkpoint last changed; a finished one's does not any more, so it is asked for once."""
        known = self._ended_s.get(key)
        if known is not None:
            return known
        try:
            at_s = os.stat(paths.runner_checkpoint(key.root, key.task_id), follow_symlinks=False).st_mtime
        except (OSError, ValueError):
            return 0.0
        if not is_active:
            self._ended_s[key] = at_s
        return at_s
