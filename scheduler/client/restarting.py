"""A rolling restart: batch by batch, each instance watched until it has run long enough.

Source: ``aurora/client/api/{restarter,instance_watcher}.py``. Unlike there, more failures than are allowed are an
error, an instance whose old task is seen running still is not taken for the new one, and one that has no task any more
has failed, whether its new task had run or not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from scheduler.client.keys import ranges

#: An instance that does not run after so long is looked at more closely, and again each time so long has passed.
ASK_WHY_S: Final = 15.0


@dataclass(frozen=True)
class Settings:
    """How a restart goes."""

    batch_size: int = 1
    #: How long an instance must run to count as restarted.
    watch_s: float = 30
    #: How often to look.
    interval_s: float = 3
    #: Restarts of one instance that may fail before it counts as failed; below 0: no limit.
    max_per_instance_failures: int = 0
    #: Instances that may fail before the rest is left alone.
    max_total_failures: int = 0


class Active(NamedTuple):
    """The task of an instance that is not over."""

    task_id: str
    is_running: bool


class Job(Protocol):
    """The job that is restarted, as its scheduler has it."""

    def restart(self, instances: Sequence[int]) -> None:
        """Ask for it."""

    def active(self, instances: Collection[int]) -> dict[int, Active]:
        """The newest active task of each of *instances* that has one."""


@dataclass
class Restart:
    """One restart under way: what is done, what failed, what is left. Instances of *old* have these task ids."""

    settings: Settings
    job: Job
    old: dict[int, str]
    now_s: Callable[[], float]
    sleep: Callable[[float], None]
    tell: Callable[[str], None]
    #: Called before each batch, with this object telling how far it is.
    note: Callable[[], None] = lambda: None
    #: How instances are that do not run yet, in words; asked for seldom.
    why: Callable[[Sequence[int]], str] = lambda instances: f"{ranges(list(instances))} not running yet"
    done: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    current: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    def run(self, instances: Sequence[int]) -> bool:
        """Restart *instances*; whether no more of them failed than may."""
        self.waiting = sorted(instances)
        failures = dict.fromkeys(self.waiting, 0)
        while self.waiting:
            self.current = self.waiting[: self.settings.batch_size]
            self.waiting = self.waiting[self.settings.batch_size :]
            self._drop_gone()
            again = []
            if self.current:
                self.note()
                self.tell(f"restarting instances {ranges(self.current)}")
                self.job.restart(self.current)
                for number in self._watch(self.current):
                    failures[number] += 1
                    if number in self.failed:
                        continue
                    if 0 <= self.settings.max_per_instance_failures < failures[number]:
                        self.failed.append(number)
                    else:
                        again.append(number)
            self.done += [number for number in self.current if number not in again and number not in self.failed]
            self.current = []
            if len(self.failed) > self.settings.max_total_failures:
                self.waiting = sorted({*again, *self.waiting})
                self.note()
                return False
            self.waiting = [*again, *self.waiting]
        self.note()
        return True

    def _drop_gone(self) -> None:
        """What was killed before its turn has failed; a scheduler would refuse to restart the others with it."""
        there = self.job.active(self.current)
        for number in [number for number in self.current if number not in there]:
            self._is_gone(number)
        self.current = [number for number in self.current if number in there]

    def _is_gone(self, number: int) -> None:
        """Without a task there is nothing that could be restarted, once more or at all."""
        self.failed.append(number)
        self.tell(f"instance {number} was killed, or ended, and has no new task")

    def _watch(self, batch: Sequence[int]) -> list[int]:
        """Those of *batch* whose new task went away before it had run long enough."""
        #: Task that ran when it was seen first, and when that was.
        seen: dict[int, Active] = {}
        since_s: dict[int, float] = {}
        left = set(batch)
        lost = []
        ask_at_s = self.now_s() + ASK_WHY_S
        why = ""
        while left:
            active = self.job.active(left)
            now_s = self.now_s()
            for number in sorted(left):
                task = active.get(number)
                if task is not None and number not in seen:
                    if not task.is_running or task.task_id == self.old.get(number):
                        continue
                    seen[number], since_s[number] = task, now_s
                if task is None:
                    lost.append(number)
                    self._is_gone(number)
                elif task != seen[number]:
                    lost.append(number)
                    self.tell(f"instance {number} did not keep running for {self.settings.watch_s:g} s")
                elif now_s - since_s[number] < self.settings.watch_s:
                    continue
                if number in seen:
                    self.old[number] = seen[number].task_id
                left.discard(number)
            if left:
                young = sorted(number for number in left if number in seen)
                not_yet = sorted(left - set(young))
                if not_yet and now_s >= ask_at_s:
                    why, ask_at_s = self.why(not_yet), now_s + ASK_WHY_S
                parts = [why or f"{ranges(not_yet)} not running yet"] if not_yet else []
                parts += [f"{ranges(young)} running, watched for {self.settings.watch_s:g} s"] if young else []
                self.tell(", ".join(parts))
                self.sleep(self.settings.interval_s)
        return lost

    def story(self) -> str:
        """How far it is, for people."""
        parts = [
            ("restarted", self.done),
            ("failed", self.failed),
            ("asked to restart, not confirmed", self.current),
            ("not touched", self.waiting),
        ]
        return "; ".join(f"{what}: {ranges(numbers) or 'none'}" for what, numbers in parts)
