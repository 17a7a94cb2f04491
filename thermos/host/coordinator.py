"""The coordinator: one small process for each run, forked from the runner, that starts a command and waits.

It survives the runner. It waits until its FORKED record is durable (a byte on the go-pipe; end of file: leave,
nothing ran), forks the child that becomes the command, waits, records how it ended, kills what it left behind,
and exits. It is the sub-reaper of its command: nothing below it gets away while it lives.

A node runs thousands of these, and each page that one writes to is its own. So between fork and wait it does as
little as it can: what must be done before the command runs is done by the child, whose pages go when it execs
(:mod:`thermos.host.starter`); what must be done afterwards is done then (:mod:`thermos.host.aftermath`).
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from resource import struct_rusage
from typing import Final, NamedTuple

from thermos.formats.paths import process_log_dir
from thermos.host import aftermath, linux, starter
from thermos.host.command import User
from thermos.host.logs import Sinks
from thermos.host.pumping import Pumping
from thermos.schema import Logger, Process

#: A runner ends its task without finalizers when the executor is gone; 5000 processes take it a few seconds. One that
#: has not ended a run after so long never will.
HUNG_S: Final = 30.0


@dataclass(frozen=True)
class Setup:
    """What all coordinators of a runner share."""

    user: User
    change_user: bool
    checkpoint_dir_fd: int
    sandbox_fd: int
    #: Where the process finds its sandbox: ``/`` in a chroot, a path within an image.
    container_sandbox: str
    log_directory: str  # below the sandbox
    chroot: bool
    preserve_env: bool
    environment: Mapping[str, str]  # of the runner
    cookie: str
    ignored_signals: tuple[int, ...]  # in the runner; the command gets them back as they are by default
    signal_fd: int  # the runner's; reads the signals of whoever reads it
    open_files: tuple[int, int] | None  # limits before the runner raised them
    oom_score_adj: str | None  # before the runner lowered it; None: it did not
    mesos_containerizer: str | None = None
    launch_info: bool = False
    leash_fd: int | None = None

    def open_sinks(self, process: str, run: int, logger: Logger, compress: bool) -> Sinks:
        """Where the output of a run goes, opened."""
        owner = (self.user.uid, self.user.gid) if self.change_user else None
        directory = process_log_dir(self.log_directory, process, run)
        return Sinks(logger, compress, self.sandbox_fd, directory, owner)


class Job(NamedTuple):
    """One run; made by the runner before the fork."""

    setup: Setup
    process: Process
    number: int  # of the process within the task
    run: int
    seq: int  # of FORKED
    record_fd: int
    #: Up to where the runner has read this stream: what lies before is sound.
    record_offset: int
    logger: Logger
    compress: bool
    #: Where output goes, opened by the runner: two hundred children that make directories at once wait for each
    #: other in the file system. None if it must be copied: then the coordinator opens it.
    sinks: Sinks | None
    #: The counter of the kernel's OOM killer that covers us, and what it said before the fork.
    oom_counter: tuple[str, int] | None
    fork_time: float


def run(job: Job, go_fd: int, announce_fd: int) -> None:
    """The whole life of a coordinator, in the forked child. Never returns."""
    status = 1
    try:
        os.setsid()
        linux.become_coordinator()
        if os.read(go_fd, 1):
            os.close(go_fd)
            _supervise(job, announce_fd)
        status = 0
    except OSError as error:
        os.write(2, f"thermos: coordinator of {job.process.name}: {error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _supervise(job: Job, announce_fd: int) -> None:
    pumping = Pumping(job) if job.sinks is None else None
    start_time = time.time()
    own_pid = os.getpid()
    pid = os.fork()
    if not pid:
        starter.become_command(job, pumping, announce_fd, start_time, own_pid)
    os.close(announce_fd)
    if job.sinks is not None:
        for fd in job.sinks.own_fds:
            os.close(fd)
    leash_fd = job.setup.leash_fd
    killed_by = None
    if pumping is not None:
        wait_status, usage, killed_by = pumping.wait(pid)
    elif leash_fd is not None:
        wait_status, usage, killed_by = _wait_on_leash(job.setup.signal_fd, leash_fd, pid)
    else:
        ended = 0
        while ended != pid:  # others are orphans of the command, which became our children
            ended, wait_status, usage = os.wait4(-1, 0)
    aftermath.settle(job, pumping, pid, start_time, wait_status, usage, killed_by)


def _wait_on_leash(signal_fd: int, leash_fd: int, shell: int) -> tuple[int, struct_rusage, str | None]:
    """Wait for the shell; once leash and runner are gone, kill everything. Status, usage, who killed."""
    killed_by = None
    poll = select.poll()
    poll.register(signal_fd, select.POLLIN)
    leash = Leash(leash_fd, poll)
    while True:
        ended = aftermath.reap(shell)
        if ended is not None:
            return *ended, killed_by
        ready = [fd for fd, _ in poll.poll(leash.wait_ms())]
        if signal_fd in ready:
            linux.read_signals(signal_fd)
        if leash.has_nobody(ready):
            killed_by = "the executor died"
            aftermath.kill_children()


class Leash:
    """Tells when neither executor nor runner is left to end a run, so that its coordinator has to.

    A broken leash is the runner's to answer. It may die before it does, though, as whatever killed the executor
    may be killing it as well; or it hangs, or is stopped: then it is killed, and the leash is ours to answer.
    """

    def __init__(self, leash_fd: int, poll: select.poll) -> None:
        self._runner_pid = os.getppid()
        self._leash_fd = leash_fd
        self._runner_fd: int | None = None
        self._deadline_s = 0.0
        self._poll = poll
        poll.register(leash_fd, 0)

    def wait_ms(self) -> float | None:
        """How long to wait for descriptors before ``has_nobody`` is asked again; None: for as long as it takes."""
        return None if self._runner_fd is None else max(0.0, self._deadline_s - time.monotonic()) * 1000

    def has_nobody(self, ready: Collection[int]) -> bool:
        """Whether, and only once, the run is ours to end; *ready* are the descriptors that told something."""
        if self._runner_fd is not None:
            if self._runner_fd not in ready:
                if time.monotonic() < self._deadline_s:
                    return False
                try:
                    signal.pidfd_send_signal(self._runner_fd, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # dead already, as it should be
            self._poll.unregister(self._runner_fd)
            os.close(self._runner_fd)
            self._runner_fd = None
            return True
        if self._leash_fd not in ready:
            return False
        self._poll.unregister(self._leash_fd)
        self._runner_fd = _watch(self._runner_pid)
        if self._runner_fd is None:
            return True
        self._deadline_s = time.monotonic() + HUNG_S
        self._poll.register(self._runner_fd, select.POLLIN)
        return False


def _watch(runner_pid: int) -> int | None:
    """A descriptor that tells when the runner that forked us dies; None: it is dead."""
    try:
        fd = os.pidfd_open(runner_pid)
    except OSError:
        return None
    if os.getppid() != runner_pid:
        os.close(fd)  # the number is another's by now
        return None
    return fd
