"""Methods that only read: from a view and a call's arguments to an answer.

What runs within the view holds up the scheduler, so where an answer is long it only picks out values there, and gives
back what makes the answer of them elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from scheduler.api import updating
from scheduler.api.backend import View
from scheduler.api.failures import Refused
from scheduler.api.maintaining import hosts_of
from scheduler.core import cron, queries, quota
from scheduler.core.commands import Answer, done
from scheduler.core.maintenance import statuses_of
from scheduler.core.submission import checked_job
from scheduler.core.tiers import tier_configs
from scheduler.model import Resources
from scheduler.states import ScheduleStatus
from thermos.formats.aurora_api import (
    ConfigSummary,
    ConfigSummaryResult,
    GetJobsResult,
    GetPendingReasonResult,
    GetQuotaResult,
    JobSummaryResult,
    MaintenanceStatusResult,
    PendingReason,
    PopulateJobResult,
    Result,
    RoleSummaryResult,
    ScheduleStatusResult,
    TaskQuery,
)

Arguments = Mapping[str, Any]
#: An answer, or what makes it, away from the state.
Found = Answer | Callable[[], Answer]


def _role_summary(view: View, arguments: Arguments) -> Found:
    return done(result=Result(role_summary_result=RoleSummaryResult(queries.role_summaries(view.state))))


def _job_summary(view: View, arguments: Arguments) -> Found:
    summaries = queries.job_summaries(view.state, arguments["role"])
    now_ms, zone = view.wall_ms, view.settings.cron_timezone

    def with_next_runs() -> Answer:
        found = tuple(
            one._replace(next_cron_run_ms=cron.next_run_ms(one.job.cron_schedule, now_ms, zone))
            if one.job is not None and one.job.cron_schedule
            else one
            for one in summaries
        )
        return done(result=Result(job_summary_result=JobSummaryResult(found)))

    return with_next_runs


def _tasks(view: View, arguments: Arguments, *, is_without_config: bool = False) -> Found:
    tasks = queries.select(view.state, arguments["query"] or TaskQuery())
    return lambda: done(
        result=Result(schedule_status_result=ScheduleStatusResult(queries.all_to_wire(tasks, is_without_config)))
    )


def _tasks_without_configs(view: View, arguments: Arguments) -> Found:
    return _tasks(view, arguments, is_without_config=True)


def _pending_reason(view: View, arguments: Arguments) -> Found:
    query: TaskQuery = arguments["query"] or TaskQuery()
    if query.statuses or query.slave_hosts:
        raise Refused("tasks that wait have no host, and one state: do not ask for either")
    waiting = queries.select(view.state, query._replace(statuses=(ScheduleStatus.PENDING, ScheduleStatus.THROTTLED)))
    reasons = view.pending_reasons
    found = tuple(PendingReason(task.task_id, reasons.get(task.task_id, "")) for task in waiting)
    return done(result=Result(get_pending_reason_result=GetPendingReasonResult(found)))


def _config_summary(view: View, arguments: Arguments) -> Found:
    if arguments["job"] is None:
        raise Refused("the job's key is missing")
    groups = queries.config_groups(view.state.active_of(queries.key_of(arguments["job"])))
    return done(result=Result(config_summary_result=ConfigSummaryResult(ConfigSummary(arguments["job"], groups))))


def _jobs(view: View, arguments: Arguments) -> Found:
    return done(result=Result(get_jobs_result=GetJobsResult(queries.jobs(view.state, arguments["owner_role"]))))


def _quota(view: View, arguments: Arguments) -> Found:
    role = arguments["owner_role"]
    if not role:
        raise Refused("the role is missing")
    used = quota.consumption(view.state, role)
    result = GetQuotaResult(
        quota=quota.aggregate_of(view.state.quotas.get(role, Resources())),
        prod_shared_consumption=quota.aggregate_of(used.prod_shared),
        non_prod_shared_consumption=quota.aggregate_of(used.non_prod_shared),
        prod_dedicated_consumption=quota.aggregate_of(used.prod_dedicated),
        non_prod_dedicated_consumption=quota.aggregate_of(used.non_prod_dedicated),
    )
    return done(result=Result(get_quota_result=result))


def _populate(view: View, arguments: Arguments) -> Found:
    description = arguments["description"]
    if description is None:
        raise Refused("the job's description is missing")
    job = checked_job(description, view.settings)
    return done(result=Result(populate_job_result=PopulateJobResult(job.config.wire)))


def _tiers(view: View, arguments: Arguments) -> Found:
    return done(result=Result(get_tier_config_result=tier_configs(view.settings)))


def _maintenance_status(view: View, arguments: Arguments) -> Found:
    statuses, words = statuses_of(view.state, hosts_of(arguments))
    return done(*words, result=Result(maintenance_status_result=MaintenanceStatusResult(statuses)))


#: Method → what it finds; raises Refused and Invalid.
READINGS: Final[Mapping[str, Callable[[View, Arguments], Found]]] = MappingProxyType({
    **updating.READINGS,
    "getRoleSummary": _role_summary,
    "getJobSummary": _job_summary,
    "getTasksStatus": _tasks,
    "getTasksWithoutConfigs": _tasks_without_configs,
    "getPendingReason": _pending_reason,
    "getConfigSummary": _config_summary,
    "getJobs": _jobs,
    "getQuota": _quota,
    "populateJobConfig": _populate,
    "getTierConfigs": _tiers,
    "maintenanceStatus": _maintenance_status,
})  # fmt: skip
