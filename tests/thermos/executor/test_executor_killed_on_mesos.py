"""kill -9 of agent, executor and runner, alone and together: what the scheduler is told, once and in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import chain, combinations
from typing import Final

import pytest

from tests.support.box import process, until, with_words
from tests.support.executor import Task
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from thermos.host import proc
from thermos.states import TaskState

pytestmark = pytest.mark.timeout(300)

PARTS: Final = ("agent", "executor", "runner")
EVERY_SET: Final = [set(chosen) for chosen in chain.from_iterable(combinations(PARTS, n) for n in (1, 2, 3))]


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


def strike(cluster: Mesos, task: Task, victims: set[str]) -> None:
    """Kill *victims* in one go, those that could react first."""
    executor, runner = task.executor_pid(), task.record().statuses[-1].runner_pid
    if "executor" in victims:
        os.kill(executor, signal.SIGKILL)
    if "runner" in victims:
        os.kill(runner, signal.SIGKILL)
    if "agent" in victims:
        cluster.kill()


@pytest.mark.parametrize("victims", EVERY_SET, ids="+".join)
def test_while_it_runs(victims: set[str], cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("a", "echo once >> log; exec -a WORD sleep 600"))
    task.until("TASK_RUNNING")
    until(lambda: with_words(task.word), "it runs")
    runner = task.record().statuses[-1].runner_pid
    strike(cluster, task, victims)
    if "executor" in victims:
        until(lambda: not with_words(task.word), "its processes end with the executor")
    if "agent" in victims:
        cluster.start()
    if "executor" in victims:
        framework.wait(lambda: set(task.states) & {"TASK_FAILED", "TASK_LOST", "TASK_GONE"}, "Mesos says that it ended")
        assert task.states[:2] == ["TASK_STARTING", "TASK_RUNNING"]
        assert len(task.states) == 3
        return
    if "runner" in victims:
        until(lambda: task.record().statuses[-1].runner_pid != runner, "another runner goes on")
    assert len(with_words(task.word)) == 1
    framework.kill("t")
    task.until("TASK_KILLED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    assert task.says_each_once()
    assert (task.sandbox / "sandbox/log").read_text() == "once\n"
    task.is_gone()


@pytest.mark.parametrize("victims", [{"agent"}, {"runner"}, {"agent", "runner"}], ids="+".join)
def test_while_it_is_being_killed(victims: set[str], cluster: Mesos, framework: Scheduler) -> None:
    final = process("f", "touch finalizing; while [ ! -e go ]; do sleep 0.05; done", final=True)
    task = Task(cluster, framework, process("a", "exec -a WORD sleep 600"), final, task={"finalization_wait": 30})
    task.until("TASK_RUNNING")
    framework.kill("t")
    finalizing, go = task.sandbox / "sandbox/finalizing", task.sandbox / "sandbox/go"
    until(finalizing.exists, "the finalizer runs")
    strike(cluster, task, victims)
    go.touch()
    if "agent" in victims:
        cluster.start()
    task.until("TASK_KILLED")
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    assert task.says_each_once()
    assert task.record().task_state is TaskState.KILLED
    task.is_gone()


def test_a_last_status_that_nobody_acknowledged_comes_once_more_and_only_once(
    cluster: Mesos, framework: Scheduler
) -> None:
    task = Task(cluster, framework, process("a", "while [ ! -e go ]; do sleep 0.05; done; exit 3"))
    task.until("TASK_RUNNING")
    sandbox = task.sandbox
    cluster.kill()
    (sandbox / "sandbox/go").touch()
    until(lambda: task.record().task_state is TaskState.FAILED, "it has failed")
    cluster.start()
    status = task.until("TASK_FAILED")
    assert "exit code 3" in status["message"]
    cluster.restart()
    framework.wait(lambda: framework.subscriptions > 2, "the scheduler is subscribed again")
    framework.reconcile()
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
    assert task.says_each_once()
    task.is_gone()


def test_a_runner_that_takes_its_time_still_records_the_end(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("a", "exec -a WORD sleep 600"))
    task.until("TASK_RUNNING")
    runner = task.record().statuses[-1].runner_pid
    os.kill(runner, signal.SIGSTOP)  # as one that has just been started, or that gets no processor
    os.kill(task.executor_pid(), signal.SIGKILL)
    framework.wait(lambda: set(task.states) & {"TASK_FAILED", "TASK_LOST", "TASK_GONE"}, "Mesos says that it ended")
    # By now the agent has killed all that was the executor's session and group.
    os.kill(runner, signal.SIGCONT)
    until(lambda: not with_words(task.word), "its processes end")
    until(lambda: task.record().task_state is TaskState.LOST, "it is recorded as LOST")


def test_a_runner_that_is_stopped_does_not_keep_a_kill_from_its_end(cluster: Mesos, framework: Scheduler) -> None:
    web = process("a", "trap '' TERM; setsid sleep 600 & exec -a WORD sleep 600")
    task = Task(cluster, framework, web, flags=["--stop_timeout_in_secs=2"])
    task.until("TASK_RUNNING")
    runner = task.record().statuses[-1].runner_pid
    os.kill(runner, signal.SIGSTOP)
    framework.kill("t")
    task.until("TASK_KILLED")
    assert task.record().task_state is TaskState.KILLED
    assert not proc.is_alive(runner, None)
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    task.is_gone()


def test_an_agent_that_stays_away_too_long_loses_its_task() -> None:
    with mesos(MESOS_RECOVERY_TIMEOUT="2secs") as short, scheduler(short) as framework:
        task = Task(short, framework, process("a", "exec -a WORD sleep 600"))
        task.until("TASK_RUNNING")
        until(lambda: with_words(task.word), "it runs")
        short.kill()
        until(lambda: not with_words(task.word), "its executor ends the task")
        until(lambda: task.record().task_state is TaskState.KILLED, "as one that was killed")
        task.is_gone()
