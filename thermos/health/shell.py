"""A check by a command: exit code 0 means well. It runs as the task's user and never outlives its time.

Between us and the command stands a warden, forked for this one check: whatever the command starts becomes its
child in the end, so that a command that hangs, forks or leaves its session is killed whole. The warden ends with
us: it holds the read end of a pipe whose write end only we have.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn

from thermos.health.probes import Cancel, Done, Result
from thermos.host.aftermath import kill_leftovers
from thermos.host.command import User, shell_argv
from thermos.host.forking import fork
from thermos.host.linux import become_subreaper
from thermos.host.loop import Loop

#: So much of what it printed is told.
MAX_OUTPUT_BYTES: Final = 1000
_READ_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class ShellProbe:
    """Run a command by bash. *user* None: as we are. *words*: what is executed instead, to run it within an image."""

    command: str
    cwd: str
    timeout_s: float = 1.0
    user: User | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    name: str = "shell"

    def start(self, loop: Loop, done: Done) -> Cancel:
        """Run it."""
        return _Check(loop, self, done).cancel


class _Check:
    """One run of the command, as we see it: a warden, and the pipe on which it reports."""

    def __init__(self, loop: Loop, probe: ShellProbe, done: Done) -> None:
        self._loop = loop
        self._probe = probe
        self._done: Done | None = done
        self._began_s = loop.now_s()
        self._report = b""
        self._fd = self._leash = -1
        theirs = leash = -1
        try:
            self._fd, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            leash, self._leash = os.pipe2(os.O_CLOEXEC)
            self._pid = fork()
        except OSError as error:
            for fd in (theirs, leash, self._fd, self._leash):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._leash = -1
            failure = f"the check could not be started: {error.strerror}"
            loop.call_later(self, 0.0, lambda: self._tell(Result(failure, 0.0)))
            return
        if not self._pid:
            os.close(self._leash)
            _keep_watch(probe, theirs, leash)
        os.close(theirs)
        os.close(leash)
        loop.watch(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        self._report += data
        if data:
            return
        # The warden has ended, or is just about to.
        self._loop.unwatch(self._fd)
        os.close(self._fd)
        self._release()
        os.waitpid(self._pid, 0)
        failure = self._report.decode("utf-8", "replace") if self._report else "the check's warden died"
        self._tell(Result(None if failure == _WELL else failure, self._loop.now_s() - self._began_s))

    def _tell(self, result: Result) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(result)

    def _release(self) -> None:
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1

    def cancel(self) -> None:
        """Let the warden kill the command; nobody is told. It is reaped when it has."""
        self._done = None
        self._loop.cancel(self)
        self._release()


_WELL: Final = "well"


class _End(NamedTuple):
    """How a command ended: its exit code, or None if it had to be ended."""

    code: int | None
    output: bytes


def _keep_watch(probe: ShellProbe, report: int, leash: int) -> NoReturn:
    """The warden: run the command, kill what is left of it, report, end."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        _close_all_but(report, leash)
        become_subreaper()
        os.setsid()  # a signal to the executor's group is not for us: the leash is
        words = _judge(probe, _run(probe, leash))
        survivors = kill_leftovers(lambda pid: False)
        if survivors:
            words = f"{words}; it left behind what cannot be killed: {'; '.join(survivors)}"
        os.set_blocking(report, True)
        os.write(report, words.encode("utf-8", "replace")[: select.PIPE_BUF])
    except OSError as error:
        os.write(report, f"the check could not be run: {error.strerror}".encode())
    finally:
        os._exit(0)


def _close_all_but(*kept: int) -> None:
    """Close all above stderr: the agent's sockets and the runner's leash are not for a check to hold."""
    low = 3
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)


def _run(probe: ShellProbe, leash: int) -> _End:
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        _become_command(probe, theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    output = bytearray()
    deadline_s = time.monotonic() + probe.timeout_s
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    for fd in (ours, leash, pidfd):
        poll.register(fd, select.POLLIN)
    while True:
        left_ms = (deadline_s - time.monotonic()) * 1000
        ready = [fd for fd, _ in poll.poll(max(left_ms, 0))] if left_ms > 0 else []
        if not ready or leash in ready:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return _End(None, bytes(output))
        if ours in ready and not _read(ours, output):
            poll.unregister(ours)
        if pidfd in ready:
            while _read(ours, output):
                if len(output) >= MAX_OUTPUT_BYTES:
                    break
            return _End(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), bytes(output))


def _read(fd: int, output: bytearray) -> bool:
    """Take what is there, keep its beginning; False: there is nothing, or never will be."""
    try:
        data = os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return False
    output += data[: MAX_OUTPUT_BYTES - len(output)]
    return bool(data)


def _become_command(probe: ShellProbe, output: int) -> NoReturn:
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        user = probe.user
        if user is not None and os.geteuid() == 0:
            os.setgroups(list(user.groups))
            os.setgid(user.gid)
            os.setuid(user.uid)
        os.chdir(probe.cwd)
        words = list(probe.words) or shell_argv(probe.command)
        os.execve(words[0], words, dict(probe.environment))
    except OSError as error:
        os.write(2, f"{error.filename or 'it'}: {error.strerror}".encode())
    finally:
        os._exit(126)


def _judge(probe: ShellProbe, end: _End) -> str:
    """``well``, or what is wrong."""
    if end.code == 0:
        return _WELL
    printed = end.output.decode("utf-8", "replace").strip()
    said = f" and printed {printed!r}" if printed else ""
    if end.code is None:
        return f"{probe.command!r} did not end within {probe.timeout_s:g} s{said}"
    how = f"ended with status {end.code}" if end.code > 0 else f"was ended by signal {-end.code}"
    return f"{probe.command!r} {how}{said}"
