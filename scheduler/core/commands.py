"""What clients ask the scheduler to do, and what it answers: values only, without a word of the wire around them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from scheduler.model import JobKey, Resources
from scheduler.states import ScheduleStatus
from thermos.formats.assigned_task import SlaPolicy
from thermos.formats.aurora_api import (
    JobConfiguration,
    JobUpdateKey,
    JobUpdateRequest,
    ResponseCode,
    Result,
    TaskQuery,
)


class CreateJob(NamedTuple):
    """Start the instances of a job that is not there yet."""

    job: JobConfiguration
    user: str


class KillTasks(NamedTuple):
    """End instances of a job; *instances* None: all."""

    job: JobKey
    instances: frozenset[int] | None
    message: str | None
    user: str


class RestartShards(NamedTuple):
    """End instances and start them again, each with the configuration that it has."""

    job: JobKey
    instances: frozenset[int]
    user: str


class AddInstances(NamedTuple):
    """*more* instances, like *instance* is."""

    job: JobKey
    instance: int
    more: int
    user: str


class SetQuota(NamedTuple):
    """What a role's production tasks may use."""

    role: str
    quota: Resources
    user: str


class ReconcileExplicitly(NamedTuple):
    """Ask Mesos now about all tasks that we know to be on an agent; *batch_size* None: as always."""

    batch_size: int | None
    user: str


class ReconcileImplicitly(NamedTuple):
    """Ask Mesos now for all tasks that it knows."""

    user: str


class PruneTasks(NamedTuple):
    """Forget tasks that are over, those that *query* fits."""

    query: TaskQuery
    user: str


class ForceTaskState(NamedTuple):
    """An administrator's way out: the task is in this state, whatever we thought."""

    task_id: str
    status: ScheduleStatus
    user: str


class StartJobUpdate(NamedTuple):
    """Change a job step by step."""

    request: JobUpdateRequest
    message: str | None
    user: str


class PauseJobUpdate(NamedTuple):
    """Begin no further step until it is resumed."""

    key: JobUpdateKey
    message: str | None
    user: str


class ResumeJobUpdate(NamedTuple):
    """Go on after a pause."""

    key: JobUpdateKey
    message: str | None
    user: str


class AbortJobUpdate(NamedTuple):
    """Leave the job as it is now."""

    key: JobUpdateKey
    message: str | None
    user: str


class RollbackJobUpdate(NamedTuple):
    """Put back what was there before."""

    key: JobUpdateKey
    message: str | None
    user: str


class PulseJobUpdate(NamedTuple):
    """Somebody who watches says: go on."""

    key: JobUpdateKey
    user: str


class ScheduleCronJob(NamedTuple):
    """Start a job at the times of its schedule; replaces the one of that name. *is_replacement*: only if there is
    one."""

    job: JobConfiguration
    user: str
    is_replacement: bool = False


class DescheduleCronJob(NamedTuple):
    """Start it no more; what runs of it goes on."""

    job: JobKey
    user: str


class StartCronJob(NamedTuple):
    """Start it now, as its schedule would."""

    job: JobKey
    user: str


class StartMaintenance(NamedTuple):
    """Use these hosts only if there is no other."""

    hosts: frozenset[str]
    user: str


class DrainHosts(NamedTuple):
    """Move all tasks away from these hosts, now; with *policy*, only as it allows, for *timeout_s* at the most."""

    hosts: frozenset[str]
    user: str
    policy: SlaPolicy | None = None
    timeout_s: int = 0


class EndMaintenance(NamedTuple):
    """Use these hosts as before."""

    hosts: frozenset[str]
    user: str


#: Those that :mod:`scheduler.core.jobs` carries out; the others belong to parts of the engine.
JobCommand: TypeAlias = (
    CreateJob
    | KillTasks
    | RestartShards
    | AddInstances
    | SetQuota
    | ReconcileExplicitly
    | ReconcileImplicitly
    | PruneTasks
    | ForceTaskState
)
Command: TypeAlias = (
    JobCommand
    | StartJobUpdate
    | PauseJobUpdate
    | ResumeJobUpdate
    | AbortJobUpdate
    | RollbackJobUpdate
    | PulseJobUpdate
    | ScheduleCronJob
    | DescheduleCronJob
    | StartCronJob
    | StartMaintenance
    | DrainHosts
    | EndMaintenance
)


class Answer(NamedTuple):
    """What a client is told. *messages* become the response's details; a kill that succeeded must have none."""

    code: ResponseCode
    messages: tuple[str, ...] = ()
    result: Result | None = None


def done(*messages: str, result: Result | None = None) -> Answer:
    """It is done."""
    return Answer(ResponseCode.OK, messages, result)


def refused(*messages: str, code: ResponseCode = ResponseCode.INVALID_REQUEST) -> Answer:
    """It is not, and nothing has changed."""
    return Answer(code, messages)
