"""What the scheduler knows, as frozen values: jobs' configurations, tasks, hosts, quotas.

What travels is Aurora's Thrift model (:mod:`thermos.formats.assigned_task`, :mod:`thermos.formats.aurora_api`), whose
every field may be missing. Here is the same without doubt: a :class:`Config` is made from the wire's ``TaskConfig``
once, by :func:`config_of`, and keeps it; all tasks of a configuration share one ``Config``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.assigned_task import TASK_CONFIG
from thermos.formats.thrift_binary import encode_struct


class JobKey(NamedTuple):
    """A job; ``str`` gives ``role/environment/name``."""

    role: str
    environment: str
    name: str

    def __str__(self) -> str:
        return f"{self.role}/{self.environment}/{self.name}"


class Resources(NamedTuple):
    """Amounts. CPUs are counted in thousandths, so that sums and differences are exact."""

    milli_cpus: int = 0
    ram_mb: int = 0
    disk_mb: int = 0
    gpus: int = 0

    @property
    def cpus(self) -> float:
        return self.milli_cpus / 1000

    def plus(self, other: Resources, times: int = 1) -> Resources:
        """The sum of this and *times* the other."""
        return Resources(
            self.milli_cpus + other.milli_cpus * times,
            self.ram_mb + other.ram_mb * times,
            self.disk_mb + other.disk_mb * times,
            self.gpus + other.gpus * times,
        )

    def minus(self, other: Resources) -> Resources:
        return self.plus(other, -1)

    def fits(self, room: Resources) -> bool:
        """Whether *room* holds all of this."""
        return (
            self.milli_cpus <= room.milli_cpus
            and self.ram_mb <= room.ram_mb
            and self.disk_mb <= room.disk_mb
            and self.gpus <= room.gpus
        )


def milli(cpus: float) -> int:
    """Thousandths of a CPU: Mesos' own precision (``mesos/src/common/values.cpp``)."""
    return round(cpus * 1000)


class Constraint(NamedTuple):
    """On which hosts: by the values of an attribute, or by how many of the job share one (*limit* is not None)."""

    name: str
    values: frozenset[str] = frozenset()
    is_negated: bool = False
    limit: int | None = None


class Tier(NamedTuple):
    """What a tier's tasks may do and suffer."""

    name: str
    is_preemptible: bool
    is_revocable: bool


@dataclass(frozen=True, slots=True, eq=False)
class Config:
    """One configuration of a job. Equal where *digest* is; built by :func:`config_of` alone."""

    wire: wire.TaskConfig
    job: JobKey
    owner: str
    is_service: bool
    priority: int
    max_task_failures: int
    is_production: bool
    tier: str
    resources: Resources
    ports: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    #: Of the ``dedicated`` constraint: a value, or None.
    dedicated: str | None
    #: SHA-256 of the configuration in a form without order: what is a set is sorted, the executor's JSON is parsed.
    digest: str
    #: How the lost are replaced; see ``aurora-behaviour`` on partitions.
    is_rescheduled_when_partitioned: bool = True
    partition_delay_s: int = 0
    _hash: int = field(default=0, repr=False)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Config) and self.digest == other.digest)

    def __hash__(self) -> int:
        return self._hash


class TaskEvent(NamedTuple):
    """A task came into a state."""

    at_ms: int
    status: ScheduleStatus
    message: str | None = None
    scheduler: str | None = None


class Health:
    """What an executor says that the RUNNING of a task means; see ``docs/executor.md``."""

    #: Its health was checked, and it was healthy.
    CHECKED: Final = "checked"
    #: It was started: nothing checks its health.
    UNCHECKED: Final = "unchecked"


class Task(NamedTuple):
    """One run of one instance. *events* is never empty: the first is how it came to be."""

    task_id: str
    instance: int
    config: Config
    status: ScheduleStatus
    events: tuple[TaskEvent, ...]
    agent_id: str | None = None
    host: str | None = None
    #: Assigned on the host: name → number, sorted by name.
    ports: tuple[tuple[str, int], ...] = ()
    failure_count: int = 0
    times_partitioned: int = 0
    ancestor_id: str | None = None
    #: One of :class:`Health`; None: its executor does not say.
    health: str | None = None

    @property
    def job(self) -> JobKey:
        return self.config.job

    @property
    def created_at_ms(self) -> int:
        return self.events[0].at_ms

    @property
    def changed_at_ms(self) -> int:
        return self.events[-1].at_ms


class Mode:
    """``MaintenanceMode``: the wire's numbers."""

    NONE: Final = 1
    SCHEDULED: Final = 2
    DRAINING: Final = 3
    DRAINED: Final = 4


class Host(NamedTuple):
    """A host as its agent last described it. *attributes*: name → values, by name; "host" is no part of them."""

    name: str
    agent_id: str | None
    attributes: tuple[tuple[str, frozenset[str]], ...] = ()
    mode: int = Mode.NONE

    def values(self, attribute: str) -> frozenset[str]:
        """The values of an attribute; the host's own name is one, called ``host``."""
        for name, values in self.attributes:
            if name == attribute:
                return values
        return frozenset({self.name}) if attribute == "host" else frozenset()


def _parsed(text: str) -> object:
    """JSON as a value, so that the order of keys makes no difference; text that is no JSON stays as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


#: Fields of a ``TaskConfig``, or in one, whose order counts: Docker reads its parameters from left to right, and
#: volumes are mounted one after the other. All other collections are sets.
LISTS: Final = frozenset({"parameters", "volumes"})


def digest_of(config: wire.TaskConfig) -> str:
    """The same for every way in which one configuration can be written down."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return {
                name: [plain(one) for one in item] if name in LISTS else plain(item)
                for name, item in zip(value._fields, value, strict=True)
                if item not in (None, (), {})
            }
        if isinstance(value, (tuple, list, frozenset, set)):
            return sorted((plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        if isinstance(value, Mapping):
            return {str(name): plain(item) for name, item in value.items()}
        return value

    described = plain(config)
    executor = config.executor_config
    if executor is not None and executor.data is not None:
        described["executor_config"]["data"] = _parsed(executor.data)
    text = json.dumps(described, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def resources_of(resources: Iterable[wire.Resource] | None) -> Resources:
    """The amounts among *resources*; of one that is given twice, the last. Ports are none of them."""
    cpus, ram_mb, disk_mb, gpus = 0.0, 0, 0, 0
    for one in resources or ():
        cpus = cpus if one.num_cpus is None else one.num_cpus
        ram_mb = ram_mb if one.ram_mb is None else one.ram_mb
        disk_mb = disk_mb if one.disk_mb is None else one.disk_mb
        gpus = gpus if one.num_gpus is None else one.num_gpus
    return Resources(milli(cpus), ram_mb, disk_mb, gpus)


def config_of(task: wire.TaskConfig) -> Config:
    """The configuration that *task* describes. What is missing is Thrift's default; nothing is judged here: see
    :mod:`scheduler.core.submission`."""
    key = task.job or wire.JobKey()
    ports = [one.named_port for one in task.resources or () if one.named_port is not None]
    constraints = []
    for one in task.constraints or ():
        chosen = one.constraint or wire.TaskConstraint()
        if chosen.limit is not None:
            constraints.append(Constraint(one.name or "", limit=chosen.limit.limit or 0))
        elif chosen.value is not None:
            constraints.append(
                Constraint(one.name or "", frozenset(chosen.value.values or ()), bool(chosen.value.negated))
            )
    constraints.sort(key=lambda one: (one.limit is not None, one.name, sorted(one.values)))
    dedicated = next((min(one.values, default=None) for one in constraints if one.name == "dedicated"), None)
    policy = task.partition_policy
    digest = digest_of(task)
    return Config(
        wire=task,
        job=JobKey(key.role or "", key.environment or "", key.name or ""),
        owner=(task.owner.user if task.owner else None) or "",
        is_service=bool(task.is_service),
        priority=task.priority or 0,
        max_task_failures=task.max_task_failures if task.max_task_failures is not None else 1,
        is_production=bool(task.production),
        tier=task.tier or "",
        resources=resources_of(task.resources),
        ports=tuple(sorted(ports)),
        constraints=tuple(constraints),
        dedicated=dedicated,
        digest=digest,
        is_rescheduled_when_partitioned=policy is None or policy.reschedule is not False,
        partition_delay_s=(policy.delay_secs if policy is not None else None) or 0,
        _hash=hash(digest),
    )


def encode_config(config: Config) -> bytes:
    """Its ``TaskConfig`` in Thrift's binary protocol."""
    return encode_struct(TASK_CONFIG, config.wire)


#: Gives a configuration that is known already for one that equals it, so that tasks share it.
Intern = Callable[[Config], Config]
