"""The nouns of ``aurora`` and their verbs, and the commands of ``aurora_admin``: which module has each.

A noun comes with a line here and its module; nothing else knows the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from scheduler.client.verb import Verb

#: Noun → what it is about.
SUMMARIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "job": "jobs: create, look, change, end",
        "update": "changes of a job, step by step",
        "cron": "jobs that start at the times of a schedule",
        "config": "configuration files",
        "quota": "what a role may use",
        "sla": "how long instances have been up",
        "task": "commands and files on the hosts of a job's instances",
    }
)

#: Noun → verb → module, in the order of the help.
NOUNS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "job": {
            "create": "job_create",
            "add": "job_add",
            "kill": "job_kill",
            "killall": "job_kill",
            "restart": "job_restart",
            "status": "job_status",
            "list": "job_status",
            "inspect": "job_inspect",
            "diff": "job_diff",
            "open": "job_open",
        },
        "update": {
            "start": "update_start",
            "pause": "update_change",
            "resume": "update_change",
            "abort": "update_change",
            "rollback": "update_change",
            "list": "update_show",
            "info": "update_show",
            "wait": "update_change",
        },
        "cron": {"schedule": "cron", "deschedule": "cron", "start": "cron", "show": "cron"},
        "config": {"list": "config"},
        "quota": {"get": "quota"},
        "sla": {"get-task-up-count": "sla", "get-job-uptime": "sla"},
        "task": {"run": "task_run", "ssh": "task_ssh", "scp": "task_scp"},
    }
)

#: Command of ``aurora_admin`` → module.
ADMIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "query": "admin_tasks",
        "prune_tasks": "admin_tasks",
        "reconcile_tasks": "admin_tasks",
        "set_quota": "admin_quota",
        "increase_quota": "admin_quota",
        "get_scheduler": "admin_cluster",
        "get_cluster_config": "admin_cluster",
        "scheduler_snapshot": "admin_store",
        "scheduler_backup_now": "admin_store",
        "scheduler_list_backups": "admin_store",
        "scheduler_stage_recovery": "admin_recovery",
        "scheduler_print_recovery_tasks": "admin_recovery",
        "scheduler_delete_recovery_tasks": "admin_recovery",
        "scheduler_commit_recovery": "admin_recovery",
        "scheduler_unload_recovery": "admin_recovery",
        "host_deactivate": "admin_hosts",
        "host_activate": "admin_hosts",
        "host_status": "admin_hosts",
        "host_drain": "admin_drain",
        "sla_host_drain": "admin_hosts",
        "sla_list_safe_domain": "admin_sla",
        "sla_probe_hosts": "admin_sla",
    }
)


def load(noun: str, verb: str) -> Verb:
    """A verb of :data:`NOUNS`."""
    return _load(NOUNS[noun][verb], f"{noun} {verb}")


def load_admin(command: str) -> Verb:
    """A command of :data:`ADMIN`."""
    return _load(ADMIN[command], command)


def _load(module: str, name: str) -> Verb:
    verbs: Mapping[str, Verb] = import_module(f"scheduler.client.verbs.{module}").VERBS
    return verbs[name]
