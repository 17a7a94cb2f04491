"""Methods that change something: from a call's arguments to a command for the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from scheduler.api import updating
from scheduler.api.failures import Refused
from scheduler.api.maintaining import MAINTENANCE
from scheduler.core.commands import (
    AddInstances,
    Command,
    CreateJob,
    DescheduleCronJob,
    ForceTaskState,
    KillTasks,
    PruneTasks,
    ReconcileExplicitly,
    ReconcileImplicitly,
    RestartShards,
    ScheduleCronJob,
    SetQuota,
    StartCronJob,
)
from scheduler.core.quota import quota_of
from scheduler.model import JobKey
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    ExplicitReconciliationSettings,
    InstanceKey,
    JobConfiguration,
    ResourceAggregate,
    TaskQuery,
)

Arguments = Mapping[str, Any]


def key_of(key: wire.JobKey | None, what: str = "the job's key") -> JobKey:
    """The key, if all of it is there. Raises Refused."""
    key = key or wire.JobKey()
    missing = [name for name in key._fields if not getattr(key, name)]
    if missing:
        raise Refused(f"{what} has no {' and no '.join(missing)}")
    return JobKey(key.role or "", key.environment or "", key.name or "")


def _create_job(arguments: Arguments, user: str) -> Command:
    job: JobConfiguration | None = arguments["description"]
    if job is None:
        raise Refused("the job's description is missing")
    return CreateJob(job, user)


def _schedule_cron_job(arguments: Arguments, user: str) -> Command:
    job: JobConfiguration | None = arguments["description"]
    if job is None:
        raise Refused("the job's description is missing")
    return ScheduleCronJob(job, user)


def _replace_cron_template(arguments: Arguments, user: str) -> Command:
    job: JobConfiguration | None = arguments["config"]
    if job is None:
        raise Refused("the job's configuration is missing")
    return ScheduleCronJob(job, user, is_replacement=True)


def _deschedule_cron_job(arguments: Arguments, user: str) -> Command:
    return DescheduleCronJob(key_of(arguments["job"]), user)


def _start_cron_job(arguments: Arguments, user: str) -> Command:
    return StartCronJob(key_of(arguments["job"]), user)


def _kill_tasks(arguments: Arguments, user: str) -> Command:
    # gorealis always sends the set: an empty one stands for all, as an absent one does.
    instances = arguments["instances"] or None
    wanted = frozenset(instances) if instances is not None else None
    return KillTasks(key_of(arguments["job"]), wanted, arguments["message"] or None, user)


def _restart_shards(arguments: Arguments, user: str) -> Command:
    return RestartShards(key_of(arguments["job"]), frozenset(arguments["shard_ids"] or ()), user)


def _add_instances(arguments: Arguments, user: str) -> Command:
    key: InstanceKey = arguments["key"] or InstanceKey()
    return AddInstances(key_of(key.job_key), key.instance_id or 0, arguments["count"] or 0, user)


def _set_quota(arguments: Arguments, user: str) -> Command:
    if not arguments["owner_role"]:
        raise Refused("the role is missing")
    return SetQuota(arguments["owner_role"], quota_of(arguments["quota"] or ResourceAggregate()), user)


def _reconcile_explicitly(arguments: Arguments, user: str) -> Command:
    settings: ExplicitReconciliationSettings = arguments["settings"] or ExplicitReconciliationSettings()
    return ReconcileExplicitly(settings.batch_size, user)


def _reconcile_implicitly(arguments: Arguments, user: str) -> Command:
    return ReconcileImplicitly(user)


def _prune_tasks(arguments: Arguments, user: str) -> Command:
    return PruneTasks(arguments["query"] or TaskQuery(), user)


def _force_task_state(arguments: Arguments, user: str) -> Command:
    if not arguments["task_id"] or arguments["status"] is None:
        raise Refused("the task's id and a state are needed")
    return ForceTaskState(arguments["task_id"], arguments["status"], user)


#: Method → (arguments, user) → the command; raises Refused.
COMMANDS: Final[Mapping[str, Callable[[Arguments, str], Command]]] = MappingProxyType({
    **updating.COMMANDS,
    "createJob": _create_job,
    "scheduleCronJob": _schedule_cron_job,
    "replaceCronTemplate": _replace_cron_template,
    "descheduleCronJob": _deschedule_cron_job,
    "startCronJob": _start_cron_job,
    "killTasks": _kill_tasks,
    "restartShards": _restart_shards,
    "addInstances": _add_instances,
    "setQuota": _set_quota,
    "triggerExplicitTaskReconciliation": _reconcile_explicitly,
    "triggerImplicitTaskReconciliation": _reconcile_implicitly,
    "pruneTasks": _prune_tasks,
    "forceTaskState": _force_task_state,
    **MAINTENANCE,
})  # fmt: skip
