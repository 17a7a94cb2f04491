"""Two schedulers on one store, a real ZooKeeper and a real Mesos: one leads, the other takes over."""

from __future__ import annotations

import http.client
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.support.box import until
from tests.support.cluster import Cluster, Scheduler
from tests.support.mesos import mesos
from tests.support.zookeeper import ZooKeeper, zookeeper
from thermos.errors import ExitCode

pytestmark = [pytest.mark.process, pytest.mark.slow]


class Two:
    """Both of them, and what they stand on."""

    def __init__(self, directory: str, mesos_port: int, server: ZooKeeper) -> None:
        flags = ("-zk_endpoints", server.hosts, "-zk_session_timeout", "3s", "-store", f"{directory}/shared.db",
                 "-flapping_task_threshold", "0s")  # fmt: skip
        self.both = []
        for name in ("one", "two"):
            Path(f"{directory}/{name}").mkdir()
            self.both.append(Scheduler(f"{directory}/{name}", mesos_port, *flags))

    def close(self) -> None:
        for one in self.both:
            one.kill()


def leads(scheduler: Scheduler) -> bool:
    try:
        return scheduler.api.get("/leaderhealth")[0] == 200
    except OSError:
        return False


@pytest.fixture
def server() -> Iterator[ZooKeeper]:
    with zookeeper() as made:
        yield made


@pytest.fixture
def two(server: ZooKeeper) -> Iterator[tuple[Cluster, Cluster]]:
    """The one that leads, and the other."""
    with mesos() as made, tempfile.TemporaryDirectory(prefix="thermos-failover-") as directory:
        pair = Two(directory, made.port, server)
        try:
            one, other = pair.both
            one.start()
            other.begin()
            until(lambda: other.log.count("waiting to lead"), "the other one stands by")
            yield Cluster(made, one), Cluster(made, other)
        finally:
            pair.close()


def test_the_other_takes_over_with_everything(two: tuple[Cluster, Cluster]) -> None:
    one, other = two
    key = one.create("lasting")
    (before,) = one.wait_running(key)
    one.scheduler.kill()
    other.wait("the other one leads", lambda: leads(other.scheduler))
    (after,) = other.wait_running(key)
    assert after.assigned_task is not None
    assert before.assigned_task is not None
    assert after.assigned_task.task_id == before.assigned_task.task_id
    fresh = other.create("fresh")
    other.wait_running(fresh)
    one.scheduler.begin()
    one.wait("the first one stands by", lambda: one.scheduler.log.count("waiting to lead") == 2)
    assert not leads(one.scheduler)


def test_who_stands_by_sends_clients_to_the_leader(two: tuple[Cluster, Cluster], server: ZooKeeper) -> None:
    one, other = two
    until(lambda: other.scheduler.api.get("/leaderhealth")[0] == 503, "it knows that another leads")
    connection = http.client.HTTPConnection("127.0.0.1", other.scheduler.port, timeout=30)
    try:
        connection.request("GET", "/scheduler/role?x=1", headers={"Host": "evil.example"})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    assert answer.status == 307
    assert answer.headers["Location"] == f"http://127.0.0.1:{one.scheduler.port}/scheduler/role?x=1"
    (member,) = _members(server)
    assert member["additionalEndpoints"] == {"http": {"host": "127.0.0.1", "port": one.scheduler.port}}


def _members(server: ZooKeeper) -> list[dict[str, Any]]:
    client = KazooClient(server.hosts)
    client.start(timeout=30)
    try:
        path = "/aurora/scheduler"
        names = [name for name in client.get_children(path) if name.startswith("member_")]
        return [json.loads(client.get(f"{path}/{name}")[0]) for name in names]
    finally:
        client.stop()
        client.close()


def test_one_that_was_stopped_for_too_long_ends_and_writes_nothing(two: tuple[Cluster, Cluster]) -> None:
    one, other = two
    key = one.create("lasting")
    one.wait_running(key)
    process = one.scheduler._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    other.wait("the other one leads", lambda: leads(other.scheduler))
    other.wait_running(key)
    other.wait_running(other.create("fresh"))
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(30) == ExitCode.REFUSED
    one.scheduler._process = None
    assert len(other.states(key)) == 1
    assert other.wait_running(key)
