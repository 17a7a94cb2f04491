"""The directories of a task may lie where another user can rename them: root is not led astray."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.box import IS_ROOT, NOBODY, Box, process
from thermos.errors import ExitCode
from thermos.runner.control import kill_task
from thermos.states import TaskState

as_root = pytest.mark.skipif(not IS_ROOT, reason="only root could be led astray")
SLEEP = [process("p", "exec sleep 600")]


def test_directories_that_are_swapped_while_a_task_runs_change_nothing(box: Box, tmp_path: Path) -> None:
    runner = box.start(SLEEP)
    box.until_running("p")
    kept = Path(box.root + "-kept")
    os.rename(box.root, kept)
    for name in ("tasks/active", "tasks/finished", "checkpoints"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tasks/active" / box.task_id).write_text("planted")
    os.symlink(tmp_path, box.root)
    runner.send_signal(signal.SIGUSR1)
    assert box.wait(runner) == 0
    assert (kept / "tasks/finished" / box.task_id).exists()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        f"tasks/active/{box.task_id}"
    ]
    os.unlink(box.root)
    os.rename(kept, box.root)
    assert box.task_state is TaskState.KILLED


@pytest.mark.parametrize("planted", ["tasks", "tasks/finished", "checkpoints", "checkpoints/task"])
def test_a_link_below_the_root_is_refused(box: Box, tmp_path: Path, planted: str) -> None:
    path = Path(box.root, planted)
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path)
    assert box.run(SLEEP) != 0
    assert f"{box.root}/" in box.said()
    assert list(tmp_path.iterdir()) == []


@as_root
@pytest.mark.parametrize("whose", ["tasks/active", "tasks/finished", "checkpoints/task"])
def test_root_works_in_nobody_elses_directories(box: Box, whose: str) -> None:
    path = Path(box.root, whose)
    path.mkdir(parents=True)
    os.chown(path, NOBODY, NOBODY)
    assert box.run(SLEEP) == ExitCode.PERMISSION
    assert f"belongs to uid {NOBODY}" in box.said()
    assert list(path.iterdir()) == []


@as_root
def test_a_root_that_is_another_users_link_is_refused(box: Box, tmp_path: Path) -> None:
    os.symlink(tmp_path, box.root)
    os.lchown(box.root, NOBODY, NOBODY)
    assert box.run(SLEEP) == ExitCode.PERMISSION
    assert "is a link" in box.said()
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_ones_own_link_is_what_it_leads_to(box: Box, tmp_path: Path) -> None:
    os.symlink(tmp_path, box.root)
    assert box.run([process("p", "true")]) == 0
    assert (tmp_path / "tasks/finished" / box.task_id).exists()


def test_a_forced_kill_of_a_task_without_checkpoint_moves_its_file(box: Box) -> None:
    active = Path(box.root, "tasks/active", box.task_id)
    active.parent.mkdir(parents=True)
    active.write_text("{}")
    outcome = kill_task(box.root, box.task_id, force=True)
    assert (outcome.ended, "no checkpoint" in outcome.detail) == (TaskState.LOST, True)
    assert not active.exists()
    assert Path(box.root, "tasks/finished", box.task_id).exists()
