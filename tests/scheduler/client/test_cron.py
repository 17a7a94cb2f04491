"""``aurora cron`` against a scheduler that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aurora_client import Client, Done, Sent, Server, by_method, ok, refused, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import JobKey
from thermos.formats.aurora_api import CronCollisionPolicy, ResponseCode

pytestmark = pytest.mark.process

KEY = "west/www/prod/nightly"
FILE = """
task = Task(processes=[Process(name='p', cmdline='true')], resources=Resources(cpu=0.5, ram=64*MB, disk=32*MB))
jobs = [
    Job(name='nightly', cluster='west', role='www', environment='prod', task=task, cron_schedule='0 1 * * *'),
    Job(name='once', cluster='west', role='www', environment='prod', task=task),
]
"""
TIERS = api.Result(
    get_tier_config_result=api.GetTierConfigResult(
        "preemptible", (api.TierConfig("preemptible", {"preemptible": "true", "revocable": "false"}),)
    )
)
NIGHTLY = api.JobConfiguration(
    key=JobKey("www", "prod", "nightly"),
    cron_schedule="0 1 * * *",
    cron_collision_policy=CronCollisionPolicy.KILL_EXISTING,
    instance_count=1,
)
ONCE = api.JobConfiguration(key=JobKey("www", "prod", "once"), instance_count=1)
RUNS_NEXT = api.JobSummary(NIGHTLY, api.JobStats(), 1_700_010_000_000)
ANSWERS: dict[str, Any] = {
    "getTierConfigs": TIERS,
    "scheduleCronJob": None,
    "descheduleCronJob": None,
    "startCronJob": None,
    "getJobs": api.Result(get_jobs_result=api.GetJobsResult((ONCE, NIGHTLY))),
    "getJobSummary": api.Result(job_summary_result=api.JobSummaryResult((RUNS_NEXT,))),
}


class West:
    """A cluster whose scheduler gives these answers."""

    def __init__(self, client: Client, made: Server) -> None:
        self.client = client
        self.server = made
        client.cluster(scheduler_uri=made.url)
        self.file = client.path / "jobs.aurora"
        self.file.write_text(FILE)

    def cron(self, *words: str) -> Done:
        return self.client.aurora("cron", *words)


@pytest.fixture
def answers() -> dict[str, Any]:
    return dict(ANSWERS)


@pytest.fixture
def west(client: Client, answers: dict[str, Any]) -> Iterator[West]:
    def answer(sent: Sent) -> Any:
        return by_method(answers)(sent)

    with server(answer) as made:
        yield West(client, made)


def test_schedule(west: West) -> None:
    done = west.cron("schedule", KEY, str(west.file))
    page = f"{west.server.url}/scheduler/www/prod/nightly"
    assert (done.code, done.out) == (0, f"Cron job scheduled, status can be viewed at {page}\n"), done.err
    description = west.server.sent[-1].arguments["description"]
    assert (description.key, description.cron_schedule) == (NIGHTLY.key, "0 1 * * *")
    answer = json.loads(west.cron("schedule", KEY, str(west.file), "--json").out)
    assert answer == {"schema": 1, "job": KEY, "schedule": "0 1 * * *", "url": page}


def test_a_job_without_schedule(west: West) -> None:
    done = west.cron("schedule", "west/www/prod/once", str(west.file))
    assert done.code == 4
    assert "has no cron_schedule: such jobs are created with `aurora job create west/www/prod/once" in done.err
    assert "scheduleCronJob" not in west.server.methods


@pytest.mark.parametrize(
    "verb, words", [("schedule", "scheduling"), ("deschedule", "descheduling"), ("start", "starting")]
)
def test_the_scheduler_refuses(west: West, answers: dict[str, Any], verb: str, words: str) -> None:
    answers[f"{verb}CronJob"] = refused(ResponseCode.INVALID_REQUEST, "no such thing")
    done = west.cron(verb, KEY, *([str(west.file)] if verb == "schedule" else []))
    assert (done.code, done.out) == (10, "")
    assert f"Error {words} cron job {KEY}:\n\tno such thing" in done.err


def test_deschedule(west: West) -> None:
    done = west.cron("deschedule", KEY)
    assert (done.code, done.out) == (0, "Cron descheduling succeeded.\n")
    assert [sent.arguments for sent in west.server.sent] == [{"job": NIGHTLY.key}]


def test_start(west: West) -> None:
    done = west.cron("start", KEY, "-o", "--config", str(west.file))
    assert (done.code, done.out) == (0, "")
    assert west.server.sent[-1].arguments == {"job": NIGHTLY.key}
    assert west.client.opened == [f"{west.server.url}/scheduler/www/prod/nightly"]
    west.server.sent.clear()
    west.file.write_text("jobs = [")
    assert west.cron("start", KEY, "--config", str(west.file)).code == 3
    assert west.server.sent == []


def test_a_start_that_the_scheduler_answers_with_words(west: West, answers: dict[str, Any]) -> None:
    """It may begin later, or not at all: nobody is told that it has."""
    words = "nightly still runs, and its cron_collision_policy is CANCEL_NEW: nothing is started"
    answers["startCronJob"] = ok(None, words)
    done = west.cron("start", KEY)
    assert (done.code, done.out) == (0, "")
    assert f"Message from scheduler: {words}\n" in done.err
    assert "is started;" not in done.err
    assert json.loads(west.cron("start", KEY, "--json").out)["messages"] == [words]


def test_show(west: West) -> None:
    assert west.cron("show", KEY) == (0, f"{KEY}\t 0 1 * * *\n", "")
    assert json.loads(west.cron("show", KEY, "--json").out) == {
        "schema": 1,
        "job": KEY,
        "schedule": "0 1 * * *",
        "policy": "KILL_EXISTING",
        "instances": 1,
        "next_run": "2023-11-15T01:00:00",
    }


@pytest.mark.parametrize("name", ["once", "nightli"])
def test_what_has_no_schedule(west: West, name: str) -> None:
    done = west.cron("show", f"west/www/prod/{name}")
    assert (done.code, done.out) == (6, "")
    assert f"No cron entry found for job west/www/prod/{name}" in done.err
