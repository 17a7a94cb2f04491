"""``aurora task``: what ssh and scp are called with. Both are programs that write down their arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.states import ScheduleStatus
from tests.support.aurora_client import Client, Server, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, JobKey, TaskConfig

pytestmark = pytest.mark.process

KEY = "west/www/prod/hello"
RUNS = "/var/lib/mesos/slaves/*/frameworks/*/executors/thermos-{}/runs/latest"
RECORD = """#!/usr/bin/env python3
import json, sys
with open({path!r}, "a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
print("one\\ntwo")
print("oops", file=sys.stderr)
sys.exit({code})
"""


def task(number: int, host: str | None = "host-{}", **more: Any) -> api.ScheduledTask:
    assigned = AssignedTask(
        more.get("task_id", f"www-prod-hello-{number}-x"), None, host and host.format(number),
        TaskConfig(job=JobKey("www", "prod", "hello")), {"http": 31000 + number, "admin": 32000}, number,
    )  # fmt: skip
    return api.ScheduledTask(assigned, ScheduleStatus.RUNNING, 0, 0, (api.TaskEvent(1),))


class Hosts:
    """A scheduler that knows some tasks, and an ssh and an scp that only take notes."""

    def __init__(self, client: Client, scheduler: Server) -> None:
        self.tasks = [task(0), task(1)]
        self.client = client
        self.scheduler = scheduler
        self._log = client.path / "log"
        self._bin = client.path / "bin"
        self._bin.mkdir()
        self.programs()
        self.keys: dict[str, Any] = {"slave_root": "/var/lib/mesos", "slave_run_directory": "latest"}

    def programs(self, code: int = 0) -> None:
        for name in ("ssh", "scp"):
            (self._bin / name).write_text(RECORD.format(path=str(self._log), name=name, code=code))
            (self._bin / name).chmod(0o755)

    def run(self, *words: str) -> Any:
        self.client.cluster(scheduler_uri=self.scheduler.url, **self.keys)
        return self.client.aurora("task", *words)

    def called(self) -> list[list[str]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture
def hosts(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    made: Hosts

    def answer(sent: Any) -> Any:
        if sent.method == "getJobs":
            return api.Result(get_jobs_result=api.GetJobsResult(()))
        numbers = sent.arguments["query"].instance_ids
        found = [each for each in made.tasks if numbers is None or each.assigned_task.instance_id in numbers]  # type: ignore[union-attr]
        return api.Result(schedule_status_result=api.ScheduleStatusResult(tuple(found)))

    with server(answer) as scheduler:
        made = Hosts(client, scheduler)
        monkeypatch.setenv("PATH", f"{client.path}/bin:/usr/bin:/bin")
        yield made


def sandbox(number: int) -> str:
    return RUNS.format(f"www-prod-hello-{number}-x") + "/sandbox"


def test_run(hosts: Hosts) -> None:
    command = "echo {{mesos.instance}} {{thermos.task_id}} {{thermos.ports[http]}} | cat"
    done = hosts.run("run", KEY, command)
    assert done.code == 0, done.err
    assert hosts.called() == [
        ["ssh", "-n", "-q", f"www@host-{n}", f"cd {sandbox(n)};echo {n} www-prod-hello-{n}-x {31000 + n} | cat"]
        for n in (0, 1)
    ]
    assert sorted(done.out.splitlines()) == sorted(
        f"host-{n}:  {word}" for n in (0, 1) for word in ("one", "two", "oops")
    )
    # What a script takes with awk '{print $2}'.
    assert {line.split()[1] for line in done.out.splitlines()} == {"one", "two", "oops"}


def test_run_asks_for_live_instances(hosts: Hosts) -> None:
    hosts.run("run", f"{KEY}/1", "true", "-t", "4", "-l", "root", "--executor-sandbox", "--ssh-options=-v -p 22")
    query = hosts.scheduler.sent[0].arguments["query"]
    assert query.instance_ids == (1,)
    assert {str(status) for status in query.statuses} == {
        "KILLING", "PREEMPTING", "RESTARTING", "DRAINING", "PARTITIONED", "RUNNING",
    }  # fmt: skip
    path = RUNS.format("www-prod-hello-1-x")
    assert hosts.called() == [["ssh", "-n", "-q", "-v", "-p", "22", "root@host-1", f"cd {path};true"]]


def test_run_as_json(hosts: Hosts) -> None:
    hosts.programs(code=3)
    done = hosts.run("run", KEY, "false", "--json")
    answers = json.loads(done.out)["answers"]
    assert [(each["instance"], each["host"], each["exit_code"]) for each in answers] == [
        (0, "host-0", 3),
        (1, "host-1", 3),
    ]
    assert done.code == 0  # as in the original, the command's own exit code is not ours


def test_run_where_no_host_can_be_reached(hosts: Hosts) -> None:
    hosts.programs(code=255)
    assert hosts.run("run", KEY, "true").code == 4


def test_ssh(hosts: Hosts) -> None:
    hosts.programs(code=7)
    done = hosts.run("ssh", f"{KEY}/1", "-L", "8080:http", "-L", "8081:admin", "-c", "ls")
    assert done.code == 7, done.err
    assert hosts.called() == [
        ["ssh", "-t", "-L", "8080:host-1:31001", "-L", "8081:host-1:32000", "www@host-1", f"cd {sandbox(1)};ls"]
    ]


def test_ssh_opens_a_shell_on_the_first(hosts: Hosts) -> None:
    assert hosts.run("ssh", KEY).code == 0
    assert hosts.called() == [["ssh", "-t", "www@host-0", f"cd {sandbox(0)};bash"]]


def test_ssh_writes_its_process_id(hosts: Hosts, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    seen = []
    run = hosts.client.world().run

    def keep(command: Any) -> int:
        code = run(command)
        seen.append(path.read_text().strip())
        return code

    hosts.client.cluster(scheduler_uri=hosts.scheduler.url, **hosts.keys)
    done = hosts.client.aurora("task", "ssh", f"{KEY}/0", "-p", str(path), run=keep)
    assert done.code == 0, done.err
    assert seen[0].isdecimal()
    assert not path.exists()
    assert hosts.called()[0][:2] == ["ssh", "-t"]


@pytest.mark.parametrize(
    "words, said",
    [
        ((KEY, "-c", "ls"), "INSTANCE must be specified when --command option is given"),
        ((f"{KEY}/0", "-L", "8080"), "Could not parse tunnel: 8080.  Must be of form PORT:NAME"),
        ((f"{KEY}/0", "-L", "x:http"), "Could not parse tunnel: x:http"),
        ((f"{KEY}/0", "-L", "80:htp"), "has no port named htp; it has admin, http"),
        ((f"{KEY}/0", "-c", "x {{thermos.ports[no]}}"), "has no port named no"),
        ((f"{KEY}/7",), f"Job {KEY}/7 not found: no instance of it runs"),
        ((f"{KEY}/0", "--ssh-options", "'"), "cannot be taken apart"),
    ],
)
def test_ssh_that_cannot_be(hosts: Hosts, words: tuple[str, ...], said: str) -> None:
    done = hosts.run("ssh", *words)
    assert done.code == 6
    assert said in done.err


def test_a_cluster_that_does_not_say_where_sandboxes_are(hosts: Hosts) -> None:
    del hosts.keys["slave_root"]
    done = hosts.run("ssh", KEY)
    assert done.code == 3
    assert "has no 'slave_root', which finding sandboxes needs" in done.err


@pytest.mark.parametrize("bad", [task(0, "-oProxyCommand=x"), task(0, "a b"), task(0, task_id="x; rm -rf /")])
def test_what_the_scheduler_says_does_not_become_an_option_or_a_command(hosts: Hosts, bad: api.ScheduledTask) -> None:
    hosts.tasks = [bad]
    assert hosts.run("ssh", KEY).code == 6
    assert hosts.run("run", KEY, "true").code == 6


def test_a_task_that_is_nowhere_yet_is_passed_over(hosts: Hosts) -> None:
    hosts.tasks = [task(0, None), task(1)]
    assert hosts.run("ssh", KEY).code == 0
    assert hosts.called()[0][2] == "www@host-1"


def test_scp(hosts: Hosts) -> None:
    done = hosts.run("scp", "--scp-options=-r -C", f"{KEY}/1:.logs", "a:b", f"{KEY}/0:/tmp/x", "dir")
    assert done.code == 0, done.err
    assert hosts.called() == [["scp", "-r", "-C", f"www@host-1:{sandbox(1)}/.logs", "a:b", "www@host-0:/tmp/x", "dir"]]


@pytest.mark.parametrize("place", [f"{KEY}/0:~/x", f"{KEY}/0-1:x", f"{KEY}/x:y", f"{KEY}/9:x"])
def test_scp_that_cannot_be(hosts: Hosts, place: str) -> None:
    assert hosts.run("scp", place, ".").code == 6
