"""Asks Mesos how tasks really are: all we know of (explicitly), all it knows of (implicitly), never both at once."""

from __future__ import annotations

from collections import Counter

from scheduler.core import reconcile
from scheduler.core.deadlines import Deadlines, Due
from scheduler.core.decision import Draft
from scheduler.core.events import Reconcile
from scheduler.core.settings import Settings
from scheduler.states import AGENT_ASSIGNED


class Reconciling:
    """The schedule, and the batches of the explicit round that is under way."""

    def __init__(self, draft: Draft, deadlines: Deadlines, settings: Settings) -> None:
        self._draft = draft
        self._deadlines = deadlines
        self._settings = settings
        self._schedule: reconcile.Schedule | None = None
        #: Not yet asked about, last batch first.
        self._batches: list[tuple[tuple[str, str | None], ...]] = []
        self.counts: Counter[str] = Counter({"reconciliation_explicit_runs": 0, "reconciliation_implicit_runs": 0})

    def registered(self) -> None:
        """Mesos has us again: what it told meanwhile is lost, so both are due soon."""
        self._batches.clear()
        self._schedule = reconcile.first(self._draft.now.mono_s, self._settings)
        self.ask_explicitly()
        self._set()

    def ask_explicitly(self, batch_size: int | None = None) -> int:
        """Begin a round about all that should be on an agent; gives how many tasks that are."""
        tasks = self._draft.state.with_status(sorted(AGENT_ASSIGNED))
        size = batch_size or self._settings.reconciliation_explicit_batch_size
        self._batches = reconcile.batches(tasks, size)
        self._batches.reverse()
        self.counts["reconciliation_explicit_runs"] += 1
        self._next_batch()
        self._set()
        return len(tasks)

    def ask_implicitly(self) -> None:
        """Ask for all that Mesos knows."""
        self.counts["reconciliation_implicit_runs"] += 1
        self._draft.ask(Reconcile(()))

    def _next_batch(self) -> None:
        if self._batches:
            self._draft.ask(Reconcile(self._batches.pop()))

    def due(self, is_registered: bool) -> None:
        """Something of it is due."""
        if self._schedule is None or not is_registered:
            return
        now_s = self._draft.now.mono_s
        if self._batches:
            self._next_batch()
        if self._schedule.explicit_at_s <= now_s:
            self.ask_explicitly()
            self._schedule = reconcile.after_explicit(self._schedule, now_s, self._settings)
        if self._schedule.implicit_at_s <= now_s:
            self.ask_implicitly()
            self._schedule = reconcile.after_implicit(self._schedule, now_s, self._settings)
        self._set()

    def resume(self) -> None:
        """The deadlines were cleared: set ours again."""
        self._set()

    def _set(self) -> None:
        if self._schedule is None:
            return
        at_s = min(self._schedule.explicit_at_s, self._schedule.implicit_at_s)
        if self._batches:
            at_s = min(at_s, self._draft.now.mono_s + self._settings.reconciliation_explicit_batch_interval_s)
        self._deadlines.set(Due.RECONCILE, None, at_s)
