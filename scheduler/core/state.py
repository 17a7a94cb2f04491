"""All that the scheduler keeps, in memory, with the indexes that decisions need. Changed by ``apply`` alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scheduler.core.changes import (
    AddInstanceEvent,
    AddUpdateEvent,
    Change,
    CronRun,
    DropCronJob,
    DropCronRun,
    DropHost,
    DropMaintenance,
    DropQuota,
    DropTask,
    DropUpdate,
    PutCronJob,
    PutCronRun,
    PutFramework,
    PutHost,
    PutMaintenance,
    PutQuota,
    PutTask,
    PutUpdate,
)
from scheduler.core.update_record import is_active, settled, with_instance_event, with_update_event
from scheduler.model import Config, Host, JobKey, Resources, Task
from scheduler.states import ACTIVE, ScheduleStatus
from thermos.formats.aurora_api import HostMaintenanceRequest, JobConfiguration, JobUpdateDetails


class State:
    """What is kept. The mappings are for reading; iterate over a copy where changes may come in between."""

    def __init__(self) -> None:
        self.framework_id: str | None = None
        self.tasks: dict[str, Task] = {}
        self.cron_jobs: dict[JobKey, JobConfiguration] = {}
        self.cron_runs: dict[JobKey, CronRun] = {}
        self.quotas: dict[str, Resources] = {}
        self.hosts: dict[str, Host] = {}
        self.updates: dict[tuple[JobKey, str], JobUpdateDetails] = {}
        #: Of each job that is being updated, the update's id.
        self.active_updates: dict[JobKey, str] = {}
        self.maintenance: dict[str, HostMaintenanceRequest] = {}
        #: Counts tasks that came, went, ended or run no longer: while it is the same, no job has fewer that run.
        self.turnover = 0
        #: Task ids, in the order in which they came.
        self.by_job: dict[JobKey, dict[str, None]] = {}
        self.by_agent: dict[str, dict[str, None]] = {}
        self.by_status: dict[ScheduleStatus, dict[str, None]] = {status: {} for status in ScheduleStatus}
        self.by_role: dict[str, dict[JobKey, None]] = {}
        #: Equal configurations are one: digest → (configuration, tasks that have it).
        self._configs: dict[str, tuple[Config, int]] = {}

    # -- looking -------------------------------------------------------------------------------------------------------

    def tasks_of(self, job: JobKey) -> Iterator[Task]:
        """All tasks of a job, oldest first."""
        return (self.tasks[task_id] for task_id in self.by_job.get(job, ()))

    def active_of(self, job: JobKey) -> list[Task]:
        """Its tasks that are not over."""
        return [task for task in self.tasks_of(job) if task.status in ACTIVE]

    def with_status(self, statuses: Iterable[ScheduleStatus]) -> list[Task]:
        """All tasks in one of these states."""
        return [self.tasks[task_id] for status in statuses for task_id in self.by_status[status]]

    def on_agent(self, agent_id: str) -> list[Task]:
        """Tasks that are on that agent, as far as we know; those that are over too."""
        return [self.tasks[task_id] for task_id in self.by_agent.get(agent_id, ())]

    def interned(self, config: Config) -> Config:
        """The configuration that is known already and equals *config*, or *config* itself."""
        known = self._configs.get(config.digest)
        return config if known is None else known[0]

    # -- changing ------------------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> Change | None:
        """Take *change* in; gives the change that takes it back (None: nothing is to be taken back)."""
        match change:
            case PutTask(task):
                before = self.tasks.get(task.task_id)
                ran = before is not None and before.status is ScheduleStatus.RUNNING
                if before is None or task.status not in ACTIVE or (ran and task.status is not ScheduleStatus.RUNNING):
                    self.turnover += 1
                if before is not None:
                    self._forget(before)
                self._remember(task)
                return DropTask(task.task_id) if before is None else PutTask(before)
            case DropTask(task_id):
                self.turnover += 1
                gone = self.tasks.get(task_id)
                if gone is None:
                    return None
                self._forget(gone)
                del self.tasks[task_id]
                job_tasks = self.by_job[gone.job]
                job_tasks.pop(task_id, None)
                if not job_tasks:
                    del self.by_job[gone.job]
                    jobs = self.by_role[gone.job.role]
                    jobs.pop(gone.job, None)
                    if not jobs:
                        del self.by_role[gone.job.role]
                return PutTask(gone)
            case PutFramework(framework_id):
                was, self.framework_id = self.framework_id, framework_id or None
                return PutFramework(was or "")
            case PutCronJob(key, job):
                old_job = self.cron_jobs.get(key)
                self.cron_jobs[key] = job
                return DropCronJob(key) if old_job is None else PutCronJob(key, old_job)
            case DropCronJob(key):
                old_job = self.cron_jobs.pop(key, None)
                return None if old_job is None else PutCronJob(key, old_job)
            case PutCronRun(key, run):
                old_run = self.cron_runs.get(key)
                self.cron_runs[key] = run
                return DropCronRun(key) if old_run is None else PutCronRun(key, old_run)
            case DropCronRun(key):
                old_run = self.cron_runs.pop(key, None)
                return None if old_run is None else PutCronRun(key, old_run)
            case PutQuota(role, quota):
                old_quota = self.quotas.get(role)
                self.quotas[role] = quota
                return DropQuota(role) if old_quota is None else PutQuota(role, old_quota)
            case DropQuota(role):
                old_quota = self.quotas.pop(role, None)
                return None if old_quota is None else PutQuota(role, old_quota)
            case PutHost(host):
                old_host = self.hosts.get(host.name)
                self.hosts[host.name] = host
                return DropHost(host.name) if old_host is None else PutHost(old_host)
            case DropHost(name):
                old_host = self.hosts.pop(name, None)
                return None if old_host is None else PutHost(old_host)
            case PutUpdate(key, update_id, details):
                old_update = self.updates.get((key, update_id))
                self._put_update(key, update_id, settled(details))
                return DropUpdate(key, update_id) if old_update is None else PutUpdate(key, update_id, old_update)
            case AddUpdateEvent(key, update_id, update_event):
                details = self.updates[(key, update_id)]
                self._put_update(key, update_id, with_update_event(details, update_event))
                return PutUpdate(key, update_id, details)
            case AddInstanceEvent(key, update_id, instance_event):
                details = self.updates[(key, update_id)]
                self.updates[(key, update_id)] = with_instance_event(details, instance_event)
                return PutUpdate(key, update_id, details)
            case DropUpdate(key, update_id):
                old_update = self.updates.pop((key, update_id), None)
                if self.active_updates.get(key) == update_id:
                    del self.active_updates[key]
                return None if old_update is None else PutUpdate(key, update_id, old_update)
            case PutMaintenance(request):
                host_name = request.host or ""
                old_request = self.maintenance.get(host_name)
                self.maintenance[host_name] = request
                return DropMaintenance(host_name) if old_request is None else PutMaintenance(old_request)
            case DropMaintenance(host_name):
                old_request = self.maintenance.pop(host_name, None)
                return None if old_request is None else PutMaintenance(old_request)

    def _put_update(self, key: JobKey, update_id: str, details: JobUpdateDetails) -> None:
        self.updates[(key, update_id)] = details
        if is_active(details):
            self.active_updates[key] = update_id
        elif self.active_updates.get(key) == update_id:
            del self.active_updates[key]

    def _remember(self, task: Task) -> None:
        if task.task_id not in self.tasks:
            if task.job not in self.by_job:
                self.by_job[task.job] = {}
                self.by_role.setdefault(task.job.role, {})[task.job] = None
            self.by_job[task.job][task.task_id] = None
        config, users = self._configs.get(task.config.digest, (task.config, 0))
        self._configs[config.digest] = (config, users + 1)
        self.tasks[task.task_id] = task if task.config is config else task._replace(config=config)
        self.by_status[task.status][task.task_id] = None
        if task.agent_id is not None:
            self.by_agent.setdefault(task.agent_id, {})[task.task_id] = None

    def _forget(self, task: Task) -> None:
        """Out of the indexes that a change of the task may move it in."""
        config, users = self._configs[task.config.digest]
        if users == 1:
            del self._configs[config.digest]
        else:
            self._configs[config.digest] = (config, users - 1)
        del self.by_status[task.status][task.task_id]
        if task.agent_id is not None:
            there = self.by_agent[task.agent_id]
            del there[task.task_id]
            if not there:
                del self.by_agent[task.agent_id]


class Transaction:
    """Changes that are all made or none: applied one by one, so that the next decision sees them; ``undo`` takes them
    back, for when they could not be made durable."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.changes: list[Change] = []
        self._back: list[Change] = []

    def apply(self, change: Change) -> None:
        """Make it."""
        back = self.state.apply(change)
        self.changes.append(change)
        if back is not None:
            self._back.append(back)

    def undo(self) -> None:
        """Take all of it back."""
        for change in reversed(self._back):
            self.state.apply(change)
        self.changes.clear()
        self._back.clear()
