"""What clients ask for, done: jobs created, killed, restarted and grown, quotas, reconciliation and pruning by hand.

Everything is looked at before anything is changed: a command that is refused has changed nothing.
"""

from __future__ import annotations

from scheduler.core import queries, quota, submission
from scheduler.core.changes import AddUpdateEvent, PutQuota
from scheduler.core.commands import (
    AddInstances,
    Answer,
    CreateJob,
    ForceTaskState,
    JobCommand,
    KillTasks,
    PruneTasks,
    ReconcileExplicitly,
    ReconcileImplicitly,
    RestartShards,
    SetQuota,
    done,
    refused,
)
from scheduler.core.decision import Draft
from scheduler.core.reconciling import Reconciling
from scheduler.core.settings import Settings
from scheduler.core.tasks import Tasks
from scheduler.core.update_record import abort_of
from scheduler.core.update_request import being_killed
from scheduler.model import JobKey, Task
from scheduler.states import TERMINAL, ScheduleStatus
from thermos.formats.aurora_api import JobUpdateEvent, JobUpdateStatus, ResponseCode


class Jobs:
    """Carries out commands on the state."""

    def __init__(self, draft: Draft, tasks: Tasks, reconciling: Reconciling, settings: Settings) -> None:
        self._draft = draft
        self._state = draft.state
        self._tasks = tasks
        self._reconciling = reconciling
        self._settings = settings

    def command(self, command: JobCommand) -> Answer:
        """Do it, or say why not."""
        match command:
            case CreateJob():
                return self._create(command)
            case KillTasks():
                return self._kill(command)
            case RestartShards():
                return self._restart(command)
            case AddInstances():
                return self._add(command)
            case SetQuota():
                return self._set_quota(command)
            case ReconcileExplicitly(batch_size, _):
                if batch_size is not None and batch_size < 1:
                    return refused(f"The batch size must be positive, not {batch_size}")
                return done(f"Asking Mesos about {self._reconciling.ask_explicitly(batch_size)} tasks")
            case ReconcileImplicitly():
                self._reconciling.ask_implicitly()
                return done("Asking Mesos for all tasks that it knows")
            case PruneTasks():
                return self._prune(command)
            case ForceTaskState():
                return self._force(command)

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _create(self, command: CreateJob) -> Answer:
        try:
            job = submission.checked_job(command.job, self._settings)
        except submission.Invalid as error:
            return refused(*error.problems)
        if job.cron_schedule is not None:
            return refused(f"{job.key} has a cron schedule: it is to be scheduled, not created")
        if job.key in self._state.cron_jobs or self._state.active_of(job.key):
            return refused(f"Job {job.key} already exists")
        updating = self._updating(job.key)
        if updating is not None:
            return updating
        too_much = quota.check(self._state, job.key.role, job.config, job.instances)
        if too_much is not None:
            return refused(too_much)
        for instance in range(job.instances):
            self._tasks.create(job.config, instance)
        return done()

    def _kill(self, command: KillTasks) -> Answer:
        active = self._state.active_of(command.job)
        if command.instances is not None:
            active = [task for task in active if task.instance in command.instances]
        updating = self._updating(command.job)
        if updating is not None and not self._ends_abort(command):
            return updating
        if not active:
            return done(f"No active tasks to kill in {command.job}")
        message = f"Killed by {command.user}" + (f": {command.message}" if command.message else "")
        for task in active:
            self._tasks.move(task.task_id, ScheduleStatus.KILLING, message)
        return done()  # without a word: clients take any detail for "nothing was killed"

    def _ends_abort(self, command: KillTasks) -> bool:
        """Whether the job's update is being aborted, and waits for nothing that is not to be killed: then it is over,
        and what it wanted back does not come back."""
        update_id = self._state.active_updates[command.job]
        abort = abort_of(self._state.updates[(command.job, update_id)])
        waited_for = being_killed(self._state, command.job)
        if abort is None or not (command.instances is None or waited_for <= command.instances):
            return False
        event = JobUpdateEvent(JobUpdateStatus.ABORTED, self._draft.now.wall_ms, abort.user, abort.message)
        self._draft.put(AddUpdateEvent(command.job, update_id, event))
        return True

    def _restart(self, command: RestartShards) -> Answer:
        if not command.instances:
            return refused("At least one instance is to be named")
        updating = self._updating(command.job)
        if updating is not None:
            return updating
        found = {task.instance: task for task in self._state.active_of(command.job)}
        missing = sorted(command.instances - found.keys())
        if missing:
            words = ", ".join(map(str, missing))
            return refused(f"Not all of these are active instances of {command.job}: {words}")
        for instance in sorted(command.instances):
            self._restart_one(found[instance], f"Restarted by {command.user}")
        return done()

    def _restart_one(self, task: Task, message: str) -> None:
        if task.status not in (ScheduleStatus.PENDING, ScheduleStatus.THROTTLED):
            self._tasks.move(task.task_id, ScheduleStatus.RESTARTING, message)

    def _add(self, command: AddInstances) -> Answer:
        job = command.job
        if command.more < 1:
            return refused(f"The number of instances to add must be positive, not {command.more}")
        if job in self._state.cron_jobs:
            return refused(f"{job} is a cron job: instances cannot be added to it")
        updating = self._updating(job)
        if updating is not None:
            return updating
        active = {task.instance: task for task in self._state.active_of(job)}
        model = active.get(command.instance)
        if model is None:
            return refused(f"{job} has no active instance {command.instance} whose configuration could be copied")
        limit = self._settings.max_tasks_per_job
        if len(active) + command.more > limit:
            return refused(f"{job} would have {len(active) + command.more} instances; at most {limit} are allowed")
        too_much = quota.check(self._state, job.role, model.config, command.more)
        if too_much is not None:
            return refused(too_much)
        first = max(active) + 1
        for instance in range(first, first + command.more):
            self._tasks.create(model.config, instance)
        return done()

    def _updating(self, job: JobKey) -> Answer | None:
        """The refusal, where an update of the job is under way: only that may change it."""
        update_id = self._state.active_updates.get(job)
        if update_id is None:
            return None
        return refused(
            f"{job} is being updated (update {update_id}): abort that, or wait for its end",
            code=ResponseCode.JOB_UPDATING_ERROR,
        )

    # -- administrators ------------------------------------------------------------------------------------------------

    def _set_quota(self, command: SetQuota) -> Answer:
        problem = quota.check_set_quota(self._state, command.role, command.quota)
        if problem is not None:
            return refused(problem)
        self._draft.put(PutQuota(command.role, command.quota))
        return done()

    def _prune(self, command: PruneTasks) -> Answer:
        query = command.query
        if any(status not in TERMINAL for status in query.statuses or ()):
            return refused("Only tasks that are over can be pruned")
        if not query.statuses:
            query = query._replace(statuses=tuple(sorted(TERMINAL)))
        for task in queries.select(self._state, query):
            self._tasks.forget(task)
        return done()

    def _force(self, command: ForceTaskState) -> Answer:
        task = self._state.tasks.get(command.task_id)
        if task is None:
            return refused(f"There is no task {command.task_id}")
        message = f"Forced by {command.user}"
        if not self._tasks.move(task.task_id, command.status, message):
            return refused(f"{task.task_id} cannot go from {task.status.name} to {command.status.name}")
        return done()
