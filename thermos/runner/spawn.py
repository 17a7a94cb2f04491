"""Starting a runner as a process of its own."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from thermos.host.forking import fork
from thermos.runner import boot

#: Room for what a runner reports and nobody has read yet: some 10 000 records, the most an unprivileged pipe holds.
REPORT_BYTES = 1 << 20


@dataclass(frozen=True)
class RunnerCommand:
    """A task to run and how; see ``thermos_runner --help``."""

    root: str
    task_id: str
    task_json: str
    sandbox: str
    user: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    enable_chroot: bool = False
    hostname: str | None = None


@dataclass(frozen=True)
class Started:
    """A runner that was started. On ``report_fd`` come the frames it has written; its end is the runner's."""

    pid: int
    report_fd: int | None


def start(command: RunnerCommand, report: bool = True, daemon: bool = False) -> Started:
    """Start a runner of its own for *command*. A *daemon* has a session of its own, stdio at /dev/null, and is

    init's child: its pid is not told (0). Raises OSError.
    """
    task_fd = os.memfd_create("task", 0)  # inherited on purpose
    os.write(task_fd, command.task_json.encode())
    os.lseek(task_fd, 0, os.SEEK_SET)
    arguments = [
        f"--thermos_json=/proc/self/fd/{task_fd}",
        f"--sandbox={command.sandbox}",
        f"--checkpoint_root={command.root}",
        f"--task_id={command.task_id}",
        *(f"--port={name}:{number}" for name, number in command.ports.items()),
    ]
    if command.user is not None:
        arguments.append(f"--setuid={command.user}")
    if command.enable_chroot:
        arguments.append("--enable_chroot")
    if command.hostname is not None:
        arguments.append(f"--hostname={command.hostname}")
    try:
        return _spawn(arguments, report, daemon)
    finally:
        os.close(task_fd)


def launch(arguments: Sequence[str], task_json: str, kept: Sequence[int] = (), stderr_fd: int | None = None) -> Started:
    """Start a runner with *arguments* of its command line for *task_json*; it reports. Raises OSError.

    It leads a session, so that whoever kills ours, as a Mesos agent does when the executor has died, leaves it the time
    to end its task. *kept*: descriptors that it inherits under their numbers. *stderr_fd*: where its complaints go.
    """
    task_fd = os.memfd_create("task", 0)  # inherited on purpose
    try:
        os.write(task_fd, task_json.encode())
        os.lseek(task_fd, 0, os.SEEK_SET)
        words = [f"--thermos_json=/proc/self/fd/{task_fd}", *arguments]
        return _spawn(words, report=True, daemon=False, has_session=True, kept=kept, stderr_fd=stderr_fd)
    finally:
        os.close(task_fd)


def take_over(root: str, task_id: str, arguments: list[str], as_uid: int | None = None) -> int:
    """Start a runner that goes on with a task from its checkpoint alone; its pid. Raises OSError.

    *as_uid*: the user that owns the checkpoint, where we are root and it is not ours.
    """
    words = [f"--checkpoint_root={root}", f"--task_id={task_id}", "--takeover", *arguments]
    return _spawn(words, report=False, daemon=False, as_uid=as_uid).pid


def _spawn(
    arguments: list[str],
    report: bool,
    daemon: bool,
    as_uid: int | None = None,
    has_session: bool = False,
    kept: Sequence[int] = (),
    stderr_fd: int | None = None,
) -> Started:
    own_pid = os.getpid()
    ours: int | None = None
    theirs: int | None = None
    if report:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_inheritable(theirs, True)
        try:
            # A runner does not wait for its reader: what finds no room ends the report.
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, REPORT_BYTES)
        except OSError:
            pass  # the user's pipes have taken all that /proc/sys/fs/pipe-user-pages-soft allows
        arguments = [*arguments, f"--report_fd={theirs}"]
    words = boot.argv(arguments)
    # Held from before the fork on: a signal that came between it and the exec would still end the child.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, boot.HELD_SIGNALS)
    try:
        pid = fork()
    except OSError:
        for fd in (ours, theirs):
            if fd is not None:
                os.close(fd)
        raise
    finally:
        if os.getpid() == own_pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not pid:
        try:
            if daemon or has_session:
                os.setsid()
            if daemon:
                if os.fork():
                    os._exit(0)
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
            for fd in kept:
                os.set_inheritable(fd, True)
            if stderr_fd is not None:
                os.dup2(stderr_fd, 2)
            if as_uid is not None:
                import pwd

                entry = pwd.getpwuid(as_uid)
                os.initgroups(entry.pw_name, entry.pw_gid)
                os.setgid(entry.pw_gid)
                os.setuid(as_uid)
            os.execv(words[0], words)
        finally:
            os._exit(127)
    if theirs is not None:
        os.close(theirs)
    if daemon:
        os.waitpid(pid, 0)
        pid = 0
    return Started(pid, ours)
