"""The installed commands against a real scheduler on a real Mesos: a job from its file to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.box import SOON_S, until
from tests.support.cluster import Cluster, cluster

pytestmark = [pytest.mark.process, pytest.mark.slow]

BIN = Path(sys.executable).parent
FILE = """
hello = Process(name='hello', cmdline='echo {{greeting}} {{mesos.instance}}; exec sleep 1000')
task = Task(processes=[hello], resources=Resources(cpu=0.01, ram=16*MB, disk=16*MB), finalization_wait=5)
jobs = [
    Service(name='hello', cluster='test', role='root', environment='test', instances=2, task=task,
            update_config=UpdateConfig(watch_secs=1, update_strategy=BatchUpdateStrategy(batch_size=1))),
    Job(name='once', cluster='test', role='root', environment='test',
        task=task(processes=[Process(name='once', cmdline='true')])),
    Job(name='nightly', cluster='test', role='root', environment='test', cron_schedule='0 3 1 1 *',
        task=task(processes=[Process(name='once', cmdline='true')])),
]
"""


class User:
    """Runs the commands as a person would."""

    def __init__(self, path: Path, port: int) -> None:
        self.path = path
        (path / "clusters.json").write_text(json.dumps({"test": {"scheduler_uri": f"http://127.0.0.1:{port}"}}))
        (path / "hello.aurora").write_text(FILE)

    def __call__(self, *words: str, program: str = "aurora") -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "AURORA_CONFIG_ROOT": str(self.path), "HOME": str(self.path)}
        return subprocess.run(
            [str(BIN / program), *words], cwd=self.path, env=environ, capture_output=True, text=True, timeout=100
        )

    def ok(self, *words: str, program: str = "aurora") -> str:
        done = self(*words, program=program)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def mesos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not (BIN / "aurora").exists():
        pytest.skip("the commands are not installed: ./dev setup")
    with cluster(flags=("-backup_dir", str(tmp_path_factory.mktemp("backups")))) as made:
        yield made


@pytest.fixture
def user(mesos: Cluster, tmp_path: Path) -> User:
    return User(tmp_path, mesos.api.port)


def test_a_jobs_life(user: User) -> None:
    key = "test/root/test/hello"
    created = user("job", "create", key, "hello.aurora", "--bind", "greeting=hi", "--wait-until", "RUNNING")
    assert created.returncode == 0, created.stderr
    assert created.stdout.startswith("Job create succeeded: job url=http://127.0.0.1:")
    assert f"waiting for instances of {key} to run, for 0 s now:" in created.stderr
    [job] = json.loads(user.ok("job", "status", key, "--write-json"))
    assert [task["status"] for task in job["active"]] == ["RUNNING", "RUNNING"]
    assert user.ok("job", "list", "test/root") == f"{key}\n"
    before = {task["assignedTask"]["taskId"] for task in job["active"]}
    same = user.ok("job", "diff", key, "hello.aurora", "--bind", "greeting=hi")
    assert same == "This job update will:\nnot change instances: [0-1]\n"
    changed = user.ok("job", "diff", f"{key}/0", "hello.aurora", "--bind", "greeting=bye")
    assert "update instances: [0]\nwith diff:" in changed
    user.ok("job", "add", f"{key}/0", "1", "--wait-until", "RUNNING")
    user.ok(
        "job", "restart", f"{key}/0-1", "--batch-size", "2", "--watch-secs", "0", "--healthcheck-interval-seconds", "1"
    )
    [job] = json.loads(user.ok("job", "status", key, "--write-json"))
    after = {task["assignedTask"]["taskId"] for task in job["active"]}
    assert len(after) == 3
    assert not before & after
    assert user.ok("sla", "get-task-up-count", key, "--durations", "7d") == "7 days\t- 0.00 %\n"
    assert user.ok("job", "kill", f"{key}/2") == "Successfully killed instances [2]\nJob kill succeeded\n"
    assert user.ok("job", "killall", key, "--no-batching") == "Job killall succeeded\n"
    [job] = json.loads(user.ok("job", "status", key, "--write-json"))
    assert job["active"] == []
    assert user("job", "killall", key).returncode == 6


def test_a_job_that_ends(user: User) -> None:
    key = "test/root/test/once"
    user.ok("job", "create", key, "hello.aurora", "--bind", "greeting=hi", "--wait-until", "FINISHED")
    assert "status: FINISHED on" in user.ok("job", "status", key)


def test_administration(user: User) -> None:
    user.ok("set_quota", "test", "root", "2.0", "4GB", "8GB", program="aurora_admin")
    assert user.ok("quota", "get", "test/root").startswith(
        "Allocated:\n  CPU: 2.0 core(s)\n  RAM: 4096 MB\n  Disk: 8192 MB\n"
    )
    user.ok("reconcile_tasks", "test", program="aurora_admin")
    user.ok("scheduler_snapshot", "test", program="aurora_admin")
    found = user.ok("query", "test", "--force", "--states", "RUNNING,KILLED,FINISHED", program="aurora_admin")
    assert all(line.startswith("root/") for line in found.splitlines())


def host_of(user: User, key: str) -> str:
    [job] = json.loads(user.ok("job", "status", key, "--write-json"))
    host = job["active"][0]["assignedTask"]["slaveHost"]
    assert isinstance(host, str)
    return host


def state(user: User, host: str) -> str:
    """As a script asks for it: the sixth word of whatever is printed."""
    done = user("host_status", "test", "--hosts", host, program="aurora_admin")
    [line] = (done.stdout + done.stderr).splitlines()
    return line.split()[5]


def test_a_host_is_drained_and_given_back(user: User) -> None:
    key = "test/root/test/hello"
    user.ok("job", "create", key, "hello.aurora", "--bind", "greeting=hi", "--wait-until", "RUNNING")
    host = host_of(user, key)
    assert state(user, host) == "NONE"
    probed = user.ok("sla_probe_hosts", "test", "95", "30m", "--hosts", host, program="aurora_admin")
    assert probed == ""  # nothing of production is there
    script = user.path / "drained"
    script.write_text(f"#!/bin/sh\necho $1 > {user.path}/done\n")
    script.chmod(0o755)
    words = ("host_drain", "test", "--hosts", host, "--post_drain_script", str(script))
    drained = user(*words, program="aurora_admin")
    assert drained.returncode == 0, drained.stderr
    assert (user.path / "done").read_text() == f"{host}\n"
    assert state(user, host) == "DRAINED"
    [job] = json.loads(user.ok("job", "status", key, "--write-json"))
    assert {task["status"] for task in job["active"]} == {"PENDING"}
    given_back = user.ok("host_activate", "test", "--hosts", host, program="aurora_admin")
    assert given_back == f"INFO] {host} is in state: NONE\n"
    user.ok("job", "killall", key, "--no-batching")
    assert user("host_status", "test", "--hosts", "nowhere", program="aurora_admin").returncode == 6


def test_a_job_is_updated_and_put_back(user: User) -> None:
    key = "test/root/test/hello"
    user.ok("job", "create", key, "hello.aurora", "--bind", "greeting=hi", "--wait-until", "RUNNING")
    start = ("update", "start", key, "hello.aurora", "--bind")
    same = user.ok(*start, "greeting=hi", "--wait")
    assert same.startswith("This job update will:\nnot change instances: [0-1]\n")
    planned = json.loads(user.ok(*start, "greeting=bye", "--plan", "--json"))
    assert (planned["update"], planned["groups"]) == ([0, 1], [[0], [1]])
    assert user.ok("update", "list", key) == ""
    done = user(*start, "greeting=bye", "-m", "politely", "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This job update will:\nupdate instances: [0-1]\nJob update has started. View ")
    assert done.stdout.endswith("Current state ROLLING_FORWARD\nCurrent state ROLLED_FORWARD\n")
    [update] = json.loads(user.ok("update", "list", key, "--status", "succeeded", "--write-json"))
    info = user.ok("update", "info", key, update["id"])
    assert "Current status: ROLLED_FORWARD\n" in info
    assert "      message: politely\n" in info
    assert "Instance 1 at " in info
    user.ok(*start, "greeting=again")
    user.ok("update", "pause", key, "-m", "wait")
    shown = json.loads(user.ok("update", "info", key, "--json"))
    assert shown["status"] == "ROLL_FORWARD_PAUSED"
    assert any("paused" in wait["reason"] for wait in shown["waits"])
    back = user("update", "rollback", key, "--wait")
    assert back.returncode == 0, (back.stdout, back.stderr)
    assert back.stdout.endswith("Current state ROLLED_BACK\n")
    assert user("update", "resume", key).returncode == 6
    assert user.ok("job", "diff", key, "hello.aurora", "--bind", "greeting=bye").endswith(
        "not change instances: [0-1]\n"
    )
    user.ok("job", "killall", key, "--no-batching")


def test_a_cron_job_is_started_now(user: User) -> None:
    key = "test/root/test/nightly"
    scheduled = user.ok("cron", "schedule", key, "hello.aurora", "--bind", "greeting=hi")
    assert scheduled.startswith("Cron job scheduled, status can be viewed at http://127.0.0.1:")
    assert user.ok("cron", "show", key) == f"{key}\t 0 3 1 1 *\n"
    assert json.loads(user.ok("cron", "show", key, "--json"))["next_run"].endswith("-01-01T03:00:00")
    user.ok("cron", "start", key)
    until(lambda: "status: FINISHED on" in user.ok("job", "status", key), "the task has ended", SOON_S)
    assert user.ok("cron", "deschedule", key) == "Cron descheduling succeeded.\n"
    assert user("cron", "show", key).returncode == 6
    assert user("cron", "start", key).returncode == 10


def test_a_backup_is_staged_looked_at_and_left(user: User) -> None:
    key = "test/root/test/hello"
    user.ok("job", "create", key, "hello.aurora", "--bind", "greeting=hi")
    user.ok("scheduler_backup_now", "test", program="aurora_admin")
    name = user.ok("scheduler_list_backups", "test", program="aurora_admin").splitlines()[-1]
    user.ok("scheduler_stage_recovery", "test", name, program="aurora_admin")
    shown = user.ok("scheduler_print_recovery_tasks", "test", program="aurora_admin").splitlines()
    assert shown[0] == "Role\tJob\tShard\tStatus\tTask ID"
    tasks = [line.split("\t") for line in shown[1:]]
    assert [task[:3] for task in sorted(tasks)] == [["root", "hello", "0"], ["root", "hello", "1"]]
    user.ok("scheduler_delete_recovery_tasks", "test", tasks[0][4], program="aurora_admin")
    left = user.ok("scheduler_print_recovery_tasks", "test", program="aurora_admin").splitlines()
    assert left == [shown[0], *(line for line in shown[1:] if tasks[0][4] not in line)]
    user.ok("scheduler_unload_recovery", "test", program="aurora_admin")
    assert user("scheduler_commit_recovery", "test", program="aurora_admin").returncode == 10
    user.ok("job", "killall", key, "--no-batching")
