"""Signalling on the word of a checkpoint. Records are claims: whoever owns the sandbox may have forged them.

A process is signalled through a pidfd, after its start time, its user and its session or cookie were found to be
what the record says; a stranger who has the pid now, or whom a forger named, is left alone.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Mapping

from thermos.core.state import Run
from thermos.host import cgroup, proc
from thermos.host.command import COOKIE_NAME

#: A record without start ticks is the original's: its processes are those that began within this time of what
#: it says (``thermos/core/helper.py``: MAX_START_TIME_DRIFT).
DRIFT_S = 10.0
#: Passes over what must die: each finds what a dying process left in the meantime.
PASSES = 20
#: How long a pass waits for what was sent SIGKILL: freeing much memory takes its time.
DYING_S = 0.25


def send(pid: int, signum: int, ticks: int | None, uids: Iterable[int] | None, session: int | None = None) -> bool:
    """Whether *pid* is who it should be and was sent *signum*; None means that anybody or any session will do."""
    if pid <= 1 or pid == os.getpid():
        return False
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        stat = proc.read_stat(pid)
        if stat is None or stat.state in ("Z", "X"):
            return False
        if ticks is not None and stat.start_ticks != ticks:
            return False
        if session is not None and stat.session != session:
            return False
        if uids is not None and proc.uid_of(pid) not in set(uids):
            return False
        signal.pidfd_send_signal(fd, signum)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def wait_gone(pids: Iterable[int], timeout_s: float) -> None:
    """Return when all of *pids* have ended, or after *timeout_s*."""
    deadline = time.monotonic() + timeout_s
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(max(deadline - time.monotonic(), 0.0) * 1000)
        os.close(fd)


def coordinator_lives(run: Run, uid: int) -> bool:
    """Whether the coordinator that *run* names is there, and ours: start time, user, own session."""
    if run.coordinator_pid is None or run.coordinator_pid <= 1:
        return False
    stat = proc.read_stat(run.coordinator_pid)
    if stat is None or stat.state in ("Z", "X") or proc.uid_of(run.coordinator_pid) != uid:
        return False
    if stat.session != stat.pid:
        return False
    if run.coordinator_start_ticks is not None:
        return stat.start_ticks == run.coordinator_start_ticks
    if run.fork_time is None:
        return False
    return abs(proc.start_time_s(stat.start_ticks) - run.fork_time) < DRIFT_S


class Task:
    """What a task has running beyond its records: found by control group, by session, by cookie.

    *uids* are the users that what it started can run as; None: any, as root can become whom it likes.
    *coordinators* is the owner's, and says at any time which coordinators live: what is below them is theirs.
    """

    def __init__(self, uids: Iterable[int] | None, group: str | None, coordinators: Mapping[int, str]) -> None:
        self._uids = frozenset(uids) if uids is not None else None
        self._group = group
        self._coordinators = coordinators

    def terminate(self, run: Run) -> bool:
        """SIGTERM to the run's shell, and to what it left behind: adopted by its coordinator."""
        if run.pid is None:
            return False
        if run.coordinator_pid is not None:
            for pid in proc.children(run.coordinator_pid):
                stat = proc.read_stat(pid)
                if pid != run.pid and stat is not None:  # a child that compresses a log has SIGTERM blocked
                    send(pid, signal.SIGTERM, stat.start_ticks, self._uids)
        return send(run.pid, signal.SIGTERM, run.pid_start_ticks, self._uids, run.coordinator_pid)

    def kill(self, run: Run, cookie: bytes, has_coordinator: bool) -> None:
        """SIGKILL the run. A coordinator that lives is left to record it and to reap what remains."""
        if not has_coordinator:
            self.kill_strays(cookie, run)
        elif run.pid is not None:
            send(run.pid, signal.SIGKILL, run.pid_start_ticks, self._uids, run.coordinator_pid)
        elif run.coordinator_pid is not None:
            # It has not started its command: nothing is there to be reaped or recorded.
            send(run.coordinator_pid, signal.SIGKILL, run.coordinator_start_ticks, self._uids)

    def kill_strays(self, cookie: bytes, run: Run | None = None, *, members: bool = True) -> list[proc.Stat]:
        """SIGKILL what has lost its coordinator, see ``strays``; what is still there after all passes."""
        found: list[proc.Stat] = []
        for _ in range(PASSES):
            found = self.strays(cookie, run, members=members)
            if not found:
                break
            for stat in found:
                send(stat.pid, signal.SIGKILL, stat.start_ticks, None)
            wait_gone([stat.pid for stat in found], DYING_S)
        return found

    def strays(self, cookie: bytes, run: Run | None = None, *, members: bool = True) -> list[proc.Stat]:
        """Processes that no coordinator holds any more, and that are this task's.

        That is: *members* of its control group, whoever they run as; and, of our users, those that carry *cookie*
        or are in the session of *run*, whose coordinator is dead. A *cookie* that ends in a dot is a whole task's.
        """
        everything = {stat.pid: stat for stat in proc.snapshot()}
        in_group = set(cgroup.members(self._group)) if members and self._group is not None else set()
        session = run.coordinator_pid if run is not None else None
        since = (run.coordinator_start_ticks or 0) if run is not None else 0
        if session in everything and everything[session].start_ticks != since:
            session = None  # the number is another's by now
        me = os.getpid()
        found = []
        for stat in everything.values():
            if stat.pid == me or stat.state in ("Z", "X") or self._is_held(stat, everything):
                continue
            if stat.pid in in_group:
                found.append(stat)
                continue
            if stat.session != session or stat.start_ticks < since:
                carried = proc.environ_value(stat.pid, COOKIE_NAME.encode())
                if carried is None or not (carried == cookie or (cookie[-1:] == b"." and carried.startswith(cookie))):
                    continue
            if self._uids is None or proc.uid_of(stat.pid) in self._uids:
                found.append(stat)
        return found

    def _is_held(self, stat: proc.Stat, everything: Mapping[int, proc.Stat]) -> bool:
        """True for a coordinator that lives, and for all below it."""
        for _ in range(len(everything)):  # a snapshot is not of one moment: its parents may form a ring
            if stat.pid in self._coordinators:
                return True
            above = everything.get(stat.ppid)
            if above is None or above is stat:
                return False
            stat = above
        return False
