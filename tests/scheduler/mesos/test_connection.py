"""The connection, against a real master with real agents."""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from kazoo.client import KazooClient

from scheduler.core.events import Disconnected, MasterError
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.mesos.connection import Credential
from scheduler.mesos.finder import ListFinder, finder_of
from scheduler.mesos.session import Address, SessionSettings
from scheduler.mesos.task_info import task_info
from scheduler.model import Resources, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from tests.support.box import SOON_S, until
from tests.support.listener import Listener, Mini, mini_command
from tests.support.mesos import Mesos, free_port, mesos
from tests.support.zookeeper import zookeeper
from thermos.formats import assigned_task as wire
from thermos.formats.mesos_v1_scheduler import (
    Accept,
    Decline,
    Kill,
    Offers,
    Reconcile,
    Revive,
    Subscribed,
    Suppress,
)
from thermos.mesos import MesosTaskState, Reason, Source

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]  # the first run on a machine sets Mesos up


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Makes listeners that are subscribed."""
    made: list[Listener] = []

    def listen(cluster: Mesos, **more: Any) -> Listener:
        one = Listener(cluster.port, **more)
        made.append(one)
        one.wait(lambda: one.of(Subscribed), "it is subscribed")
        return one

    yield listen
    for one in made:
        one.connection.close()


Listen = Callable[..., Listener]


def test_a_task_from_offer_to_end(cluster: Mesos, listen: Listen) -> None:
    listener = listen(cluster)
    mini = listener.launch("a").is_running()
    mini.ends()
    states = [one.state.value for one in listener.statuses("a")]
    assert states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    last = listener.statuses("a")[-1]
    assert (last.source, last.message, last.executor_id) == (Source.SOURCE_EXECUTOR, "done", "executor-a")
    until(lambda: cluster.has_acknowledged(last.raw), "the agent has the acknowledgement")


def test_reconcile_explicitly_and_implicitly(cluster: Mesos, listen: Listen) -> None:
    listener = listen(cluster)
    mini = listener.launch("b").is_running()
    agent_id = listener.statuses("b")[0].agent_id
    before = len(listener.statuses("b"))
    listener.connection.call(Reconcile((("b", agent_id), ("gone", agent_id), ("nobody-knows", None))))
    listener.wait(lambda: len(listener.statuses("b")) > before, "the known task is told")
    told = listener.statuses("b")[-1]
    assert (told.state, told.reason, told.uuid) == (
        MesosTaskState.TASK_RUNNING,
        Reason.REASON_RECONCILIATION,
        None,
    )
    listener.wait_for("gone", MesosTaskState.TASK_GONE)  # its agent is there, and does not have it
    assert listener.wait_for("nobody-knows", MesosTaskState.TASK_UNKNOWN).reason is Reason.REASON_RECONCILIATION
    before = len(listener.statuses("b"))
    listener.connection.call(Reconcile(()))
    listener.wait(lambda: len(listener.statuses("b")) > before, "all that Mesos knows is told")
    mini.ends()


def test_a_kill_reaches_the_executor(cluster: Mesos, listen: Listen) -> None:
    listener = listen(cluster)
    mini = listener.launch("c").is_running()
    listener.connection.call(Kill("c", listener.statuses("c")[0].agent_id, grace_s=2.5))
    sandbox = cluster.sandboxes()[-1]
    until(lambda: '["killTask", "c", 2.5]' in (sandbox / "heard").read_text(), "the executor heard of it")
    mini.ends()


def test_no_offers_while_suppressed(cluster: Mesos, listen: Listen) -> None:
    listener = listen(cluster)
    listener.connection.call(Suppress())
    offer = listener.take_offer()
    listener.connection.call(Decline((offer.offer_id,), 0.0))
    framework = listener.of(Subscribed)[0].framework_id

    def offered() -> list[Any]:
        (found,) = [one for one in cluster.state()["frameworks"] if one["id"] == framework]
        return list(found["offers"])

    until(lambda: not offered(), "the offer is back with the master")
    before = len(listener.of(Offers))
    # Whatever the master does for a call comes after what it did for those before it.
    listener.connection.call(Reconcile((("a-mark", None),)))
    listener.wait_for("a-mark", MesosTaskState.TASK_UNKNOWN)
    assert len(listener.of(Offers)) == before
    listener.connection.call(Revive())
    listener.take_offer()


def test_the_master_is_killed_and_comes_back(listen: Listen) -> None:
    with mesos() as cluster:
        listener = listen(cluster)
        mini = listener.launch("d").is_running()
        until(lambda: cluster.has_acknowledged(listener.statuses("d")[-1].raw), "it is acknowledged for good")
        cluster.kill()
        listener.wait(lambda: listener.of(Disconnected), "the loss is told")
        listener.connection.call(Kill("d"))
        listener.wait(lambda: any("call Kill is dropped" in text for text in listener.said), "a lost call is said")
        cluster.start()
        listener.wait(lambda: len(listener.of(Subscribed)) == 2, "it is subscribed again")
        first, second = listener.of(Subscribed)
        assert first.framework_id == second.framework_id
        assert len(listener.of(Disconnected)) == 1
        listener.connection.call(Reconcile((("d", None),)))
        listener.wait(
            lambda: (
                listener.statuses("d")[-1].reason is Reason.REASON_RECONCILIATION
                and listener.statuses("d")[-1].state is MesosTaskState.TASK_RUNNING
            ),
            "the task has lived on",
        )
        mini.ends()
        listener.connection.close()


def test_a_scheduler_that_comes_back_is_the_same_framework(cluster: Mesos, listen: Listen) -> None:
    first = listen(cluster)
    framework_id = first.of(Subscribed)[0].framework_id
    mini = first.launch("e").is_running()
    first.connection.close()
    second = listen(cluster, framework_id=framework_id)
    assert second.of(Subscribed)[0].framework_id == framework_id
    second.connection.call(Reconcile(()))
    second.wait_for("e", MesosTaskState.TASK_RUNNING)
    Mini(second, "e", mini.control).ends()


def test_another_scheduler_takes_the_framework_over(cluster: Mesos, listen: Listen) -> None:
    first = listen(cluster)
    second = listen(cluster, framework_id=first.of(Subscribed)[0].framework_id)
    first.wait(lambda: first.of(MasterError), "the first is told")
    assert "failed over" in first.of(MasterError)[0].message
    second.take_offer()
    assert len(first.of(Subscribed)) == len(second.of(Subscribed)) == 1
    first.connection.call(Revive())
    assert "call Revive is dropped: there is no master" in first.said


def test_a_framework_that_was_removed(cluster: Mesos, listen: Listen) -> None:
    first = listen(cluster)
    framework_id = first.of(Subscribed)[0].framework_id
    first.connection.close()
    link = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=SOON_S)
    link.request("POST", "/master/teardown", f"frameworkId={framework_id}")  # as an operator does
    answer = link.getresponse()
    assert answer.status == 200, answer.read()
    link.close()
    late = Listener(cluster.port, framework_id=framework_id)
    late.wait(lambda: late.of(MasterError), "the operator is told")
    assert "removed" in late.of(MasterError)[0].message
    late.connection.close()


@pytest.mark.slow
def test_a_master_that_says_nothing_is_given_up(listen: Listen) -> None:
    with mesos() as cluster:
        # a master's interval is 15 s for good; five of them are too long for a test
        listener = listen(cluster, settings=SessionSettings(missed_heartbeats=1.2, answer_s=SOON_S))
        mini = listener.launch("g").is_running()
        cluster.pause(lambda: listener.of(Disconnected))
        assert "nothing heard for 18 s" in listener.of(Disconnected)[0].reason
        listener.wait(lambda: len(listener.of(Subscribed)) == 2, "it is subscribed again")
        mini.ends()
        listener.connection.close()


def test_a_wrong_credential_is_said(listen: Listen) -> None:
    with tempfile.TemporaryDirectory() as directory:
        known = Path(directory, "credentials")
        known.write_text(json.dumps({"credentials": [{"principal": "aurora", "secret": "right"}]}))
        with mesos(
            MESOS_CREDENTIALS=str(known),
            MESOS_AUTHENTICATE_HTTP_FRAMEWORKS="true",
            MESOS_HTTP_FRAMEWORK_AUTHENTICATORS="basic",
        ) as cluster:
            wrong = Listener(cluster.port, credential=Credential("aurora", "wrong"))
            wrong.wait(lambda: any("401" in text for text in wrong.said), "the refusal is said")
            assert "framework_authentication_file" in wrong.said[0]
            wrong.connection.close()
            assert wrong.events == []
            listener = listen(cluster, credential=Credential("aurora", "right"))
            listener.launch("f").is_running().ends()
            listener.connection.close()


def test_a_list_of_masters_of_which_one_is_there(cluster: Mesos, listen: Listen) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # refuses
        nobody = Address("127.0.0.1", silent.getsockname()[1])
        listener = listen(cluster, finder=ListFinder((nobody, Address("127.0.0.1", cluster.port))))
        assert any(f"subscribed with the master at 127.0.0.1:{cluster.port} as" in text for text in listener.said)


@pytest.mark.parametrize("capability", ["MULTI_ROLE", "RESERVATION_REFINEMENT"])
def test_reserved_resources_in_both_forms(listen: Listen, capability: str) -> None:
    with mesos(MESOS_RESOURCES="cpus(web):0.15;cpus(*):2;mem(web):40;mem:1000") as cluster:
        capabilities = [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}, {"type": capability}]
        listener = listen(cluster, framework={"roles": ["web"], "capabilities": capabilities[-3:]})
        mini = listener.launch("reserved").is_running()  # 0.1 and 0.1 cpus, 32 and 32 MB
        (agent,) = cluster.get("/master/slaves")["slaves"]
        until(lambda: cluster.get("/master/slaves")["slaves"][0]["used_resources"]["cpus"] == 0.2, "it is in use")
        offer = listener.take_offer()
        assert [one.value for one in offer.amounts if one.name == "cpus"] == [1.95], agent
        mini.ends()
        listener.connection.close()


def test_a_placed_task_as_mesos_takes_it(cluster: Mesos, listen: Listen) -> None:
    listener = listen(cluster)
    control, command = mini_command()
    executor = ExecutorSettings("AuroraExecutor", Resources(100, 32), {"name": "aurora.task", "command": command})
    settings = Settings(executors=MappingProxyType({executor.name: executor}))
    amounts = (wire.Resource(num_cpus=2.0), wire.Resource(ram_mb=64), wire.Resource(named_port="http"))
    config = wire.TaskConfig(
        job=wire.JobKey("www", "prod", "hello"),
        resources=amounts,
        executor_config=wire.ExecutorConfig("AuroraExecutor", "{}"),
        metadata=(wire.Metadata("team", "blue"),),
    )
    offer = listener.take_offer()
    placed = Task(
        "www-prod-hello-0-1", 0, config_of(config), ScheduleStatus.ASSIGNED, (TaskEvent(1, ScheduleStatus.ASSIGNED),),
        offer.agent_id, offer.hostname, (("http", 31337),),
    )  # fmt: skip
    info = task_info(placed, offer, settings, has_discovery=True)
    listener.connection.call(Accept((offer.offer_id,), (info,)))
    mini = Mini(listener, placed.task_id, control).is_running()
    (seen,) = [one for each in cluster.state()["frameworks"] for one in each["tasks"] if one["id"] == placed.task_id]
    assert (seen["name"], seen["executor_id"]) == ("www/prod/hello", "thermos-www-prod-hello-0-1")
    assert seen["labels"] == [
        {"key": "org.apache.aurora.tier", "value": "preemptible"},
        {"key": "org.apache.aurora.metadata.team", "value": "blue"},
    ]
    assert seen["discovery"]["name"] == "hello.prod.www"
    assert (seen["resources"]["cpus"], seen["resources"]["ports"]) == (2.0, "[31337-31337]")
    heard = [json.loads(line) for line in (cluster.sandboxes()[-1] / "heard").read_text().splitlines()]
    (data,) = [line[2] for line in heard if line[0] == "launchTask"]  # 2.0 in Thrift is text in UTF-8, as it happens
    assert wire.decode(data.encode()).assigned_ports == {"http": 31337}
    mini.ends()


def test_the_master_as_zookeeper_names_it(cluster: Mesos, listen: Listen) -> None:
    with zookeeper() as server:
        masters = KazooClient(server.hosts, timeout=30.0)
        masters.start(timeout=SOON_S)
        nowhere = {"address": {"ip": "127.0.0.1", "port": free_port()}}
        address = {"address": {"ip": "127.0.0.1", "port": cluster.port}}
        first = masters.create("/mesos/json.info_", json.dumps(nowhere).encode(), sequence=True, makepath=True)
        masters.create("/mesos/json.info_", json.dumps(address).encode(), sequence=True)
        listener = Listener(0, finder=finder_of(f"zk://{server.hosts}/mesos"))
        listener.wait(lambda: listener.said, "the first master does not answer")
        assert listener.events == []
        masters.delete(first)
        listener.wait(lambda: listener.of(Subscribed), "the second one does")
        masters.delete("/mesos/json.info_0000000001")
        masters.create("/mesos/json.info_", json.dumps(nowhere).encode(), sequence=True)
        listener.wait(lambda: listener.of(Disconnected), "the change of leaders ends the subscription")
        assert "leads now" in listener.of(Disconnected)[0].reason
        listener.connection.close()
        masters.stop()
        masters.close()
