"""What a page of the scheduler shows: one frozen dataclass for each page; what they are made of is in
:mod:`scheduler.pages.parts`.

As in :mod:`observer_static.pages`: a field is a promise to whoever writes a template, with a meaning, a unit, and None
for "unknown"; nothing else reaches a template. ``docs/reference/scheduler-pages.md`` is generated from here.

``*_s`` that say "when" are epoch seconds of wall time, those that say "how long" are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from observer_static.parts import Link, Notice, Stamp, doc
from scheduler.pages.parts import (
    AgentRow,
    Amounts,
    ConfigView,
    CronRow,
    CronView,
    GroupRow,
    JobName,
    JobRow,
    Labeled,
    MaintenanceView,
    OfferRow,
    Paging,
    PoolRow,
    ProgressRow,
    RoleRow,
    StateCount,
    TaskHistory,
    TaskRow,
    UpdateEventRow,
    UpdateRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesPage:
    """The first page: how the cluster is, and all roles."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    is_registered: bool = field(metadata=doc("Whether Mesos knows the scheduler, and can be heard."))
    framework_id: str | None = field(metadata=doc("The id Mesos gave the scheduler; None: none yet."))
    leading_since_s: float | None = field(metadata=doc("Since when this scheduler leads."))
    agents: int = field(metadata=doc("Agents that were ever heard of."))
    offering: int = field(metadata=doc("Agents that offer something now."))
    free: Amounts = field(metadata=doc("All that is offered now."))
    states: tuple[StateCount, ...] = field(metadata=doc("All active tasks by state."))
    roles: tuple[RoleRow, ...] = field(metadata=doc("Roles, by name."))


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePage:
    """A role's jobs, in one environment or in all."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    role: str = field(metadata=doc("The role."))
    role_href: str = field(metadata=doc("Page of all of the role's jobs."))
    environment: str | None = field(metadata=doc("The environment; None: all of them."))
    environments: tuple[Link, ...] = field(metadata=doc("Environments in which the role has jobs."))
    jobs: tuple[JobRow, ...] = field(metadata=doc("Jobs, by environment and name."))
    paging: Paging = field(metadata=doc("Which of the jobs these are."))
    pools: tuple[PoolRow, ...] = field(metadata=doc("What the role uses, by pool; those of which nothing is used not."))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One job: what was asked for, what runs, what ran."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    job: JobName = field(metadata=doc("The job."))
    kind: str = field(metadata=doc("`service`, `batch` or `cron`."))
    cron: CronView | None = field(metadata=doc("When a cron job runs; None: it is none."))
    states: tuple[StateCount, ...] = field(metadata=doc("Active instances by state."))
    all_href: str = field(metadata=doc("Page that shows instances in all states."))
    active: tuple[TaskRow, ...] = field(metadata=doc("Active tasks, by instance."))
    active_paging: Paging = field(metadata=doc("Which of the active tasks these are."))
    completed: tuple[TaskRow, ...] = field(metadata=doc("Tasks that are over, the newest first."))
    completed_paging: Paging = field(metadata=doc("Which of the completed tasks these are."))
    updates: tuple[UpdateRow, ...] = field(metadata=doc("Updates, the newest first."))
    updates_paging: Paging = field(metadata=doc("Which of the updates these are."))
    configs: tuple[ConfigView, ...] = field(metadata=doc("Configurations, that of the lowest instance first."))
    configs_left_out: int = field(metadata=doc("More configurations that are not shown."))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancePage:
    """One instance of a job: every task it had."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    job: JobName = field(metadata=doc("The job."))
    instance: int = field(metadata=doc("Number of the instance."))
    tasks: tuple[TaskHistory, ...] = field(metadata=doc("Its tasks, the newest first."))
    paging: Paging = field(metadata=doc("Which of the tasks these are."))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePage:
    """One update of a job: what was asked for, how far it is, what happened."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    job: JobName = field(metadata=doc("The job."))
    update: UpdateRow = field(metadata=doc("The update, as in the job's list."))
    is_active: bool = field(metadata=doc("Whether it is not over. Then the page shows itself anew."))
    again_href: str = field(metadata=doc("This page."))
    progress: tuple[StateCount, ...] = field(metadata=doc("Its instances by what happened to them last."))
    events: tuple[UpdateEventRow, ...] = field(metadata=doc("States that it came into, oldest first."))
    settings: tuple[Labeled, ...] = field(metadata=doc("How it is to be done, in words."))
    metadata: tuple[Labeled, ...] = field(metadata=doc("Labels of who started it."))
    instances: tuple[ProgressRow, ...] = field(metadata=doc("Its instances, by number."))
    paging: Paging = field(metadata=doc("Which of the instances these are."))
    initial: tuple[ConfigView, ...] = field(metadata=doc("What the instances were before; empty: there were none."))
    initial_left_out: int = field(metadata=doc("More configurations of before that are not shown."))
    desired: ConfigView | None = field(metadata=doc("What they are to be; None: they are to go."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsPage:
    """All agents."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    rows: tuple[AgentRow, ...] = field(metadata=doc("Agents, by host."))
    paging: Paging = field(metadata=doc("Which of the agents these are."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPage:
    """One agent, and the active tasks on it."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    agent: AgentRow = field(metadata=doc("The agent."))
    maintenance: MaintenanceView | None = field(metadata=doc("Its maintenance; None: there is none."))
    states: tuple[StateCount, ...] = field(metadata=doc("Its active tasks by state."))
    tasks: tuple[TaskRow, ...] = field(metadata=doc("Active tasks on it, by job and instance."))
    paging: Paging = field(metadata=doc("Which of the tasks these are."))


@dataclass(frozen=True, slots=True, kw_only=True)
class OffersPage:
    """What is free where."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    rows: tuple[OfferRow, ...] = field(metadata=doc("Offers, by host."))
    paging: Paging = field(metadata=doc("Which of the offers these are."))


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPage:
    """What waits for a place, and why."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    rows: tuple[GroupRow, ...] = field(metadata=doc("Groups of equal tasks, that which waits longest first."))
    paging: Paging = field(metadata=doc("Which of the groups these are."))


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPage:
    """All cron jobs."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    rows: tuple[CronRow, ...] = field(metadata=doc("Cron jobs, by name."))
    paging: Paging = field(metadata=doc("Which of the jobs these are."))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenancePage:
    """All hosts that are to be maintained, and what holds that up."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    rows: tuple[MaintenanceView, ...] = field(metadata=doc("Hosts: those that are drained now first, then by name."))
    paging: Paging = field(metadata=doc("Which of the hosts these are."))


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPage:
    """What was asked for is not there."""

    stamp: Stamp = field(metadata=doc("Who made the page, and when."))
    cluster: str = field(metadata=doc("Name of the cluster."))
    notices: tuple[Notice, ...] = field(metadata=doc("What keeps the scheduler from launching anything."))
    what: str = field(metadata=doc("What is not there, as a sentence."))
    links: tuple[Link, ...] = field(metadata=doc("Where one may look instead."))


Page: TypeAlias = (
    RolesPage
    | RolePage
    | JobPage
    | InstancePage
    | UpdatePage
    | AgentsPage
    | AgentPage
    | OffersPage
    | PendingPage
    | CronPage
    | MaintenancePage
    | MissingPage
)
