"""Which updates are forgotten (``JobUpdateHistoryPruner.java``)."""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.core.changes import DropUpdate
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.core.update_record import is_active
from scheduler.model import JobKey
from thermos.formats.aurora_api import JobUpdateDetails, JobUpdateState


def state_of(details: JobUpdateDetails) -> JobUpdateState:
    """The update's state; one that has none is old and over."""
    summary = details.update.summary if details.update is not None else None
    return (summary.state if summary is not None else None) or JobUpdateState()


def prunable(state: State, now_ms: int, settings: Settings) -> list[DropUpdate]:
    """What to forget of the updates that are over: of each job those beyond the newest few, those that are old, and all
    of a job of which nothing else is left."""
    return list(_prunable(state, now_ms, settings))


def _prunable(state: State, now_ms: int, settings: Settings) -> Iterator[DropUpdate]:
    jobs: dict[JobKey, list[tuple[int, str]]] = {}
    for (job, update_id), details in state.updates.items():
        if not is_active(details):
            found = state_of(details)
            jobs.setdefault(job, []).append((found.last_modified_timestamp_ms or 0, update_id))
    oldest_ms = now_ms - settings.job_update_history_pruning_threshold_s * 1000
    for job, updates in jobs.items():
        is_known = job in state.by_job or job in state.cron_jobs or job in state.active_updates
        updates.sort(reverse=True)
        for number, (at_ms, update_id) in enumerate(updates):
            if not is_known or number >= settings.job_update_history_per_job or at_ms < oldest_ms:
                yield DropUpdate(job, update_id)
