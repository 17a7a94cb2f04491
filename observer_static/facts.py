"""What lies on disk about one task, read once, believed as far as it goes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final, NamedTuple

from thermos.checkpoints import Finding, TaskReading, has_owner, is_owned
from thermos.core.state import RunnerState
from thermos.errors import TaskInvalid
from thermos.formats import health_file, paths, task_json
from thermos.formats.health_file import Verdict
from thermos.host.beneath import open_regular
from thermos.schema import Task

#: A task file longer than this is not shown and not believed.
MAX_TASK_FILE_BYTES: Final = 4 << 20


class HealthClaim(NamedTuple):
    """What an executor said last of its task's health."""

    verdict: Verdict
    text: str
    since_s: float | None
    #: Whether that executor lives, so that it still holds; None: cannot be told.
    is_current: bool | None


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
    #: None: no executor has left word of it here.
    health: HealthClaim | None = None


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
        health=read_health(root, task_id, checkpoint.author_uid),
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


def read_health(root: str, task_id: str, author_uid: int | None) -> HealthClaim | None:
    """What lies there of the task's health, if whoever wrote its checkpoint, or root, wrote that too."""
    path = paths.health_file(root, task_id)
    try:
        fd = _open(root, path)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        try:
            info = os.fstat(fd)
            if info.st_nlink != 1 or info.st_mode & stat.S_IWOTH or info.st_uid not in (0, author_uid):
                return None
            data = file.read(health_file.MAX_BYTES + 1)
            return HealthClaim(*health_file.decode(data), has_owner(fd)) if len(data) <= health_file.MAX_BYTES else None
        except (OSError, ValueError):
            return None


def _read(root: str, path: str) -> bytes:
    with os.fdopen(_open(root, path), "rb") as file:
        return file.read(MAX_TASK_FILE_BYTES + 1)


def _open(root: str, path: str) -> int:
    """The regular file *path* below *root*; no link is followed. Raises OSError."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_regular(root_fd, path[len(root) + 1 :], os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(root_fd)


def _bound(task: Task, state: RunnerState) -> Task:
    """*task* as it runs: its id, user and ports in their places; as it is where they are not known."""
    header = state.header
    if header is None:
        return task
    try:
        return task_json.bind_thermos(task, header.task_id, header.user or "", header.ports or {})
    except TaskInvalid:
        return task
