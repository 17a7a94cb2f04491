"""The executor on a real Mesos: what the scheduler is told, in which order, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from kazoo.client import KazooClient

from tests.support.box import process, until, with_words
from tests.support.executor import ME, Task, free_port
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from tests.support.zookeeper import zookeeper
from thermos.formats.assigned_task import AssignedTask, ExecutorConfig, JobKey, TaskConfig, encode
from thermos.states import TaskState

pytestmark = pytest.mark.timeout(300)  # the first run on a machine sets Mesos up


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


def sleeper(name: str = "a", **fields: object) -> dict[str, object]:
    return process(name, "exec -a WORD sleep 600", **fields)


def test_a_task_that_ends_well(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("a", "echo hello"))
    task.until("TASK_FINISHED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert (task.sandbox / "sandbox/.logs/a/0/stdout").read_text() == "hello\n"
    task.is_gone()


def test_one_that_fails_says_why(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("web", "echo it is broken >&2; exit 3"))
    status = task.until("TASK_FAILED")
    assert "Process web: exit code 3" in status["message"]
    assert "it is broken" in status["message"]
    assert status["source"] == "SOURCE_EXECUTOR"
    task.is_gone()


def test_a_kill(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper(), process("f", "touch finalized", final=True))
    task.until("TASK_RUNNING")
    framework.kill("t")
    framework.kill("t")
    task.until("TASK_KILLED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    assert (task.sandbox / "sandbox/finalized").exists()
    task.is_gone()


def test_a_kill_with_a_grace_takes_no_longer(cluster: Mesos, framework: Scheduler) -> None:
    stubborn = process("a", "trap '' TERM; exec -a WORD sleep 600")
    task = Task(cluster, framework, stubborn)
    task.until("TASK_RUNNING")
    until(lambda: with_words(task.word), "it runs")
    framework.kill("t", 0.5)
    task.until("TASK_KILLED")
    task.is_gone()


def test_data_that_makes_no_sense(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, data=b"\xff\xfe")
    status = task.until("TASK_FAILED")
    assert "AssignedTask" in status["message"]
    assert status["reason"] == "REASON_TASK_INVALID"
    task.is_gone()


def test_the_original_scheduler_s_bytes(cluster: Mesos, framework: Scheduler) -> None:
    job = {
        "name": "job",
        "role": ME,
        "cluster": "c",
        "environment": "test",
        "task": {"name": "job", "processes": [process("a", "echo {{mesos.instance}} {{thermos.ports[http]}}")]},
    }
    config = TaskConfig(
        job=JobKey(ME, "test", "job"), executor_config=ExecutorConfig("AuroraExecutor", json.dumps(job))
    )
    data = encode(AssignedTask("t", "agent", "localhost", config, {"http": 31005}, 7))
    task = Task(cluster, framework, data=data)
    task.until("TASK_FINISHED")
    assert (task.sandbox / "sandbox/.logs/a/0/stdout").read_text() == "7 31005\n"


def test_running_is_told_when_it_is_healthy(cluster: Mesos, framework: Scheduler) -> None:
    port = free_port()
    slowly = "sleep 0.5; mkdir -p www; echo ok > www/health"
    serve = f"{slowly}; exec -a WORD {sys.executable} -m http.server -b 127.0.0.1 -d www {port}"
    task = Task(cluster, framework, process("web", serve), ports={"health": port})
    status = task.until("TASK_RUNNING")
    assert status["healthy"] is True
    assert status["labels"] == {"labels": [{"key": "org.apache.aurora.executor.health", "value": "checked"}]}
    assert (task.sandbox / "sandbox/www/health").exists()
    framework.kill("t")
    task.until("TASK_KILLED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    task.is_gone()


def test_an_unhealthy_task_fails_without_ever_running(cluster: Mesos, framework: Scheduler) -> None:
    config = {
        "health_checker": {"shell": {"shell_command": "echo it is ill; false"}},
        "initial_interval_secs": 0.2,
        "interval_secs": 0.2,
    }
    task = Task(cluster, framework, sleeper(), health_check_config=config)
    status = task.until("TASK_FAILED")
    assert "it is ill" in status["message"]
    assert task.states == ["TASK_STARTING", "TASK_FAILED"]
    task.is_gone()


def test_when_the_executor_is_killed_its_task_ends_at_once(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper())
    task.until("TASK_RUNNING")
    os.kill(task.executor_pid(), signal.SIGKILL)
    until(lambda: not with_words(task.word), "its processes end")
    until(lambda: task.record().task_state is TaskState.LOST, "it is recorded as LOST")
    status = framework.wait(lambda: framework.of("t")[2:], "Mesos says so")[0]
    assert status["state"] in ("TASK_FAILED", "TASK_LOST", "TASK_GONE")


def test_a_runner_that_died_alone_is_followed_and_nothing_is_told(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("a", "echo once >> log; exec -a WORD sleep 600"))
    task.until("TASK_RUNNING")
    first = task.record().statuses[-1].runner_pid
    os.kill(first, signal.SIGKILL)
    until(lambda: task.record().statuses[-1].runner_pid != first, "another runner goes on")
    framework.kill("t")
    task.until("TASK_KILLED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    assert (task.sandbox / "sandbox/log").read_text() == "once\n"
    task.is_gone()


def test_executor_and_runner_killed_together_leave_nothing(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper())
    task.until("TASK_RUNNING")
    runner = task.record().statuses[-1].runner_pid
    for pid in (task.executor_pid(), runner):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not with_words(task.word), "its processes end")


def test_an_agent_that_is_restarted_finds_its_task_as_it_was(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("a", "echo once >> log; exec -a WORD sleep 600"))
    task.until("TASK_RUNNING")
    executor = task.executor_pid()
    cluster.restart()
    framework.wait(lambda: framework.subscriptions > 1, "the scheduler is subscribed again")
    assert task.executor_pid() == executor
    framework.kill("t")
    task.until("TASK_KILLED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    assert (task.sandbox / "sandbox/log").read_text() == "once\n"
    task.is_gone()


def test_a_task_that_ends_while_the_agent_is_away_is_told_afterwards(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("a", "while [ ! -e go ]; do sleep 0.05; done"))
    task.until("TASK_RUNNING")
    sandbox = task.sandbox
    cluster.kill()
    (sandbox / "sandbox/go").touch()
    until(lambda: task.record().task_state is TaskState.SUCCESS, "the task is over")
    cluster.start()
    task.until("TASK_FINISHED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    task.is_gone()


def test_the_executor_that_is_asked_to_shut_down_ends_its_task(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper())
    agent_id = task.until("TASK_RUNNING")["agent_id"]["value"]
    framework.shutdown("executor-t", agent_id)
    until(lambda: not with_words(task.word), "its processes end")
    task.is_gone()


def test_it_is_asked_to_stop_before_it_is_killed(cluster: Mesos, framework: Scheduler) -> None:
    port = free_port()
    server = (
        "import http.server\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        " def do_GET(s): s.send_response(200); s.end_headers(); s.wfile.write(b'ok')\n"
        " def do_POST(s): open('asked', 'a').write(s.path + chr(10)); s.send_response(200); s.end_headers()\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), H).serve_forever()\n"
    )
    lifecycle = {"http": {"graceful_shutdown_wait_secs": 1, "shutdown_wait_secs": 1}}
    run = f"cat > s.py <<'END'\n{server}END\nexec -a WORD {sys.executable} s.py"
    task = Task(cluster, framework, process("web", run), ports={"health": port}, lifecycle=lifecycle)
    task.until("TASK_RUNNING")
    framework.kill("t")
    task.until("TASK_KILLED")
    assert (task.sandbox / "sandbox/asked").read_text() == "/quitquitquit\n/abortabortabort\n"
    task.is_gone()


def test_it_is_announced_while_it_is_healthy_and_gone_before_it_is_asked_to_stop(
    cluster: Mesos, framework: Scheduler
) -> None:
    with zookeeper() as server:
        reader = KazooClient(server.hosts)
        reader.start(timeout=30)
        path = f"/aurora/{ME}/test/job"

        def members() -> list[str]:
            return reader.get_children(path) if reader.exists(path) else []

        port = free_port()
        sleep = "exec -a WORD sleep 600"
        slowly = {"health_checker": {"shell": {"shell_command": "test -e well"}}, "initial_interval_secs": 600}
        task = Task(
            cluster,
            framework,
            process("web", f"echo {{{{thermos.ports[http]}}}}; {sleep}"),
            ports={"http": port},
            announce={},
            health_check_config=slowly,
            flags=["--announcer-ensemble", server.hosts, "--announcer-hostname", "me"],
        )
        task.until("TASK_STARTING")
        until(lambda: task.record().processes, "it runs")
        assert members() == []
        (task.sandbox / "sandbox/well").touch()
        task.until("TASK_RUNNING")
        until(members, "it is announced")
        (node,) = members()
        member = json.loads(reader.get(f"{path}/{node}")[0])
        assert member["serviceEndpoint"] == {"host": "me", "port": port}
        framework.kill("t")
        task.until("TASK_KILLED")
        assert members() == []
        task.is_gone()
        reader.stop()
        reader.close()


def test_without_an_ensemble_that_answers_the_task_fails_in_time(cluster: Mesos, framework: Scheduler) -> None:
    config = {"initial_interval_secs": 0.5}
    flags = ["--announcer-ensemble", "127.0.0.1:1"]
    task = Task(cluster, framework, sleeper(), announce={}, health_check_config=config, flags=flags)
    status = task.until("TASK_FAILED")
    assert "127.0.0.1:1" in status["message"]
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
    task.is_gone()


def test_it_leaves_pages_that_lead_to_what_lies_around_them(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("web", "echo hello; exit 3"))
    task.until("TASK_FAILED")
    task.is_gone()
    for page in (task.sandbox / "index.html", task.sandbox / "pages/index.html"):
        text = page.read_text()
        assert "FAILED" in text
        assert "exit code 3" in text
        links = [link for link in re.findall(r'href="([^"#]+)"', text) if ":" not in link]
        assert any("process/web.html" in link for link in links)
        assert any(link.endswith("checkpoints/t/runner") for link in links)
        for link in links:
            assert (page.parent / unquote(link)).exists(), f"{page}: {link}"
    assert "hello" in (task.sandbox / "pages/process/web.html").read_text()


def test_pages_of_a_running_task_say_that_it_runs(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, sleeper())
    task.until("TASK_RUNNING")
    top = task.sandbox / "index.html"
    until(lambda: top.exists() and "RUNNING" in top.read_text(), "the page is written")
    framework.kill("t")
    task.until("TASK_KILLED")
    task.is_gone()
    assert "KILLED" in top.read_text()


def test_outside_of_mesos_it_says_what_is_missing(capfd: pytest.CaptureFixture[str]) -> None:
    from thermos.executor.main import main

    environment = {name: value for name, value in os.environ.items() if not name.startswith("MESOS_")}
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        assert main([]) == 2
    assert "MESOS_FRAMEWORK_ID" in capfd.readouterr().err
