"""What the executor is to run, out of ``TaskInfo.data``: Aurora's Thrift ``AssignedTask``, or JSON. Pure.

JSON is for schedulers other than Aurora's: an object with the fields of :class:`JsonAssignment`. Whatever is wrong
is one TaskInvalid with all problems, since the person who reads it sees it in a Mesos status and cannot try again
quickly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from thermos.config import job_json, ports
from thermos.config.job_schema import (
    Announcer,
    HealthCheckConfig,
    LifecycleConfig,
    MesosTaskInstance,
)
from thermos.config.probe_checks import endpoint_problems, probe_problems
from thermos.config.probe_schema import READINESS, Probe
from thermos.core.lifetime_events import Plan
from thermos.definition import Problem, about, build, limit_problems, plain
from thermos.errors import TaskInvalid, ThermosError
from thermos.executor.options import Options
from thermos.formats import assigned_task
from thermos.formats.assigned_task import AssignedTask, AssignedTaskError, Container, Volume
from thermos.schema import Task, problems
from thermos.templates import BadTemplate, lookup_in, resolve

#: A kill's budget from the runner's part on, if the task's own is longer (the original: preemption_wait).
MAX_KILL_S: Final = 60.0
#: The port whose presence turns on HTTP health checks (``health_checker.py``).
HEALTH_PORT: Final = "health"


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """A task's entry in ZooKeeper."""

    path: str
    member: str
    #: How long the connection may take at first; the task fails then.
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One task to run, whatever it came from."""

    task_id: str
    role: str
    environment: str
    name: str
    instance: int
    hostname: str
    task: Task
    #: Every port by every name it has, aliases included.
    ports: Mapping[str, int]
    health: HealthCheckConfig
    #: The command of a shell check with its references resolved; None: there is none.
    health_command: str | None
    lifecycle: LifecycleConfig
    announcement: Announcement | None
    #: Further checks, the references in their commands resolved.
    probes: tuple[Probe, ...] = ()
    container: Container | None = None

    @property
    def is_docker(self) -> bool:
        """Docker's containerizer made the container: its user is the container's."""
        return self.container is not None and self.container.docker is not None

    @property
    def has_image(self) -> bool:
        """Mesos' containerizer provides a file system image for it."""
        mesos = self.container.mesos if self.container is not None else None
        return mesos is not None and mesos.image is not None

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """What is mounted into that image."""
        mesos = self.container.mesos if self.container is not None else None
        return (mesos.volumes or ()) if mesos is not None else ()

    @property
    def health_port(self) -> int | None:
        """The port that is asked over HTTP; None: nobody is."""
        return self.ports.get(HEALTH_PORT) if self.health_command is None else None

    @property
    def is_checked(self) -> bool:
        """Whether anything says that it is healthy."""
        own = self.health_command is not None or self.health_port is not None
        return own or any(probe.purpose != READINESS for probe in self.probes)

    @property
    def farewell_port(self) -> int | None:
        """The port on which it is asked to stop; None: it is not asked."""
        return self.ports.get(self.lifecycle.http.port) if self.lifecycle.http is not None else None

    @property
    def task_json(self) -> str:
        """The task for the runner."""
        return json.dumps(plain(self.task))

    def plan(self, options: Options) -> Plan:
        """What leading its life takes."""
        http = self.lifecycle.http if self.farewell_port is not None else None
        farewells: tuple[tuple[str, float], ...] = ()
        if http is not None:
            farewells = (
                (http.graceful_shutdown_endpoint, float(http.graceful_shutdown_wait_secs)),
                (http.shutdown_endpoint, float(http.shutdown_wait_secs)),
            )
        return Plan(
            task_id=self.task_id,
            is_checked=self.is_checked,
            is_announced=self.announcement is not None,
            announces_early=options.announcer_join_early,
            has_readiness=any(probe.purpose == READINESS for probe in self.probes),
            farewells=farewells,
            kill_budget_s=min(float(self.task.finalization_wait), MAX_KILL_S),
            stop_timeout_s=options.stop_timeout_in_secs,
        )


@dataclass(frozen=True, slots=True)
class JsonAssignment:
    """A task as JSON, for schedulers other than Aurora's."""

    task: Task = field(metadata=about("What is run: the same fields as in a configuration."))
    role: str = field(default="", metadata=about("Unix account it runs as; empty: the executor's own."))
    environment: str = field(default="prod", metadata=about("Part of its path in ZooKeeper."))
    name: str = field(default="", metadata=about("Name of the job; empty: the task's."))
    instance: int = field(default=0, metadata=about("Its number among its like.", at_least=0))
    hostname: str = field(default="", metadata=about("Name of this host; empty: the agent's."))
    ports: Mapping[str, int] = field(default_factory=dict, metadata=about("The ports it was given, by name."))
    announce: Announcer | None = field(default=None, metadata=about("Make it known in ZooKeeper."))
    health_check_config: HealthCheckConfig = field(default=HealthCheckConfig(), metadata=about("When it is healthy."))
    lifecycle: LifecycleConfig = field(default=LifecycleConfig(), metadata=about("How it is asked to stop."))
    x_probes: tuple[Probe, ...] = field(
        default=(), metadata=about("More checks, each with a name and a purpose.", sparse=True)
    )


def read(data: bytes, task_id: str, options: Options, hostname: str = "localhost", user: str = "") -> Assignment:
    """The task that *data* holds for *task_id*.

    *hostname*, *user*: the agent's name and the executor's user, where *data* names none. Raises TaskInvalid.
    """
    if data.lstrip()[:1] == b"{":
        return _from_json(data, task_id, options, hostname, user)
    try:
        assigned = assigned_task.decode(data)
    except AssignedTaskError as error:
        raise TaskInvalid(f"the data of task {task_id}", [Problem("", str(error))]) from None
    return _from_aurora(assigned, task_id, options, hostname)


def _from_aurora(assigned: AssignedTask, task_id: str, options: Options, hostname: str) -> Assignment:
    config = assigned.task
    source = f"task {task_id}"
    if config.executor_config is None or config.executor_config.data is None:
        raise TaskInvalid(source, [Problem("executorConfig", "is missing: there is nothing to run")])
    job = job_json.decode(config.executor_config.data, source)
    host = assigned.slave_host or hostname
    instance = job_json.task_instance(job, assigned.instance_id or 0, host)
    key = config.job
    return _assignment(
        task_id,
        (
            (key.role if key is not None else None) or instance.role,
            (key.environment if key is not None else None) or instance.environment,
            (key.name if key is not None else None) or job.name,
        ),
        instance,
        host,
        assigned.assigned_ports or {},
        options,
        config.container,
    )


def _from_json(data: bytes, task_id: str, options: Options, hostname: str, user: str) -> Assignment:
    source = f"task {task_id}"
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TaskInvalid(source, [Problem("", f"is neither an AssignedTask nor JSON: {error}")]) from None
    if isinstance(raw, dict) and "task" not in raw and "processes" in raw:
        raw = {"task": raw}  # a bare task is enough
    found: list[Problem] = []
    made = build(JsonAssignment, raw, "", found)
    if made is None or found:
        raise TaskInvalid(source, found)
    instance = MesosTaskInstance(
        task=made.task,
        instance=made.instance,
        role=made.role or user,
        environment=made.environment,
        announce=made.announce,
        health_check_config=made.health_check_config,
        lifecycle=made.lifecycle,
        x_probes=made.x_probes,
    )
    names = (instance.role, made.environment, made.name or made.task.name)
    return _assignment(task_id, names, instance, made.hostname or hostname, made.ports, options, None)


def _assignment(
    task_id: str,
    names: tuple[str, str, str],
    instance: MesosTaskInstance,
    hostname: str,
    given: Mapping[str, int],
    options: Options,
    container: Container | None,
) -> Assignment:
    source = f"task {task_id}"
    found: list[Problem] = []
    numbers: dict[str, int] = {}
    try:
        bound = ports.bind(ports.portmap(instance), given)
    except ThermosError as error:
        found.append(Problem("announce.portmap", str(error)))
    else:
        numbers = {name: target for name, target in bound.items() if isinstance(target, int)}
    found += limit_problems(instance.health_check_config, "health_check_config")
    found += limit_problems(instance.lifecycle, "lifecycle")
    found += endpoint_problems(instance.health_check_config, instance.lifecycle)
    found += problems(instance.task, numbers)
    command = _command(instance, task_id, numbers, found)
    probes = _probes(instance, task_id, numbers, found)
    announcement = _announcement(names, instance, hostname, numbers, options, found)
    if found:
        raise TaskInvalid(source, found)
    role, environment, name = names
    return Assignment(
        task_id=task_id,
        role=role,
        environment=environment,
        name=name,
        instance=instance.instance,
        hostname=hostname,
        task=instance.task,
        ports=numbers,
        health=instance.health_check_config,
        health_command=command,
        lifecycle=instance.lifecycle,
        announcement=announcement,
        probes=probes,
        container=container,
    )


def _command(instance: MesosTaskInstance, task_id: str, numbers: Mapping[str, int], found: list[Problem]) -> str | None:
    """The shell check's command with ``thermos.*`` in it resolved; what cannot be is added to *found*."""
    shell = instance.health_check_config.health_checker.shell
    if shell is None:
        return None
    path = "health_check_config.health_checker.shell.shell_command"
    command, left = _resolved(shell.shell_command, path, instance, task_id, numbers, found)
    found += [Problem(path, f"nothing gives {{{{{address}}}}} a value") for address in left]
    return command


def _probes(
    instance: MesosTaskInstance, task_id: str, numbers: Mapping[str, int], found: list[Problem]
) -> tuple[Probe, ...]:
    """The further checks with ``thermos.*`` in their commands resolved; what is wrong is added to *found*."""
    found += probe_problems(instance.x_probes, numbers)
    result = []
    for index, probe in enumerate(instance.x_probes):
        found += limit_problems(probe, f"x_probes[{index}]")
        if probe.shell is not None:
            path = f"x_probes[{index}].shell.command"
            command, left = _resolved(probe.shell.command, path, instance, task_id, numbers, found)
            unknown = [address for address in left if not address.startswith("thermos.ports[")]  # those were named
            found += [Problem(path, f"nothing gives {{{{{address}}}}} a value") for address in unknown]
            probe = replace(probe, shell=replace(probe.shell, command=command))
        result.append(probe)
    return tuple(result)


def _resolved(
    command: str,
    path: str,
    instance: MesosTaskInstance,
    task_id: str,
    numbers: Mapping[str, int],
    found: list[Problem],
) -> tuple[str, Sequence[str]]:
    """*command* with ``thermos.*`` in it resolved, and what in it has no value."""
    scopes = ({"thermos": {"task_id": task_id, "user": instance.role, "ports": dict(numbers)}},)
    try:
        return resolve(command, lambda address: lookup_in(scopes, address))
    except BadTemplate as error:
        found.append(Problem(path, str(error)))
        return command, ()


def _announcement(
    names: tuple[str, str, str],
    instance: MesosTaskInstance,
    hostname: str,
    numbers: Mapping[str, int],
    options: Options,
    found: list[Problem],
) -> Announcement | None:
    announce = instance.announce
    if announce is None or options.announcer_ensemble is None:
        return None
    path = "/".join([options.announcer_serverset_path.rstrip("/"), *names])
    if announce.zk_path is not None:
        path = announce.zk_path
        if not options.announcer_allow_custom_serverset_path:
            hint = "start the executor with --announcer-allow-custom-serverset-path, or take zk_path out"
            found.append(Problem("announce.zk_path", "this cluster allows no paths of a job's own", hint))
        elif not _is_node(path):
            hint = "it begins with a / and names a node"
            found.append(Problem("announce.zk_path", f"{path!r} is no path of ZooKeeper", hint))
    elif not _is_node(path):
        hint = "role, environment and name of the job make it: each is one name, and not empty"
        found.append(Problem("announce", f"{path!r} is no path of ZooKeeper", hint))
    host = options.announcer_hostname or hostname
    health = instance.health_check_config
    endpoints = {name: {"host": host, "port": number} for name, number in sorted(numbers.items())}
    member = {
        "serviceEndpoint": {"host": host, "port": numbers.get(announce.primary_port, 0)},
        "additionalEndpoints": endpoints,
        "status": "ALIVE",
        "shard": instance.instance,
    }
    timeout_s = health.initial_interval_secs + health.max_consecutive_failures * health.interval_secs
    return Announcement(path=path.rstrip("/"), member=json.dumps(member), timeout_s=timeout_s)


def _is_node(path: str) -> bool:
    """Whether ZooKeeper takes *path* as that of a node below its root (``PathUtils.validatePath``)."""
    root, *names = path.rstrip("/").split("/")
    return root == "" and bool(names) and all(name not in ("", ".", "..") and name.isprintable() for name in names)
