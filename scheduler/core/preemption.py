"""Who gives way to whom, and where: finds agents where a task fits once others are gone (``PreemptionVictimFilter``).

Who is preemptible gives way to who is not; of the same kind, lower priority gives way to higher within a role. What a
search costs hardly depends on how many agents there are: what could be had on each is in bit planes, as offers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from scheduler.core.matching import CLOSED_MODES, Room, needed, vetoes
from scheduler.core.offers import OfferBook
from scheduler.core.placement import Limits
from scheduler.core.settings import Settings
from scheduler.core.sliced import Labels, Sliced, each, rows_of
from scheduler.model import Config, Host, Task
from scheduler.states import ScheduleStatus

#: Tasks that can be told to go, and of which nobody wants the end already.
CAN_GO: Final = frozenset({ScheduleStatus.ASSIGNED, ScheduleStatus.STARTING, ScheduleStatus.RUNNING})


def is_preemptible(config: Config, settings: Settings) -> bool:
    """Whether its tier gives way. A tier that is unknown, since it was taken when there was such a one, does not."""
    tier = settings.tier(config.tier)
    return tier is not None and tier.is_preemptible


def gives_way(victim: Config, candidate: Config, settings: Settings) -> bool:
    """Whether tasks of *victim* may be ended for one of *candidate*."""
    weak, strong = is_preemptible(victim, settings), not is_preemptible(candidate, settings)
    if weak and strong:
        return True
    return weak is not strong and victim.job.role == candidate.job.role and victim.priority < candidate.priority


def choose_victims(
    candidate: Config,
    tasks: Iterable[Task],
    free: Room,
    host: Host,
    limit_count: Callable[[str, str], int],
    settings: Settings,
    unavailable_in_s: float | None = None,
) -> tuple[Task, ...] | None:
    """Which of *tasks*, all of *host*, must go so that a task of *candidate* fits there; None: it never does.

    The largest go first, until it fits; then those of them that it fits without are spared again. *free* is what the
    agent has left, the rest as for ``vetoes``.
    """

    def fits(room: Room) -> bool:
        return not vetoes(candidate, room, host, limit_count, settings, unavailable_in_s)

    if fits(free):
        return ()
    may = [
        (needed(task.config, settings), task)
        for task in tasks
        if task.status in CAN_GO and gives_way(task.config, candidate, settings)
    ]
    may.sort(key=lambda one: (tuple(-amount for amount in one[0]), one[1].task_id))
    chosen: list[tuple[Room, Task]] = []
    for room, task in may:
        chosen.append((room, task))
        free = free.plus(room)
        if fits(free):
            break
    else:
        return None
    for one in reversed(chosen[:-1]):
        if fits(free.minus(one[0])):
            free = free.minus(one[0])
            chosen.remove(one)
    return tuple(task for _, task in chosen)


class Slot(NamedTuple):
    """Where a task fits when the victims are gone."""

    agent_id: str
    host: Host
    victims: tuple[Task, ...]


class _Target:
    """An agent with tasks of ours."""

    __slots__ = ("agent_id", "free", "host", "name", "room", "row", "tasks", "victims")

    def __init__(self, agent_id: str, row: int, name: str) -> None:
        self.agent_id = agent_id
        self.row = row
        self.name = name
        self.tasks: dict[str, Task] = {}
        #: As it was described when this was last looked at; None: it never was.
        self.host: Host | None = None
        #: Of its tasks that are preemptible, and of its offer.
        self.victims = Room()
        self.free = Room()
        #: The sum of both, as it is in the planes.
        self.room = Room()


class Targets:
    """All agents with tasks that may go. Tasks come and go one by one; ``refresh`` before searching."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.clear()

    def clear(self) -> None:
        """Forget all of them."""
        self._targets: dict[str, _Target] = {}
        self._rows: list[_Target | None] = []
        self._unused: list[int] = []
        self._changed: dict[str, None] = {}
        self._planes = tuple(Sliced() for _ in Room._fields)
        self._labels = Labels()
        #: Rows of which the host is known, and is open.
        self._open = 0
        #: (role, whether preemptible) → priority → agent's id → how many tasks, and what they take.
        self._of_role: dict[tuple[str, bool], dict[int, dict[str, tuple[int, Room]]]] = {}

    def put(self, task: Task) -> None:
        """The task is on its agent, and may go."""
        if task.agent_id is None or task.host is None:
            return
        target = self._targets.get(task.agent_id)
        if target is None:
            row = self._unused.pop() if self._unused else len(self._rows)
            target = _Target(task.agent_id, row, task.host)
            if row == len(self._rows):
                self._rows.append(target)
            else:
                self._rows[row] = target
            self._targets[task.agent_id] = target
        if task.task_id not in target.tasks:
            self._count(task, task.agent_id, 1)
        target.tasks[task.task_id] = task
        self._changed[task.agent_id] = None

    def drop(self, task: Task) -> None:
        """It is gone, or goes already."""
        target = self._targets.get(task.agent_id or "")
        if target is not None and target.tasks.pop(task.task_id, None) is not None:
            self._count(task, target.agent_id, -1)
            self._changed[target.agent_id] = None

    def _count(self, task: Task, agent_id: str, more: int) -> None:
        config = task.config
        room = needed(config, self._settings)
        by_priority = self._of_role.setdefault((config.job.role, is_preemptible(config, self._settings)), {})
        agents = by_priority.setdefault(config.priority, {})
        there, took = agents.get(agent_id, (0, _NOTHING))
        if there + more:
            agents[agent_id] = there + more, took.plus(room) if more > 0 else took.minus(room)
        else:
            del agents[agent_id]
            if not agents:
                del by_priority[config.priority]

    # -- bringing it up to date ----------------------------------------------------------------------------------------

    def refresh(self, hosts: Mapping[str, Host], book: OfferBook) -> None:
        """Take in what changed: tasks, what hosts are like, what agents have left."""
        self.settle()
        for target in self._targets.values():
            agent = book.offering(target.agent_id)
            free = agent.room if agent is not None else _NOTHING
            if free != target.free:
                target.free = free
                self._set_room(target)
            host = hosts.get(target.name)
            if host is not target.host:
                self._describe(target, host)

    def settle(self) -> None:
        """Take in which tasks came and went, and nothing else."""
        rooms: dict[str, Room] = {}
        for agent_id in self._changed:
            target = self._targets[agent_id]
            target.victims = Room()
            for task in target.tasks.values():
                config = task.config
                if is_preemptible(config, self._settings):
                    room = rooms.get(config.digest)
                    if room is None:
                        room = rooms[config.digest] = needed(config, self._settings)
                    target.victims = target.victims.plus(room)
            self._set_room(target)
            if not target.tasks:
                self._forget(target)
        self._changed.clear()

    def _forget(self, target: _Target) -> None:
        target.victims = target.free = Room()
        self._set_room(target)
        self._describe(target, None)
        del self._targets[target.agent_id]
        self._rows[target.row] = None
        self._unused.append(target.row)

    def _describe(self, target: _Target, host: Host | None) -> None:
        """A host that nobody has described, or whose name another agent has now, is no target."""
        if target.host is not None:
            self._labels.remove(target.row, _labels_of(target.host))
        target.host = host
        self._open &= ~(1 << target.row)
        if host is not None:
            self._labels.add(target.row, _labels_of(host))
            if host.mode not in CLOSED_MODES and host.agent_id == target.agent_id:
                self._open |= 1 << target.row

    def _set_room(self, target: _Target) -> None:
        room = target.victims.plus(target.free)
        for plane, old, new in zip(self._planes, target.room, room, strict=True):
            if old != new:
                plane.change(target.row, old, new)
        target.room = room

    # -- searching -----------------------------------------------------------------------------------------------------

    def search(
        self, candidate: Config, limits: Limits, book: OfferBook, wall_ms: int, without: Iterable[str] = ()
    ) -> Slot | None:
        """The first agent on which a task of *candidate* fits once its victims are gone; none of *without*. None: there
        is no such agent, or one on which it fits as it is."""
        rows = self._allowed(candidate, limits)
        for agent_id in without:
            if agent_id in self._targets:
                rows &= ~(1 << self._targets[agent_id].row)
        for row in self._roomy(candidate, rows):
            target = self._rows[row]
            if target is None or target.host is None:
                continue
            agent = book.offering(target.agent_id)
            soon_s = agent.unavailable_in_s(wall_ms) if agent is not None else None
            tasks = target.tasks.values()
            victims = choose_victims(candidate, tasks, target.free, target.host, limits, self._settings, soon_s)
            if victims is not None:
                return Slot(target.agent_id, target.host, victims) if victims else None
        return None

    def _allowed(self, candidate: Config, limits: Limits) -> int:
        """Rows of agents that *candidate* may run on, whatever they have left."""
        rows = self._open
        labels = self._labels
        if candidate.dedicated is None:
            rows ^= rows & labels.having("dedicated")
        for one in candidate.constraints:
            if one.limit is None:
                fitting = rows & labels.with_any(one.name, one.values)
                rows = rows ^ fitting if one.is_negated else fitting
            else:
                rows &= labels.having(one.name)
        for attribute, values in limits.full().items():
            rows ^= rows & labels.with_any(attribute, values)
        return rows

    def _roomy(self, candidate: Config, rows: int) -> Iterator[int]:
        """Of *rows*, those on which enough may go: first where preemptible tasks are enough, then where others of the
        role must go, too."""
        need = needed(candidate, self._settings)
        weak = is_preemptible(candidate, self._settings)
        enough = 0
        if not weak:
            enough = rows
            for plane, amount in zip(self._planes, need, strict=True):
                enough = plane.at_least(enough, amount)
            yield from each(enough)
        lower: dict[str, Room] = {}
        for priority, agents in self._of_role.get((candidate.job.role, weak), {}).items():
            if priority < candidate.priority:
                for agent_id, (_, room) in agents.items():
                    lower[agent_id] = lower[agent_id].plus(room) if agent_id in lower else room
        wanted = [(kind, amount) for kind, amount in enumerate(need) if amount]
        others = []
        for agent_id, room in lower.items():
            target = self._targets[agent_id]
            more = target.free if weak else target.room
            for kind, amount in wanted:
                if room[kind] + more[kind] < amount:
                    break
            else:
                others.append(target.row)
        yield from each(rows_of(others) & (rows ^ enough))


_NOTHING: Final = Room()


def _labels_of(host: Host) -> list[tuple[str, frozenset[str]]]:
    named = any(name == "host" for name, _ in host.attributes)
    return [*host.attributes, *([] if named else [("host", host.values("host"))])]
