"""Pending tasks in groups of equal configuration: which are to be tried now, and which wait, for what and until when.

A group that could not be placed waits for an offer that may help, and in any case no longer than its penalty, which
doubles from try to try. Delays and limits are Aurora's (``TaskGroups``, ``TaskGroupsSettings``); that an offer ends the
wait at once is ours.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Final, NamedTuple

from scheduler.core.matching import CLOSED_MODES, Room, Veto, total
from scheduler.core.placement import Result
from scheduler.core.settings import Settings
from scheduler.core.waiting import Waiting
from scheduler.model import Config, Host, JobKey, Task

#: For so long the nearest fit is remembered (``NearestFit.EXPIRATION``).
NEAREST_KEPT_S: Final = 600.0
#: How many batches of tasks one step may try, so that a step stays short and others are heard in between.
BATCHES_PER_STEP: Final = 2
#: An attempt, but for what is lost in rounding of a large time: woken just when there is one again, one must find it.
_ONE: Final = 0.999


class Nearest(NamedTuple):
    """Why the nearest agent did not take a task of the group, and when that was seen."""

    vetoes: tuple[Veto, ...]
    at_s: float


class Group:
    """Pending tasks of one configuration. Changed by :class:`TaskGroups` alone."""

    __slots__ = ("_batch", "_tasks", "config", "due_at_s", "nearest", "number", "penalty_s")

    def __init__(self, number: int, config: Config, batch: int, due_at_s: float) -> None:
        #: In the order in which groups came.
        self.number = number
        self.config = config
        self._batch = batch
        self._tasks: dict[str, None] = {}
        #: When it is tried next; None: it is being tried.
        self.due_at_s: float | None = due_at_s
        #: How long it waits after the last try; 0: that succeeded, or there was none.
        self.penalty_s = 0.0
        self.nearest: Nearest | None = None

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Those that are to be tried next, oldest first: not more than one attempt may place."""
        return tuple(islice(self._tasks, self._batch))

    def first(self, count: int) -> tuple[str, ...]:
        """So many of them, oldest first."""
        return tuple(islice(self._tasks, count))

    @property
    def pending(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._tasks)

    @property
    def reason(self) -> str:
        """Why they are pending, for people."""
        if self.nearest is None:
            return "Not tried yet"
        return ",".join(dict.fromkeys(veto.reason for veto in self.nearest.vetoes)) or "No agent offers anything"


class TaskGroups:
    """All groups. Times are monotonic seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._number = 0
        self.clear()

    def clear(self) -> None:
        """Forget all groups."""
        self._groups: dict[str, Group] = {}
        self._by_task: dict[str, Group] = {}
        self._by_number: dict[int, Group] = {}
        self._by_job: dict[JobKey, dict[int, None]] = {}
        self._waiting = Waiting()
        #: (when, number): groups whose time has not come; one that is tried earlier leaves a stale entry.
        self._later: list[tuple[float, int]] = []
        #: (-priority, since when, number) of those whose time has come.
        self._ready: list[tuple[int, float, int]] = []
        self._attempts_left = max(1.0, self._settings.max_schedule_attempts_per_s)
        self._counted_at_s: float | None = None

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def groups(self) -> Mapping[str, Group]:
        """All groups by their configuration's digest."""
        return MappingProxyType(self._groups)

    # -- tasks come and go ---------------------------------------------------------------------------------------------

    def add(self, task: Task, now_s: float) -> None:
        """The task is pending."""
        config = task.config
        group = self._groups.get(config.digest)
        if group is None:
            self._number += 1
            due_at_s = now_s + self._settings.first_schedule_delay_s
            group = Group(self._number, config, self._settings.max_tasks_per_schedule_attempt, due_at_s)
            self._groups[config.digest] = self._by_number[group.number] = group
            self._by_job.setdefault(config.job, {})[group.number] = None
            heapq.heappush(self._later, (due_at_s, group.number))
        group._tasks[task.task_id] = None
        self._by_task[task.task_id] = group

    def remove(self, task_id: str) -> None:
        """The task is not pending any longer."""
        group = self._by_task.pop(task_id, None)
        if group is None:
            return
        del group._tasks[task_id]
        if not group._tasks:
            self._drop(group)

    def _drop(self, group: Group) -> None:
        del self._groups[group.config.digest]
        del self._by_number[group.number]
        numbers = self._by_job[group.config.job]
        del numbers[group.number]
        if not numbers:
            del self._by_job[group.config.job]
        self._waiting.remove(group.number)

    # -- whose turn it is ----------------------------------------------------------------------------------------------

    def due(self, now_s: float) -> list[Group]:
        """Groups to try now, each to be followed by ``tried``: of higher priority first, then those that have waited
        longest. No more than one step can do, nor than the attempts allowed per second."""
        self._refill(now_s)
        while self._later and self._later[0][0] <= now_s:
            at_s, number = heapq.heappop(self._later)
            group = self._by_number.get(number)
            if group is not None:
                heapq.heappush(self._ready, (-group.config.priority, at_s, number))
        found: list[Group] = []
        tasks_left = BATCHES_PER_STEP * self._settings.max_tasks_per_schedule_attempt
        while self._ready and self._attempts_left >= _ONE and tasks_left > 0:
            _, at_s, number = heapq.heappop(self._ready)
            group = self._by_number.get(number)
            if group is None or group.due_at_s != at_s:
                continue
            group.due_at_s = None
            self._waiting.remove(number)
            self._attempts_left -= 1
            tasks_left -= len(group.task_ids)
            found.append(group)
        return found

    @property
    def next_due_s(self) -> float | None:
        """When there is a group to try; None: there is none."""
        while self._later and self._is_stale(*self._later[0]):
            heapq.heappop(self._later)
        while self._ready and self._is_stale(*self._ready[0][1:]):
            heapq.heappop(self._ready)
        times = [*(at_s for at_s, _ in self._later[:1]), *(at_s for _, at_s, _ in self._ready[:1])]
        first_s = min(times, default=None)
        if first_s is None or self._attempts_left >= _ONE or self._counted_at_s is None:
            return first_s
        missing_s = (1 - self._attempts_left) / self._settings.max_schedule_attempts_per_s
        return max(first_s, self._counted_at_s + missing_s)

    def _is_stale(self, at_s: float, number: int) -> bool:
        group = self._by_number.get(number)
        return group is None or group.due_at_s != at_s

    def _refill(self, now_s: float) -> None:
        rate = self._settings.max_schedule_attempts_per_s
        if self._counted_at_s is not None:
            gained = max(0.0, now_s - self._counted_at_s) * rate
            # What was not used for a second is lost.
            self._attempts_left = min(max(1.0, rate), self._attempts_left + gained)
        self._counted_at_s = now_s

    def tried(self, group: Group, result: Result, now_s: float) -> None:
        """This came of the attempt. Where all were placed, the rest is tried at once; else the group waits."""
        for one in result.placements:
            if self._by_task.get(one.task_id) is group:
                del self._by_task[one.task_id]
                del group._tasks[one.task_id]
        if self._by_number.get(group.number) is not group:
            return  # its last task was assigned or killed, or all groups were forgotten
        settings = self._settings
        if result.placements:
            group.penalty_s = 0.0
            group.nearest = None
        if not group._tasks:
            self._drop(group)
        elif result.is_complete:
            self._put_off(group, now_s + settings.first_schedule_delay_s)
        else:
            doubled_s = group.penalty_s * 2 or settings.initial_schedule_penalty_s
            group.penalty_s = min(doubled_s, settings.max_schedule_penalty_s)
            group.nearest = _nearer(group.nearest, Nearest(result.nearest, now_s))
            self._waiting.add(group.number, group.config, result.need, result.full)
            self._put_off(group, now_s + group.penalty_s)

    def _put_off(self, group: Group, at_s: float) -> None:
        group.due_at_s = at_s
        heapq.heappush(self._later, (at_s, group.number))

    # -- what ends a wait ----------------------------------------------------------------------------------------------

    def offered(self, hosts: Iterable[tuple[Host, Room]], now_s: float) -> None:
        """So much is free on these hosts now: groups that wait for it are tried at once, all others wait on."""
        for host, room in hosts:
            if not self._waiting:
                return
            if host.mode not in CLOSED_MODES:
                for number in self._waiting.helped_by(host, room):
                    self._wake(number, now_s)

    def freed(self, job: JobKey, now_s: float) -> None:
        """A task of the job is not active any longer: where the job's limits were reached, one more may go now."""
        for number in self._by_job.get(job, ()):
            config = self._by_number[number].config
            if number in self._waiting and any(one.limit is not None for one in config.constraints):
                self._wake(number, now_s)

    def _wake(self, number: int, now_s: float) -> None:
        self._waiting.remove(number)
        self._put_off(self._by_number[number], now_s)

    # -- looking -------------------------------------------------------------------------------------------------------

    def reason(self, task: Task) -> str:
        """Why the task is pending, for people."""
        group = self._by_task.get(task.task_id)
        return group.reason if group is not None else "Waits for the scheduler, which has just started"


def _nearer(known: Nearest | None, seen: Nearest) -> Nearest:
    """The nearer of both; what is too old does not count, and neither does that nothing was offered."""
    if known is None or not known.vetoes or seen.at_s - known.at_s > NEAREST_KEPT_S:
        return seen
    return seen if seen.vetoes and total(seen.vetoes) <= total(known.vetoes) else known
