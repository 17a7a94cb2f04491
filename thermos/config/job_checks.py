"""What is wrong with a job, beyond its task: what the original's client or scheduler would refuse, all of it at once.

The rules are those of Aurora's ``aurora/config/thrift.py``, ``aurora/client/config.py`` and
``updater_util.py``, and of the scheduler's ``ConfigurationManager``. What the original took though it cannot
work is a warning here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from thermos.config.job_json import runner_task
from thermos.config.job_schema import (
    COLLISION_POLICIES,
    THERMOS,
    Container,
    HttpHealthChecker,
    Job,
    VariableBatchUpdateStrategy,
)
from thermos.config.ports import (
    PortmapCycle,
    has_health_port,
    portmap,
    ports_referred,
    ports_requested,
    resolve,
    watch_secs,
)
from thermos.config.probe_checks import endpoint_problems, probe_problems, probe_warnings
from thermos.definition import Problem, limit_problems
from thermos.errors import TaskInvalid
from thermos.schema import MB, ports_wanted
from thermos.schema import problems as task_problems

_IDENTIFIER: Final = re.compile(r"[\w\-.]+")  # role, environment and name (``aurora/config/thrift.py``)

#: Stands for the number of an instance while its task is checked, as in the original's client.
_DUMMY_INSTANCE: Final = 31337

#: Least share of a dedicated job's instances that an update must let fail (``aurora/client/config.py``).
_DEDICATED_SHARE: Final = 0.02


def job_problems(job: Job) -> Iterator[Problem]:
    """Everything for which *job* cannot be submitted, each with its path in the job."""
    for field in ("role", "environment", "name"):
        value = getattr(job, field)
        if not _IDENTIFIER.fullmatch(value):
            yield Problem(field, f"is '{value}'", "it may hold letters, digits, '_', '-' and '.', and not be empty")
    if not job.cluster:
        yield Problem("cluster", "is empty", "name the cluster as clusters.json does")
    if job.executor_config.name == THERMOS:  # another executor's task need not have processes
        yield from _task_problems(job)
    yield from _resource_problems(job)
    yield from (problem for problem in limit_problems(job) if not problem.path.startswith("task."))
    yield from _constraint_problems(job)
    yield from _cron_problems(job)
    yield from _update_problems(job)
    yield from _announce_problems(job)
    yield from endpoint_problems(job.health_check_config, job.lifecycle)
    yield from probe_problems(job.x_probes, ports_wanted(job.task) | portmap(job).keys())


def job_warnings(job: Job) -> Iterator[Problem]:
    """What is allowed in *job* and hardly meant."""
    if job.production and job.tier is None:
        yield Problem("production", "is the old way to choose a tier", "set tier to the name of one instead")
    checker = job.health_check_config.health_checker
    if checker.shell is None and checker.http not in (None, HttpHealthChecker()) and not has_health_port(job):
        yield Problem(
            "health_check_config.health_checker.http",
            "is never asked: no process uses a port named 'health'",
            "use {{thermos.ports[health]}} in the process that answers",
        )
    known = ports_wanted(job.task) | portmap(job).keys()
    for port in sorted(ports_referred(job) - known):
        yield Problem(
            "health_check_config.health_checker.shell.shell_command",
            f"needs port '{port}', which no process uses, so that no instance has it",
        )
    if job.announce is not None:
        primary = job.announce.primary_port
        target = _resolved(job).get(primary, primary)
        if isinstance(target, str) and target not in ports_wanted(job.task):
            yield Problem(
                "announce.primary_port",
                f"is '{primary}', a port that no process uses",
                f"use {{{{thermos.ports[{primary}]}}}} in the process that serves, or name the port it uses",
            )
    yield from probe_warnings(job.x_probes, job.announce is not None)
    if isinstance(job.container, Container):
        yield Problem("container", "is the old way to write a Docker container", "write container=Docker(...)")
    if job.update_config.sla_aware and job.sla_policy is None:
        yield Problem("update_config.sla_aware", "has no effect without an sla_policy")


def _task_problems(job: Job) -> Iterator[Problem]:
    try:
        task = runner_task(job, _DUMMY_INSTANCE, "hostname")
    except TaskInvalid as error:
        yield from (problem for problem in error.problems if isinstance(problem, Problem))
        return
    for problem in task_problems(task):
        yield Problem(f"task.{problem.path}", problem.message, problem.hint)
    for port in sorted(ports_wanted(task) - ports_wanted(job.task)):
        yield Problem(
            "task",
            f"the port name '{port}' is made with {{{{mesos.instance}}}} or {{{{mesos.hostname}}}}",
            "ports are requested before there is an instance: give the port a fixed name",
        )


def _resource_problems(job: Job) -> Iterator[Problem]:
    resources = job.task.resources
    if resources is None:
        yield Problem("task.resources", "is required in a job and missing", "say how much cpu, ram and disk it needs")
        return
    if not resources.cpu > 0:
        yield Problem("task.resources.cpu", f"is {resources.cpu} cores", "it must be above 0")
    for field in ("ram", "disk"):
        size = getattr(resources, field)
        if size < MB:
            yield Problem(
                f"task.resources.{field}", f"is {size} bytes", f"it is counted in megabytes: at least {MB}, 1*MB"
            )


def _constraint_problems(job: Job) -> Iterator[Problem]:
    for attribute, expression in (job.constraints or {}).items():
        path = f"constraints[{attribute}]"
        if expression.startswith("limit:"):
            limit = expression.removeprefix("limit:")
            if not re.fullmatch(r"[0-9]+", limit.strip()) or int(limit) < 1:
                yield Problem(path, f"is '{expression}'", "a limit is a whole number above 0: 'limit:2'")
        elif not all(value.strip() for value in expression.removeprefix("!").split(",")):
            yield Problem(path, f"is '{expression}'", "write 'a,b' for one of, '!a,b' for none of, or 'limit:N'")


def _cron_problems(job: Job) -> Iterator[Problem]:
    policy = job.cron_collision_policy.upper()
    if policy not in COLLISION_POLICIES:
        yield Problem(
            "cron_collision_policy", f"is '{job.cron_collision_policy}'", f"it may be {' or '.join(COLLISION_POLICIES)}"
        )
    if job.cron_schedule is not None and job.service:
        yield Problem("service", "is true in a cron job", "a service never ends, so that it would never be due again")


def _update_problems(job: Job) -> Iterator[Problem]:
    update = job.update_config
    if update.update_strategy is not None:
        for field, default in (("batch_size", 1), ("wait_for_batch_completion", False)):
            if getattr(update, field) != default:
                yield Problem(f"update_config.{field}", "contradicts update_strategy", "say it in the strategy alone")
    yield from _progress_problems(job)
    if update.max_total_failures >= job.instances > 0:
        yield Problem(
            "update_config.max_total_failures",
            f"is {update.max_total_failures}, with {job.instances} instances",
            "it must be below their number, or no update could ever fail",
        )
    least = int(job.instances * _DEDICATED_SHARE)
    if "dedicated" in (job.constraints or {}) and update.max_total_failures < least:
        yield Problem(
            "update_config.max_total_failures",
            f"is {update.max_total_failures}, in a dedicated job of {job.instances} instances",
            f"it must be at least {least}: on so many machines, some fail",
        )


def _progress_problems(job: Job) -> Iterator[Problem]:
    """What our scheduler would refuse of how an update goes on, and Aurora's of its batches."""
    update = job.update_config
    if isinstance(update.update_strategy, VariableBatchUpdateStrategy) and not update.update_strategy.batch_sizes:
        yield Problem("update_config.update_strategy.batch_sizes", "is empty", "name the size of one batch at least")
    deadline, watched = update.progress_deadline_secs, watch_secs(job)
    if deadline is not None and 1 <= deadline <= watched:
        by_default = " by default" if update.watch_secs is None else ""
        yield Problem(
            "update_config.progress_deadline_secs",
            f"is {deadline} seconds, and watch_secs is {watched}{by_default}",
            "it must be above that, or no instance could ever be done",
        )
    if update.canary_promote_after_secs is not None and update.canary_count is None:
        yield Problem(
            "update_config.canary_promote_after_secs", "is set, and canary_count is not", "say how many canaries"
        )


def _announce_problems(job: Job) -> Iterator[Problem]:
    if job.announce is None:
        return
    try:
        ports_requested(job)
    except PortmapCycle as error:
        yield Problem("announce.portmap", str(error))
        return
    static = sorted(name for name, target in _resolved(job).items() if isinstance(target, int))
    if static and "dedicated" not in (job.constraints or {}):
        yield Problem(
            "announce.portmap",
            f"gives a fixed number to {', '.join(map(repr, static))}",
            "nothing reserves such a port: leave the number to Mesos, or give the job a 'dedicated' constraint",
        )


def _resolved(job: Job) -> dict[str, str | int]:
    try:
        return resolve(portmap(job))
    except PortmapCycle:
        return {}
