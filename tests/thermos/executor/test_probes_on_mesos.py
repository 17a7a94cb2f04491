"""Named probes on a real Mesos and a real ZooKeeper: what the scheduler is told, and who finds the task when."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.support.box import IS_ROOT, NOBODY, process, until, with_words
from tests.support.executor import ME, Task, free_port
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from tests.support.zookeeper import zookeeper

pytestmark = pytest.mark.timeout(300)  # the first run on a machine sets Mesos up

GRPC_SERVER = Path(__file__).parents[2] / "support" / "grpc_server.py"


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


def sleeper(before: str = "true") -> dict[str, object]:
    return process("a", f"{before}; exec -a WORD sleep 600")


def file(name: str, purpose: str, path: str, **fields: Any) -> dict[str, object]:
    """A probe that is well while a file is there."""
    command = {"shell": {"command": f"echo {name} >> asked; test -e {path} || {{ echo no {path}; false; }}"}}
    timing = {"initial_interval_secs": 600, "interval_secs": 0.2, "timeout_secs": 10}
    return {"name": name, "purpose": purpose, **command, **timing, **fields}


def asked(task: Task) -> set[str]:
    path = task.sandbox / "sandbox/asked"
    return set(path.read_text().split()) if path.exists() else set()


def found_vars(task: Task) -> dict[str, Any]:
    path = task.sandbox / "executor_vars.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def test_starting_until_the_startup_probe_has_succeeded_and_nothing_else_is_asked(
    cluster: Mesos, framework: Scheduler
) -> None:
    own = {"health_checker": {"shell": {"shell_command": "echo own >> asked; test -e well"}}}
    task = Task(
        cluster,
        framework,
        sleeper(),
        health_check_config={**own, "initial_interval_secs": 600, "interval_secs": 0.2},
        x_probes=[file("up", "startup", "up"), file("alive", "liveness", "alive")],
    )
    task.until("TASK_STARTING")
    until((task.sandbox / "sandbox/asked").exists, "the startup probe is asked")
    until(lambda: (task.sandbox / "sandbox/asked").read_text().count("up") > 3, "and again")
    assert asked(task) == {"up"}
    assert task.states == ["TASK_STARTING"]
    (task.sandbox / "sandbox/up").touch()
    until(lambda: asked(task) == {"up", "own", "alive"}, "the others are asked")
    (task.sandbox / "sandbox/alive").touch()
    assert task.states == ["TASK_STARTING"]
    (task.sandbox / "sandbox/well").touch()
    assert task.until("TASK_RUNNING")["healthy"] is True
    times = (task.sandbox / "sandbox/asked").read_text().count("up")
    until(lambda: (task.sandbox / "sandbox/asked").read_text().count("own") > 5, "liveness goes on")
    assert (task.sandbox / "sandbox/asked").read_text().count("up") == times
    framework.kill("t")
    task.until("TASK_KILLED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    task.is_gone()


def test_a_startup_probe_that_never_succeeds_ends_the_task(cluster: Mesos, framework: Scheduler) -> None:
    probe = file("up", "startup", "up", initial_interval_secs=0.4, max_consecutive_failures=1)
    task = Task(cluster, framework, sleeper(), x_probes=[probe])
    status = task.until("TASK_FAILED")
    assert "startup probe 'up'" in status["message"]
    assert "no up" in status["message"]
    assert task.states == ["TASK_STARTING", "TASK_FAILED"]
    task.is_gone()


def test_a_liveness_probe_ends_the_task_and_is_named(cluster: Mesos, framework: Scheduler) -> None:
    port = free_port()
    serve = f"exec -a WORD {sys.executable} -m http.server -b 127.0.0.1 {port}"
    timing = {"initial_interval_secs": 0, "interval_secs": 0.2, "timeout_secs": 10}
    probes = [
        {"name": "page", "purpose": "liveness", "http": {"port": "web", "endpoint": "/x"}, **timing},
        {"name": "port", "purpose": "startup", "tcp": {"port": "web"}, **timing, "initial_interval_secs": 60},
    ]
    task = Task(cluster, framework, process("web", f"echo OK > x; {serve}"), ports={"web": port}, x_probes=probes)
    assert task.until("TASK_RUNNING")["healthy"] is True
    (task.sandbox / "sandbox/x").write_text("broken")
    status = task.until("TASK_FAILED")
    assert "liveness probe 'page'" in status["message"]
    assert "'broken' instead of 'ok'" in status["message"]
    assert status["healthy"] is False
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
    task.is_gone()


def test_a_grpc_server_is_asked_and_ends_when_it_does_not_serve(cluster: Mesos, framework: Scheduler) -> None:
    if importlib.util.find_spec("grpc_health") is None:
        pytest.skip("grpcio-health-checking is not installed")
    port = free_port()
    run = f"mkfifo in; sleep 600 > in & exec {sys.executable} {GRPC_SERVER} --port={port} =SERVING WORD=SERVING < in"
    timing = {"grpc": {"port": "rpc"}, "initial_interval_secs": 0, "interval_secs": 0.2, "timeout_secs": 10}
    probes = [
        {"name": "rpc", "purpose": "liveness", **timing},
        {"name": "up", "purpose": "startup", **timing, "initial_interval_secs": 60},
    ]
    task = Task(cluster, framework, process("a", run), ports={"rpc": port}, x_probes=probes)
    task.until("TASK_RUNNING")
    with open(task.sandbox / "sandbox/in", "w") as orders:
        orders.write("=NOT_SERVING\n")
    status = task.until("TASK_FAILED")
    assert "liveness probe 'rpc'" in status["message"]
    assert "NOT_SERVING" in status["message"]
    task.is_gone()


def test_readiness_is_membership_and_mesos_hears_nothing_of_it(cluster: Mesos, framework: Scheduler) -> None:
    with zookeeper() as server:
        reader = KazooClient(server.hosts)
        reader.start(timeout=30)
        path = f"/aurora/{ME}/test/job"

        def members() -> list[str]:
            return reader.get_children(path) if reader.exists(path) else []

        port = free_port()
        task = Task(
            cluster,
            framework,
            sleeper("echo {{thermos.ports[http]}}"),
            ports={"http": port},
            announce={},
            x_probes=[file("warm", "readiness", "warm"), file("idle", "readiness", "idle")],
            flags=["--announcer-ensemble", server.hosts],
        )
        task.until("TASK_RUNNING")
        sandbox = task.sandbox / "sandbox"
        until(lambda: asked(task) == {"warm", "idle"}, "both are asked")
        (sandbox / "warm").touch()
        seen = (sandbox / "asked").read_text().count("warm")
        until(lambda: (sandbox / "asked").read_text().count("warm") > seen + 2, "one of them is ready")
        assert members() == []
        (sandbox / "idle").touch()
        until(members, "both are ready, and it is a member")
        (first,) = members()
        (sandbox / "warm").unlink()
        until(lambda: not members(), "one is not: it is no member")
        log = "Not ready: readiness probe 'warm'"
        until(lambda: any(log in each.read_text() for each in task.sandbox.glob("*.log")), "the log says why")
        page = task.sandbox / "index.html"
        until(lambda: page.exists() and "readiness probe" in page.read_text(), "so does the page")
        (sandbox / "warm").touch()
        until(members, "both are again, and it is a member")
        assert members() != [first]
        framework.kill("t")
        task.until("TASK_KILLED")
        assert members() == []
        assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
        assert task.says_each_once()
        task.is_gone()
        reader.stop()
        reader.close()


def test_snoozed_no_liveness_probe_ends_it(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper("touch alive"), x_probes=[file("alive", "liveness", "alive")])
    task.until("TASK_RUNNING")
    sandbox = task.sandbox / "sandbox"
    (sandbox / ".healthchecksnooze").touch()
    (sandbox / "alive").unlink()
    until(lambda: found_vars(task).get("probe.alive.snoozed") == 1, "the metric says that it is snoozed")
    assert found_vars(task)["probe.alive.checks"] > 5
    assert found_vars(task)["probe.alive.healthy"] == 1
    assert task.states == ["TASK_STARTING", "TASK_RUNNING"]
    framework.kill("t")
    task.until("TASK_KILLED")
    task.is_gone()


@pytest.mark.skipif(not IS_ROOT, reason="running tasks as another user takes root")
def test_a_shell_probe_is_the_task_s_user_and_dies_whole_when_it_takes_too_long(
    cluster: Mesos, framework: Scheduler
) -> None:
    hang = "id -u > who; setsid bash -c 'exec -a WORD-check sleep 600' & exec -a WORD-check sleep 600"
    probe = {
        "name": "slow", "purpose": "liveness", "shell": {"command": hang},
        "initial_interval_secs": 1, "interval_secs": 0.2, "timeout_secs": 1,
    }  # fmt: skip
    task = Task(cluster, framework, sleeper(), role="nobody", x_probes=[probe])
    until(lambda: with_words(f"{task.word}-check"), "the check runs")
    for pid in with_words(f"{task.word}-check"):
        assert os.stat(f"/proc/{pid}").st_uid == NOBODY
    until((task.sandbox / "sandbox/who").exists, "it says who it is")
    status = task.until("TASK_FAILED")
    assert "liveness probe 'slow'" in status["message"]
    assert "did not end within 1 s" in status["message"]
    until(lambda: not with_words(f"{task.word}-check"), "nothing of the check is left")
    assert (task.sandbox / "sandbox/who").read_text() == f"{NOBODY}\n"
    task.is_gone()


def test_probes_that_make_no_sense_are_told_all_at_once(cluster: Mesos, framework: Scheduler) -> None:
    probes = [
        {"name": "a", "purpose": "liveness", "tcp": {"port": "web"}},
        {"name": "a", "purpose": "liveness"},
    ]
    status = Task(cluster, framework, sleeper(), x_probes=probes).until("TASK_FAILED")
    assert status["reason"] == "REASON_TASK_INVALID"
    for word in ("there is no port 'web'", "also the name of", "asks nobody"):
        assert word in status["message"]
