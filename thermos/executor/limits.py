"""What the task uses against what is reserved for it, looked at once a minute. Disk is the one limit that we enforce.

Processor and memory are Mesos' own to limit; here they are only told, with all else that can be counted
(``vars.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from thermos.core.lifetime_events import FAILED, LimitExceeded, Status
from thermos.executor import measuring
from thermos.executor.errand import Errand
from thermos.executor.measuring import Sample, Wanted
from thermos.executor.vars import Values, VarsFile, values
from thermos.host.loop import Loop
from thermos.schema import Resources

#: The first look, soon enough for a task that unpacks too much at once.
FIRST_S: Final = 5.0
#: Between the end of one and the next (``thermos/monitoring/resource.py``: DISK_COLLECTION_INTERVAL).
INTERVAL_S: Final = 60.0
#: Beyond what walking may take by its own account, the child is killed.
SLACK_S: Final = 60.0


class Limits:
    """Looks at one task. *tell* hears LimitExceeded after each look that finds it over its limit; *pids* and *counts*

    give what is to be measured, and what others count; *complain* hears what goes wrong, once for each reason.
    """

    def __init__(
        self,
        loop: Loop,
        resources: Resources | None,
        sandbox: str,
        directory: str,
        *,
        pids: Callable[[], tuple[int, tuple[tuple[int, int], ...]]],
        counts: Callable[[], Values],
        tell: Callable[[LimitExceeded], object],
        complain: Callable[[str], object],
        first_s: float = FIRST_S,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._loop = loop
        self._resources = resources
        self._sandbox = sandbox
        self._vars = VarsFile(directory)
        self._pids = pids
        self._counts = counts
        self._tell = tell
        self._complain = complain
        self._first_s = first_s
        self._interval_s = interval_s
        self._errand: Errand | None = None
        self._sample: Sample | None = None
        self._complaints: set[str] = set()

    @property
    def sample(self) -> Sample | None:
        """The last look; None: there was none."""
        return self._sample

    @property
    def disk_bytes(self) -> int | None:
        """What is reserved; None: nothing, and it may use what it likes."""
        return (self._resources.disk or None) if self._resources is not None else None

    def start(self) -> None:
        """Look from now on."""
        self._loop.call_later((self, "look"), self._first_s, self._look)

    def stop(self) -> None:
        """Look no more; nothing is told any more."""
        for key in ("look", "late"):
            self._loop.cancel((self, key))
        if self._errand is not None:
            self._errand.give_up()

    def _look(self) -> None:
        if self._errand is not None and not self._errand.is_over:
            self._again()  # one that was given up and cannot die: a dead file server
            return
        runner, coordinators = self._pids()
        sandbox = self._sandbox if self.disk_bytes is not None else None
        wanted = Wanted(os.getpid(), runner, coordinators, sandbox)
        self._errand = Errand(self._loop, lambda: measuring.measure(wanted), self._looked)
        self._loop.call_later((self, "late"), measuring.WALK_S + SLACK_S, self._too_late)

    def _again(self) -> None:
        self._loop.call_later((self, "look"), self._interval_s, self._look)

    def _too_late(self) -> None:
        if self._errand is not None:
            self._errand.give_up()
        self._say("what the task uses could not be measured in time")
        self._again()

    def _looked(self, answer: str | None) -> None:
        self._loop.cancel((self, "late"))
        sample = measuring.read(answer)
        if sample is None:
            self._say(f"what the task uses could not be measured: {answer or 'the child died'}")
            self._again()
            return
        before, self._sample = self._sample, sample
        if sample.disk_trouble is not None:
            self._say(f"not all of the sandbox could be counted: {sample.disk_trouble}")
        self._write(sample, before)
        self._again()
        reserved, used = self.disk_bytes, sample.disk_bytes
        if reserved is not None and used is not None and used > reserved:
            self._tell(LimitExceeded(exceeded(used, reserved)))

    def _write(self, sample: Sample, before: Sample | None) -> None:
        reserved = self._resources
        cpu, ram_bytes = (reserved.cpu, reserved.ram) if reserved is not None else (None, None)
        try:
            self._vars.write({**values(sample, before, cpu, ram_bytes, self.disk_bytes), **self._counts()})
        except OSError as error:
            self._say(f"executor_vars.json could not be written: {error.strerror}")

    def _say(self, text: str) -> None:
        if text not in self._complaints and len(self._complaints) < 100:
            self._complaints.add(text)
            self._complain(text)


def exceeded(used_bytes: int, reserved_bytes: int) -> Status:
    """The end of a task that used more disk than it may."""
    message = (
        f"Disk limit exceeded: the sandbox holds {used_bytes} bytes ({_mb(used_bytes)}), "
        f"reserved are {reserved_bytes} ({_mb(reserved_bytes)})."
    )
    return Status(FAILED, message, "REASON_CONTAINER_LIMITATION_DISK")


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MB"
