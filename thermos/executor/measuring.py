"""What a task uses of disk, processor and memory, and what we use for it: measured in a child, told as JSON.

Disk is counted by walking the sandbox, which may take long; so nobody here waits for it (see ``errand.py``).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from thermos.host import proc
from thermos.host.trees import Row, parse

#: Walking takes no longer; what has been counted by then is told as "at least".
WALK_S: Final = 300.0
#: A proportional share costs the kernel a walk over page tables; beyond so many processes resident sizes are added.
_MAX_SHARES: Final = 50
#: More processes than these are not looked at.
_MAX_PROCESSES: Final = 20_000
#: Until the disk of a task is full of empty files: about 2 µs each.
_MAX_ENTRIES: Final = 1 << 40


class Wanted(NamedTuple):
    """What is to be measured."""

    executor_pid: int
    #: 0: there is none.
    runner_pid: int
    #: (pid, start time) of each.
    coordinators: tuple[tuple[int, int], ...]
    #: Whose disk is to be counted; None: nobody's.
    sandbox: str | None


class Sample(NamedTuple):
    """What was found. None: not known. Processor time is in ticks, since the beginning, with that of ended children."""

    #: Monotonic time.
    at_s: float
    executor_ticks: int | None = None
    executor_rss_bytes: int | None = None
    is_orphan: bool | None = None
    #: Of the runner and its coordinators.
    thermos_ticks: int | None = None
    thermos_pss_bytes: int | None = None
    #: Of all that they started.
    task_ticks: int | None = None
    task_ram_bytes: int | None = None
    #: At least so much, if there is trouble.
    disk_bytes: int | None = None
    disk_trouble: str | None = None


def measure(wanted: Wanted) -> str:
    """A Sample as JSON. Takes as long as it takes, and only what nobody else wants."""
    from observer_static.walker import at_least, be_nice, raise_descriptor_limit

    be_nice()
    sample = _of_processes(wanted)
    if wanted.sandbox is not None:
        raise_descriptor_limit()
        used, trouble = at_least(wanted.sandbox, _MAX_ENTRIES, time.monotonic() + WALK_S)
        sample = sample._replace(disk_bytes=used, disk_trouble=trouble)
    return json.dumps(sample)


def read(answer: str | None) -> Sample | None:
    """What ``measure`` said; None: it could not."""
    try:
        return Sample(*json.loads(answer or ""))
    except (ValueError, TypeError):
        return None


def _of_processes(wanted: Wanted) -> Sample:
    at_s = time.monotonic()
    executor = _row(wanted.executor_pid)
    sample = Sample(at_s)
    if executor is not None:
        sample = sample._replace(
            executor_ticks=_own(executor), executor_rss_bytes=executor.rss_bytes, is_orphan=executor.ppid == 1
        )
    ours = {pid for pid, ticks in wanted.coordinators if (row := _row(pid)) is not None and row.start_ticks == ticks}
    if wanted.runner_pid:
        ours.add(wanted.runner_pid)
    rows = _below(ours)
    if rows is None:
        return sample
    our_rows = [row for row in rows if row.pid in ours]
    theirs = [row for row in rows if row.pid not in ours]
    return sample._replace(
        thermos_ticks=sum(_own(row) for row in our_rows),
        thermos_pss_bytes=_memory(our_rows),
        task_ticks=sum(_own(row) + _waited(row) for row in theirs) + sum(_waited(row) for row in our_rows),
        task_ram_bytes=_memory(theirs),
    )


def _row(pid: int) -> Row | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse(file.read(4096))
    except (OSError, ValueError, IndexError):
        return None


def _own(row: Row) -> int:
    return row.user_ticks + row.system_ticks


def _waited(row: Row) -> int:
    return row.waited_user_ticks + row.waited_system_ticks


def _below(roots: Iterable[int]) -> list[Row] | None:
    """*roots* and all below them; None: too many."""
    found: dict[int, Row] = {}
    parents = None if os.path.exists("/proc/self/task") and _tells_children() else _by_parent()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        row = _row(pid) if pid not in found else None
        if row is None:
            continue
        found[pid] = row
        if len(found) > _MAX_PROCESSES:
            return None
        todo += _children(row) if parents is None else parents.get(pid, ())
    return list(found.values())


def _tells_children() -> bool:
    """Whether this kernel has lists of children (CONFIG_PROC_CHILDREN)."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children(row: Row) -> list[int]:
    if row.threads <= 1:
        return proc.children(row.pid)
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{row.pid}/task"):
            with open(f"/proc/{row.pid}/task/{thread}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
    except (OSError, ValueError):
        pass  # it has just ended
    return found


def _by_parent() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in proc.snapshot():
        found.setdefault(stat.ppid, []).append(stat.pid)
    return found


def _memory(rows: list[Row]) -> int | None:
    """What they hold together: proportional shares, or resident sizes where there are too many or we may not ask."""
    shares = [_share_bytes(row.pid) for row in rows] if len(rows) <= _MAX_SHARES else [None]
    known = [share for share in shares if share is not None]
    return sum(known) if len(known) == len(shares) else sum(row.rss_bytes for row in rows)


def _share_bytes(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) << 10
    except ProcessLookupError:
        return 0  # a zombie, or gone
    except OSError:
        return None
    return 0
