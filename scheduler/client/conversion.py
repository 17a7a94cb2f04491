"""A job as the API's ``JobConfiguration``, and its update settings, as Aurora's client sends them.

Source: ``aurora/config/thrift.py`` and ``aurora/client/api/updater_util.py``. Sets keep the order of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scheduler.client.errors import InvalidConfiguration
from thermos.config.job_json import executor_payload
from thermos.config.job_schema import (
    AppcImage,
    BatchUpdateStrategy,
    Container,
    CountSlaPolicy,
    Docker,
    Job,
    Mesos,
    PercentageSlaPolicy,
    QueueUpdateStrategy,
    VariableBatchUpdateStrategy,
)
from thermos.config.ports import ports_requested, watch_secs
from thermos.definition import nearest
from thermos.formats import assigned_task as thrift
from thermos.formats import aurora_api as api
from thermos.schema import MB

#: How a volume's mode is numbered (``api.thrift``: enum Mode).
_MODES = {"RW": 1, "RO": 2}


def job_configuration(job: Job, user: str) -> api.JobConfiguration:
    """What is sent for *job*, created by *user*. The job has been checked by :mod:`thermos.config`."""
    key = thrift.JobKey(job.role, job.environment, job.name)
    owner = thrift.Identity(user)
    return api.JobConfiguration(
        key=key,
        owner=owner,
        cron_schedule=job.cron_schedule,
        cron_collision_policy=api.CronCollisionPolicy[job.cron_collision_policy.upper()],
        task_config=_task_config(job, key, owner),
        instance_count=job.instances,
    )


def with_tier(job: Job, tiers: api.GetTierConfigResult) -> Job:
    """*job* with both of ``tier`` and ``production`` set, each from the other, as the scheduler's tiers say.

    Raises:
        InvalidConfiguration: the job names a tier that the scheduler does not have.
    """
    known = {tier.name: dict(tier.settings or {}) for tier in tiers.tiers or () if tier.name is not None}
    if job.tier is None:
        # Names sorted: the answer is a set, and the same job must come to the same tier each time.
        wanted = [
            name
            for name, settings in sorted(known.items())
            if settings.get("revocable") == "false" and (settings.get("preemptible") == "false") == job.production
        ]
        return replace(job, tier=wanted[0] if wanted else tiers.default_tier_name)
    if job.tier not in known:
        close = nearest(job.tier, known)
        hint = f"did you mean '{close}'?" if close else f"it has {', '.join(sorted(known)) or 'none'}"
        raise InvalidConfiguration(f"job {job.key}: the scheduler has no tier '{job.tier}'; {hint}")
    settings = known[job.tier]
    production = settings.get("preemptible") == "false" and settings.get("revocable") == "false"
    return replace(job, production=production)


def update_settings(job: Job, instances: Sequence[int] | None) -> api.JobUpdateSettings:
    """How an update of *job*, of some *instances* or (None) of all, is to go."""
    update = job.update_config
    group_size, waits, strategy = _strategy(job)
    return api.JobUpdateSettings(
        update_group_size=group_size,
        max_per_instance_failures=update.max_per_shard_failures,
        max_failed_instances=update.max_total_failures,
        min_wait_in_instance_running_ms=watch_secs(job) * 1000,
        rollback_on_failure=update.rollback_on_failure,
        update_only_these_instances=_ranges(instances) if instances else None,
        wait_for_batch_completion=waits,
        block_if_no_pulses_after_ms=_ms(update.pulse_interval_secs),
        sla_aware=update.sla_aware,
        update_strategy=strategy,
        progress_deadline_ms=_ms(update.progress_deadline_secs),
        canary_count=update.canary_count,
        canary_promote_after_ms=_ms(update.canary_promote_after_secs),
    )


def _ms(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1000


def _strategy(job: Job) -> tuple[int, bool, api.JobUpdateStrategy]:
    """The size of a group and whether each is waited for, for schedulers that know no strategies; and the strategy."""
    update = job.update_config
    chosen = update.update_strategy
    if chosen is None:
        kind = BatchUpdateStrategy if update.wait_for_batch_completion else QueueUpdateStrategy
        chosen = kind(batch_size=update.batch_size)
    if isinstance(chosen, QueueUpdateStrategy):
        queue = api.QueueJobUpdateStrategy(chosen.batch_size)
        return chosen.batch_size, False, api.JobUpdateStrategy(queue_strategy=queue)
    if isinstance(chosen, BatchUpdateStrategy):
        batch = api.BatchJobUpdateStrategy(chosen.batch_size, chosen.autopause_after_batch)
        return chosen.batch_size, True, api.JobUpdateStrategy(batch_strategy=batch)
    assert isinstance(chosen, VariableBatchUpdateStrategy)
    several = api.VariableBatchJobUpdateStrategy(chosen.batch_sizes, chosen.autopause_after_batch)
    return 1, False, api.JobUpdateStrategy(var_batch_strategy=several)


def _ranges(instances: Sequence[int]) -> tuple[api.Range, ...]:
    found: list[api.Range] = []
    for number in sorted(set(instances)):
        if found and found[-1].last == number - 1:
            found[-1] = api.Range(found[-1].first, number)
        else:
            found.append(api.Range(number, number))
    return tuple(found)


def _task_config(job: Job, key: thrift.JobKey, owner: thrift.Identity) -> thrift.TaskConfig:
    return thrift.TaskConfig(
        job=key,
        owner=owner,
        is_service=job.service,
        priority=job.priority,
        max_task_failures=job.max_task_failures,
        production=job.production,
        tier=job.tier,
        resources=_resources(job),
        constraints=tuple(_constraint(name, value) for name, value in (job.constraints or {}).items()),
        task_links={},
        contact_email=job.contact,
        executor_config=thrift.ExecutorConfig(job.executor_config.name, executor_payload(job)),
        metadata=tuple(dict.fromkeys(thrift.Metadata(label.key, label.value) for label in job.metadata)),
        partition_policy=None
        if job.partition_policy is None
        else thrift.PartitionPolicy(job.partition_policy.reschedule, job.partition_policy.delay_secs),
        sla_policy=_sla_policy(job),
        container=_container(job),
    )


def _resources(job: Job) -> tuple[thrift.Resource, ...]:
    resources = job.task.resources
    assert resources is not None  # a job without was refused by thermos.config
    found = [
        thrift.Resource(num_cpus=float(resources.cpu)),
        thrift.Resource(ram_mb=resources.ram // MB),
        thrift.Resource(disk_mb=resources.disk // MB),
    ]
    if resources.gpu:
        found.append(thrift.Resource(num_gpus=resources.gpu))
    return (*found, *(thrift.Resource(named_port=name) for name in sorted(ports_requested(job))))


def _constraint(name: str, expression: str) -> thrift.Constraint:
    if expression.startswith("limit:"):
        limit = thrift.LimitConstraint(int(expression.removeprefix("limit:")))
        return thrift.Constraint(name, thrift.TaskConstraint(limit=limit))
    values = tuple(dict.fromkeys(expression.removeprefix("!").split(",")))
    return thrift.Constraint(
        name, thrift.TaskConstraint(value=thrift.ValueConstraint(expression.startswith("!"), values))
    )


def _sla_policy(job: Job) -> thrift.SlaPolicy | None:
    policy = job.sla_policy
    if policy is None:
        return None
    if isinstance(policy, CountSlaPolicy):
        return thrift.SlaPolicy(count_sla_policy=thrift.CountSlaPolicy(policy.count, policy.duration_secs))
    if isinstance(policy, PercentageSlaPolicy):
        share = thrift.PercentageSlaPolicy(policy.percentage, policy.duration_secs)
        return thrift.SlaPolicy(percentage_sla_policy=share)
    other = thrift.CoordinatorSlaPolicy(policy.coordinator_url, policy.status_key)
    return thrift.SlaPolicy(coordinator_sla_policy=other)


def _container(job: Job) -> thrift.Container:
    container = job.container
    if isinstance(container, Container):
        container = container.docker
    if isinstance(container, Docker):
        parameters = tuple(thrift.DockerParameter(each.name, each.value) for each in container.parameters)
        return thrift.Container(docker=thrift.DockerContainer(container.image, parameters))
    if isinstance(container, Mesos):
        volumes = tuple(
            thrift.Volume(each.container_path, each.host_path, _MODES[each.mode]) for each in container.volumes
        )
        return thrift.Container(mesos=thrift.MesosContainer(_image(container), volumes))
    return thrift.Container(mesos=thrift.MesosContainer())


def _image(container: Mesos) -> thrift.Image | None:
    image = container.image
    if image is None:
        return None
    if isinstance(image, AppcImage):
        return thrift.Image(appc=thrift.AppcImage(image.name, image.image_id))
    return thrift.Image(docker=thrift.DockerImage(image.name, image.tag))
