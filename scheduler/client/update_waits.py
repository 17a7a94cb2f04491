"""Why an update does not go on at this moment: what its scheduler says, or what can be seen from outside.

A scheduler of ours tells it with the update. Of another one it is worked out from the update's state, its latest events
and the tasks of the instances that are under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from scheduler.client import keys
from scheduler.client.keys import JobRef
from scheduler.client.printing import clean
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.waiting import newest, pending_reasons
from scheduler.states import ACTIVE_UPDATE, TERMINAL
from thermos.formats import aurora_api as api
from thermos.formats.aurora_api import JobUpdateAction, JobUpdateStatus, ScheduledTask, ScheduleStatus, UpdatePause

_PAUSED: Final = frozenset({JobUpdateStatus.ROLL_FORWARD_PAUSED, JobUpdateStatus.ROLL_BACK_PAUSED})
_AWAITS_PULSE: Final = frozenset(
    {JobUpdateStatus.ROLL_FORWARD_AWAITING_PULSE, JobUpdateStatus.ROLL_BACK_AWAITING_PULSE}
)
_UNDER_WAY: Final = frozenset({JobUpdateAction.INSTANCE_UPDATING, JobUpdateAction.INSTANCE_ROLLING_BACK})


class Wait(NamedTuple):
    """What is waited for; *instances* empty: the update as a whole."""

    instances: tuple[int, ...]
    reason: str

    def __str__(self) -> str:
        if not self.instances:
            return self.reason
        return f"instance{'s' * (len(self.instances) > 1)} {keys.ranges(self.instances)}: {self.reason}"


def waits(scheduler: Scheduler, job: JobRef, details: api.JobUpdateDetails, now_s: float | None) -> list[Wait]:
    """Everything that the update waits for; nothing where it is over. *now_s* None: without how long it has been so."""
    summary = details.update.summary if details.update is not None else None
    status = summary.state.status if summary is not None and summary.state is not None else None
    if status not in ACTIVE_UPDATE:
        return []
    found = [Wait((), reason)] if (reason := _as_a_whole(job, status, details)) else []
    if details.waits is not None:
        return [*found, *_told(details.waits)]
    return [*found, *_seen(scheduler, job, details, now_s)]


def _as_a_whole(job: JobRef, status: JobUpdateStatus | None, details: api.JobUpdateDetails) -> str:
    if status in _PAUSED:
        event = details.update_events[-1] if details.update_events else api.JobUpdateEvent()
        who = f" by {clean(event.user)}" if event.user else ""
        why = f" ({clean(event.message)})" if event.message else ""
        if event.pause is UpdatePause.ABORTING:
            return f"being aborted{who}{why}"
        return f"paused{who}{why}; `aurora update resume {job}` goes on"
    if status in _AWAITS_PULSE:
        return "waits for a pulse of whoever coordinates it (pulseJobUpdate)"
    return ""


def _told(told: tuple[api.InstanceWait, ...]) -> list[Wait]:
    """The scheduler's own reasons, instances with the same one together; those without instance first."""
    by_reason: dict[str, list[int]] = {}
    for each in told:
        numbers = by_reason.setdefault(clean(each.reason or "unknown"), [])
        if each.instance_id is not None:
            numbers.append(each.instance_id)
    return [Wait(tuple(sorted(numbers)), reason) for reason, numbers in by_reason.items()]


def _seen(scheduler: Scheduler, job: JobRef, details: api.JobUpdateDetails, now_s: float | None) -> list[Wait]:
    latest: dict[int, JobUpdateAction | None] = {}
    for event in sorted(details.instance_events or (), key=lambda event: event.timestamp_ms or 0):
        latest[event.instance_id or 0] = event.action
    numbers = sorted(number for number, action in latest.items() if action in _UNDER_WAY)
    if not numbers:
        return []
    tasks = newest(scheduler.tasks(job.key, numbers))
    reasons = pending_reasons(scheduler, job, tasks.values())
    pending = f"PENDING ({'; '.join(reasons)})" if reasons else "PENDING: not on an agent yet"
    by_reason: dict[str, list[int]] = {}
    watch_ms = _watch_ms(details)
    for number in numbers:
        by_reason.setdefault(_reason(tasks, number, pending, watch_ms, now_s), []).append(number)
    return [Wait(tuple(found), reason) for reason, found in by_reason.items()]


def _watch_ms(details: api.JobUpdateDetails) -> int:
    instructions = details.update.instructions if details.update is not None else None
    settings = instructions.settings if instructions is not None else None
    return (settings.min_wait_in_instance_running_ms or 0) if settings is not None else 0


def _reason(tasks: Mapping[int, ScheduledTask], number: int, pending: str, watch_ms: int, now_s: float | None) -> str:
    task = tasks.get(number)
    if task is None:
        return "no task yet"
    status = task.status
    if status is ScheduleStatus.PENDING:
        return pending
    if status is ScheduleStatus.RUNNING:
        if now_s is None:
            return f"RUNNING, which it must be for {watch_ms / 1000:g} s"
        since_ms = max((event.timestamp or 0 for event in task.task_events or ()), default=0)
        return f"RUNNING for {max(0.0, now_s - since_ms / 1000):.0f} s of the {watch_ms / 1000:g} s that it must be"
    if status is ScheduleStatus.THROTTLED:
        return "THROTTLED: its task failed too soon, and waits before it is started again"
    if status is ScheduleStatus.STARTING:
        return "STARTING: not healthy yet"
    if status in TERMINAL:
        return f"its task is {status}; the next one is not there yet"
    return f"{status}: on its way"
