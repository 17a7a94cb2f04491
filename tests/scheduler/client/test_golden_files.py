"""Configuration files: what ``job inspect`` shows, and which exit code a faulty one gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.states import ScheduleStatus
from tests.support.aurora_client import Client, Sent, Server, by_method, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, TaskConfig

ROOT = Path(__file__).resolve().parents[3]
JOBS = ROOT.parent / "shared" / "golden" / "jobs"
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not JOBS.is_dir(), reason="the original's jobs (../shared/golden) are not here"),
]

TIERS = api.Result(
    get_tier_config_result=api.GetTierConfigResult(
        "preemptible",
        (
            api.TierConfig("preemptible", {"preemptible": "true", "revocable": "false"}),
            api.TierConfig("preferred", {"preemptible": "false", "revocable": "false"}),
            api.TierConfig("revocable", {"preemptible": "true", "revocable": "true"}),
        ),
    )
)
TASK = api.ScheduledTask(
    AssignedTask("t", None, None, TaskConfig(), None, 0), ScheduleStatus.PENDING, 0, 0, (api.TaskEvent(1),)
)


@pytest.fixture
def scheduler(client: Client) -> Iterator[Server]:
    tasks = api.Result(schedule_status_result=api.ScheduleStatusResult((TASK,)))
    answers = {"getTierConfigs": TIERS, "createJob": None, "getTasksWithoutConfigs": tasks}
    with server(by_method(answers)) as made:
        (client.path / "clusters.json").write_text(json.dumps([{"name": "example", "scheduler_uri": made.url}]))
        yield made


def directories() -> Iterator[tuple[Path, Path]]:
    for facts in sorted(JOBS.glob("**/facts.json")):
        yield facts.parent if (facts.parent / "config.aurora").is_file() else facts.parent.parent, facts.parent


ALL = list(directories())


@pytest.mark.parametrize("directory, of_job", ALL, ids=lambda path: "/".join(path.relative_to(JOBS).parts))
def test_inspect(client: Client, scheduler: Server, directory: Path, of_job: Path) -> None:
    key = json.loads((of_job / "facts.json").read_text())["job_key"]
    bind = directory / "bind.json"
    bindings = json.loads(bind.read_text()) if bind.is_file() else []
    words = [word for binding in bindings for word in ("--bind", binding)]
    done = client.aurora("job", "inspect", key, str(directory / "config.aurora"), *words)
    shown, _, code = (of_job / "inspect.txt").read_text().rpartition("[exit code ")
    assert done.code == 0
    if code.startswith("0"):
        assert done.out == shown
    else:  # the original died on a character outside ASCII
        assert "contact:    'zoë@example.test'" in done.out
        assert done.out.startswith(shown.rstrip("\n"))
    job = json.loads(client.aurora("job", "inspect", key, str(directory / "config.aurora"), *words, "--write-json").out)
    sent = json.loads((of_job / "job.sent.readable.json").read_text())["taskConfig"]
    before = json.loads((of_job / "write_json.json").read_text())
    assert job == {**before, "tier": sent["tier"], "production": sent["production"]}


def expected(name: str) -> dict[str, int]:
    """Exit codes that the original gave, by command."""
    found, command = {}, ""
    lines = (JOBS / "invalid" / name / "expected.txt").read_text().splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("$ aurora "):
            command = " ".join(line.split()[2:4])
        if line == "--- exit code":
            found[command] = int(following)
    return found


#: Files that the original takes, or dies of in another way: what we say, and why it is the better answer.
DIFFERENT = {
    ("19-negative-watch", "job inspect"): 3,  # was: 1, by die()
    ("19-negative-watch", "job create"): 3,
    ("15-strategy-and-batch", "job inspect"): 3,  # was: found out by `update start` alone, as an uncaught exception
    ("15-strategy-and-batch", "job create"): 3,
    ("23-non-ascii-bytes", "job inspect"): 0,  # was: Python 2 alone cannot read it
    ("23-non-ascii-bytes", "job create"): 0,
}
INVALID = sorted(path.name for path in (JOBS / "invalid").iterdir()) if JOBS.is_dir() else []


@pytest.mark.parametrize("verb", ["inspect", "create"])
@pytest.mark.parametrize("name", INVALID)
def test_faulty_files(client: Client, scheduler: Server, name: str, verb: str) -> None:
    path = str(JOBS / "invalid" / name / "config.aurora")
    done = client.aurora("job", verb, "example/potter/devel/bad", path)
    command = f"job {verb}"
    assert done.code == DIFFERENT.get((name, command), expected(name)[command]), done.err
    if done.code:
        assert done.out == ""
        assert done.err.startswith(f"aurora job {verb}: Error loading configuration: {path}: line ")
        assert scheduler.sent == []  # it is known to be wrong without asking anybody


def test_config_list(client: Client) -> None:
    """Needs no scheduler and no clusters.json; a broken file is 3 and not, as in the original, 4 or a traceback."""
    done = client.aurora("config", "list", str(JOBS / "06-cron-pair" / "config.aurora"))
    assert (done.code, done.out) == (
        0,
        "jobs=[example/janitor/prod/sweep_floors, example/janitor/prod/count_lines, "
        "example/janitor/prod/lower_case_policy]\n",
    )
    for name in ("07-missing-required-role", "17-syntax-error"):
        assert client.aurora("config", "list", str(JOBS / "invalid" / name / "config.aurora")).code == 3


def test_a_cron_job_is_not_created(client: Client, scheduler: Server) -> None:
    path = str(JOBS / "06-cron-pair" / "config.aurora")
    done = client.aurora("job", "create", "example/janitor/prod/sweep_floors", path)
    assert done.code == 4
    assert "is a cron job; `aurora cron schedule" in done.err
    assert "createJob" not in scheduler.methods


def test_a_key_that_the_file_does_not_have(client: Client, scheduler: Server) -> None:
    path = str(JOBS / "01-simple-service" / "config.aurora")
    done = client.aurora("job", "create", "example/lighthouse/prod/beakon", path)
    assert done.code == 3
    assert "it defines no job 'example/lighthouse/prod/beakon'" in done.err
    assert "did you mean 'example/lighthouse/prod/beacon'?" in done.err


def test_raw(client: Client, scheduler: Server) -> None:
    path = str(JOBS / "01-simple-service" / "config.aurora")
    done = client.aurora("job", "inspect", "example/lighthouse/prod/beacon", path, "--raw")
    assert done.out.startswith("JobConfiguration(cronSchedule=None, cronCollisionPolicy=KILL_EXISTING, taskConfig=")
    assert "JobKey(role='lighthouse', environment='prod', name='beacon')" in done.out


def test_diff_of_a_cron_job(client: Client) -> None:
    """Compared with what runs, configurations included; the original failed over the name of an attribute."""
    path = str(JOBS / "06-cron-pair" / "config.aurora")
    key = "example/janitor/prod/sweep_floors"
    sent: list[TaskConfig] = []

    def populated(call: Sent) -> api.Result:
        config = call.arguments["description"].task_config
        sent.append(config)
        return api.Result(populate_job_result=api.PopulateJobResult(config))

    def running(call: Sent) -> api.Result:
        old = sent[-1]._replace(priority=7)
        task = TASK._replace(assigned_task=AssignedTask("t", None, None, old, None, 0))
        return api.Result(schedule_status_result=api.ScheduleStatusResult((task,)))

    answers = {"getTierConfigs": TIERS, "populateJobConfig": populated, "getTasksStatus": running}
    with server(by_method(answers)) as made:
        (client.path / "clusters.json").write_text(json.dumps([{"name": "example", "scheduler_uri": made.url}]))
        done = client.aurora("job", "diff", key, path)
        assert done.code == 0, done.err
        changed = [line for line in done.out.splitlines() if line[:1] in "<>"]
        assert changed == ['<   "priority": 7,', '>   "priority": 0,']
        assert json.loads(client.aurora("job", "diff", key, path, "--json").out)["is_changed"] is True
