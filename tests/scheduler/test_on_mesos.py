"""The scheduler as its own process on a real Mesos, seen through its API: jobs, kills, failovers, drift."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, cluster, job
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import ResponseCode

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def test_a_job_runs_survives_the_schedulers_death_and_is_killed(shared: Cluster) -> None:
    key = shared.create("lasting")
    (before,) = shared.wait_running(key)
    shared.scheduler.kill()
    shared.scheduler.start()
    (after,) = shared.wait_running(key)
    assert after.assigned_task is not None
    assert before.assigned_task is not None
    assert after.assigned_task.task_id == before.assigned_task.task_id
    assert [str(event.status) for event in after.task_events or ()] == ["PENDING", "ASSIGNED", "STARTING", "RUNNING"]
    shared.api.ok("killTasks", job=key)
    shared.wait("it is killed", lambda: shared.states(key) == ["KILLED"])


def test_a_batch_job_finishes(shared: Cluster) -> None:
    key = shared.create("batch", code="true", is_service=False)
    shared.wait("it is finished", lambda: shared.states(key) == ["FINISHED"])


def test_a_job_that_is_there_is_refused(shared: Cluster) -> None:
    key = wire.JobKey("root", "test", "twice")
    shared.api.ok("createJob", description=job(key))
    response = shared.api.call("createJob", description=job(key))
    assert response.response_code is ResponseCode.INVALID_REQUEST
    shared.api.ok("killTasks", job=key)
