"""Forking coordinators: many at once, each held until the record of its fork is durable."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence

from thermos.core.events import Launch, Launched
from thermos.formats.paths import coordinator_name
from thermos.host import cgroup, coordinator, proc
from thermos.host.containerizer import knows_launch_info
from thermos.host.inherited import ignored_signals
from thermos.host.journal import open_stream
from thermos.host.logs import needs_pump
from thermos.runner.context import Context
from thermos.runner.inbox import Inbox


class Launcher:
    """Forks coordinators. One go-pipe serves a batch: a byte for each that may start, end of file for the rest."""

    def __init__(self, context: Context, inbox: Inbox, signal_fd: int, own_fds: Collection[int]) -> None:
        self._context = context
        self._inbox = inbox
        self._own_fds = own_fds  # descriptors of the runner that no coordinator may keep, at any time
        self._processes = {process.name: (index, process) for index, process in enumerate(context.task.processes)}
        self._go: tuple[int, int] | None = None
        self._oom_counter: tuple[str, int] | None = None
        self._batch_fds: list[int] = []  # of all jobs that are being forked
        self._setup = _setup(context, signal_fd)
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

    def launch(self, actions: Sequence[Launch]) -> tuple[list[Launched], OSError | None]:
        """Fork coordinators, in order, until all are forked or the system refuses: no pids, memory, room.

        Between two forks as little as can be is done: each page that we write to then is one more that the
        coordinators do not share.
        """
        if self._go is None:
            self._go = os.pipe2(os.O_CLOEXEC)
            self._read_oom_counter()
        jobs: list[coordinator.Job] = []
        pids: list[int] = []
        refused: OSError | None = None
        try:
            for action in actions:
                jobs.append(self._job(action))
        except OSError as error:
            refused = error
        self._batch_fds = sorted(fd for job in jobs for fd in _descriptors(job))
        try:
            for job in jobs:
                pid = os.fork()
                if not pid:
                    self._be_coordinator(job, jobs)
                pids.append(pid)
        except OSError as error:
            refused = error
        for fd in self._batch_fds:
            os.close(fd)
        launched = [
            Launched(job.process.name, pid, proc.start_ticks(pid), job.fork_time)
            for job, pid in zip(jobs, pids, strict=False)
        ]
        return launched, refused

    def _be_coordinator(self, job: coordinator.Job, jobs: list[coordinator.Job]) -> None:
        """In the child: give up what is not ours, then live as a coordinator. Never returns."""
        try:
            go_read, go_write = self._go or (0, 0)
            os.close(go_write)
            os.close(self._announce_read)
            for fd in self._own_fds:
                os.close(fd)
            _close_all_but(_descriptors(job), self._batch_fds)
            coordinator.run(job, go_read, self._announce_write)
        finally:
            os._exit(1)

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
        logger = process.logger if process.logger is not None else context.default_logger  # overrides it whole
        compress = extension is not None and extension.compress_rotated
        record_fd = open_stream(coordinator_name(process.name), self._setup.checkpoint_dir_fd)
        try:
            pumped = needs_pump(logger)
            sinks = None if pumped else self._setup.open_sinks(process.name, action.run, logger, compress)
        except OSError:
            os.close(record_fd)
            raise
        return coordinator.Job(
            setup=self._setup,
            process=process,
            number=index,
            run=action.run,
            seq=action.seq,
            record_fd=record_fd,
            record_offset=self._inbox.offset(process.name),
            logger=logger,
            compress=compress,
            sinks=sinks,
            oom_counter=self._oom_counter,
            fork_time=time.time(),
        )


def _descriptors(job: coordinator.Job) -> list[int]:
    """What is open for *job* alone, until its coordinator has it."""
    return [job.record_fd, *(job.sinks.own_fds if job.sinks is not None else ())]


def _close_all_but(kept: list[int], fds: list[int]) -> None:
    """Close *fds*, sorted, except *kept*: by ranges, where nothing else lies between."""
    if fds[-1] - fds[0] + 1 != len(fds):
        for fd in fds:
            if fd not in kept:
                os.close(fd)
        return
    begin = fds[0]
    for fd in sorted(kept):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, fds[-1] + 1)


def _setup(context: Context, signal_fd: int) -> coordinator.Setup:
    containerizer = context.mesos_containerizer
    return coordinator.Setup(
        user=context.user,
        change_user=context.user.uid != os.geteuid(),
        checkpoint_dir_fd=context.home.checkpoint_fd,
        sandbox_fd=context.sandbox_fd,
        container_sandbox=context.container_sandbox,
        log_directory=context.log_directory,
        chroot=context.chroot,
        preserve_env=context.preserve_env,
        environment=context.environment,
        cookie=context.cookie,
        ignored_signals=ignored_signals(),
        signal_fd=signal_fd,
        open_files=context.open_files,
        oom_score_adj=context.oom_score_adj,
        mesos_containerizer=containerizer,
        launch_info=containerizer is not None and knows_launch_info(containerizer),
        leash_fd=context.leash_fd,
    )
