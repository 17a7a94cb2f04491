"""How the scheduler presents itself to Mesos: its ``FrameworkInfo``, and the secret that goes with its principal."""

from __future__ import annotations

import getpass
from typing import Any

from scheduler.options import Options, OptionsInvalid

_PRINCIPAL = "aurora_authentication_principal"
_SECRET = "aurora_authentication_secret"


def credential_of(options: Options) -> tuple[str, str] | None:
    """Principal and secret, from the file in Aurora's form (a Java properties file). Raises OptionsInvalid."""
    path = options["framework_authentication_file"]
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionsInvalid([f"framework_authentication_file {path} cannot be read: {reason}"]) from None
    found = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "!")):
            found[name.strip()] = value.strip()
    missing = [name for name in (_PRINCIPAL, _SECRET) if not found.get(name)]
    if missing:
        raise OptionsInvalid([f"framework_authentication_file {path} has no {name}" for name in missing])
    return found[_PRINCIPAL], found[_SECRET]


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
    credential = credential_of(options)
    if credential is not None and options["framework_announce_principal"]:
        info["principal"] = credential[0]
    return info
