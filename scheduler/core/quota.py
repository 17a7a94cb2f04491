"""What a role uses, and whether it may use more (``QuotaManager.java``).

Only production tasks on shared hosts need quota. The other three pools are counted for people to see. Of each job
counts: its active tasks; of a job that is being updated, for the instances the update is about, the larger of what
was and what will be; of a cron job, the larger of what a run takes and what runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any, Final, NamedTuple

from scheduler.core.ranges import instances_of
from scheduler.core.state import State
from scheduler.core.submission import Invalid, Job
from scheduler.model import Config, JobKey, Resources, resources_of
from scheduler.states import ACTIVE
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import InstanceTaskConfig, JobUpdate, ResourceAggregate

NOTHING: Final = Resources()


class Consumption(NamedTuple):
    """What a role uses, by pool."""

    prod_shared: Resources = NOTHING
    prod_dedicated: Resources = NOTHING
    non_prod_shared: Resources = NOTHING
    non_prod_dedicated: Resources = NOTHING


def needs_quota(config: Config) -> bool:
    """Whether tasks of *config* count against their role's quota."""
    return config.is_production and config.dedicated is None


# -- counting ----------------------------------------------------------------------------------------------------------

#: By pool, in the order of Consumption's fields.
_Sums = list[Resources]


def _pool(is_production: bool, is_dedicated: bool) -> int:
    return (0 if is_production else 2) + is_dedicated


def _pool_of(task: wire.TaskConfig) -> int:
    dedicated = any(
        one.name == "dedicated" and one.constraint is not None and one.constraint.value is not None
        for one in task.constraints or ()
    )
    return _pool(bool(task.production), dedicated)


def _larger(one: Resources, other: Resources) -> Resources:
    return Resources(*map(max, one, other))


def consumption(
    state: State, role: str, *, update: tuple[JobKey, JobUpdate] | None = None, cron: Job | None = None
) -> Consumption:
    """What the role uses; with *update* and *cron*, what it would use if these were begun and scheduled."""
    updates = {key: [found] for key, found in _active_updates(state, role)}
    if update is not None:
        updates.setdefault(update[0], []).append(update[1])
    crons: dict[JobKey, tuple[wire.TaskConfig, int]] = {
        key: (job.task_config or wire.TaskConfig(), job.instance_count or 0)
        for key, job in state.cron_jobs.items()
        if key.role == role
    }
    if cron is not None:
        crons[cron.key] = (cron.config.wire, cron.instances)
    sums = [NOTHING] * 4
    for key in state.by_role.get(role, ()):
        if key not in crons:
            being_updated = {instance for one in updates.get(key, ()) for instance in _instances(one)}
            _add_tasks(sums, state, key, being_updated)
    for of_job in updates.values():
        for one in of_job:
            _add(sums, _update_takes(one))
    for key, (config, instances) in crons.items():
        _add(sums, _cron_takes(state, key, config, instances))
    return Consumption(*sums)


def _add(sums: _Sums, more: Iterable[Resources]) -> None:
    for pool, resources in enumerate(more):
        sums[pool] = sums[pool].plus(resources)


def _add_tasks(sums: _Sums, state: State, key: JobKey, without: Iterable[int] = ()) -> None:
    """Add the job's active tasks, but for some instances. A job has few configurations and many tasks."""
    tasks: dict[Config, int] = {}
    for task in state.tasks_of(key):
        if task.status in ACTIVE and task.instance not in without:
            tasks[task.config] = tasks.get(task.config, 0) + 1
    for config, times in tasks.items():
        pool = _pool(config.is_production, config.dedicated is not None)
        sums[pool] = sums[pool].plus(config.resources, times)


def _active_updates(state: State, role: str) -> Iterator[tuple[JobKey, JobUpdate]]:
    for key, update_id in state.active_updates.items():
        update = state.updates[(key, update_id)].update
        if key.role == role and update is not None:
            yield key, update


def _sides(update: JobUpdate) -> tuple[tuple[InstanceTaskConfig, ...], tuple[InstanceTaskConfig, ...]]:
    """What an update comes from, and what it goes to."""
    instructions = update.instructions
    if instructions is None:
        return (), ()
    desired = instructions.desired_state
    return instructions.initial_state or (), () if desired is None else (desired,)


def _instances(update: JobUpdate) -> set[int]:
    before, after = _sides(update)
    return {instance for group in (*before, *after) for instance in instances_of(group.instances)}


def _update_takes(update: JobUpdate) -> _Sums:
    before, after = _sides(update)
    return list(map(_larger, _groups_take(before), _groups_take(after)))


def _groups_take(groups: Iterable[InstanceTaskConfig]) -> _Sums:
    sums = [NOTHING] * 4
    for group in groups:
        config = group.task or wire.TaskConfig()
        pool = _pool_of(config)
        sums[pool] = sums[pool].plus(resources_of(config.resources), len(instances_of(group.instances)))
    return sums


def _cron_takes(state: State, key: JobKey, config: wire.TaskConfig, instances: int) -> _Sums:
    running = [NOTHING] * 4
    _add_tasks(running, state, key)
    template = [NOTHING] * 4
    template[_pool_of(config)] = NOTHING.plus(resources_of(config.resources), instances)
    return list(map(_larger, running, template))


# -- judging -----------------------------------------------------------------------------------------------------------


def check(state: State, role: str, config: Config, instances: int) -> str | None:
    """Why *instances* more tasks of *config* are too much for the role, or None."""
    if not needs_quota(config):
        return None
    return _over(state, role, consumption(state, role).prod_shared.plus(config.resources, instances))


def check_cron(state: State, job: Job) -> str | None:
    """Why the cron job, new or instead of the one that is scheduled, is too much for its role, or None.

    Aurora asks here for a production job's quota even if it is dedicated, although nothing dedicated counts against
    quota anywhere else: such a job could be refused for want of what it does not use. Here dedicated is dedicated.
    """
    if not needs_quota(job.config):
        return None
    return _over(state, job.key.role, consumption(state, job.key.role, cron=job).prod_shared)


def check_update(state: State, job: JobKey, update: JobUpdate) -> str | None:
    """Why the update, which is not kept yet, is too much for the job's role, or None."""
    _, after = _sides(update)
    if not any(_pool_of(group.task or wire.TaskConfig()) == 0 for group in after):
        return None
    return _over(state, job.role, consumption(state, job.role, update=(job, update)).prod_shared)


def check_set_quota(state: State, role: str, quota: Resources) -> str | None:
    """Why the role cannot be given *quota*, or None."""
    negative = [f"{name} {_amount(value)}" for name, value in _counted(quota) if value < 0]
    if negative:
        return f"A quota cannot be negative: {', '.join(negative)}"
    used = consumption(state, role).prod_shared
    missing = _missing(used, quota)
    if missing:
        return f"Production tasks of role {role} use more than this quota already: {missing}"
    return None


def _over(state: State, role: str, wanted: Resources) -> str | None:
    missing = _missing(wanted, state.quotas.get(role, NOTHING))
    return f"Quota of role {role} exceeded: {missing}" if missing else None


def _counted(resources: Resources) -> tuple[tuple[str, float], ...]:
    """What quota is about; GPUs are not."""
    return (("cpu", resources.cpus), ("MB RAM", resources.ram_mb), ("MB disk", resources.disk_mb))


def _amount(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _missing(wanted: Resources, quota: Resources) -> str:
    return ", ".join(
        f"{_amount(want)} {name} wanted, {_amount(have)} allowed ({_amount(want - have)} too much)"
        for (name, want), (_, have) in zip(_counted(wanted), _counted(quota), strict=True)
        if want > have
    )


# -- on the wire -------------------------------------------------------------------------------------------------------

_AMOUNTS: Final = ("num_cpus", "ram_mb", "disk_mb")


def quota_of(aggregate: ResourceAggregate) -> Resources:
    """The quota that *aggregate* describes. Raises Invalid with all problems: cpu, RAM and disk must be there, each
    once, and nothing else."""
    problems = []
    resources = aggregate.resources or ()
    for name in _AMOUNTS:
        values: list[Any] = [getattr(one, name) for one in resources if getattr(one, name) is not None]
        if len(values) != 1:
            problems.append(f"a quota has one {name}, not {len(values)}")
        elif not isfinite(values[0]):
            problems.append(f"{name} of a quota cannot be {values[0]}")
    if any(one.named_port is not None or one.num_gpus is not None for one in resources):
        problems.append("a quota has no ports and no GPUs")
    if problems:
        raise Invalid(tuple(problems))
    return resources_of(resources)


def aggregate_of(resources: Resources) -> ResourceAggregate:
    """The amounts as the wire has them; GPUs only where there are some."""
    amounts = [
        wire.Resource(num_cpus=resources.cpus),
        wire.Resource(ram_mb=resources.ram_mb),
        wire.Resource(disk_mb=resources.disk_mb),
    ]
    if resources.gpus:
        amounts.append(wire.Resource(num_gpus=resources.gpus))
    return ResourceAggregate(tuple(amounts))
