"""What tasks and their processes use right now: one pass over /proc for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from thermos.core.state import RunnerState

K = TypeVar("K", bound=Hashable)


class Usage(NamedTuple):
    """What a tree of processes uses at one moment. None: not known."""

    #: Wall time of the measurement.
    at_s: float
    #: Processor cores, since the measurement before; None: there was none.
    cpu: float | None
    #: Memory; ``ram_kind`` says how it was counted.
    ram_bytes: int | None
    rss_bytes: int | None
    vms_bytes: int | None
    #: Processor time in all, with that of children that have ended.
    user_cpu_s: float | None
    system_cpu_s: float | None
    threads: int | None
    descriptors: int | None
    #: Read from and written to disk in all.
    read_bytes: int | None
    written_bytes: int | None
    #: Processes of the system, the coordinator among them.
    processes: int | None
    #: Of the process's shell.
    nice: int | None
    #: Of the process's shell: ``sleeping``, ``running``, ``zombie`` …, psutil's words.
    status: str | None
    #: ``pss``: proportional share; ``rss``: resident; ``cgroup``: what the control group is charged, without the
    #: part of the page cache that is to go first.
    ram_kind: str | None = None


class TaskUsage(NamedTuple):
    """What a task uses, and each of its processes that runs; one whose pids cannot be believed is not there."""

    task: Usage
    processes: dict[str, Usage]
    disk_bytes: int | None = None


class Sampler(Generic[K]):
    """Measures tasks; knows the measurement before, from which it takes processor rates."""

    def sample(self, wanted: Mapping[K, RunnerState]) -> dict[K, TaskUsage]:
        """The usage of each of *wanted*, by the same key. Raises nothing for what lies in /proc."""
        raise NotImplementedError

    def forget(self, keys: Iterable[K]) -> None:
        """Drop what is known of *keys*."""
