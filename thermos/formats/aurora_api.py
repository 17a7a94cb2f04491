"""Aurora's API as values and tables: the structs of ``api.thrift`` that are not in ``assigned_task``.

Names and field numbers are Aurora 0.22's; attributes are in Python's spelling. ``None``: not set. How they lie on the
wire is not said here: :mod:`thermos.formats.thrift_binary` and the scheduler's ``wire`` package read these tables.
Of ``storage.thrift`` there is what a backup of Aurora's scheduler holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from thermos.formats.assigned_task import (
    ASSIGNED_TASK,
    IDENTITY,
    JOB_KEY,
    METADATA,
    RESOURCE,
    SLA_POLICY,
    TASK_CONFIG,
    AssignedTask,
    Identity,
    JobKey,
    Metadata,
    Resource,
    SlaPolicy,
    TaskConfig,
)
from thermos.formats.thrift_binary import BOOL, I32, I64, LIST, MAP, SET, STRING, STRUCT, Field, StructType

#: Aurora never changed it; whatever is added has a new field id.
VERSION: Final = 1


class ResponseCode(IntEnum):
    """``ResponseCode``."""

    INVALID_REQUEST = 0
    OK = 1
    ERROR = 2
    WARNING = 3
    AUTH_FAILED = 4
    JOB_UPDATING_ERROR = 5
    ERROR_TRANSIENT = 6

    def __str__(self) -> str:
        return self.name


class MaintenanceMode(IntEnum):
    """``MaintenanceMode``."""

    NONE = 1
    SCHEDULED = 2
    DRAINING = 3
    DRAINED = 4

    def __str__(self) -> str:
        return self.name


class CronCollisionPolicy(IntEnum):
    """``CronCollisionPolicy``."""

    KILL_EXISTING = 0
    CANCEL_NEW = 1
    RUN_OVERLAP = 2

    def __str__(self) -> str:
        return self.name


class ScheduleStatus(IntEnum):
    """``ScheduleStatus``."""

    PENDING = 0
    STARTING = 1
    RUNNING = 2
    FINISHED = 3
    FAILED = 4
    KILLED = 5
    KILLING = 6
    LOST = 7
    ASSIGNED = 9
    INIT = 11
    RESTARTING = 12
    PREEMPTING = 13
    THROTTLED = 16
    DRAINING = 17
    PARTITIONED = 18

    def __str__(self) -> str:
        return self.name


class JobUpdateStatus(IntEnum):
    """``JobUpdateStatus``."""

    ROLLING_FORWARD = 0
    ROLLING_BACK = 1
    ROLL_FORWARD_PAUSED = 2
    ROLL_BACK_PAUSED = 3
    ROLLED_FORWARD = 4
    ROLLED_BACK = 5
    ABORTED = 6
    ERROR = 7
    FAILED = 8
    ROLL_FORWARD_AWAITING_PULSE = 9
    ROLL_BACK_AWAITING_PULSE = 10

    def __str__(self) -> str:
        return self.name


class JobUpdateAction(IntEnum):
    """``JobUpdateAction``."""

    INSTANCE_UPDATED = 1
    INSTANCE_ROLLED_BACK = 2
    INSTANCE_UPDATING = 3
    INSTANCE_ROLLING_BACK = 4
    INSTANCE_UPDATE_FAILED = 5
    INSTANCE_ROLLBACK_FAILED = 6

    def __str__(self) -> str:
        return self.name


class UpdatePause(IntEnum):
    """Why an update is paused. Ours."""

    #: Somebody wanted it.
    ASKED = 1
    #: A group is done, and it was to wait then.
    GROUP_DONE = 2
    CANARIES_DONE = 3
    #: It is ABORTED as soon as every instance is back whose old task is being killed.
    ABORTING = 4

    def __str__(self) -> str:
        return self.name


class JobUpdatePulseStatus(IntEnum):
    """``JobUpdatePulseStatus``."""

    OK = 1
    FINISHED = 2

    def __str__(self) -> str:
        return self.name


class Attribute(NamedTuple):
    """``Attribute``."""

    name: str | None = None
    values: tuple[str, ...] | None = None


class HostAttributes(NamedTuple):
    """``HostAttributes``."""

    host: str | None = None
    attributes: tuple[Attribute, ...] | None = None
    mode: MaintenanceMode | None = None
    slave_id: str | None = None


class InstanceKey(NamedTuple):
    """``InstanceKey``."""

    job_key: JobKey | None = None
    instance_id: int | None = None


class ResourceAggregate(NamedTuple):
    """``ResourceAggregate``."""

    resources: tuple[Resource, ...] | None = None


class JobConfiguration(NamedTuple):
    """``JobConfiguration``."""

    key: JobKey | None = None
    owner: Identity | None = None
    cron_schedule: str | None = None
    cron_collision_policy: CronCollisionPolicy | None = None
    task_config: TaskConfig | None = None
    instance_count: int | None = None


class JobStats(NamedTuple):
    """``JobStats``."""

    active_task_count: int | None = None
    finished_task_count: int | None = None
    failed_task_count: int | None = None
    pending_task_count: int | None = None


class JobSummary(NamedTuple):
    """``JobSummary``."""

    job: JobConfiguration | None = None
    stats: JobStats | None = None
    next_cron_run_ms: int | None = None
    #: Extensions: how many of a cron job's runs were missed since it was scheduled, and the last of them.
    missed_cron_runs: int | None = None
    last_missed_cron_run_ms: int | None = None


class Range(NamedTuple):
    """``Range``."""

    first: int | None = None
    last: int | None = None


class ConfigGroup(NamedTuple):
    """``ConfigGroup``."""

    config: TaskConfig | None = None
    instances: tuple[Range, ...] | None = None


class ConfigSummary(NamedTuple):
    """``ConfigSummary``."""

    key: JobKey | None = None
    groups: tuple[ConfigGroup, ...] | None = None


class PopulateJobResult(NamedTuple):
    """``PopulateJobResult``."""

    task_config: TaskConfig | None = None


class GetQuotaResult(NamedTuple):
    """``GetQuotaResult``."""

    quota: ResourceAggregate | None = None
    prod_shared_consumption: ResourceAggregate | None = None
    non_prod_shared_consumption: ResourceAggregate | None = None
    prod_dedicated_consumption: ResourceAggregate | None = None
    non_prod_dedicated_consumption: ResourceAggregate | None = None


class TaskEvent(NamedTuple):
    """``TaskEvent``."""

    timestamp: int | None = None
    status: ScheduleStatus | None = None
    message: str | None = None
    scheduler: str | None = None


class ScheduledTask(NamedTuple):
    """``ScheduledTask``."""

    assigned_task: AssignedTask | None = None
    status: ScheduleStatus | None = None
    failure_count: int | None = None
    times_partitioned: int | None = None
    task_events: tuple[TaskEvent, ...] | None = None
    ancestor_id: str | None = None


class ScheduleStatusResult(NamedTuple):
    """``ScheduleStatusResult``."""

    tasks: tuple[ScheduledTask, ...] | None = None


class GetJobsResult(NamedTuple):
    """``GetJobsResult``."""

    configs: tuple[JobConfiguration, ...] | None = None


class TaskQuery(NamedTuple):
    """``TaskQuery``."""

    role: str | None = None
    environment: str | None = None
    job_name: str | None = None
    task_ids: tuple[str, ...] | None = None
    statuses: tuple[ScheduleStatus, ...] | None = None
    instance_ids: tuple[int, ...] | None = None
    slave_hosts: tuple[str, ...] | None = None
    job_keys: tuple[JobKey, ...] | None = None
    offset: int | None = None
    limit: int | None = None


class HostStatus(NamedTuple):
    """``HostStatus``."""

    host: str | None = None
    mode: MaintenanceMode | None = None


class RoleSummary(NamedTuple):
    """``RoleSummary``."""

    role: str | None = None
    job_count: int | None = None
    cron_job_count: int | None = None


class Hosts(NamedTuple):
    """``Hosts``."""

    host_names: tuple[str, ...] | None = None


class PendingReason(NamedTuple):
    """``PendingReason``."""

    task_id: str | None = None
    reason: str | None = None


class JobUpdateKey(NamedTuple):
    """``JobUpdateKey``."""

    job: JobKey | None = None
    id: str | None = None


class QueueJobUpdateStrategy(NamedTuple):
    """``QueueJobUpdateStrategy``."""

    group_size: int | None = None


class BatchJobUpdateStrategy(NamedTuple):
    """``BatchJobUpdateStrategy``."""

    group_size: int | None = None
    autopause_after_batch: bool | None = None


class VariableBatchJobUpdateStrategy(NamedTuple):
    """``VariableBatchJobUpdateStrategy``."""

    group_sizes: tuple[int, ...] | None = None
    autopause_after_batch: bool | None = None


class JobUpdateStrategy(NamedTuple):
    """``JobUpdateStrategy`` (a union)."""

    queue_strategy: QueueJobUpdateStrategy | None = None
    batch_strategy: BatchJobUpdateStrategy | None = None
    var_batch_strategy: VariableBatchJobUpdateStrategy | None = None


class JobUpdateSettings(NamedTuple):
    """``JobUpdateSettings``."""

    update_group_size: int | None = None
    max_per_instance_failures: int | None = None
    max_failed_instances: int | None = None
    min_wait_in_instance_running_ms: int | None = None
    rollback_on_failure: bool | None = None
    update_only_these_instances: tuple[Range, ...] | None = None
    wait_for_batch_completion: bool | None = None
    block_if_no_pulses_after_ms: int | None = None
    sla_aware: bool | None = None
    update_strategy: JobUpdateStrategy | None = None
    #: Ours: an instance that is not updated within so long has failed.
    progress_deadline_ms: int | None = None
    #: Ours: so many instances go first, and none of them may fail.
    canary_count: int | None = None
    #: Ours: the others follow when these have run for so long; not set: when somebody resumes the update.
    canary_promote_after_ms: int | None = None


class JobUpdateEvent(NamedTuple):
    """``JobUpdateEvent``."""

    status: JobUpdateStatus | None = None
    timestamp_ms: int | None = None
    user: str | None = None
    message: str | None = None
    #: Ours, id 100: of a pause, why. Not set in what Aurora and our first stores wrote: there the message says it.
    pause: UpdatePause | None = None


class JobInstanceUpdateEvent(NamedTuple):
    """``JobInstanceUpdateEvent``."""

    instance_id: int | None = None
    timestamp_ms: int | None = None
    action: JobUpdateAction | None = None
    message: str | None = None
    #: Ours, id 100: of the beginning of an instance, and of the end of a canary's update: its tasks that had failed by
    #: then in the configuration to come, which are not counted. Not set in what Aurora and our first stores wrote:
    #: there the time says it.
    failed_before: tuple[str, ...] | None = None


class InstanceTaskConfig(NamedTuple):
    """``InstanceTaskConfig``."""

    task: TaskConfig | None = None
    instances: tuple[Range, ...] | None = None


class JobUpdateState(NamedTuple):
    """``JobUpdateState``."""

    status: JobUpdateStatus | None = None
    created_timestamp_ms: int | None = None
    last_modified_timestamp_ms: int | None = None


class JobUpdateSummary(NamedTuple):
    """``JobUpdateSummary``."""

    key: JobUpdateKey | None = None
    user: str | None = None
    state: JobUpdateState | None = None
    metadata: tuple[Metadata, ...] | None = None


class JobUpdateInstructions(NamedTuple):
    """``JobUpdateInstructions``."""

    initial_state: tuple[InstanceTaskConfig, ...] | None = None
    desired_state: InstanceTaskConfig | None = None
    settings: JobUpdateSettings | None = None


class JobUpdate(NamedTuple):
    """``JobUpdate``."""

    summary: JobUpdateSummary | None = None
    instructions: JobUpdateInstructions | None = None


class InstanceWait(NamedTuple):
    """Ours: what an instance of an update waits for, in words."""

    instance_id: int | None = None
    reason: str | None = None


class JobUpdateDetails(NamedTuple):
    """``JobUpdateDetails``."""

    update: JobUpdate | None = None
    update_events: tuple[JobUpdateEvent, ...] | None = None
    instance_events: tuple[JobInstanceUpdateEvent, ...] | None = None
    #: Ours, of updates that are not over.
    waits: tuple[InstanceWait, ...] | None = None


class JobUpdateRequest(NamedTuple):
    """``JobUpdateRequest``."""

    task_config: TaskConfig | None = None
    instance_count: int | None = None
    settings: JobUpdateSettings | None = None
    metadata: tuple[Metadata, ...] | None = None


class JobUpdateQuery(NamedTuple):
    """``JobUpdateQuery``."""

    role: str | None = None
    key: JobUpdateKey | None = None
    job_key: JobKey | None = None
    user: str | None = None
    update_statuses: tuple[JobUpdateStatus, ...] | None = None
    offset: int | None = None
    limit: int | None = None


class HostMaintenanceRequest(NamedTuple):
    """``HostMaintenanceRequest``."""

    host: str | None = None
    default_sla_policy: SlaPolicy | None = None
    timeout_secs: int | None = None
    created_timestamp_ms: int | None = None


class ListBackupsResult(NamedTuple):
    """``ListBackupsResult``."""

    backups: tuple[str, ...] | None = None


class StartMaintenanceResult(NamedTuple):
    """``StartMaintenanceResult``."""

    statuses: tuple[HostStatus, ...] | None = None


class DrainHostsResult(NamedTuple):
    """``DrainHostsResult``."""

    statuses: tuple[HostStatus, ...] | None = None


class QueryRecoveryResult(NamedTuple):
    """``QueryRecoveryResult``."""

    tasks: tuple[ScheduledTask, ...] | None = None


class MaintenanceStatusResult(NamedTuple):
    """``MaintenanceStatusResult``."""

    statuses: tuple[HostStatus, ...] | None = None


class EndMaintenanceResult(NamedTuple):
    """``EndMaintenanceResult``."""

    statuses: tuple[HostStatus, ...] | None = None


class RoleSummaryResult(NamedTuple):
    """``RoleSummaryResult``."""

    summaries: tuple[RoleSummary, ...] | None = None


class JobSummaryResult(NamedTuple):
    """``JobSummaryResult``."""

    summaries: tuple[JobSummary, ...] | None = None


class ConfigSummaryResult(NamedTuple):
    """``ConfigSummaryResult``."""

    summary: ConfigSummary | None = None


class GetPendingReasonResult(NamedTuple):
    """``GetPendingReasonResult``."""

    reasons: tuple[PendingReason, ...] | None = None


class StartJobUpdateResult(NamedTuple):
    """``StartJobUpdateResult``."""

    key: JobUpdateKey | None = None
    update_summary: JobUpdateSummary | None = None


class GetJobUpdateSummariesResult(NamedTuple):
    """``GetJobUpdateSummariesResult``."""

    update_summaries: tuple[JobUpdateSummary, ...] | None = None


class GetJobUpdateDetailsResult(NamedTuple):
    """``GetJobUpdateDetailsResult``."""

    details: JobUpdateDetails | None = None
    details_list: tuple[JobUpdateDetails, ...] | None = None


class PulseJobUpdateResult(NamedTuple):
    """``PulseJobUpdateResult``."""

    status: JobUpdatePulseStatus | None = None


class InstanceGroup(NamedTuple):
    """Ours: instances that an update changes together."""

    instances: tuple[Range, ...] | None = None


class GetJobUpdateDiffResult(NamedTuple):
    """``GetJobUpdateDiffResult``."""

    add: tuple[ConfigGroup, ...] | None = None
    remove: tuple[ConfigGroup, ...] | None = None
    update: tuple[ConfigGroup, ...] | None = None
    unchanged: tuple[ConfigGroup, ...] | None = None
    #: Ours: in which order, where the request says how it is to go; None also where such an update would be refused.
    groups: tuple[InstanceGroup, ...] | None = None


class TierConfig(NamedTuple):
    """``TierConfig``."""

    name: str | None = None
    settings: Mapping[str, str] | None = None


class GetTierConfigResult(NamedTuple):
    """``GetTierConfigResult``."""

    default_tier_name: str | None = None
    tiers: tuple[TierConfig, ...] | None = None


class ServerInfo(NamedTuple):
    """``ServerInfo``."""

    cluster_name: str | None = None
    stats_url_prefix: str | None = None


class Result(NamedTuple):
    """``Result`` (a union)."""

    populate_job_result: PopulateJobResult | None = None
    schedule_status_result: ScheduleStatusResult | None = None
    get_jobs_result: GetJobsResult | None = None
    get_quota_result: GetQuotaResult | None = None
    list_backups_result: ListBackupsResult | None = None
    start_maintenance_result: StartMaintenanceResult | None = None
    drain_hosts_result: DrainHostsResult | None = None
    query_recovery_result: QueryRecoveryResult | None = None
    maintenance_status_result: MaintenanceStatusResult | None = None
    end_maintenance_result: EndMaintenanceResult | None = None
    role_summary_result: RoleSummaryResult | None = None
    job_summary_result: JobSummaryResult | None = None
    config_summary_result: ConfigSummaryResult | None = None
    get_pending_reason_result: GetPendingReasonResult | None = None
    start_job_update_result: StartJobUpdateResult | None = None
    get_job_update_summaries_result: GetJobUpdateSummariesResult | None = None
    get_job_update_details_result: GetJobUpdateDetailsResult | None = None
    pulse_job_update_result: PulseJobUpdateResult | None = None
    get_job_update_diff_result: GetJobUpdateDiffResult | None = None
    get_tier_config_result: GetTierConfigResult | None = None


class ResponseDetail(NamedTuple):
    """``ResponseDetail``."""

    message: str | None = None


class Response(NamedTuple):
    """``Response``."""

    response_code: ResponseCode | None = None
    server_info: ServerInfo | None = None
    result: Result | None = None
    details: tuple[ResponseDetail, ...] | None = None


class ExplicitReconciliationSettings(NamedTuple):
    """``ExplicitReconciliationSettings``."""

    batch_size: int | None = None


class StoredJobUpdateDetails(NamedTuple):
    """``StoredJobUpdateDetails``."""

    details: JobUpdateDetails | None = None


class StoredCronJob(NamedTuple):
    """``StoredCronJob``."""

    job_configuration: JobConfiguration | None = None


class SchedulerMetadata(NamedTuple):
    """``SchedulerMetadata``."""

    framework_id: str | None = None
    details: Mapping[str, str] | None = None


class QuotaConfiguration(NamedTuple):
    """``QuotaConfiguration``."""

    role: str | None = None
    quota: ResourceAggregate | None = None


class Snapshot(NamedTuple):
    """``Snapshot``."""

    timestamp: int | None = None
    host_attributes: tuple[HostAttributes, ...] | None = None
    tasks: tuple[ScheduledTask, ...] | None = None
    cron_jobs: tuple[StoredCronJob, ...] | None = None
    scheduler_metadata: SchedulerMetadata | None = None
    quota_configurations: tuple[QuotaConfiguration, ...] | None = None
    job_update_details: tuple[StoredJobUpdateDetails, ...] | None = None
    host_maintenance_requests: tuple[HostMaintenanceRequest, ...] | None = None


class DeduplicatedScheduledTask(NamedTuple):
    """``DeduplicatedScheduledTask``."""

    partial_scheduled_task: ScheduledTask | None = None
    task_config_id: int | None = None


class DeduplicatedSnapshot(NamedTuple):
    """``DeduplicatedSnapshot``."""

    partial_snapshot: Snapshot | None = None
    partial_tasks: tuple[DeduplicatedScheduledTask, ...] | None = None
    task_configs: tuple[TaskConfig, ...] | None = None


class Service(Enum):
    """Which of Aurora's three services a method belongs to: what one may do with it."""

    READ_ONLY = "ReadOnlyScheduler"
    MANAGER = "AuroraSchedulerManager"
    ADMIN = "AuroraAdmin"


class Method(NamedTuple):
    """One method: its name, whose it is, its arguments (ids, names, types)."""

    name: str
    service: Service
    arguments: tuple[Field, ...]


class Each:
    """Converts every item of a list or set to *kind*."""

    __slots__ = ("kind",)

    def __init__(self, kind: type[IntEnum]) -> None:
        self.kind = kind

    def __call__(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self.kind(item) for item in items)


_ATTRIBUTE: Final = StructType(
    Attribute,
    [
        Field(1, "name", STRING),
        Field(2, "values", SET, of=STRING),
    ],
)
HOST_ATTRIBUTES: Final = StructType(
    HostAttributes,
    [
        Field(1, "host", STRING),
        Field(2, "attributes", SET, _ATTRIBUTE, of=STRUCT),
        Field(3, "mode", I32, convert=MaintenanceMode),
        Field(4, "slave_id", STRING),
    ],
)
INSTANCE_KEY: Final = StructType(
    InstanceKey,
    [
        Field(1, "job_key", STRUCT, JOB_KEY),
        Field(2, "instance_id", I32),
    ],
)
RESOURCE_AGGREGATE: Final = StructType(
    ResourceAggregate,
    [
        Field(4, "resources", SET, RESOURCE, of=STRUCT),
    ],
)
JOB_CONFIGURATION: Final = StructType(
    JobConfiguration,
    [
        Field(9, "key", STRUCT, JOB_KEY),
        Field(7, "owner", STRUCT, IDENTITY),
        Field(4, "cron_schedule", STRING),
        Field(5, "cron_collision_policy", I32, convert=CronCollisionPolicy),
        Field(6, "task_config", STRUCT, TASK_CONFIG),
        Field(8, "instance_count", I32),
    ],
)
_JOB_STATS: Final = StructType(
    JobStats,
    [
        Field(1, "active_task_count", I32),
        Field(2, "finished_task_count", I32),
        Field(3, "failed_task_count", I32),
        Field(4, "pending_task_count", I32),
    ],
)
_JOB_SUMMARY: Final = StructType(
    JobSummary,
    [
        Field(1, "job", STRUCT, JOB_CONFIGURATION),
        Field(2, "stats", STRUCT, _JOB_STATS),
        Field(3, "next_cron_run_ms", I64),
        Field(100, "missed_cron_runs", I32),
        Field(101, "last_missed_cron_run_ms", I64),
    ],
)
_RANGE: Final = StructType(
    Range,
    [
        Field(1, "first", I32),
        Field(2, "last", I32),
    ],
)
_CONFIG_GROUP: Final = StructType(
    ConfigGroup,
    [
        Field(1, "config", STRUCT, TASK_CONFIG),
        Field(3, "instances", SET, _RANGE, of=STRUCT),
    ],
)
_CONFIG_SUMMARY: Final = StructType(
    ConfigSummary,
    [
        Field(1, "key", STRUCT, JOB_KEY),
        Field(2, "groups", SET, _CONFIG_GROUP, of=STRUCT),
    ],
)
_POPULATE_JOB_RESULT: Final = StructType(
    PopulateJobResult,
    [
        Field(2, "task_config", STRUCT, TASK_CONFIG),
    ],
)
_GET_QUOTA_RESULT: Final = StructType(
    GetQuotaResult,
    [
        Field(1, "quota", STRUCT, RESOURCE_AGGREGATE),
        Field(2, "prod_shared_consumption", STRUCT, RESOURCE_AGGREGATE),
        Field(3, "non_prod_shared_consumption", STRUCT, RESOURCE_AGGREGATE),
        Field(4, "prod_dedicated_consumption", STRUCT, RESOURCE_AGGREGATE),
        Field(5, "non_prod_dedicated_consumption", STRUCT, RESOURCE_AGGREGATE),
    ],
)
_TASK_EVENT: Final = StructType(
    TaskEvent,
    [
        Field(1, "timestamp", I64),
        Field(2, "status", I32, convert=ScheduleStatus),
        Field(3, "message", STRING),
        Field(4, "scheduler", STRING),
    ],
)
SCHEDULED_TASK: Final = StructType(
    ScheduledTask,
    [
        Field(1, "assigned_task", STRUCT, ASSIGNED_TASK),
        Field(2, "status", I32, convert=ScheduleStatus),
        Field(3, "failure_count", I32),
        Field(6, "times_partitioned", I32),
        Field(4, "task_events", LIST, _TASK_EVENT, of=STRUCT),
        Field(5, "ancestor_id", STRING),
    ],
)
_SCHEDULE_STATUS_RESULT: Final = StructType(
    ScheduleStatusResult,
    [
        Field(1, "tasks", LIST, SCHEDULED_TASK, of=STRUCT),
    ],
)
_GET_JOBS_RESULT: Final = StructType(
    GetJobsResult,
    [
        Field(1, "configs", SET, JOB_CONFIGURATION, of=STRUCT),
    ],
)
TASK_QUERY: Final = StructType(
    TaskQuery,
    [
        Field(14, "role", STRING),
        Field(9, "environment", STRING),
        Field(2, "job_name", STRING),
        Field(4, "task_ids", SET, of=STRING),
        Field(5, "statuses", SET, of=I32, convert=Each(ScheduleStatus)),
        Field(7, "instance_ids", SET, of=I32),
        Field(10, "slave_hosts", SET, of=STRING),
        Field(11, "job_keys", SET, JOB_KEY, of=STRUCT),
        Field(12, "offset", I32),
        Field(13, "limit", I32),
    ],
)
_HOST_STATUS: Final = StructType(
    HostStatus,
    [
        Field(1, "host", STRING),
        Field(2, "mode", I32, convert=MaintenanceMode),
    ],
)
_ROLE_SUMMARY: Final = StructType(
    RoleSummary,
    [
        Field(1, "role", STRING),
        Field(2, "job_count", I32),
        Field(3, "cron_job_count", I32),
    ],
)
HOSTS: Final = StructType(
    Hosts,
    [
        Field(1, "host_names", SET, of=STRING),
    ],
)
_PENDING_REASON: Final = StructType(
    PendingReason,
    [
        Field(1, "task_id", STRING),
        Field(2, "reason", STRING),
    ],
)
JOB_UPDATE_KEY: Final = StructType(
    JobUpdateKey,
    [
        Field(1, "job", STRUCT, JOB_KEY),
        Field(2, "id", STRING),
    ],
)
_QUEUE_JOB_UPDATE_STRATEGY: Final = StructType(
    QueueJobUpdateStrategy,
    [
        Field(1, "group_size", I32),
    ],
)
_BATCH_JOB_UPDATE_STRATEGY: Final = StructType(
    BatchJobUpdateStrategy,
    [
        Field(1, "group_size", I32),
        Field(2, "autopause_after_batch", BOOL),
    ],
)
_VARIABLE_BATCH_JOB_UPDATE_STRATEGY: Final = StructType(
    VariableBatchJobUpdateStrategy,
    [
        Field(1, "group_sizes", LIST, of=I32),
        Field(2, "autopause_after_batch", BOOL),
    ],
)
_JOB_UPDATE_STRATEGY: Final = StructType(
    JobUpdateStrategy,
    [
        Field(1, "queue_strategy", STRUCT, _QUEUE_JOB_UPDATE_STRATEGY),
        Field(2, "batch_strategy", STRUCT, _BATCH_JOB_UPDATE_STRATEGY),
        Field(3, "var_batch_strategy", STRUCT, _VARIABLE_BATCH_JOB_UPDATE_STRATEGY),
    ],
)
_JOB_UPDATE_SETTINGS: Final = StructType(
    JobUpdateSettings,
    [
        Field(1, "update_group_size", I32),
        Field(2, "max_per_instance_failures", I32),
        Field(3, "max_failed_instances", I32),
        Field(5, "min_wait_in_instance_running_ms", I32),
        Field(6, "rollback_on_failure", BOOL),
        Field(7, "update_only_these_instances", SET, _RANGE, of=STRUCT),
        Field(8, "wait_for_batch_completion", BOOL),
        Field(9, "block_if_no_pulses_after_ms", I32),
        Field(10, "sla_aware", BOOL),
        Field(11, "update_strategy", STRUCT, _JOB_UPDATE_STRATEGY),
        Field(100, "progress_deadline_ms", I32),
        Field(101, "canary_count", I32),
        Field(102, "canary_promote_after_ms", I32),
    ],
)
JOB_UPDATE_EVENT: Final = StructType(
    JobUpdateEvent,
    [
        Field(1, "status", I32, convert=JobUpdateStatus),
        Field(2, "timestamp_ms", I64),
        Field(3, "user", STRING),
        Field(4, "message", STRING),
        Field(100, "pause", I32, convert=UpdatePause),
    ],
)
JOB_INSTANCE_UPDATE_EVENT: Final = StructType(
    JobInstanceUpdateEvent,
    [
        Field(1, "instance_id", I32),
        Field(2, "timestamp_ms", I64),
        Field(3, "action", I32, convert=JobUpdateAction),
        Field(4, "message", STRING),
        Field(100, "failed_before", LIST, of=STRING),
    ],
)
_INSTANCE_TASK_CONFIG: Final = StructType(
    InstanceTaskConfig,
    [
        Field(1, "task", STRUCT, TASK_CONFIG),
        Field(2, "instances", SET, _RANGE, of=STRUCT),
    ],
)
_JOB_UPDATE_STATE: Final = StructType(
    JobUpdateState,
    [
        Field(1, "status", I32, convert=JobUpdateStatus),
        Field(2, "created_timestamp_ms", I64),
        Field(3, "last_modified_timestamp_ms", I64),
    ],
)
JOB_UPDATE_SUMMARY: Final = StructType(
    JobUpdateSummary,
    [
        Field(5, "key", STRUCT, JOB_UPDATE_KEY),
        Field(3, "user", STRING),
        Field(4, "state", STRUCT, _JOB_UPDATE_STATE),
        Field(6, "metadata", SET, METADATA, of=STRUCT),
    ],
)
_JOB_UPDATE_INSTRUCTIONS: Final = StructType(
    JobUpdateInstructions,
    [
        Field(1, "initial_state", SET, _INSTANCE_TASK_CONFIG, of=STRUCT),
        Field(2, "desired_state", STRUCT, _INSTANCE_TASK_CONFIG),
        Field(3, "settings", STRUCT, _JOB_UPDATE_SETTINGS),
    ],
)
JOB_UPDATE: Final = StructType(
    JobUpdate,
    [
        Field(1, "summary", STRUCT, JOB_UPDATE_SUMMARY),
        Field(2, "instructions", STRUCT, _JOB_UPDATE_INSTRUCTIONS),
    ],
)
_INSTANCE_WAIT: Final = StructType(
    InstanceWait,
    [
        Field(1, "instance_id", I32),
        Field(2, "reason", STRING),
    ],
)
JOB_UPDATE_DETAILS: Final = StructType(
    JobUpdateDetails,
    [
        Field(1, "update", STRUCT, JOB_UPDATE),
        Field(2, "update_events", LIST, JOB_UPDATE_EVENT, of=STRUCT),
        Field(3, "instance_events", LIST, JOB_INSTANCE_UPDATE_EVENT, of=STRUCT),
        Field(100, "waits", LIST, _INSTANCE_WAIT, of=STRUCT),
    ],
)
JOB_UPDATE_REQUEST: Final = StructType(
    JobUpdateRequest,
    [
        Field(1, "task_config", STRUCT, TASK_CONFIG),
        Field(2, "instance_count", I32),
        Field(3, "settings", STRUCT, _JOB_UPDATE_SETTINGS),
        Field(4, "metadata", SET, METADATA, of=STRUCT),
    ],
)
JOB_UPDATE_QUERY: Final = StructType(
    JobUpdateQuery,
    [
        Field(2, "role", STRING),
        Field(8, "key", STRUCT, JOB_UPDATE_KEY),
        Field(3, "job_key", STRUCT, JOB_KEY),
        Field(4, "user", STRING),
        Field(5, "update_statuses", SET, of=I32, convert=Each(JobUpdateStatus)),
        Field(6, "offset", I32),
        Field(7, "limit", I32),
    ],
)
HOST_MAINTENANCE_REQUEST: Final = StructType(
    HostMaintenanceRequest,
    [
        Field(1, "host", STRING),
        Field(2, "default_sla_policy", STRUCT, SLA_POLICY),
        Field(3, "timeout_secs", I64),
        Field(4, "created_timestamp_ms", I64),
    ],
)
_LIST_BACKUPS_RESULT: Final = StructType(
    ListBackupsResult,
    [
        Field(1, "backups", SET, of=STRING),
    ],
)
_START_MAINTENANCE_RESULT: Final = StructType(
    StartMaintenanceResult,
    [
        Field(1, "statuses", SET, _HOST_STATUS, of=STRUCT),
    ],
)
_DRAIN_HOSTS_RESULT: Final = StructType(
    DrainHostsResult,
    [
        Field(1, "statuses", SET, _HOST_STATUS, of=STRUCT),
    ],
)
_QUERY_RECOVERY_RESULT: Final = StructType(
    QueryRecoveryResult,
    [
        Field(1, "tasks", SET, SCHEDULED_TASK, of=STRUCT),
    ],
)
_MAINTENANCE_STATUS_RESULT: Final = StructType(
    MaintenanceStatusResult,
    [
        Field(1, "statuses", SET, _HOST_STATUS, of=STRUCT),
    ],
)
_END_MAINTENANCE_RESULT: Final = StructType(
    EndMaintenanceResult,
    [
        Field(1, "statuses", SET, _HOST_STATUS, of=STRUCT),
    ],
)
_ROLE_SUMMARY_RESULT: Final = StructType(
    RoleSummaryResult,
    [
        Field(1, "summaries", SET, _ROLE_SUMMARY, of=STRUCT),
    ],
)
_JOB_SUMMARY_RESULT: Final = StructType(
    JobSummaryResult,
    [
        Field(1, "summaries", SET, _JOB_SUMMARY, of=STRUCT),
    ],
)
_CONFIG_SUMMARY_RESULT: Final = StructType(
    ConfigSummaryResult,
    [
        Field(1, "summary", STRUCT, _CONFIG_SUMMARY),
    ],
)
_GET_PENDING_REASON_RESULT: Final = StructType(
    GetPendingReasonResult,
    [
        Field(1, "reasons", SET, _PENDING_REASON, of=STRUCT),
    ],
)
_START_JOB_UPDATE_RESULT: Final = StructType(
    StartJobUpdateResult,
    [
        Field(1, "key", STRUCT, JOB_UPDATE_KEY),
        Field(2, "update_summary", STRUCT, JOB_UPDATE_SUMMARY),
    ],
)
_GET_JOB_UPDATE_SUMMARIES_RESULT: Final = StructType(
    GetJobUpdateSummariesResult,
    [
        Field(1, "update_summaries", LIST, JOB_UPDATE_SUMMARY, of=STRUCT),
    ],
)
_GET_JOB_UPDATE_DETAILS_RESULT: Final = StructType(
    GetJobUpdateDetailsResult,
    [
        Field(1, "details", STRUCT, JOB_UPDATE_DETAILS),
        Field(2, "details_list", LIST, JOB_UPDATE_DETAILS, of=STRUCT),
    ],
)
_PULSE_JOB_UPDATE_RESULT: Final = StructType(
    PulseJobUpdateResult,
    [
        Field(1, "status", I32, convert=JobUpdatePulseStatus),
    ],
)
_INSTANCE_GROUP: Final = StructType(
    InstanceGroup,
    [
        Field(1, "instances", SET, _RANGE, of=STRUCT),
    ],
)
_GET_JOB_UPDATE_DIFF_RESULT: Final = StructType(
    GetJobUpdateDiffResult,
    [
        Field(1, "add", SET, _CONFIG_GROUP, of=STRUCT),
        Field(2, "remove", SET, _CONFIG_GROUP, of=STRUCT),
        Field(3, "update", SET, _CONFIG_GROUP, of=STRUCT),
        Field(4, "unchanged", SET, _CONFIG_GROUP, of=STRUCT),
        Field(100, "groups", LIST, _INSTANCE_GROUP, of=STRUCT),
    ],
)
_TIER_CONFIG: Final = StructType(
    TierConfig,
    [
        Field(1, "name", STRING),
        Field(2, "settings", MAP, of=STRING),
    ],
)
_GET_TIER_CONFIG_RESULT: Final = StructType(
    GetTierConfigResult,
    [
        Field(1, "default_tier_name", STRING),
        Field(2, "tiers", SET, _TIER_CONFIG, of=STRUCT),
    ],
)
_SERVER_INFO: Final = StructType(
    ServerInfo,
    [
        Field(1, "cluster_name", STRING),
        Field(3, "stats_url_prefix", STRING),
    ],
)
RESULT: Final = StructType(
    Result,
    [
        Field(1, "populate_job_result", STRUCT, _POPULATE_JOB_RESULT),
        Field(3, "schedule_status_result", STRUCT, _SCHEDULE_STATUS_RESULT),
        Field(4, "get_jobs_result", STRUCT, _GET_JOBS_RESULT),
        Field(5, "get_quota_result", STRUCT, _GET_QUOTA_RESULT),
        Field(6, "list_backups_result", STRUCT, _LIST_BACKUPS_RESULT),
        Field(7, "start_maintenance_result", STRUCT, _START_MAINTENANCE_RESULT),
        Field(8, "drain_hosts_result", STRUCT, _DRAIN_HOSTS_RESULT),
        Field(9, "query_recovery_result", STRUCT, _QUERY_RECOVERY_RESULT),
        Field(10, "maintenance_status_result", STRUCT, _MAINTENANCE_STATUS_RESULT),
        Field(11, "end_maintenance_result", STRUCT, _END_MAINTENANCE_RESULT),
        Field(17, "role_summary_result", STRUCT, _ROLE_SUMMARY_RESULT),
        Field(18, "job_summary_result", STRUCT, _JOB_SUMMARY_RESULT),
        Field(20, "config_summary_result", STRUCT, _CONFIG_SUMMARY_RESULT),
        Field(21, "get_pending_reason_result", STRUCT, _GET_PENDING_REASON_RESULT),
        Field(22, "start_job_update_result", STRUCT, _START_JOB_UPDATE_RESULT),
        Field(23, "get_job_update_summaries_result", STRUCT, _GET_JOB_UPDATE_SUMMARIES_RESULT),
        Field(24, "get_job_update_details_result", STRUCT, _GET_JOB_UPDATE_DETAILS_RESULT),
        Field(25, "pulse_job_update_result", STRUCT, _PULSE_JOB_UPDATE_RESULT),
        Field(26, "get_job_update_diff_result", STRUCT, _GET_JOB_UPDATE_DIFF_RESULT),
        Field(27, "get_tier_config_result", STRUCT, _GET_TIER_CONFIG_RESULT),
    ],
)
_RESPONSE_DETAIL: Final = StructType(
    ResponseDetail,
    [
        Field(1, "message", STRING),
    ],
)
RESPONSE: Final = StructType(
    Response,
    [
        Field(1, "response_code", I32, convert=ResponseCode),
        Field(5, "server_info", STRUCT, _SERVER_INFO),
        Field(3, "result", STRUCT, RESULT),
        Field(6, "details", LIST, _RESPONSE_DETAIL, of=STRUCT),
    ],
)
EXPLICIT_RECONCILIATION_SETTINGS: Final = StructType(
    ExplicitReconciliationSettings,
    [
        Field(1, "batch_size", I32),
    ],
)
_STORED_JOB_UPDATE_DETAILS: Final = StructType(
    StoredJobUpdateDetails,
    [
        Field(1, "details", STRUCT, JOB_UPDATE_DETAILS),
    ],
)
_STORED_CRON_JOB: Final = StructType(
    StoredCronJob,
    [
        Field(3, "job_configuration", STRUCT, JOB_CONFIGURATION),
    ],
)
_SCHEDULER_METADATA: Final = StructType(
    SchedulerMetadata,
    [
        Field(1, "framework_id", STRING),
        Field(8, "details", MAP, of=STRING),
    ],
)
_QUOTA_CONFIGURATION: Final = StructType(
    QuotaConfiguration,
    [
        Field(1, "role", STRING),
        Field(2, "quota", STRUCT, RESOURCE_AGGREGATE),
    ],
)
SNAPSHOT: Final = StructType(
    Snapshot,
    [
        Field(1, "timestamp", I64),
        Field(3, "host_attributes", SET, HOST_ATTRIBUTES, of=STRUCT),
        Field(4, "tasks", SET, SCHEDULED_TASK, of=STRUCT),
        Field(5, "cron_jobs", SET, _STORED_CRON_JOB, of=STRUCT),
        Field(6, "scheduler_metadata", STRUCT, _SCHEDULER_METADATA),
        Field(8, "quota_configurations", SET, _QUOTA_CONFIGURATION, of=STRUCT),
        Field(10, "job_update_details", SET, _STORED_JOB_UPDATE_DETAILS, of=STRUCT),
        Field(13, "host_maintenance_requests", SET, HOST_MAINTENANCE_REQUEST, of=STRUCT),
    ],
)
_DEDUPLICATED_SCHEDULED_TASK: Final = StructType(
    DeduplicatedScheduledTask,
    [
        Field(1, "partial_scheduled_task", STRUCT, SCHEDULED_TASK),
        Field(2, "task_config_id", I32),
    ],
)
DEDUPLICATED_SNAPSHOT: Final = StructType(
    DeduplicatedSnapshot,
    [
        Field(1, "partial_snapshot", STRUCT, SNAPSHOT),
        Field(2, "partial_tasks", LIST, _DEDUPLICATED_SCHEDULED_TASK, of=STRUCT),
        Field(3, "task_configs", LIST, TASK_CONFIG, of=STRUCT),
    ],
)

#: Every method, by name: the service that it belongs to, and the table of its arguments.
METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "getRoleSummary": Method("getRoleSummary", Service.READ_ONLY, ()),
        "getJobSummary": Method("getJobSummary", Service.READ_ONLY, (Field(1, "role", STRING),)),
        "getTasksStatus": Method("getTasksStatus", Service.READ_ONLY, (Field(1, "query", STRUCT, TASK_QUERY),)),
        "getTasksWithoutConfigs": Method(
            "getTasksWithoutConfigs", Service.READ_ONLY, (Field(1, "query", STRUCT, TASK_QUERY),)
        ),
        "getPendingReason": Method("getPendingReason", Service.READ_ONLY, (Field(1, "query", STRUCT, TASK_QUERY),)),
        "getConfigSummary": Method("getConfigSummary", Service.READ_ONLY, (Field(1, "job", STRUCT, JOB_KEY),)),
        "getJobs": Method("getJobs", Service.READ_ONLY, (Field(1, "owner_role", STRING),)),
        "getQuota": Method("getQuota", Service.READ_ONLY, (Field(1, "owner_role", STRING),)),
        "populateJobConfig": Method(
            "populateJobConfig", Service.READ_ONLY, (Field(1, "description", STRUCT, JOB_CONFIGURATION),)
        ),
        "getJobUpdateSummaries": Method(
            "getJobUpdateSummaries", Service.READ_ONLY, (Field(1, "job_update_query", STRUCT, JOB_UPDATE_QUERY),)
        ),
        "getJobUpdateDetails": Method(
            "getJobUpdateDetails",
            Service.READ_ONLY,
            (
                Field(1, "key", STRUCT, JOB_UPDATE_KEY),
                Field(2, "query", STRUCT, JOB_UPDATE_QUERY),
            ),
        ),
        "getJobUpdateDiff": Method(
            "getJobUpdateDiff", Service.READ_ONLY, (Field(1, "request", STRUCT, JOB_UPDATE_REQUEST),)
        ),
        "getTierConfigs": Method("getTierConfigs", Service.READ_ONLY, ()),
        "createJob": Method("createJob", Service.MANAGER, (Field(1, "description", STRUCT, JOB_CONFIGURATION),)),
        "scheduleCronJob": Method(
            "scheduleCronJob", Service.MANAGER, (Field(1, "description", STRUCT, JOB_CONFIGURATION),)
        ),
        "descheduleCronJob": Method("descheduleCronJob", Service.MANAGER, (Field(4, "job", STRUCT, JOB_KEY),)),
        "startCronJob": Method("startCronJob", Service.MANAGER, (Field(4, "job", STRUCT, JOB_KEY),)),
        "restartShards": Method(
            "restartShards",
            Service.MANAGER,
            (
                Field(5, "job", STRUCT, JOB_KEY),
                Field(3, "shard_ids", SET, of=I32),
            ),
        ),
        "killTasks": Method(
            "killTasks",
            Service.MANAGER,
            (
                Field(4, "job", STRUCT, JOB_KEY),
                Field(5, "instances", SET, of=I32),
                Field(6, "message", STRING),
            ),
        ),
        "addInstances": Method(
            "addInstances",
            Service.MANAGER,
            (
                Field(3, "key", STRUCT, INSTANCE_KEY),
                Field(4, "count", I32),
            ),
        ),
        "replaceCronTemplate": Method(
            "replaceCronTemplate", Service.MANAGER, (Field(1, "config", STRUCT, JOB_CONFIGURATION),)
        ),
        "startJobUpdate": Method(
            "startJobUpdate",
            Service.MANAGER,
            (
                Field(1, "request", STRUCT, JOB_UPDATE_REQUEST),
                Field(3, "message", STRING),
            ),
        ),
        "pauseJobUpdate": Method(
            "pauseJobUpdate",
            Service.MANAGER,
            (
                Field(1, "key", STRUCT, JOB_UPDATE_KEY),
                Field(3, "message", STRING),
            ),
        ),
        "resumeJobUpdate": Method(
            "resumeJobUpdate",
            Service.MANAGER,
            (
                Field(1, "key", STRUCT, JOB_UPDATE_KEY),
                Field(3, "message", STRING),
            ),
        ),
        "abortJobUpdate": Method(
            "abortJobUpdate",
            Service.MANAGER,
            (
                Field(1, "key", STRUCT, JOB_UPDATE_KEY),
                Field(3, "message", STRING),
            ),
        ),
        "rollbackJobUpdate": Method(
            "rollbackJobUpdate",
            Service.MANAGER,
            (
                Field(1, "key", STRUCT, JOB_UPDATE_KEY),
                Field(2, "message", STRING),
            ),
        ),
        "pulseJobUpdate": Method("pulseJobUpdate", Service.MANAGER, (Field(1, "key", STRUCT, JOB_UPDATE_KEY),)),
        "setQuota": Method(
            "setQuota",
            Service.ADMIN,
            (
                Field(1, "owner_role", STRING),
                Field(2, "quota", STRUCT, RESOURCE_AGGREGATE),
            ),
        ),
        "forceTaskState": Method(
            "forceTaskState",
            Service.ADMIN,
            (
                Field(1, "task_id", STRING),
                Field(2, "status", I32, convert=ScheduleStatus),
            ),
        ),
        "performBackup": Method("performBackup", Service.ADMIN, ()),
        "listBackups": Method("listBackups", Service.ADMIN, ()),
        "stageRecovery": Method("stageRecovery", Service.ADMIN, (Field(1, "backup_id", STRING),)),
        "queryRecovery": Method("queryRecovery", Service.ADMIN, (Field(1, "query", STRUCT, TASK_QUERY),)),
        "deleteRecoveryTasks": Method("deleteRecoveryTasks", Service.ADMIN, (Field(1, "query", STRUCT, TASK_QUERY),)),
        "commitRecovery": Method("commitRecovery", Service.ADMIN, ()),
        "unloadRecovery": Method("unloadRecovery", Service.ADMIN, ()),
        "startMaintenance": Method("startMaintenance", Service.ADMIN, (Field(1, "hosts", STRUCT, HOSTS),)),
        "drainHosts": Method("drainHosts", Service.ADMIN, (Field(1, "hosts", STRUCT, HOSTS),)),
        "maintenanceStatus": Method("maintenanceStatus", Service.ADMIN, (Field(1, "hosts", STRUCT, HOSTS),)),
        "endMaintenance": Method("endMaintenance", Service.ADMIN, (Field(1, "hosts", STRUCT, HOSTS),)),
        "slaDrainHosts": Method(
            "slaDrainHosts",
            Service.ADMIN,
            (
                Field(1, "hosts", STRUCT, HOSTS),
                Field(2, "default_sla_policy", STRUCT, SLA_POLICY),
                Field(3, "timeout_secs", I64),
            ),
        ),
        "snapshot": Method("snapshot", Service.ADMIN, ()),
        "triggerExplicitTaskReconciliation": Method(
            "triggerExplicitTaskReconciliation",
            Service.ADMIN,
            (Field(1, "settings", STRUCT, EXPLICIT_RECONCILIATION_SETTINGS),),
        ),
        "triggerImplicitTaskReconciliation": Method("triggerImplicitTaskReconciliation", Service.ADMIN, ()),
        "pruneTasks": Method("pruneTasks", Service.ADMIN, (Field(1, "query", STRUCT, TASK_QUERY),)),
    }
)
