"""Where an instance's sandbox lies on its host, and the ssh command lines that lead there.

Source: ``aurora/client/api/command_runner.py`` and ``aurora/client/cli/task.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from scheduler.client import finding
from scheduler.client.clusters import Cluster
from scheduler.client.errors import InvalidParameter
from scheduler.client.keys import InstancesRef
from scheduler.client.scheduler_api import Scheduler
from scheduler.states import LIVE
from thermos.formats.assigned_task import AssignedTask

_PORT: Final = re.compile(r"\{\{thermos\.ports\[([^\[\]{}]+)\]\}\}")
#: What a shell takes as it is; everything else in a task's id is refused, since it comes from elsewhere.
_PLAIN_ID: Final = re.compile(r"[\w.\-]+", re.ASCII)
#: Hosts and users that ssh cannot mistake for an option.
_PLAIN_HOST: Final = re.compile(r"[\w\[:][\w.:\-\]%]*", re.ASCII)


def sandbox(cluster: Cluster, task: AssignedTask, executor_sandbox: bool) -> str:
    """The directory of *task* on its host, as a shell pattern; *executor_sandbox*: the one around it.

    Raises:
        InvalidConfiguration: the cluster does not say where agents keep sandboxes.
    """
    root = cluster.need("slave_root", "finding sandboxes").rstrip("/")
    run = cluster.need("slave_run_directory", "finding sandboxes").strip("/")
    if not _PLAIN_ID.fullmatch(task.task_id):
        raise InvalidParameter(f"the scheduler names a task {task.task_id!r}, which is no name of a directory")
    path = f"{root}/slaves/*/frameworks/*/executors/thermos-{task.task_id}/runs/{run}"
    return path if executor_sandbox else f"{path}/sandbox"


def with_context(command: str, task: AssignedTask) -> str:
    """*command* with the references that a task's processes may hold. Raises InvalidParameter for an unknown port."""

    def port(found: re.Match[str]) -> str:
        return str(port_of(task, found[1]))

    known = {
        "{{mesos.instance}}": str(task.instance_id),
        "{{mesos.hostname}}": host_of(task),
        "{{thermos.task_id}}": task.task_id,
    }
    for reference, value in known.items():
        command = command.replace(reference, value)
    return _PORT.sub(port, command)


def port_of(task: AssignedTask, name: str) -> int:
    """The number of the port called *name*. Raises InvalidParameter, naming those there are."""
    ports = task.assigned_ports or {}
    if name not in ports:
        known = ", ".join(sorted(ports)) or "none"
        raise InvalidParameter(f"Task {task.task_id} has no port named {name}; it has {known}")
    return ports[name]


def host_of(task: AssignedTask) -> str:
    """The host that *task* runs on. Raises InvalidParameter where it is on none, or on one that is no name."""
    host = task.slave_host or ""
    if not _PLAIN_HOST.fullmatch(host):
        raise InvalidParameter(f"the scheduler says that task {task.task_id} is on {host!r}, which is no host")
    return host


def user_of(task: AssignedTask, user: str | None) -> str:
    """Who logs in there: *user*, else the job's role."""
    role = task.task.job.role if task.task.job is not None else None
    found = user or role or ""
    if not _PLAIN_HOST.fullmatch(found):
        raise InvalidParameter(f"{found!r} is no user to log in as")
    return found


def live_tasks(scheduler: Scheduler, wanted: InstancesRef) -> list[AssignedTask]:
    """The tasks of *wanted* that are on a host, in order of instances. Raises InvalidParameter where there is none."""
    tasks = scheduler.tasks(wanted.job.key, wanted.instances, LIVE)
    found = [task.assigned_task for task in tasks if task.assigned_task is not None and task.assigned_task.slave_host]
    if not found:
        raise finding.no_such_job(scheduler, wanted.job, f"Job {wanted} not found: no instance of it runs")
    return sorted(found, key=lambda task: task.instance_id or 0)


def in_sandbox(cluster: Cluster, task: AssignedTask, command: str, executor_sandbox: bool) -> str:
    """*command* for the shell on the task's host, run in its sandbox."""
    return f"cd {sandbox(cluster, task, executor_sandbox)};{with_context(command, task)}"


def split_options(options: Sequence[str]) -> list[str]:
    """The words of ``--ssh-options`` and ``--scp-options``, which may be given several times."""
    import shlex

    try:
        return [word for text in options for word in shlex.split(text)]
    except ValueError as error:
        raise InvalidParameter(f"the options for ssh cannot be taken apart: {error}") from None
