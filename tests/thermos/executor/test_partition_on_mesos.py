"""An announced task whose ZooKeeper is cut apart: one node in the end, and nothing that the task or Mesos notices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from tests.support.box import process, until, with_words
from tests.support.executor import ME, Task, free_port
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from tests.support.zookeeper import Ensemble, ensemble

PATH = f"/aurora/{ME}/test/job"
#: Elections and the end of sessions on a busy machine.
ELECTED_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


@pytest.fixture
def servers() -> Iterator[Ensemble]:
    with ensemble() as made:
        yield made


def members(reader: Any) -> list[str] | None:
    """The members that a server has once it is up to date; None if it does not say."""
    try:
        reader.sync(PATH)
        return sorted(reader.get_children(PATH))
    except (KazooException, reader.handler.timeout_exception):
        return None


@pytest.mark.timeout(240)
@pytest.mark.parametrize("can_reach_others", [True, False], ids=["of-three", "of-one"])
def test_the_ensemble_is_partitioned(
    cluster: Mesos, framework: Scheduler, servers: Ensemble, can_reach_others: bool
) -> None:
    lonely = servers.of_mode("follower")
    others = ",".join(server.hosts for server in servers.servers if server is not lonely)
    port = free_port()
    task = Task(
        cluster,
        framework,
        process("web", "echo {{thermos.ports[http]}}; exec -a WORD sleep 600"),
        ports={"http": port},
        announce={},
        flags=["--announcer-ensemble", servers.hosts if can_reach_others else lonely.hosts],
    )
    task.until("TASK_RUNNING")
    until(lambda: len(with_words(task.word)) == 1, "the shell has become the process")
    (run,) = with_words(task.word)
    reader = KazooClient(others, timeout=60)
    reader.start(timeout=30)
    try:
        until(lambda: len(members(reader) or ()) == 1, lambda: f"it is announced: {members(reader)}", ELECTED_S)
        before = members(reader)
        with servers.cut_off(lonely):
            until(lambda: not lonely.mode(), "the server that is cut off serves no longer", ELECTED_S)
            left = 1 if can_reach_others else 0
            until(lambda: len(members(reader) or ()) == left, lambda: f"{left} left: {members(reader)}", ELECTED_S)
        until(lonely.mode, "it serves again", ELECTED_S)
        until(lambda: len(members(reader) or ()) == 1, lambda: f"one member: {members(reader)}", ELECTED_S)
        (node,) = reader.get_children(PATH)
        assert ([node] == before) is can_reach_others  # the same session, or another
        assert json.loads(reader.get(f"{PATH}/{node}")[0])["serviceEndpoint"]["port"] == port
        assert with_words(task.word) == [run]
        framework.kill("t")
        task.until("TASK_KILLED")
        assert members(reader) == []
    finally:
        reader.stop()
        reader.close()
    assert task.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    assert task.says_each_once()
    task.is_gone()
