"""What a scheduler of a test tells a Mesos: who it is, and what to launch."""

from __future__ import annotations

from typing import Any, Final

#: A ``FrameworkInfo``.
INFO: Final[dict[str, Any]] = {
    "user": "root",
    "name": "tests",
    "failover_timeout": 100.0,
    "checkpoint": True,
    "roles": ["*"],
    "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
}


def scalars(**amounts: float) -> list[dict[str, Any]]:
    """Resources, as JSON."""
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}, "role": "*"} for name, value in amounts.items()
    ]


def task_info(task_id: str, agent_id: str, cpus: float = 1.0, **more: Any) -> dict[str, Any]:
    """A ``TaskInfo`` with an executor of its own."""
    return {
        "name": task_id,
        "task_id": {"value": task_id},
        "agent_id": {"value": agent_id},
        "resources": scalars(cpus=cpus, mem=128.0),
        "executor": {
            "executor_id": {"value": f"thermos-{task_id}"},
            "command": {"value": "true"},
            "resources": scalars(cpus=0.25, mem=128.0),
        },
        **more,
    }
