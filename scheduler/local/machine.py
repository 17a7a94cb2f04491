"""What this machine has to give to tasks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from scheduler.local.resources import Bag


def machine(work_dir: str | os.PathLike[str]) -> Bag:
    """What this machine has, as an agent without ``--resources`` counts it (``mesos/src/slave/containerizer``): all
    CPUs; memory without 1 GB, or half of it; disk without 5 GB, or half of it; ports 31000 to 32000."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    place = Path(os.path.abspath(work_dir))
    while not place.exists():
        place = place.parent
    disk_mb = shutil.disk_usage(place).total >> 20
    scalars = {
        "cpus": len(os.sched_getaffinity(0)),
        "mem": memory_mb - 1024 if memory_mb > 2048 else memory_mb // 2,
        "disk": disk_mb - 5120 if disk_mb > 10240 else disk_mb // 2,
    }
    return Bag({name: value * 1000 for name, value in scalars.items()}, {"ports": ((31000, 32000),)})
