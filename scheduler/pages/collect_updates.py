"""A job's updates: a row of each, and the page of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from observer_static.context import MAX_PHRASE, MAX_SENTENCE, from_ms, shown
from scheduler.api.backend import View
from scheduler.core.ranges import instances_of
from scheduler.core.update_history import state_of
from scheduler.core.update_queries import waits
from scheduler.core.update_record import is_active
from scheduler.core.updates import UNHEALTHY_WAIT_MS, strategy_of
from scheduler.model import JobKey, config_of
from scheduler.pages import paths
from scheduler.pages.collect import MAX_LABELS, Common, common, config_view, job_name, message, paged
from scheduler.pages.pages import UpdatePage
from scheduler.pages.parts import ConfigView, Labeled, ProgressRow, StateCount, UpdateEventRow, UpdateRow
from thermos.formats.aurora_api import (
    JobInstanceUpdateEvent,
    JobUpdate,
    JobUpdateDetails,
    JobUpdateInstructions,
    JobUpdateSettings,
    JobUpdateSummary,
    Range,
)

#: Instances of one page.
INSTANCE_ROWS: Final = 100
#: Configurations that are shown; a job rarely has more than two.
MAX_CONFIGS: Final = 10
#: Events that are shown, the last ones: an update that is paused after each batch has two of each.
MAX_EVENTS: Final = 200
#: The order in which instances are counted: what people look for first.
_ORDER: Final = (
    "UPDATE_FAILED", "ROLLBACK_FAILED", "UPDATING", "ROLLING_BACK", "UPDATED", "ROLLED_BACK", "UNTOUCHED",
)  # fmt: skip
_UNTOUCHED: Final = "UNTOUCHED"


def update_row(job: JobKey, update_id: str, details: JobUpdateDetails) -> UpdateRow:
    """The update in its job's list."""
    summary = _summary(details)
    state = state_of(details)
    events = details.update_events or ()
    return UpdateRow(
        update_id=shown(update_id),
        href=paths.update_path(job, update_id),
        state=_name(state.status),
        user=shown(summary.user or ""),
        began_s=from_ms(state.created_timestamp_ms),
        since_s=from_ms(state.last_modified_timestamp_ms),
        message=message(events[-1].message) if events else None,
    )


def _summary(details: JobUpdateDetails) -> JobUpdateSummary:
    return (details.update.summary if details.update is not None else None) or JobUpdateSummary()


def _name(status: object) -> str:
    """A state or an action; of an update that has none, and cannot go on, that."""
    return str(status).removeprefix("INSTANCE_") if status is not None else "ERROR"


# -- An update ---------------------------------------------------------------------------------------------------------


class SeenUpdate(NamedTuple):
    """What an update's page is made from."""

    seen: Common
    job: JobKey
    update_id: str
    details: JobUpdateDetails
    waits: tuple[tuple[int, str], ...]


def pick_update(view: View, job: JobKey, update_id: str) -> SeenUpdate | None:
    """Picks an update; None: the job has none of that id."""
    details = view.state.updates.get((job, update_id))
    if details is None:
        return None
    waiting = waits(view.state, (job, update_id), view.wall_ms, view.pending_reasons, view.settings)
    return SeenUpdate(common(view), job, update_id, details, tuple(waiting))


def update_page(picked: SeenUpdate, query: Mapping[str, str]) -> UpdatePage:
    """The update; of the query ``page`` counts: which page of its instances."""
    seen, job, details = picked.seen, picked.job, picked.details
    update = details.update or JobUpdate()
    instructions = update.instructions or JobUpdateInstructions()
    path = paths.update_path(job, picked.update_id)
    last = {event.instance_id or 0: event for event in details.instance_events or ()}
    instances = sorted(_instances(instructions) | last.keys())
    counts = Counter(_name(last[one].action) if one in last else _UNTOUCHED for one in instances)
    rows, paging = paged(
        instances, query.get("page"), INSTANCE_ROWS,
        lambda number: f"{paths.with_query(path, {'page': number})}#instances",
    )  # fmt: skip
    reasons = dict(picked.waits)
    initial = _initial(instructions)
    return UpdatePage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        job=job_name(job),
        update=update_row(job, picked.update_id, details),
        is_active=is_active(details),
        again_href=paths.with_query(path, {"page": query.get("page")}),
        progress=tuple(StateCount(state=name, count=counts[name], href=None) for name in _ORDER if counts[name]),
        events=tuple(
            UpdateEventRow(
                at_s=from_ms(event.timestamp_ms),
                state=_name(event.status),
                user=shown(event.user) if event.user else None,
                message=message(event.message),
            )
            for event in (details.update_events or ())[-MAX_EVENTS:]
        ),
        settings=tuple(
            Labeled(name=name, value=shown(words, MAX_SENTENCE))
            for name, words in _settings(instructions.settings or JobUpdateSettings())
        ),
        metadata=tuple(
            Labeled(name=shown(one.key or ""), value=shown(one.value or "", MAX_PHRASE))
            for one in (_summary(details).metadata or ())[:MAX_LABELS]
        ),
        instances=tuple(_progress(job, one, last.get(one), reasons.get(one)) for one in rows),
        paging=paging,
        initial=initial[:MAX_CONFIGS],
        initial_left_out=len(initial[MAX_CONFIGS:]),
        desired=_desired(instructions),
    )


def _progress(job: JobKey, instance: int, event: JobInstanceUpdateEvent | None, reason: str | None) -> ProgressRow:
    return ProgressRow(
        instance=instance,
        instance_href=paths.instance_path(job, instance),
        state=_name(event.action) if event is not None else _UNTOUCHED,
        since_s=from_ms(event.timestamp_ms) if event is not None else None,
        why=message(reason),
        message=message(event.message) if event is not None else None,
    )


def _instances(instructions: JobUpdateInstructions) -> set[int]:
    """All that it is about."""
    found: set[int] = set()
    for group in instructions.initial_state or ():
        found.update(instances_of(group.instances))
    if instructions.desired_state is not None:
        found.update(instances_of(instructions.desired_state.instances))
    return found


def _initial(instructions: JobUpdateInstructions) -> tuple[ConfigView, ...]:
    return tuple(
        config_view(config_of(group.task), instances_of(group.instances))
        for group in instructions.initial_state or ()
        if group.task is not None
    )


def _desired(instructions: JobUpdateInstructions) -> ConfigView | None:
    wanted = instructions.desired_state
    if wanted is None or wanted.task is None or not wanted.instances:
        return None
    return config_view(config_of(wanted.task), instances_of(wanted.instances))


# -- Settings in words -------------------------------------------------------------------------------------------------


def _settings(settings: JobUpdateSettings) -> Iterator[tuple[str, str]]:
    strategy = strategy_of(settings)
    if strategy.is_queue:
        yield "At once", f"{_many(strategy.sizes[0], 'instance')}, the next as soon as one is done"
    else:
        sizes = ", ".join(map(str, strategy.sizes))
        more = "; pauses after each" if strategy.is_autopaused else ""
        last = ", the last size again and again" if len(strategy.sizes) > 1 else ""
        yield "At once", f"batches of {sizes}{last}{more}"
    if strategy.canaries:
        after_ms = settings.canary_promote_after_ms
        when = "when somebody resumes the update" if after_ms is None else f"after they ran for {_seconds(after_ms)}"
        yield "Canaries", f"{_many(strategy.canaries, 'instance')} first, the others {when}"
    run_ms = settings.min_wait_in_instance_running_ms or 0
    if run_ms:
        yield "Is done", f"when its task has run for {_seconds(run_ms)}"
    else:
        unchecked = f"where its executor does not say that it checks, when it has run for {_seconds(UNHEALTHY_WAIT_MS)}"
        yield "Is done", f"when its task is healthy; {unchecked}"
    if settings.progress_deadline_ms:
        yield "Has failed", f"when it is not done within {_seconds(settings.progress_deadline_ms)}"
    yield (
        "May fail",
        (
            f"the task of an instance {_many(settings.max_per_instance_failures or 0, 'time')}, "
            f"and {_many(settings.max_failed_instances or 0, 'instance')}"
        ),
    )
    yield "Else", "it is rolled back" if settings.rollback_on_failure else "it ends, and all stays as it is then"
    if settings.update_only_these_instances:
        yield "Only", f"instances {', '.join(map(_range, settings.update_only_these_instances))}"
    if settings.block_if_no_pulses_after_ms:
        yield "Pulse", f"it waits when none has come for {_seconds(settings.block_if_no_pulses_after_ms)}"
    if settings.sla_aware:
        yield "SLA", "old tasks go only as their SLA policy allows"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s"


def _range(one: Range) -> str:
    return f"{one.first}" if one.first == one.last else f"{one.first}-{one.last}"
