"""Flags of Aurora's scheduler that there are not here: which are taken and ignored, which are refused, and why.

So that an operator's old command line starts, or is told in one go what to change. Source: Aurora 0.22,
``CommandLineTest.java`` and ``aurora-scheduler -help``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Retired(NamedTuple):
    """*why* it is ignored; where only some *values* are taken (empty: none), what to do *instead* of all others."""

    why: str
    values: tuple[str, ...] | None = None
    instead: str = ""

    def refuses(self, value: str) -> bool:
        """Whether that cannot be ignored: it asks for something that would not be done."""
        return self.values is not None and value.lower() not in map(str.lower, self.values)


def _only(values: str, why: str, instead: str) -> Retired:
    return Retired(why, tuple(values.split()), instead)


_STORE: Final = Retired("what the scheduler keeps is in --store; Mesos' replicated log is not used")
_BATCHES: Final = Retired("whatever waits is decided about together, by one thread")
_FIGURES: Final = Retired("figures are made when they are asked for; what they were, Prometheus can keep")
_CRON: Final = Retired("a run that waits for the one before it begins as soon as that one is gone")
_MODULES: Final = _only("", "classes of Java cannot be loaded", "leave it out; classes of Java cannot be loaded")
_KERBEROS: Final = _only(
    "",
    "there is no Kerberos",
    "there is no Kerberos: use --shiro-ini-path, or a proxy that knows it, before the scheduler",
)
_DATABASE: Final = Retired("it was of a store that Aurora gave up itself")
_LOG: Final = Retired("the log goes to stderr; --verbose makes it say more")
_INI_REALM: Final = "INI_AUTHNZ org.apache.aurora.scheduler.http.api.security.IniShiroRealmModule"

#: Name, as Aurora spells it → what becomes of it here.
RETIRED: Final[Mapping[str, Retired]] = MappingProxyType(
    {
        "async_slot_stat_update_interval": _FIGURES,
        "async_task_stat_update_interval": _FIGURES,
        "async_worker_threads": _BATCHES,
        "cron_scheduler_num_threads": _BATCHES,
        "cron_scheduling_max_batch_size": _BATCHES,
        "cron_start_initial_backoff": _CRON,
        "cron_start_max_backoff": _CRON,
        "db_lock_timeout": _DATABASE,
        "db_max_active_connection_count": _DATABASE,
        "db_max_idle_connection_count": _DATABASE,
        "db_row_gc_interval": _DATABASE,
        "dlog_max_entry_size": _STORE,
        "dlog_shutdown_grace_period": _STORE,
        "dlog_snapshot_interval": _STORE,
        "enable_cors_for": Retired(
            "the API has no answer for pages of other sites; a proxy before it can add the headers"
        ),
        "enable_h2_console": _DATABASE,
        "http_authentication_mechanism": _only(
            "NONE BASIC",
            "with --shiro-ini-path it is BASIC, without it NONE",
            "only NONE and BASIC are known: use --shiro-ini-path, or a proxy that knows Kerberos, before the scheduler",
        ),
        "kerberos_debug": Retired("there is no Kerberos"),
        "kerberos_server_keytab": _KERBEROS,
        "kerberos_server_principal": _KERBEROS,
        "logtostderr": _LOG,
        "max_leading_duration": Retired(
            "a leader leads for as long as it can; to have it end daily, set RuntimeMaxSec= in its systemd unit"
        ),
        "max_status_update_batch_size": _BATCHES,
        "max_task_event_batch_size": _BATCHES,
        "mesos_driver": Retired("Mesos is spoken to over its HTTP API, version 1, whatever this says"),
        "native_log_election_retries": _STORE,
        "native_log_election_timeout": _STORE,
        "native_log_file_path": _STORE,
        "native_log_quorum_size": Retired(
            "the store is --store; where this is more than 1, that must be one for several, postgresql://…"
        ),
        "native_log_read_timeout": _STORE,
        "native_log_write_timeout": _STORE,
        "native_log_zk_group_path": _STORE,
        "offer_order_modules": _MODULES,
        "offer_static_ban_cache_max_size": Retired("agents are looked at through indexes; nothing is banned"),
        "preemption_slot_finder_modules": _MODULES,
        "scheduling_max_batch_size": _BATCHES,
        "serverset_endpoint_name": _only(
            "http https",
            "clients find the API as http, or as https with --tls-cert",
            "leave it out; clients take that name for the scheme of the API's URL",
        ),
        "shiro_after_auth_filter": _MODULES,
        "shiro_credentials_matcher": _only(
            "org.apache.shiro.authc.credential.SimpleCredentialsMatcher",
            "passwords are compared as they stand",
            "passwords are compared as they stand in --shiro-ini-path: leave it out, and write them plainly",
        ),
        "shiro_realm_modules": _only(
            _INI_REALM,
            "users are those of --shiro-ini-path",
            "users are those of --shiro-ini-path alone: leave it out, and write them there",
        ),
        "sla_aware_action_max_batch_size": _BATCHES,
        "slow_query_log_threshold": _DATABASE,
        "stat_retention_period": _FIGURES,
        "stat_sampling_interval": _FIGURES,
        "task_assigner_modules": _MODULES,
        "thrift_method_interceptor_modules": _MODULES,
        "use_beta_db_task_store": _DATABASE,
        "vlog": _LOG,
        "zk_connection_timeout": Retired("ZooKeeper is tried for as long as it takes"),
        "zk_in_proc": _only(
            "false",
            "ZooKeeper is always another process",
            "there is no ZooKeeper within: use --local, or, for a single scheduler, leave out --zk-endpoints",
        ),
    }
)


def ignored(given: Mapping[str, str]) -> tuple[str, ...]:
    """What to tell of those that were *given* (name → value) and do nothing; of the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, value in given.items():
        if not RETIRED[name].refuses(value):
            by_reason.setdefault(RETIRED[name].why, []).append(f"-{name}")
    return tuple(f"{', '.join(names)}: ignored; {why}" for why, names in by_reason.items())


def refused(given: Mapping[str, str], has_users: bool, is_shared: bool) -> tuple[str, ...]:
    """What is wrong with those that were *given*. *has_users*: there is a file of users; *is_shared*: the store is for
    several schedulers."""
    problems = [
        f"-{name} {value}: {RETIRED[name].instead}" for name, value in given.items() if RETIRED[name].refuses(value)
    ]
    mechanism = given.get("http_authentication_mechanism", "").upper()
    if mechanism == "BASIC" and not has_users:
        problems.append("-http_authentication_mechanism BASIC: -shiro_ini_path is missing, which names the users")
    if mechanism == "NONE" and has_users:
        problems.append("-http_authentication_mechanism NONE: but -shiro_ini_path is there; leave out one of the two")
    quorum = given.get("native_log_quorum_size", "1")
    if quorum != "1" and not is_shared:
        problems.append(
            f"-native_log_quorum_size {quorum}: for several schedulers -store must be one that they share, "
            "postgresql://…; for a single one leave it out"
        )
    return tuple(problems)
