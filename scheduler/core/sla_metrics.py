"""SLA figures of services, under Aurora's names (``MetricCalculator.java``, ``SlaAlgorithm.java``): how long a job's
instances have been running, how long tasks waited, and which part of the time the platform kept instances up.

Nothing is counted over all tasks: each change of a task changes what is kept of its job, and once a minute that becomes
figures. A scheduler with a hundred thousand tasks spends milliseconds on it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, NamedTuple

from scheduler.core.deadlines import Due
from scheduler.core.parts import Part, Tools
from scheduler.model import Config, JobKey, Task
from scheduler.states import ACTIVE, ScheduleStatus

_S = ScheduleStatus

_PERCENTILES: Final = (50, 75, 90, 95, 99)
#: What tasks wait for, and the figure that says how long.
_WAITS: Final = {_S.ASSIGNED: "mtta_ms", _S.STARTING: "mtts_ms", _S.RUNNING: "mttr_ms"}
#: More waits than this within a minute are sampled.
_MAX_WAITS: Final = 10_000
#: Sizes of tasks, the largest CPUs, MB of memory and of disk of each (``ResourceBag.java``).
_SIZES: Final = (
    ("small", 1_000, 1024, 4096),
    ("medium", 4_000, 4096, 16_384),
    ("large", 8_000, 8192, 32_768),
    ("xlarge", 16_000, 16_384, 65_536),
)
_LARGEST: Final = "xxlarge"

#: What a state means to whoever promises that instances run (``SlaAlgorithm.java``): down by the platform's doing, or
#: removed by somebody's will or its own failure. RUNNING is up; other states say nothing new.
_DOWN: Final = frozenset({_S.LOST, _S.DRAINING, _S.PREEMPTING, _S.PARTITIONED})
_REMOVED: Final = frozenset({_S.THROTTLED, _S.FINISHED, _S.RESTARTING, _S.FAILED, _S.KILLING})


def is_up_after(was: bool | None, status: ScheduleStatus) -> bool | None:
    """Whether an instance is up when its task comes into *status*, having been up, down (False) or removed (None)."""
    if status is _S.RUNNING:
        return True
    if status in _DOWN or (status is _S.KILLED and was):
        return False
    if status in _REMOVED:
        return None
    return False if was is False else None


class _Job:
    """What is kept of a job."""

    __slots__ = ("at_ms", "down_ms", "instances", "is_up", "since_ms", "up_ms")

    def __init__(self, at_ms: int) -> None:
        #: Since when its running tasks have been running; sorted.
        self.since_ms: list[int] = []
        #: Instance → whether it is up; those that are removed are not there.
        self.is_up: dict[int, bool] = {}
        #: How many are up.
        self.instances = 0
        #: Within this minute, up to *at_ms*, all instances together.
        self.up_ms = self.down_ms = 0
        self.at_ms = at_ms

    def advance(self, now_ms: int) -> None:
        passed_ms = max(0, now_ms - self.at_ms)
        self.up_ms += self.instances * passed_ms
        self.down_ms += (len(self.is_up) - self.instances) * passed_ms
        self.at_ms = now_ms

    def put(self, instance: int, is_up: bool | None) -> None:
        was = self.is_up.get(instance)
        if is_up is None:
            self.is_up.pop(instance, None)
        else:
            self.is_up[instance] = is_up
        self.instances += (is_up is True) - (was is True)

    def uptime_s(self, percentile: int, now_ms: int) -> int:
        """So long, at least, so many percent of the running tasks have been running."""
        if not self.since_ms:
            return 0
        index = percentile * len(self.since_ms) // 100
        return max(0, now_ms - self.since_ms[index]) // 1000


class _Wait(NamedTuple):
    """A task came into *status* after so long."""

    status: ScheduleStatus
    config: Config
    waited_ms: int


class SlaMetrics(Part):
    """Keeps them."""

    dues: ClassVar[frozenset[Due]] = frozenset({Due.SLA_FIGURES})

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._state = tools.draft.state
        settings = tools.settings
        #: Of production services, and of others.
        self._kinds = {True: settings.sla_prod_metrics, False: settings.sla_non_prod_metrics}
        self._jobs: dict[tuple[JobKey, bool], _Job] = {}
        self._waits: list[_Wait] = []
        self._waits_seen = 0
        self._figures: dict[str, float] = {}
        self._is_due = False

    def resume(self) -> None:
        self._jobs.clear()
        self._waits.clear()
        self._waits_seen = 0
        for status in ACTIVE:
            for task_id in self._state.by_status[status]:
                task = self._state.tasks[task_id]
                job = self._job(task)
                if job is None:
                    continue
                if status is _S.RUNNING:
                    job.since_ms.append(task.changed_at_ms)
                job.put(task.instance, self._is_up(task))
        for job in self._jobs.values():
            job.since_ms.sort()
        self._make()

    def _is_up(self, task: Task) -> bool | None:
        """Whether the task's instance is up, from its history."""
        if task.status is _S.RUNNING:
            return True
        ancestor = self._state.tasks.get(task.ancestor_id or "")
        is_up = None
        for event in (*(ancestor.events if ancestor is not None else ()), *task.events):
            is_up = is_up_after(is_up, event.status)
        return is_up

    def _job(self, task: Task) -> _Job | None:
        """What is kept of the task's job; None: nothing is."""
        config = task.config
        if not config.is_service or not self._kinds[config.is_production]:
            return None
        key = (config.job, config.is_production)
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(self.tools.draft.now.wall_ms)
        return job

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        task = after or before
        assert task is not None
        if before is not None and before.status not in ACTIVE:
            return  # it was over, and is forgotten now
        job = self._job(task)
        if job is None:
            return
        if not self._is_due:
            self._make_later()
        job.advance(self.tools.draft.now.wall_ms)
        if before is not None and before.status is _S.RUNNING:
            index = bisect_left(job.since_ms, before.changed_at_ms)
            if index < len(job.since_ms) and job.since_ms[index] == before.changed_at_ms:
                del job.since_ms[index]
        if after is None:
            job.put(task.instance, None)
            return
        if after.status is _S.RUNNING:
            insort(job.since_ms, after.changed_at_ms)
        job.put(task.instance, is_up_after(job.is_up.get(task.instance), after.status))
        if after.status in _WAITS:
            self._waited(after)

    def _waited(self, task: Task) -> None:
        *earlier, event = task.events
        if any(one.status is event.status for one in earlier):
            return
        began_ms = next((one.at_ms for one in reversed(earlier) if one.status is _S.PENDING), None)
        if began_ms is None:
            return
        wait = _Wait(event.status, task.config, max(0, event.at_ms - began_ms))
        self._waits_seen += 1
        if len(self._waits) < _MAX_WAITS:
            self._waits.append(wait)
        elif (index := int(self.tools.chance() * self._waits_seen)) < _MAX_WAITS:
            self._waits[index] = wait

    def due(self, due: Due, about: object) -> None:
        self._make()

    def metrics(self) -> Mapping[str, float]:
        return self._figures

    # -- once a minute -------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Make the figures of what happened since the last time. Of a job that has ended there are none any more, a
        minute later."""
        now = self.tools.draft.now
        for one in [one for one, job in self._jobs.items() if not job.is_up and not job.up_ms and not job.down_ms]:
            del self._jobs[one]
        figures: dict[str, float] = {}
        for is_production, kinds in self._kinds.items():
            suffix = "" if is_production else "_nonprod"
            if "JOB_UPTIMES" in kinds:
                for (key, is_one), job in self._jobs.items():
                    if is_one is is_production:
                        for percentile in _PERCENTILES:
                            name = f"sla_{key}_job_uptime_{percentile}.00_sec{suffix}"
                            figures[name] = job.uptime_s(percentile, now.wall_ms)
            if "PLATFORM_UPTIME" in kinds:
                figures.update(self._platform(is_production, suffix))
            if "MEDIANS" in kinds:
                figures.update(self._medians(is_production, suffix))
        self._figures = figures
        self._waits.clear()
        self._waits_seen = 0
        for job in self._jobs.values():
            job.up_ms = job.down_ms = 0
        self._is_due = False
        if self._jobs:
            self._make_later()

    def _make_later(self) -> None:
        """Once a minute, as long as there is a service of which there are figures."""
        self._is_due = True
        at_s = self.tools.draft.now.mono_s + self.tools.settings.sla_stat_refresh_interval_s
        self.tools.deadlines.set(Due.SLA_FIGURES, None, at_s)

    def _platform(self, is_production: bool, suffix: str) -> Iterator[tuple[str, float]]:
        all_up_ms = all_down_ms = 0
        for (key, is_one), job in self._jobs.items():
            if is_one is is_production:
                job.advance(self.tools.draft.now.wall_ms)
                all_up_ms += job.up_ms
                all_down_ms += job.down_ms
                yield f"sla_{key}_platform_uptime_percent{suffix}", _percent(job.up_ms, job.down_ms)
        yield f"sla_cluster_platform_uptime_percent{suffix}", _percent(all_up_ms, all_down_ms)

    def _medians(self, is_production: bool, suffix: str) -> Iterator[tuple[str, float]]:
        waits: defaultdict[str, list[int]] = defaultdict(list)
        for figure in _WAITS.values():
            waits[f"sla_cluster_{figure}{suffix}"] = []
            for key, is_one in self._jobs:
                if is_one is is_production:
                    waits[f"sla_{key}_{figure}{suffix}"] = []
        for wait in self._waits:
            if wait.config.is_production is is_production:
                for group in _groups(wait.config):
                    waits[f"sla_{group}_{_WAITS[wait.status]}{suffix}"].append(wait.waited_ms)
        return ((name, sorted(values)[(len(values) - 1) // 2] if values else 0) for name, values in waits.items())


def _percent(up_ms: int, down_ms: int) -> float:
    return 100.0 * up_ms / (up_ms + down_ms) if up_ms + down_ms else 100.0


def _groups(config: Config) -> Iterator[str]:
    """What a wait counts for: all tasks, the job, tasks of that size."""
    yield "cluster"
    yield str(config.job)
    amounts = config.resources[:3]
    for kind, (resource, amount) in enumerate(zip(("cpu", "ram", "disk"), amounts, strict=True), start=1):
        size = next((name for name, *most in _SIZES if amount <= most[kind - 1]), _LARGEST)
        yield f"{resource}_{size}"
