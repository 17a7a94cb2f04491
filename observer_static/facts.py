"""What lies on disk about one task, read once, believed as far as it goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from thermos.checkpoints import Finding, TaskReading, is_owned
from thermos.core.state import RunnerState
from thermos.errors import TaskInvalid
from thermos.formats import paths, task_json
from thermos.host.beneath import open_regular
from thermos.schema import Task

#: A task file longer than this is not shown and not believed.
MAX_TASK_FILE_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class TaskFacts:
    """One task as it lies on disk. All of it is what others wrote there."""

    root: str
    task_id: str
    is_active: bool
    state: RunnerState
    #: Its definition, with the ports and the id it runs with; None: not readable.
    task: Task | None
    #: The task file as it is; None: not readable.
    raw: bytes | None
    #: Why the definition could not be read; None: it could.
    trouble: str | None
    findings: tuple[Finding, ...]
    #: Last change of the checkpoint.
    mtime_s: float | None
    #: Whether its runner lives; None: cannot be told.
    has_runner: bool | None
    #: Uid of who alone can have written the checkpoint: how credible it is. None: not to be told.
    author_uid: int | None = None


def read_facts(root: str, task_id: str, is_active: bool, reading: TaskReading | None = None) -> TaskFacts:
    """All there is to know of that task; never raises for what lies on disk.

    *reading*: the task's, from the last time; what it has read is not read again.
    """
    if not _is_file_name(task_id):
        finding = Finding(root, None, "a task whose id is no file name")
        return TaskFacts(
            root, task_id, is_active, RunnerState(), None, None, finding.detail, (finding,), None, None
        )  # fmt: skip
    stream = paths.runner_checkpoint(root, task_id)
    reading = reading if reading is not None else TaskReading(root, task_id)
    checkpoint = reading.read()
    has_runner = is_owned(stream) if is_active else False
    if checkpoint.findings and has_runner:  # its runner may just have been writing
        checkpoint = reading.read()
    raw, task, trouble = _definition(root, task_id, is_active)
    if task is not None:
        task = _bound(task, checkpoint.state)
    return TaskFacts(
        root=root,
        task_id=task_id,
        is_active=is_active,
        state=checkpoint.state,
        task=task,
        raw=raw,
        trouble=trouble,
        findings=tuple(checkpoint.findings),
        mtime_s=checkpoint.mtime_s,
        has_runner=has_runner,
        author_uid=checkpoint.author_uid,
    )


def _is_file_name(task_id: str) -> bool:
    try:
        return len(os.fsencode(task_id)) > 0 and not {"/", "\0"} & set(task_id) and task_id not in (".", "..")
    except UnicodeEncodeError:
        return False


def _definition(root: str, task_id: str, is_active: bool) -> tuple[bytes | None, Task | None, str | None]:
    """(the task file, the task in it, why one of them is missing)."""
    trouble = "the task file is gone"
    order = (paths.ACTIVE, paths.FINISHED) if is_active else (paths.FINISHED, paths.ACTIVE)
    for where in order:
        path = paths.task_path(root, task_id, where)
        try:
            raw = _read(root, path)
        except FileNotFoundError:
            continue
        except OSError as error:
            trouble = f"{path}: {error.strerror or error}"
            continue
        if len(raw) > MAX_TASK_FILE_BYTES:
            return None, None, f"{path}: is longer than {MAX_TASK_FILE_BYTES >> 20} MiB"
        try:
            return raw, task_json.decode(raw, path), None
        except TaskInvalid as error:
            return raw, None, str(error)
        except (ValueError, OverflowError, RecursionError) as error:  # numbers that no number can hold
            return raw, None, f"{path}: {error}"
    return None, None, trouble


def _read(root: str, path: str) -> bytes:
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_regular(root_fd, path[len(root) + 1 :], os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(root_fd)
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_TASK_FILE_BYTES + 1)


def _bound(task: Task, state: RunnerState) -> Task:
    """*task* as it runs: its id, user and ports in their places; as it is where they are not known."""
    header = state.header
    if header is None:
        return task
    try:
        return task_json.bind_thermos(task, header.task_id, header.user or "", header.ports or {})
    except TaskInvalid:
        return task
