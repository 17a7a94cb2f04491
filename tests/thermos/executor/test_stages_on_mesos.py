"""An end that comes at any stage of a task's life on a real Mesos: one last status, in bounded time, nothing left."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.box import process, until, with_words
from tests.support.executor import COMMAND, ME, Task, free_port
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from thermos.formats.assigned_task import (
    AssignedTask,
    Container,
    DockerImage,
    ExecutorConfig,
    Image,
    JobKey,
    MesosContainer,
    TaskConfig,
    encode,
)

pytestmark = pytest.mark.timeout(300)

TERMINAL: Final = frozenset({"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_GONE", "TASK_ERROR"})
#: How it is ended: by a kill, two of them, one with a short grace, or by a shutdown of the executor.
WAYS: Final = ("kill", "two kills", "kill in haste", "shutdown", "kill and shutdown")


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


def end(task: Task, way: str) -> None:
    framework = task.framework
    if "kill" in way:
        framework.kill("t", 0.5 if "haste" in way else None)
    if "two" in way:
        framework.kill("t")
    if "shutdown" in way:
        framework.shutdown("executor-t", framework.of("t")[0]["agent_id"]["value"])


def last(task: Task) -> dict[str, Any]:
    """The one status that ends it, once nothing of it is left."""

    def terminal() -> list[dict[str, Any]]:
        return [status for status in task.framework.told("t") if status["state"] in TERMINAL]

    task.framework.wait(terminal, "it is over")
    task.is_gone()
    (status,) = terminal()
    return status


def sleeper(**fields: object) -> dict[str, object]:
    return process("a", "exec -a WORD sleep 600", **fields)


# -- While the sandbox is made ----------------------------------------------------------------------------------------


def in_an_image(cluster: Mesos, framework: Scheduler, path: Path) -> Task:
    """A task whose sandbox is never done, for ``mount`` hangs."""
    word = f"thermos-mount-{path.name}"
    programs = path / "bin"
    programs.mkdir()
    for name in ("groupadd", "useradd"):
        (programs / name).write_text("#!/bin/sh\n")
    (programs / "mount").write_text(f"#!/bin/bash\nbash -c 'exec -a {word} sleep 600' & wait\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    job = {
        "name": "job",
        "role": ME,
        "cluster": "c",
        "environment": "test",
        "task": {"name": "job", "processes": [sleeper()]},
    }
    container = Container(mesos=MesosContainer(image=Image(docker=DockerImage("busybox", "latest"))))
    config = TaskConfig(
        job=JobKey(ME, "test", "job"),
        executor_config=ExecutorConfig("AuroraExecutor", json.dumps(job)),
        container=container,
    )
    line = f"mkdir taskfs; exec {shlex.join([*COMMAND, '--mesos-containerizer-path=/bin/true'])}"
    data = encode(AssignedTask("t", "agent", "localhost", config, {}, 0))
    environ = {"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"}
    task = Task(cluster, framework, data=data, command=line, environ=environ)
    task.word = word
    return task


@pytest.mark.parametrize("way", WAYS)
def test_while_the_sandbox_is_made(way: str, cluster: Mesos, framework: Scheduler, tmp_path: Path) -> None:
    task = in_an_image(cluster, framework, tmp_path)
    task.until("TASK_STARTING")
    until(lambda: with_words(task.word), "mount hangs")
    began_s = time.monotonic()
    end(task, way)
    status = last(task)
    assert time.monotonic() - began_s < 15
    assert status["state"] == "TASK_KILLED"
    assert status["reason"] == "REASON_TASK_KILLED_DURING_LAUNCH"
    assert task.states == ["TASK_STARTING", "TASK_KILLED"]


def test_a_mount_that_hangs_ends_with_an_executor_that_is_killed(
    cluster: Mesos, framework: Scheduler, tmp_path: Path
) -> None:
    task = in_an_image(cluster, framework, tmp_path)
    task.until("TASK_STARTING")
    programs = tmp_path / "bin"
    until(lambda: with_words(f"{programs}/mount"), "mount hangs")
    os.kill(task.executor_pid(), signal.SIGKILL)
    until(lambda: not with_words(f"{programs}/mount"), "it ends")


# -- Later ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_as_soon_as_it_starts(way: str, cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper())
    task.until("TASK_STARTING")
    end(task, way)
    assert last(task)["state"] == "TASK_KILLED"


@pytest.mark.parametrize("way", ["kill", "two kills"])
def test_before_the_executor_has_begun(way: str, cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper())
    end(task, way)
    assert last(task)["state"] == "TASK_KILLED"


@pytest.mark.parametrize("way", WAYS)
def test_while_a_check_hangs(way: str, cluster: Mesos, framework: Scheduler) -> None:
    hang = "(setsid bash -c 'exec -a WORD sleep 600' &) ; exec -a WORD sleep 600"
    config = {"health_checker": {"shell": {"shell_command": hang}}, "timeout_secs": 600, "initial_interval_secs": 600}
    task = Task(cluster, framework, sleeper(), health_check_config=config)
    until(lambda: len(with_words(task.word)) > 2, "the task and its check run")
    end(task, way)
    assert last(task)["state"] == "TASK_KILLED"
    assert task.states == ["TASK_STARTING", "TASK_KILLED"]


SERVER: Final = """
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        open("asked", "a").write(self.path + "\\n")
        if self.path not in NEVER: self.send_response(200); self.end_headers()
        else: import time; time.sleep(600)
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), H).serve_forever()
"""


def asked(cluster: Mesos, framework: Scheduler, never: tuple[str, ...] = (), waits_s: float = 600) -> Task:
    port = free_port()
    server = SERVER.replace("PORT", str(port)).replace("NEVER", repr(never))
    run = f"cat > s.py <<'END'\n{server}\nEND\nexec -a WORD {sys.executable} s.py"
    lifecycle = {"http": {"port": "http", "graceful_shutdown_wait_secs": waits_s, "shutdown_wait_secs": waits_s}}
    task = Task(cluster, framework, process("web", run), ports={"http": port}, lifecycle=lifecycle)
    task.until("TASK_RUNNING")
    until(lambda: _listens(port), "it listens")
    return task


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("way", ["kill in haste"])
@pytest.mark.parametrize("request_", ["/quitquitquit", "/abortabortabort"])
def test_in_haste_during_each_request_to_stop(request_: str, way: str, cluster: Mesos, framework: Scheduler) -> None:
    first_s = 600.0 if request_ == "/quitquitquit" else 0.2
    task = asked(cluster, framework, waits_s=first_s) if first_s == 600 else asked_late(cluster, framework)
    framework.kill("t")
    heard = task.sandbox / "sandbox/asked"
    until(lambda: heard.exists() and request_ in heard.read_text(), "it is asked")
    began_s = time.monotonic()
    end(task, way)
    assert last(task)["state"] == "TASK_KILLED"
    assert time.monotonic() - began_s < 20


def asked_late(cluster: Mesos, framework: Scheduler) -> Task:
    """It does not answer the first request, which is given up after a second, and is waited for after the second."""
    return asked(cluster, framework, ("/quitquitquit",))


def test_requests_that_are_never_answered_take_a_second_each(cluster: Mesos, framework: Scheduler) -> None:
    task = asked(cluster, framework, ("/quitquitquit", "/abortabortabort"))
    began_s = time.monotonic()
    end(task, "two kills")
    assert last(task)["state"] == "TASK_KILLED"
    assert time.monotonic() - began_s < 15
    assert (task.sandbox / "sandbox/asked").read_text() == "/quitquitquit\n/abortabortabort\n"
