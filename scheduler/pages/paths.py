"""Where each page is, and where a task's page on its agent is; nothing else knows an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from scheduler.model import JobKey, Task

ROLES: Final = "/scheduler"
#: No role can be meant by these: they lie beside ``/scheduler``, which has a role in its next place.
AGENTS: Final = "/cluster/agents"
OFFERS: Final = "/cluster/offers"
PENDING: Final = "/cluster/pending"
CRON: Final = "/cluster/cron"
MAINTENANCE: Final = "/cluster/maintenance"
#: Stands between a job and an update's id: no instance has that name.
UPDATE: Final = "update"

#: What :func:`task_url` fills in.
PLACEHOLDERS: Final = ("host", "task_id", "agent_id", "framework_id")
_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")


def _below(*parts: str) -> str:
    return "/".join([ROLES, *(quote(part, safe="", errors="replace") for part in parts)])


def role_path(role: str, environment: str | None = None) -> str:
    """Page of a role's jobs, of one environment or of all."""
    return _below(role) if environment is None else _below(role, environment)


def job_path(job: JobKey) -> str:
    """Page of a job."""
    return _below(*job)


def instance_path(job: JobKey, instance: int) -> str:
    """Page of an instance."""
    return _below(*job, str(instance))


def update_path(job: JobKey, update_id: str) -> str:
    """Page of an update."""
    return _below(*job, UPDATE, update_id)


def agent_path(host: str) -> str:
    """Page of the agent on a host."""
    return f"{AGENTS}/{quote(host, safe='', errors='replace')}"


def with_query(path: str, query: Mapping[str, str | int | None]) -> str:
    """*path* with what is set of *query*."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def unknown_placeholders(template: str) -> list[str]:
    """What stands in braces in *template* and is none of PLACEHOLDERS."""
    return [name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]


def task_url(template: str, task: Task, framework_id: str | None) -> str | None:
    """The task's page on its agent; None where it is on none, or *template* is empty."""
    if not template or task.host is None:
        return None
    host = f"[{task.host}]" if ":" in task.host else task.host
    values = {
        "host": quote(host, safe="[]:", errors="replace"),
        "task_id": quote(task.task_id, safe="", errors="replace"),
        "agent_id": quote(task.agent_id or "", safe="", errors="replace"),
        "framework_id": quote(framework_id or "", safe="", errors="replace"),
    }
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)
