"""Forking coordinators: many at once, each held until the record of its fork is durable."""

from __future__ import annotations

import os
import time

from thermos.core.events import Launch, Launched
from thermos.formats.paths import process_log_dir
from thermos.host import cgroup, coordinator, proc
from thermos.host.command import environment, profile_path, shell_argv
from thermos.host.containerizer import knows_launch_info, wrap
from thermos.runner.context import Context
from thermos.schema import Logger, Process


class Launcher:
    """Forks coordinators. One go-pipe serves a batch: a byte for each that may start, end of file for the rest."""

    def __init__(self, context: Context, inherited: list[int]) -> None:
        self._context = context
        self._inherited = inherited  # descriptors of the runner that no coordinator may keep
        self._processes = {process.name: (index, process) for index, process in enumerate(context.task.processes)}
        self._go: tuple[int, int] | None = None
        self._oom_counter: tuple[str, int] | None = None
        containerizer = context.mesos_containerizer
        self._launch_info = containerizer is not None and knows_launch_info(containerizer)
        self._announce_read, self._announce_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @property
    def announce_fd(self) -> int:
        """Readable when a coordinator has written something; four bytes each, its pid."""
        return self._announce_read

    def enter_group(self) -> bool:
        """Whether we are in the task's control group now, made if it was missing: then all we fork is."""
        group = self._context.header.cgroup
        try:
            if group is None or not cgroup.make(group):
                return False
            cgroup.join(group)
        except OSError:
            return False
        return True

    def launch(self, action: Launch) -> Launched:
        """Fork the coordinator of one run. Raises OSError: no pids, no memory, no descriptors."""
        if self._go is None:
            self._go = os.pipe2(os.O_CLOEXEC)
            self._read_oom_counter()
        job = self._job(action)
        fork_time = time.time()
        go_read, go_write = self._go
        pid = os.fork()
        if not pid:
            try:
                os.close(go_write)
                os.close(self._announce_read)
                for fd in self._inherited:
                    os.close(fd)
                coordinator.run(job, go_read, self._announce_write, fork_time)
            finally:
                os._exit(1)
        return Launched(action.process, pid, proc.start_ticks(pid), fork_time)

    def release(self, count: int) -> None:
        """Let *count* coordinators of this batch start; those beyond leave without having done anything."""
        if self._go is None:
            return
        go_read, go_write = self._go
        self._go = None
        os.close(go_read)
        try:
            os.write(go_write, b"g" * count)
        except BrokenPipeError:
            pass  # all of them are dead: they will be reported so
        os.close(go_write)

    def cookie_of(self, process: str) -> bytes:
        """What all that *process* starts carries as its cookie."""
        index, _ = self._processes[process]
        return f"{self._context.cookie}.{index}".encode()

    def _read_oom_counter(self) -> None:
        path = self._context.oom_counter
        count = cgroup.oom_kills(path) if path is not None else None
        self._oom_counter = (path, count) if path is not None and count is not None else None

    def _job(self, action: Launch) -> coordinator.Job:
        context = self._context
        index, process = self._processes[action.process]
        extension = context.task.x_processes.get(process.name)
        user = context.user
        profile = profile_path(context.sandbox_fd, context.container_sandbox)
        home = user.home if context.chroot else context.container_sandbox
        variables = environment(
            user,
            home,
            f"{context.cookie}.{index}",
            context.environment if context.preserve_env else None,
            context.environment.get("PATH"),
            profile,
        )
        argv = shell_argv(process.cmdline)
        credentials = (user.uid, user.gid, user.groups) if user.uid != os.geteuid() else None
        if context.mesos_containerizer is not None:
            argv = wrap(
                context.mesos_containerizer,
                process.cmdline,
                user.name,
                context.container_sandbox,
                self._launch_info,
            )
            credentials = None  # the containerizer changes user itself
        return coordinator.Job(
            process=process.name,
            run=action.run,
            seq=action.seq,
            argv=argv,
            environment=variables,
            checkpoint_dir_fd=context.checkpoint_dir_fd,
            sandbox_fd=context.sandbox_fd,
            log_directory=process_log_dir(context.log_directory, process.name, action.run),
            logger=_logger(process, context.default_logger),
            compress=extension is not None and extension.compress_rotated,
            chroot=context.chroot,
            credentials=credentials,
            signal_mask=context.signal_mask,
            open_files=context.open_files,
            oom_score_adj=context.oom_score_adj,
            oom_counter=self._oom_counter,
            leash_fd=context.leash_fd,
        )


def _logger(process: Process, default: Logger) -> Logger:
    """A process's own logger overrides the runner's flags whole."""
    return process.logger if process.logger is not None else default
