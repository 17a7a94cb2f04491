"""Output in the forms of Aurora's client, which scripts read, and as JSON.

Source: ``aurora/client/cli/{jobs,quota,sla}.py`` and ``aurora/config/resource.py``. The JSON of ``--write-json`` is
the original's; that of ``--json`` is ours: one object with ``"schema": 1``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from scheduler.states import ACTIVE
from scheduler.wire.plain_json import plain
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import Resource

#: Version of what ``--json`` prints; raised when a field changes its meaning or goes.
JSON_SCHEMA: Final = 1

#: Field, what it is called, its unit, in the order of display (``aurora/config/resource.py``).
_RESOURCES: Final = (
    ("num_cpus", "CPU", " core(s)"),
    ("ram_mb", "RAM", " MB"),
    ("disk_mb", "Disk", " MB"),
    ("named_port", "Port", ""),
    ("num_gpus", "GPU", " GPU(s)"),
)


def clean(text: object) -> str:
    """*text* with everything escaped that a terminal would act on: it comes from elsewhere."""
    shown = str(text)
    return shown if shown.isprintable() else "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in shown)


def print_json(answer: Mapping[str, Any]) -> None:
    """Print *answer* as one JSON object; indented on a terminal, else on one line."""
    print(json.dumps({"schema": JSON_SCHEMA, **answer}, indent=2 if sys.stdout.isatty() else None))


def resources(found: Iterable[Resource] | None) -> list[str]:
    """Each of a task's or a quota's resources, as ``CPU: 1.0 core(s)``."""
    lines = []
    for field, name, unit in _RESOURCES:
        values = sorted(value for each in found or () if (value := getattr(each, field)) is not None)
        lines += [f"{name}: {clean(value)}{unit}" for value in values]
    return lines


def by_activity(tasks: Iterable[api.ScheduledTask]) -> tuple[list[api.ScheduledTask], list[api.ScheduledTask]]:
    """The active ones of *tasks* and the others, each in order of instances."""
    ordered = sorted(tasks, key=_instance)
    return [each for each in ordered if each.status in ACTIVE], [each for each in ordered if each.status not in ACTIVE]


def _instance(task: api.ScheduledTask) -> int:
    return (task.assigned_task.instance_id or 0) if task.assigned_task is not None else 0


def status_text(tasks: Iterable[api.ScheduledTask], reasons: Mapping[str, str]) -> str:
    """A job's tasks, as ``job status`` shows them; *reasons* say by task id why one waits."""
    lines = []
    for kind, found in zip(("Active", "Inactive"), by_activity(tasks), strict=True):
        lines.append(f"{kind} tasks ({len(found)}):")
        lines += [line for task in found for line in _task_lines(task, reasons)]
    return "\n".join(lines)


def _task_lines(task: api.ScheduledTask, reasons: Mapping[str, str]) -> Iterable[str]:
    assigned = task.assigned_task
    assert assigned is not None
    config = assigned.task
    job = config.job
    assert job is not None
    on = f" on {clean(assigned.slave_host)}" if assigned.slave_host else ""
    yield (
        f"\tTask role: {job.role}, env: {job.environment}, name: {job.name}, instance: {assigned.instance_id}, "
        f"status: {task.status}{on}"
    )
    yield f"\t  {', '.join(resources(config.resources))}"
    if reasons.get(assigned.task_id):
        yield f"\t  pending reason: {clean(reasons[assigned.task_id])}"
    if assigned.assigned_ports:
        yield f"\t  assigned ports: {dict(sorted(assigned.assigned_ports.items()))}"
        yield f"\t  failure count: {task.failure_count} (max {config.max_task_failures})"
    yield "\t  events:"
    for event in sorted(task.task_events or (), key=lambda event: event.timestamp or 0):
        at = datetime.fromtimestamp((event.timestamp or 0) // 1000)
        # The colon stays: scripts take the third word.
        yield f"\t   {at} {event.status}:" + (f" {clean(event.message)}" if event.message else "")
    if config.metadata:
        yield "\t  metadata:"
        for label in config.metadata:
            yield f"\t\t  (key: '{clean(label.key)}', value: '{clean(label.value)}')"


def status_json(job: object, tasks: Iterable[api.ScheduledTask]) -> dict[str, Any]:
    """A job's tasks, as ``job status --write-json`` has them."""
    active, inactive = by_activity(tasks)
    return {
        "job": str(job),
        "active": [plain(api.SCHEDULED_TASK, task) for task in active],
        "inactive": [plain(api.SCHEDULED_TASK, task) for task in inactive],
    }


#: The parts of a quota, with their headings, in the original's order.
_QUOTA: Final = (
    ("quota", "Allocated:"),
    ("prod_shared_consumption", "Production shared pool resources consumed:"),
    ("prod_dedicated_consumption", "Production dedicated pool resources consumed:"),
    ("non_prod_shared_consumption", "Non-production shared pool resources consumed:"),
    ("non_prod_dedicated_consumption", "Non-production dedicated pool resources consumed:"),
)


def quota_text(quota: api.GetQuotaResult) -> str:
    """A role's quota, and what of it is used."""
    lines = []
    for field, heading in _QUOTA:
        part = getattr(quota, field)
        if part is not None:
            lines += [heading, *(f"  {line}" for line in resources(part.resources))]
    return "\n".join(lines)
