"""Every path under a checkpoint root and under a task's log directory; nothing else knows one.

Layout, from Aurora (``thermos/common/path.py``)::

    ROOT/tasks/active/TASK_ID              the task as JSON; where the file lies says whether the task lives
    ROOT/tasks/finished/TASK_ID
    ROOT/checkpoints/TASK_ID/runner        the runner's stream
    ROOT/checkpoints/TASK_ID/coordinator.PROCESS
    ROOT/checkpoints/TASK_ID/health         ours: what the executor says of its health, see ``health_file.py``
    ROOT/checkpoints/TASK_ID/.new-task     ours: the task file while it is written
    LOG_DIR/PROCESS/RUN/stdout, stderr     and stdout.1 … when rotated, stdout.1.gz when compressed
    SANDBOX/.thermos-sandbox               ours: the marker that names the task this directory was made for
"""

from __future__ import annotations

from typing import Final

from thermos.errors import TaskInvalid

#: Where Aurora keeps its checkpoints.
DEFAULT_ROOT: Final = "/var/run/thermos"
#: Directory of logs within a sandbox.
LOG_DIR_NAME: Final = ".logs"
#: A file in the sandbox that every bash of the task reads first, if it is there.
PROFILE_NAME: Final = ".thermos_profile"
#: Names the task a sandbox directory was made for; data is deleted only where it does.
SANDBOX_MARKER: Final = ".thermos-sandbox"

TASKS: Final = "tasks"
CHECKPOINTS: Final = "checkpoints"
ACTIVE: Final = "active"
FINISHED: Final = "finished"
RUNNER: Final = "runner"
HEALTH: Final = "health"
NEW_TASK: Final = ".new-task"
COORDINATOR_PREFIX: Final = "coordinator."

#: Longest file name of the file systems that matter (``NAME_MAX``).
NAME_MAX_BYTES: Final = 255


def task_dir(root: str, state: str) -> str:
    """Directory of the task files in *state*, ``active`` or ``finished``."""
    return f"{root}/{TASKS}/{state}"


def task_path(root: str, task_id: str, state: str) -> str:
    """The task file of *task_id* while it is in *state*."""
    return f"{root}/{TASKS}/{state}/{task_id}"


def checkpoint_dir(root: str, task_id: str) -> str:
    """Directory of a task's streams."""
    return f"{root}/{CHECKPOINTS}/{task_id}"


def runner_checkpoint(root: str, task_id: str) -> str:
    """The runner's stream."""
    return f"{root}/{CHECKPOINTS}/{task_id}/{RUNNER}"


def health_file(root: str, task_id: str) -> str:
    """What the task's executor says of its health."""
    return f"{root}/{CHECKPOINTS}/{task_id}/{HEALTH}"


def coordinator_name(process: str) -> str:
    """File name of the stream of one process's coordinators."""
    return COORDINATOR_PREFIX + process


def process_checkpoint(root: str, task_id: str, process: str) -> str:
    """The stream that the coordinators of *process* write."""
    return f"{root}/{CHECKPOINTS}/{task_id}/{COORDINATOR_PREFIX}{process}"


def default_log_dir(sandbox: str) -> str:
    """Where logs go unless the header says otherwise."""
    return f"{sandbox}/{LOG_DIR_NAME}"


def process_log_dir(log_dir: str, process: str, run: int) -> str:
    """Directory of the logs of run number *run* of *process*."""
    return f"{log_dir}/{process}/{run}"


def check_task_id(task_id: str) -> str:
    """*task_id*, if it can be a file name that the original's tools list too.

    Raises TaskInvalid. Aurora's detector matches ``\\S+``, so no blanks.
    """
    problems = []
    if not task_id:
        problems.append("a task id may not be empty")
    if "/" in task_id or task_id in (".", ".."):
        problems.append("a task id is a file name: it may not hold '/' nor be '.' or '..'")
    elif task_id.startswith("."):  # hidden: neither the original's tools nor ours would list it
        problems.append("a task id may not start with '.'")
    if any(ch.isspace() or not ch.isprintable() for ch in task_id):
        problems.append("a task id may not hold blanks, line ends or control characters")
    try:
        size = len(task_id.encode())
    except UnicodeEncodeError:
        size = 0
        problems.append("a task id must be valid Unicode")
    if size > NAME_MAX_BYTES:
        problems.append(f"a task id may have {NAME_MAX_BYTES} bytes at most, this one has {size}")
    if problems:
        raise TaskInvalid(f"task id {task_id[:80]!r}", problems)
    return task_id
