"""Which jobs and configurations are taken, and how they are completed (``ConfigurationManager.java``).

Everything that is wrong is said at once. What is taken is complete: tier, production, container and the other defaults
are filled in, so that the same job asked for twice is the same configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final, NamedTuple, TypeVar

from scheduler.core.settings import Settings
from scheduler.model import Config, JobKey, Tier, config_of, milli
from thermos.errors import ExitCode, ThermosError
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import CronCollisionPolicy, JobConfiguration

#: What names of roles, environments, jobs and users are made of (``api.thrift``); letters and digits are ASCII's.
GOOD_IDENTIFIER: Final = re.compile(r"[\w\-.]+", re.ASCII)
#: ``UserProvidedStrings.java``.
MAX_IDENTIFIER_LENGTH: Final = 255
#: A task's id becomes part of file names, of 255 bytes at most; Mesos and the executor put up to 90 around it
#: (``SchedulerThriftInterface.java``).
MAX_TASK_ID_LENGTH: Final = 255 - 90
#: Of a UUID as text, which ends a task's id.
_UNIQUE_LENGTH: Final = 36

T = TypeVar("T")


class Invalid(ThermosError):
    """The job cannot be taken as it is; *problems* has everything that is wrong with it."""

    exit_code = ExitCode.INVALID_TASK

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Job(NamedTuple):
    """A job that may be taken."""

    key: JobKey
    config: Config
    instances: int
    cron_schedule: str | None
    cron_collision_policy: CronCollisionPolicy
    #: As it is kept: complete, with the configuration as it was completed.
    wire: JobConfiguration


def is_good_identifier(text: str | None) -> bool:
    """Whether *text* may name a role, an environment, a job or a user."""
    return text is not None and len(text) <= MAX_IDENTIFIER_LENGTH and GOOD_IDENTIFIER.fullmatch(text) is not None


def checked_job(job: JobConfiguration, settings: Settings) -> Job:
    """The job that *job* describes. Raises Invalid.

    Whether its cron schedule can be read is not looked at, nor whether there is such a job already, nor its quota.
    """
    problems: list[str] = []
    count = job.instance_count or 0
    problems += instance_count_problems(count, settings)
    if job.owner is not None and job.owner.user and not is_good_identifier(job.owner.user):
        problems.append(f"the owner {job.owner.user!r} is no good identifier")
    cron_schedule = job.cron_schedule or None
    policy = CronCollisionPolicy.KILL_EXISTING if job.cron_collision_policy is None else job.cron_collision_policy
    if cron_schedule is not None and policy is CronCollisionPolicy.RUN_OVERLAP:
        problems.append("the collision policy RUN_OVERLAP is not supported: choose KILL_EXISTING or CANCEL_NEW")
    task = job.task_config
    if task is None:
        problems += _key_problems(job.key, settings)
        raise Invalid((*problems, "it has no task configuration"))
    if task.job is None:
        task = task._replace(job=job.key)
    elif job.key is not None and task.job != job.key:
        problems.append(f"the job is {_shown(job.key)}, but its task configuration says {_shown(task.job)}")
    if job.key is None:
        job = job._replace(key=task.job)
    if task.owner is None:
        task = task._replace(owner=job.owner)
    if cron_schedule is not None and task.is_service:
        problems.append("a service cannot have a cron schedule: it runs always")
    completed = _completed(task, settings)
    problems += config_problems(completed, settings, count)
    if problems:
        raise Invalid(tuple(problems))
    config = config_of(completed)
    longest = len(f"{config.job.role}-{config.job.environment}-{config.job.name}-{count - 1}-") + _UNIQUE_LENGTH
    if longest > MAX_TASK_ID_LENGTH:
        raise Invalid((
            f"ids of its tasks would have {longest} characters, and {MAX_TASK_ID_LENGTH} are allowed:"
            " shorten its role or name",
        ))  # fmt: skip
    kept = job._replace(task_config=completed, cron_schedule=cron_schedule, cron_collision_policy=policy)
    return Job(config.job, config, count, cron_schedule, policy, kept)


def checked_config(task: wire.TaskConfig, settings: Settings, instances: int | None = None) -> Config:
    """The configuration that *task* describes, complete. Raises Invalid. *instances*: of the job, where that is known;
    an SLA policy must leave room for one of them to go."""
    completed = _completed(task, settings)
    problems = config_problems(completed, settings, instances)
    if problems:
        raise Invalid(tuple(problems))
    return config_of(completed)


def instance_count_problems(count: int, settings: Settings) -> list[str]:
    """What is wrong with a job of *count* instances."""
    if 1 <= count <= settings.max_tasks_per_job:
        return []
    return [f"a job has 1 to {settings.max_tasks_per_job} instances, not {count}"]


# -- completing --------------------------------------------------------------------------------------------------------


def implied_tier(is_production: bool, settings: Settings) -> Tier | None:
    """The tier of a task that names none: the one that ``production`` stands for (``ThriftBackfill.java``). The default
    tier comes first where it is one of those, and is the last resort of a task that is not production."""
    default = settings.tier(settings.default_tier)
    ordered = ((default,) if default is not None else ()) + settings.tiers
    for tier in ordered:
        if tier.is_preemptible is not is_production and not tier.is_revocable:
            return tier
    return None if is_production else default


def _unique(items: tuple[T, ...] | None) -> tuple[T, ...] | None:
    """A set, which a tuple stands for here: each once."""
    return None if items is None else tuple(dict.fromkeys(items))


def _completed(task: wire.TaskConfig, settings: Settings) -> wire.TaskConfig:
    tier = settings.tier(task.tier) if task.tier else implied_tier(bool(task.production), settings)
    return task._replace(
        is_service=bool(task.is_service),
        priority=task.priority or 0,
        max_task_failures=1 if task.max_task_failures is None else task.max_task_failures,
        tier=tier.name if tier is not None else task.tier,
        production=not tier.is_preemptible and not tier.is_revocable if tier is not None else task.production,
        resources=_unique(task.resources),
        constraints=_unique(task.constraints) or (),
        mesos_fetcher_uris=_unique(task.mesos_fetcher_uris) or None,
        metadata=_unique(task.metadata) or None,
        container=wire.Container(mesos=wire.MesosContainer()) if task.container is None else task.container,
    )


# -- judging -----------------------------------------------------------------------------------------------------------


def config_problems(task: wire.TaskConfig, settings: Settings, instances: int | None = None) -> list[str]:
    """All that is wrong with a configuration that was completed."""
    return [
        *_key_problems(task.job, settings),
        *_owner_problems(task),
        *_tier_problems(task, settings),
        *_executor_problems(task, settings),
        *_resource_problems(task, settings),
        *_constraint_problems(task),
        *_container_problems(task, settings),
        *_fetcher_problems(task, settings),
        *_sla_problems(task, settings, instances),
    ]


def _shown(key: wire.JobKey) -> str:
    return f"{key.role}/{key.environment}/{key.name}"


def _key_problems(key: wire.JobKey | None, settings: Settings) -> Iterator[str]:
    if key is None:
        yield "it has no job key: role, environment and name"
        return
    for part in ("role", "environment", "name"):
        value = getattr(key, part)
        if not is_good_identifier(value):
            yield (
                f"the job's {part} {value or ''!r} is no good identifier:"
                f" 1 to {MAX_IDENTIFIER_LENGTH} letters, digits, '_', '-' and '.'"
            )
    if is_good_identifier(key.environment) and not re.fullmatch(
        settings.allowed_job_environments, key.environment or ""
    ):
        yield f"the job's environment {key.environment!r} is none of {settings.allowed_job_environments}"


def _owner_problems(task: wire.TaskConfig) -> Iterator[str]:
    user = task.owner.user if task.owner is not None else None
    if user and not is_good_identifier(user):  # clients that know no user send none
        yield f"the task's owner {user!r} is no good identifier"


def _tier_problems(task: wire.TaskConfig, settings: Settings) -> Iterator[str]:
    if not task.tier:
        yield "no tier of this scheduler is for production tasks: name one"
    elif settings.tier(task.tier) is None:
        yield f"there is no tier {task.tier!r}; there are: {', '.join(tier.name for tier in settings.tiers)}"


def _executor_problems(task: wire.TaskConfig, settings: Settings) -> Iterator[str]:
    executor = task.executor_config
    if executor is None:
        if task.container is None or task.container.docker is None:
            yield "it has no executor, which only a Docker container can do without"
        elif settings.require_docker_use_executor:
            yield "its Docker container must be run by an executor on this scheduler (require_docker_use_executor)"
    elif not executor.name:
        yield "its executor has no name"
    elif executor.name not in settings.executors:
        known = ", ".join(sorted(settings.executors)) or "none"
        yield f"there is no executor {executor.name!r} on this scheduler; there are: {known}"


_AMOUNTS: Final = (("num_cpus", "cpu"), ("ram_mb", "RAM"), ("disk_mb", "disk"), ("num_gpus", "GPU"))


def _resource_problems(task: wire.TaskConfig, settings: Settings) -> Iterator[str]:
    resources = task.resources or ()
    for resource in resources:
        if sum(value is not None for value in resource) != 1:
            yield "a resource must be of one type: cpu, RAM, disk, GPU or a named port"
            return
        if resource.named_port == "":
            yield "a port has no name"
    for name, shown in _AMOUNTS:
        values: list[Any] = [getattr(resource, name) for resource in resources if getattr(resource, name) is not None]
        if len(values) > 1:
            yield f"its {shown} is given {len(values)} times"
        elif not values:
            if name != "num_gpus":
                yield f"it has no {shown}"
        elif not isfinite(values[0]) or values[0] <= 0:
            yield f"its {shown} must be more than 0, not {values[0]}"
        elif name == "num_cpus" and milli(values[0]) == 0:
            yield f"its cpu must be 0.001 at least, as Mesos counts, not {values[0]}"
        if name == "num_gpus" and values and not settings.allow_gpu_resource:
            yield "GPUs are not allowed on this scheduler (allow_gpu_resource)"


def _constraint_problems(task: wire.TaskConfig) -> Iterator[str]:
    role = (task.job.role if task.job is not None else None) or ""
    for constraint in task.constraints or ():
        chosen = constraint.constraint
        if not constraint.name:
            yield "a constraint names no attribute"
        elif chosen is None or (chosen.value is None) is (chosen.limit is None):
            yield f"the constraint on {constraint.name!r} must be either values or a limit"
        elif constraint.name == "dedicated":
            yield from _dedicated_problems(chosen, role)


def _dedicated_problems(chosen: wire.TaskConstraint, role: str) -> Iterator[str]:
    values = (chosen.value.values or ()) if chosen.value is not None else None
    if values is None:
        yield "the constraint 'dedicated' takes a value, not a limit"
    elif len(values) != 1:
        yield f"the constraint 'dedicated' takes one value, not {len(values)}"
    else:
        owner, slash, name = values[0].partition("/")
        if not owner or not slash or not name:
            yield f"the constraint 'dedicated' takes role/name or */name, not {values[0]!r}"
        elif owner not in ("*", role):
            yield f"hosts dedicated to {values[0]!r} are for the role {owner!r} alone, not for {role!r}"


def _container_problems(task: wire.TaskConfig, settings: Settings) -> Iterator[str]:
    container = task.container or wire.Container()
    if (container.mesos is None) is (container.docker is None):
        yield "its container must be of one type: Mesos or Docker"
        return
    kind = "MESOS" if container.docker is None else "DOCKER"
    if kind not in settings.allowed_container_types:
        allowed = ", ".join(sorted(settings.allowed_container_types))
        yield f"containers of type {kind} are not allowed on this scheduler (allowed_container_types: {allowed})"
    docker, mesos = container.docker, container.mesos
    if docker is not None:
        if not docker.image:
            yield "its Docker container has no image"
        if docker.parameters and not settings.allow_docker_parameters:
            yield "Docker parameters are not allowed on this scheduler (allow_docker_parameters)"
    if mesos is not None:
        image = mesos.image
        if image is not None and (image.docker is None) is (image.appc is None):
            yield "its container's image must be of one type: Docker or appc"
        if mesos.volumes and not settings.allow_container_volumes:
            yield "volumes are not allowed on this scheduler (allow_container_volumes)"


def _fetcher_problems(task: wire.TaskConfig, settings: Settings) -> Iterator[str]:
    if task.mesos_fetcher_uris and not settings.enable_mesos_fetcher:
        yield "URIs for Mesos' fetcher are not allowed on this scheduler (enable_mesos_fetcher)"
    if any(not uri.value for uri in task.mesos_fetcher_uris or ()):
        yield "a URI for Mesos' fetcher is empty"


def _sla_problems(task: wire.TaskConfig, settings: Settings, instances: int | None) -> Iterator[str]:
    policy = task.sla_policy
    if policy is None:
        return
    if sum(chosen is not None for chosen in policy) != 1:
        yield "its SLA policy must be of one type: percentage, count or coordinator"
        return
    if not task.production and not settings.sla_aware_kill_non_prod:
        yield f"an SLA policy is for production tasks, and the tier {task.tier!r} is not (sla_aware_kill_non_prod)"
    counted = policy.count_sla_policy or policy.percentage_sla_policy
    if counted is None:
        coordinator = policy.coordinator_sla_policy or wire.CoordinatorSlaPolicy()
        if not (coordinator.coordinator_url or "").startswith(("http://", "https://")):
            yield f"its SLA coordinator must be an http or https URL, not {coordinator.coordinator_url!r}"
        return
    duration_s = counted.duration_secs or 0
    if not 0 <= duration_s <= settings.max_sla_duration_s:
        yield f"its SLA policy's duration must be 0 to {settings.max_sla_duration_s:g} seconds, not {duration_s}"
    if instances is not None and instances < settings.min_required_instances_for_sla_check:
        yield (
            f"an SLA policy of type count or percentage is for jobs of"
            f" {settings.min_required_instances_for_sla_check} instances or more, not {instances}"
        )
    if policy.count_sla_policy is not None:
        wanted = policy.count_sla_policy.instances or 0
        if wanted < 0 or (instances is not None and wanted >= instances):
            yield f"its SLA policy wants {wanted} instances to run{_of(instances)}, which lets none be drained"
    elif policy.percentage_sla_policy is not None:
        percentage = policy.percentage_sla_policy.percentage or 0.0
        if not 0 <= percentage < 100 or (instances is not None and instances * (100 - percentage) < 100):
            yield f"its SLA policy wants {percentage:g} % to run{_of(instances)}, which lets none be drained"


def _of(instances: int | None) -> str:
    return "" if instances is None else f" of {instances}"
