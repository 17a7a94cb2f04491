"""The connection, against a real master with real agents."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from scheduler.core.events import Disconnected, MasterError, MesosEvent
from scheduler.mesos.connection import Credential, MasterConnection
from scheduler.mesos.finder import ListFinder, finder_of
from scheduler.mesos.session import Address, SessionSettings
from scheduler.mesos.task_info import Room
from tests.support.box import SOON_S, until
from tests.support.mesos import Mesos, mesos
from tests.support.mini_executor import tell
from thermos.formats.mesos_v1_scheduler import (
    Accept,
    Acknowledge,
    Decline,
    Kill,
    Offer,
    Offers,
    Reconcile,
    Rescind,
    Revive,
    Status,
    Subscribed,
    Suppress,
    Update,
)
from thermos.mesos import MesosTaskState, Reason, Source

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]  # the first run on a machine sets Mesos up

EXECUTOR = str(Path(__file__).parents[2] / "support" / "mini_executor.py")

T = TypeVar("T")
FRAMEWORK: dict[str, Any] = {
    "user": "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
    "name": "Aurora",
    "checkpoint": True,
    "failover_timeout": 600.0,
    "roles": ["*"],
    "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
}


class Listener:
    """Keeps all that it is told, and acknowledges every status as it comes."""

    def __init__(self, cluster: Mesos, framework_id: str | None = None, **more: Any) -> None:
        self.events: list[MesosEvent] = []
        self.said: list[str] = []
        self.offers: dict[str, Offer] = {}
        framework = {**FRAMEWORK, **({"id": {"value": framework_id}} if framework_id else {})}
        finder = more.pop("finder", None) or finder_of(f"127.0.0.1:{cluster.port}")
        self.connection = MasterConnection(finder, framework, self._take, say=self.said.append, **more)
        self.connection.start()

    def _take(self, event: MesosEvent) -> None:
        if isinstance(event, Offers):
            self.offers.update((offer.offer_id, offer) for offer in event.offers)
        elif isinstance(event, Rescind):
            self.offers.pop(event.offer_id, None)
        elif isinstance(event, Subscribed):
            self.offers.clear()
        elif isinstance(event, Update) and event.status.uuid is not None:
            assert event.status.agent_id is not None
            call = Acknowledge(event.status.agent_id, event.status.task_id, event.status.uuid)
            self.connection.call(call)
        self.events.append(event)

    def of(self, kind: type[T]) -> list[T]:
        return [one for one in list(self.events) if isinstance(one, kind)]

    def statuses(self, task_id: str) -> list[Status]:
        return [one.status for one in self.of(Update) if one.status.task_id == task_id]

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = SOON_S) -> None:
        until(condition, lambda: f"{what}; told was {self.events[-5:]}, said {self.said[-5:]}", timeout_s)

    def wait_for(self, task_id: str, state: MesosTaskState) -> Status:
        self.wait(lambda: any(one.state is state for one in self.statuses(task_id)), f"{task_id} is {state}")
        return next(one for one in self.statuses(task_id) if one.state is state)

    def take_offer(self) -> Offer:
        self.wait(lambda: self.offers, "an offer comes")
        return self.offers.pop(next(iter(self.offers)))

    def launch(self, task_id: str, offer: Offer | None = None) -> Mini:
        """With the mini executor, which does what it is told."""
        offer = offer or self.take_offer()
        control = f"mini-{secrets.token_hex(8)}"
        environ = {"MINI_CONTROL": control, "PYTHONPATH": str(Path(EXECUTOR).parents[2])}
        room = Room(offer)
        info = {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": {"value": offer.agent_id},
            "resources": [*room.take("cpus", 100), *room.take("mem", 32_000)],
            "executor": {
                "type": "CUSTOM",
                "executor_id": {"value": f"executor-{task_id}"},
                "command": {
                    "shell": False,
                    "value": sys.executable,
                    "arguments": [sys.executable, EXECUTOR],
                    "environment": {"variables": [{"name": name, "value": value} for name, value in environ.items()]},
                },
                "resources": [*room.take("cpus", 100), *room.take("mem", 32_000)],
            },
        }
        self.connection.call(Accept((offer.offer_id,), (info,)))
        return Mini(self, task_id, control)


class Mini(NamedTuple):
    """A launched task."""

    listener: Listener
    task_id: str
    control: str

    def is_running(self) -> Mini:
        self.listener.wait_for(self.task_id, MesosTaskState.TASK_RUNNING)
        return self

    def ends(self) -> None:
        tell(self.control, "update", self.task_id, "TASK_FINISHED", {"message": "done"})
        tell(self.control, "stop")
        self.listener.wait_for(self.task_id, MesosTaskState.TASK_FINISHED)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Makes listeners that are subscribed."""
    made: list[Listener] = []

    def listen(cluster: Mesos, **more: Any) -> Listener:
        one = Listener(cluster, **more)
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
        assert not listener.connection.is_subscribed
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
    assert not first.connection.is_subscribed


def test_a_framework_that_was_removed(cluster: Mesos, listen: Listen) -> None:
    first = listen(cluster)
    framework_id = first.of(Subscribed)[0].framework_id
    first.connection.close()
    link = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=SOON_S)
    body = {"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework_id}}}
    link.request("POST", "/master/teardown", f"frameworkId={framework_id}")
    answer = link.getresponse()
    assert (answer.status, body["type"]) == (200, "TEARDOWN"), answer.read()
    link.close()
    late = Listener(cluster, framework_id=framework_id)
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
            wrong = Listener(cluster, credential=Credential("aurora", "wrong"))
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
        assert listener.connection.master == f"127.0.0.1:{cluster.port}"
