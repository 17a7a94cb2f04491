"""Which pages of a task are written: those that matter most, as far as the room goes. Pure.

The room is ``max_bytes`` of the options and a hundredth of the task's disk, whichever is less: pages count against
the disk limit that kills the task. The task's own page is always written; then come the pages of processes, those
that failed or run first, each with the logs of its newest run; then the logs of older runs, newest first. What a page
takes is known from above before it is rendered, see :mod:`observer_static.sizes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from observer_static.sizes import PAGE_BYTES

#: Pages take no more than this share of a task's disk.
DISK_SHARE: Final = 100
#: However small the disk is, one page is written.
LEAST_BYTES: Final = PAGE_BYTES + (24 << 10)
#: The least that is worth a page of a process or of an older run: its head and the end of its logs.
SMALL_BYTES: Final = PAGE_BYTES + (8 << 10)
#: The least that is worth a page of the sandbox.
BROWSE_BYTES: Final = PAGE_BYTES + (4 << 10)
#: Pages of older runs: of one process, and of one task.
MAX_LOGS_OF_PROCESS: Final = 5
MAX_LOGS: Final = 50
#: Shares of the room: the task's page at most, its definition at most, its sandbox at most.
_TASK_SHARE: Final = 0.6
_RAW_SHARE: Final = 0.125
_BROWSE_SHARE: Final = 0.125
#: Pages of processes that go before definition and sandbox.
_FIRST: Final = 3


class OlderRun(NamedTuple):
    """A run that may get a page of its own logs."""

    process: str
    number: int
    start_s: float


@dataclass(frozen=True)
class Plan:
    """The pages that are written besides the task's own, and the room for each kind."""

    #: Names of the processes that have a page, most important first.
    processes: Mapping[str, None] = field(default_factory=dict)
    #: Older runs that have a page, newest first.
    logs: Mapping[tuple[str, int], None] = field(default_factory=dict)
    has_raw: bool = False
    browse_bytes: int = 0
    #: For the pages of processes and older runs, above ``SMALL_BYTES`` of each.
    spare_bytes: int = 0


def room_bytes(max_bytes: int, disk_bytes: int | None) -> int:
    """What all pages of a task may take together."""
    if disk_bytes is None or disk_bytes <= 0:
        return max(max_bytes, LEAST_BYTES)
    return max(min(max_bytes, disk_bytes // DISK_SHARE), LEAST_BYTES)


def task_page_bytes(room: int) -> int:
    """What the task's own page may take of it."""
    return max(int(room * _TASK_SHARE), LEAST_BYTES)


def plan(
    left: int, raw_bytes: int | None, has_sandbox: bool, processes: Sequence[str], older: Sequence[OlderRun]
) -> Plan:
    """What to write in *left* bytes, those that the task's page leaves.

    *raw_bytes*: what the definition's page takes; None: there is none. *processes*: most important first.
    """
    whole = left
    # Definition and sandbox are for later reading: what a process wrote before it failed goes before both.
    first = min(len(processes), _FIRST) * SMALL_BYTES
    most_raw = min(max(int(whole * _RAW_SHARE), 2 * PAGE_BYTES), left - first)
    has_raw = raw_bytes is not None and raw_bytes <= most_raw
    if has_raw and raw_bytes is not None:
        left -= raw_bytes
    browse_bytes = int(whole * _BROWSE_SHARE) if has_sandbox else 0
    if browse_bytes < BROWSE_BYTES:
        browse_bytes = BROWSE_BYTES if has_sandbox and left >= BROWSE_BYTES + first else 0
    left -= browse_bytes
    most = left // SMALL_BYTES if left < 4 * SMALL_BYTES else left // 2 // SMALL_BYTES
    chosen = processes[: max(most, 0)]
    left -= len(chosen) * SMALL_BYTES
    logs = _older(older, max(left // 4 // SMALL_BYTES, 0)) if len(chosen) == len(processes) else []
    left -= len(logs) * SMALL_BYTES
    return Plan(
        processes=dict.fromkeys(chosen),
        logs=dict.fromkeys(logs),
        has_raw=has_raw,
        browse_bytes=browse_bytes,
        spare_bytes=max(left, 0),
    )


def _older(older: Sequence[OlderRun], most: int) -> list[tuple[str, int]]:
    """The newest of *older*, not too many of one process."""
    taken: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    for run in sorted(older, key=lambda run: run.start_s, reverse=True):
        if len(found) >= min(most, MAX_LOGS):
            break
        if taken.get(run.process, 0) < MAX_LOGS_OF_PROCESS:
            taken[run.process] = taken.get(run.process, 0) + 1
            found.append((run.process, run.number))
    return found


class Spare:
    """Room that pages draw from as they are made, first come most."""

    def __init__(self, spare_bytes: int) -> None:
        self._left = spare_bytes

    @property
    def overdrawn(self) -> int:
        """What pages took too much: a frame may be larger than the room that was left for it."""
        return max(-self._left, 0)

    def offer(self, others: bool) -> int:
        """What the next page may take above ``SMALL_BYTES``: half if *others* follow it, else all."""
        return max(self._left // 2 if others else self._left, 0)

    def take(self, page_bytes: int) -> None:
        """A page took *page_bytes* in all; what it left of ``SMALL_BYTES`` is for the others."""
        self._left -= page_bytes - SMALL_BYTES
