"""What the pages of :mod:`scheduler.pages.pages` are made of: rows of lists, and views of single things."""

from __future__ import annotations

from dataclasses import dataclass, field

from observer_static.parts import Link, Port, doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """So much of everything."""

    cpu: float = field(metadata=doc("Processor cores."))
    ram_bytes: int = field(metadata=doc("Memory."))
    disk_bytes: int = field(metadata=doc("Disk."))
    gpus: int = field(default=0, metadata=doc("GPUs."))


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """How many instances or tasks are in one state."""

    state: str = field(metadata=doc("A state, for example `RUNNING`."))
    count: int = field(metadata=doc("How many are in it."))
    href: str | None = field(metadata=doc("Page that shows only those; None: there is none."))
    is_chosen: bool = field(default=False, metadata=doc("Whether this page shows only those."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Which part of a list stands on a page."""

    first: int = field(metadata=doc("Number of the first that is shown; 0: none is."))
    last: int = field(metadata=doc("Number of the last that is shown."))
    total: int = field(metadata=doc("How many there are."))
    back_href: str | None = field(metadata=doc("Page of those before; None: these are the first."))
    on_href: str | None = field(metadata=doc("Page of those that follow; None: these are the last."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeled:
    """A name and what it stands for."""

    name: str = field(metadata=doc("The name."))
    value: str = field(metadata=doc("Its value, or several with commas between them."))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobName:
    """A job, with where its parts lead."""

    role: str = field(metadata=doc("Role."))
    environment: str = field(metadata=doc("Environment."))
    name: str = field(metadata=doc("Name."))
    role_href: str = field(metadata=doc("Page of the role's jobs."))
    environment_href: str = field(metadata=doc("Page of the role's jobs in this environment."))
    href: str = field(metadata=doc("Page of the job."))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRow:
    """One role in the list of all."""

    name: str = field(metadata=doc("Role."))
    href: str = field(metadata=doc("Page of its jobs."))
    jobs: int = field(metadata=doc("Jobs of which tasks are known, or that run by the clock."))
    active: int = field(metadata=doc("Tasks on an agent, as far as is known."))
    pending: int = field(metadata=doc("Tasks that wait for a place, or to be tried again."))
    failed: int = field(metadata=doc("Tasks that failed or were lost, of those that are still remembered."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a task ended badly."""

    at_s: float = field(metadata=doc("When."))
    state: str = field(metadata=doc("`FAILED` or `LOST`."))
    message: str | None = field(metadata=doc("What was said about it; None: nothing."))
    instance: int = field(metadata=doc("Number of the instance."))
    href: str = field(metadata=doc("Page of that instance."))


@dataclass(frozen=True, slots=True, kw_only=True)
class CronView:
    """When a cron job runs."""

    schedule: str = field(metadata=doc("Its schedule, as crontab has it."))
    zone: str = field(metadata=doc("The time zone in which the schedule is meant."))
    next_s: tuple[float, ...] = field(metadata=doc("When it runs next; empty: never, or the schedule is none."))
    collision: str = field(metadata=doc("What happens if the run before is not over, in words."))
    is_waiting: bool = field(metadata=doc("Whether a run waits for the end of the one before."))
    missed: int = field(metadata=doc("How many runs were missed, since nobody led or the clock was set."))
    missed_s: float | None = field(metadata=doc("When the last of these was to be; None: none was missed."))


@dataclass(frozen=True, slots=True, kw_only=True)
class CronRow:
    """One cron job in the list of all."""

    job: JobName = field(metadata=doc("Its name."))
    cron: CronView = field(metadata=doc("When it runs."))
    active: int = field(metadata=doc("How many of its tasks are active."))
    instances: int = field(metadata=doc("How many instances a run has."))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A task on a host that is being drained."""

    job: JobName = field(metadata=doc("Its job."))
    instance: int = field(metadata=doc("Number of the instance."))
    instance_href: str = field(metadata=doc("Page of the instance."))
    state: str = field(metadata=doc("State."))
    why: str = field(metadata=doc("Why it is still there, in words."))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceView:
    """The maintenance of one host."""

    host: Link = field(metadata=doc("Host, and the agent's page."))
    mode: str = field(metadata=doc("`SCHEDULED`, `DRAINING` or `DRAINED`."))
    asked_s: float | None = field(
        metadata=doc("When somebody wanted it drained; None: not known, or it is not drained.")
    )
    ends_s: float | None = field(metadata=doc("When all tasks go in any case; None: not known, or it is not drained."))
    policy: str | None = field(
        metadata=doc("What is promised to tasks without an SLA policy, in words; None: not known.")
    )
    tasks: int = field(metadata=doc("Active tasks on it."))
    held: tuple[HeldRow, ...] = field(metadata=doc("Those that hold up its draining."))
    held_left_out: int = field(metadata=doc("More of these that are not shown."))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job in the list of a role's."""

    job: JobName = field(metadata=doc("Its name."))
    kind: str = field(metadata=doc("`service`, `batch` or `cron`."))
    schedule: str | None = field(metadata=doc("When a cron job runs, as crontab has it; None: it is none."))
    next_s: float | None = field(metadata=doc("When a cron job runs next; None: it is none, or never."))
    tier: str = field(metadata=doc("Tier of its newest configuration; empty: none is set."))
    states: tuple[StateCount, ...] = field(metadata=doc("Its active instances by state; empty: it has none."))
    ended: int = field(metadata=doc("Its tasks that are over and still remembered."))
    last_failure: Ended | None = field(metadata=doc("The newest that failed or was lost; None: none is remembered."))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """What a role uses of one pool."""

    name: str = field(metadata=doc("The pool in words."))
    used: Amounts = field(metadata=doc("What its tasks reserve, and updates and cron jobs may."))
    is_limited: bool = field(metadata=doc("Whether the role's quota counts for this pool."))
    allowed: Amounts | None = field(metadata=doc("The role's quota; None: none is set, or none counts."))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One task in a job's or an agent's list."""

    job: JobName = field(metadata=doc("Its job."))
    task_id: str = field(metadata=doc("Id of the task."))
    instance: int = field(metadata=doc("Number of the instance."))
    instance_href: str = field(metadata=doc("Page of the instance."))
    state: str = field(metadata=doc("State."))
    since_s: float | None = field(metadata=doc("Since when it is in that state."))
    began_s: float | None = field(metadata=doc("When it came to be."))
    host: Link | None = field(metadata=doc("Host it is or was on; None: on none yet."))
    task_href: str | None = field(metadata=doc("Its page on its agent; None: it has none."))
    ports: tuple[Port, ...] = field(metadata=doc("Ports on the host, by name."))
    why: str | None = field(metadata=doc("Why it waits; None: it does not."))
    message: str | None = field(metadata=doc("What was said when it came into its state; None: nothing."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigView:
    """One configuration, and which instances have it."""

    instances: str = field(metadata=doc("Instances, as ranges: `0-9, 12`."))
    count: int = field(metadata=doc("How many instances have it."))
    digest: str = field(metadata=doc("Beginning of the configuration's SHA-256, which tells it from others."))
    owner: str = field(metadata=doc("Who submitted it; empty: not said."))
    contact: str | None = field(metadata=doc("Address for questions; None: none was given."))
    tier: str = field(metadata=doc("Tier; empty: none is set."))
    priority: int = field(metadata=doc("Priority: the higher go first."))
    is_production: bool = field(metadata=doc("Whether it counts against the role's quota."))
    max_failures: int = field(metadata=doc("So many failures of a batch task are the last; -1: none is."))
    resources: Amounts = field(metadata=doc("What each task reserves, without its executor."))
    ports: tuple[str, ...] = field(metadata=doc("Names of its ports."))
    constraints: tuple[Labeled, ...] = field(metadata=doc("Attributes of hosts and what is asked of them."))
    container: str = field(metadata=doc("In what it runs, in words."))
    executor: str | None = field(metadata=doc("Name of its executor; None: it has none."))
    partition: str = field(metadata=doc("What happens when its agent cannot be reached, in words."))
    metadata: tuple[Labeled, ...] = field(metadata=doc("Labels of its owner."))
    fetched: tuple[str, ...] = field(metadata=doc("What is fetched into its sandbox."))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A task came into a state."""

    at_s: float | None = field(metadata=doc("When."))
    state: str = field(metadata=doc("The state."))
    for_s: float | None = field(metadata=doc("How long it stayed there; None: it still is, or was over then."))
    message: str | None = field(metadata=doc("What was said about it; None: nothing."))
    scheduler: str | None = field(metadata=doc("Host of the scheduler that noted it; None: not said."))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHistory:
    """One task of an instance, with all that happened to it."""

    task_id: str = field(metadata=doc("Id of the task."))
    anchor: str = field(metadata=doc("Id of its place on the page."))
    state: str = field(metadata=doc("State."))
    since_s: float | None = field(metadata=doc("Since when it is in that state."))
    host: Link | None = field(metadata=doc("Host it is or was on; None: on none yet."))
    agent_id: str | None = field(metadata=doc("Id of the agent; None: on none yet."))
    task_href: str | None = field(metadata=doc("Its page on its agent; None: it has none."))
    ports: tuple[Port, ...] = field(metadata=doc("Ports on the host, by name."))
    why: str | None = field(metadata=doc("Why it waits; None: it does not."))
    events: tuple[EventRow, ...] = field(metadata=doc("What happened, oldest first."))
    ancestor: Link | None = field(metadata=doc("The task that it succeeds; None: it was the first."))
    successor: Link | None = field(metadata=doc("The task that succeeded it; None: none did."))
    failures: int = field(metadata=doc("How many of its line failed, it included."))
    partitions: int = field(metadata=doc("How often its agent could not be reached."))
    config: ConfigView = field(metadata=doc("Its configuration."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """One agent."""

    host: Link = field(metadata=doc("Host, and the agent's page."))
    agent_id: str | None = field(metadata=doc("Its id; None: not known."))
    attributes: tuple[Labeled, ...] = field(metadata=doc("Its attributes."))
    mode: str | None = field(metadata=doc("Maintenance: `SCHEDULED`, `DRAINING`, `DRAINED`; None: there is none."))
    tasks: int = field(metadata=doc("Tasks on it, as far as is known."))
    offered: Amounts | None = field(metadata=doc("What it offers now; None: nothing."))


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    """What is free on one agent."""

    host: Link = field(metadata=doc("Host, and the agent's page."))
    agent_id: str = field(metadata=doc("Id of the agent."))
    offer_id: str = field(metadata=doc("Id of the offer."))
    free: Amounts = field(metadata=doc("What is free."))
    ports: int = field(metadata=doc("How many ports are free."))
    revocable: Amounts | None = field(metadata=doc("What is free, but may be taken back; None: nothing."))
    goes_s: float | None = field(metadata=doc("When Mesos' maintenance of it begins; None: none is planned."))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """Tasks of one configuration that wait for a place."""

    job: JobName = field(metadata=doc("Their job."))
    tasks: int = field(metadata=doc("How many wait."))
    since_s: float | None = field(metadata=doc("Since when the oldest waits."))
    penalty_s: float = field(metadata=doc("How long they wait between tries; 0: not at all."))
    reason: str = field(metadata=doc("What the nearest host lacks, or why nothing is launched at all."))
    needs: Amounts = field(metadata=doc("What each reserves, without its executor."))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRow:
    """One update in a job's list."""

    update_id: str = field(metadata=doc("Id of the update."))
    href: str = field(metadata=doc("Page of the update."))
    state: str = field(metadata=doc("State, for example `ROLLING_FORWARD`."))
    user: str = field(metadata=doc("Who started it; empty: not said."))
    began_s: float | None = field(metadata=doc("When it was started."))
    since_s: float | None = field(metadata=doc("When anything of it changed last."))
    message: str | None = field(metadata=doc("What was said when it came into its state; None: nothing."))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateEventRow:
    """An update came into a state."""

    at_s: float | None = field(metadata=doc("When."))
    state: str = field(metadata=doc("The state."))
    user: str | None = field(metadata=doc("Who wanted it; None: the scheduler did."))
    message: str | None = field(metadata=doc("What was said about it; None: nothing."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressRow:
    """One instance of an update, and how far it is."""

    instance: int = field(metadata=doc("Number of the instance."))
    instance_href: str = field(metadata=doc("Page of the instance."))
    state: str = field(metadata=doc("What happened to it last, for example `UPDATED`; `UNTOUCHED`: nothing has."))
    since_s: float | None = field(metadata=doc("When that was; None: nothing has happened."))
    why: str | None = field(metadata=doc("What it waits for; None: nothing."))
    message: str | None = field(metadata=doc("What was said about it; None: nothing."))
