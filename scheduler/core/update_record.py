"""An update as it is kept: its state is what its events say, and is kept up with them."""

from __future__ import annotations

from scheduler.states import ACTIVE_UPDATE
from thermos.formats.aurora_api import (
    JobInstanceUpdateEvent,
    JobUpdateDetails,
    JobUpdateEvent,
    JobUpdateState,
    JobUpdateStatus,
    JobUpdateSummary,
    UpdatePause,
)


def status_of(details: JobUpdateDetails) -> JobUpdateStatus | None:
    """The state that the update is in; None: it has no event yet."""
    summary = details.update.summary if details.update is not None else None
    return summary.state.status if summary is not None and summary.state is not None else None


def is_active(details: JobUpdateDetails) -> bool:
    """Whether the update is not over."""
    return status_of(details) in ACTIVE_UPDATE


def abort_of(details: JobUpdateDetails) -> JobUpdateEvent | None:
    """The event of an abort that waits for instances whose old tasks are being killed; None: there is none."""
    last = details.update_events[-1] if details.update_events else None
    return last if last is not None and last.pause is UpdatePause.ABORTING else None


def settled(details: JobUpdateDetails) -> JobUpdateDetails:
    """*details* with the state that its events say; one without events is left as it is."""
    update_events = details.update_events
    summary = details.update.summary if details.update is not None else None
    if not update_events or summary is None:
        return details
    times = [event.timestamp_ms or 0 for event in update_events]
    times += [event.timestamp_ms or 0 for event in details.instance_events or ()]
    state = JobUpdateState(update_events[-1].status, update_events[0].timestamp_ms, max(times))
    return _with_state(details, summary, state)


def with_update_event(details: JobUpdateDetails, event: JobUpdateEvent) -> JobUpdateDetails:
    """One more event: the update is in its state now."""
    details = details._replace(update_events=(*(details.update_events or ()), event))
    return _moved(details, event.timestamp_ms or 0, event.status)


def with_instance_event(details: JobUpdateDetails, event: JobInstanceUpdateEvent) -> JobUpdateDetails:
    """One more event of an instance: the update's state changed by nothing but its time."""
    details = details._replace(instance_events=(*(details.instance_events or ()), event))
    return _moved(details, event.timestamp_ms or 0, None)


def _moved(details: JobUpdateDetails, at_ms: int, status: JobUpdateStatus | None) -> JobUpdateDetails:
    """``settled``, without looking at all events: there may be many."""
    update_events = details.update_events
    summary = details.update.summary if details.update is not None else None
    if not update_events or summary is None:
        return details
    old = summary.state or JobUpdateState()
    latest_ms = max(at_ms, old.last_modified_timestamp_ms or 0)
    state = JobUpdateState(old.status if status is None else status, update_events[0].timestamp_ms, latest_ms)
    return _with_state(details, summary, state)


def _with_state(details: JobUpdateDetails, summary: JobUpdateSummary, state: JobUpdateState) -> JobUpdateDetails:
    if summary.state == state or details.update is None:
        return details
    return details._replace(update=details.update._replace(summary=summary._replace(state=state)))
