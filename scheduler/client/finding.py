"""Jobs and instances that a command line means, as the scheduler has them."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.client import keys
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef, Pattern
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.session import Session
from scheduler.states import ACTIVE
from thermos.definition import nearest
from thermos.formats.aurora_api import ScheduledTask


def jobs(pattern: Pattern, session: Session) -> list[JobRef]:
    """The jobs that *pattern* means; a key without ``*`` is not looked for. In order of their names."""
    if pattern.is_exact:
        return [JobRef(*pattern)]
    found: set[JobRef] = set()
    for name in clusters(pattern, session):
        found.update(job for job in known_jobs(session.scheduler(name), pattern.role) if pattern.matches(job))
    return sorted(found)


def clusters(pattern: Pattern, session: Session) -> list[str]:
    """The clusters that *pattern* means, in order. Raises InvalidConfiguration where there is none."""
    of_pattern = keys.Pattern("*", pattern.cluster, "*", "*")
    names = [name for name in sorted(session.clusters) if of_pattern.matches(JobRef("", name, "", ""))]
    return names or [session.clusters[pattern.cluster].name]


def known_jobs(scheduler: Scheduler, role: str = "*") -> list[JobRef]:
    """All jobs of a cluster; only those of *role*, where it is one role and no pattern."""
    owner = None if any(character in role for character in "*?[") else role
    result = scheduler.result("getJobs", "get_jobs_result", code=ExitCode.COMMAND_FAILURE, owner_role=owner)
    return [
        JobRef(scheduler.cluster.name, each.key.role or "", each.key.environment or "", each.key.name or "")
        for each in result.configs or ()
        if each.key is not None
    ]


def no_such_job(scheduler: Scheduler, job: JobRef, what: str) -> InvalidParameter:
    """The error that says so, with the nearest name; *what* is the sentence without it."""
    close = nearest(str(job), map(str, known_jobs(scheduler)))
    hint = f"did you mean {close}?" if close is not None and close != str(job) else ""
    return InvalidParameter(f"{what}; {hint}" if hint else what)


def no_match(pattern: Pattern, session: Session) -> str:
    """The sentence that says so; with the nearest role, where *pattern* names one that no job has."""
    text = f"Found no jobs matching {pattern}"
    role = pattern.role
    if pattern.cluster not in session.clusters or any(character in role for character in "*?["):
        return text
    roles = {job.role for job in known_jobs(session.scheduler(pattern.cluster))}
    close = nearest(role, roles) if role not in roles else None
    return f"{text}; there is no job of role '{role}', did you mean '{close}'?" if close is not None else text


def active_tasks(scheduler: Scheduler, job: JobRef) -> tuple[ScheduledTask, ...]:
    """The active tasks of *job*."""
    return scheduler.tasks(job.key, statuses=ACTIVE, code=ExitCode.INVALID_PARAMETER)


def numbers(tasks: Iterable[ScheduledTask]) -> set[int]:
    """The instances that *tasks* are."""
    return {task.assigned_task.instance_id or 0 for task in tasks if task.assigned_task is not None}


def check_active(job: JobRef, wanted: Iterable[int], active: set[int]) -> None:
    """Raises InvalidParameter where not all of *wanted* are active."""
    missing = sorted(set(wanted) - active)
    if missing:
        raise InvalidParameter(
            f"Invalid instance parameter: {job} has no active instance {keys.ranges(missing)}; "
            f"active: {keys.ranges(sorted(active)) or 'none'}"
        )
