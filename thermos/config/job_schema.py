"""A job as the scheduler keeps it: a task, updates, health checks, announcing, containers. One definition.

Names and defaults are those of Aurora's ``aurora/config/schema/base.py``; where its documents say otherwise,
the code counts, because its payloads are what other programs see. :mod:`thermos.schema` defines the task
inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from thermos.config.probe_schema import Probe
from thermos.definition import about
from thermos.schema import Task

#: How a path is mounted (``Mode``), and what happens when a cron job is due while it still runs.
MODES = ("RO", "RW")
COLLISION_POLICIES = ("KILL_EXISTING", "CANCEL_NEW")
#: The name by which the scheduler knows the executor that runs tasks of processes (``AURORA_EXECUTOR_NAME``).
THERMOS = "AuroraExecutor"


@dataclass(frozen=True, slots=True)
class Metadata:
    """A label of a job."""

    key: str = field(metadata=about("What it is called."))
    value: str = field(metadata=about("What it says."))


@dataclass(frozen=True, slots=True)
class QueueUpdateStrategy:
    """Update a number of instances at any time: each that is done makes room for the next."""

    batch_size: int = field(
        default=1, metadata=about("Instances updated at the same time.", unit="instances", at_least=1)
    )


@dataclass(frozen=True, slots=True)
class BatchUpdateStrategy:
    """Update a number of instances, wait for all of them, go on with as many."""

    batch_size: int = field(default=1, metadata=about("Instances in a batch.", unit="instances", at_least=1))
    autopause_after_batch: bool = field(
        default=False, metadata=about("Wait after each batch until the update is resumed.")
    )


@dataclass(frozen=True, slots=True)
class VariableBatchUpdateStrategy:
    """Update in batches of different sizes; the last size repeats."""

    batch_sizes: tuple[int, ...] = field(
        metadata=about("Instances in each batch, in order.", unit="instances", at_least=1)
    )
    autopause_after_batch: bool = field(
        default=False, metadata=about("Wait after each batch until the update is resumed.")
    )


#: Aurora's preset of ``UpdateConfig.watch_secs`` (``aurora/config/schema/base.py``).
DEFAULT_WATCH_SECS: Final = 45


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """How instances are replaced by an update."""

    batch_size: int = field(
        default=1,
        metadata=about("Instances updated at the same time, where no strategy is set.", unit="instances", at_least=1),
    )
    watch_secs: int | None = field(
        default=None,
        metadata=about(
            "How long an instance must stay RUNNING; 0: what health checks say decides. Not set: 0 where health is "
            f"checked, else {DEFAULT_WATCH_SECS}.",
            unit="seconds",
            at_least=0,
        ),
    )
    max_per_shard_failures: int = field(
        default=0, metadata=about("Restarts an instance may need.", unit="restarts", at_least=0)
    )
    max_total_failures: int = field(
        default=0,
        metadata=about("Instances that may fail before the update does.", unit="instances", at_least=0),
    )
    rollback_on_failure: bool = field(default=True, metadata=about("Put the old configuration back on failure."))
    wait_for_batch_completion: bool = field(
        default=False, metadata=about("Where no strategy is set: wait for all of a batch before the next.")
    )
    pulse_interval_secs: int | None = field(
        default=None,
        metadata=about(
            "Longest time between two pulses of whoever coordinates the update; set, it waits for the first.",
            unit="seconds",
            at_least=60,
        ),
    )
    sla_aware: bool = field(default=False, metadata=about("Keep the job's `sla_policy` while updating."))
    update_strategy: QueueUpdateStrategy | BatchUpdateStrategy | VariableBatchUpdateStrategy | None = field(
        default=None, metadata=about("How instances are grouped; then `batch_size` stays at its default.")
    )
    progress_deadline_secs: int | None = field(
        default=None,
        metadata=about(
            "Longest time an instance may take; then it counts as failed. Not in Aurora.", unit="seconds", at_least=1
        ),
    )
    canary_count: int | None = field(
        default=None,
        metadata=about(
            "Instances that are updated first, alone; then the update waits. Not in Aurora.",
            unit="instances",
            at_least=1,
        ),
    )
    canary_promote_after_secs: int | None = field(
        default=None,
        metadata=about(
            "How long the canaries run until the update goes on by itself; not set: until resumed. Not in Aurora.",
            unit="seconds",
            at_least=1,
        ),
    )


@dataclass(frozen=True, slots=True)
class HttpHealthChecker:
    """Health by an HTTP request to the port named `health`."""

    endpoint: str = field(default="/health", metadata=about("Path that is asked for."))
    expected_response: str = field(
        default="ok", metadata=about("Body that means healthy, in any case; empty: any body.")
    )
    expected_response_code: int = field(
        default=0,
        metadata=about("Status code that means healthy; 0: the body decides.", at_least=0, at_most=599),
    )


@dataclass(frozen=True, slots=True)
class ShellHealthChecker:
    """Health by a command: exit code 0 means healthy."""

    shell_command: str = field(metadata=about("What is run; it may refer to `{{thermos.ports[NAME]}}`."))


@dataclass(frozen=True, slots=True)
class HealthCheckerConfig:
    """By which means health is found out; a shell command goes before an HTTP request."""

    http: HttpHealthChecker | None = field(default=None, metadata=about("Ask over HTTP."))
    shell: ShellHealthChecker | None = field(default=None, metadata=about("Run a command."))


@dataclass(frozen=True, slots=True)
class HealthCheckConfig:
    """When an instance counts as healthy, and when it is given up."""

    health_checker: HealthCheckerConfig = field(
        default=HealthCheckerConfig(http=HttpHealthChecker()), metadata=about("How health is found out.")
    )
    initial_interval_secs: float = field(
        default=15.0, metadata=about("Time in which failed checks do not count.", unit="seconds", at_least=0)
    )
    interval_secs: float = field(default=10.0, metadata=about("Time between checks.", unit="seconds", at_least=0))
    max_consecutive_failures: int = field(
        default=0, metadata=about("Failed checks in a row that are forgiven.", unit="checks", at_least=0)
    )
    min_consecutive_successes: int = field(
        default=1,
        metadata=about("Good checks in a row until an instance is RUNNING.", unit="checks", at_least=0),
    )
    timeout_secs: float = field(default=1.0, metadata=about("Time a check may take.", unit="seconds", at_least=0))


@dataclass(frozen=True, slots=True)
class HttpLifecycleConfig:
    """How an instance is asked to stop: first politely, then firmly, then it is killed."""

    port: str = field(default="health", metadata=about("Name of the port that is asked."))
    graceful_shutdown_endpoint: str = field(default="/quitquitquit", metadata=about("Path of the polite request."))
    shutdown_endpoint: str = field(default="/abortabortabort", metadata=about("Path of the firm request."))
    graceful_shutdown_wait_secs: int = field(
        default=5, metadata=about("Time given after the polite request.", unit="seconds", at_least=0)
    )
    shutdown_wait_secs: int = field(
        default=5, metadata=about("Time given after the firm request.", unit="seconds", at_least=0)
    )


@dataclass(frozen=True, slots=True)
class LifecycleConfig:
    """What an instance hears before it is killed; empty (`DisableLifecycle`): nothing but signals."""

    http: HttpLifecycleConfig | None = field(default=None, metadata=about("Requests that ask it to stop."))


@dataclass(frozen=True, slots=True)
class Announcer:
    """Under which names an instance is found in ZooKeeper."""

    primary_port: str = field(default="http", metadata=about("Port of the service endpoint."))
    portmap: Mapping[str, str] = field(
        default_factory=lambda: {"aurora": "http"},
        hash=False,
        metadata=about(
            "Further names of ports: each is a number or the name of another port.",
            dsl_default={"aurora": "{{primary_port}}"},
        ),
    )
    zk_path: str | None = field(
        default=None, metadata=about("Path in ZooKeeper, where executors allow a path of one's own.")
    )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option of `docker run`."""

    name: str = field(metadata=about("The option, without dashes."))
    value: str = field(metadata=about("Its value."))


@dataclass(frozen=True, slots=True)
class Docker:
    """Run in a container of the Docker daemon."""

    image: str = field(metadata=about("Image, as `docker run` takes it."))
    parameters: tuple[Parameter, ...] = field(default=(), metadata=about("Further options of `docker run`."))


@dataclass(frozen=True, slots=True)
class Container:
    """The old way to write a Docker container; use `Docker` itself."""

    docker: Docker | None = field(default=None, metadata=about("The container."))


@dataclass(frozen=True, slots=True)
class AppcImage:
    """A file system image in App Container format."""

    name: str = field(metadata=about("Name of the image."))
    image_id: str = field(metadata=about("Its id: `sha512-` and the digest."))


@dataclass(frozen=True, slots=True)
class DockerImage:
    """A file system image in Docker's format, without its daemon."""

    name: str = field(metadata=about("Name of the image."))
    tag: str = field(metadata=about("Its tag."))


@dataclass(frozen=True, slots=True)
class Volume:
    """A path of the host that is visible in the container."""

    container_path: str = field(metadata=about("Where it is in the container."))
    host_path: str = field(metadata=about("What it is on the host."))
    mode: str = field(metadata=about("Read-only or read-write.", choices=MODES, enum="Mode"))


@dataclass(frozen=True, slots=True)
class Mesos:
    """Run in a container of Mesos itself."""

    image: AppcImage | DockerImage | None = field(default=None, metadata=about("File system image, if any."))
    volumes: tuple[Volume, ...] = field(default=(), metadata=about("Paths of the host to mount."))


@dataclass(frozen=True, slots=True)
class PartitionPolicy:
    """What happens to an instance whose agent cannot be reached."""

    reschedule: bool = field(default=True, metadata=about("Start it elsewhere."))
    delay_secs: int = field(
        default=0, metadata=about("How long to wait for the agent first.", unit="seconds", at_least=0)
    )


@dataclass(frozen=True, slots=True)
class CountSlaPolicy:
    """At least this many instances stay up while agents are maintained."""

    count: int = field(metadata=about("Instances that stay up.", unit="instances", at_least=0))
    duration_secs: int = field(metadata=about("How long each must have been up.", unit="seconds", at_least=0))


@dataclass(frozen=True, slots=True)
class PercentageSlaPolicy:
    """At least this share of the instances stays up while agents are maintained."""

    percentage: float = field(
        metadata=about("Share of instances that stay up.", unit="percent", at_least=0, at_most=100)
    )
    duration_secs: int = field(metadata=about("How long each must have been up.", unit="seconds", at_least=0))


@dataclass(frozen=True, slots=True)
class CoordinatorSlaPolicy:
    """A service of yours is asked before an instance is stopped for maintenance."""

    coordinator_url: str = field(metadata=about("Whom to ask."))
    status_key: str = field(default="drain", metadata=about("Key of the answer's JSON that says yes or no."))


@dataclass(frozen=True, slots=True)
class ExecutorConfig:
    """Which executor runs the task."""

    name: str = field(default=THERMOS, metadata=about("Its name in the scheduler's configuration."))
    data: str = field(default="", metadata=about("What another executor than Thermos is given, as it is."))


@dataclass(frozen=True, slots=True)
class Job:
    """A task that the scheduler keeps running in a number of instances."""

    name: str = field(metadata=about("Its name.", dsl_default="{{task.name}}"))
    role: str = field(metadata=about("Unix account it runs as."))
    cluster: str = field(metadata=about("Name of the cluster in clusters.json."))
    environment: str = field(metadata=about("`prod`, `devel`, `test` or `staging` with an optional number."))
    task: Task = field(metadata=about("What each instance runs."))
    contact: str | None = field(default=None, metadata=about("E-mail address of whoever cares for it."))
    instances: int = field(default=1, metadata=about("How many there are.", unit="instances", at_least=1))
    announce: Announcer | None = field(default=None, metadata=about("Make instances known in ZooKeeper."))
    tier: str | None = field(default=None, metadata=about("One of the scheduler's tiers."))
    cron_schedule: str | None = field(
        default=None, metadata=about("When it is started, as in crontab; set, it is a cron job.")
    )
    cron_collision_policy: str = field(
        default="KILL_EXISTING",
        metadata=about("When it is due and still running: `KILL_EXISTING` or `CANCEL_NEW`."),
    )
    update_config: UpdateConfig = field(default=UpdateConfig(), metadata=about("How updates go."))
    constraints: Mapping[str, str] | None = field(
        default=None,
        hash=False,
        metadata=about("Attributes agents must have: `a,b` one of, `!a,b` none of, `limit:N` at most N on each."),
    )
    metadata: tuple[Metadata, ...] = field(default=(), metadata=about("Labels."))
    service: bool = field(default=False, metadata=about("Start an instance again however it ended."))
    max_task_failures: int = field(
        default=1,
        metadata=about("Failures until an instance stays down; -1: never. Services ignore it.", at_least=-1),
    )
    production: bool = field(default=False, metadata=about("Old way to choose a tier; use `tier`."))
    priority: int = field(default=0, metadata=about("Which of a role's jobs yields to another: the lower."))
    health_check_config: HealthCheckConfig = field(
        default=HealthCheckConfig(), metadata=about("When an instance is healthy.")
    )
    lifecycle: LifecycleConfig = field(
        default=LifecycleConfig(http=HttpLifecycleConfig()), metadata=about("How it is asked to stop.")
    )
    task_links: Mapping[str, str] | None = field(
        default=None, hash=False, metadata=about("Accepted, as in Aurora, and not used.")
    )
    executor_config: ExecutorConfig = field(default=ExecutorConfig(), metadata=about("What runs the task."))
    enable_hooks: bool = field(default=False, metadata=about("Run the client's hooks for this job."))
    partition_policy: PartitionPolicy | None = field(
        default=None, metadata=about("What happens when an agent cannot be reached.")
    )
    sla_policy: CountSlaPolicy | PercentageSlaPolicy | CoordinatorSlaPolicy | None = field(
        default=None, metadata=about("How many instances stay up while agents are maintained.")
    )
    container: Container | Docker | Mesos | None = field(
        default=None, metadata=about("In what it runs; unset: a Mesos container without an image.")
    )
    x_probes: tuple[Probe, ...] = field(
        default=(), metadata=about("More checks, each with a name and a purpose. Not in Aurora.", sparse=True)
    )

    @property
    def key(self) -> str:
        """``cluster/role/environment/name``, by which commands name the job."""
        return f"{self.cluster}/{self.role}/{self.environment}/{self.name}"


@dataclass(frozen=True, slots=True)
class MesosTaskInstance:
    """One instance of a job, as an executor makes it of what the scheduler sent."""

    task: Task = field(metadata=about("What it runs."))
    instance: int = field(metadata=about("Its number, from 0.", at_least=0))
    role: str = field(metadata=about("Unix account it runs as."))
    environment: str = field(metadata=about("The job's environment."))
    announce: Announcer | None = field(default=None, metadata=about("Make it known in ZooKeeper."))
    health_check_config: HealthCheckConfig = field(default=HealthCheckConfig(), metadata=about("When it is healthy."))
    lifecycle: LifecycleConfig = field(
        default=LifecycleConfig(http=HttpLifecycleConfig()), metadata=about("How it is asked to stop.")
    )
    x_probes: tuple[Probe, ...] = field(
        default=(), metadata=about("More checks, each with a name and a purpose. Not in Aurora.", sparse=True)
    )
