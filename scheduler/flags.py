"""The flags of ``aurora-scheduler``: Aurora's names and defaults, as one table.

Every flag may be written as Aurora's users do (``-cluster_name=x``) or in this project's way (``--cluster-name x``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from scheduler.core.settings import Settings
from scheduler.flag_values import (
    LONGEST_S,
    duration,
    megabytes,
    number,
    pairs,
    set_of_words,
    time_zone,
    truth,
    whole,
    words,
)


class Flag(NamedTuple):
    """One flag: its name in Aurora's spelling, how its value is read, its default, what it means."""

    name: str
    read: Callable[[str], Any]
    default: Any
    doc: str
    #: The field of :class:`Settings` that it sets.
    setting: str | None = None
    #: Another name that it has in Aurora.
    alias: str | None = None

    @property
    def spellings(self) -> tuple[str, ...]:
        return spellings_of(self.name) + (spellings_of(self.alias) if self.alias is not None else ())


def spellings_of(name: str) -> tuple[str, ...]:
    """Every way in which the flag *name* may be written."""
    return tuple(dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}", f"-{name}")))


def _setting(name: str, read: Callable[[str], Any], setting: str, doc: str) -> Flag:
    default = next(field.default for field in fields(Settings) if field.name == setting)
    return Flag(name, read, default, doc, setting)


#: Area → its flags, in the order in which help shows them.
FLAGS: Final[MappingProxyType[str, tuple[Flag, ...]]] = MappingProxyType(
    {
        "who this is": (
            _setting("cluster_name", str, "cluster_name", "the cluster's name, as clients know it"),
            Flag("hostname", str, None, "how others reach this host (default: its name)"),
            Flag("ip", str, "127.0.0.1", "the address to listen on; 0.0.0.0 for all"),
            Flag("http_port", whole, 8081, "the port of the API and the pages; 0: any that is free"),
            Flag("tls_cert", str, None, "certificate (chain) as PEM: then the API speaks https"),
            Flag("tls_key", str, None, "the certificate's key as PEM"),
            Flag("shiro_ini_path", str, None, "users, roles and permissions; without it everybody may do everything"),
            Flag("require_auth_for_reads", truth, False, "pages and reading methods want a user, too"),
            Flag(
                "stats_url_prefix",
                str,
                "",
                "where clients are told that statistics are; Aurora's -viz_job_url_prefix",
                alias="viz_job_url_prefix",
            ),
            Flag(
                "task_page_url",
                str,
                "http://{host}:1338/task/{task_id}",
                "a task's page on its agent, to which ours lead: with {host}, {task_id}, {agent_id}, {framework_id}",
            ),
        ),
        "what it keeps": (
            Flag("store", str, "aurora-scheduler.db", "a file, or postgresql://… for schedulers on two hosts"),
            Flag("backup_dir", str, None, "where hourly backups go; without it there are none"),
            Flag("backup_interval", duration, 3600.0, "how often a backup is made"),
            Flag("max_saved_backups", whole, 48, "how many backups are kept"),
        ),
        "whom it tells": (
            Flag(
                "webhook_config", str, None, "a file that says to which HTTP server changes of tasks' states are posted"
            ),
        ),
        "ZooKeeper": (
            Flag("zk_endpoints", words, (), "host:port,… of the ensemble; without it this is the only scheduler"),
            Flag("zk_chroot_path", str, None, "below which everything lies there"),
            Flag("zk_digest_credentials", str, None, "user:password"),
            Flag("zk_session_timeout", duration, 15.0, "how long ZooKeeper waits for us before another one leads"),
            Flag(
                "serverset_path",
                str,
                "/aurora/scheduler",
                "where schedulers stand for election, and the leader is found",
            ),
        ),
        "Mesos": (
            Flag("mesos_master_address", str, None, "zk://…/mesos, or host:port[,host:port…]"),
            Flag("mesos_tls_ca", str, None, "speak https to the master; certificates (PEM) that are trusted"),
            Flag("mesos_role", str, "*", "whose resources are asked for"),
            Flag("framework_name", str, "Aurora", "how Mesos shows us"),
            Flag("framework_failover_timeout", duration, 21 * 86400.0, "how long Mesos keeps tasks while nobody leads"),
            Flag(
                "framework_authentication_file",
                str,
                None,
                "principal and secret, as lines aurora_authentication_principal=… and aurora_authentication_secret=…",
            ),
            Flag("max_registration_delay", duration, 60.0, "who leads, and is not known to Mesos by then, lets others"),
            Flag("framework_announce_principal", truth, False, "tell the principal in the framework's description"),
            Flag("executor_user", str, "root", "as whom executors are started"),
        ),
        "offers": (
            _setting("min_offer_hold_time", duration, "min_offer_hold_time_s", "offers are kept at least so long"),
            _setting(
                "offer_hold_jitter_window", duration, "offer_hold_jitter_window_s", "… and at most so much longer"
            ),
            _setting(
                "offer_filter_duration", duration, "offer_filter_duration_s", "declined offers come again after this"
            ),
            _setting("hold_offers_forever", truth, "hold_offers_forever", "never decline"),
            _setting("offer_order", words, "offer_order", "RANDOM, CPU, MEMORY, DISK, REVOCABLE_CPU: smallest first"),
            _setting(
                "offer_reservation_duration", duration, "offer_reservation_duration_s", "how long an agent is kept"
            ),
        ),
        "scheduling": (
            _setting("first_schedule_delay", duration, "first_schedule_delay_s", "a new task waits so long"),
            _setting(
                "initial_schedule_penalty", duration, "initial_schedule_penalty_s", "after it found no place; doubles"
            ),
            _setting("max_schedule_penalty", duration, "max_schedule_penalty_s", "… up to this"),
            _setting("max_schedule_attempts_per_sec", number, "max_schedule_attempts_per_s", "so many groups a second"),
            _setting("max_tasks_per_schedule_attempt", whole, "max_tasks_per_schedule_attempt", "so many tasks of one"),
            _setting(
                "max_reschedule_task_delay_on_startup",
                duration,
                "max_reschedule_delay_on_startup_s",
                "waiting tasks wait up to so long after a start",
            ),
            _setting("flapping_task_threshold", duration, "flapping_task_threshold_s", "a task that ran less flaps"),
            _setting(
                "initial_flapping_task_delay", duration, "initial_flapping_task_delay_s", "its successor waits; doubles"
            ),
            _setting("max_flapping_task_delay", duration, "max_flapping_task_delay_s", "… up to this"),
            _setting(
                "transient_task_state_timeout",
                duration,
                "transient_task_state_timeout_s",
                "nothing heard of a task in between for so long: LOST",
            ),
            _setting(
                "initial_task_kill_retry_interval",
                duration,
                "initial_task_kill_retry_interval_s",
                "kills are repeated; doubles",
            ),
            _setting(
                "partition_aware", truth, "is_partition_aware", "Mesos tells of partitions; Aurora's default is false"
            ),
        ),
        "reconciliation": (
            _setting("reconciliation_initial_delay", duration, "reconciliation_initial_delay_s", "after registration"),
            _setting(
                "reconciliation_explicit_interval", duration, "reconciliation_explicit_interval_s", "all that we know"
            ),
            _setting(
                "reconciliation_explicit_batch_size", whole, "reconciliation_explicit_batch_size", "tasks a batch"
            ),
            _setting(
                "reconciliation_explicit_batch_interval",
                duration,
                "reconciliation_explicit_batch_interval_s",
                "between batches",
            ),
            _setting(
                "reconciliation_implicit_interval",
                duration,
                "reconciliation_implicit_interval_s",
                "all that Mesos knows",
            ),
            _setting("reconciliation_schedule_spread", duration, "reconciliation_schedule_spread_s", "between the two"),
        ),
        "history": (
            _setting(
                "history_prune_threshold", duration, "history_prune_threshold_s", "tasks that are over go after this"
            ),
            _setting("history_max_per_job_threshold", whole, "history_max_per_job", "… or when a job has more"),
            _setting("history_min_retention_threshold", duration, "history_min_retention_s", "… but not before this"),
        ),
        "preemption": (
            _setting(
                "enable_preemptor", truth, "enable_preemptor", "tasks that matter less give way to those that wait"
            ),
            _setting("preemption_delay", duration, "preemption_delay_s", "… for so long"),
            _setting(
                "preemption_slot_search_initial_delay",
                duration,
                "preemption_slot_search_initial_delay_s",
                "after a start, offers may come first",
            ),
            _setting(
                "preemption_slot_search_interval",
                duration,
                "preemption_slot_search_interval_s",
                "how often room is looked for, while any do",
            ),
            _setting(
                "preemption_slot_hold_time",
                duration,
                "preemption_slot_hold_time_s",
                "room that was made is waited for so long before more is",
            ),
            _setting(
                "preemption_reservation_max_batch_size",
                whole,
                "preemption_reservation_max_batch_size",
                "for so many tasks of one group at a time",
            ),
        ),
        "cron": (
            _setting("cron_timezone", time_zone, "cron_timezone", "whose clock schedules mean, such as Europe/Berlin"),
            _setting("cron_run_missed", truth, "cron_run_missed", "a job of which runs were missed is run once, late"),
        ),
        "job updates": (
            _setting(
                "job_update_history_per_job_threshold",
                whole,
                "job_update_history_per_job",
                "so many that are over, a job",
            ),
            _setting(
                "job_update_history_pruning_interval",
                duration,
                "job_update_history_pruning_interval_s",
                "how often the others are looked for",
            ),
            _setting(
                "job_update_history_pruning_threshold",
                duration,
                "job_update_history_pruning_threshold_s",
                "those that are over go after this",
            ),
            _setting(
                "enable_update_affinity", truth, "enable_update_affinity", "an updated instance stays on its agent"
            ),
            _setting(
                "update_affinity_reservation_hold_time",
                duration,
                "update_affinity_reservation_hold_time_s",
                "how long its place is kept",
            ),
            _setting(
                "sla_aware_kill_retry_min_delay",
                duration,
                "sla_aware_kill_retry_min_delay_s",
                "a kill that was not allowed is tried again; doubles",
            ),
            _setting("sla_aware_kill_retry_max_delay", duration, "sla_aware_kill_retry_max_delay_s", "… up to this"),
        ),
        "what jobs may do": (
            _setting("max_tasks_per_job", whole, "max_tasks_per_job", "instances of a job"),
            _setting(
                "max_update_instance_failures",
                whole,
                "max_update_instance_failures",
                "failures of tasks that an update may allow: of one instance, times its instances",
            ),
            _setting("allowed_job_environments", str, "allowed_job_environments", "a regular expression"),
            _setting("allowed_container_types", set_of_words, "allowed_container_types", "MESOS, DOCKER"),
            _setting("allow_docker_parameters", truth, "allow_docker_parameters", "options of docker run"),
            _setting(
                "require_docker_use_executor", truth, "require_docker_use_executor", "Docker jobs need an executor"
            ),
            _setting("allow_gpu_resource", truth, "allow_gpu_resource", "jobs may ask for GPUs"),
            _setting("allow_container_volumes", truth, "allow_container_volumes", "jobs may mount volumes"),
            _setting("enable_mesos_fetcher", truth, "enable_mesos_fetcher", "jobs may have URIs fetched"),
            _setting(
                "receive_revocable_resources", truth, "receive_revocable_resources", "use what Mesos may take back"
            ),
            _setting("enable_revocable_cpus", truth, "enable_revocable_cpus", "… of CPUs"),
            _setting("enable_revocable_ram", truth, "enable_revocable_ram", "… of memory"),
            Flag("tier_config", str, None, "a file that names the tiers"),
        ),
        "maintenance and SLA": (
            _setting(
                "unavailability_threshold",
                duration,
                "unavailability_threshold_s",
                "an agent that Mesos says is about to go is not used so long before, and emptied",
            ),
            _setting(
                "host_maintenance_polling_interval",
                duration,
                "host_maintenance_polling_interval_s",
                "how often it is looked at what may leave a host that is drained",
            ),
            _setting("sla_aware_kill_non_prod", truth, "sla_aware_kill_non_prod", "SLA policies hold for all tiers"),
            _setting(
                "min_required_instances_for_sla_check",
                whole,
                "min_required_instances_for_sla_check",
                "of jobs with fewer instances, a policy of percentage or count keeps none",
            ),
            _setting(
                "max_sla_duration_secs", duration, "max_sla_duration_s", "the longest duration that a policy may have"
            ),
            _setting("sla_coordinator_timeout", duration, "sla_coordinator_timeout_s", "then it has said no"),
            _setting(
                "max_parallel_coordinated_maintenance",
                whole,
                "max_parallel_coordinated_maintenance",
                "so many coordinators are asked at once",
            ),
            _setting(
                "sla_stat_refresh_interval", duration, "sla_stat_refresh_interval_s", "how often SLA figures are made"
            ),
            _setting(
                "sla_prod_metrics",
                set_of_words,
                "sla_prod_metrics",
                "of production services: JOB_UPTIMES, MEDIANS, PLATFORM_UPTIME",
            ),
            _setting("sla_non_prod_metrics", set_of_words, "sla_non_prod_metrics", "… and of all other services"),
        ),
        "executors": (
            Flag("thermos_executor_path", str, None, "where agents fetch the executor from, or where it lies on them"),
            Flag("thermos_executor_flags", str, "", "flags for it"),
            Flag("thermos_executor_resources", words, (), "more that is fetched into the sandbox"),
            Flag("thermos_executor_cpu", number, 0.05, "CPUs that each executor is given; Aurora's was 0.25"),
            Flag("thermos_executor_ram", megabytes, 64, "memory that each executor is given; Aurora's was 128MB"),
            Flag("thermos_home_in_sandbox", truth, False, "HOME is the sandbox"),
            Flag("custom_executor_config", str, None, "a file that describes other executors"),
            Flag("populate_discovery_info", truth, False, "tell Mesos of each task's ports"),
            Flag("global_container_mounts", words, (), "host:container:mode,… for every container"),
            _setting(
                "default_docker_parameters",
                pairs,
                "default_docker_parameters",
                "name=value,… for Docker containers of jobs that give none",
            ),
        ),
    }
)

#: What is done again and again; less would keep the machine busy with that alone.
_AGAIN: Final = (0.1, LONGEST_S)
_SOME: Final = (1, 10**9)
#: Flag → from, to: beyond, its number (seconds, megabytes) would be nonsense. Durations not named are 0 or more.
RANGES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "http_port": (0, 65535),
        "max_saved_backups": _SOME,
        "backup_interval": _AGAIN,
        "zk_session_timeout": (0.1, 86400),
        "framework_failover_timeout": (1, LONGEST_S),  # 0: Mesos would kill all tasks as soon as nobody leads
        "max_registration_delay": (1, LONGEST_S),
        "initial_schedule_penalty": (0.001, LONGEST_S),
        "max_schedule_penalty": (0.001, LONGEST_S),
        "max_schedule_attempts_per_sec": (0.01, 10**9),
        "max_tasks_per_schedule_attempt": _SOME,
        "transient_task_state_timeout": _AGAIN,
        "initial_task_kill_retry_interval": _AGAIN,
        "reconciliation_explicit_interval": _AGAIN,
        "reconciliation_explicit_batch_size": _SOME,
        "reconciliation_implicit_interval": _AGAIN,
        "history_max_per_job_threshold": (0, 10**9),
        "preemption_slot_search_interval": _AGAIN,
        "preemption_reservation_max_batch_size": _SOME,
        "job_update_history_per_job_threshold": (0, 10**9),
        "job_update_history_pruning_interval": _AGAIN,
        "sla_aware_kill_retry_min_delay": _AGAIN,
        "sla_aware_kill_retry_max_delay": _AGAIN,
        "max_tasks_per_job": _SOME,
        "max_update_instance_failures": _SOME,
        "host_maintenance_polling_interval": _AGAIN,
        "min_required_instances_for_sla_check": (0, 10**9),
        "sla_coordinator_timeout": _AGAIN,
        "max_parallel_coordinated_maintenance": (1, 1000),
        "sla_stat_refresh_interval": _AGAIN,
        "thermos_executor_cpu": (0, 10**6),
        "thermos_executor_ram": (0, 10**9),
    }
)


def default_of(name: str) -> Any:
    """The default of the flag *name*."""
    return next(flag.default for flags in FLAGS.values() for flag in flags if flag.name == name)


def range_of(flag: Flag) -> tuple[float, float] | None:
    """The smallest and the largest number that it takes; None: it takes no number."""
    return RANGES.get(flag.name, (0, LONGEST_S) if flag.read is duration else None)
