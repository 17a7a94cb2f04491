"""What an operator can set of the scheduler's decisions. Defaults are Aurora 0.22's; each is named like its flag."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from types import MappingProxyType
from typing import Any, Final

from scheduler.model import Resources, Tier

#: Tiers as Aurora ships them (``tiers.json``).
TIERS: Final = (
    Tier("preferred", is_preemptible=False, is_revocable=False),
    Tier("preemptible", is_preemptible=True, is_revocable=False),
    Tier("revocable", is_preemptible=True, is_revocable=True),
)


#: Kinds of SLA figures (``MetricCalculator.java``).
SLA_METRICS: Final = frozenset({"JOB_UPTIMES", "MEDIANS", "PLATFORM_UPTIME"})


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """One executor that jobs may name, and what it takes for itself. *raw*: the rest of its ``ExecutorInfo``, as JSON
    (command, URIs, environment, shutdown grace)."""

    name: str
    overhead: Resources
    raw: dict[str, Any]
    #: Its id is this and the task's id.
    task_prefix: str = "thermos-"
    volume_mounts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    cluster_name: str = "example"
    #: In every event, as Aurora has it.
    hostname: str = "localhost"

    # -- offers
    min_offer_hold_time_s: float = 300.0
    offer_hold_jitter_window_s: float = 60.0
    offer_filter_duration_s: float = 5.0
    hold_offers_forever: bool = False
    #: RANDOM, CPU, MEMORY, DISK, REVOCABLE_CPU; ascending, so that small rests are used up first.
    offer_order: tuple[str, ...] = ("RANDOM",)
    offer_reservation_duration_s: float = 180.0
    unavailability_threshold_s: float = 360.0

    # -- scheduling
    first_schedule_delay_s: float = 0.001
    initial_schedule_penalty_s: float = 1.0
    max_schedule_penalty_s: float = 60.0
    #: Aurora's is 40. An attempt that finds nothing costs next to nothing here, whatever the number of agents.
    max_schedule_attempts_per_s: float = 1000.0
    #: More than Aurora's 5: an attempt costs little here, and a commit is shared by all of them.
    max_tasks_per_schedule_attempt: int = 50
    max_reschedule_delay_on_startup_s: float = 30.0
    flapping_task_threshold_s: float = 300.0
    initial_flapping_task_delay_s: float = 30.0
    max_flapping_task_delay_s: float = 300.0

    # -- states
    transient_task_state_timeout_s: float = 300.0
    initial_task_kill_retry_interval_s: float = 15.0
    is_partition_aware: bool = True

    # -- reconciliation
    reconciliation_initial_delay_s: float = 60.0
    reconciliation_explicit_interval_s: float = 3600.0
    reconciliation_explicit_batch_size: int = 1000
    reconciliation_explicit_batch_interval_s: float = 5.0
    reconciliation_implicit_interval_s: float = 3600.0
    reconciliation_schedule_spread_s: float = 1800.0

    # -- history
    history_prune_threshold_s: float = 2 * 86400.0
    history_max_per_job: int = 100
    history_min_retention_s: float = 3600.0

    # -- updates
    job_update_history_per_job: int = 10
    job_update_history_pruning_interval_s: float = 900.0
    job_update_history_pruning_threshold_s: float = 30 * 86400.0
    enable_update_affinity: bool = False
    update_affinity_reservation_hold_time_s: float = 180.0
    sla_aware_kill_retry_min_delay_s: float = 60.0
    sla_aware_kill_retry_max_delay_s: float = 300.0

    # -- limits and features
    max_tasks_per_job: int = 4000
    #: Failures of tasks that an update may allow, all in all.
    max_update_instance_failures: int = 20_000
    allowed_job_environments: str = r"^(prod|devel|test|staging\d*)$"
    allowed_container_types: frozenset[str] = frozenset({"MESOS"})
    allow_docker_parameters: bool = False
    default_docker_parameters: tuple[tuple[str, str], ...] = ()
    require_docker_use_executor: bool = True
    allow_gpu_resource: bool = False
    allow_container_volumes: bool = False
    enable_mesos_fetcher: bool = False
    receive_revocable_resources: bool = False
    enable_revocable_cpus: bool = True
    enable_revocable_ram: bool = False
    sla_aware_kill_non_prod: bool = False
    min_required_instances_for_sla_check: int = 20
    max_sla_duration_s: float = 7200.0

    # -- maintenance
    host_maintenance_polling_interval_s: float = 60.0
    sla_coordinator_timeout_s: float = 60.0
    max_parallel_coordinated_maintenance: int = 10
    sla_stat_refresh_interval_s: float = 60.0
    #: Some of ``SLA_METRICS``.
    sla_prod_metrics: frozenset[str] = SLA_METRICS
    sla_non_prod_metrics: frozenset[str] = frozenset()

    # -- preemption
    enable_preemptor: bool = True
    preemption_delay_s: float = 180.0
    preemption_slot_search_initial_delay_s: float = 180.0
    preemption_slot_search_interval_s: float = 60.0
    preemption_slot_hold_time_s: float = 300.0
    preemption_reservation_max_batch_size: int = 5

    # -- cron
    cron_timezone: tzinfo = UTC
    #: Whether a job of which runs were missed is run once, late.
    cron_run_missed: bool = False

    tiers: tuple[Tier, ...] = TIERS
    default_tier: str = "preemptible"
    executors: MappingProxyType[str, ExecutorSettings] = field(default_factory=lambda: MappingProxyType({}))

    def tier(self, name: str) -> Tier | None:
        """The tier of that name."""
        return next((tier for tier in self.tiers if tier.name == name), None)
