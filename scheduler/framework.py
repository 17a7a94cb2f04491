"""How the scheduler presents itself to Mesos: its ``FrameworkInfo``."""

from __future__ import annotations

import getpass
from typing import Any

from scheduler.options import Options


def framework_info(options: Options, framework_id: str | None, pages_url: str | None) -> dict[str, Any]:
    """The ``FrameworkInfo``: tasks outlive agents' restarts, and our own absence for the failover time-out."""
    settings = options.settings
    capabilities = []
    if settings.is_partition_aware:
        capabilities.append({"type": "PARTITION_AWARE"})
    if settings.receive_revocable_resources:
        capabilities.append({"type": "REVOCABLE_RESOURCES"})
    if settings.allow_gpu_resource:
        capabilities.append({"type": "GPU_RESOURCES"})
    info: dict[str, Any] = {
        "user": options["executor_user"] or getpass.getuser(),
        "name": options["framework_name"],
        "checkpoint": True,
        "failover_timeout": options["framework_failover_timeout"],
        "hostname": options["hostname"],
        "role": options["mesos_role"],
        "capabilities": capabilities,
    }
    if framework_id:  # empty: it was forgotten
        info["id"] = {"value": framework_id}
    if pages_url is not None:
        info["webui_url"] = pages_url
    if options.credential is not None and options["framework_announce_principal"]:
        info["principal"] = options.credential[0]
    return info
