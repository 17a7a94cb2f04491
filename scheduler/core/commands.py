"""What clients ask the scheduler to do, and what it answers: values only, without a word of the wire around them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from scheduler.model import JobKey, Resources
from scheduler.states import ScheduleStatus
from thermos.formats.aurora_api import JobConfiguration, ResponseCode, Result, TaskQuery


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


Command: TypeAlias = (
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
