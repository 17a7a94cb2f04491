"""Hosts out of use, what jobs would bear, and backups put back, against a scheduler that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aurora_client import START_S, Client, Done, Sent, Server, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, JobKey, PercentageSlaPolicy, SlaPolicy, TaskConfig
from thermos.formats.aurora_api import MaintenanceMode, ScheduledTask, ScheduleStatus, TaskEvent

pytestmark = pytest.mark.process

NONE, SCHEDULED, DRAINING, DRAINED = MaintenanceMode


class West:
    """A scheduler with hosts; one that drains is DRAINED when it was asked for so often."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.modes = {"h1": NONE, "h2": NONE}
        self.looks = 2
        self.stuck: set[str] = set()
        self.tasks: tuple[ScheduledTask, ...] = ()
        self.ran: list[list[str]] = []
        self._looked: dict[str, int] = {}

    def answer(self, sent: Sent) -> Any:
        if sent.method == "getTasksWithoutConfigs":
            query = sent.arguments["query"]
            assert set(query.statuses) == {
                ScheduleStatus[name]
                for name in ("RUNNING", "KILLING", "RESTARTING", "PREEMPTING", "DRAINING", "PARTITIONED")
            }
            wanted = [task for task in self.tasks if self._fits(task, query)]
            return api.Result(schedule_status_result=api.ScheduleStatusResult(tuple(wanted)))
        known = [host for host in sent.arguments["hosts"].host_names if host in self.modes]
        for host in known:
            self._move(sent.method, host)
        statuses = tuple(api.HostStatus(host, self.modes[host]) for host in reversed(known))
        return {
            "startMaintenance": api.Result(start_maintenance_result=api.StartMaintenanceResult(statuses)),
            "drainHosts": api.Result(drain_hosts_result=api.DrainHostsResult(statuses)),
            "slaDrainHosts": api.Result(drain_hosts_result=api.DrainHostsResult(statuses)),
            "maintenanceStatus": api.Result(maintenance_status_result=api.MaintenanceStatusResult(statuses)),
            "endMaintenance": api.Result(end_maintenance_result=api.EndMaintenanceResult(statuses)),
        }[sent.method]

    def _fits(self, task: ScheduledTask, query: api.TaskQuery) -> bool:
        assert task.assigned_task is not None
        if query.slave_hosts is not None and task.assigned_task.slave_host not in query.slave_hosts:
            return False
        return query.job_keys is None or task.assigned_task.task.job in query.job_keys

    def _move(self, method: str, host: str) -> None:
        if method == "maintenanceStatus" and self.modes[host] is DRAINING and host not in self.stuck:
            self._looked[host] = self._looked.get(host, 0) + 1
            if self._looked[host] >= self.looks:
                self.modes[host] = DRAINED
        elif method != "maintenanceStatus":
            after = {"startMaintenance": SCHEDULED, "endMaintenance": NONE}
            self.modes[host] = after.get(method, DRAINING)

    def admin(self, *words: str, code: int = 0) -> Done:
        def run(command: Any) -> int:
            self.ran.append(list(command))
            return code

        return self.client.admin(words[0], "west", *words[1:], run=run)


@pytest.fixture
def west(client: Client) -> West:
    return West(client)


@pytest.fixture(autouse=True)
def scheduler(client: Client, west: West) -> Iterator[Server]:
    with server(west.answer) as made:
        client.cluster(scheduler_uri=made.url)
        yield made


def job(count: int, *hosts: str, up_s: float = 4000, production: bool = True) -> tuple[ScheduledTask, ...]:
    """*count* instances, spread over *hosts*."""
    config = TaskConfig(job=JobKey("www", "prod", "hello"), production=production)
    events = (TaskEvent(int((START_S - up_s) * 1000), ScheduleStatus.RUNNING),)
    return tuple(
        ScheduledTask(
            AssignedTask(f"t{number}", None, hosts[number % len(hosts)], config, None, number),
            ScheduleStatus.RUNNING, 0, 0, events,
        )
        for number in range(count)
    )  # fmt: skip


def test_status(west: West) -> None:
    """Scripts read the sixth word of each line, of stdout and stderr together."""
    west.modes["h2"] = DRAINED
    done = west.admin("host_status", "--hosts", "h2,h1")
    assert (done.code, done.err) == (0, "")
    assert done.out == "INFO] h2 is in state: DRAINED\nINFO] h1 is in state: NONE\n"
    assert [line.split(" ")[5] for line in done.out.splitlines()] == ["DRAINED", "NONE"]


def test_a_host_that_is_unknown(west: West) -> None:
    for command in ("host_status", "host_deactivate", "host_activate", "host_drain", "sla_host_drain"):
        done = west.admin(command, "--hosts", "h1,h9,h8")
        assert done.code == 6, command
        assert "the scheduler knows no host h8, h9: it must be named as its agent is" in done.err
    assert west.modes["h1"] is DRAINED
    answer = json.loads(west.admin("host_status", "--hosts", "h1,h9", "--json").out)
    assert (answer["hosts"], answer["unknown"]) == ({"h1": "DRAINED"}, ["h9"])


def test_deactivate_and_activate(west: West, client: Client, scheduler: Server) -> None:
    (client.path / "hosts.txt").write_text("h1\n\n h2 \nh1\n")
    done = west.admin("host_deactivate", "--filename", str(client.path / "hosts.txt"))
    assert (done.code, list(west.modes.values())) == (0, [SCHEDULED, SCHEDULED])
    scheduler.sent.clear()
    assert west.admin("host_activate", "--hosts", "h1").out == "INFO] h1 is in state: NONE\n"
    assert list(west.modes.values()) == [NONE, SCHEDULED]
    assert scheduler.methods == ["endMaintenance", "maintenanceStatus"]  # as the original asks


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], "which hosts? Write --hosts HOST,HOST or --filename FILE"),
        (["--hosts", "h1", "--filename", "x"], "--hosts and --filename say the same thing"),
        (["--hosts", " , "], "--hosts names no host"),
        (["--hosts", "h1,h 2"], "'h 2' is no name of a host"),
    ],
)
def test_hosts_that_are_none(west: West, words: list[str], expected: str, scheduler: Server) -> None:
    done = west.admin("host_drain", *words)
    assert done.code == 6
    assert expected in done.err
    assert scheduler.sent == []


def test_drain(west: West, client: Client, scheduler: Server) -> None:
    """One host after the other, each looked at until it is DRAINED; then the script runs for it."""
    script = client.path / "reboot"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    done = west.admin("host_drain", "--hosts", "h2,h1", "--post_drain_script", str(script))
    assert (done.code, done.out) == (0, ""), done.err
    assert scheduler.methods == [
        "startMaintenance",
        *(2 * ["getTasksWithoutConfigs", "drainHosts", "maintenanceStatus", "maintenanceStatus"]),
    ]
    assert [sent.arguments["hosts"].host_names for sent in scheduler.sent if sent.method == "drainHosts"] == [
        ("h1",), ("h2",),
    ]  # fmt: skip
    assert west.ran == [[str(script), "h1"], [str(script), "h2"]]
    assert client.slept_s == [5, 5, 5, 5]
    done = west.admin("host_drain", "--hosts", "h2", "--post_drain_script", str(script), code=3)
    assert done.code == 4
    assert "reboot h2 ended with 3" in done.err


def test_a_host_whose_jobs_do_not_bear_it(west: West, client: Client, scheduler: Server) -> None:
    west.tasks = job(20, "h1", "h1", "h3", "h4")
    left = client.path / "left.txt"
    done = west.admin("host_drain", "--hosts", "h1,h2", "--unsafe_hosts_file", str(left))
    assert (done.code, done.out) == (4, "h1\n")
    assert "too few instances would stay up: h1\twest/www/prod/hello\t50.00\tFalse\tn/a" in done.err
    assert left.read_text() == "h1\n"
    assert (west.modes["h1"], west.modes["h2"]) == (SCHEDULED, DRAINED)
    override = ["--override_percentage", "50", "--override_duration", "10m"]
    assert west.admin("host_drain", "--hosts", "h1", *override).code == 6
    done = west.admin("host_drain", "--hosts", "h1", *override, "--override_reason", "ticket 9")
    assert done.code == 0
    assert "for h1: 50 % up for 600 s is enough, instead of 95 % for 1800 s: ticket 9" in done.err
    assert west.modes["h1"] is DRAINED


def test_small_jobs_and_those_of_development_are_no_reason(west: West) -> None:
    west.tasks = job(19, "h1")
    assert west.admin("host_drain", "--hosts", "h1").code == 0
    west.tasks = job(30, "h1", production=False)
    assert west.admin("host_drain", "--hosts", "h1").code == 0


def test_a_host_that_does_not_drain(west: West, client: Client) -> None:
    west.stuck = {"h1"}
    done = west.admin("host_drain", "--hosts", "h1,h2", "--grouping", "none")
    assert (done.code, done.out) == (4, "h1\n")
    assert sum(client.slept_s) == 300
    assert "not DRAINED within 300 s: h1 DRAINING" in done.err
    assert west.modes["h2"] is DRAINED


def test_ctrl_c_while_draining(west: West, client: Client) -> None:
    def stop() -> None:
        if len(client.slept_s) == 3:
            raise KeyboardInterrupt

    client.on_sleep = stop
    done = west.admin("host_drain", "--hosts", "h1,h2")
    assert done.code == 130
    assert "stopped by Ctrl-C; drained: h1; being drained: h2; not: none" in done.err


def test_a_grouping_that_is_none(west: West) -> None:
    done = west.admin("host_drain", "--hosts", "h1", "--grouping", "by_hosts")
    assert done.code == 6
    assert "there is no grouping 'by_hosts'; did you mean 'by_host'?" in done.err


def test_drain_by_the_scheduler(west: West, client: Client, scheduler: Server) -> None:
    done = west.admin("sla_host_drain", "--hosts", "h1", "--default_percentage", "90", "--force_drain_timeout", "2h")
    assert (done.code, done.out) == (0, "INFO] h1 is in state: DRAINED\n")
    assert scheduler.sent[0].arguments == {
        "hosts": api.Hosts(("h1",)),
        "default_sla_policy": SlaPolicy(percentage_sla_policy=PercentageSlaPolicy(90.0, 1800)),
        "timeout_secs": 7200,
    }
    west.stuck = {"h1"}
    done = west.admin("sla_host_drain", "--hosts", "h1")
    assert (done.code, done.out) == (9, "INFO] h1 is in state: DRAINING\n")
    assert "not DRAINED yet: h1; the scheduler goes on" in done.err
    assert scheduler.sent[-1].method == "maintenanceStatus"


def test_hosts_that_may_go_down(west: West, client: Client, scheduler: Server) -> None:
    west.tasks = job(10, *(f"h{number}" for number in range(10)))
    assert west.admin("sla_list_safe_domain", "91", "1h").out == ""
    done = west.admin("sla_list_safe_domain", "90", "1h", "-x", "h0,h1")
    assert done.out == "".join(f"h{number}\n" for number in range(2, 10))
    done = west.admin("sla_list_safe_domain", "90", "1h", "-l", "-i", "h3,h77")
    assert done.out == "h3\twest/www/prod/hello\t90.00\t3600\n"
    assert (done.code, done.err.partition(": it must")[0]) == (6, "the scheduler knows no host h77")
    done = west.admin("sla_list_safe_domain", "90", "1h", "-i", "h77")
    assert (done.code, done.out) == (6, "")
    answer = json.loads(west.admin("sla_list_safe_domain", "90", "1h", "-i", "h3,h77", "--json").out)
    assert (answer["hosts"], answer["unknown"]) == (["h3"], ["h77"])
    done = west.admin("sla_list_safe_domain", "90", "1h", "-i", "h2")
    assert (done.code, done.out, done.err) == (0, "h2\n", "")
    assert west.admin("sla_list_safe_domain", "90", "1h", "--grouping", "none").out == ""
    assert west.admin("sla_list_safe_domain", "90", "1h", "--min_job_instance_count", "11").out == ""
    limits = client.path / "limits"
    limits.write_text("west/www/prod/hello 95 2h\n")
    assert west.admin("sla_list_safe_domain", "90", "1h", "-o", str(limits)).out == ""
    limits.write_text("\nwest/www/prod/hello 95\n")
    done = west.admin("sla_list_safe_domain", "90", "1h", "-o", str(limits))
    assert done.code == 6
    assert "limits: line 2: write 'KEY PERCENTAGE DURATION'" in done.err
    assert west.admin("sla_list_safe_domain", "101", "1h").code == 2


def test_probing_hosts(west: West) -> None:
    west.tasks = job(10, "h1", "h1", "h2", "h2", "h3", up_s=1000)
    done = west.admin("sla_probe_hosts", "60", "30m", "--hosts", "h1,h3,h5")
    assert (done.code, done.err.partition(": it must")[0]) == (6, "the scheduler knows no host h5")
    assert done.out == ("h1\twest/www/prod/hello\t0.00\tFalse\t800\nh3\twest/www/prod/hello\t0.00\tFalse\t800\n")
    [first, _] = json.loads(west.admin("sla_probe_hosts", "60", "10m", "--hosts", "h1,h3", "--json").out)["jobs"]
    assert first == {
        "host": "h1", "job": "west/www/prod/hello", "percentage": 60.0, "is_safe": True, "safe_in_s": 0,
        "duration_s": 600,
    }  # fmt: skip


def test_probing_hosts_on_which_there_is_nothing(west: West, scheduler: Server) -> None:
    """No output is an answer for a host without tasks, and none for a name that no agent has."""
    done = west.admin("sla_probe_hosts", "60", "30m", "--hosts", "h1")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = west.admin("sla_probe_hosts", "60", "30m", "--hosts", "h1,nowhere")
    assert (done.code, done.out) == (6, "")
    assert "the scheduler knows no host nowhere: it must be named as its agent is" in done.err
    answer = json.loads(west.admin("sla_probe_hosts", "60", "30m", "--hosts", "nowhere", "--json").out)
    assert (answer["jobs"], answer["unknown"]) == ([], ["nowhere"])
    west.tasks = job(10, "h1")
    scheduler.sent.clear()
    assert west.admin("sla_probe_hosts", "60", "30m", "--hosts", "h1").code == 0
    assert "maintenanceStatus" not in scheduler.methods, "whoever may look at tasks only may probe"
