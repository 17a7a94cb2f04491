"""An update's state is what its events say, however they came in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.update_record import is_active, settled, with_instance_event, with_update_event
from thermos.formats.aurora_api import (
    JobInstanceUpdateEvent,
    JobUpdate,
    JobUpdateAction,
    JobUpdateDetails,
    JobUpdateEvent,
    JobUpdateState,
    JobUpdateStatus,
    JobUpdateSummary,
)

EMPTY = JobUpdateDetails(JobUpdate(JobUpdateSummary(user="ann")), (), ())


@pytest.mark.parametrize("status", JobUpdateStatus)
def test_updates_that_are_active(status: JobUpdateStatus) -> None:
    details = JobUpdateDetails(JobUpdate(JobUpdateSummary(state=JobUpdateState(status))))
    over = ("ROLLED_FORWARD", "ROLLED_BACK", "ABORTED", "ERROR", "FAILED")
    assert is_active(details) is (status.name not in over)


def test_an_update_without_a_state_is_not_active() -> None:
    for details in (JobUpdateDetails(), JobUpdateDetails(JobUpdate()), JobUpdateDetails(JobUpdate(JobUpdateSummary()))):
        assert not is_active(details)


def test_the_state_is_the_last_event_and_the_times_are_those_of_all() -> None:
    events = (JobUpdateEvent(JobUpdateStatus.ROLLING_FORWARD, 5), JobUpdateEvent(JobUpdateStatus.ROLLED_FORWARD, 7))
    one = JobInstanceUpdateEvent(0, 9, JobUpdateAction.INSTANCE_UPDATING)
    found = settled(EMPTY._replace(update_events=events, instance_events=(one,)))
    assert found.update is not None and found.update.summary is not None
    assert found.update.summary.state == JobUpdateState(JobUpdateStatus.ROLLED_FORWARD, 5, 9)
    assert settled(EMPTY) is EMPTY


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from(JobUpdateStatus)), min_size=1))
def test_events_one_by_one_come_to_the_same_as_all_at_once(steps: list[tuple[bool, int, JobUpdateStatus]]) -> None:
    details = with_update_event(EMPTY, JobUpdateEvent(JobUpdateStatus.ROLLING_FORWARD, 3))
    for is_instance, at_ms, status in steps:
        if is_instance:
            details = with_instance_event(details, JobInstanceUpdateEvent(1, at_ms, JobUpdateAction.INSTANCE_UPDATED))
        else:
            details = with_update_event(details, JobUpdateEvent(status, at_ms))
    bare = EMPTY._replace(update_events=details.update_events, instance_events=details.instance_events)
    assert settled(bare) == details
