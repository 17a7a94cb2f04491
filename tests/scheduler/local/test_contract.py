"""What a scheduler and an executor can rely on: the same of a real Mesos and of the embedded one.

Each expectation was first read off the real one.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.support.box import until
from tests.support.executor import Task
from tests.support.fake_mesos import LocalMesos, local_mesos
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from tests.support.mini_executor import tell
from tests.support.subscription import JSON, PATH, post, stream
from thermos.formats import mesos_v1_scheduler as values
from thermos.host import proc

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]  # the first run on a machine sets Mesos up

EXECUTOR: Final = str(Path(__file__).parents[2] / "support" / "mini_executor.py")
PROJECT: Final = str(Path(__file__).parents[3])
AWARE: Final = [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]
GRACE_S: Final = 1

Cluster = Mesos | LocalMesos
Begin = Callable[..., contextlib.AbstractContextManager[Cluster]]


def begin_real(registration_s: float = 60.0) -> contextlib.AbstractContextManager[Cluster]:
    return mesos(
        MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=f"{GRACE_S}secs",
        MESOS_EXECUTOR_REGISTRATION_TIMEOUT=f"{registration_s:g}secs",
        MESOS_ATTRIBUTES="rack:r1;zone:[1-2,4-5];level:3",
    )


def begin_local(registration_s: float = 60.0) -> contextlib.AbstractContextManager[Cluster]:
    return local_mesos(
        {"executor_shutdown_grace_s": GRACE_S, "executor_registration_timeout_s": registration_s},
        attributes="rack:r1;zone:[1-2,4-5];level:3",
    )


KINDS: Final = {"real": begin_real, "embedded": begin_local}


@pytest.fixture(scope="module", params=KINDS)
def begin(request: pytest.FixtureRequest) -> Begin:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def shared(begin: Begin) -> Iterator[Cluster]:
    with begin() as made:
        yield made


@contextlib.contextmanager
def framework_of(cluster: Cluster, **settings: Any) -> Iterator[Scheduler]:
    """A scheduler; all that it has ends with it."""
    with scheduler(cluster, **settings) as made:
        try:
            yield made
        finally:
            made.failure = None
            with contextlib.suppress(AssertionError, OSError):
                made.call({"type": "TEARDOWN"})
            until(lambda: not executors(cluster, made.framework_id), "its executors are gone")


def executors(cluster: Cluster, framework_id: str | None) -> list[Any]:
    state = cluster.get("/slave(1)/state")
    return [one for found in state["frameworks"] if found["id"] == framework_id for one in found["executors"]]


@pytest.fixture
def framework(shared: Cluster) -> Iterator[Scheduler]:
    with framework_of(shared) as made:
        yield made


class Mini:
    """A task with the mini executor."""

    def __init__(self, framework: Scheduler, task_id: str = "t", **fields: Any) -> None:
        self.framework = framework
        self.task_id = task_id
        self.control = f"mini-{secrets.token_hex(8)}"
        environ = {"MINI_CONTROL": self.control, "PYTHONPATH": PROJECT}
        framework.launch(task_id, [sys.executable, EXECUTOR], environ=environ, **fields)

    def is_running(self) -> Mini:
        self.framework.wait_for(self.task_id, "TASK_RUNNING")
        return self

    def update(self, state: str, **fields: Any) -> None:
        tell(self.control, "update", self.task_id, state, fields)

    def stop(self) -> None:
        tell(self.control, "stop")

    def sandbox(self) -> Path:
        found = [path for path in self.framework.cluster.sandboxes() if path.parts[-3] == f"executor-{self.task_id}"]
        return found[-1]

    def heard(self) -> list[list[Any]]:
        with contextlib.suppress(OSError, IndexError):
            return [json.loads(line) for line in (self.sandbox() / "heard").read_text().splitlines()]
        return []

    def hears(self, *what: Any) -> list[Any]:
        def found() -> list[Any] | None:
            return next((line for line in self.heard() if line[: len(what)] == list(what)), None)

        until(found, lambda: f"{what}; heard: {self.heard()}")
        line = found()
        assert line is not None
        return line

    @property
    def pid(self) -> int:
        return int(self.hears("pid")[1])


def answers(framework: Scheduler, ask: Callable[[], object]) -> list[dict[str, Any]]:
    """The statuses that come of asking; a message that is answered marks their end."""
    before = len(framework.statuses)
    ask()
    marker = f"marker-{secrets.token_hex(4)}"
    body = {"tasks": [{"task_id": {"value": marker}}]}
    framework.call({"type": "RECONCILE", "reconcile": body})
    framework.wait(lambda: framework.of(marker), "the marker is answered")
    return [one for one in framework.statuses[before:] if one["task_id"]["value"] != marker]


def reconcile(framework: Scheduler, *tasks: tuple[str, str | None]) -> list[dict[str, Any]]:
    asked = [
        {"task_id": {"value": task_id}} | ({"agent_id": {"value": agent_id}} if agent_id else {})
        for task_id, agent_id in tasks
    ]
    return answers(framework, lambda: framework.call({"type": "RECONCILE", "reconcile": {"tasks": asked}}))


def essence(status: Mapping[str, Any]) -> tuple[Any, ...]:
    agent = "agent" if "agent_id" in status else None
    return status["state"], status["source"], status.get("reason"), status.get("message"), agent, "uuid" in status


def is_offered(framework: Scheduler, since: int = 0) -> bool:
    return any(event["type"] == "OFFERS" for event in framework.events[since:])


def decline(framework: Scheduler, offer: Mapping[str, Any], refuse_s: float) -> None:
    body = {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": refuse_s}}
    framework.call({"type": "DECLINE", "decline": body})


# -- subscribing -------------------------------------------------------------------------------------------------------


def test_the_first_event_names_the_framework(shared: Cluster, framework: Scheduler) -> None:
    first, *_ = framework.events
    body = first["subscribed"]
    assert first["type"] == "SUBSCRIBED"
    assert body["framework_id"]["value"].endswith(("-0000", "-0001")) or body["framework_id"]["value"][-5] == "-"
    assert body["heartbeat_interval_seconds"] == 15.0
    assert body["master_info"]["address"]["port"] == shared.port
    framework.wait(lambda: any(event["type"] == "HEARTBEAT" for event in framework.events), "a heartbeat comes at once")


def test_another_connection_of_the_same_id_ends_the_first(shared: Cluster) -> None:
    with stream(shared) as first:
        framework_id = first.framework_id = first.read_until("SUBSCRIBED")["subscribed"]["framework_id"]["value"]
        offer = first.read_until("OFFERS")["offers"]["offers"][0]
        with stream(shared, framework_id) as second:
            assert second.read_until("SUBSCRIBED")["subscribed"]["framework_id"]["value"] == framework_id
            assert first.read_until("ERROR")["error"] == {"message": "Framework failed over"}
            assert first.is_ended()
            # What the first was offered is void, and offered anew.
            assert second.read_until("OFFERS")["offers"]["offers"][0]["id"] != offer["id"]
            with pytest.raises(AssertionError, match="400"):
                first.call({"type": "REVIVE"})
            second.call({"type": "TEARDOWN"})
            assert second.is_ended()
        with stream(shared, framework_id) as third:
            assert third.read_until("ERROR")["error"] == {"message": "Framework has been removed"}
            assert third.is_ended()


def test_calls_that_are_refused(shared: Cluster, framework: Scheduler) -> None:
    framework_id = {"value": framework.framework_id}
    headers = {**JSON, "Mesos-Stream-Id": "wrong"}
    revive = {"type": "REVIVE", "framework_id": framework_id}
    status, words = post(shared, revive, headers)
    assert (status, words.startswith("The stream ID 'wrong' included in this request didn't match")) == (400, True)
    missing = 400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"
    assert post(shared, revive) == missing
    assert post(shared, {**revive, "framework_id": {"value": "x"}}, headers) == (400, "Framework cannot be found")
    prefix = "Failed to validate scheduler::Call: "
    assert post(shared, {"type": "REVIVE"}, headers) == (400, f"{prefix}Expecting 'framework_id' to be present")
    assert post(shared, {**revive, "type": "NONSENSE"}, headers) == (400, f"{prefix}Expecting 'type' to be present")
    assert post(shared, {}, headers) == (400, f"{prefix}Expecting 'type' to be present")
    assert post(shared, {**revive, "type": "KILL"}, headers) == (400, f"{prefix}Expecting 'kill' to be present")
    assert post(shared, "no json", headers)[0] == 400
    assert post(shared, revive, {**headers, "Content-Type": "text/html"})[0] == 415
    other = {"type": "SUBSCRIBE", "framework_id": {"value": "x"}, "subscribe": {"framework_info": {"name": "n"}}}
    assert post(shared, other)[0] == 400
    assert post(shared, {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root"}}})[0] == 400


def test_other_requests(shared: Cluster) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    found = {}
    for path in ("/health", "/master/health", "/slave(1)/health", PATH, "/nope", "/master/redirect"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        found[path] = answer.status
    connection.close()
    assert list(found.values()) == [200, 200, 200, 405, 404, 307]
    assert answer.headers["Location"] == f"//127.0.0.1:{shared.port}"


def test_a_framework_that_stays_away_ends(begin: Begin, shared: Cluster) -> None:
    framework = Scheduler(shared, failover_s=0.2)
    mini = Mini(framework).is_running()
    pid = mini.pid
    framework.close()
    until(lambda: not proc.is_alive(pid, None), "its executor is gone")
    with stream(shared, framework.framework_id) as again:
        assert again.read_until("ERROR")["error"] == {"message": "Framework has been removed"}


# -- offers ------------------------------------------------------------------------------------------------------------


def test_an_offer_is_what_the_agent_has(shared: Cluster, framework: Scheduler) -> None:
    offer = framework.take_offer()
    has = {one["name"]: one.get("scalar", {}).get("value") or one["ranges"]["range"] for one in offer["resources"]}
    assert has == {"cpus": 4.0, "mem": 4096.0, "disk": 10000.0, "ports": [{"begin": 31000, "end": 32000}]}
    assert all(one["role"] == "*" and one["allocation_info"] == {"role": "*"} for one in offer["resources"])
    assert offer["allocation_info"] == {"role": "*"}
    assert (offer["hostname"], offer["framework_id"]["value"]) == ("127.0.0.1", framework.framework_id)
    assert offer["url"]["path"] == "/slave(1)" and offer["url"]["address"]["port"] == shared.port
    event = next(event for event in framework.events if event["type"] == "OFFERS")
    read = values.decode_event(json.dumps(event).encode())
    assert isinstance(read, values.Offers)
    assert read.offers[0].attributes == (("rack", "r1"), ("zone", "[1-2, 4-5]"), ("level", "3.0"))


def test_an_offer_is_one_frameworks_alone(shared: Cluster, framework: Scheduler) -> None:
    offer = framework.take_offer()
    with framework_of(shared) as other:
        answers(other, lambda: None)
        assert not is_offered(other)
        decline(framework, offer, 600.0)
        assert other.take_offer()["agent_id"] == offer["agent_id"]


def test_a_framework_without_a_role_is_offered_nothing(shared: Cluster) -> None:
    with framework_of(shared, roles=[]) as nobody, framework_of(shared) as somebody:
        somebody.take_offer()
        answers(nobody, lambda: None)
        assert not is_offered(nobody)


def test_a_declined_offer_comes_again_after_its_time(framework: Scheduler) -> None:
    offer = framework.take_offer()
    decline(framework, offer, 0.3)
    again = framework.take_offer()
    assert again["id"] != offer["id"] and again["resources"] == offer["resources"]


def test_revive_forgets_what_was_declined_and_suppress_ends_offers(framework: Scheduler) -> None:
    offer = framework.take_offer()
    since = len(framework.events)
    decline(framework, offer, 600.0)
    framework.call({"type": "SUPPRESS"})
    framework.call({"type": "REVIVE"})
    offer = framework.take_offer()
    framework.call({"type": "SUPPRESS"})
    since = len(framework.events)
    decline(framework, offer, 0.0)
    for _ in range(10):  # some rounds of allocation
        answers(framework, lambda: time.sleep(0.05))
    assert not is_offered(framework, since)
    framework.call({"type": "REVIVE"})
    framework.take_offer()


def test_what_is_left_of_an_offer_is_another_one(framework: Scheduler) -> None:
    offer = framework.take_offer()
    task = framework.task_info(offer, "t", "sleep 100", ports=[31001])
    framework.accept(offer, [task])
    rest = framework.take_offer()
    has = {one["name"]: one.get("scalar", {}).get("value") or one["ranges"]["range"] for one in rest["resources"]}
    ports = [{"begin": 31000, "end": 31000}, {"begin": 31002, "end": 32000}]
    assert has == {"cpus": 3.8, "mem": 4000.0, "disk": 10000.0, "ports": ports}
    assert rest["executor_ids"] == [{"value": "executor-t"}]


# -- launching ---------------------------------------------------------------------------------------------------------


def test_a_task_from_launch_to_its_end(framework: Scheduler) -> None:
    mini = Mini(framework, data=b"what to do").is_running()
    mini.hears("registered", "executor-t", "tests", "127.0.0.1")
    mini.hears("launchTask", "t", "what to do")
    mini.update("TASK_FINISHED", message="done")
    framework.wait_for("t", "TASK_FINISHED")
    mini.stop()
    started, running, finished = framework.of("t")
    assert [one["state"] for one in framework.of("t")] == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert len({one["uuid"] for one in framework.of("t")}) == 3
    assert running["healthy"] is True and running["message"] == "as told"
    assert started["source"] == finished["source"] == "SOURCE_EXECUTOR"
    assert running["executor_id"] == {"value": "executor-t"}
    container = running["container_status"]["container_id"]["value"]
    assert mini.sandbox().name == container
    assert running["container_status"]["executor_pid"] > 0
    addresses = [{"protocol": "IPv4", "ip_address": "127.0.0.1"}]
    assert running["container_status"]["network_infos"] == [{"ip_addresses": addresses}]

    def failure() -> dict[str, Any] | None:
        return next((event["failure"] for event in framework.events if event["type"] == "FAILURE"), None)

    told = framework.wait(failure, "the executor's end is told")
    assert told == {"agent_id": running["agent_id"], "executor_id": {"value": "executor-t"}, "status": 0}
    assert [essence(one) for one in reconcile(framework, ("t", None))] == [
        ("TASK_UNKNOWN", "SOURCE_MASTER", "REASON_RECONCILIATION", "Reconciliation: Task is unknown", None, False)
    ]


def test_every_event_can_be_read(framework: Scheduler) -> None:
    mini = Mini(framework).is_running()
    os.kill(mini.pid, signal.SIGKILL)
    framework.wait_for("t", "TASK_FAILED")
    framework.reconcile()
    read = [values.decode_event(json.dumps(event).encode()) for event in list(framework.events)]
    assert not any(isinstance(event, values.Unknown) for event in read)
    assert values.Failure in map(type, read)


def test_our_executor_runs_a_task(shared: Cluster, framework: Scheduler) -> None:
    task = Task(shared, framework, {"name": "a", "cmdline": "echo hello; exit 0"})
    task.until("TASK_FINISHED")
    task.is_gone()
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert task.says_each_once()


def test_launches_that_are_wrong(framework: Scheduler) -> None:
    offer = framework.take_offer()

    def wrong(task_id: str, change: Callable[[dict[str, Any]], object], **fields: Any) -> dict[str, Any]:
        nonlocal offer
        task = framework.task_info(offer, task_id, "true", **fields)
        change(task)
        framework.accept(offer, [task])
        status = framework.wait_for(task_id, "TASK_ERROR")
        offer = framework.take_offer()
        assert (status["reason"], status["source"], "uuid" in status) == ("REASON_TASK_INVALID", "SOURCE_MASTER", False)
        return status

    assert "is more than available" in wrong("big", lambda task: None, cpus=100.0)["message"]
    assert "is more than available" in wrong("port", lambda task: None, ports=[5])["message"]
    status = wrong("agent", lambda task: task.update(agent_id={"value": "x"}))
    assert status["message"].startswith("Task uses invalid agent x while agent ")
    assert status["agent_id"] == {"value": "x"}
    wrong("resources", lambda task: task.update(resources=[]))
    framework.accept(offer, [framework.task_info(offer, "t", "sleep 100")])
    offer = framework.take_offer()
    assert wrong("t", lambda task: None)["message"] == "Task has duplicate ID: t"
    message = wrong("other", lambda task: None, executor_id="executor-t")["message"]
    assert message.startswith("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID")


@pytest.mark.parametrize("capabilities, state", [(AWARE, "TASK_DROPPED"), (AWARE[:1], "TASK_LOST")])
def test_an_offer_that_is_not_there_any_more(shared: Cluster, capabilities: Any, state: str) -> None:
    with framework_of(shared, capabilities=capabilities) as framework:
        offer = framework.take_offer()
        decline(framework, offer, 600.0)
        framework.accept(offer, [framework.task_info(offer, "t", "true")])
        status = framework.wait_for("t", state)
        words = f"Task launched with invalid offers: Offer {offer['id']['value']} is no longer valid"
        assert essence(status) == (state, "SOURCE_MASTER", "REASON_INVALID_OFFERS", words, "agent", False)


def test_an_executor_that_cannot_be_started(framework: Scheduler) -> None:
    missing = {"shell": True, "value": "sleep 9", "uris": [{"value": "/nonexistent/file"}]}
    framework.launch("t", "true", executor={"command": missing})
    status = framework.wait_for("t", "TASK_FAILED")
    assert (status["reason"], status["source"]) == ("REASON_CONTAINER_LAUNCH_FAILED", "SOURCE_AGENT")
    assert status["message"].startswith("Failed to launch container: Failed to fetch")


def test_files_are_fetched_and_the_user_is_switched(framework: Scheduler, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    (tmp_path / "tool").write_text("#!/bin/sh\nid -un\n")
    tmp_path.chmod(0o755)
    command = {
        "shell": True,
        "value": "./run > said; ls -A | sort | tr '\\n' ' ' >> said; sleep 100",
        "user": "nobody",
        "uris": [{"value": str(tmp_path / "tool"), "executable": True, "output_file": "run"}],
    }
    framework.launch("t", "true", executor={"command": command})

    def said() -> str:
        found = [path / "said" for path in framework.cluster.sandboxes() if framework.framework_id in path.parts]
        return found[0].read_text() if found and found[0].exists() else ""

    until(lambda: said().endswith("stdout "), lambda: f"it has looked around: {said()}")
    assert said() == "nobody\nrun said stderr stdout "


def test_archives_are_extracted(framework: Scheduler, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("packed")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "in", "from-tar")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as zipped:
        zipped.write(tmp_path / "in" / "file", "from-zip/file")
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        tar.add(tmp_path / "in", "not-extracted")
    uris: list[dict[str, Any]] = [{"value": str(tmp_path / "a.tar.gz")}, {"value": str(tmp_path / "b.zip")}]
    uris.append({"value": str(tmp_path / "c.tar"), "extract": False})
    framework.launch(
        "t", "true", executor={"command": {"shell": True, "value": "touch ready; sleep 100", "uris": uris}}
    )

    def sandbox() -> Path | None:
        found = [path for path in framework.cluster.sandboxes() if framework.framework_id in path.parts]
        return found[0] if found and (found[0] / "ready").exists() else None

    until(sandbox, "it runs")
    box = sandbox()
    assert box is not None
    assert (box / "from-tar" / "file").read_text() == (box / "from-zip" / "file").read_text() == "packed"
    assert (box / "c.tar").is_file() and not (box / "not-extracted").exists()


def test_what_an_executor_finds_in_its_environment(framework: Scheduler) -> None:
    framework.launch("t", "env > environment.new; mv environment.new environment; sleep 100", environ={"OWN": "1"})

    def environment() -> Path | None:
        found = [path for path in framework.cluster.sandboxes() if framework.framework_id in path.parts]
        return found[0] / "environment" if found and (found[0] / "environment").exists() else None

    until(environment, "it is written down")
    path = environment()
    assert path is not None
    found = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    address = f"127.0.0.1:{framework.cluster.port}"
    sandbox = str(path.parent)
    ours = {name: value for name, value in found.items() if name.startswith(("MESOS_", "LIBPROCESS_"))}
    assert ours == {
        "LIBPROCESS_IP": "127.0.0.1",
        "LIBPROCESS_PORT": "0",
        "MESOS_AGENT_ENDPOINT": address,
        "MESOS_CHECKPOINT": "1",
        "MESOS_DIRECTORY": sandbox,
        "MESOS_EXECUTOR_ID": "executor-t",
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": f"{GRACE_S}secs",
        "MESOS_FRAMEWORK_ID": framework.framework_id,
        "MESOS_HTTP_COMMAND_EXECUTOR": "0",
        "MESOS_RECOVERY_TIMEOUT": "15mins",
        "MESOS_SANDBOX": sandbox,
        "MESOS_SLAVE_ID": path.parts[path.parts.index("slaves") + 1],
        "MESOS_SLAVE_PID": f"slave(1)@{address}",
        "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
    }
    assert found["OWN"] == "1" and found["PWD"] == sandbox
    assert os.readlink(path.parents[1] / "latest") == sandbox
    assert path.parts[-9:-1][::2] == ("slaves", "frameworks", "executors", "runs")


# -- statuses ----------------------------------------------------------------------------------------------------------


def test_one_status_at_a_time_until_it_is_acknowledged(shared: Cluster) -> None:
    with framework_of(shared, acknowledges=False) as framework:
        mini = Mini(framework)
        framework.wait_for("t", "TASK_STARTING")
        mini.hears("launchTask", "t")
        mini.update("TASK_FINISHED")
        # What Mesos knows is what it has told, not what waits behind it.
        assert [one["state"] for one in reconcile(framework)] == ["TASK_STARTING"]
        framework.acknowledge({**framework.of("t")[0], "uuid": "pccFl33BSx6hS5Wp3Yq0YA=="})
        assert [one["state"] for one in reconcile(framework)] == ["TASK_STARTING"]
        framework.acknowledge(framework.of("t")[0])
        running = framework.wait_for("t", "TASK_RUNNING")
        framework.acknowledge(running)
        finished = framework.wait_for("t", "TASK_FINISHED")
        assert [one["state"] for one in reconcile(framework)] == ["TASK_FINISHED"]
        assert answers(framework, lambda: framework.kill("t")) == []
        framework.acknowledge(finished)
        until(lambda: reconcile(framework) == [], "it is forgotten")
        mini.stop()


@pytest.mark.slow
def test_a_status_is_told_again_until_it_is_acknowledged(shared: Cluster) -> None:
    with framework_of(shared, acknowledges=False) as framework:
        Mini(framework)
        framework.wait(lambda: len(framework.of("t")) > 1, "it is told again", 20.0)
        first, second = framework.of("t")
        assert first == second


def test_a_status_is_told_to_the_scheduler_that_comes_back(shared: Cluster) -> None:
    framework = Scheduler(shared, acknowledges=False)
    Mini(framework)
    told = framework.wait_for("t", "TASK_STARTING")
    framework.close()
    with stream(shared, framework.framework_id) as again:
        assert again.read_until("UPDATE")["update"]["status"]["uuid"] == told["uuid"]
        again.call({"type": "TEARDOWN"})
    until(lambda: not executors(shared, framework.framework_id), "its executor is gone")


@pytest.mark.parametrize(
    "capabilities, unknown, gone",
    [(AWARE, "TASK_UNKNOWN", "TASK_GONE"), (AWARE[:1], "TASK_LOST", "TASK_LOST")],
)
def test_questions_about_tasks(shared: Cluster, capabilities: Any, unknown: str, gone: str) -> None:
    with framework_of(shared, capabilities=capabilities) as framework:
        agent_id = framework.take_offer()["agent_id"]["value"]
        framework.call({"type": "REVIVE"})
        reason = "SOURCE_MASTER", "REASON_RECONCILIATION"
        is_unknown = unknown, *reason, "Reconciliation: Task is unknown"
        is_gone = gone, *reason, "Reconciliation: Task is unknown to the agent", "agent", False
        assert reconcile(framework) == []
        assert [essence(one) for one in reconcile(framework, ("x", None))] == [(*is_unknown, None, False)]
        assert [essence(one) for one in reconcile(framework, ("x", "y"))] == [(*is_unknown, "agent", False)]
        assert [essence(one) for one in reconcile(framework, ("x", agent_id))] == [is_gone]
        assert [essence(one) for one in answers(framework, lambda: framework.kill("x"))] == [(*is_unknown, None, False)]
        kill = {"task_id": {"value": "x"}, "agent_id": {"value": agent_id}}
        asked = answers(framework, lambda: framework.call({"type": "KILL", "kill": kill}))
        assert [essence(one) for one in asked] == [is_gone]


def test_questions_about_a_task_that_runs(framework: Scheduler) -> None:
    framework.launch("s", "sleep 100")
    decline(framework, framework.take_offer(), 600.0)
    words = "SOURCE_MASTER", "REASON_RECONCILIATION", "Reconciliation: Latest task state", "agent", False
    assert [essence(one) for one in reconcile(framework, ("s", None))] == [("TASK_STAGING", *words)]
    framework.call({"type": "REVIVE"})
    Mini(framework).is_running()
    mini_status = framework.of("t")[-1]
    (running,) = reconcile(framework, ("t", None))
    assert essence(running) == ("TASK_RUNNING", *words)
    assert running["healthy"] is True and running["container_status"] == mini_status["container_status"]
    assert sorted(one["state"] for one in reconcile(framework)) == ["TASK_RUNNING", "TASK_STAGING"]


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_kill_has_a_grace(framework: Scheduler) -> None:
    mini = Mini(framework).is_running()
    framework.kill("t", grace_s=2.5)
    mini.hears("killTask", "t", 2.5)
    mini.update("TASK_KILLED")
    framework.wait_for("t", "TASK_KILLED")


def test_a_kill_before_the_executor_is_there(framework: Scheduler, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    line = f"until [ -e {gate} ]; do sleep 0.05; done; exec {sys.executable} {EXECUTOR}"
    framework.launch("t", line, environ={"MINI_CONTROL": secrets.token_hex(8), "PYTHONPATH": PROJECT})
    until(lambda: executors_of(framework), "its process is being started: a kill before that leaves no executor at all")
    framework.kill("t")
    status = framework.wait_for("t", "TASK_KILLED")
    reason = "REASON_TASK_KILLED_DURING_LAUNCH"
    assert (status["reason"], status["source"], "uuid" in status) == (reason, "SOURCE_AGENT", True)
    gate.touch()
    until(lambda: not executors_of(framework), "the executor is shut down as soon as it is there")
    heard = [path / "heard" for path in framework.cluster.sandboxes() if framework.framework_id in path.parts]
    until(lambda: '["shutdown"]' in heard[0].read_text(), "it heard that")
    assert "launchTask" not in heard[0].read_text()


def executors_of(framework: Scheduler) -> list[Any]:
    assert isinstance(framework.cluster, (Mesos, LocalMesos))
    return executors(framework.cluster, framework.framework_id)


@pytest.mark.parametrize("end, status", [("crash", signal.SIGKILL), ("exit 3", 3 << 8)])
def test_an_executor_that_ends_takes_its_tasks_with_it(framework: Scheduler, end: str, status: int) -> None:
    if end == "crash":
        mini = Mini(framework).is_running()
        os.kill(mini.pid, signal.SIGKILL)
    else:
        framework.launch("t", end)
    told = framework.wait_for("t", "TASK_FAILED")
    assert essence(told) == (
        "TASK_FAILED", "SOURCE_AGENT", "REASON_EXECUTOR_TERMINATED", "Executor terminated", "agent", True,
    )  # fmt: skip
    kinds = [event["type"] for event in framework.events]
    at = kinds.index("FAILURE")
    failure = framework.events[at]["failure"]
    assert failure == {"agent_id": told["agent_id"], "executor_id": {"value": "executor-t"}, "status": status}
    assert framework.events[at + 1]["update"]["status"] == told


def test_an_executor_that_is_shut_down(framework: Scheduler) -> None:
    mini = Mini(framework).is_running()
    framework.shutdown("executor-t", framework.of("t")[0]["agent_id"]["value"])
    mini.hears("shutdown")
    framework.wait_for("t", "TASK_KILLED")
    until(lambda: not executors_of(framework), "the executor is gone")


def test_an_executor_that_does_not_heed_a_shutdown_is_ended_with_its_tree(framework: Scheduler) -> None:
    marker = f"sleep 10{secrets.randbelow(10**6):06}"
    framework.launch("t", f"trap '' TERM; setsid {marker} & wait")
    until(lambda: pids_of(marker), "it runs")
    offer = framework.take_offer()
    framework.shutdown("executor-t", offer["agent_id"]["value"])
    assert framework.wait_for("t", "TASK_FAILED")["message"] == "Executor terminated"
    until(lambda: not pids_of(marker), "nothing of it is left")


def pids_of(line: str) -> list[int]:
    words = line.replace(" ", "\0").encode() + b"\0"
    found = []
    for stat in proc.snapshot():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{stat.pid}/cmdline").read_bytes() == words:
                found.append(stat.pid)
    return found


def test_messages_go_there_and_back(framework: Scheduler) -> None:
    mini = Mini(framework).is_running()
    framework.send("executor-t", framework.of("t")[0]["agent_id"]["value"], b"hello")
    mini.hears("frameworkMessage", "hello")
    framework.wait(lambda: framework.messages == [b"HELLO"], "the answer arrives")


@pytest.mark.slow
def test_an_executor_that_does_not_come_up(begin: Begin) -> None:
    with begin(registration_s=1.0) as cluster, framework_of(cluster) as framework:
        framework.launch("t", "sleep 100")
        status = framework.wait_for("t", "TASK_FAILED")
        assert status["reason"] == "REASON_EXECUTOR_REGISTRATION_TIMEOUT"
        assert status["message"] == "Executor did not register within 1secs"


# -- looking -----------------------------------------------------------------------------------------------------------


def test_a_sandbox_can_be_read(shared: Cluster, framework: Scheduler) -> None:
    mini = Mini(framework).is_running()
    sandbox = mini.sandbox()
    (sandbox / "page").write_text("0123456789")
    path = quote(str(sandbox / "page"))
    assert shared.get(f"/files/read?path={path}&offset=2&length=3") == {"offset": 2, "data": "234"}
    assert shared.get(f"/files/read?path={path}&offset=-1") == {"offset": 10, "data": ""}
    found = {one["path"]: one for one in shared.get(f"/files/browse?path={quote(str(sandbox))}")}
    assert found[str(sandbox / "page")]["size"] == 10
    assert found[str(sandbox / "page")]["mode"] == "-rw-r--r--"
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.request("GET", f"/files/download?path={path}")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"0123456789")
    connection.request("GET", "/files/read?path=/etc/passwd&offset=0")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 404
    connection.close()


def test_the_state_has_what_people_look_for(shared: Cluster, framework: Scheduler) -> None:
    Mini(framework).is_running()
    state = shared.state()
    assert (state["version"], state["activated_slaves"]) == ("1.11.0", 1.0)
    (found,) = [one for one in state["frameworks"] if one["id"] == framework.framework_id]
    assert [(task["id"], task["state"]) for task in found["tasks"]] == [("t", "TASK_RUNNING")]
    assert state["slaves"][0]["resources"]["cpus"] == 4.0


def test_maintenance_is_in_offers_and_asks_to_leave(shared: Cluster, framework: Scheduler) -> None:
    Mini(framework).is_running()
    start = {"nanoseconds": int((time.time() + 3600) * 1e9)}
    window = {
        "machine_ids": [{"hostname": "127.0.0.1", "ip": "127.0.0.1"}],
        "unavailability": {"start": start, "duration": {"nanoseconds": 10**12}},
    }

    def kinds() -> list[str]:
        return [event["type"] for event in framework.events[since:]]

    since = len(framework.events)
    assert post(shared, {"windows": [window]}, JSON, "/master/maintenance/schedule")[0] == 200
    framework.wait(lambda: {"RESCIND", "OFFERS", "INVERSE_OFFERS"} <= set(kinds()), "offers are made anew")
    offers = next(event["offers"]["offers"] for event in framework.events[since:] if event["type"] == "OFFERS")
    assert offers[0]["unavailability"] == window["unavailability"]
    since = len(framework.events)
    assert post(shared, {"windows": []}, JSON, "/master/maintenance/schedule")[0] == 200
    framework.wait(lambda: {"RESCIND", "OFFERS", "RESCIND_INVERSE_OFFER"} <= set(kinds()), "and without it again")


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_tasks_and_ids_outlive_a_crash(begin: Begin) -> None:
    with begin() as cluster, framework_of(cluster) as framework:
        mini = Mini(framework).is_running()
        framework.settle()
        framework_id, pid = framework.framework_id, mini.pid
        cluster.kill()
        mini.hears("disconnected")
        mini.update("TASK_RUNNING", message="said to nobody")
        cluster.start()
        framework.wait(lambda: framework.subscriptions == 2, "it is subscribed again")
        mini.hears("reregistered")
        framework.wait(
            lambda: any(one.get("message") == "said to nobody" for one in framework.of("t")), "it is told in the end"
        )
        assert framework.framework_id == framework_id
        asked = [one["state"] for one in reconcile(framework) if one["source"] == "SOURCE_MASTER"]
        assert asked == ["TASK_RUNNING"]
        offer = framework.take_offer()
        assert max(one["scalar"]["value"] for one in offer["resources"] if one["name"] == "cpus") == 3.8
        mini.update("TASK_FINISHED")
        framework.wait_for("t", "TASK_FINISHED")
        mini.stop()
        until(lambda: not proc.is_alive(pid, None), "the executor is gone")


def test_an_executor_that_died_while_nobody_looked(begin: Begin) -> None:
    with begin() as cluster, framework_of(cluster) as framework:
        mini = Mini(framework).is_running()
        framework.settle()
        cluster.kill()
        os.kill(mini.pid, signal.SIGKILL)
        cluster.start()
        status = framework.wait_for("t", "TASK_FAILED")
        assert status["source"] == "SOURCE_AGENT"
