"""The connection to the agent, on a real Mesos: what the scheduler is told, in which order, how often."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import until
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from tests.support.mini_executor import tell
from thermos.host import proc

pytestmark = pytest.mark.timeout(300)  # the first run on a machine sets Mesos up

EXECUTOR = str(Path(__file__).parents[2] / "support" / "mini_executor.py")


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


class Mini:
    """A task with the mini executor."""

    def __init__(self, cluster: Mesos, framework: Scheduler, task_id: str = "t", **fields: Any) -> None:
        self.cluster = cluster
        self.framework = framework
        self.task_id = task_id
        self.control = f"mini-{secrets.token_hex(8)}"
        environ = {"MINI_CONTROL": self.control, "PYTHONPATH": str(Path(EXECUTOR).parents[2])}
        framework.launch(task_id, [sys.executable, EXECUTOR], environ=environ, **fields)

    def is_running(self) -> Mini:
        self.framework.wait_for(self.task_id, "TASK_RUNNING")
        return self

    def tell(self, *command: Any) -> None:
        tell(self.control, *command)

    def update(self, state: str, **fields: Any) -> None:
        self.tell("update", self.task_id, state, fields)

    def heard(self) -> list[list[Any]]:
        (sandbox,) = self.cluster.sandboxes()
        with contextlib.suppress(OSError):
            return [json.loads(line) for line in (sandbox / "heard").read_text().splitlines()]
        return []

    def hears(self, *what: Any, times: int = 1) -> None:
        def count() -> int:
            return sum(line[: len(what)] == list(what) for line in self.heard())

        until(lambda: count() >= times, lambda: f"{what} {times} times; heard: {self.heard()}")
        assert count() == times

    @property
    def pid(self) -> int:
        return int(next(line[1] for line in self.heard() if line[0] == "pid"))

    def is_gone(self) -> None:
        until(lambda: not self.is_alive(), lambda: f"the executor is gone; it heard {self.heard()}")

    def is_alive(self) -> bool:
        stat = proc.read_stat(self.pid)
        return stat is not None and stat.state not in "ZX"


def test_a_task_from_launch_to_its_end(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework, data=b"what to do").is_running()
        mini.hears("registered", "executor-t", "tests", "127.0.0.1")
        mini.hears("launchTask", "t", "what to do")
        mini.update("TASK_FINISHED", message="done", data=None)
        mini.tell("stop")
        status = framework.wait_for("t", "TASK_FINISHED")
        assert (status["message"], status["source"]) == ("done", "SOURCE_EXECUTOR")
        mini.hears("log", "closed: the executor is done")
        mini.is_gone()
        assert framework.states("t") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
        assert framework.of("t")[1]["healthy"] is True


def test_messages_go_to_the_framework_and_back(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework).is_running()
        agent_id = framework.of("t")[0]["agent_id"]["value"]
        framework.send("executor-t", agent_id, b"hello")
        mini.hears("frameworkMessage", "hello")
        framework.wait(lambda: framework.messages == [b"HELLO"], "the answer arrives")


def test_a_kill_comes_once_with_its_grace_period_and_can_be_hurried(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework, kill_policy={"grace_period": {"nanoseconds": 7_000_000_000}}).is_running()
        framework.kill("t")
        mini.hears("killTask", "t", 7.0)
        framework.kill("t")
        framework.kill("t", 0.5)
        mini.hears("killTask", "t", 0.5)
        mini.hears("killTask", "t", times=2)
        mini.update("TASK_KILLED", message="as asked")
        mini.tell("stop")
        framework.wait_for("t", "TASK_KILLED")
        mini.is_gone()
        assert framework.states("t") == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]


def test_a_shutdown_comes_once_and_its_updates_arrive(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework).is_running()
        framework.shutdown("executor-t", framework.of("t")[0]["agent_id"]["value"])
        status = framework.wait_for("t", "TASK_KILLED")
        assert (status["message"], status["source"]) == ("shut down", "SOURCE_EXECUTOR")
        mini.is_gone()
        mini.hears("shutdown")
        assert framework.states("t") == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]


def test_what_happens_while_the_agent_is_dead_is_told_once_and_in_order(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework).is_running()
        pid = mini.pid
        framework.settle()
        cluster.kill()
        mini.hears("disconnected")
        for number in range(5):
            mini.update("TASK_RUNNING", message=f"{number}")
        mini.update("TASK_FINISHED", message="the last")
        mini.tell("stop")
        cluster.start()
        framework.wait_for("t", "TASK_FINISHED")
        mini.hears("reregistered")
        mini.is_gone()
        assert mini.pid == pid
        told = [(one["state"], one.get("message")) for one in framework.told("t")[2:]]
        assert told == [*(("TASK_RUNNING", f"{number}") for number in range(5)), ("TASK_FINISHED", "the last")]


def test_a_task_outlives_several_restarts_of_its_agent(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework).is_running()
        for number in range(1, 4):
            framework.settle()
            cluster.restart()
            mini.hears("reregistered", times=number)
            mini.update("TASK_RUNNING", message=f"after {number}")
            framework.wait(lambda: framework.of("t")[-1].get("message") == f"after {number}", "it is told")  # noqa: B023
        mini.update("TASK_FINISHED")
        framework.wait_for("t", "TASK_FINISHED")
        assert [one.get("message") for one in framework.told("t")[2:5]] == ["after 1", "after 2", "after 3"]
        assert len(framework.told("t")) == 6
        mini.hears("launchTask")
        mini.hears("disconnected", times=3)


def test_an_update_that_only_the_agent_has_is_not_told_twice(cluster: Mesos) -> None:
    """The agent checkpoints it, acknowledges it and dies before the master knows: it is the agent's to tell."""
    with scheduler(cluster, acknowledges=False) as framework:
        mini = Mini(cluster, framework)
        framework.wait_for("t", "TASK_STARTING")  # RUNNING waits in the agent until this is acknowledged
        mini.update("TASK_FINISHED")
        mini.tell("stop")
        mini.is_gone()
        framework.acknowledges = True
        cluster.restart()
        framework.wait_for("t", "TASK_FINISHED")
        states = [one["state"] for one in framework.told("t")]
        assert states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_an_agent_that_hangs_is_waited_for(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework).is_running()

        def tell_it() -> bool:
            mini.update("TASK_RUNNING", message="while it hung")
            return True

        framework.settle()
        cluster.pause(tell_it)
        framework.wait(lambda: framework.of("t")[-1].get("message") == "while it hung", "it is told")
        assert len(framework.of("t")) == 3


def test_after_a_restart_the_master_knows_the_task_when_it_is_asked(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        mini = Mini(cluster, framework).is_running()
        framework.settle()
        cluster.restart()
        mini.hears("reregistered")
        framework.wait(lambda: framework.subscriptions == 2, "the scheduler is back")
        framework.reconcile()
        answer = framework.wait(lambda: framework.of("t")[2:], "the answer")[0]
        assert (answer["state"], answer["reason"]) == ("TASK_RUNNING", "REASON_RECONCILIATION")


def test_two_tasks_on_one_machine_have_nothing_to_do_with_each_other(cluster: Mesos) -> None:
    with scheduler(cluster) as framework:
        first = Mini(cluster, framework, "first").is_running()
        second = Mini(cluster, framework, "second").is_running()
        framework.settle()
        cluster.kill()
        second.update("TASK_RUNNING", message="of the second")
        first.update("TASK_FINISHED", message="of the first")
        cluster.start()
        framework.wait_for("first", "TASK_FINISHED")
        framework.wait(lambda: len(framework.told("second")) == 3, "the second is told")
        assert framework.told("second")[2]["message"] == "of the second"
        assert [one["state"] for one in framework.told("first")][2:] == ["TASK_FINISHED"]


def test_an_agent_gone_for_too_long_means_shutdown() -> None:
    with mesos(MESOS_RECOVERY_TIMEOUT="2secs") as cluster, scheduler(cluster) as framework:
        mini = Mini(cluster, framework).is_running()
        pid = mini.pid
        cluster.kill()
        began_s = time.monotonic()
        mini.hears("shutdown")
        assert 1.5 < time.monotonic() - began_s < 20
        mini.hears("log", "shutdown: the agent did not come back within 2 s")
        until(lambda: not Path(f"/proc/{pid}").exists(), "the executor is gone")
        mini.hears("log", "closed: updates were not acknowledged in time, TASK_KILLED of task t undelivered")


def test_without_checkpointing_a_lost_agent_means_shutdown_at_once(cluster: Mesos) -> None:
    with scheduler(cluster, checkpoint=False) as framework:
        mini = Mini(cluster, framework).is_running()
        cluster.kill()
        mini.hears("shutdown")
        mini.is_gone()
