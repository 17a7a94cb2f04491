"""``aurora update`` against a scheduler that answers as it is told: start, plan, change, wait."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.aurora_client import Client, ok, refused
from tests.support.told_updates import (
    KEY,
    QUEUE,
    UPDATE,
    West,
    details,
    diff,
    group,
    in_state,
    started,
    summaries,
    summary,
    told,
)
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, TaskConfig
from thermos.formats.aurora_api import JobUpdateStatus, ResponseCode

pytestmark = pytest.mark.process


@pytest.fixture
def west(client: Client) -> Iterator[West]:
    with told(client) as made:
        yield made


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
