"""``aurora-scheduler --local``: what the scheduler's flags are on one machine, and what clients need to find it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from thermos.errors import ExitCode, ThermosError

#: What jobs write as their cluster.
CLUSTER: Final = "local"
_EXECUTOR: Final = "thermos_executor"


class NoExecutor(ThermosError):
    """Nothing could run tasks here."""

    exit_code = ExitCode.DAMAGED  # 3, as every configuration that cannot be used


def defaults(directory: Path, mesos_url: str) -> dict[str, Any]:
    """The flags of a scheduler that lives in *directory*, with its Mesos at *mesos_url*, by name; what the command line
    says goes before them."""
    return {
        "mesos_master_address": mesos_url.removeprefix("http://"),
        # The executor keeps its task's page in the sandbox, and our Mesos shows that.
        "task_page_url": f"{mesos_url}/files/show/{{agent_id}}/{{framework_id}}/thermos-{{task_id}}/",
        "cluster_name": CLUSTER,
        "hostname": "127.0.0.1",
        "store": str(directory / "scheduler.db"),
        "backup_dir": str(directory / "backups"),
        "executor_user": None,  # whoever started this
        "thermos_executor_path": _executor(),
        # Alone on a machine: nothing is gained by waiting until others have come back.
        "max_reschedule_task_delay_on_startup": 0.0,
        "offer_filter_duration": 1.0,
    }


def _executor() -> str:
    """The executor of this installation."""
    beside = Path(sys.executable).with_name(_EXECUTOR)
    if os.access(beside, os.X_OK):
        return str(beside)
    from shutil import which

    found = which(_EXECUTOR)
    if found is None:
        raise NoExecutor(f"{_EXECUTOR} is neither beside {sys.executable} nor on the PATH: install it, too")
    return found


def write_clusters(directory: Path, url: str, slave_root: str) -> Path:
    """``clusters.json`` for the clients; gives its directory, which is ``AURORA_CONFIG_ROOT``."""
    cluster: Mapping[str, Any] = {
        "name": CLUSTER,
        "scheduler_uri": url,
        "auth_mechanism": "UNAUTHENTICATED",
        "slave_root": slave_root,
        "slave_run_directory": "latest",
    }
    path = directory / "clusters.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps([cluster], indent=2) + "\n")
    temporary.replace(path)
    return directory


def greeting(directory: Path, url: str) -> str:
    """What to do next, for the person who started it."""
    return f"""A scheduler for this machine alone, at {url}/scheduler
Everything is kept in {directory}; started again with it, tasks go on as they were.

  export AURORA_CONFIG_ROOT={directory}
  aurora job create {CLUSTER}/{_user()}/devel/hello examples/hello.aurora
  aurora job status {CLUSTER}/{_user()}/devel/hello
  aurora job killall {CLUSTER}/{_user()}/devel/hello

For more than one machine: run Mesos, and start this with --mesos-master-address instead of --local."""


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
