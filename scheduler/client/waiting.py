"""Waiting for instances of a job, with a word on stderr about what is waited for, since when, and why.

Source: ``aurora/client/api/job_monitor.py``: the pause between two looks doubles from 2 s to 150 s; who gives up does
so once it is that long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scheduler.client import keys
from scheduler.client.errors import ClientError
from scheduler.client.keys import JobRef
from scheduler.client.printing import clean
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.world import World, say
from scheduler.states import TERMINAL
from thermos.formats.aurora_api import ScheduledTask, ScheduleStatus

FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 150.0
#: A line that says nothing new is repeated only this often.
REPEAT_S: Final = 60.0
#: Of many different reasons, as many are shown as fit on a line.
_MAX_REASONS: Final = 3


def is_over(status: ScheduleStatus) -> bool:
    """Whether a task in *status* is over."""
    return status in TERMINAL


def is_running_or_over(status: ScheduleStatus) -> bool:
    """Whether a task in *status* runs or is over."""
    return status is ScheduleStatus.RUNNING or status in TERMINAL


def newest(tasks: Iterable[ScheduledTask]) -> dict[int, ScheduledTask]:
    """The newest task of each instance, by its first event."""
    found: dict[int, ScheduledTask] = {}
    for task in sorted(tasks, key=lambda task: task.task_events[0].timestamp or 0 if task.task_events else 0):
        if task.assigned_task is not None and task.assigned_task.instance_id is not None:
            found[task.assigned_task.instance_id] = task
    return found


class Teller:
    """Says on stderr what is waited for: when it changes, and once a minute."""

    def __init__(self, world: World, what: str) -> None:
        self._world = world
        self._what = what
        self._began_s = world.mono_s()
        self._last = ""
        self._last_s = 0.0

    def tell(self, state: str) -> None:
        """*state* is how things are now."""
        now_s = self._world.mono_s()
        if state != self._last or now_s - self._last_s >= REPEAT_S:
            say(f"waiting for {self._what}, for {now_s - self._began_s:.0f} s now: {state}")
            self._last, self._last_s = state, now_s


class Monitor:
    """Waits for instances of one job."""

    def __init__(self, scheduler: Scheduler, job: JobRef, world: World) -> None:
        self._scheduler = scheduler
        self._job = job
        self._world = world

    def wait(
        self,
        what: str,
        is_done: Callable[[ScheduleStatus], bool],
        instances: Sequence[int] | None = None,
        gives_up: bool = False,
    ) -> tuple[int, ...]:
        """Return when each of *instances* (None: all) is done or gone; the ones that are not, if it gives up."""
        teller = Teller(self._world, what)
        pause_s = FIRST_PAUSE_S
        while True:
            tasks = newest(self._scheduler.tasks(self._job.key, instances))
            rest = {
                number: task for number, task in tasks.items() if task.status is not None and not is_done(task.status)
            }
            if not rest or (gives_up and pause_s >= LONGEST_PAUSE_S):
                return tuple(sorted(rest))
            teller.tell(describe(rest, self._reasons(rest)))
            self._world.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _reasons(self, rest: dict[int, ScheduledTask]) -> list[str]:
        return pending_reasons(self._scheduler, self._job, rest.values())


def reasons_by_task(scheduler: Scheduler, job: JobRef, tasks: Iterable[ScheduledTask]) -> dict[str, str]:
    """Why those of *tasks* wait that are PENDING, by task id; asked for only if there are any.

    Nothing, where the scheduler does not say: it is a help for people, and all else goes on without.
    """
    waiting = {
        task.assigned_task.task_id
        for task in tasks
        if task.status is ScheduleStatus.PENDING and task.assigned_task is not None
    }
    if not waiting:
        return {}
    try:
        reasons = scheduler.pending_reasons(job.key)
    except ClientError:
        return {}
    return {task_id: reason for task_id, reason in reasons.items() if task_id in waiting and reason}


def pending_reasons(scheduler: Scheduler, job: JobRef, tasks: Iterable[ScheduledTask]) -> list[str]:
    """Why those of *tasks* wait that are PENDING, each reason once."""
    return sorted(set(map(clean, reasons_by_task(scheduler, job, tasks).values())))


def describe(tasks: dict[int, ScheduledTask], reasons: Sequence[str]) -> str:
    """Which instances are in which state, in a line: ``0-3 PENDING (no offer with enough CPU), 4 STARTING``."""
    numbers: dict[str, list[int]] = {}
    for number, task in tasks.items():
        numbers.setdefault(str(task.status), []).append(number)
    why = "; ".join(reasons[:_MAX_REASONS]) + ("; …" if len(reasons) > _MAX_REASONS else "")
    parts = []
    for status, found in sorted(numbers.items()):
        told = f" ({why})" if why and status == str(ScheduleStatus.PENDING) else ""
        parts.append(f"{keys.ranges(found)} {status}{told}")
    return ", ".join(parts)


def counts(tasks: Iterable[ScheduledTask]) -> str:
    """How many tasks are in which state: ``3 RUNNING, 1 FAILED``."""
    found = Counter(str(task.status) for task in tasks)
    return ", ".join(f"{count} {status}" for status, count in sorted(found.items()))
