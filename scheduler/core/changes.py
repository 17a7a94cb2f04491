"""What a decision changes of what is kept. Each is written to the store before Mesos or a client hears of it.

A change says what is kept afterwards, not what was done: applied twice it changes nothing more. Only an update's events
are added one by one, since there may be ten thousand of them.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from scheduler.model import Host, JobKey, Resources, Task
from thermos.formats.aurora_api import (
    HostMaintenanceRequest,
    JobConfiguration,
    JobInstanceUpdateEvent,
    JobUpdateDetails,
    JobUpdateEvent,
)


class PutFramework(NamedTuple):
    """The master gave us this id; under it we come back after a failover. Empty: we have none (any more)."""

    framework_id: str


class PutTask(NamedTuple):
    """The task is now as it is here."""

    task: Task


class DropTask(NamedTuple):
    """The task is forgotten."""

    task_id: str


class PutCronJob(NamedTuple):
    """A cron job's template."""

    key: JobKey
    job: JobConfiguration


class DropCronJob(NamedTuple):
    """A cron job is descheduled."""

    key: JobKey


class CronRun(NamedTuple):
    """How far a cron job's schedule was followed."""

    #: Of its times up to this one, and of this one, it is decided what became of them: wall time.
    at_ms: int
    #: A run waits for the end of the one before.
    is_waiting: bool = False
    #: How many of its times were missed since it was scheduled, and the last of them.
    missed: int = 0
    missed_at_ms: int | None = None


class PutCronRun(NamedTuple):
    """A cron job's schedule was followed so far."""

    key: JobKey
    run: CronRun


class DropCronRun(NamedTuple):
    """There is no schedule to follow any more."""

    key: JobKey


class PutQuota(NamedTuple):
    """What production tasks of a role may use."""

    role: str
    quota: Resources


class DropQuota(NamedTuple):
    """The role has no quota."""

    role: str


class PutHost(NamedTuple):
    """A host's attributes and mode."""

    host: Host


class DropHost(NamedTuple):
    """A host is forgotten."""

    name: str


class PutUpdate(NamedTuple):
    """A job update with all its events."""

    key: JobKey
    update_id: str
    details: JobUpdateDetails


class AddUpdateEvent(NamedTuple):
    """An update came into a state: one more of its events. Not to be applied twice."""

    key: JobKey
    update_id: str
    event: JobUpdateEvent


class AddInstanceEvent(NamedTuple):
    """Something happened to an instance within an update: one more of its events. Not to be applied twice."""

    key: JobKey
    update_id: str
    event: JobInstanceUpdateEvent


class DropUpdate(NamedTuple):
    """An update is forgotten."""

    key: JobKey
    update_id: str


class PutMaintenance(NamedTuple):
    """A host is to be drained."""

    request: HostMaintenanceRequest


class DropMaintenance(NamedTuple):
    """A host is not to be drained any more."""

    host: str


Change: TypeAlias = (
    PutFramework
    | PutTask
    | DropTask
    | PutCronJob
    | DropCronJob
    | PutCronRun
    | DropCronRun
    | PutQuota
    | DropQuota
    | PutHost
    | DropHost
    | PutUpdate
    | AddUpdateEvent
    | AddInstanceEvent
    | DropUpdate
    | PutMaintenance
    | DropMaintenance
)
