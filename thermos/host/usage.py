"""What tasks and their processes use right now: one pass over /proc for all of them.

Whose a process is, is decided in :mod:`thermos.host.trees`. Only what its line in that pass does not tell is asked
of psutil, and only for the processes of interest.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from thermos.core.state import RunnerState
from thermos.host import accounting, trees
from thermos.host.accounting import Charged
from thermos.host.trees import Host, Row
from thermos.states import ProcessState

K = TypeVar("K", bound=Hashable)

#: A proportional share costs the kernel a walk over a process's page tables, during which it cannot map memory.
#: Trees beyond these, and processes beyond that many in one measurement, are counted by their resident size.
PSS_PROCESSES: Final = 50
PSS_RSS_BYTES: Final = 1 << 30
PSS_IN_ALL: Final = 2000
#: A share is asked for again after this long, or when the resident size has changed by more than one part in so many
#: and by more than so much: the kernel counts it for each processor, and adds that up only now and then.
PSS_FRESH_S: Final = 60.0
PSS_PARTS: Final = 64
PSS_SLACK_BYTES: Final = 1 << 20

#: What psutil calls the states of proc(5).
STATUSES: Final[Mapping[str, str]] = {
    "R": "running",
    "S": "sleeping",
    "D": "disk-sleep",
    "T": "stopped",
    "t": "tracing-stop",
    "Z": "zombie",
    "X": "dead",
    "I": "idle",
    "P": "parked",
}

#: A process for good: pid and start time.
_Who = tuple[int, int]


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
    #: Number of the process's run that was measured; None of a task.
    run: int | None = None


class TaskUsage(NamedTuple):
    """What a task uses, and each of its processes that runs; one whose pids cannot be believed is not there.

    With a control group the task's numbers are the group's where it counts them: then they hold the runner too.
    """

    task: Usage
    processes: dict[str, Usage]
    disk_bytes: int | None = None


class Spent(NamedTuple):
    """Processor time of one process so far, in ticks."""

    own: int
    waited: int


class _Before(NamedTuple):
    """The measurement before."""

    mono_s: float
    began_ticks: int  # when its pass over /proc began, counted as start times are
    processes: dict[str, dict[_Who, Spent]]
    strays: dict[_Who, Spent]  # of the group, and of no process
    charged_s: float | None


class _Found(NamedTuple):
    """What there is of a task."""

    trees: dict[str, set[int]]
    shells: dict[str, Row]
    runs: dict[str, int]  # which of each process it is
    is_known: bool  # False: a run may be there and not to be seen from here
    group: tuple[str, str] | None
    members: frozenset[int]  # of the group


class _Share(NamedTuple):
    """A proportional share that was asked for, and what the process's resident size was then."""

    pss_bytes: int | None
    rss_bytes: int
    mono_s: float


def rate(now: Mapping[_Who, Spent], before: Mapping[_Who, Spent], began_ticks: int) -> int:
    """Ticks that *now* has spent beyond *before*: new processes from zero, and never negative.

    What began before *began_ticks* and was not in the tree then, was somebody else's: its past does not count. What a
    process has of children that it waited for, holds what was seen of them while they lived: that does not count twice.
    """
    own = waited = 0
    for who, spent in now.items():
        past = before.get(who)
        if past is None:
            if who[1] < began_ticks:
                continue
            past = Spent(0, 0)
        own += max(spent.own - past.own, 0)
        waited += max(spent.waited - past.waited, 0)
    seen = sum(spent.own + spent.waited for who, spent in before.items() if who not in now)
    return own + max(waited - seen, 0)


def _rates(now: _Before, before: _Before) -> int:
    """Ticks that a task has spent beyond *before*: each process by itself, so that the end of one hides nothing."""
    parts = [rate(spent, before.processes.get(name, {}), before.began_ticks) for name, spent in now.processes.items()]
    return sum(parts) + rate(now.strays, before.strays, before.began_ticks)


class Sampler(Generic[K]):
    """Measures tasks; knows the measurement before, from which it takes processor rates."""

    def __init__(self) -> None:
        self._before: dict[K, _Before] = {}
        self._shares: dict[_Who, _Share] = {}

    def forget(self, keys: Iterable[K]) -> None:
        """Drop what is known of *keys*."""
        for key in keys:
            self._before.pop(key, None)

    def sample(self, wanted: Mapping[K, RunnerState]) -> dict[K, TaskUsage]:
        """The usage of each of *wanted*, by the same key. Raises nothing for what lies in /proc."""
        return _Round(wanted, self._before, self._shares).usages if wanted else {}


class _Round(Generic[K]):
    """One measurement of many tasks."""

    def __init__(self, wanted: Mapping[K, RunnerState], before: dict[K, _Before], shares: dict[_Who, _Share]) -> None:
        self.at_s = time.time()
        self.mono_s = time.monotonic()
        self.began_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * trees.TICKS_PER_S)
        self.host = Host()
        self.mounts = accounting.mounts()
        self.shares = shares
        for who in [who for who, share in shares.items() if self.mono_s - share.mono_s > PSS_FRESH_S]:
            del shares[who]
        self.pss_left = PSS_IN_ALL
        self.asked: dict[int, Asked] = {}
        found = {key: self._find(state) for key, state in wanted.items()}
        taken = {pid for task in found.values() for tree in task.trees.values() for pid in tree}
        self.usages: dict[K, TaskUsage] = {}
        for key, task in found.items():
            self.usages[key], before[key] = self._measure(task, taken, before.get(key))

    def _find(self, state: RunnerState) -> _Found:
        found: dict[str, set[int]] = {}
        shells = {}
        runs = {}
        is_known = True
        for name, history in state.processes.items():
            run = history.last
            if run.state not in (ProcessState.FORKED, ProcessState.RUNNING):
                continue
            roots = self.host.roots(run)
            is_known = is_known and roots.is_known
            tree = self.host.tree(roots)
            if tree:
                found[name] = tree
                runs[name] = run.number
                if roots.shell is not None:
                    shells[name] = roots.shell
        group = accounting.group_of(state.header, self.mounts)
        members = frozenset(accounting.members(*group)) if group is not None else frozenset()
        return _Found(found, shells, runs, is_known, group, members)

    def _measure(self, task: _Found, taken: set[int], before: _Before | None) -> tuple[TaskUsage, _Before]:
        charged = accounting.read(*task.group, self.mounts) if task.group is not None else Charged()
        strays = {pid for pid in task.members if pid in self.host.rows and pid not in taken}
        spent = {name: self._spent(tree) for name, tree in task.trees.items()}
        now = _Before(self.mono_s, self.began_ticks, spent, self._spent(strays), charged.cpu_s)
        usages = {}
        for name, tree in task.trees.items():
            cpu = None
            if before is not None and name in before.processes:
                cpu = self._cores(rate(spent[name], before.processes[name], before.began_ticks), before)
            usages[name] = self._usage(tree, [tree], task.shells.get(name), cpu)._replace(run=task.runs[name])
        everything = strays.union(*task.trees.values())
        cpu = self._cores(_rates(now, before), before) if before is not None else None
        shell = next(iter(task.shells.values()), None)
        whole = self._usage(everything, [*task.trees.values(), strays], shell, cpu)
        if not task.is_known:
            whole = Usage(self.at_s, *[None] * 13)
        return TaskUsage(self._with_charged(whole, charged, before), usages), now

    def _cores(self, ticks: int, before: _Before) -> float | None:
        wall_s = self.mono_s - before.mono_s
        return ticks / trees.TICKS_PER_S / wall_s if wall_s > 0 else None

    def _with_charged(self, usage: Usage, charged: Charged, before: _Before | None) -> Usage:
        """*usage* with the control group's own numbers where it has them: they hold what has ended since, too."""
        if charged.cpu_s is not None and before is not None and before.charged_s is not None:
            used_s, wall_s = charged.cpu_s - before.charged_s, self.mono_s - before.mono_s
            if used_s >= 0 and wall_s > 0:
                usage = usage._replace(cpu=used_s / wall_s)
        if charged.user_cpu_s is not None and charged.system_cpu_s is not None:
            usage = usage._replace(user_cpu_s=charged.user_cpu_s, system_cpu_s=charged.system_cpu_s)
        if charged.ram_bytes is not None:
            usage = usage._replace(ram_bytes=charged.ram_bytes, ram_kind="cgroup")
        if charged.read_bytes is not None and charged.written_bytes is not None:
            usage = usage._replace(read_bytes=charged.read_bytes, written_bytes=charged.written_bytes)
        return usage

    def _spent(self, pids: Iterable[int]) -> dict[_Who, Spent]:
        found = {}
        for pid in pids:
            row = self.host.rows[pid]
            found[pid, row.start_ticks] = Spent(
                row.user_ticks + row.system_ticks, row.waited_user_ticks + row.waited_system_ticks
            )
        return found

    def _usage(self, pids: set[int], parts: list[set[int]], shell: Row | None, cpu: float | None) -> Usage:
        """What *pids* use, which are those of all *parts* together."""
        rows = [self.host.rows[pid] for pid in pids]
        asked = [self._ask(row) for row in rows]
        rss_bytes = sum(row.rss_bytes for row in rows)
        pss_bytes = _sum([self._pss(part) for part in parts if part])
        return Usage(
            at_s=self.at_s,
            cpu=cpu,
            ram_bytes=pss_bytes if pss_bytes is not None else rss_bytes,
            rss_bytes=rss_bytes,
            vms_bytes=sum(row.vms_bytes for row in rows),
            user_cpu_s=sum(row.user_ticks + row.waited_user_ticks for row in rows) / trees.TICKS_PER_S,
            system_cpu_s=sum(row.system_ticks + row.waited_system_ticks for row in rows) / trees.TICKS_PER_S,
            threads=sum(row.threads for row in rows),
            descriptors=_sum([one.descriptors for one in asked]),
            read_bytes=_sum([one.read_bytes for one in asked]),
            written_bytes=_sum([one.written_bytes for one in asked]),
            processes=len(rows),
            nice=shell.nice if shell is not None else None,
            status=STATUSES.get(shell.state) if shell is not None else None,
            ram_kind="pss" if pss_bytes is not None else "rss",
        )

    def _ask(self, row: Row) -> Asked:
        known = self.asked.get(row.pid)
        if known is None:
            known = self.asked[row.pid] = Asked(row)
        return known

    def _pss(self, pids: set[int]) -> int | None:
        """The proportional share of *pids*; None: too dear, or we may not know."""
        rows = [self.host.rows[pid] for pid in pids]
        if len(rows) > PSS_PROCESSES or sum(row.rss_bytes for row in rows) > PSS_RSS_BYTES:
            return None
        stale = [row for row in rows if not self._is_fresh(row)]
        if len(stale) > self.pss_left:
            return None
        self.pss_left -= len(stale)
        for row in stale:
            self.shares[row.pid, row.start_ticks] = _Share(self._ask(row).pss_bytes(), row.rss_bytes, self.mono_s)
        return _sum([self.shares[row.pid, row.start_ticks].pss_bytes for row in rows])

    def _is_fresh(self, row: Row) -> bool:
        share = self.shares.get((row.pid, row.start_ticks))
        if share is None:
            return False
        return abs(share.rss_bytes - row.rss_bytes) <= max(share.rss_bytes // PSS_PARTS, PSS_SLACK_BYTES)


def _sum(numbers: list[int | None]) -> int | None:
    """None if one of them is not known: part of a sum is no sum."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


class Asked:
    """What psutil says of one process. None: we may not know. What has ended has let go of everything."""

    def __init__(self, row: Row) -> None:
        import psutil  # 4 MB, which whoever never measures need not have

        self.descriptors: int | None = 0
        self.read_bytes: int | None = 0
        self.written_bytes: int | None = 0
        self._process: psutil.Process | None = None
        if row.is_dead:
            return
        try:
            self._process = psutil.Process(row.pid)
            try:
                self.descriptors = self._process.num_fds()
            except psutil.AccessDenied:
                self.descriptors = None
            try:
                counters = self._process.io_counters()
                self.read_bytes, self.written_bytes = counters.read_bytes, counters.write_bytes
            except (psutil.AccessDenied, NotImplementedError):  # a kernel that does not count it
                self.read_bytes = self.written_bytes = None
        except psutil.NoSuchProcess:
            self._process = None
        except (psutil.Error, OSError, RuntimeError, ValueError):
            self.descriptors = self.read_bytes = self.written_bytes = None

    def pss_bytes(self) -> int | None:
        """Its proportional share."""
        import psutil

        if self._process is None:
            return 0
        try:
            return int(self._process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            return 0
        except (psutil.Error, OSError, NotImplementedError, RuntimeError, ValueError):
            return None
