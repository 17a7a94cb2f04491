"""The embedded Mesos as a program has it: started, ended, started again, and what it says no to."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from detectors.roots import MesosPathDetector
from scheduler.local.machine import machine
from scheduler.local.server import start_local
from scheduler.local.store import CannotOpen
from tests.support.box import until, with_words
from tests.support.executor import Task
from tests.support.fake_mesos import LocalMesos, local_mesos
from tests.support.mesos import get_json, scheduler
from tests.support.subscription import Stream, stream
from thermos.host import proc

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


@pytest.fixture
def cluster() -> Iterator[LocalMesos]:
    with local_mesos() as made:
        yield made


def test_it_has_the_machine_and_says_what_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), start_local(tmp_path / "new" / "place") as local:
        state = get_json(local.port, "/master/state")
        assert local.url == f"http://127.0.0.1:{local.port}"
        assert state["slaves"][0]["resources"]["cpus"] == len(os.sched_getaffinity(0))
        assert state["slaves"][0]["attributes"] == {"host": "127.0.0.1", "rack": "local"}
        assert local.failure is None
    assert "Mesos of one machine" in caplog.text and "zk://" in caplog.text and local.url in caplog.text
    assert machine("/").scalars_milli["mem"] > 0


def test_one_directory_is_for_one(tmp_path: Path) -> None:
    with start_local(tmp_path), pytest.raises(CannotOpen, match="is in use by another scheduler"):
        start_local(tmp_path)
    start_local(tmp_path).close()


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotOpen, match="cannot listen on"):
            start_local(tmp_path, port=taken.getsockname()[1])
    with pytest.raises(ValueError, match="should be like"):
        start_local(tmp_path, resources="many")
    start_local(tmp_path).close()
    database = sqlite3.connect(tmp_path / "local-mesos" / "mesos.sqlite")
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(CannotOpen, match="another version"):
        start_local(tmp_path)


def test_it_serves_no_more_when_it_can_write_nothing_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start_local(tmp_path) as local, stream(local) as scheduler_of_before:
        scheduler_of_before.read_until("SUBSCRIBED")
        database = sqlite3.connect(tmp_path / "local-mesos" / "mesos.sqlite")
        database.execute("DROP TABLE kept")
        database.close()
        with stream(local) as another:
            assert another.is_ended() and not another.events
        assert scheduler_of_before.is_ended()
        until(lambda: local.failure, "its failure is known")
        with pytest.raises(ConnectionRefusedError):
            Stream(local)
    assert "the Mesos of this machine has failed" in caplog.text


def test_a_port_that_is_taken_meanwhile_is_another_one(tmp_path: Path) -> None:
    with start_local(tmp_path) as local:
        port = local.port
    with start_local(tmp_path) as again:
        assert again.port == port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with start_local(tmp_path) as moved:
            assert moved.port != port


def test_an_agent_without_tasks_can_become_another(tmp_path: Path) -> None:
    with start_local(tmp_path, resources="cpus:1;mem:100") as local:
        before = get_json(local.port, "/master/state")["slaves"]
    with start_local(tmp_path, resources="cpus:2;mem:100", attributes="rack:other") as local:
        (after,) = get_json(local.port, "/master/state")["slaves"]
    assert before[0]["id"] == after["id"]
    assert (after["resources"]["cpus"], after["attributes"]) == (2.0, {"rack": "other"})


def test_a_task_goes_on_while_the_program_is_started_again(cluster: LocalMesos, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with scheduler(cluster) as framework:
        task = Task(cluster, framework, {"name": "a", "cmdline": f"until [ -e {gate} ]; do sleep 0.1; done # WORD"})
        task.until("TASK_RUNNING")
        framework.settle()
        pid = task.executor_pid()
        cluster.stop()
        assert proc.is_alive(pid, None)
        cluster.options["resources"] = "cpus:1"
        cluster.start()
        framework.wait(lambda: framework.subscriptions == 2, "the scheduler is back")
        assert "keeps the resources" in cluster.log()
        gate.touch()
        task.until("TASK_FINISHED")
        task.is_gone()
        assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


_AS_NOBODY: Final = """
import encodings.idna, http.client, json, os, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
port, sandbox = int(sys.argv[1]), sys.argv[2]
info = {"user": "root", "name": "intruder"}
for method, path, body in [
    ("POST", "/api/v1/scheduler", {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}),
    ("POST", "/maintenance/schedule", {"windows": []}),
    ("POST", "/slave(1)/api/v1/executor", json.loads(sys.argv[3])),
    ("GET", "/files/browse?path=" + sandbox, None),
    ("GET", "/master/state", None),
]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    print(connection.getresponse().status)
    connection.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_has_no_say(cluster: LocalMesos) -> None:
    with scheduler(cluster) as framework:
        framework.launch("t", "sleep 1000")
        until(lambda: any((path / "stdout").exists() for path in cluster.sandboxes()), "it is started")
        (sandbox,) = cluster.sandboxes()
        ids = {"executor_id": {"value": "executor-t"}, "framework_id": {"value": framework.framework_id}}
        subscribe = {"type": "SUBSCRIBE", "subscribe": {}, **ids}
        words = [sys.executable, "-c", _AS_NOBODY, str(cluster.port), str(sandbox), json.dumps(subscribe)]
        ran = subprocess.run(words, capture_output=True, timeout=30)
        assert ran.stdout.split() == [b"403", b"403", b"403", b"403", b"200"], ran.stderr


def test_our_detectors_find_its_tasks(cluster: LocalMesos) -> None:
    with scheduler(cluster) as framework:
        task = Task(cluster, framework, {"name": "a", "cmdline": "sleep 1000 # WORD"})
        task.until("TASK_RUNNING")
        assert MesosPathDetector(str(cluster.work)).get_paths() == [task.root]
        framework.kill("t", grace_s=0.5)
        task.until("TASK_KILLED")
        task.is_gone()


def test_a_crash_before_the_pid_is_written_down(cluster: LocalMesos) -> None:
    """The executor runs, and what is kept does not say where: it is found by its sandbox."""
    with scheduler(cluster) as framework:
        task = Task(cluster, framework, {"name": "a", "cmdline": "sleep 1000 # WORD"})
        task.until("TASK_RUNNING")
        framework.settle()
        pid = task.executor_pid()
        cluster.kill()
        database = sqlite3.connect(cluster.work / "local-mesos" / "mesos.sqlite")
        with database:
            changed = database.execute(
                "UPDATE kept SET content = json_set(content, '$.pid', NULL) WHERE key LIKE '[\"executor\"%'"
            )
            assert changed.rowcount == 1
        database.close()
        cluster.start()
        framework.wait(lambda: framework.subscriptions == 2, "the scheduler is back")
        framework.kill("t", grace_s=0.5)
        task.until("TASK_KILLED")
        until(lambda: not proc.is_alive(pid, None), "the executor has ended")
        task.is_gone()


def test_executors_that_come_too_late_are_ended(tmp_path: Path) -> None:
    with local_mesos({"executor_reregistration_timeout_s": 0.2}) as cluster, scheduler(cluster) as framework:
        line = f"exec {sys.executable} -c 'import time; time.sleep(1000)' {secrets.token_hex(8)}"
        framework.launch("t", line)
        until(lambda: with_words(line.split()[-1]), "it is started")
        cluster.restart()
        status = framework.wait_for("t", "TASK_FAILED")
        assert status["reason"] == "REASON_EXECUTOR_REREGISTRATION_TIMEOUT"
        assert not with_words(line.split()[-1])
