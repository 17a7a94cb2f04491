"""Which processes belong to which run: one pass over /proc, then only looking things up in it.

What a checkpoint says of pids is a claim. A run's coordinator and shell count only where they were recorded in this
boot, and start time and session are what the record says; a pid recorded in another pid namespace is looked for by
what /proc says of it there (``NSpid``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from thermos.core.state import Run
from thermos.host import proc

#: A record without start ticks is the original's: its processes are those that began within this time of what it
#: says (``thermos/core/helper.py``: MAX_START_TIME_DRIFT).
DRIFT_S: Final = 10.0
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Row(NamedTuple):
    """A process as ``/proc/PID/stat`` tells it; numbers of fields as in proc(5)."""

    pid: int
    state: str  # 3
    ppid: int  # 4
    session: int  # 6
    user_ticks: int  # 14
    system_ticks: int  # 15
    waited_user_ticks: int  # 16: of children that have ended and were waited for
    waited_system_ticks: int  # 17
    nice: int  # 19
    threads: int  # 20
    start_ticks: int  # 22
    vms_bytes: int  # 23
    rss_bytes: int  # 24, there in pages

    @property
    def is_dead(self) -> bool:
        """True for a zombie: it has ended, and nobody has asked how."""
        return self.state in "ZX"


def parse(data: bytes) -> Row:
    """A row of one line. Raises ValueError or IndexError for what is none."""
    # The command's name stands in parentheses and may hold any character, so the last one closes it.
    end = data.rindex(b")")
    rest = data[end + 2 :].split(b" ", 23)
    return Row(
        int(data[: data.index(b" ")]),
        rest[0].decode(),
        int(rest[1]),
        int(rest[3]),
        int(rest[11]),
        int(rest[12]),
        int(rest[13]),
        int(rest[14]),
        int(rest[16]),
        int(rest[17]),
        int(rest[19]),
        int(rest[20]),
        int(rest[21]) * PAGE_BYTES,
    )


class Host:
    """Every process of this host at one moment, indexed by what is asked of it."""

    def __init__(self, rows: Iterable[Row] | None = None) -> None:
        self.boot_id = proc.boot_id()
        self.pid_namespace = proc.pid_namespace()
        self._boot_time_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self.rows = {row.pid: row for row in (_read_all() if rows is None else rows)}
        self._children: dict[int, list[int]] = {}
        self._sessions: dict[int, list[int]] = {}
        self._starts: dict[int, list[int]] = {}
        for row in self.rows.values():
            self._children.setdefault(row.ppid, []).append(row.pid)
            self._sessions.setdefault(row.session, []).append(row.pid)
            self._starts.setdefault(row.start_ticks, []).append(row.pid)

    def roots(self, run: Run) -> Roots:
        """What is there of the coordinator and the shell that *run* names."""
        boot = run.boot
        if boot is not None and boot.boot_id is not None and boot.boot_id != self.boot_id:
            return Roots(None, None, is_known=True)  # the host was restarted since
        namespace = boot.pid_namespace if boot is not None else None
        if namespace is not None and namespace != self.pid_namespace:
            coordinator = self._in_namespace(namespace, run.coordinator_pid, run.coordinator_start_ticks)
            shell = self._in_namespace(namespace, run.pid, run.pid_start_ticks)
            # Not to be seen from here is not gone.
            is_known = coordinator is not None or shell is not None
        else:
            coordinator = self._as_recorded(run.coordinator_pid, run.coordinator_start_ticks, run.fork_time)
            shell = self._as_recorded(run.pid, run.pid_start_ticks, run.start_time)
            is_known = not (_is_hidden(run.coordinator_pid, self.rows) or _is_hidden(run.pid, self.rows))
        if coordinator is not None and coordinator.session != coordinator.pid:
            coordinator = None  # a coordinator leads a session of its own
        return Roots(coordinator, shell, is_known=is_known)

    def _as_recorded(self, pid: int | None, ticks: int | None, began_s: float | None) -> Row | None:
        if pid is None or pid <= 1:
            return None
        row = self.rows.get(pid)
        if row is None:
            return None
        if ticks is not None:
            return row if row.start_ticks == ticks else None
        if began_s is None:
            return None
        began = self._boot_time_s + row.start_ticks / TICKS_PER_S
        return row if abs(began - began_s) < DRIFT_S else None

    def _in_namespace(self, namespace: int, pid: int | None, ticks: int | None) -> Row | None:
        """The process that is *pid* in *namespace*: start times do not depend on the namespace, so few are asked."""
        if pid is None or ticks is None:
            return None
        for candidate in self._starts.get(ticks, ()):
            if _innermost_pid(candidate) == pid and _namespace_of(candidate) == namespace:
                return self.rows[candidate]
        return None

    def tree(self, roots: Roots) -> set[int]:
        """Pids of all that belongs to a run: its roots, what is below them, and its session with what is below that."""
        found: set[int] = set()
        first = roots.coordinator or roots.shell
        if first is None:
            return found
        todo = [row.pid for row in (roots.coordinator, roots.shell) if row is not None]
        leader = self.rows.get(first.session)
        # Who leads the session must be the coordinator, or be gone: a shell that was started from a terminal by
        # hand shares its session with strangers.
        if leader is None or leader is roots.coordinator or leader is roots.shell:
            for pid in self._sessions.get(first.session, ()):
                if self.rows[pid].start_ticks >= first.start_ticks:
                    todo.append(pid)
        while todo:
            pid = todo.pop()
            if pid not in found:  # a pass over /proc is not of one moment: parents may form a ring
                found.add(pid)
                todo.extend(self._children.get(pid, ()))
        return found


class Roots(NamedTuple):
    """What is there of a run."""

    coordinator: Row | None
    shell: Row | None
    #: False: it may be there and not to be seen from here.
    is_known: bool


def _read_all() -> Iterator[Row]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fd = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                yield parse(os.read(fd, 4096))
            except (OSError, ValueError, IndexError):
                continue  # it is gone
            finally:
                os.close(fd)


def _is_hidden(pid: int | None, rows: Mapping[int, Row]) -> bool:
    """True for a process that exists and that /proc does not show us (mounted with ``hidepid``)."""
    if pid is None or pid <= 1 or pid in rows:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _innermost_pid(pid: int) -> int | None:
    """What *pid* is in its own pid namespace."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"NSpid:"):
                    return int(line.split()[-1])
    except (OSError, ValueError):
        pass
    return None


def _namespace_of(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None
