"""Cron jobs: started at the times of their schedules, each time once, whoever leads and whatever the clock does.

What became of a schedule's times is kept with the tasks that came of it (``PutCronRun``), in one commit: another
scheduler begins after the last time that was decided about, so that none comes twice. A time is missed if nobody looks
at it within ``LATE_S``, since nobody led or the clock was set forward: missed times are counted and told, and with
``cron_run_missed`` the job is run once for all of them. A clock that was set back repeats nothing. Collision policies
are Aurora's (``AuroraCronJob.java``), but the end of the former run begins the next one, without polling.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final

from scheduler.core import cron, quota, submission
from scheduler.core.changes import CronRun, DropCronJob, DropCronRun, PutCronJob, PutCronRun
from scheduler.core.commands import (
    Answer,
    Command,
    DescheduleCronJob,
    ScheduleCronJob,
    StartCronJob,
    done,
    refused,
)
from scheduler.core.deadlines import Due
from scheduler.core.parts import Part, Tools
from scheduler.model import JobKey, Task
from scheduler.states import ACTIVE, TERMINAL, ScheduleStatus
from thermos.formats.aurora_api import CronCollisionPolicy, JobConfiguration, ResponseCode

#: A run may begin so late: Quartz', which Aurora uses, has the same (``org.quartz.jobStore.misfireThreshold``).
LATE_S: Final = 60.0
#: The clock is looked at so often while there are cron jobs, since it may be set at any time. Less than ``LATE_S``: one
#: that is set forward a little must not cost a run.
LOOK_S: Final = 30.0
#: After a start, and after decisions were taken back: a disk that is full is not to be tried all the time.
BEGIN_S: Final = 1.0
#: So many tasks are created before others are heard: at midnight there may be thousands of jobs.
TASKS_PER_LOOK: Final = 500
#: What is kept may lie so far ahead of the clock; beyond that, the clock was wrong then.
MOST_AHEAD_MS: Final = 24 * 3600 * 1000


class CronJobs(Part):
    """Follows the schedules."""

    dues: ClassVar[frozenset[Due]] = frozenset({Due.CRON})
    commands: ClassVar[tuple[type, ...]] = (ScheduleCronJob, DescheduleCronJob, StartCronJob)

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._state = tools.draft.state
        self._zone = tools.settings.cron_timezone
        self._schedules: dict[JobKey, cron.Schedule] = {}
        #: When each job is to be looked at, wall time; the heap has stale entries.
        self._next_ms: dict[JobKey, int] = {}
        self._heap: list[tuple[int, JobKey]] = []
        #: Jobs whose schedule cannot be read, as they were imported.
        self._unreadable: set[JobKey] = set()
        self._looked_ms = 0
        for name in ("triggers", "misfires", "collisions", "parse_failures", "concurrent_runs"):
            self.counts[f"cron_job_{name}"] = 0

    def metrics(self) -> Mapping[str, float]:
        """Its figures, for ``/vars``."""
        return {
            **self.counts,
            "cron_jobs_loaded": len(self._schedules),
            "cron_job_launch_failures": len(self._unreadable),
        }

    # -- following -----------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """The state was loaded, or decisions were taken back and all deadlines with them: begin from the state."""
        self._load_all()
        for key, run in self._state.cron_runs.items():
            if run.is_waiting:
                self._set(key, BEGIN_S)
        self._look_again(BEGIN_S)

    def _load_all(self) -> None:
        self._schedules.clear()
        self._next_ms.clear()
        self._heap.clear()
        self._unreadable.clear()
        self._looked_ms = self.tools.draft.now.wall_ms
        for key in self._state.cron_jobs:
            self._load(key)

    def _load(self, key: JobKey) -> None:
        """Take the job in as it is kept, and find out when it is to be looked at."""
        self._forget(key)
        try:
            schedule = cron.parse(self._state.cron_jobs[key].cron_schedule or "")
        except cron.ScheduleInvalid as error:
            self._unreadable.add(key)
            self.note(f"{key} will not run: {error}")
            return
        self._schedules[key] = schedule
        now_ms = self.tools.draft.now.wall_ms
        run = self._state.cron_runs.get(key)
        if run is None or run.at_ms > now_ms + MOST_AHEAD_MS:
            self._look_at(key, now_ms)  # nobody followed it so far
        else:
            self._look_at(key, cron.next_ms(schedule, run.at_ms, self._zone))

    def _forget(self, key: JobKey) -> None:
        self._schedules.pop(key, None)
        self._next_ms.pop(key, None)
        self._unreadable.discard(key)

    def _look_at(self, key: JobKey, at_ms: int | None) -> None:
        if at_ms is None:
            self._next_ms.pop(key, None)
        else:
            self._next_ms[key] = at_ms
            heapq.heappush(self._heap, (at_ms, key))

    def _set(self, about: JobKey | None, in_s: float) -> None:
        self.tools.deadlines.set(Due.CRON, about, self.tools.draft.now.mono_s + in_s)

    def _look_again(self, at_least_s: float = 0.001) -> None:
        """Be woken for the next time, or to see that the clock was not set."""
        while self._heap and self._next_ms.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap:
            self.tools.deadlines.cancel(Due.CRON, None)
            return
        left_s = (self._heap[0][0] - self.tools.draft.now.wall_ms) / 1000
        self._set(None, max(at_least_s, min(left_s, LOOK_S)))

    def due(self, due: Due, about: object) -> None:
        """It is time for a job, or somewhat later; or the run that another one waits for has ended."""
        if about is not None:
            assert isinstance(about, JobKey)
            self._begin_waiting(about)
            return
        now_ms = self.tools.draft.now.wall_ms
        if now_ms < self._looked_ms:
            self._load_all()  # the clock was set back, maybe by years
        self._looked_ms = now_ms
        tasks_left = TASKS_PER_LOOK
        while self._heap and self._heap[0][0] <= now_ms and tasks_left > 0:
            at_ms, key = heapq.heappop(self._heap)
            if self._next_ms.get(key) == at_ms:
                tasks_left -= 1 + self._come(key)
        self._look_again()

    def _come(self, key: JobKey) -> int:
        """Times of the job may have come: decide about all of them. Gives how many tasks were created."""
        now_ms = self.tools.draft.now.wall_ms
        schedule = self._schedules[key]
        run = self._state.cron_runs.get(key)
        if run is None or run.at_ms > now_ms + MOST_AHEAD_MS:
            self._put(key, (run or CronRun(0))._replace(at_ms=now_ms))
            self._look_at(key, cron.next_ms(schedule, now_ms, self._zone))
            return 0
        over = cron.passed(schedule, run.at_ms, now_ms, self._zone)
        created = 0
        if over.last_ms is not None:
            is_late = now_ms - over.last_ms > LATE_S * 1000
            missed = over.number if is_late else over.number - 1
            run = run._replace(at_ms=over.last_ms)
            if missed:
                missed_at_ms = over.last_ms if is_late else over.before_ms
                run = run._replace(missed=run.missed + missed, missed_at_ms=missed_at_ms)
                self.counts["cron_job_misfires"] += missed
                self.note(self._missed(key, missed, missed_at_ms or 0, is_late))
            self._put(key, run)
            if not is_late or self.tools.settings.cron_run_missed:
                created = self._trigger(key)
        self._look_at(key, cron.next_ms(schedule, run.at_ms, self._zone))
        return created

    def _missed(self, key: JobKey, missed: int, last_ms: int, is_late: bool) -> str:
        last = datetime.fromtimestamp(last_ms / 1000, self._zone).isoformat(timespec="minutes")
        what = (
            "it is run once for all of them"
            if not is_late or self.tools.settings.cron_run_missed
            else "not made up for"
        )
        count = f"{missed} or more" if missed >= cron.MOST_COUNTED - 1 else str(missed)
        return f"{key} missed {count} of its runs, the last at {last}: nobody led, or the clock was set; {what}"

    def _put(self, key: JobKey, run: CronRun) -> None:
        if self._state.cron_runs.get(key) != run:
            self.tools.draft.put(PutCronRun(key, run))

    # -- running -------------------------------------------------------------------------------------------------------

    def _active(self, key: JobKey) -> bool:
        return any(task.status in ACTIVE for task in self._state.tasks_of(key))

    def _trigger(self, key: JobKey) -> int:
        """A run is to begin: now, later, or not at all. Gives how many tasks were created."""
        self.counts["cron_job_triggers"] += 1
        run = self._state.cron_runs.get(key) or CronRun(self.tools.draft.now.wall_ms)
        if not self._active(key):
            self._put(key, run._replace(is_waiting=False))
            return self._begin(key)
        self.counts["cron_job_collisions"] += 1
        if run.is_waiting:
            self.counts["cron_job_concurrent_runs"] += 1  # the one that waits is for this time, too
            return 0
        if not _ends_existing(self._state.cron_jobs[key].cron_collision_policy):
            return 0
        for task in self._state.active_of(key):
            self.tools.tasks.move(task.task_id, ScheduleStatus.KILLING, "Killed for the next run of its cron job")
        if self._active(key):
            self._put(key, run._replace(is_waiting=True))
            return 0
        return self._begin(key)

    def _begin(self, key: JobKey) -> int:
        """Create the tasks of a run. What was accepted once may not be acceptable any more."""
        try:
            job = submission.checked_job(self._state.cron_jobs[key], self.tools.settings)
        except submission.Invalid as error:
            self.counts["cron_job_parse_failures"] += 1
            self.note(f"{key} does not run: {error}")
            return 0
        for instance in range(job.instances):
            self.tools.tasks.create(job.config, instance)
        return job.instances

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        """One that a run waits for may have ended."""
        one = after or before
        if one is None or (after is not None and after.status not in TERMINAL):
            return
        run = self._state.cron_runs.get(one.job)
        if run is not None and run.is_waiting:
            self._set(one.job, 0.0)  # not here: of a thousand that end, each would ask about all others

    def _begin_waiting(self, key: JobKey) -> None:
        run = self._state.cron_runs.get(key)
        if run is not None and run.is_waiting and key in self._state.cron_jobs and not self._active(key):
            self._put(key, run._replace(is_waiting=False))
            self._begin(key)

    # -- commands ------------------------------------------------------------------------------------------------------

    def command(self, command: Command) -> Answer:
        """Do what a client asks for, or say why not."""
        match command:
            case ScheduleCronJob():
                return self._schedule(command)
            case DescheduleCronJob(key, _):
                return self._deschedule(key)
            case StartCronJob(key, _):
                return self._start(key)
        return super().command(command)

    def _schedule(self, command: ScheduleCronJob) -> Answer:
        checked = _checked(command.job, self.tools)
        if isinstance(checked, Answer):
            return checked
        key = checked.key
        former = self._state.cron_jobs.get(key)
        if former is None and command.is_replacement:
            return _not_scheduled(key)
        update_id = self._state.active_updates.get(key)
        if update_id is not None:
            return refused(
                f"{key} is being updated (update {update_id}): abort that, or wait for its end",
                code=ResponseCode.JOB_UPDATING_ERROR,
            )
        if former is None and self._active(key):
            return refused(f"Job {key} already exists, and is no cron job: kill it first")
        too_much = quota.check_cron(self._state, checked)
        if too_much is not None:
            return refused(too_much)
        self._catch_up(key)
        run = self._state.cron_runs.get(key) or CronRun(0)
        if former is None or former.cron_schedule != checked.cron_schedule:
            run = CronRun(self.tools.draft.now.wall_ms, run.is_waiting)
        self.tools.draft.put(PutCronJob(key, checked.wire))
        self._put(key, run)
        self._load(key)
        self._look_again()
        return done()

    def _deschedule(self, key: JobKey) -> Answer:
        if key not in self._state.cron_jobs:
            return _not_scheduled(key)
        self._catch_up(key)
        self.tools.draft.put(DropCronJob(key))
        if key in self._state.cron_runs:
            self.tools.draft.put(DropCronRun(key))
        self._forget(key)
        return done()

    def _start(self, key: JobKey) -> Answer:
        if key not in self._state.cron_jobs:
            return _not_scheduled(key)
        try:
            submission.checked_job(self._state.cron_jobs[key], self.tools.settings)
        except submission.Invalid as error:
            return refused(*error.problems)
        self._catch_up(key)
        told = self._collision(key)
        self._trigger(key)
        return done(*told)

    def _collision(self, key: JobKey) -> tuple[str, ...]:
        """What becomes of a run that is to begin now, where one is under way, in words; Aurora says nothing."""
        if not self._active(key):
            return ()
        run = self._state.cron_runs.get(key)
        if run is not None and run.is_waiting:
            return (f"{key} still runs, and its next run waits for the end of this one: no other is added",)
        policy = self._state.cron_jobs[key].cron_collision_policy
        if _ends_existing(policy):
            return (f"{key} still runs: the running one is ended first",)
        return (f"{key} still runs, and its cron_collision_policy is {policy}: nothing is started",)

    def _catch_up(self, key: JobKey) -> None:
        """Its time may have come just now, before anybody looked."""
        if self._next_ms.get(key, self.tools.draft.now.wall_ms + 1) <= self.tools.draft.now.wall_ms:
            self._come(key)


def _ends_existing(policy: CronCollisionPolicy | None) -> bool:
    return policy in (None, CronCollisionPolicy.KILL_EXISTING)


def _not_scheduled(key: JobKey) -> Answer:
    return refused(f"Job {key} is not scheduled with cron")


def _checked(job: JobConfiguration, tools: Tools) -> submission.Job | Answer:
    """The job, or all that is wrong with it."""
    problems: list[str] = []
    checked: submission.Job | None = None
    try:
        checked = submission.checked_job(job, tools.settings)
    except submission.Invalid as error:
        problems += error.problems
    if not job.cron_schedule:
        problems.append("the job has no cron schedule: it is to be created, not scheduled")
    else:
        try:
            cron.parse(job.cron_schedule)
        except cron.ScheduleInvalid as error:
            problems += error.problems
    return refused(*problems) if checked is None or problems else checked
