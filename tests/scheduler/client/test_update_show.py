"""``aurora update list`` and ``info`` against a scheduler that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.aurora_client import START_S, Client
from tests.support.told_updates import KEY, UPDATE, West, details, summaries, summary, told
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, JobKey, TaskConfig
from thermos.formats.aurora_api import JobUpdateAction, JobUpdateStatus, ScheduleStatus

pytestmark = pytest.mark.process


@pytest.fixture
def west(client: Client) -> Iterator[West]:
    with told(client) as made:
        yield made


def other(role: str, environment: str, name: str) -> api.JobUpdateSummary:
    return summary(JobUpdateStatus.FAILED, api.JobUpdateKey(JobKey(role, environment, name), "u-7"))


def test_list(west: West) -> None:
    west.answers["getJobUpdateSummaries"] = summaries(
        summary(), other("www", "devel", "hello"), other("db", "prod", "x")
    )
    lines = west.client.aurora("update", "list", "west").out.splitlines()
    assert lines[0] == (
        f"{'JOB':47} {'UPDATE ID':36} {'STATUS':15} {'CREATED BY':11} {'STARTED':19} {'LAST MODIFIED':19}"
    )
    assert [line.split()[0] for line in lines[1:]] == [KEY, "west/www/devel/hello", "west/db/prod/x"]
    assert lines[1].split()[1:] == ["u-1", "ROLLING_FORWARD", "jane", "2023-11-14T22:13:20", "2023-11-14T22:14:21"]
    for pattern, expected in [
        ("west/www", [KEY, "west/www/devel/hello"]),
        ("west/www/prod", [KEY]),
        ("w*/*/prod", [KEY, "west/db/prod/x"]),
        ("west/nobody", []),
    ]:
        found = json.loads(west.client.aurora("update", "list", pattern, "--write-json").out)
        assert [entry["job"] for entry in found] == expected, pattern
    assert west.client.aurora("update", "list", "west/nobody").out == ""


def asked(west: West, *words: str) -> api.JobUpdateQuery:
    west.server.sent.clear()
    assert west.client.aurora("update", "list", *words).code == 0
    [sent] = west.server.sent
    query = sent.arguments["job_update_query"]
    assert isinstance(query, api.JobUpdateQuery)
    return query


def test_what_list_asks_for(west: West) -> None:
    assert asked(west, KEY) == api.JobUpdateQuery(job_key=UPDATE.job)
    assert asked(west, "west/www/prod", "--user", "jane") == api.JobUpdateQuery(role="www", user="jane")
    assert asked(west, "west/w*") == api.JobUpdateQuery()
    blocked = asked(west, "west", "--status", "blocked", "--status", "ABORTED").update_statuses
    assert set(blocked or ()) == {
        JobUpdateStatus.ABORTED,
        JobUpdateStatus.ROLL_FORWARD_AWAITING_PULSE,
        JobUpdateStatus.ROLL_BACK_AWAITING_PULSE,
    }
    assert set(asked(west, "west", "--status", "inactive").update_statuses or ()) == {
        JobUpdateStatus.ROLLED_FORWARD,
        JobUpdateStatus.ROLLED_BACK,
        JobUpdateStatus.ABORTED,
        JobUpdateStatus.ERROR,
        JobUpdateStatus.FAILED,
    }
    assert west.client.aurora("update", "list", "west", "--status", "broken").code == 2


EVENTS = (
    api.JobInstanceUpdateEvent(0, int(START_S) * 1000 + 1000, JobUpdateAction.INSTANCE_UPDATING),
    api.JobInstanceUpdateEvent(0, int(START_S) * 1000 + 9000, JobUpdateAction.INSTANCE_UPDATED),
    *(
        api.JobInstanceUpdateEvent(number, int(START_S) * 1000 + 9000, JobUpdateAction.INSTANCE_UPDATING)
        for number in range(1, 6)
    ),
)


def test_info(west: West) -> None:
    west.answers["getJobUpdateDetails"] = details(instance_events=EVENTS[:2], waits=())
    done = west.update("info")
    assert done.code == 0, done.err
    assert done.out == (
        f"Job: {KEY}, UpdateID: u-1\n"
        "Started 2023-11-14T22:13:20, last activity: 2023-11-14T22:14:21\n"
        "Current status: ROLLING_FORWARD\n"
        "Update events:\n"
        "  Status: ROLLING_FORWARD at 2023-11-14T22:13:20\n"
        "      message: hello 1.7\n"
        "Instance events:\n"
        "  Instance 0 at 2023-11-14T22:13:21: INSTANCE_UPDATING\n"
        "  Instance 0 at 2023-11-14T22:13:29: INSTANCE_UPDATED\n"
        "Metadata:\n"
        "  ticket: T-9\n"
    )
    [sent] = [sent for sent in west.server.sent if sent.method == "getJobUpdateDetails"]
    assert sent.arguments == {"key": UPDATE, "query": api.JobUpdateQuery(key=UPDATE)}
    found = json.loads(west.update("info", "u-1", "--write-json").out)
    assert found == {
        "updateId": "u-1",
        "job": KEY,
        "started": int(START_S) * 1000,
        "last_modified": "2023-11-14T22:14:21",
        "status": "ROLLING_FORWARD",
        "update_events": [{"status": "ROLLING_FORWARD", "timestampMs": int(START_S) * 1000, "message": "hello 1.7"}],
        "instance_update_events": [
            {"instance": 0, "timestamp": int(START_S) * 1000 + 1000, "action": "INSTANCE_UPDATING"},
            {"instance": 0, "timestamp": int(START_S) * 1000 + 9000, "action": "INSTANCE_UPDATED"},
        ],
        "metadata": [{"key": "ticket", "value": "T-9"}],
    }
    assert json.loads(west.update("info", "--json").out) == {"schema": 1, **found, "waits": []}


def test_an_update_that_nobody_knows(west: West) -> None:
    west.answers["getJobUpdateDetails"] = api.Result(
        get_job_update_details_result=api.GetJobUpdateDetailsResult(details_list=())
    )
    done = west.update("info", "u-9")
    assert (done.code, done.out) == (6, "")
    assert "Job update not found: u-9" in done.err


@pytest.mark.parametrize(
    "status, expected",
    [
        (
            JobUpdateStatus.ROLL_FORWARD_PAUSED,
            f"paused by jane (hello 1.7); `aurora update resume {KEY}` goes on",
        ),
        (
            JobUpdateStatus.ROLL_BACK_AWAITING_PULSE,
            "waits for a pulse of whoever coordinates it (pulseJobUpdate)",
        ),
    ],
)
def test_what_the_whole_update_waits_for(west: West, status: JobUpdateStatus, expected: str) -> None:
    west.answers["getJobUpdateDetails"] = details(status)
    assert f"Waits for:\n  {expected}\nUpdate events:" in west.update("info", "u-1").out


def test_what_is_over_waits_for_nothing(west: West) -> None:
    west.answers["getJobUpdateDetails"] = details(JobUpdateStatus.ABORTED, instance_events=EVENTS)
    done = west.update("info", "u-1")
    assert done.code == 0
    assert "Waits for" not in done.out


def test_what_instances_wait_for_by_the_scheduler(west: West) -> None:
    told = (
        api.InstanceWait(2, "on no agent: insufficient CPU"),
        api.InstanceWait(1, "on no agent: insufficient CPU"),
        api.InstanceWait(7, "its SLA does not allow it"),
    )
    west.answers["getJobUpdateDetails"] = details(waits=told)
    out = west.update("info").out
    assert (
        "Waits for:\n  instances 1-2: on no agent: insufficient CPU\n  instance 7: its SLA does not allow it\n" in out
    )
    assert json.loads(west.update("info", "--json").out)["waits"] == [
        {"instances": [1, 2], "reason": "on no agent: insufficient CPU"},
        {"instances": [7], "reason": "its SLA does not allow it"},
    ]


def task(number: int, status: ScheduleStatus, at_s: float = 0) -> api.ScheduledTask:
    event = api.TaskEvent(int((START_S + at_s) * 1000), status)
    return api.ScheduledTask(AssignedTask(f"t{number}", None, None, TaskConfig(), None, number), status, 0, 0, (event,))


def test_what_instances_wait_for_seen_from_outside(west: West) -> None:
    """The original's scheduler does not say it: the tasks tell."""
    west.answers["getJobUpdateDetails"] = details(instance_events=EVENTS)
    tasks = (
        task(1, ScheduleStatus.PENDING),
        task(2, ScheduleStatus.RUNNING, at_s=-12),
        task(3, ScheduleStatus.KILLING),
        task(4, ScheduleStatus.STARTING),
    )
    west.answers["getTasksWithoutConfigs"] = api.Result(schedule_status_result=api.ScheduleStatusResult(tasks))
    west.answers["getPendingReason"] = api.Result(
        get_pending_reason_result=api.GetPendingReasonResult((api.PendingReason("t1", "Insufficient: CPU"),))
    )
    out = west.update("info").out
    assert out.partition("Waits for:\n")[2].splitlines()[:5] == [
        "  instance 1: PENDING (Insufficient: CPU)",
        "  instance 2: RUNNING for 12 s of the 45 s that it must be",
        "  instance 3: KILLING: on its way",
        "  instance 4: STARTING: not healthy yet",
        "  instance 5: no task yet",
    ]
