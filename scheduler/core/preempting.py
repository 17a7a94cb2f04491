"""Makes room for tasks that wait, where others matter less: looks for slots, ends the victims, keeps their agents.

A search comes every minute, only while a task waits for longer than ``preemption_delay``. What is found is done at
once, so that no slot grows old: victims are PREEMPTING, and what their agent offers is for the group that waits. Until
a slot is used, or its time is over, the group gets no other in its place.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

from scheduler.core.deadlines import Due
from scheduler.core.events import Disconnected, Event, Subscribed
from scheduler.core.groups import Group
from scheduler.core.parts import Part, Tools
from scheduler.core.placement import Limits
from scheduler.core.preemption import CAN_GO, Slot, Targets
from scheduler.model import Host, Task
from scheduler.states import TERMINAL, ScheduleStatus

#: So many groups are searched for before others are heard, and how soon the next ones are.
GROUPS_PER_STEP: Final = 5
NEXT_STEP_S: Final = 0.05


class _Kept(NamedTuple):
    """A slot that waits to be used."""

    until_s: float
    host: Host


class Preempting(Part):
    """Looks for slots."""

    dues: ClassVar[frozenset[Due]] = frozenset({Due.PREEMPT})
    events: ClassVar[tuple[type, ...]] = (Subscribed, Disconnected)

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._state = tools.draft.state
        self._targets = Targets(tools.settings)
        #: A group's digest → agent's id → the slot there.
        self._slots: dict[str, dict[str, _Kept]] = {}
        #: Victim's id → (digest, agent's id).
        self._victims: dict[str, tuple[str, str]] = {}
        #: Digests of groups whose turn is still to come, the next one last.
        self._round: list[str] = []
        #: From when on what waits may be taken to wait for room; None: Mesos is away.
        self._offers_from_s: float | None = None
        self._is_set = False
        for name in ("searches", "slots", "tasks_preempted"):
            self.counts[f"preemptor_{name}"] = 0

    def resume(self) -> None:
        """The state was loaded, or decisions were taken back and all deadlines with them: begin from the state."""
        self._targets.clear()
        self._slots.clear()
        self._victims.clear()
        self._round.clear()
        self._is_set = False
        if self.tools.settings.enable_preemptor:
            for task in self._state.with_status(sorted(CAN_GO)):
                self._targets.put(task)
            if self._state.by_status[ScheduleStatus.PENDING]:
                self._search_in(self.tools.settings.preemption_slot_search_initial_delay_s)

    def heard(self, event: Event) -> None:
        """After a new connection, offers get a minute to come: what waits may need no room to be made."""
        self._offers_from_s = None
        if isinstance(event, Subscribed):
            self._offers_from_s = self.tools.draft.now.mono_s + self.tools.settings.preemption_slot_search_interval_s

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        """Where who may go is, and who waits."""
        if not self.tools.settings.enable_preemptor:
            return
        if after is not None and after.status in CAN_GO:
            self._targets.put(after)
            if before is not None and before.status == ScheduleStatus.PENDING:
                self._used(after)
        elif before is not None and before.status in CAN_GO:
            self._targets.drop(before)
        if after is not None and after.status == ScheduleStatus.PENDING and not self._is_set:
            self._search_in(self.tools.settings.preemption_delay_s)
        if before is not None and (after is None or after.status in TERMINAL):
            self._ended(before)

    def _used(self, task: Task) -> None:
        """A task that waited has a place; where it was made for its group, others may have the rest."""
        digest, agent_id = task.config.digest, task.agent_id or ""
        if self._slots.get(digest, {}).pop(agent_id, None) is not None:
            self.tools.offers.release_agent(agent_id, digest)

    def _ended(self, task: Task) -> None:
        """A victim is gone: from now on the reservation counts."""
        digest, agent_id = self._victims.pop(task.task_id, ("", ""))
        if agent_id in self._slots.get(digest, {}):
            self._reserve(agent_id, digest)

    def _reserve(self, agent_id: str, digest: str) -> None:
        until_s = self.tools.draft.now.mono_s + self.tools.settings.offer_reservation_duration_s
        self.tools.offers.reserve(agent_id, digest, until_s)

    def _search_in(self, seconds: float) -> None:
        self._is_set = True
        self.tools.deadlines.set(Due.PREEMPT, None, self.tools.draft.now.mono_s + seconds)

    # -- searching -----------------------------------------------------------------------------------------------------

    def due(self, due: Due, about: object) -> None:
        """Look for room for those that have waited for long enough."""
        self._is_set = False
        settings = self.tools.settings
        self._expire()
        groups = self.tools.groups.groups
        delay_ms = settings.preemption_delay_s * 1000
        if not self._round:
            youngest = sorted(
                (self._waited_ms(group.first(1)[0]), -group.number, digest) for digest, group in groups.items()
            )
            self._round = [digest for waited_ms, _, digest in youngest if waited_ms >= delay_ms]
            if youngest and not self._round:
                left_s = (delay_ms - youngest[-1][0]) / 1000
                self._search_in(max(0.001, left_s))
                return
            if self._can_search:
                self._targets.refresh(self._state.hosts, self.tools.offers)
        if not self._round:
            return
        for _ in range(min(len(self._round), GROUPS_PER_STEP)):
            group = groups.get(self._round.pop())
            if group is not None and self._can_search:
                self._make_room(group)
        self._search_in(NEXT_STEP_S if self._round else settings.preemption_slot_search_interval_s)

    @property
    def _can_search(self) -> bool:
        return self._offers_from_s is not None and self._offers_from_s <= self.tools.draft.now.mono_s

    def _expire(self) -> None:
        now_s = self.tools.draft.now.mono_s
        for digest, slots in list(self._slots.items()):
            for agent_id in [agent_id for agent_id, kept in slots.items() if kept.until_s <= now_s]:
                del slots[agent_id]
            if not slots:
                del self._slots[digest]
        self._victims = {task_id: of for task_id, of in self._victims.items() if of[1] in self._slots.get(of[0], {})}

    def _waited_ms(self, task_id: str) -> int:
        return self.tools.draft.elapsed.age_ms(self._state.tasks[task_id], self.tools.draft.now)

    def _make_room(self, group: Group) -> None:
        """Slots for those of the group that have waited for long enough, but for those that have one already."""
        if not group.penalty_s:
            return  # not yet tried, or others of it were just placed: the next one may be, too
        config = group.config
        slots = self._slots.get(config.digest, {})
        most = self.tools.settings.preemption_reservation_max_batch_size
        first = group.first(most + len(slots))
        delay_ms = self.tools.settings.preemption_delay_s * 1000
        waiting = sum(self._waited_ms(task_id) >= delay_ms for task_id in first)
        now = self.tools.draft.now
        for _ in range(min(most, waiting - len(slots))):
            self.counts["preemptor_searches"] += 1
            limits = Limits(config, self._state, self.tools.offers)
            for kept in self._slots.get(config.digest, {}).values():
                limits.count(kept.host)  # who will be there counts
            self._targets.settle()
            taken = self.tools.offers.reserved_agents(now.mono_s)
            slot = self._targets.search(config, limits, self.tools.offers, now.wall_ms, taken)
            if slot is None:
                return
            self._preempt(group, slot)

    def _preempt(self, group: Group, slot: Slot) -> None:
        config = group.config
        self.counts["preemptor_slots"] += 1
        until_s = self.tools.draft.now.mono_s + self.tools.settings.preemption_slot_hold_time_s
        self._slots.setdefault(config.digest, {})[slot.agent_id] = _Kept(until_s, slot.host)
        self._reserve(slot.agent_id, config.digest)
        for victim in slot.victims:
            self._victims[victim.task_id] = (config.digest, slot.agent_id)
            self._targets.drop(victim)
            self.counts["preemptor_tasks_preempted"] += 1
            self.tools.tasks.move(victim.task_id, ScheduleStatus.PREEMPTING, f"Gives way to {config.job}")
