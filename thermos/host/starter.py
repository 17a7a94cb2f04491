"""The child of a coordinator until it becomes the command: it records RUNNING, opens logs, drops privileges.

What it does costs the coordinator nothing: its pages go when it execs. The command cannot run without its
record, since whoever writes the record is who then becomes the command.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from typing import TYPE_CHECKING, Final

from thermos.formats.paths import coordinator_name
from thermos.host import linux, proc
from thermos.host.command import BASH, environment, profile_path, shell_argv
from thermos.host.containerizer import wrap
from thermos.host.journal import RETRY_S, Journal
from thermos.host.logs import Sinks
from thermos.records import Note, ProcessStatus
from thermos.states import ProcessState

if TYPE_CHECKING:
    from thermos.host.coordinator import Job
    from thermos.host.pumping import Pumping

#: How long to wait for the lock of this process's last coordinator: it may be just leaving.
LOCK_WAIT_S: Final = 10.0
#: Room for this process's next records: one block, which the first record takes anyway.
RESERVE_BYTES: Final = 3 << 10
#: Exit codes of a shell whose command cannot be executed, and is not there (POSIX, 2.8.2).
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


def become_command(
    job: Job, pumping: Pumping | None, announce_fd: int, start_time: float, coordinator_pid: int
) -> None:
    """Record RUNNING, then become the command; die with the coordinator on the way. Never returns."""
    code = NOT_EXECUTABLE
    try:
        linux.die_with_parent()
        if os.getppid() != coordinator_pid:
            os._exit(code)  # it died before we asked for that
        sinks = pumping.sinks if pumping is not None else job.sinks
        assert sinks is not None
        _record(job, sinks, coordinator_pid, start_time)
        _announce(announce_fd, coordinator_pid)
        _redirect(sinks)
        _prepare(job, coordinator_pid)
        argv, variables = _command(job)
        os.execve(argv[0], argv, variables)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            code = NOT_FOUND
        text = f"thermos: cannot run process {job.process.name}: {error.filename or BASH}: {error.strerror}\n"
        os.write(2, text.encode("utf-8", "replace"))
    except Exception as error:  # noqa: BLE001 - the top of a process: it must be told and end
        os.write(2, f"thermos: cannot run process {job.process.name}: {error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _record(job: Job, sinks: Sinks, coordinator_pid: int, start_time: float) -> None:
    """Write FORKED and RUNNING into the coordinator's stream, which it has open and we lock for it."""
    pid = os.getpid()
    name = job.process.name
    journal = Journal(job.record_fd, coordinator_name(name), RESERVE_BYTES)
    journal.lock(LOCK_WAIT_S)
    cut = journal.seek_end(job.record_offset).damage
    forked = ProcessStatus(
        job.seq,
        name,
        ProcessState.FORKED,
        coordinator_pid=coordinator_pid,
        fork_time=job.fork_time,
    )
    running = ProcessStatus(
        job.seq + 1,
        name,
        ProcessState.RUNNING,
        start_time=start_time,
        pid=pid,
        pid_start_ticks=proc.start_ticks(pid),
    )
    now_ms = int(time.time() * 1000)
    notes = [Note(now_ms, "log", text, name) for text in sinks.troubles]
    if cut is not None:
        notes.append(Note(now_ms, "torn", f"{journal.path}: cut off at byte {cut.offset}: {cut.detail}", name))
    sinks.troubles = []
    journal.append([forked, running, *notes])
    while journal.held:
        if os.getppid() != coordinator_pid:
            os._exit(0)  # it died, and nothing ran
        select.poll().poll(RETRY_S * 1000)
        journal.append([])


def _announce(announce_fd: int, coordinator_pid: int) -> None:
    """Tell the runner that there is something to read; it may be gone."""
    try:
        os.write(announce_fd, coordinator_pid.to_bytes(4, "little"))
    except OSError:
        pass


def _redirect(sinks: Sinks) -> None:
    null = os.open(os.devnull, os.O_RDONLY) if os.isatty(0) else 0
    os.dup2(null, 0)
    # The new stdout may be one of the descriptors that dup2 would overwrite: move both out of the way first.
    out, err = (os.dup(fd) for fd in sinks.child_fds)
    os.dup2(out, 1)
    os.dup2(err, 2)


def _prepare(job: Job, coordinator_pid: int) -> None:
    """Undo what the runner did for itself, and become the task's user."""
    setup = job.setup
    if setup.oom_score_adj is not None:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, setup.oom_score_adj.encode())
        os.close(fd)
    if setup.open_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, setup.open_files)
    os.fchdir(setup.sandbox_fd)
    if setup.chroot:
        os.chroot(".")
        os.chdir("/")
    if setup.change_user and setup.mesos_containerizer is None:  # which changes user itself
        os.setgroups(setup.user.groups)
        os.setgid(setup.user.gid)
        os.setuid(setup.user.uid)
    for signum in setup.ignored_signals:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    linux.die_with_parent()  # once more: a change of user has ended that
    if os.getppid() != coordinator_pid:
        os._exit(NOT_EXECUTABLE)


def _command(job: Job) -> tuple[list[str], dict[str, str]]:
    setup = job.setup
    user = setup.user
    variables = environment(
        user,
        user.home if setup.chroot else setup.container_sandbox,
        f"{setup.cookie}.{job.number}",
        setup.environment if setup.preserve_env else None,
        setup.environment.get("PATH"),
        profile_path(setup.sandbox_fd, setup.container_sandbox),
    )
    if setup.mesos_containerizer is None:
        return shell_argv(job.process.cmdline), variables
    words = wrap(setup.mesos_containerizer, job.process.cmdline, user.name, setup.container_sandbox, setup.launch_info)
    return words, variables
