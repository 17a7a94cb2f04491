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
        #: When the next batch, or what follows the last one, may be sent.
        self._batch_at_s = 0.0
        #: After a registration: an implicit round follows the explicit one.
        self._is_implicit_next = False
        self.counts: Counter[str] = Counter({"reconciliation_explicit_runs": 0, "reconciliation_implicit_runs": 0})

    def registered(self) -> None:
        """Mesos has us again, and what it told meanwhile may be lost: ask for both at once, one after the other."""
        now_s = self._draft.now.mono_s
        if self._schedule is None:
            self._schedule = reconcile.first(now_s, self._settings)
        else:
            self._schedule = reconcile.registered_again(self._schedule, now_s, self._settings)
        self._is_implicit_next = True
        self.ask_explicitly()

    def ask_explicitly(self, batch_size: int | None = None) -> int:
        """Begin a round about all that should be on an agent; gives how many tasks that are."""
        tasks = self._draft.state.with_status(sorted(AGENT_ASSIGNED))
        size = batch_size or self._settings.reconciliation_explicit_batch_size
        self._batches = reconcile.batches(tasks, size)
        self._batches.reverse()
        self.counts["reconciliation_explicit_runs"] += 1
        now_s = self._draft.now.mono_s
        takes_s = reconcile.explicit_takes_s(len(tasks), size, self._settings)
        if self._schedule is not None:
            self._schedule = reconcile.after_explicit(self._schedule, now_s, self._settings, takes_s)
        self._next_batch()
        return len(tasks)

    def ask_implicitly(self) -> None:
        """Ask for all that Mesos knows."""
        self.counts["reconciliation_implicit_runs"] += 1
        self._draft.ask(Reconcile(()))

    def _next_batch(self) -> None:
        if self._batches:
            self._draft.ask(Reconcile(self._batches.pop()))
            self._batch_at_s = self._draft.now.mono_s + self._settings.reconciliation_explicit_batch_interval_s
        elif self._is_implicit_next:
            self._is_implicit_next = False
            self.ask_implicitly()
        self.resume()

    def due(self, is_registered: bool) -> None:
        """Something of it is due."""
        now_s = self._draft.now.mono_s
        if self._schedule is None or not is_registered:
            return
        if self._is_under_way and self._batch_at_s <= now_s:
            self._next_batch()
        if self._schedule.explicit_at_s <= now_s:
            self.ask_explicitly()
        if self._schedule.implicit_at_s <= now_s:
            self.ask_implicitly()
            self._schedule = reconcile.after_implicit(self._schedule, now_s, self._settings)
        self.resume()

    @property
    def _is_under_way(self) -> bool:
        return bool(self._batches) or self._is_implicit_next

    def resume(self) -> None:
        """Set the deadline of what comes next; also after deadlines were cleared."""
        if self._schedule is not None:
            at_s = min(self._schedule.due_s, self._batch_at_s) if self._is_under_way else self._schedule.due_s
            self._deadlines.set(Due.RECONCILE, None, at_s)
