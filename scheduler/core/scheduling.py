"""Places waiting tasks on offers: takes groups that are due, asks :mod:`scheduler.core.placement`, launches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from scheduler.core.decision import Draft
from scheduler.core.events import Launch
from scheduler.core.groups import TaskGroups
from scheduler.core.matching import Veto, VetoKind
from scheduler.core.offers import OfferBook
from scheduler.core.placement import place
from scheduler.core.settings import Settings
from scheduler.core.tasks import Tasks
from scheduler.model import Task

#: Aurora's names of what an attempt came to grief on (``VetoType`` and ``VetoGroup`` of ``SchedulingFilter.java``).
#: Not every agent is looked at here: it is what the nearest one lacked.
_VETOES: Final = {
    VetoKind.DEDICATED: "scheduling_veto_dedicated_constraint_mismatch",
    VetoKind.MAINTENANCE: "scheduling_veto_maintenance",
    VetoKind.CONSTRAINT: "scheduling_veto_constraint_mismatch",
    VetoKind.LIMIT: "scheduling_veto_limit_not_satisfied",
    VetoKind.RESOURCES: "scheduling_veto_insufficient_resources",
    VetoKind.RESERVED: "scheduling_veto_reserved",
}
_GROUPS: Final = ("scheduling_veto_static", "scheduling_veto_dynamic", "scheduling_veto_mixed")
#: What may change while the agent offers the same.
_DYNAMIC: Final = frozenset({VetoKind.LIMIT, VetoKind.RESERVED})


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
            dict.fromkeys(
                ("schedule_attempts_fired", "schedule_attempts_failed", "schedule_attempts_no_match", *_VETOES.values(),
                 *_GROUPS), 0
            )
        )  # fmt: skip

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
            self._count(result.nearest)
            self._groups.tried(group, result, now.mono_s)
        for offer_id, launched in placed.items():
            self._draft.ask(Launch((self._offers.take(offer_id),), tuple(launched)))

    def _count(self, vetoes: Sequence[Veto]) -> None:
        """Count why an attempt did not place all."""
        if vetoes:
            changing = {veto.kind in _DYNAMIC for veto in vetoes}
            self.counts[_GROUPS[2 if len(changing) > 1 else changing.pop()]] += 1
        for veto in vetoes:
            self.counts[_VETOES[veto.kind]] += 1
