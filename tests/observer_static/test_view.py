"""What the server's threads see of the observer: unchanging, up to date, and no more of it kept than has room."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from pathlib import Path

import pytest

from detectors.watch import TaskKey
from observer_static.view import MAX_KEPT, MAX_KEPT_BYTES
from tests.support.served import Host, a_run
from thermos.formats import paths
from thermos.states import ProcessState

pytestmark = pytest.mark.process


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def key(host: Host, task_id: str = "one") -> TaskKey:
    return TaskKey(host.root, task_id)


def test_the_tasks_that_were_told_never_change(host: Host) -> None:
    host.add("one")
    told = host.view.tasks()
    assert host.view.tasks() is told
    host.tasks[key(host, "two")] = True
    assert host.view.tasks() is told  # the loop has not said so yet
    host.view.changed()
    assert host.view.tasks() == {key(host): False, key(host, "two"): True}
    assert told == {key(host): False}


def test_facts_are_read_again_when_they_changed(host: Host) -> None:
    host.add("one", a_run("p", None), end=None)
    before = host.view.facts(key(host))
    assert host.view.facts(key(host)) is before
    host.add("one", a_run("p"), end=None)
    after = host.view.facts(key(host))
    assert before.state.processes["p"].last.state is ProcessState.RUNNING
    assert after.state.processes["p"].last.state is ProcessState.SUCCESS
    Path(host.root, "tasks/active/one").write_text('{"name": "another", "processes": []}')
    assert getattr(host.view.facts(key(host)).task, "name", None) == "another"
    host.add("one", a_run("p"))
    assert not host.view.facts(key(host)).is_active


def test_facts_of_what_is_not_there(host: Host) -> None:
    host.add("one")
    for odd in ("nobody", "", "..", "a/b", "\0", "\udcff", "x" * 300):
        assert host.view.facts(key(host, odd)).state.header is None


def test_the_death_of_a_runner_changes_no_file_and_is_seen(host: Host) -> None:
    host.add("one", end=None)
    fd = os.open(paths.runner_checkpoint(host.root, "one"), os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        assert host.view.facts(key(host)).has_runner is True
    finally:
        os.close(fd)
    assert host.view.facts(key(host)).has_runner is False


def test_only_so_many_are_kept(host: Host) -> None:
    for number in range(MAX_KEPT + 1):
        host.add(f"task-{number}")
    first = host.view.facts(key(host, "task-0"))
    for number in range(1, MAX_KEPT):
        host.view.facts(key(host, f"task-{number}"))
    assert host.view.facts(key(host, "task-0")) is first  # just so
    host.view.facts(key(host, f"task-{MAX_KEPT}"))
    assert host.view.facts(key(host, "task-0")) is first  # it was used last, another one went
    assert host.view.facts(key(host, "task-1")) is not None
    for number in range(2, MAX_KEPT + 1):
        host.view.facts(key(host, f"task-{number}"))
    assert host.view.facts(key(host, "task-0")) is not first


def test_large_ones_are_not_kept(host: Host) -> None:
    host.add("small")
    host.add("large", definition=b'{"name": "x", "processes": []}' + b" " * MAX_KEPT_BYTES)
    small = host.view.facts(key(host, "small"))
    large = host.view.facts(key(host, "large"))
    assert host.view.facts(key(host, "large")) is not large
    assert host.view.facts(key(host, "small")) is small  # and drive out no others


def test_the_room_for_what_is_kept_is_shared(host: Host) -> None:
    padding = b" " * (MAX_KEPT_BYTES // 3)
    for number in range(4):
        host.add(f"task-{number}", definition=b'{"name": "x", "processes": []}' + padding)
    first, second = host.view.facts(key(host, "task-0")), host.view.facts(key(host, "task-1"))
    host.view.facts(key(host, "task-2"))
    assert host.view.facts(key(host, "task-1")) is second
    assert (
        host.view.facts(key(host, "task-0")) is not first
    )  # three and their checkpoints are more than there is room for


def test_many_threads_ask_while_tasks_come_and_go(host: Host) -> None:
    for number in range(20):
        host.add(f"task-{number}", a_run("p"))
    failures: list[BaseException] = []
    is_over = threading.Event()

    def ask() -> None:
        try:
            while not is_over.is_set():
                for each in host.view.tasks():
                    host.view.facts(each)
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(300):
        host.tasks[key(host, f"more-{number}")] = True
        host.tasks.pop(key(host, f"more-{number - 5}"), None)
        host.view.changed()
    is_over.set()
    for thread in threads:
        thread.join(30)
    assert not failures
