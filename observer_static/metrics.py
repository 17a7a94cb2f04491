"""The observer's numbers, for ``/metrics``, ``--textfile`` and ``/vars.json``.

Counters only ever grow, also when the tasks that they were counted from are collected: what each active task adds is
remembered until it is over. Names of tasks and processes are others' words, so how many of them get series of their
own is bounded; the rest are counted together, and a number says how many those are.
"""

from __future__ import annotations

import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeGuard, TypeVar

from thermos.core.state import History, RunnerState
from thermos.host.usage import TaskUsage
from thermos.states import ProcessState, TaskState

if TYPE_CHECKING:
    from observer_static.facts import TaskFacts

K = TypeVar("K", bound=Hashable)

#: Processes by role, task and name that get series of their own. Each has eight.
MAX_SERIES: Final = 500
#: Of those without, this many are remembered, to say how many they are.
MAX_LEFT_OUT: Final = 10_000
#: Longer names are cut: a label is kept by every server that scrapes it.
MAX_LABEL_CHARS: Final = 128
#: No run has used more processor time: thirty years of it.
MAX_CPU_S: Final = 1e9
#: What those beyond are called, in all labels.
OTHER: Final = "(other)"
#: The state of a task of which nothing readable is recorded.
UNKNOWN: Final = "UNKNOWN"
STATES: Final = (*(state.name for state in TaskState), UNKNOWN)


class Series(NamedTuple):
    """What processes are counted by."""

    role: str
    task: str
    process: str


_REST: Final = Series(OTHER, OTHER, OTHER)


class CpuTime(NamedTuple):
    """Processor time, in seconds."""

    user_s: float = 0.0
    system_s: float = 0.0

    def beyond(self, counted: CpuTime) -> CpuTime:
        """What of it is not in *counted*; never negative."""
        return CpuTime(max(self.user_s - counted.user_s, 0.0), max(self.system_s - counted.system_s, 0.0))


@dataclass
class Total:
    """What all processes of one series add up to."""

    runs: int = 0
    failures: int = 0
    restarts: int = 0
    #: None: of none of them it was ever known.
    cpu: CpuTime | None = None

    def add(self, other: Total) -> None:
        """Count *other* in."""
        self.runs += other.runs
        self.failures += other.failures
        self.restarts += other.restarts
        if other.cpu is not None:
            self.add_cpu(other.cpu)

    def add_cpu(self, more: CpuTime) -> None:
        """Count *more* processor time in."""
        before = self.cpu if self.cpu is not None else CpuTime()
        self.cpu = CpuTime(before.user_s + more.user_s, before.system_s + more.system_s)


class Now(NamedTuple):
    """What all processes of one series use now. None: not known of one of them."""

    cpu: float | None
    ram_bytes: int | None
    running: int


@dataclass
class Own:
    """The observer's own numbers; whoever does the thing counts it here."""

    started_at_s: float = field(default_factory=time.time)
    version: str = ""
    roots: int = 0
    #: Times that something was noticed.
    notices: int = 0
    #: 1 while it has to look again and again, for want of inotify.
    is_polling: bool = False
    pages_written: int = 0
    measurements: int = 0
    #: When a task was last seen to change; None: not yet.
    last_change_s: float | None = None


class _Counted(NamedTuple):
    """What of a run's counts is in the totals already."""

    runs: int = 0
    failures: int = 0
    #: The runs up to this number have ended, and the time that their certificates tell is in.
    ended_run: int = -1
    #: The run that was measured last, and what of its time is in.
    measured_run: int | None = None
    measured: CpuTime = CpuTime()


@dataclass(slots=True)
class _Task:
    """An active task."""

    state: str
    role: str
    name: str
    counted: dict[str, _Counted] = field(default_factory=dict)
    #: Processes that run, by what is recorded.
    running: frozenset[str] = frozenset()
    #: Cores and memory of each process that was measured.
    now: dict[str, tuple[float | None, int | None]] = field(default_factory=dict)
    disk_bytes: int | None = None


class Metrics(Generic[K]):
    """Everything that is counted. Methods may be called from any thread."""

    def __init__(self, own: Own | None = None) -> None:
        self.own = own if own is not None else Own()
        self._active: dict[K, _Task] = {}
        #: Of a task that is over only its state is kept: there may be a hundred thousand.
        self._over: dict[K, str] = {}
        self._totals: dict[Series, Total] = {}
        self._left_out: set[Series] = set()
        self._may_have_unused = False
        self._lock = threading.Lock()

    # -- being told ------------------------------------------------------------------------------------------------

    def task(self, key: K, facts: TaskFacts) -> None:
        """A task is there, or has changed."""
        state = facts.state
        role = (state.header.user if state.header is not None else None) or ""
        name = str(facts.task.name) if facts.task is not None else facts.task_id
        self.record(key, state, is_active=facts.is_active, role=role, name=name)

    def record(self, key: K, state: RunnerState, *, is_active: bool, role: str, name: str) -> None:
        """The same, from a task's records."""
        now = state.task_state.name if state.task_state is not None else UNKNOWN
        with self._lock:
            if key in self._over:
                self._over[key] = now  # its counts are in the totals, and no longer known by themselves
                return
            task = self._active.setdefault(key, _Task(now, role, name))
            task.state = now
            task.running = frozenset(
                process for process, history in state.processes.items() if history.last.state is ProcessState.RUNNING
            )
            for process, history in state.processes.items():
                was = task.counted.get(process, _Counted())
                total = self._total(task, process)
                total.runs += max(history.total - was.runs, 0)
                total.failures += max(history.failures - was.failures, 0)
                total.restarts += max(history.total - max(was.runs, 1), 0)
                _count_ended(was, history, total)
                last = history.last
                task.counted[process] = was._replace(
                    runs=history.total,
                    failures=history.failures,
                    ended_run=last.number if last.state.is_terminal else last.number - 1,
                )
            if not is_active:
                self._over[key] = now
                del self._active[key]
                self._may_have_unused = True

    def usage(self, key: K, usage: TaskUsage) -> None:
        """A task was measured."""
        with self._lock:
            task = self._active.get(key)
            if task is None:
                return
            task.disk_bytes = usage.disk_bytes
            task.now = {name: (used.cpu, used.ram_bytes) for name, used in usage.processes.items()}
            for name, used in usage.processes.items():
                if used.user_cpu_s is None or used.system_cpu_s is None or used.run is None:
                    continue
                was = task.counted.get(name, _Counted())
                if used.run <= was.ended_run:  # measured before it ended: its certificate told all
                    continue
                before = was.measured if used.run == was.measured_run else CpuTime()
                more = CpuTime(used.user_cpu_s, used.system_cpu_s).beyond(before)
                self._total(task, name).add_cpu(more)
                measured = CpuTime(before.user_s + more.user_s, before.system_s + more.system_s)
                task.counted[name] = was._replace(measured_run=used.run, measured=measured)

    def forget(self, key: K) -> None:
        """A task is gone; what it added to the totals stays."""
        with self._lock:
            self._over.pop(key, None)
            if self._active.pop(key, None) is not None:
                self._may_have_unused = True

    def _series(self, task: _Task, process: str) -> Series:
        series = _named(task, process)
        if series in self._totals:
            return series
        if len(self._totals) >= MAX_SERIES and self._may_have_unused:
            self._drop_unused()
        if len(self._totals) < MAX_SERIES:
            self._left_out.discard(series)
            return series
        if len(self._left_out) < MAX_LEFT_OUT:
            self._left_out.add(series)
        return _REST

    def _drop_unused(self) -> None:
        """Make room: what no active task counts in any more, goes to the others."""
        used = {_named(task, process) for task in self._active.values() for process in task.counted}
        rest = self._totals.setdefault(_REST, Total())
        for series in self._totals.keys() - used - {_REST}:
            rest.add(self._totals.pop(series))
        self._may_have_unused = False

    def _total(self, task: _Task, process: str) -> Total:
        return self._totals.setdefault(self._series(task, process), Total())

    # -- telling ---------------------------------------------------------------------------------------------------

    def tasks_by_state(self) -> dict[tuple[str, bool], int]:
        """(state, is active) → number of tasks; each pair is there."""
        found = {(state, is_active): 0 for state in STATES for is_active in (True, False)}
        with self._lock:
            for task in self._active.values():
                found[task.state, True] += 1
            for state in self._over.values():
                found[state, False] += 1
        return found

    def totals(self) -> dict[Series, Total]:
        """What was counted of processes."""
        with self._lock:
            return {series: replace(total) for series, total in self._totals.items()}

    def now(self) -> dict[Series, Now]:
        """How many processes run, and what they used when they were last measured."""
        found: dict[Series, Now] = {}
        with self._lock:
            for task in self._active.values():
                for name in task.running:
                    cpu, ram_bytes = task.now.get(name, (None, None))
                    series = self._series(task, name)
                    before = found.get(series, Now(0.0, 0, 0))
                    found[series] = Now(_plus(before.cpu, cpu), _plus(before.ram_bytes, ram_bytes), before.running + 1)
        return found

    def disk_bytes(self) -> int | None:
        """What all sandboxes of active tasks use, as far as it is known; None: of none."""
        with self._lock:
            known = [task.disk_bytes for task in self._active.values() if task.disk_bytes is not None]
        return sum(known) if known else None

    @property
    def series_left_out(self) -> int:
        """How many series are counted together as others."""
        return len(self._left_out)


def _count_ended(was: _Counted, history: History, total: Total) -> None:
    """Count the processor time of runs that have ended since, less what was measured of it while they ran."""
    for run in reversed(history.runs):
        if run.number <= was.ended_run:
            return
        certificate = run.certificate
        if not run.state.is_terminal or certificate is None:
            continue
        user_s, system_s = certificate.user_cpu_s, certificate.system_cpu_s
        if not (_is_time(user_s) and _is_time(system_s)):
            continue
        counted = was.measured if run.number == was.measured_run else CpuTime()
        total.add_cpu(CpuTime(user_s, system_s).beyond(counted))


def _is_time(seconds: float | None) -> TypeGuard[float]:
    """Whether that can be a processor time: a checkpoint's author may have written anything."""
    return seconds is not None and 0 <= seconds <= MAX_CPU_S


Number = TypeVar("Number", int, float)


def _plus(one: Number | None, other: Number | None) -> Number | None:
    return one + other if one is not None and other is not None else None


def label(text: str) -> str:
    """*text* as the value of a label: valid UTF-8 and not long."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_LABEL_CHARS else clean[: MAX_LABEL_CHARS - 1] + "…"


def _named(task: _Task, process: str) -> Series:
    return Series(label(task.role), label(task.name), label(process))


def own_usage() -> tuple[float, int | None]:
    """(processor seconds of this process, its resident memory or None)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    try:
        with open("/proc/self/statm", "rb") as file:
            rss_bytes = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return used.ru_utime + used.ru_stime, None
    return used.ru_utime + used.ru_stime, rss_bytes


def variables(metrics: Metrics[K]) -> dict[str, object]:
    """What ``/vars.json`` shows: flat names, numbers or words; what is not known is not there."""
    own = metrics.own
    by_state = metrics.tasks_by_state()
    cpu_s, rss_bytes = own_usage()
    totals = metrics.totals().values()
    found: dict[str, object | None] = {
        "observer.version": own.version or None,
        "observer.uptime": time.time() - own.started_at_s,
        "observer.roots": own.roots,
        "observer.notices": own.notices,
        "observer.polling": int(own.is_polling),
        "observer.pages_written": own.pages_written,
        "observer.measurements": own.measurements,
        "observer.last_change": own.last_change_s,
        "observer.cpu_seconds": cpu_s,
        "observer.rss_bytes": rss_bytes,
        "tasks.active": sum(number for (_, is_active), number in by_state.items() if is_active),
        "tasks.finished": sum(number for (_, is_active), number in by_state.items() if not is_active),
        **{
            f"tasks.state.{state}": by_state[state, True] + by_state[state, False]
            for state in STATES
        },
        "processes.runs": sum(total.runs for total in totals),
        "processes.failures": sum(total.failures for total in totals),
        "processes.restarts": sum(total.restarts for total in totals),
        "processes.running": sum(used.running for used in metrics.now().values()),
        "tasks.disk_bytes": metrics.disk_bytes(),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def exposition(metrics: Metrics[K], refresh: Callable[[], object] | None = None) -> bytes:
    """What ``/metrics`` shows, in Prometheus' text format. *refresh*: called first, to measure what is active."""
    if refresh is not None:
        refresh()
    # Its import takes 11 MB, which an observer that nobody scrapes need not have.
    from observer_static.prometheus import text

    return text(metrics)


def write_textfile(metrics: Metrics[K], path: str, mode: int = 0o644) -> None:
    """Write the same to *path*, whole or not at all, for node_exporter's textfile collector. Raises OSError.

    The directory is the operator's: only they may write there, so names in it can be trusted.
    """
    directory, name = os.path.split(os.path.abspath(path))
    fd, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(exposition(metrics))
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def by_process(now: Mapping[Series, Now], totals: Mapping[Series, Total]) -> dict[Series, tuple[Total, Now]]:
    """Every series, with what was counted and what is used now."""
    nothing = Now(None, None, 0)
    return {series: (totals.get(series, Total()), now.get(series, nothing)) for series in totals.keys() | now.keys()}
