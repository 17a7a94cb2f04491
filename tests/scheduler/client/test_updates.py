"""``aurora update`` against a scheduler that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aurora_client import START_S, Client, Done, Sent, Server, ok, refused, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, JobKey, Metadata, TaskConfig
from thermos.formats.aurora_api import JobUpdateAction, JobUpdateStatus, ResponseCode, ScheduleStatus

pytestmark = pytest.mark.process

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


@pytest.fixture
def west(client: Client) -> Iterator[West]:
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


def test_start(west: West) -> None:
    done = west.start("-o")
    assert done.code == 0, done.err
    assert done.out == (
        "This job update will:\nadd instances: [5-6]\nupdate instances: [0-3]\nnot change instances: [4]\n"
        f"Job update has started. View your update progress at {west.page}\n"
    )
    assert west.client.opened == [west.page]


def test_nothing_changes(west: West) -> None:
    """The scheduler's words on stdout, and success: a script that updates twice is right twice."""
    words = "Job is unchanged by proposed update."
    west.answers["startJobUpdate"] = api.Response(ResponseCode.OK, None, None, (api.ResponseDetail(words),))
    done = west.start("--wait")
    assert (done.code, done.out.splitlines()[-1]) == (0, words)
    answer = json.loads(west.start("--json").out)
    assert (answer["update_id"], answer["messages"], answer["unchanged"]) == (None, [words], [4])


def test_an_answer_that_was_lost(west: West) -> None:
    """The update that is under way is the one that this run has started: its id says so."""
    west.answers["startJobUpdate"] = lambda sent: api.Response(
        ResponseCode.INVALID_REQUEST, None, started(sent), (api.ResponseDetail("already active"),)
    )
    done = west.start()
    assert (done.code, done.out.splitlines()[-1].split()[-1]) == (0, west.page)


def test_somebody_elses_update(west: West) -> None:
    west.answers["startJobUpdate"] = lambda sent: api.Response(
        ResponseCode.INVALID_REQUEST, None, started(sent, "another"), (api.ResponseDetail("already active"),)
    )
    done = west.start()
    assert done.code == 10
    assert "Failed to start update due to error:\n\talready active" in done.err


ENDS = [
    (JobUpdateStatus.ROLLED_FORWARD, 0, 4),
    (JobUpdateStatus.ROLLED_BACK, 4, 0),
    (JobUpdateStatus.ABORTED, 20, 20),
    (JobUpdateStatus.ERROR, 20, 20),
    (JobUpdateStatus.FAILED, 20, 20),
]


@pytest.mark.parametrize("end, forward, back", ENDS, ids=str)
def test_how_an_update_ends_is_the_exit_code(west: West, end: JobUpdateStatus, forward: int, back: int) -> None:
    turn = [in_state(JobUpdateStatus.ROLLING_FORWARD)] * 2 + [in_state(end)]
    west.answers["getJobUpdateSummaries"] = list(turn)
    done = west.start("--wait")
    assert done.code == forward
    assert done.out.splitlines()[-2:] == ["Current state ROLLING_FORWARD", f"Current state {end}"]
    assert west.client.slept_s == [5, 5]
    west.answers["getJobUpdateSummaries"] = list(turn)
    done = west.update("wait", "u-1")
    assert (done.code, done.out) == (forward, f"Current state ROLLING_FORWARD\nCurrent state {end}\n")
    west.answers["getJobUpdateSummaries"] = list(turn)
    west.answers["rollbackJobUpdate"] = None
    done = west.update("rollback", "-m", "leaks", "--wait")
    assert done.code == back
    assert done.out.startswith("Update rollback has started.\nCurrent state ROLLING_FORWARD\n")
    [sent] = [sent for sent in west.server.sent if sent.method == "rollbackJobUpdate"]
    assert sent.arguments == {"key": UPDATE, "message": "leaks"}


def test_waiting_with_json(west: West) -> None:
    west.answers["getJobUpdateSummaries"] = in_state(JobUpdateStatus.ROLLED_FORWARD)
    done = west.start("--wait", "--json")
    assert done.code == 0
    answer = json.loads(done.out)
    assert (answer["update_id"], answer["status"], answer["url"]) == ("u-1", "ROLLED_FORWARD", west.page)
    assert (answer["add"], answer["update"], answer["remove"]) == ([5, 6], [0, 1, 2, 3], [])
    assert "Current state ROLLED_FORWARD" in done.err


def test_ctrl_c_while_waiting(west: West) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    west.client.on_sleep = stop
    done = west.start("--wait")
    assert done.code == 130
    assert f"stopped by Ctrl-C; update u-1 goes on; `aurora update wait {KEY} u-1` waits for it again" in done.err


def test_waiting_says_why(west: West) -> None:
    """Not at once, since the answer is long."""
    west.answers["getJobUpdateSummaries"] = [in_state(JobUpdateStatus.ROLLING_FORWARD)] * 9 + [
        in_state(JobUpdateStatus.ROLLED_FORWARD)
    ]
    told = (api.InstanceWait(0, "no agent has 4 CPU free"), api.InstanceWait(1, "no agent has 4 CPU free"))
    west.answers["getJobUpdateDetails"] = details(waits=told)
    done = west.update("wait")
    assert done.code == 0
    assert "ROLLING_FORWARD; instances 0-1: no agent has 4 CPU free" in done.err
    assert west.server.methods.count("getJobUpdateDetails") == 1


def test_an_update_that_is_not_there(west: West) -> None:
    west.answers["getJobUpdateSummaries"] = summaries()
    for verb in ("pause", "resume", "abort", "rollback", "wait", "info"):
        done = west.update(verb)
        assert (done.code, done.out) == (6, ""), verb
        assert f"No active update found for this job: {KEY}" in done.err
    done = west.update("wait", "u-9")
    assert done.code == 6
    assert "Job update not found: u-9" in done.err


def test_several_updates_at_once(west: West) -> None:
    west.answers["getJobUpdateSummaries"] = summaries(summary(), summary(key=UPDATE._replace(id="u-2")))
    done = west.update("abort")
    assert done.code == 10
    assert "multiple active updates for this job: u-1, u-2" in done.err


@pytest.mark.parametrize(
    "verb, words", [("pause", "has been paused."), ("resume", "has been resumed."), ("abort", "has been aborted.")]
)
def test_changing_the_update(west: West, verb: str, words: str) -> None:
    west.answers[f"{verb}JobUpdate"] = None
    assert west.update(verb, "-m", "so").out == f"Update {words}\n"
    assert json.loads(west.update(verb, "--json").out)["update_id"] == "u-1"
    west.answers[f"{verb}JobUpdate"] = ok(None, "it ends when instance 0 is back")
    done = west.update(verb)
    assert done.out == ("Update is being aborted.\n" if verb == "abort" else f"Update {words}\n")
    assert "Message from scheduler: it ends when instance 0 is back\n" in done.err
    assert json.loads(west.update(verb, "--json").out)["messages"] == ["it ends when instance 0 is back"]
    west.answers[f"{verb}JobUpdate"] = refused(ResponseCode.INVALID_REQUEST, "not now")
    done = west.update(verb)
    assert (done.code, done.out) == (10, "")
    assert f"Failed to {verb} update due to error:\n\tnot now" in done.err


def test_a_cron_job_is_not_updated(west: West) -> None:
    done = west.client.aurora("update", "start", "west/www/prod/nightly", str(west.file))
    assert done.code == 4
    assert "may only be updated with `aurora cron schedule west/www/prod/nightly" in done.err


def test_what_the_scheduler_would_refuse_of_the_file(west: West) -> None:
    """All of it at once, with the code of a wrong configuration, and before anybody is asked."""
    west.strategy("VariableBatchUpdateStrategy(batch_sizes=[]), progress_deadline_secs=40, canary_promote_after_secs=9")
    done = west.start()
    assert (done.code, west.server.sent) == (3, [])
    for field in ("update_strategy.batch_sizes", "progress_deadline_secs", "canary_promote_after_secs"):
        assert f"update_config.{field}: is " in done.err


def test_strictly(west: West) -> None:
    tasks = [
        api.ScheduledTask(AssignedTask(f"t{number}", None, None, TaskConfig(), None, number)) for number in range(3)
    ]
    west.answers["getTasksWithoutConfigs"] = api.Result(schedule_status_result=api.ScheduleStatusResult(tuple(tasks)))
    done = west.client.aurora("update", "start", f"{KEY}/2-3", str(west.file), "--strict")
    assert done.code == 6
    assert "no active instance 3; active: 0-2" in done.err
    assert west.client.aurora("update", "start", f"{KEY}/2", str(west.file), "--strict").code == 0


HOWS = [
    (QUEUE, "up to 3 at a time, the next as soon as one is done"),
    ("BatchUpdateStrategy(batch_size=4)", "each group when the one before is done"),
    (
        "VariableBatchUpdateStrategy(batch_sizes=[1, 2], autopause_after_batch=True)",
        "each group when the one before is done, after a pause that `aurora update resume` ends",
    ),
    (
        f"{QUEUE}, canary_count=1",
        "1 first as canaries, the others when `aurora update resume` says so; "
        "up to 3 at a time, the next as soon as one is done",
    ),
    (
        f"{QUEUE}, canary_count=2, canary_promote_after_secs=90",
        "2 first as canaries, the others after 90 s; up to 3 at a time, the next as soon as one is done",
    ),
]


@pytest.mark.parametrize("strategy, how", HOWS, ids=["queue", "batch", "variable batch", "canaries", "and then"])
def test_plan(west: West, strategy: str, how: str) -> None:
    """The groups are the scheduler's: who else knows them?"""
    found = (api.InstanceGroup((api.Range(3, 3),)), api.InstanceGroup((api.Range(0, 2), api.Range(5, 6))))
    west.answers["getJobUpdateDiff"] = diff(add=group(5, 6), update=group(0, 3), groups=found)
    west.strategy(strategy)
    answer = json.loads(west.start("--plan", "--json").out)
    assert (answer["groups"], answer["how"], answer["update"]) == ([[3], [0, 1, 2, 5, 6]], how, [0, 1, 2, 3])
    done = west.start("--plan")
    assert (done.code, done.out.partition("Groups")[2]) == (
        0, f", {how}:\n  1. update 3\n  2. add 5-6, update 0-2\nNothing was started.\n",
    )  # fmt: skip
    assert "startJobUpdate" not in west.server.methods


def test_a_plan_that_would_change_nothing(west: West) -> None:
    west.answers["getJobUpdateDiff"] = diff(unchanged=group(0, 6), groups=())
    assert west.start("--plan").out == "This job update will:\nnot change instances: [0-6]\nNothing would change.\n"


def test_a_plan_of_a_scheduler_that_tells_none(west: West) -> None:
    """The original's tells what differs, and no more: that is said, and nothing made up."""
    done = west.start("--plan")
    assert done.code == 0
    assert done.out.endswith(
        "This scheduler does not say in which groups, nor whether it would start this update: "
        "up to 3 at a time, the next as soon as one is done.\nNothing was started.\n"
    )
    assert json.loads(west.start("--plan", "--json").out)["groups"] is None


def test_a_plan_of_what_the_scheduler_would_not_start(west: West) -> None:
    west.answers["getJobUpdateDiff"] = ok(diff(update=group(0, 3)), "An update would be refused: no quota", "nor this")
    for words in ([], ["--json"]):
        done = west.start("--plan", *words)
        assert done.code == 10
        assert "The scheduler would not start this update:\n\tAn update would be refused: no quota\n\tnor" in done.err
    west.answers["getJobUpdateDiff"] = refused(ResponseCode.INVALID_REQUEST, "a tier is missing")
    assert [west.start("--plan").code, west.start().code] == [10, 4]


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
    assert set(asked(west, "west", "--status", "inactive").update_statuses or ()) == {end for end, _, _ in ENDS}
    assert west.client.aurora("update", "list", "west", "--status", "broken").code == 2


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
