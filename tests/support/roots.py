"""Checkpoint roots made by hand, as runners make them: directories, task files, streams that grow."""

from __future__ import annotations

from pathlib import Path

from tests.thermos.cli.command import START_MS, header
from thermos.formats import checkpoint, paths
from thermos.records import Record, TaskStatus
from thermos.states import TaskState

ACTIVE = TaskStatus(TaskState.ACTIVE, START_MS, 41, 0)


def sandbox(work_dir: Path, executor: str, run: str = "r0", first: str = "slaves") -> Path:
    """The sandbox of a run, as a Mesos agent makes it, and the link to the newest one."""
    runs = work_dir / first / "S0" / "frameworks" / "F0" / "executors" / executor / "runs"
    (runs / run).mkdir(parents=True)
    latest = runs / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(runs / run)
    return runs / run


def make_root(root: Path) -> Path:
    """The directories of a root."""
    for where in (paths.ACTIVE, paths.FINISHED):
        Path(paths.task_dir(str(root), where)).mkdir(parents=True, exist_ok=True)
    (root / paths.CHECKPOINTS).mkdir(exist_ok=True)
    return root


def stream(root: Path, task_id: str) -> Path:
    """The runner's stream."""
    return Path(paths.runner_checkpoint(str(root), task_id))


def task_file(root: Path, task_id: str, where: str = paths.ACTIVE) -> Path:
    return Path(paths.task_path(str(root), task_id, where))


def add_task(root: Path, task_id: str, where: str = paths.ACTIVE) -> Path:
    """A task, in the order in which a runner makes it: its stream first. The stream."""
    make_root(root)
    path = stream(root, task_id)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(checkpoint.encode(header(task_id)))
    task_file(root, task_id, where).write_text("{}")
    return path


def append(root: Path, task_id: str, *records: Record) -> None:
    """Records at the end of the stream, in one write."""
    with stream(root, task_id).open("ab") as file:
        file.write(b"".join(map(checkpoint.encode, records or (ACTIVE,))))


def finish(root: Path, task_id: str) -> None:
    task_file(root, task_id).rename(task_file(root, task_id, paths.FINISHED))
