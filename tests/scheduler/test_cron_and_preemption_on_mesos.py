"""On a real Mesos: a cron job that is started by hand, killed for its next run; and a full agent that makes room."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from scheduler.core.quota import aggregate_of
from scheduler.model import Resources
from tests.support.cluster import Cluster, cluster, job
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobSummary, ResponseCode

pytestmark = [pytest.mark.process, pytest.mark.slow]

CPUS = 2.0


@pytest.fixture(scope="module")
def small() -> Iterator[Cluster]:
    """One agent, soon full; nobody waits for minutes."""
    flags = (
        "-flapping_task_threshold", "0s", "-preemption_delay", "1s", "-preemption_slot_search_initial_delay", "1s",
        "-preemption_slot_search_interval", "1s", "-cron_timezone", "Europe/Berlin",
    )  # fmt: skip
    with cluster(flags=flags, MESOS_RESOURCES=f"cpus:{CPUS};mem:2048;disk:4096;ports:[31000-31010]") as made:
        yield made


def summary(made: Cluster, key: wire.JobKey) -> JobSummary:
    response = made.api.ok("getJobSummary", role=key.role)
    assert response.result is not None and response.result.job_summary_result is not None
    (found,) = [
        one for one in response.result.job_summary_result.summaries or () if one.job is not None and one.job.key == key
    ]
    return found


def test_a_cron_job_is_started_and_its_next_run_takes_the_place_of_the_former(small: Cluster) -> None:
    key = wire.JobKey("root", "test", "nightly")
    description = job(key, is_service=False)._replace(cron_schedule="0 3 1 1 *")
    small.api.ok("scheduleCronJob", description=description)
    assert json.loads(small.api.get("/cron")[1])["scheduled"] == {"root/test/nightly": "0 3 1 1 *"}
    next_ms = summary(small, key).next_cron_run_ms
    assert next_ms is not None and next_ms // 1000 % 86400 == 2 * 3600, "three o'clock in Berlin's winter"
    assert small.api.call("createJob", description=job(key)).response_code is ResponseCode.INVALID_REQUEST

    small.api.ok("startCronJob", job=key)
    (first,) = small.wait_running(key)
    small.api.ok("startCronJob", job=key)
    small.wait("the former run is killed, and the next one runs", lambda: small.states(key) == ["KILLED", "RUNNING"])
    (second,) = small.active(key)
    assert second != first

    small.api.ok("replaceCronTemplate", config=description._replace(cron_schedule="0 4 1 1 *"))
    small.api.ok("descheduleCronJob", job=key)
    assert small.states(key) == ["KILLED", "RUNNING"]
    for method in ("startCronJob", "descheduleCronJob"):
        answer = small.api.call(method, job=key)
        assert answer.response_code is ResponseCode.INVALID_REQUEST
    small.api.ok("killTasks", job=key)
    small.wait("it is gone", lambda: not small.active(key))


def test_a_full_agent_makes_room_for_what_matters_more(small: Cluster) -> None:
    large = (wire.Resource(num_cpus=1.5), wire.Resource(ram_mb=16), wire.Resource(disk_mb=16))
    weak = small.create("weak", resources=large, tier="preemptible")
    small.wait_running(weak)
    small.api.ok("setQuota", owner_role="root", quota=aggregate_of(Resources(4000, 1000, 1000)))
    strong = small.create("strong", resources=large, tier="preferred")
    small.wait_running(strong)
    found = small.api.tasks(job_keys=(weak,))
    assert "PREEMPTING" in [str(event.status) for event in found[0].task_events or ()]
    assert str(found[-1].status) == "PENDING"
    # When that is done, who gave way comes back.
    small.api.ok("killTasks", job=strong)
    small.wait_running(weak)
    small.api.ok("killTasks", job=weak)
