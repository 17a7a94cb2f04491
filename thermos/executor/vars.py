"""``executor_vars.json`` in the Mesos sandbox: what the executor can count, for whoever collects metrics.

Names are Aurora's (``executor_vars.py``, ``resource_manager.py``, ``health_checker.py``, ``announcer.py``); null:
not known. Processor time is in cores, ``*_percent`` in percent of what is reserved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final, TypeAlias

from thermos.executor.measuring import Sample
from thermos.host.trees import TICKS_PER_S

NAME: Final = "executor_vars.json"

Values: TypeAlias = Mapping[str, int | float | None]


def values(
    now: Sample, before: Sample | None, cpu: float | None, ram_bytes: int | None, disk_bytes: int | None
) -> dict[str, int | float | None]:
    """What two measurements say, the second of them *now*, against what is reserved. Pure."""
    cpu_used = _rate(now, before, "task_ticks")
    return {
        "cpu": _rate(now, before, "executor_ticks"),
        "rss": now.executor_rss_bytes,
        "orphan": int(now.is_orphan) if now.is_orphan is not None else None,
        "thermos_cpu": _rate(now, before, "thermos_ticks"),
        "thermos_pss": now.thermos_pss_bytes,
        "disk_used": now.disk_bytes,
        "disk_reserved": disk_bytes,
        "disk_percent": _percent(now.disk_bytes, disk_bytes),
        "cpu_used": cpu_used,
        "cpu_reserved": cpu,
        "cpu_percent": _percent(cpu_used, cpu),
        "ram_used": now.task_ram_bytes,
        "ram_reserved": ram_bytes,
        "ram_percent": _percent(now.task_ram_bytes, ram_bytes),
    }


def _rate(now: Sample, before: Sample | None, name: str) -> float | None:
    """Cores used between two measurements; None also where a process that held the sum has ended meanwhile."""
    if before is None:
        return None
    last: int | None = getattr(now, name)
    past: int | None = getattr(before, name)
    passed_s = now.at_s - before.at_s
    if last is None or past is None or last < past or passed_s <= 0:
        return None
    return round((last - past) / TICKS_PER_S / passed_s, 4)


def _percent(used: float | None, reserved: float | None) -> float | None:
    return round(100 * used / reserved, 2) if used is not None and reserved else None


class VarsFile:
    """The file; it is replaced whole. The sandbox may be a user's who means no good: nothing of his is followed."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._written = b""

    def write(self, found: Values) -> None:
        """Have it say *found*, if it does not yet. Raises OSError."""
        data = json.dumps(found, indent=1, sort_keys=True).encode() + b"\n"
        if data == self._written:
            return
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            temporary = f".{NAME}.new"
            try:
                os.unlink(temporary, dir_fd=directory)
            except FileNotFoundError:
                pass
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o644, dir_fd=directory), "wb") as file:
                file.write(data)
            os.rename(temporary, NAME, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            os.close(directory)
        self._written = data
