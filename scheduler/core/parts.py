"""Parts of the engine that look after something of their own: updates, cron jobs, hosts that are to be drained …

A part hears of every task that changed, of its own deadlines, and of the commands that are its own. It acts through
``Tools``: tasks move, changes are put, Mesos is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

from scheduler.core.commands import Answer, Command
from scheduler.core.coordinators import Coordinators
from scheduler.core.deadlines import Deadlines, Due
from scheduler.core.decision import Draft
from scheduler.core.events import Event
from scheduler.core.groups import TaskGroups
from scheduler.core.offers import OfferBook
from scheduler.core.settings import Settings
from scheduler.core.tasks import Tasks
from scheduler.model import Task


class Tools(NamedTuple):
    """What a part works with."""

    draft: Draft
    tasks: Tasks
    deadlines: Deadlines
    offers: OfferBook
    groups: TaskGroups
    coordinators: Coordinators
    settings: Settings
    #: An id that nobody had before.
    fresh: Callable[[], str]
    #: A number in [0, 1).
    chance: Callable[[], float]


class Part:
    """One of them. Each method does nothing here."""

    #: Deadlines that are its own.
    dues: ClassVar[frozenset[Due]] = frozenset()
    #: Commands that are its own.
    commands: ClassVar[tuple[type, ...]] = ()
    #: Events that it wants to hear of.
    events: ClassVar[tuple[type, ...]] = ()

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.counts: Counter[str] = Counter()
        #: What an operator should find in the log; whoever writes it empties this.
        self.notes: list[str] = []

    def note(self, words: str) -> None:
        """Have the log say so, once what was decided is durable."""
        self.notes.append(words)

    def resume(self) -> None:
        """The state was loaded, or decisions were taken back and all deadlines with them: begin from the state."""

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        """A task came (*before* None), came into another state, or was forgotten (*after* None)."""

    def told(self) -> None:
        """All tasks that changed so far have been told of: what follows of them can be done now."""

    def heard(self, event: Event) -> None:
        """Something happened that is among its own events."""

    def due(self, due: Due, about: object) -> None:
        """A deadline of its own has come."""

    def command(self, command: Command) -> Answer:
        """Do what a client asks for, or say why not."""
        raise TypeError(f"{type(self).__name__} has no command {type(command).__name__}")

    def metrics(self) -> Mapping[str, float]:
        """Its figures, for ``/vars``."""
        return self.counts
