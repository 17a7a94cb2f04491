"""Two schedulers on one store, a real ZooKeeper and a real Mesos: one leads, the other takes over."""

from __future__ import annotations

import http.client
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from scheduler.core.state import State
from scheduler.model import Task
from scheduler.store.opening import open_store
from tests.support.box import until
from tests.support.cluster import Cluster, Scheduler, job
from tests.support.mesos import mesos
from tests.support.zookeeper import ZooKeeper, zookeeper
from thermos.errors import ExitCode
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import Response, ResponseCode

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


def test_one_that_was_stopped_for_too_long_ends_and_writes_nothing(
    two: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    """Stopped before a cron job's time and woken after another one led through it: the time is due for both of them,
    and a client has asked the old one for a run, too."""
    one, other = two
    key = one.create("lasting")
    one.wait_running(key)
    minutely = wire.JobKey("root", "test", "minutely")
    description = job(minutely, code=f"echo ran >> {tmp_path}/runs", is_service=False)
    one.api.ok("scheduleCronJob", description=description._replace(cron_schedule="* * * * *"))
    before = one.api.tasks(job_keys=(minutely,))
    process = one.scheduler._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    other.wait("the other one leads", lambda: leads(other.scheduler))
    other.wait_running(key)
    other.wait_running(other.create("fresh"))
    other.wait("a minute begins", lambda: len(other.api.tasks(job_keys=(minutely,))) > len(before), 90)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(one.api.call, "startCronJob", job=minutely)
        until(lambda: _is_waiting_for(one.scheduler.port), "it was asked")
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(30) == ExitCode.REFUSED
        one.scheduler._process = None
        assert _code(asked) is not ResponseCode.OK
    other.api.ok("descheduleCronJob", job=minutely)
    assert len(other.states(key)) == 1
    assert other.wait_running(key)
    other.wait("each run is over", lambda: set(other.states(minutely)) == {"FINISHED"})
    told = other.api.tasks(job_keys=(minutely,))
    other.scheduler.stop()
    kept = _kept(f"{other.scheduler.directory}/../shared.db", minutely)
    minutes = [task.created_at_ms // 60_000 for task in kept]
    assert len(minutes) == len(set(minutes)), "one run for each minute"
    assert len((tmp_path / "runs").read_text().splitlines()) == len(kept) == len(told)


def _code(asked: Future[Response]) -> ResponseCode | None:
    """What was answered; None: nothing, or no HTTP 200."""
    try:
        return asked.result().response_code
    except (OSError, http.client.HTTPException, AssertionError):
        return None


def _is_waiting_for(port: int) -> bool:
    """Whether a client's request lies at that port, which nobody reads."""
    return any(
        int(local.rpartition(":")[2], 16) == port and int(queues.partition(":")[2], 16) > 0
        for local, _, _, queues, *_ in (line.split()[1:] for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    )


def _kept(store: str, key: wire.JobKey) -> list[Task]:
    """The job's tasks as they lie on the disk, whoever put them there."""
    state = State()
    opened = open_store(store)
    try:
        opened.lead()
        for change in opened.load():
            state.apply(change)
    finally:
        opened.close()
    return [task for task in state.tasks.values() if task.job.name == key.name]
