"""A placed task as Mesos launches it: its ``TaskInfo``, and whose resources it takes. Pure.

Source of every field: Aurora 0.22's ``MesosTaskFactory`` and ``AcceptedOffer``, as agents, executors and whoever reads
labels know them; ``mesos/include/mesos/v1/mesos.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from scheduler.core.events import Launch
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.model import Config, Resources, Task, Tier, encode_config
from thermos.formats.assigned_task import AssignedTask, DockerContainer, MesosContainer, TaskConfig, encode_placed
from thermos.formats.mesos_v1 import write_data, write_text
from thermos.formats.mesos_v1_scheduler import Accept, Amount, Offer, Ports, Range, Status, Update
from thermos.mesos import MesosTaskState, Reason

#: A JSON object for Mesos.
Raw: TypeAlias = dict[str, Any]

#: ``TASK_FILESYSTEM_MOUNT_POINT`` of Aurora's ``api.thrift``: where the executor expects an image's files.
TASK_FILESYSTEM: Final = "taskfs"
TIER_LABEL: Final = "org.apache.aurora.tier"
METADATA_LABEL: Final = "org.apache.aurora.metadata."
#: Once a field of ``ExecutorInfo``, which Mesos asked to be a label instead; hence without a prefix.
SOURCE_LABEL: Final = "source"
#: Names of Mesos' resources.
CPUS, MEM, DISK, GPUS, PORTS = "cpus", "mem", "disk", "gpus", "ports"
_MODES: Final = {1: "RW", 2: "RO"}
#: Mesos' own: the fewest milli-units that it tells from nothing.
_THOUSANDTHS: Final = 1000


class NotLaunched(ValueError):
    """A task cannot be launched; says why."""


class OfferTooSmall(NotLaunched):
    """An offer does not hold what a task was placed on it for; says what is missing."""


class NoExecutor(NotLaunched):
    """A task names an executor that there is not, or none where it needs one."""


# -- what is taken of an offer -----------------------------------------------------------------------------------------


class Room:
    """What is left of the offers of one agent, while one task after the other takes of it.

    Each resource given is in the form the offer had it in (role, reservations, ``revocable`` …): Mesos counts those
    as different things. Reserved ones go first, which nobody else could use.
    """

    def __init__(self, offer: Offer, *more: Offer) -> None:
        self.offer = offer
        offers = (offer, *more)
        self._amounts: dict[tuple[str, bool], list[tuple[Amount, list[int]]]] = {}
        amounts = [amount for one in offers for amount in one.amounts]
        for amount in sorted(amounts, key=lambda one: not is_reserved(one)):
            left = [int(amount.value * _THOUSANDTHS + 0.5)]
            self._amounts.setdefault((amount.name, amount.is_revocable), []).append((amount, left))
        self._ports = [
            (ports, list(ports.ranges))
            for ports in sorted([one for each in offers for one in each.ports], key=lambda one: not is_reserved(one))
            if ports.name == PORTS and not ports.is_revocable
        ]

    def take(self, name: str, thousandths: int, is_revocable: bool = False) -> list[Raw]:
        """Resources that make up so much of *name*. Raises OfferTooSmall, after which the room is of no use."""
        taken = []
        missing = thousandths
        for amount, left in self._amounts.get((name, is_revocable), ()):
            part = min(missing, left[0])
            if part > 0:
                left[0] -= part
                missing -= part
                taken.append({**amount.raw, "scalar": {"value": part / _THOUSANDTHS}})
        if missing > 0:
            kind = f"revocable {name}" if is_revocable else name
            raise OfferTooSmall(
                f"offer {self.offer.offer_id} of {self.offer.hostname} lacks {missing / _THOUSANDTHS:g} of "
                f"{thousandths / _THOUSANDTHS:g} {kind}"
            )
        return taken

    def take_ports(self, numbers: Iterable[int]) -> list[Raw]:
        """Resources that hold these ports. Raises OfferTooSmall."""
        wanted = sorted(set(numbers))
        taken = []
        for ports, ranges in self._ports:
            found = [one for one in wanted if any(begin <= one <= end for begin, end in ranges)]
            if found:
                wanted = [one for one in wanted if one not in found]
                ranges[:] = _without(ranges, found)
                held = [{"begin": begin, "end": end} for begin, end in _ranges(found)]
                taken.append({**ports.raw, "ranges": {"range": held}})
        if wanted:
            raise OfferTooSmall(
                f"offer {self.offer.offer_id} of {self.offer.hostname} lacks the ports {', '.join(map(str, wanted))}"
            )
        return taken


def is_reserved(resource: Amount | Ports) -> bool:
    """Whether it is for a role alone: in the form of ``role``, or of ``reservations``."""
    return bool(resource.raw.get("reservations")) or resource.raw.get("role", "*") != "*"


def take(
    offer: Offer, wanted: Resources, ports: Iterable[int] = (), revocable: frozenset[str] = frozenset()
) -> list[Raw]:
    """Resources of *offer* that make up *wanted* and *ports*; those named in *revocable* of what is. Raises
    OfferTooSmall."""
    return _take(Room(offer), wanted, ports, revocable)


def _take(room: Room, wanted: Resources, ports: Iterable[int], revocable: frozenset[str]) -> list[Raw]:
    taken: list[Raw] = []
    for name, thousandths in (
        (CPUS, wanted.milli_cpus),
        (MEM, wanted.ram_mb * _THOUSANDTHS),
        (DISK, wanted.disk_mb * _THOUSANDTHS),
        (GPUS, wanted.gpus * _THOUSANDTHS),
    ):
        if thousandths > 0:
            taken += room.take(name, thousandths, name in revocable)
    return taken + room.take_ports(ports)


def _ranges(numbers: Sequence[int]) -> list[Range]:
    """Of sorted numbers."""
    found: list[Range] = []
    for number in numbers:
        if found and found[-1].end == number - 1:
            found[-1] = Range(found[-1].begin, number)
        else:
            found.append(Range(number, number))
    return found


def _without(ranges: Iterable[Range], numbers: Sequence[int]) -> list[Range]:
    left = []
    for begin, end in ranges:
        for number in numbers:
            if begin <= number <= end:
                if begin < number:
                    left.append(Range(begin, number - 1))
                begin = number + 1
        if begin <= end:
            left.append(Range(begin, end))
    return left


def revocable_names(tier: Tier | None, settings: Settings) -> frozenset[str]:
    """Which resources a task of *tier* takes of what may be revoked; the others it takes of what may not."""
    if tier is None or not tier.is_revocable:
        return frozenset()
    names = ((CPUS, settings.enable_revocable_cpus), (MEM, settings.enable_revocable_ram))
    return frozenset(name for name, is_enabled in names if is_enabled)


# -- the task ----------------------------------------------------------------------------------------------------------


def task_info(task: Task, offer: Offer | Room, settings: Settings, *, has_discovery: bool = False) -> Raw:
    """The ``TaskInfo`` of *task*, which was placed on *offer*; of several on one offer each gets the same ``Room``.

    *has_discovery*: with a DiscoveryInfo, for what reads Mesos' state to find services.

    Raises:
        OfferTooSmall: the offer does not hold the task.
        NoExecutor: the task names an executor that *settings* has not.
    """
    room = offer if isinstance(offer, Room) else Room(offer)
    config, wire = task.config, task.config.wire
    executor = _executor(config, settings)
    tier_name = config.tier or settings.default_tier
    revocable = revocable_names(settings.tier(tier_name), settings)
    labels = [(TIER_LABEL, tier_name)]
    labels += [(f"{METADATA_LABEL}{one.key or ''}", one.value or "") for one in wire.metadata or ()]
    info: Raw = {
        "name": write_text(str(config.job)),
        "task_id": {"value": task.task_id},
        "agent_id": {"value": room.offer.agent_id},
        "resources": _take(room, config.resources, [port for _, port in task.ports], revocable),
        "labels": _labels(labels),
    }
    if has_discovery:
        info["discovery"] = _discovery(task, settings)
    docker = wire.container.docker if wire.container is not None else None
    if executor is None:
        if docker is None:
            raise NoExecutor(f"task {task.task_id} names no executor, and is no Docker container that could do without")
        command: Raw = {"shell": False}
        if uris := _uris(wire):
            command["uris"] = uris
        info["container"] = _docker(docker, (), settings)
        info["command"] = command
        return info
    mesos = wire.container.mesos if wire.container is not None else None
    info["executor"] = _executor_info(task, executor, _take(room, executor.overhead, (), revocable))
    if docker is not None:
        info["executor"]["container"] = _docker(docker, executor.volume_mounts, settings)
    elif mesos is not None and (container := _mesos(mesos, executor.volume_mounts)) is not None:
        info["executor"]["container"] = container
    info["data"] = write_data(_data(task, room.offer))
    return info


def accept_of(launch: Launch, settings: Settings, *, has_discovery: bool = False) -> tuple[Accept, tuple[Update, ...]]:
    """The call that launches, and a TASK_ERROR for each task that cannot be: its executor is configured no more, say,
    or the offer does not hold it after all. One such task must not keep the others, or the scheduler, from going on."""
    room = Room(*launch.offers)
    infos, failures = [], []
    for task in launch.tasks:
        try:
            infos.append(task_info(task, room, settings, has_discovery=has_discovery))
        except NotLaunched as error:
            failures.append(Update(_error(task, str(error))))
    return Accept(tuple(offer.offer_id for offer in launch.offers), tuple(infos)), tuple(failures)


def _error(task: Task, message: str) -> Status:
    """As a master says it of a task that it does not take; nobody waits for its acknowledgement."""
    return Status(
        task_id=task.task_id,
        state=MesosTaskState.TASK_ERROR,
        source=None,
        reason=Reason.REASON_TASK_INVALID,
        message=message,
        agent_id=task.agent_id,
        executor_id=None,
        timestamp_s=None,
        uuid=None,
        healthy=None,
        labels=(),
        unreachable_time_ns=None,
        raw={},
    )


def _executor(config: Config, settings: Settings) -> ExecutorSettings | None:
    named = config.wire.executor_config
    if named is None:
        return None
    executor = settings.executors.get(named.name or "")
    if executor is None:
        known = ", ".join(sorted(settings.executors)) or "none"
        raise NoExecutor(f"this scheduler has no executor {named.name} (custom_executor_config); it has: {known}")
    return executor


def _executor_info(task: Task, executor: ExecutorSettings, resources: list[Raw]) -> Raw:
    job = task.job
    source = write_text(f"{job.role}.{job.environment}.{job.name}.{task.instance}")
    info = {
        **executor.raw,
        "executor_id": {"value": executor.task_prefix + task.task_id},
        "source": source,
        "labels": _labels([(SOURCE_LABEL, source)]),
        "resources": resources,
    }
    if uris := _uris(task.config.wire):
        command = info["command"]
        info["command"] = {**command, "uris": [*command.get("uris", ()), *uris]}
    return info


def _uris(config: TaskConfig) -> list[Raw]:
    uris = []
    for uri in config.mesos_fetcher_uris or ():
        one: Raw = {
            "value": write_text(uri.value or ""),
            "executable": False,
            "extract": bool(uri.extract),
            "cache": bool(uri.cache),
        }
        if uri.output_file:
            one["output_file"] = write_text(uri.output_file)
        uris.append(one)
    return uris


@lru_cache(maxsize=1024)
def _config_bytes(config: Config) -> bytes:
    """Once for all instances."""
    return encode_config(config)


def _data(task: Task, offer: Offer) -> bytes:
    placed = AssignedTask(
        task_id=task.task_id,
        slave_id=offer.agent_id,
        slave_host=offer.hostname,
        task=task.config.wire,
        assigned_ports=dict(task.ports),
        instance_id=task.instance,
    )
    return encode_placed(placed, _config_bytes(task.config))


def _labels(labels: Iterable[tuple[str, str]]) -> Raw:
    return {"labels": [{"key": write_text(key), "value": write_text(value)} for key, value in labels]}


def _discovery(task: Task, settings: Settings) -> Raw:
    job = task.job
    return {
        "visibility": "CLUSTER",
        "name": write_text(f"{job.name}.{job.environment}.{job.role}"),
        "environment": write_text(job.environment),
        "location": settings.cluster_name,
        "ports": {
            "ports": [{"name": write_text(name), "number": number, "protocol": "TCP"} for name, number in task.ports]
        },
    }


def _docker(container: DockerContainer, mounts: Sequence[Raw], settings: Settings) -> Raw:
    given = [(one.name or "", one.value or "") for one in container.parameters or ()]
    parameters = [
        {"key": write_text(name), "value": write_text(value)}
        for name, value in given or settings.default_docker_parameters
    ]
    found: Raw = {
        "type": "DOCKER",
        "docker": {"image": write_text(container.image or ""), "parameters": parameters},
    }
    if mounts:
        found["volumes"] = list(mounts)
    return found


def _mesos(container: MesosContainer, mounts: Sequence[Raw]) -> Raw | None:
    """None: without an image it is a container like any other."""
    image = container.image
    if image is None:
        return None
    source: Raw
    if image.docker is not None:
        source = {"type": "DOCKER", "docker": {"name": write_text(f"{image.docker.name}:{image.docker.tag}")}}
    elif image.appc is not None:
        appc: Raw = {"name": write_text(image.appc.name or "")}
        if image.appc.image_id:
            appc["id"] = write_text(image.appc.image_id)
        source = {"type": "APPC", "appc": appc}
    else:
        return None
    volumes = [
        {
            "mode": _MODES.get(one.mode or 0, "RO"),
            "host_path": write_text(one.host_path or ""),
            "container_path": write_text(one.container_path or ""),
        }
        for one in container.volumes or ()
    ]
    root = {"image": source, "container_path": TASK_FILESYSTEM, "mode": "RO"}
    return {"type": "MESOS", "mesos": {}, "volumes": [*mounts, *volumes, root]}
