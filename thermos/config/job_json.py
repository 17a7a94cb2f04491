"""A job as JSON: what ``job inspect --write-json`` prints, what the executor is sent, and what it makes of that.

One object, in the fields of :class:`thermos.config.job_schema.Job`, every default written out, fields not set
left out. References to ``mesos.instance``, ``mesos.hostname`` and ``thermos.*`` are left in it: they are
bound on the agent.
"""

from __future__ import annotations

import json
from typing import Any, Final

from thermos.config.job_schema import DEFAULT_WATCH_SECS, THERMOS, Job, MesosTaskInstance
from thermos.definition import Problem, build, plain
from thermos.errors import TaskInvalid
from thermos.schema import Task
from thermos.templates import resolve_tree

#: Fields that say how a job is run, not what: a change of them is no change of the task
#: (``aurora/config/thrift.py``).
_NOT_IN_PAYLOAD: Final = ("instances", "update_config")


def encode(job: Job) -> str:
    """*job* as one line of JSON; the same job always gives the same text."""
    raw: Any = plain(job)
    raw["update_config"].setdefault("watch_secs", DEFAULT_WATCH_SECS)  # the original's readers expect one
    return json.dumps(raw)


def decode(text: str | bytes, source: str) -> Job:
    """The job that *text* holds: from :func:`encode`, from the original client, or an executor's payload.

    Raises:
        TaskInvalid: no JSON, or not in the shape of a job; with every fault of the shape.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskInvalid(source, [Problem("", f"is not JSON: {error}")]) from None
    found: list[Problem] = []
    job = build(Job, raw, "", found)
    if job is None:
        raise TaskInvalid(source, found)
    return job


def executor_payload(job: Job) -> str:
    """What an executor is given: for Thermos the job without what only the scheduler needs, else its own data."""
    if job.executor_config.name != THERMOS:
        return job.executor_config.data
    raw = plain(job)
    for field in _NOT_IN_PAYLOAD:
        del raw[field]
    return json.dumps(raw)


def task_instance(job: Job, instance: int, hostname: str) -> MesosTaskInstance:
    """Instance number *instance* of *job* on the agent *hostname*; only ``thermos.*`` is left to be bound.

    Raises:
        TaskInvalid: a reference that cannot be resolved.
    """
    found: list[Problem] = []
    scopes = ({"mesos": {"instance": instance, "hostname": hostname}},)
    raw: Any = resolve_tree(plain(job), scopes, "", lambda *fault: found.append(Problem(*fault)), own_fields=False)
    result = build(MesosTaskInstance, {**raw, "instance": instance}, "", found)
    if result is None or found:
        raise TaskInvalid(f"job {job.key}", found)
    return result


def runner_task(job: Job, instance: int, hostname: str) -> Task:
    """The task that a runner is given for one instance of *job*. Raises TaskInvalid as :func:`task_instance` does."""
    return task_instance(job, instance, hostname).task
