"""What stands on a site's pages besides the tasks' own files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from detectors.watch import TaskKey
from observer_static.facts import TaskFacts

if TYPE_CHECKING:
    from observer_static.history import UsagePoint
    from thermos.host.usage import TaskUsage

#: Finished tasks that keep pages of their own, unless told otherwise.
FINISHED_PAGES: Final = 1000


def _nothing(key: TaskKey) -> None:
    return None


def _none_yet(key: TaskKey) -> Sequence[UsagePoint]:
    return ()


def _no_words() -> Sequence[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a site gets what stands on its pages besides the tasks' own files."""

    #: Where tasks are looked for, in words.
    places: Callable[[], Sequence[str]] = _no_words
    #: What may be noticed late or not at all, in words.
    notices: Callable[[], Sequence[str]] = _no_words
    usage: Callable[[TaskKey], TaskUsage | None] = _nothing
    history: Callable[[TaskKey], Sequence[UsagePoint]] = _none_yet
    #: Is told of every task that was read.
    told: Callable[[TaskKey, TaskFacts], None] | None = None
    #: Whether it is to be told of all of them, so that none may be passed over, nor be read by another process.
    wants_all: bool = False
