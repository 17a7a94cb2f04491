"""``aurora`` against the scheduler's own engine, over HTTP: create, look, add, kill, restart, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.server import Server
from scheduler.client import nouns
from scheduler.core.commands import KillTasks
from scheduler.model import JobKey
from scheduler.states import ScheduleStatus
from tests.support.aurora_client import Client, Done
from tests.support.engine_backend import EngineBackend, job, task_config
from thermos.formats import assigned_task as wire

pytestmark = pytest.mark.process

RUNS = (ScheduleStatus.ASSIGNED, ScheduleStatus.STARTING, ScheduleStatus.RUNNING)
HELLO = """
jobs = [Service(name='hello', cluster='west', role='www', environment='devel', instances=3, task=Task(
    processes=[Process(name='web', cmdline='serve {{thermos.ports[http]}} {{greeting}}')],
    resources=Resources(cpu=0.5, ram=64*MB, disk=32*MB)))]
"""
KEY = "west/www/devel/hello"


class West:
    """A cluster whose tasks do what the test says."""

    def __init__(self, client: Client) -> None:
        self.backend = EngineBackend()
        self.server = Server(create_app(self.backend, ApiOptions(cluster_name="west")), "127.0.0.1", 0)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.port}"
        client.cluster(scheduler_uri=self.url)
        self.client = client
        self.file = str(client.path / "hello.aurora")
        Path(self.file).write_text(HELLO)

    def run(self, *words: str) -> Done:
        return self.client.aurora(*words)

    def create(self, *words: str) -> Done:
        return self.run("job", "create", KEY, self.file, "--bind", "greeting=hi", *words)

    def move(self, *states: ScheduleStatus) -> None:
        """All tasks go through these states."""
        self.backend.move(self.backend.engine.state.tasks.values(), *states)

    def end_killed(self) -> None:
        """Mesos says that what was to be killed is."""
        tasks = [task for task in self.backend.engine.state.tasks.values() if task.status is ScheduleStatus.KILLING]
        self.backend.move(tasks, ScheduleStatus.KILLED)

    def come_back(self) -> None:
        """Mesos ends what was to be restarted, and runs what waits."""
        tasks = self.backend.engine.state.tasks.values()
        self.backend.move([each for each in tasks if each.status is ScheduleStatus.RESTARTING], ScheduleStatus.KILLED)
        for task in [each for each in tasks if each.status in (ScheduleStatus.PENDING, ScheduleStatus.THROTTLED)]:
            states = RUNS if task.status is ScheduleStatus.PENDING else (ScheduleStatus.PENDING, *RUNS)
            self.backend.move([task], *states)

    def statuses(self) -> list[str]:
        return sorted(str(task.status) for task in self.backend.engine.state.tasks.values())


@pytest.fixture
def west(client: Client) -> Iterator[West]:
    made = West(client)
    yield made
    made.server.close()


def test_create_and_look(west: West) -> None:
    done = west.create()
    assert (done.code, done.out) == (0, f"Job create succeeded: job url={west.url}/scheduler/www/devel/hello\n"), (
        done.err
    )
    done = west.run("job", "status", KEY)
    assert done.code == 0
    first = "Active tasks (3):\n\tTask role: www, env: devel, name: hello, instance: 0, status: PENDING\n"
    assert done.out.startswith(first)
    assert "None" not in done.out
    assert west.run("job", "list", "west").out == f"{KEY}\n"
    assert west.run("job", "list", "w*/*/dev*").out == f"{KEY}\n"
    [task] = json.loads(west.run("job", "status", KEY, "--json").out)["jobs"][0]["active"][:1]
    assert task["assignedTask"]["task"]["owner"] == {"user": "golduser"}


def test_status_says_why_a_task_waits(west: West) -> None:
    west.create()
    tasks = west.backend.engine.state.tasks.values()
    west.backend.move([task for task in tasks if task.instance == 0], *RUNS)
    lines = west.run("job", "status", KEY).out.splitlines()
    reasons = set(json.loads(west.run("job", "status", KEY, "--json").out)["jobs"][0]["pending_reasons"].values())
    assert len(reasons) == 1 and all(reasons)
    told = [number for number, line in enumerate(lines) if line == f"\t  pending reason: {min(reasons)}"]
    assert [lines[number - 2].partition("instance: ")[2] for number in told] == [
        "1, status: PENDING", "2, status: PENDING",
    ]  # fmt: skip


def test_created_twice(west: West) -> None:
    assert west.create().code == 0
    done = west.create()
    assert done.code == 4
    assert "Job creation failed due to error:\n\tJob www/devel/hello already exists" in done.err


def test_waiting_until_it_runs(west: West) -> None:
    """What is waited for is told, with the scheduler's reason, and Ctrl-C is not needed."""
    west.client.on_sleep = lambda: west.move(*RUNS) if len(west.client.slept_s) == 2 else None
    done = west.create("--wait-until", "RUNNING")
    assert done.code == 0, done.err
    assert west.client.slept_s == [2, 4]
    assert f"waiting for instances of {KEY} to run, for 0 s now: 0-2 PENDING" in done.err


def test_ctrl_c_while_waiting(west: West) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    west.client.on_sleep = stop
    done = west.create("--wait-until", "RUNNING")
    assert done.code == 130
    assert f"stopped by Ctrl-C; {KEY} is created; it was not waited for" in done.err


def test_a_job_that_is_not_there(west: West) -> None:
    west.create()
    done = west.run("job", "status", "west/www/devel/helo")
    assert (done.code, done.out) == (6, "")
    assert f"Found no jobs matching west/www/devel/helo; did you mean {KEY}?" in done.err
    done = west.run("job", "status", "west/www/devel/helo", "--write-json")
    assert (done.code, done.out) == (0, '{"jobspec":"west/www/devel/helo","error":"No matching jobs found"}\n')
    assert west.run("job", "status", "west/nobody").code == 6
    for words in (["job", "killall"], ["job", "restart"], ["sla", "get-job-uptime"]):
        done = west.run(*words, "west/www/devel/helo")
        assert done.code == 6, (words, done.err)
        assert f"did you mean {KEY}?" in done.err


def test_add(west: West) -> None:
    west.create()
    done = west.run("job", "add", f"{KEY}/1", "2")
    assert (done.code, done.out) == (0, ""), done.err
    assert len(west.statuses()) == 5
    done = west.run("job", "add", f"{KEY}/9", "2")
    assert done.code == 6
    assert f"{KEY} has no active instance 9; active: 0-4" in done.err


def test_kill_in_batches(west: West) -> None:
    west.create()
    west.move(*RUNS)
    west.client.on_sleep = west.end_killed
    done = west.run("job", "kill", f"{KEY}/0-1,7", "--batch-size", "2")
    assert done.code == 0, done.err
    assert done.out == "Successfully killed instances [0, 1]\nJob kill succeeded\n"
    assert f"instances 7 of {KEY} are not active, and passed over" in done.err
    assert west.statuses() == ["KILLED", "KILLED", "RUNNING"]


def test_kill_strictly(west: West) -> None:
    west.create()
    done = west.run("job", "kill", f"{KEY}/0,7", "--strict")
    assert done.code == 6
    assert west.statuses() == ["PENDING"] * 3


def test_kill_needs_instances(west: West) -> None:
    done = west.run("job", "kill", KEY)
    assert done.code == 6
    assert "The instances list cannot be omitted in a kill command" in done.err


def test_killall_of_what_waits(west: West) -> None:
    """A task that is PENDING is gone at once."""
    west.create()
    done = west.run("job", "killall", KEY, "--no-batching")
    assert (done.code, done.out, west.client.slept_s) == (0, "Job killall succeeded\n", [])
    assert west.statuses() == []


def test_killing_that_takes_too_long(west: West) -> None:
    west.create()
    west.move(*RUNS)
    done = west.run("job", "kill", f"{KEY}/0-2")
    assert done.code == 4
    assert "killed: none; asked to end, not confirmed: 0; not touched: 1-2" in done.err
    done = west.run("job", "killall", KEY, "--no-batching")
    assert done.code == 9
    assert "Instances 0-2 were not killed in time; they go on ending" in done.err


def test_failures_that_are_allowed_while_killing(west: West) -> None:
    west.create()
    west.move(*RUNS)
    done = west.run("job", "kill", f"{KEY}/0-2", "--max-total-failures", "5")
    assert done.code == 4
    assert "Errors occurred while killing instances; killed: none; asked to end, not confirmed: 0-2" in done.err
    assert west.statuses() == ["KILLING"] * 3


def test_ctrl_c_while_killing(west: West) -> None:
    west.create()
    west.move(*RUNS)

    def stop() -> None:
        if west.client.slept_s == [2, 2]:
            raise KeyboardInterrupt
        west.end_killed()

    west.client.on_sleep = stop
    done = west.run("job", "kill", f"{KEY}/0-2")
    assert done.code == 130
    assert "stopped by Ctrl-C; killed: 0; asked to end, not confirmed: 1; not touched: 2" in done.err


def test_restart(west: West) -> None:
    west.create()
    west.move(*RUNS)

    west.client.on_sleep = west.come_back
    done = west.run("job", "restart", KEY, "--batch-size", "3", "--watch-secs", "5")
    assert (done.code, done.out) == (0, f"Job {KEY} restarted successfully\n"), done.err
    assert west.statuses() == ["KILLED"] * 3 + ["RUNNING"] * 3
    assert "restarting instances 0-2" in done.err


def test_a_restart_beyond_its_failures(west: West) -> None:
    """Ends with 4, and leaves alone what it has not touched; the original only wrote that to its log."""
    west.create()
    west.move(*RUNS)

    def kill_one() -> None:
        west.come_back()
        if len(west.client.slept_s) == 2:
            west.backend.command(KillTasks(JobKey("www", "devel", "hello"), frozenset({1}), None, "jane"))
            west.end_killed()

    west.client.on_sleep = kill_one
    done = west.run("job", "restart", KEY, "--batch-size", "2", "--watch-secs", "9")
    assert (done.code, done.out) == (4, "")
    assert f"Error restarting job {KEY}: more instances failed than may" in done.err
    assert "instance 1 was killed, or ended, and has no new task" in done.err
    assert "restarted: 0; failed: 1; asked to restart, not confirmed: none; not touched: 2" in done.err


def test_restart_of_instances_that_are_not_there(west: West) -> None:
    west.create()
    for words in (["--strict"], []):
        assert west.run("job", "restart", f"{KEY}/8", *words).code == 6
    assert west.run("job", "restart", KEY, "--max-total-failures", "-1").code == 6


def test_diff(west: West) -> None:
    west.create()
    west.move(*RUNS)
    done = west.run("job", "diff", KEY, west.file, "--bind", "greeting=hi")
    assert (done.code, done.out) == (0, "This job update will:\nnot change instances: [0-2]\n"), done.err
    done = west.run("job", "diff", KEY, west.file, "--bind", "greeting=hello")
    lines = done.out.splitlines()
    assert lines[:3] == ["This job update will:", "update instances: [0-2]", "with diff:"]
    assert done.code == 0


def test_diff_with_another_viewer(west: West) -> None:
    west.create()
    west.client.environ["DIFF_VIEWER"] = "cat"
    done = west.run("job", "diff", KEY, west.file, "--bind", "greeting=hello")
    assert '"cmdline": "serve {{thermos.ports[http]}} hello"' in done.out
    west.client.environ["DIFF_VIEWER"] = "/no/such/viewer"
    done = west.run("job", "diff", KEY, west.file, "--bind", "greeting=hello")
    assert done.code == 4
    assert "/no/such/viewer: No such file or directory; $DIFF_VIEWER names another" in done.err


def test_open(west: West) -> None:
    done = west.run("job", "open", KEY)
    assert done.out == f"{west.url}/scheduler/www/devel/hello\n"
    assert west.client.opened == [f"{west.url}/scheduler/www/devel/hello"]
    west.client.cluster(scheduler_uri=west.url, proxy_url="https://aurora.example")
    assert west.run("job", "open", "west/www").out == "https://aurora.example/scheduler/www\n"


def test_quota(west: West) -> None:
    done = west.client.admin("set_quota", "west", "www", "4.5", "2048MB", "10g")
    assert done.code == 0, done.err
    done = west.client.admin("increase_quota", "west", "www", "0.5", "1GB", "0M")
    assert done.code == 0, done.err
    assert "Current quota for www: CPU: 4.5 core(s), RAM: 2048 MB, Disk: 10240 MB" in done.err
    done = west.run("quota", "get", "west/www")
    assert done.out.startswith("Allocated:\n  CPU: 5.0 core(s)\n  RAM: 3072 MB\n  Disk: 10240 MB\n")
    assert "\nProduction shared pool resources consumed:\n  CPU: 0.0 core(s)\n" in done.out
    written = json.loads(west.run("quota", "get", "west/www", "--write-json").out)
    assert {"numCpus": 5.0} in written["quota"]["resources"]


@pytest.mark.parametrize("ram", ["2048", "2.5GB", "100KB", "lots"])
def test_sizes_that_are_none(west: West, ram: str) -> None:
    assert west.client.admin("set_quota", "west", "www", "1", ram, "1g").code == 2


def test_uptime(west: West) -> None:
    west.create()
    west.move(*RUNS)
    west.client.mono_s += 200
    done = west.run("sla", "get-task-up-count", KEY, "--durations", "3m,1m30s,2d6h")
    assert (done.code, done.out) == (0, "3 mins\t- 100.00 %\n90 secs\t- 100.00 %\n54 hrs\t- 0.00 %\n"), done.err
    assert west.run("sla", "get-task-up-count", KEY).out.splitlines() == [
        "1 mins\t- 100.00 %", "10 mins\t- 0.00 %", "1 hrs\t- 0.00 %", "12 hrs\t- 0.00 %", "7 days\t- 0.00 %",
    ]  # fmt: skip
    assert west.run("sla", "get-job-uptime", KEY, "--percentiles", "50,99").out == (
        "99.0 percentile\t- 200 seconds\n50.0 percentile\t- 200 seconds\n"
    )


def test_query(west: West) -> None:
    west.create()
    west.move(*RUNS)
    done = west.client.admin("query", "west", "www", "hello")
    assert done.out == "".join(f"www/hello/{number} RUNNING\n" for number in range(3)), done.err
    done = west.client.admin("query", "west", "www", "hello", "--shards", "1", "-l", "%env% %slaveHost% %priority%")
    assert done.out == "devel None 0\n", done.err
    for words in (["west"], ["west", "www"], ["west", "www", "hello", "--states", "FAILED"]):
        done = west.client.admin("query", *words)
        assert done.code == 6
        assert "--force is required for expensive queries" in done.err
    assert west.client.admin("query", "west", "--force", "--states", "FAILED,LOST").code == 0
    done = west.client.admin("query", "west", "www", "hello", "-l", "%nonsense%")
    assert done.code == 6
    assert "a task has no 'nonsense', but" in done.err
    done = west.client.admin("query", "west", "www", "hello", "--states", "RUNING")
    assert done.code == 2
    assert "Unknown state 'RUNING'; did you mean RUNNING?" in done.err


def test_store_and_reconciliation(west: West) -> None:
    assert west.client.admin("scheduler_backup_now", "west").code == 0
    assert west.client.admin("scheduler_list_backups", "west").out == "1 available backups:\nscheduler-backup-0\n"
    assert west.client.admin("scheduler_snapshot", "west").code == 0
    assert west.backend.compactions == 1
    for words in ([], ["-t", "implicit"], ["-b", "10"]):
        done = west.client.admin("reconcile_tasks", "west", *words)
        assert done.code == 0, done.err
    assert west.client.admin("reconcile_tasks", "west", "-t", "implicit", "-b", "3").code == 6
    assert west.client.admin("prune_tasks", "west", "--states", "RUNNING").code == 6
    assert west.client.admin("prune_tasks", "west", "--role", "www", "--limit", "5").code == 0


def test_cluster_config(west: West) -> None:
    west.client.cluster(scheduler_uri=west.url, zk_port=2181, slave_root="/var/it's")
    assert json.loads(west.client.admin("get_cluster_config", "west").out)["zk_port"] == 2181
    done = west.client.admin("get_cluster_config", "west", "--sh", "--export")
    assert done.out.splitlines()[1:] == [
        f"export AURORA_CLUSTER_scheduler_uri={west.url}",
        "export AURORA_CLUSTER_slave_root='/var/it'\"'\"'s'",
        "export AURORA_CLUSTER_zk_port=2181",
    ]


def test_jobs_of_several_roles(west: West) -> None:
    from scheduler.core import commands

    for role, name in (("www", "a"), ("www", "b"), ("db", "a")):
        backend: Any = west.backend
        description = job(1, role=role, env="prod", name=name)
        assert isinstance(task_config(), wire.TaskConfig)
        backend.command(commands.CreateJob(description, "jane"))
    assert west.run("job", "list", "west/www/prod/*").out.splitlines() == ["west/www/prod/a", "west/www/prod/b"]
    assert west.run("job", "list", "*/*/*/a").out.splitlines() == ["west/db/prod/a", "west/www/prod/a"]
    done = west.run("job", "status", "west/*/prod/a", "--write-json")
    assert [each["job"] for each in json.loads(done.out)] == ["west/db/prod/a", "west/www/prod/a"]


def test_roles_that_have_no_job(west: West) -> None:
    west.create()
    done = west.run("job", "list", "west/wwww/*")
    assert (done.code, done.out) == (0, "")
    assert "Found no jobs matching west/wwww/*/*; there is no job of role 'wwww', did you mean 'www'?" in done.err
    assert "did you mean 'www'?" in west.run("job", "status", "west/wwww").err
    assert west.run("job", "list", "north/*").code == 3


def test_what_json_prints_is_what_is_said_of_it(west: West) -> None:
    """Each verb names the fields of its ``--json``."""
    west.create()
    west.move(*RUNS)
    west.client.on_sleep = west.end_killed
    other = ("west/www/devel/other", str(west.client.path / "other.aurora"))
    Path(other[1]).write_text(HELLO.replace("'hello'", "'other'").replace("{{greeting}}", ""))
    lines: list[tuple[str, ...]] = [
        ("job create", *other), ("job status", KEY), ("job list", "west"), ("job inspect", *other),
        ("job diff", *other), ("job open", KEY), ("job add", f"{KEY}/0", "1"), ("job kill", f"{KEY}/0-1"),
        ("config list", other[1]), ("quota get", "west/www"), ("sla get-task-up-count", KEY),
        ("sla get-job-uptime", KEY), ("job killall", KEY),
    ]  # fmt: skip
    for name, *words in lines:
        done = west.run(*name.split(), *words, "--json")
        assert done.code == 0, (name, done.err)
        found = json.loads(done.out)
        assert found.pop("schema") == 1
        assert set(found) <= set(nouns.load(*name.split()).json), name
    for name, *words in [
        ("set_quota", "www", "1", "1g", "1g"), ("increase_quota", "www", "1", "1g", "1g"), ("get_scheduler",),
        ("get_cluster_config",), ("scheduler_snapshot",), ("scheduler_backup_now",), ("scheduler_list_backups",),
        ("query", "www", "other", "--states", "PENDING"), ("prune_tasks",), ("reconcile_tasks",),
    ]:  # fmt: skip
        done = west.client.admin(name, "west", *words, "--json")
        assert done.code == 0, (name, done.err)
        found = json.loads(done.out)
        assert found.pop("schema") == 1
        assert set(found) == set(nouns.load_admin(name).json), name


def test_diff_against_another_job(west: West) -> None:
    """What is compared is the job that is named, not, as in the original, the one of the file's own key."""
    west.create()
    west.move(*RUNS)
    other = "west/www/devel/other"
    path = west.client.path / "other.aurora"
    path.write_text(HELLO.replace("'hello'", "'other'").replace("instances=3", "instances=5"))
    words = ("job", "diff", other, str(path), "--bind", "greeting=hi")
    assert west.run(*words).out == "This job update will:\nadd instances: [0-4]\n"
    done = west.run(*words, "--from", KEY)
    assert "add instances: [3-4]\n" in done.out
    assert "update instances: [0-2]\nwith diff:" in done.out
    assert west.run(*words, "--from", "west/www/devel").code == 2
