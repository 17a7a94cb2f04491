"""Places waiting tasks on offers: takes groups that are due, asks :mod:`scheduler.core.placement`, launches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from scheduler.core.decision import Draft
from scheduler.core.events import Launch
from scheduler.core.groups import TaskGroups
from scheduler.core.offers import OfferBook
from scheduler.core.placement import place
from scheduler.core.settings import Settings
from scheduler.core.tasks import Tasks
from scheduler.model import Task


class Scheduling:
    """Brings groups and offers together."""

    def __init__(
        self,
        draft: Draft,
        offers: OfferBook,
        groups: TaskGroups,
        tasks: Tasks,
        settings: Settings,
        chance: Callable[[], float],
    ) -> None:
        self._draft = draft
        self._offers = offers
        self._groups = groups
        self._tasks = tasks
        self._settings = settings
        self._chance = chance
        self.counts: Counter[str] = Counter(
            {"schedule_attempts_fired": 0, "schedule_attempts_failed": 0, "schedule_attempts_no_match": 0}
        )

    @property
    def next_s(self) -> float | None:
        """When a group is due."""
        return self._groups.next_due_s

    def step(self) -> None:
        """Try all groups that are due. What was placed on one agent is launched together."""
        now = self._draft.now
        state = self._draft.state
        self._groups.offered(self._offers.fresh(), now.mono_s)
        placed: dict[str, list[Task]] = {}
        for group in self._groups.due(now.mono_s):
            tasks = [state.tasks[task_id] for task_id in group.task_ids]
            self.counts["schedule_attempts_fired"] += 1
            result = place(group.config, tasks, self._offers, state, self._settings, now, self._chance)
            for one in result.placements:
                task = self._tasks.assign(state.tasks[one.task_id], one.agent_id, one.host, one.ports)
                placed.setdefault(one.offer_id, []).append(task)
            if not result.placements:
                self.counts["schedule_attempts_no_match"] += 1
            self._groups.tried(group, result, now.mono_s)
        for offer_id, launched in placed.items():
            self._draft.ask(Launch((self._offers.take(offer_id),), tuple(launched)))
