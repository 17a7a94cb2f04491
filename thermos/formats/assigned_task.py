"""``AssignedTask``: what Aurora's scheduler puts into ``TaskInfo.data``, and its executor runs.

One struct in Thrift's binary protocol, without a message around it. Source: Aurora 0.22, ``api.thrift``; field ids
and names are its, here in Python's spelling. A field that is unknown, or has another type than here, is passed over:
a later scheduler may send it. The job itself is ``task.executor_config.data``, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from thermos.formats.thrift_binary import (
    BOOL,
    DOUBLE,
    I32,
    I64,
    LIST,
    MAP,
    SET,
    STRING,
    STRUCT,
    Field,
    StructType,
    ThriftError,
    decode_struct,
    encode_struct,
)

#: Aurora never changed it; whatever is added has a new field id.
VERSION: Final = 1


class AssignedTaskError(ValueError):
    """The bytes are no AssignedTask; says why, and near which offset."""

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason
        super().__init__(f"is no AssignedTask (byte {offset}): {reason}")


class JobKey(NamedTuple):
    """``role/environment/name``."""

    role: str | None = None
    environment: str | None = None
    name: str | None = None


class Identity(NamedTuple):
    """Who created the job."""

    user: str | None = None


class Resource(NamedTuple):
    """A union: one of these is set."""

    num_cpus: float | None = None
    ram_mb: int | None = None
    disk_mb: int | None = None
    named_port: str | None = None
    num_gpus: int | None = None


class ValueConstraint(NamedTuple):
    """The attribute has one of these values, or none of them."""

    negated: bool | None = None
    values: tuple[str, ...] | None = None


class LimitConstraint(NamedTuple):
    """At most so many instances for each value of the attribute."""

    limit: int | None = None


class TaskConstraint(NamedTuple):
    """A union."""

    value: ValueConstraint | None = None
    limit: LimitConstraint | None = None


class Constraint(NamedTuple):
    """On which agents the task may run."""

    name: str | None = None
    constraint: TaskConstraint | None = None


class MesosFetcherURI(NamedTuple):
    """What Mesos' fetcher brings into the sandbox."""

    value: str | None = None
    extract: bool | None = None
    cache: bool | None = None
    output_file: str | None = None


class ExecutorConfig(NamedTuple):
    """Which executor, and the job for it as JSON."""

    name: str | None = None
    data: str | None = None


class Metadata(NamedTuple):
    """A label of the user's."""

    key: str | None = None
    value: str | None = None


class Volume(NamedTuple):
    """A directory of the host in the container; *mode* 1 is RW, 2 is RO."""

    container_path: str | None = None
    host_path: str | None = None
    mode: int | None = None


class DockerImage(NamedTuple):
    """A Docker image for Mesos' own containerizer."""

    name: str | None = None
    tag: str | None = None


class AppcImage(NamedTuple):
    """An appc image."""

    name: str | None = None
    image_id: str | None = None


class Image(NamedTuple):
    """A union."""

    docker: DockerImage | None = None
    appc: AppcImage | None = None


class MesosContainer(NamedTuple):
    """A container of Mesos' own, with an image or without."""

    image: Image | None = None
    volumes: tuple[Volume, ...] | None = None


class DockerParameter(NamedTuple):
    """An option for ``docker run``."""

    name: str | None = None
    value: str | None = None


class DockerContainer(NamedTuple):
    """A container of Docker's."""

    image: str | None = None
    parameters: tuple[DockerParameter, ...] | None = None


class Container(NamedTuple):
    """A union."""

    mesos: MesosContainer | None = None
    docker: DockerContainer | None = None


class PartitionPolicy(NamedTuple):
    """What to do when the agent cannot be reached."""

    reschedule: bool | None = None
    delay_secs: int | None = None


class PercentageSlaPolicy(NamedTuple):
    """Of all instances, so many percent run for so long."""

    percentage: float | None = None
    duration_secs: int | None = None


class CountSlaPolicy(NamedTuple):
    """Of all instances, so many run for so long. (Its field is ``count``, which a tuple has already.)"""

    instances: int | None = None
    duration_secs: int | None = None


class CoordinatorSlaPolicy(NamedTuple):
    """Somebody else decides, over HTTP."""

    coordinator_url: str | None = None
    status_key: str | None = None


class SlaPolicy(NamedTuple):
    """A union."""

    percentage_sla_policy: PercentageSlaPolicy | None = None
    count_sla_policy: CountSlaPolicy | None = None
    coordinator_sla_policy: CoordinatorSlaPolicy | None = None


class TaskConfig(NamedTuple):
    """What all instances of a job, of one configuration, have in common. ``None``: not set."""

    job: JobKey | None = None
    owner: Identity | None = None
    is_service: bool | None = None
    priority: int | None = None
    max_task_failures: int | None = None
    production: bool | None = None
    tier: str | None = None
    resources: tuple[Resource, ...] | None = None
    constraints: tuple[Constraint, ...] | None = None
    mesos_fetcher_uris: tuple[MesosFetcherURI, ...] | None = None
    task_links: Mapping[str, str] | None = None
    contact_email: str | None = None
    executor_config: ExecutorConfig | None = None
    metadata: tuple[Metadata, ...] | None = None
    partition_policy: PartitionPolicy | None = None
    sla_policy: SlaPolicy | None = None
    container: Container | None = None


class AssignedTask(NamedTuple):
    """One instance, placed: its id, where it runs, its ports, and its configuration."""

    task_id: str
    slave_id: str | None
    slave_host: str | None
    task: TaskConfig
    assigned_ports: Mapping[str, int] | None
    instance_id: int | None


def _struct(factory: type, *fields: Field) -> StructType:
    return StructType(factory, fields)


#: No amount is larger; thousandths of it are still exact.
_MOST: Final = 1e12


def _number(value: float) -> float:
    """*value*, if one can calculate with it: neither infinite nor NaN."""
    if not -_MOST <= value <= _MOST:
        raise ValueError(f"{value} is no amount")
    return value


JOB_KEY = _struct(JobKey, Field(1, "role", STRING), Field(2, "environment", STRING), Field(3, "name", STRING))
IDENTITY = _struct(Identity, Field(2, "user", STRING))
RESOURCE = _struct(
    Resource,
    Field(1, "num_cpus", DOUBLE, convert=_number),
    Field(2, "ram_mb", I64),
    Field(3, "disk_mb", I64),
    Field(4, "named_port", STRING),
    Field(5, "num_gpus", I64),
)
_VALUE = _struct(ValueConstraint, Field(1, "negated", BOOL), Field(2, "values", SET, of=STRING))
_LIMIT = _struct(LimitConstraint, Field(1, "limit", I32))
_TASK_CONSTRAINT = _struct(TaskConstraint, Field(1, "value", STRUCT, _VALUE), Field(2, "limit", STRUCT, _LIMIT))
CONSTRAINT = _struct(Constraint, Field(1, "name", STRING), Field(2, "constraint", STRUCT, _TASK_CONSTRAINT))
_URI = _struct(
    MesosFetcherURI,
    Field(1, "value", STRING),
    Field(2, "extract", BOOL),
    Field(3, "cache", BOOL),
    Field(4, "output_file", STRING),
)
_EXECUTOR_CONFIG = _struct(ExecutorConfig, Field(1, "name", STRING), Field(2, "data", STRING))
METADATA = _struct(Metadata, Field(1, "key", STRING), Field(2, "value", STRING))
_VOLUME = _struct(Volume, Field(1, "container_path", STRING), Field(2, "host_path", STRING), Field(3, "mode", I32))
_DOCKER_IMAGE = _struct(DockerImage, Field(1, "name", STRING), Field(2, "tag", STRING))
_APPC_IMAGE = _struct(AppcImage, Field(1, "name", STRING), Field(2, "image_id", STRING))
_IMAGE = _struct(Image, Field(1, "docker", STRUCT, _DOCKER_IMAGE), Field(2, "appc", STRUCT, _APPC_IMAGE))
_MESOS_CONTAINER = _struct(
    MesosContainer, Field(1, "image", STRUCT, _IMAGE), Field(2, "volumes", LIST, _VOLUME, of=STRUCT)
)
_DOCKER_PARAMETER = _struct(DockerParameter, Field(1, "name", STRING), Field(2, "value", STRING))
_DOCKER_CONTAINER = _struct(
    DockerContainer, Field(1, "image", STRING), Field(2, "parameters", LIST, _DOCKER_PARAMETER, of=STRUCT)
)
_CONTAINER = _struct(
    Container, Field(1, "mesos", STRUCT, _MESOS_CONTAINER), Field(2, "docker", STRUCT, _DOCKER_CONTAINER)
)
_PARTITION_POLICY = _struct(PartitionPolicy, Field(1, "reschedule", BOOL), Field(2, "delay_secs", I64))
_PERCENTAGE = _struct(
    PercentageSlaPolicy, Field(1, "percentage", DOUBLE, convert=_number), Field(2, "duration_secs", I64)
)
_COUNT = _struct(CountSlaPolicy, Field(1, "instances", I64), Field(2, "duration_secs", I64))
_COORDINATOR = _struct(CoordinatorSlaPolicy, Field(1, "coordinator_url", STRING), Field(2, "status_key", STRING))
SLA_POLICY = _struct(
    SlaPolicy,
    Field(1, "percentage_sla_policy", STRUCT, _PERCENTAGE),
    Field(2, "count_sla_policy", STRUCT, _COUNT),
    Field(3, "coordinator_sla_policy", STRUCT, _COORDINATOR),
)
#: ``TaskConfig``, for the other messages that hold one.
TASK_CONFIG: Final = _struct(
    TaskConfig,
    Field(7, "is_service", BOOL),
    Field(11, "priority", I32),
    Field(13, "max_task_failures", I32),
    Field(17, "owner", STRUCT, IDENTITY),
    Field(18, "production", BOOL),
    Field(20, "constraints", SET, CONSTRAINT, of=STRUCT),
    Field(22, "task_links", MAP, of=STRING),
    Field(23, "contact_email", STRING),
    Field(25, "executor_config", STRUCT, _EXECUTOR_CONFIG),
    Field(27, "metadata", SET, METADATA, of=STRUCT),
    Field(28, "job", STRUCT, JOB_KEY),
    Field(29, "container", STRUCT, _CONTAINER),
    Field(30, "tier", STRING),
    Field(32, "resources", SET, RESOURCE, of=STRUCT),
    Field(33, "mesos_fetcher_uris", SET, _URI, of=STRUCT),
    Field(34, "partition_policy", STRUCT, _PARTITION_POLICY),
    Field(35, "sla_policy", STRUCT, SLA_POLICY),
)
ASSIGNED_TASK: Final = _struct(
    AssignedTask,
    Field(1, "task_id", STRING),
    Field(2, "slave_id", STRING),
    Field(3, "slave_host", STRING),
    Field(4, "task", STRUCT, TASK_CONFIG),
    Field(5, "assigned_ports", MAP, of=I32),
    Field(6, "instance_id", I32),
)


def decode(data: bytes) -> AssignedTask:
    """The task that *data* holds.

    Raises:
        AssignedTaskError: *data* is anything else, ends early, goes on after it, or lacks the task's id or
            configuration, without which there is nothing to run.
    """
    try:
        task, end = decode_struct(ASSIGNED_TASK, data, 0)
    except ThriftError as error:
        raise AssignedTaskError(error.offset or 0, str(error)) from None
    if end != len(data):
        raise AssignedTaskError(end, f"{len(data) - end} bytes follow it")
    assert isinstance(task, AssignedTask)
    missing = [name for name in ("task_id", "task") if getattr(task, name) is None]
    if missing:
        raise AssignedTaskError(end, f"it has no {' and no '.join(missing)}")
    return task


def encode(task: AssignedTask) -> bytes:
    """The bytes of *task*; what is None is left out."""
    return encode_struct(ASSIGNED_TASK, task)


def encode_placed(task: AssignedTask, config: bytes) -> bytes:
    """The bytes of *task*, whose configuration is encoded already: the largest part, the same for every instance."""
    none: Any = None
    before = encode_struct(ASSIGNED_TASK, task._replace(task=none, assigned_ports=None, instance_id=None))
    after = AssignedTask(none, None, None, none, task.assigned_ports, task.instance_id)
    return before[:-1] + _CONFIG_HEAD + config + encode_struct(ASSIGNED_TASK, after)


#: A struct, and the id of ``task``. The byte before it, and the last of all, is the end of a struct.
_CONFIG_HEAD: Final = bytes((STRUCT, 0, 4))
