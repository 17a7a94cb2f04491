"""How long a task that keeps ending soon after its start waits before it is tried again
(``RescheduleCalculator.java``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scheduler.core.lifecycle import was_never_launched
from scheduler.core.settings import Settings
from scheduler.model import Task
from scheduler.states import ACTIVE, TERMINAL, ScheduleStatus

#: Whoever was ever in one of these was ended by people or for a host's sake: no fault of the task's.
INTERRUPTED: Final = frozenset({ScheduleStatus.RESTARTING, ScheduleStatus.KILLING, ScheduleStatus.DRAINING})

#: Who ended in one of these lost its agent, or gave way to another: Aurora let its successor wait all the same.
_NOT_ITS_OWN: Final = frozenset({ScheduleStatus.PARTITIONED, ScheduleStatus.PREEMPTING})


def penalty_s(task: Task, find: Callable[[str], Task | None], settings: Settings) -> float:
    """How many seconds the successor of *task*, which is over, is to wait; 0.0: none.

    *find* gives a task by its id, or None where it is forgotten. The back-off doubles with each ancestor that ended
    too soon; the first that did not, the longest penalty or the end of what is known ends the count.
    """
    penalty = 0.0
    current: Task | None = task
    while current is not None and flapped(current, settings):
        longer = _next_s(penalty, settings)
        if longer == penalty:
            break
        penalty = longer
        current = find(current.ancestor_id) if current.ancestor_id is not None else None
    return penalty


def flapped(task: Task, settings: Settings) -> bool:
    """Whether *task* is over, was not interrupted, and ended too soon after it came into its last state before that:
    its whole time does not count."""
    ended = task.events[-1]
    if ended.status not in TERMINAL or was_never_launched(task):
        return False
    if any(event.status in INTERRUPTED for event in task.events):
        return False
    for event in reversed(task.events):
        if event.status in _NOT_ITS_OWN:
            return False
        if event.status in ACTIVE:
            return ended.at_ms - event.at_ms < settings.flapping_task_threshold_s * 1000
    return False


def _next_s(penalty: float, settings: Settings) -> float:
    longest = settings.max_flapping_task_delay_s
    return min(longest, settings.initial_flapping_task_delay_s if penalty == 0 else penalty * 2)
