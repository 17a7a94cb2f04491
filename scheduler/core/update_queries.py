"""What clients ask to see of updates: which there are, all about one, and what it waits for. For reading only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from scheduler.core import sla
from scheduler.core.elapsed import by_the_clock
from scheduler.core.events import Now
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.core.update_groups import next_group
from scheduler.core.update_history import state_of
from scheduler.core.update_record import is_active, status_of
from scheduler.core.update_run import Run
from scheduler.core.updates import AWAITING_PULSE, MOVING, PAUSED, Step, back_filled, decide
from scheduler.model import JobKey
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    InstanceWait,
    JobUpdateDetails,
    JobUpdateQuery,
    JobUpdateSummary,
)

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def _key_of(key: wire.JobKey | None) -> JobKey:
    return JobKey(*(part or "" for part in key or wire.JobKey()))


def select(state: State, query: JobUpdateQuery) -> list[JobUpdateDetails]:
    """The updates that fit *query*, the one that changed last first. An offset skips the first of them, a limit above 0
    ends the list; a set that is empty asks for nothing, like one that is not there."""
    statuses = set(query.update_statuses or ())
    job = _key_of(query.job_key) if query.job_key is not None else None
    found: list[tuple[int, int, str, JobUpdateDetails]] = []
    if query.key is not None:
        wanted = (_key_of(query.key.job), query.key.id or "")
        candidates = {wanted: state.updates[wanted]} if wanted in state.updates else {}
    else:
        candidates = state.updates
    for (key, update_id), details in candidates.items():
        if (job is None or key == job) and (query.role is None or key.role == query.role):
            summary = (details.update.summary if details.update is not None else None) or JobUpdateSummary()
            is_one = not statuses or status_of(details) in statuses
            if is_one and (query.user is None or summary.user == query.user):
                times = state_of(details)
                at_ms, began_ms = times.last_modified_timestamp_ms or 0, times.created_timestamp_ms or 0
                found.append((-at_ms, -began_ms, update_id, details))
    found.sort(key=lambda one: one[:3])
    first = max(0, query.offset or 0)
    limit = query.limit or 0
    chosen = found[first : first + limit] if limit > 0 else found[first:]
    return [details for *_, details in chosen]


def summaries(state: State, query: JobUpdateQuery) -> tuple[JobUpdateSummary, ...]:
    """Of the updates that fit *query*, in that order, what they are and how they stand."""
    return tuple(
        details.update.summary
        for details in select(state, query)
        if details.update is not None and details.update.summary is not None
    )


def details_of(
    state: State,
    query: JobUpdateQuery,
    now_ms: int,
    pending: Mapping[str, str] = _NOTHING,
    settings: Settings | None = None,
) -> tuple[JobUpdateDetails, ...]:
    """All about the updates that fit *query*, in that order; those that are not over with what they wait for.
    *pending*: task id → why it waits for an agent."""
    found = []
    for details in select(state, query):
        update = details.update
        instructions = update.instructions if update is not None else None
        if update is not None and instructions is not None and instructions.settings is not None:
            filled = instructions._replace(settings=back_filled(instructions.settings))
            details = details._replace(update=update._replace(instructions=filled))
        if is_active(details) and update is not None and update.summary is not None and update.summary.key is not None:
            key = update.summary.key
            waiting = waits(state, (_key_of(key.job), key.id or ""), now_ms, pending, settings)
            details = details._replace(waits=tuple(InstanceWait(*one) for one in waiting) or None)
        found.append(details)
    return tuple(found)


def waits(
    state: State,
    key: tuple[JobKey, str],
    now_ms: int,
    pending: Mapping[str, str] = _NOTHING,
    settings: Settings | None = None,
) -> list[tuple[int, str]]:
    """What each instance of an update waits for that is under way or comes next, in words; in the order of work.

    *key*: the job and the update's id; *now_ms*: wall time, now; *pending*: task id → why it waits for an agent;
    *settings*: needed to say why an SLA policy does not let an old task go. Empty where the update is over, is not
    known, or waits for nothing.
    """
    details = state.updates.get(key)
    if details is None or not is_active(details):
        return []
    elapsed, now = by_the_clock(now_ms)
    try:
        run = Run(state, *key, elapsed, now)
    except ValueError:
        return []
    held = _held(run, state, now)
    found: list[tuple[int, str]] = []
    for instance in run.order:
        work = run.working.get(instance)
        if work is None:
            continue
        task = run.task(state, instance)
        spent_ms = work.spent_ms(now.mono_s) if run.status in MOVING else None
        age_ms = 0 if task is None else elapsed.age_ms(task, now)
        found_next = decide(run.target(instance), task, run.failures(instance), run.rules, spent_ms, age_ms)
        reason = found_next.reason or ""
        if found_next.step is Step.KILL and task is not None and run.settings.sla_aware and settings is not None:
            promising = task._replace(config=run.policy_of(task))
            verdict = sla.may_kill(promising, state, now_ms, settings)
            reason = reason if verdict.is_allowed else f"its old task may not go yet: {verdict.reason}"
        if task is not None and task.status in (ScheduleStatus.PENDING, ScheduleStatus.THROTTLED):
            more = pending.get(task.task_id)
            reason = f"{reason}: {more}" if more else reason
        found.append((instance, f"{reason}; {held}" if held and reason else reason))
    size = run.strategy.next_size(run.begun)
    for number, instance in enumerate(run.waiting):
        if not run.strategy.is_queue and number >= size:
            break
        if run.strategy.is_queue and number >= run.strategy.sizes[0]:
            break
        found.append((instance, held or "it is its turn when the instances before it are done"))
    return [one for one in found if one[1]]


def _held(run: Run, state: State, now: Now) -> str:
    """What all of the update waits for; "": nothing."""
    if run.aborting is not None:
        instances = ", ".join(map(str, run.between(state)))
        return f"the update is aborted when these instances are back, whose old tasks are being killed: {instances}"
    if run.status in PAUSED:
        return "the update is paused, until somebody resumes it"
    if run.status in AWAITING_PULSE:
        return "the update waits for a pulse of the service that watches it"
    look_at_s = next_group(run, now.mono_s).look_at_s
    return "" if look_at_s is None else f"the canaries are watched for {look_at_s - now.mono_s:g} s more"
