"""What a runner knows about its task and its host, fixed when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from thermos.core.machine import Identity
from thermos.host.command import User
from thermos.records import RunnerHeader
from thermos.runner.home import Home
from thermos.schema import Logger, Task


@dataclass(frozen=True)
class Context:
    """All of it. Descriptors stay open for the runner's life: paths below them may be swapped by others."""

    home: Home
    task: Task
    header: RunnerHeader
    identity: Identity
    user: User
    #: The owner of the checkpoint: what we signal on its word must run as this user, or as the task's.
    owner_uid: int
    sandbox_fd: int
    #: Where the process finds its sandbox: ``/`` in a chroot, a path within an image.
    container_sandbox: str
    log_directory: str  # relative to the sandbox
    chroot: bool
    preserve_env: bool
    default_logger: Logger
    environment: Mapping[str, str]  # of the runner
    open_files: tuple[int, int] | None  # limits before we raised them
    oom_score_adj: str | None  # before we lowered it; None: we did not
    mesos_containerizer: str | None = None
    oom_counter: str | None = None
    leash_fd: int | None = None
    report_fd: int | None = None
    preemption_wait_s: float = 60.0

    @property
    def cookie(self) -> str:
        """What every process of this task carries in its environment."""
        return self.header.cookie or ""
