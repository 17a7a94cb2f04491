"""The tasks of a root by name, one task read as it grows, and the eight ways a task can come, end and go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import FixedPathDetector
from detectors.tasks import ObserverTaskDetector, TaskDetector, TaskMonitor
from tests.support.roots import ACTIVE, add_task, append, finish, make_root, stream, task_file
from tests.thermos.cli.command import GOLDEN, START_S, header, needs_golden
from thermos.checkpoints import read_task
from thermos.core.state import RunnerState
from thermos.formats import checkpoint
from thermos.records import ProcessStatus, Record
from thermos.states import ProcessState, TaskState


def told(state: RunnerState) -> object:
    """A state as something that can be compared."""
    runs = {
        name: [(run.seq, run.state, run.pid, run.return_code) for run in history.runs]
        for name, history in state.processes.items()
    }
    return state.header, state.statuses, runs, state.notes


def process(seq: int, state: ProcessState, **fields: object) -> ProcessStatus:
    return ProcessStatus(seq, "p", state, **fields)  # type: ignore[arg-type]


WAITING = process(0, ProcessState.WAITING)
FORKED = process(1, ProcessState.FORKED, fork_time=START_S, coordinator_pid=41)
RUNNING = process(2, ProcessState.RUNNING, start_time=START_S, pid=42)
SUCCESS = process(3, ProcessState.SUCCESS, stop_time=START_S + 1, return_code=0)
STORY: list[Record] = [header("t"), ACTIVE, WAITING, FORKED, RUNNING, SUCCESS]


# -- TaskDetector ------------------------------------------------------------------------------------------------------


def test_task_ids(tmp_path: Path) -> None:
    detector = TaskDetector(str(tmp_path))
    assert list(detector.get_task_ids()) == []
    add_task(tmp_path, "a")
    add_task(tmp_path, "b", "finished")
    task_file(tmp_path, ".hidden").touch()
    task_file(tmp_path, "link").symlink_to(task_file(tmp_path, "a"))
    assert list(detector.get_task_ids()) == [("active", "a"), ("finished", "b")]
    assert list(detector.get_task_ids("finished")) == [("finished", "b")]


def test_task_ids_of_a_linked_directory_are_not_listed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    add_task(other, "secret")
    root = make_root(tmp_path / "root")
    shutil.rmtree(root / "tasks")
    (root / "tasks").symlink_to(other / "tasks")
    assert list(TaskDetector(str(root)).get_task_ids()) == []
    (root / "tasks").unlink()
    (root / "tasks").mkdir()
    (root / "tasks" / "active").symlink_to(other / "tasks" / "active")
    assert list(TaskDetector(str(root)).get_task_ids()) == []


def test_runs_logs_and_checkpoints(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for run in ("0", "10", "2", "x", "-1"):
        (logs / "p" / run).mkdir(parents=True)
    (logs / "p" / "0" / "stdout").touch()
    (logs / "p" / "2" / "stderr").touch()
    (logs / "p" / "2" / "stdout.1").touch()
    (logs / "p" / "10" / "stdout").symlink_to("/etc/passwd")
    (logs / "link").symlink_to(logs / "p")
    (logs / "file").touch()
    detector = TaskDetector(str(tmp_path))
    assert list(detector.get_process_runs("t", str(logs))) == [("p", 0), ("p", 2), ("p", 10)]
    assert list(detector.get_process_logs("t", str(logs))) == [f"{logs}/p/0/stdout", f"{logs}/p/2/stderr"]
    assert list(detector.get_process_runs("t", "/nowhere")) == []
    assert list(detector.get_process_runs("t", "/a\0b")) == []
    add_task(tmp_path, "t")
    (tmp_path / "checkpoints" / "t" / "coordinator.p").touch()
    assert detector.get_checkpoint("t") == f"{tmp_path}/checkpoints/t/runner"
    assert list(detector.get_process_checkpoints("t")) == [f"{tmp_path}/checkpoints/t/coordinator.p"]
    assert list(detector.get_process_checkpoints("..")) == []
    assert list(detector.get_process_checkpoints("nosuch")) == []


# -- TaskMonitor -------------------------------------------------------------------------------------------------------


def test_a_task_from_before_its_first_record(tmp_path: Path) -> None:
    monitor = TaskMonitor(str(tmp_path), "t")
    assert (monitor.task_state(), monitor.get_sandbox(), monitor.active, monitor.finished) == (None, None, False, False)
    assert not monitor.refresh()
    add_task(tmp_path, "t")
    assert monitor.refresh()
    assert monitor.get_sandbox() == "/sandboxes/t"
    assert (monitor.active, monitor.finished) == (True, False)
    append(tmp_path, "t", ACTIVE, WAITING, FORKED)
    assert monitor.task_state() is TaskState.ACTIVE
    assert monitor.get_active_processes() == []
    append(tmp_path, "t", RUNNING)
    [(status, run)] = monitor.get_active_processes()
    assert (status.process, status.state, status.pid, status.start_time, run) == (
        "p", ProcessState.RUNNING, 42, START_S, 0,
    )  # fmt: skip
    append(tmp_path, "t", SUCCESS)
    assert monitor.get_active_processes() == []
    finish(tmp_path, "t")
    assert (monitor.active, monitor.finished) == (False, True)
    assert not monitor.refresh()
    assert monitor.findings == []


@given(cuts=st.lists(st.integers(0, 700), max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_growth_is_read_as_the_whole(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("root")
    data = b"".join(map(checkpoint.encode, STORY))
    path = add_task(root, "t")
    path.write_bytes(b"")
    monitor = TaskMonitor(str(root), "t")
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        path.write_bytes(data[:cut])
        monitor.refresh()
        assert told(monitor.get_state()) == told(read_task(str(root), "t").state)
    path.write_bytes(data)
    assert told(monitor.get_state()) == told(read_task(str(root), "t").state)
    assert monitor.findings == []


def test_a_torn_end_that_its_owner_cuts_off(tmp_path: Path) -> None:
    path = add_task(tmp_path, "t")
    sound = path.stat().st_size
    path.write_bytes(path.read_bytes() + checkpoint.encode(ACTIVE)[:-5])
    monitor = TaskMonitor(str(tmp_path), "t")
    assert monitor.task_state() is None
    os.truncate(path, sound)
    append(tmp_path, "t", ACTIVE._replace(runner_pid=99), WAITING)  # longer again before anybody looks
    assert monitor.task_state() is TaskState.ACTIVE
    assert monitor.get_state().statuses[0].runner_pid == 99
    assert list(monitor.get_state().processes) == ["p"]
    assert monitor.findings == []


def test_a_stream_that_is_replaced_truncated_or_gone(tmp_path: Path) -> None:
    path = add_task(tmp_path, "t")
    append(tmp_path, "t", ACTIVE, WAITING)
    monitor = TaskMonitor(str(tmp_path), "t")
    assert list(monitor.get_state().processes) == ["p"]
    new = path.with_name("new")
    new.write_bytes(checkpoint.encode(header("t", sandbox="/other")) + b"".join(map(checkpoint.encode, STORY[1:])))
    new.rename(path)
    assert monitor.get_sandbox() == "/other"
    path.write_bytes(checkpoint.encode(header("t")))
    assert monitor.get_sandbox() == "/sandboxes/t"
    assert monitor.task_state() is None
    path.unlink()
    assert monitor.refresh()
    assert monitor.get_state().header is None
    path.symlink_to("/etc/passwd")
    assert monitor.get_state().header is None
    path.unlink()
    os.mkfifo(path)  # does not block
    assert monitor.get_state().header is None


def test_damage_is_told_and_what_was_before_it_kept(tmp_path: Path) -> None:
    path = add_task(tmp_path, "t")
    append(tmp_path, "t", ACTIVE)
    monitor = TaskMonitor(str(tmp_path), "t")
    monitor.refresh()
    offset = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\0\0\0\4abcd")
    assert monitor.task_state() is TaskState.ACTIVE
    assert [finding.offset for finding in monitor.findings] == [offset]
    append(tmp_path, "t", WAITING)
    assert monitor.get_state().processes == {}
    assert len(monitor.findings) == 1


def test_moves_that_do_not_fit_are_told(tmp_path: Path) -> None:
    add_task(tmp_path, "t")
    append(tmp_path, "t", ACTIVE, WAITING, WAITING, SUCCESS, FORKED)
    monitor = TaskMonitor(str(tmp_path), "t")
    state = monitor.get_state()
    assert state.processes["p"].last.state is ProcessState.WAITING
    assert [finding.detail.split(";")[-1] for finding in monitor.findings] == [
        " skipped", " the rest is not believed",
    ]  # fmt: skip


@pytest.mark.parametrize("task_id", ["..", "a/../../b", "", "a\0b", "x" * 300])
def test_ids_that_lead_elsewhere(tmp_path: Path, task_id: str) -> None:
    make_root(tmp_path / "root")
    (tmp_path / "root" / "runner").write_bytes(checkpoint.encode(header("t")))
    monitor = TaskMonitor(str(tmp_path / "root"), task_id)
    assert monitor.get_state().header is None
    assert not monitor.active


@needs_golden
def test_checkpoints_of_the_original(tmp_path: Path) -> None:
    root = GOLDEN / "root"
    for _, task_id in TaskDetector(str(root)).get_task_ids():
        monitor = TaskMonitor(str(root), task_id)
        assert told(monitor.get_state()) == told(read_task(str(root), task_id).state), task_id
        assert monitor.finished


# -- ObserverTaskDetector ----------------------------------------------------------------------------------------------


class Observer:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.detector = ObserverTaskDetector(
            FixedPathDetector(str(root)),
            on_active=lambda root, task_id: self.calls.append(f"active {task_id}"),
            on_finished=lambda root, task_id: self.calls.append(f"finished {task_id}"),
            on_removed=lambda root, task_id: self.calls.append(f"removed {task_id}"),
        )

    def refresh(self) -> list[str]:
        self.calls.clear()
        self.detector.refresh()
        return self.calls


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    return Observer(make_root(tmp_path))


def put(root: Path, where: str | None) -> None:
    for each in ("active", "finished"):
        task_file(root, "t", each).unlink(missing_ok=True)
    if where is not None:
        task_file(root, "t", where).touch()


@pytest.mark.parametrize(
    "before, after, calls",
    [
        (None, None, []),
        (None, "active", ["active t"]),
        (None, "finished", ["active t", "finished t"]),
        ("active", "active", []),
        ("active", "finished", ["finished t"]),
        ("active", None, ["finished t", "removed t"]),
        ("finished", "finished", []),
        ("finished", None, ["removed t"]),
        ("finished", "active", ["active t"]),  # where the original dies of an assertion
    ],
)
def test_what_is_told_of_a_task(observer: Observer, before: str | None, after: str | None, calls: list[str]) -> None:
    put(observer.root, before)
    observer.refresh()
    put(observer.root, after)
    assert observer.refresh() == calls
    assert observer.refresh() == []
    key = (str(observer.root), "t")
    assert observer.detector.active_tasks == ({key} if after == "active" else set())
    assert observer.detector.finished_tasks == ({key} if after == "finished" else set())


def test_a_task_in_both_places_is_finished(observer: Observer) -> None:
    add_task(observer.root, "t")
    task_file(observer.root, "t", "finished").touch()
    assert observer.refresh() == ["active t", "finished t"]


def test_nobody_need_listen(tmp_path: Path) -> None:
    add_task(tmp_path, "t")
    detector = ObserverTaskDetector(FixedPathDetector(str(tmp_path)))
    detector.refresh()
    assert detector.active_tasks == {(str(tmp_path), "t")}
    assert stream(tmp_path, "t").exists()
