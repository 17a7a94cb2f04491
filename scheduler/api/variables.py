"""All figures of a scheduler under the names that Aurora's dashboards know: ``/vars``, ``/vars.json``.

A figure is always an integer or always has a fraction: telegraf decides by the first one that it sees.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Final

from scheduler.api.backend import Backend, View
from scheduler.api.counting import Counts
from scheduler.states import ScheduleStatus

#: Figures with a fraction; all others are whole.
FRACTIONS: Final = frozenset({"process_cpu_cores_utilized", "system_load_avg"})
_FRACTION_ENDS: Final = ("_percent", "_percent_nonprod", "_per_sec", "_fraction")

#: What is counted from 0 even before it happens, so that dashboards have no gaps.
_ZEROES: Final = (
    "framework_registered", "illegal_task_state_transitions", "mesos_calls", "mesos_calls_lost", "mesos_events",
    "outstanding_offers", "reconciliation_explicit_runs", "reconciliation_implicit_runs", "schedule_attempts_failed",
    "schedule_attempts_fired", "schedule_attempts_no_match", "schedule_queue_size", "scheduler_backup_failed",
    "scheduler_backup_success", "scheduler_log_native_append_events", "scheduler_log_native_append_nanos_total",
    "scheduler_resource_offers", "task_kill_retries", "tasks_pruned", "timed_out_tasks",
    *(f"task_store_{status.name}" for status in ScheduleStatus),
)  # fmt: skip
#: Tasks in these states are also told by job (``tasks_LOST_role/env/job``), while they are known.
_BY_JOB: Final = (ScheduleStatus.LOST, ScheduleStatus.FAILED)
#: A process that was asked so soon again gets the same answer.
_CPU_WINDOW_S: Final = 1.0

Number = int | float


def is_fraction(name: str) -> bool:
    """Whether the figure is written with a fraction."""
    return name in FRACTIONS or name.endswith(_FRACTION_ENDS)


class Variables:
    """Collects the figures. May be used by many threads at once."""

    def __init__(self, backend: Backend, counts: Counts) -> None:
        self._backend = backend
        self._counts = counts
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._cpu_at = (self._began_s, time.process_time())
        self._cores = 0.0

    def all(self) -> dict[str, Number]:
        """Name → figure, by name."""
        found: dict[str, Number] = dict.fromkeys(_ZEROES, 0)
        found.update(self._backend.look(_of_view))
        is_leading = self._backend.leader().is_us
        found["scheduler_lifecycle_LEADER_AWAITING_REGISTRATION"] = int(is_leading)
        found["scheduler_lifecycle_ACTIVE"] = int(is_leading and found["framework_registered"] == 1)
        found.update(self._counts.all())
        found.update(self._of_process())
        return {name: _settled(name, found[name]) for name in sorted(found)}

    def _of_process(self) -> Iterator[tuple[str, Number]]:
        yield "jvm_uptime_secs", int(time.monotonic() - self._began_s)
        yield "jvm_threads_active", threading.active_count()
        yield "system_load_avg", os.getloadavg()[0]
        yield "process_cpu_cores_utilized", self._cores_used()
        yield "system_free_physical_memory_mb", os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
        yield "process_max_fd_count", os.sysconf("SC_OPEN_MAX")
        try:
            yield "process_open_fd_count", len(os.listdir("/proc/self/fd"))
        except OSError:
            pass  # no /proc here: not known, so not said

    def _cores_used(self) -> float:
        """How many cores the process kept busy since this was last asked."""
        with self._lock:
            now_s, cpu_s = time.monotonic(), time.process_time()
            before_s, before_cpu_s = self._cpu_at
            if now_s - before_s >= _CPU_WINDOW_S:
                self._cores = (cpu_s - before_cpu_s) / (now_s - before_s)
                self._cpu_at = (now_s, cpu_s)
            return self._cores


def _of_view(view: View) -> dict[str, Number]:
    offers = len(view.offers)
    found: dict[str, Number] = {
        "outstanding_offers": offers,
        "scheduler_resource_offers": offers,
        "cron_jobs_loaded": len(view.state.cron_jobs),
        "schedule_queue_size": len(view.state.by_status[ScheduleStatus.PENDING]),
    }
    for status in _BY_JOB:
        for task_id in view.state.by_status[status]:
            name = f"tasks_{status.name}_{view.state.tasks[task_id].job}"
            found[name] = found.get(name, 0) + 1
    found.update(view.metrics)
    return found


def _settled(name: str, value: Number) -> Number:
    if not math.isfinite(value):
        value = 0  # no format of these has a word for it
    return float(value) if is_fraction(name) else int(value)


def as_text(figures: Mapping[str, Number]) -> str:
    """``name value`` lines."""
    return "\n".join(f"{name} {value}" for name, value in figures.items())
