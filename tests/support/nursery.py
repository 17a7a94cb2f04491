"""A place where processes are started, waited for, and found again: nothing that begins in it gets away.

While it is open, this process is the sub-reaper of all it starts, as init would be: whatever loses its parent
becomes our child, however it left its session and its environment. So what is left over is known for sure.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

_libc = ctypes.CDLL(None, use_errno=True)
_SUBREAPER = 36  # linux/prctl.h: PR_SET_CHILD_SUBREAPER

#: Flag of a process that is in its exit (linux/sched.h), in field 9 of /proc/PID/stat.
PF_EXITING = 0x4
#: For a machine that does ten other things as well.
PATIENCE_S = 30.0


class TimeIsUp(AssertionError):
    """What was waited for did not happen."""


class Nursery:
    """Children of this process, by pid, and how those ended that have."""

    def __init__(self) -> None:
        self.ended: dict[int, int] = {}  # pid → wait status
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        self._before = set(children(os.getpid()))
        _libc.prctl(_SUBREAPER, 1, 0, 0, 0)

    def start(
        self,
        argv: list[str],
        output_path: str,
        *,
        environment: Mapping[str, str] | None = None,
        inherit: tuple[int, ...] = (),
        session: bool = False,
    ) -> int:
        """Start *argv*; its pid. What it prints is added to *output_path*; of our descriptors it gets *inherit*."""
        for fd in inherit:
            os.set_inheritable(fd, True)
        try:
            return os.posix_spawn(
                argv[0],
                argv,
                dict(os.environ if environment is None else environment),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, output_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsigmask=[],
                setsid=session,
            )
        finally:
            for fd in inherit:
                os.set_inheritable(fd, False)

    def reap(self) -> None:
        """Take note of children that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.ended[pid] = status

    def wait_for(self, condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        """Return once *condition* holds; reaps meanwhile. Raises TimeIsUp, naming *what*."""
        deadline = time.monotonic() + patience_s
        pause_s = 0.001
        while True:
            self.reap()
            if condition():
                return
            if time.monotonic() > deadline:
                raise TimeIsUp(f"waited {patience_s:g} s for {what}")
            signal.sigtimedwait([signal.SIGCHLD], pause_s)
            pause_s = min(pause_s * 1.5, 0.02)

    def wait_end(self, pid: int, what: str, patience_s: float = PATIENCE_S) -> int:
        """The exit code of *pid* when it has ended, negative for a signal. Raises TimeIsUp."""
        self.wait_for(lambda: pid in self.ended, f"the end of {what} (pid {pid})", patience_s)
        return os.waitstatus_to_exitcode(self.ended[pid])

    def left(self) -> list[int]:
        """Everything below us that was not there before and lives, zombies not counted."""
        self.reap()
        return [pid for pid in self.below() if state_of(pid) not in "ZX?"]

    def below(self) -> list[int]:
        """Everything below us, zombies too, but for what was there before and what that has started since."""
        found = [pid for pid in children(os.getpid()) if pid not in self._before]
        return found + [pid for child in found for pid in descendants(child)]

    def close(self) -> None:
        """End everything that is left, and reap it."""
        while left := self.below():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            signal.sigtimedwait([signal.SIGCHLD], 0.02)
            self.reap()
        _libc.prctl(_SUBREAPER, 0, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery that is emptied at the end."""
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def time_limit(limit_s: float, what: str) -> Iterator[None]:
    """Raise TimeIsUp in whatever is under way after *limit_s*. For the main thread."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise TimeIsUp(f"{what} took more than {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def children(pid: int) -> list[int]:
    """The direct children of *pid*."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """Everything below *pid*, parents first."""
    found = children(pid)
    for child in found:
        found += children(child)
    return found


def state_of(pid: int) -> str:
    """Field 3 of /proc/PID/stat; X also for one that is on its way out and runs nothing of its own any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "?"
    return "X" if int(fields[6]) & PF_EXITING else fields[0]
