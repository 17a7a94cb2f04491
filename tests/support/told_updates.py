"""A scheduler that has updates, and answers as it is told; ``aurora update`` for one job of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.support.aurora_client import START_S, Client, Done, Sent, Server, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import JobKey, Metadata, TaskConfig
from thermos.formats.aurora_api import JobUpdateStatus

KEY = "west/www/prod/hello"
UPDATE = api.JobUpdateKey(JobKey("www", "prod", "hello"), "u-1")
FILE = """
task = Task(processes=[Process(name='web', cmdline='serve')], resources=Resources(cpu=0.5, ram=64*MB, disk=32*MB))
jobs = [
    Service(name='hello', cluster='west', role='www', environment='prod', instances=7, task=task,
            update_config=UpdateConfig(update_strategy={{strategy}})),
    Job(name='nightly', cluster='west', role='www', environment='prod', task=task, cron_schedule='0 1 * * *'),
]
"""
QUEUE = "QueueUpdateStrategy(batch_size=3)"
TIERS = api.Result(
    get_tier_config_result=api.GetTierConfigResult(
        "preemptible", (api.TierConfig("preemptible", {"preemptible": "true", "revocable": "false"}),)
    )
)


def summary(
    status: JobUpdateStatus = JobUpdateStatus.ROLLING_FORWARD, key: api.JobUpdateKey = UPDATE, **more: Any
) -> api.JobUpdateSummary:
    state = api.JobUpdateState(status, int(START_S) * 1000, int(START_S) * 1000 + 61_500)
    return api.JobUpdateSummary(key, "jane", state, **more)


def summaries(*found: api.JobUpdateSummary) -> api.Result:
    return api.Result(get_job_update_summaries_result=api.GetJobUpdateSummariesResult(found))


def in_state(status: JobUpdateStatus) -> api.Result:
    return summaries(summary(status))


def diff(**more: Any) -> api.Result:
    return api.Result(get_job_update_diff_result=api.GetJobUpdateDiffResult(**more))


def group(first: int, last: int) -> tuple[api.ConfigGroup, ...]:
    return (api.ConfigGroup(TaskConfig(), (api.Range(first, last),)),)


def started(sent: Sent, own: str | None = None) -> api.Result:
    """The update under way; its id among clients is *own*, or the one that was sent."""
    [label] = sent.arguments["request"].metadata
    under_way = summary(metadata=(Metadata(label.key, own or label.value),))
    return api.Result(start_job_update_result=api.StartJobUpdateResult(UPDATE, under_way))


class West:
    """A cluster whose scheduler gives these answers."""

    def __init__(self, client: Client, made: Server, answers: dict[str, Any]) -> None:
        self.client = client
        self.answers = answers
        self.server = made
        client.cluster(scheduler_uri=made.url)
        self.file = client.path / "hello.aurora"
        self.page = f"{made.url}/scheduler/www/prod/hello/update/u-1"
        self.strategy(QUEUE)

    def strategy(self, text: str) -> None:
        self.file.write_text(FILE.replace("{{strategy}}", text))

    def start(self, *words: str) -> Done:
        return self.client.aurora("update", "start", KEY, str(self.file), *words)

    def update(self, verb: str, *words: str) -> Done:
        return self.client.aurora("update", verb, KEY, *words)


def details(status: JobUpdateStatus = JobUpdateStatus.ROLLING_FORWARD, **more: Any) -> api.Result:
    settings = api.JobUpdateSettings(min_wait_in_instance_running_ms=45_000)
    fields: dict[str, Any] = {
        "update": api.JobUpdate(
            summary(status, metadata=(Metadata("ticket", "T-9"),)), api.JobUpdateInstructions(settings=settings)
        ),
        "update_events": (api.JobUpdateEvent(status, int(START_S) * 1000, "jane", "hello 1.7"),),
        **more,
    }
    found = api.GetJobUpdateDetailsResult(details_list=(api.JobUpdateDetails(**fields),))
    return api.Result(get_job_update_details_result=found)


@contextlib.contextmanager
def told(client: Client) -> Iterator[West]:
    """The cluster, for as long as the test needs it."""
    answers: dict[str, Any] = {
        "getTierConfigs": TIERS,
        "getJobUpdateDiff": diff(add=group(5, 6), update=group(0, 3), unchanged=group(4, 4)),
        "startJobUpdate": started,
        "getJobUpdateSummaries": summaries(summary()),
    }

    def answer(sent: Sent) -> Any:
        found = answers[sent.method]
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found(sent) if callable(found) else found

    with server(answer) as made:
        yield West(client, made, answers)
