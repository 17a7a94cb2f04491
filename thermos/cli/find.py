"""Which tasks are there, and which of them does the command line mean?"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from detectors import plugins
from detectors.closed import DENIED, closed_at
from detectors.roots import survey
from thermos.checkpoints import list_tasks
from thermos.errors import ExitCode, TaskNotFound, ThermosError
from thermos.formats import paths

#: So many directories that may not be read are named.
_MOST_CLOSED: Final = 5


class Found(NamedTuple):
    """A task that lies on disk."""

    root: str
    task_id: str
    is_active: bool


class PatternInvalid(ThermosError):
    """A pattern on the command line is no regular expression."""

    exit_code = ExitCode.USAGE


def places(args: argparse.Namespace) -> str:
    """Where was looked, in words; also where we may not look."""
    text = plugins.places(args)
    closed = Search(args).closed
    return f"{text} ({closed})" if closed else text


class Patterns:
    """Regular expressions that match from a task id's first character on, as the original's; or whole ids.

    Raises PatternInvalid. No pattern matches everything.
    """

    def __init__(self, patterns: Sequence[str], exact: bool = False) -> None:
        self._ids = frozenset(patterns) if exact and patterns else None
        self._patterns = []
        for pattern in () if exact else patterns:
            try:
                self._patterns.append(re.compile(pattern))
            except re.error as error:
                raise PatternInvalid(
                    f"{pattern!r} is no regular expression ({error}); --exact takes task ids as they are"
                ) from None

    def match(self, task_id: str) -> bool:
        """Whether *task_id* is meant."""
        if self._ids is not None:
            return task_id in self._ids
        return not self._patterns or any(pattern.match(task_id) for pattern in self._patterns)


class Search:
    """The roots that the command line means, looked for once."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._roots, self._closed = survey(plugins.from_options(args))

    def tasks(self, patterns: Patterns) -> list[Found]:
        """All tasks that *patterns* mean: active ones first, by id within. One being moved counts as finished."""
        found: dict[tuple[str, str], Found] = {}
        for root in self._roots:
            for where, task_id in list_tasks(root):
                if patterns.match(task_id):
                    found[root, task_id] = Found(root, task_id, where == paths.ACTIVE)
        return sorted(found.values(), key=lambda task: (not task.is_active, task.task_id, task.root))

    @property
    def closed(self) -> str:
        """Which directories may not be read in which there may be tasks, in words; empty: none."""
        directories = [paths.task_dir(root, where) for root in self._roots for where in (paths.ACTIVE, paths.FINISHED)]
        closed = [*dict.fromkeys([*self._closed, *filter(None, map(closed_at, directories))])]
        more = f" and {len(closed) - _MOST_CLOSED} more directories" if len(closed) > _MOST_CLOSED else ""
        return f"{', '.join(closed[:_MOST_CLOSED])}{more} {DENIED}" if closed else ""


def find_tasks(args: argparse.Namespace, patterns: Patterns) -> list[Found]:
    """All tasks that *patterns* mean, as :meth:`Search.tasks` has them."""
    return Search(args).tasks(patterns)


def find_task(args: argparse.Namespace, task_id: str) -> Found:
    """The one task called *task_id*, or whose id starts so if only one does. Raises TaskNotFound.

    Where several roots hold the id, the active one is meant.
    """
    tasks = find_tasks(args, Patterns([]))
    exact = [task for task in tasks if task.task_id == task_id]
    if exact:
        return exact[0]
    starting = [task for task in tasks if task.task_id.startswith(task_id)] if task_id else []
    if len(starting) == 1:
        return starting[0]
    if starting:
        names = ", ".join(task.task_id for task in starting[:5]) + (", …" if len(starting) > 5 else "")
        raise TaskNotFound(f"{len(starting)} tasks have ids that start with {task_id!r} ({names}); give one in full")
    raise TaskNotFound(f"no task {task_id!r} under {places(args)}; `thermos status` lists those there are")
