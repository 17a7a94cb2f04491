"""What it does to jobs when hosts go down: whether enough of their instances stay up, and when they would.

Source: ``aurora/client/api/sla.py`` (``DomainUpTimeSlaVector``). Only production jobs with enough instances count. The
hosts of a group go down together; groups do not know of each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.client import uptime
from scheduler.client.keys import JobRef
from thermos.formats.aurora_api import ScheduledTask

#: Host → name of its group.
Grouping = Callable[[str], str]


class Limit(NamedTuple):
    """How many percent of a job's instances must have been up for how long."""

    percentage: float
    duration_s: int


class Prediction(NamedTuple):
    """A job when *host*, and the rest of its group, is down."""

    host: str
    job: JobRef
    percentage: float
    is_safe: bool
    #: 0 where it is safe; None: not at all with the instances that are left.
    safe_in_s: float | None
    #: How long an instance must have been up to count.
    duration_s: int


def job_of(cluster: str, task: ScheduledTask) -> JobRef | None:
    """The job that *task* belongs to."""
    key = task.assigned_task.task.job if task.assigned_task is not None else None
    return None if key is None else JobRef(cluster, key.role or "", key.environment or "", key.name or "")


def grouped(hosts: Iterable[str], grouping: Grouping) -> list[tuple[str, ...]]:
    """*hosts* in their groups, in the order of the groups' names."""
    groups: dict[str, set[str]] = defaultdict(set)
    for host in hosts:
        groups[grouping(host)].add(host)
    return [tuple(sorted(members)) for _, members in sorted(groups.items())]


@dataclass(frozen=True)
class Domain:
    """The jobs of a cluster, as far as they count, and the hosts they are on."""

    cluster: str
    tasks: tuple[ScheduledTask, ...]
    now_s: float
    #: Jobs with fewer instances do not count.
    min_instances: int
    jobs: dict[JobRef, dict[str, list[ScheduledTask]]] = field(init=False)

    def __post_init__(self) -> None:
        by_job: dict[JobRef, dict[str, list[ScheduledTask]]] = defaultdict(lambda: defaultdict(list))
        for task in self.tasks:
            assigned = task.assigned_task
            job = job_of(self.cluster, task)
            if job is not None and assigned is not None and assigned.slave_host and assigned.task.production:
                by_job[job][assigned.slave_host].append(task)
        object.__setattr__(
            self,
            "jobs",
            {job: hosts for job, hosts in by_job.items() if sum(map(len, hosts.values())) >= self.min_instances},
        )

    @property
    def hosts(self) -> set[str]:
        """All hosts that jobs are on."""
        return {host for hosts in self.jobs.values() for host in hosts}

    def probe(
        self,
        hosts: Iterable[str],
        limit: Limit,
        grouping: Grouping,
        of_job: Mapping[JobRef, Limit] | None = None,
    ) -> list[list[Prediction]]:
        """For each group of *hosts* what becomes of the jobs there; by host, then job. Groups without job are left out.

        *of_job* has limits of single jobs.
        """
        found = []
        for group in grouped(hosts, grouping):
            predictions = [
                each for job in sorted(self.jobs) for each in self._down(job, group, (of_job or {}).get(job, limit))
            ]
            if predictions:
                found.append(sorted(predictions, key=lambda each: each[:2]))
        return found

    def _down(self, job: JobRef, group: tuple[str, ...], limit: Limit) -> list[Prediction]:
        by_host = self.jobs[job]
        down = [host for host in group if host in by_host]
        total = sum(map(len, by_host.values()))
        left = [task for host, tasks in by_host.items() if host not in group for task in tasks]
        uptimes = uptime.uptimes_s(left, self.now_s)
        share = uptime.share_up(uptimes, limit.duration_s, total)
        wait_s = uptime.wait_s(uptimes, limit.percentage, limit.duration_s, total)
        is_safe = share >= limit.percentage
        return [Prediction(host, job, share, is_safe, wait_s, limit.duration_s) for host in down]
