"""One decision in the making: the changes that it made so far, and what it asks Mesos for."""

from __future__ import annotations

from typing import NamedTuple

from scheduler.core.changes import Change
from scheduler.core.elapsed import Elapsed
from scheduler.core.events import Action, Now
from scheduler.core.state import State, Transaction
from scheduler.model import Task


class Transition(NamedTuple):
    """A task came into another state; *before* None: it is new."""

    before: Task | None
    after: Task


class Decision(NamedTuple):
    """What was decided: *changes* are to be durable before any of *actions* is sent or anybody is answered, or told of
    the *transitions* that they make."""

    changes: tuple[Change, ...]
    actions: tuple[Action, ...]
    transitions: tuple[Transition, ...] = ()


class Draft:
    """Collects a decision. Changes are made in the state at once, so that what follows sees them; ``undo`` takes all
    of them back."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.now = Now(0, 0.0)
        #: How long ago things were of which the wall time is kept.
        self.elapsed = Elapsed(self.now)
        self._transaction = Transaction(state)
        #: How many changes, and actions, were taken already.
        self._taken = 0
        self._taken_actions = 0
        self._actions: list[Action] = []
        self._transitions: list[Transition] = []

    def put(self, change: Change) -> None:
        """Change what is kept."""
        self._transaction.apply(change)

    def ask(self, action: Action) -> None:
        """Ask Mesos for something."""
        self._actions.append(action)

    def moved(self, before: Task | None, after: Task) -> None:
        """A task came into another state."""
        self._transitions.append(Transition(before, after))

    def take(self) -> Decision:
        """What was decided since the last ``take``."""
        changes = tuple(self._transaction.changes[self._taken :])
        self._taken = len(self._transaction.changes)
        actions = tuple(self._actions[self._taken_actions :])
        self._taken_actions = len(self._actions)
        transitions, self._transitions = tuple(self._transitions), []
        return Decision(changes, actions, transitions)

    def committed(self) -> None:
        """All that was taken is durable: it cannot be taken back any more."""
        self._transaction = Transaction(self.state)
        self._actions.clear()
        self._taken = self._taken_actions = 0

    def undo(self) -> tuple[Action, ...]:
        """Nothing of it could be made durable: as if it had never been decided. Gives what was asked for by it, also
        what was taken: nobody is to be asked for any of it."""
        self._transaction.undo()
        self._transitions.clear()
        actions, self._actions = tuple(self._actions), []
        self._taken = self._taken_actions = 0
        return actions
