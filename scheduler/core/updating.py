"""Carries job updates out: begins, watches, ends and turns round, as :mod:`scheduler.core.updates` decides
(``JobUpdateControllerImpl.java``).

While an update is paused or waits for a pulse no task is killed and no instance begins; but an instance whose old task
is gone already gets its new one: nobody should miss an instance because somebody wants to think.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from scheduler.core import quota
from scheduler.core.changes import AddInstanceEvent, AddUpdateEvent, PutUpdate
from scheduler.core.commands import (
    AbortJobUpdate,
    Answer,
    Command,
    PauseJobUpdate,
    PulseJobUpdate,
    ResumeJobUpdate,
    RollbackJobUpdate,
    StartJobUpdate,
    done,
    refused,
)
from scheduler.core.deadlines import Due
from scheduler.core.parts import Part, Tools
from scheduler.core.submission import Invalid
from scheduler.core.update_history import prunable
from scheduler.core.update_kills import Kills
from scheduler.core.update_record import status_of
from scheduler.core.update_request import UNCHANGED, checked_request, difference, instructions_of
from scheduler.core.update_run import ACTIONS, Run, Work
from scheduler.core.updates import (
    AUTO_PAUSED,
    AWAITING_PULSE,
    CANARIES_DONE,
    MOVES,
    MOVING,
    PAUSED,
    Step,
    blocked,
    decide,
    moving,
    paused,
)
from scheduler.model import JobKey, Task
from scheduler.states import ACTIVE_UPDATE, ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    JobInstanceUpdateEvent,
    JobUpdate,
    JobUpdateAction,
    JobUpdateDetails,
    JobUpdateEvent,
    JobUpdateKey,
    JobUpdatePulseStatus,
    JobUpdateState,
    JobUpdateStatus,
    JobUpdateSummary,
    PulseJobUpdateResult,
    Result,
    StartJobUpdateResult,
)

_U = JobUpdateStatus
#: After a start, or when something could not be kept, so long passes before updates go on.
_RESUME_S: Final = 1.0
_PULSE_LATE: Final = "Pulses from external service have timed out."
_Choice = Callable[[JobUpdateStatus], JobUpdateStatus]


class Updating(Part):
    """All updates that are under way."""

    dues: ClassVar[frozenset[Due]] = frozenset({Due.UPDATE, Due.UPDATE_INSTANCE, Due.PRUNE_UPDATES})
    commands: ClassVar[tuple[type, ...]] = (
        StartJobUpdate, PauseJobUpdate, ResumeJobUpdate, AbortJobUpdate, RollbackJobUpdate, PulseJobUpdate,
    )  # fmt: skip

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._state = tools.draft.state
        self._runs: dict[JobKey, Run] = {}
        #: When each update that wants pulses was last given one, monotonic.
        self._pulsed_s: dict[tuple[JobKey, str], float] = {}
        self._kills = Kills(tools, self._runs)
        #: Instances of updates whose tasks changed, by job: looked at when all that changed is known.
        self._changed: dict[JobKey, dict[int, None]] = {}
        self.counts.update({f"update_transition_{status.name}": 0 for status in _U})
        self.counts.update({f"update_instance_transition_{action.name}": 0 for action in JobUpdateAction})
        for name in ("job_updates_pruned", "job_update_recovery_errors", "job_update_state_change_errors",
                     "job_update_delete_errors"):  # fmt: skip
            self.counts[name] = 0

    # -- the engine's calls --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        self._runs.clear()
        self._changed.clear()
        self._kills.forget()
        now_s = self.tools.draft.now.mono_s
        for job, update_id in self._state.active_updates.items():
            self._load(job, update_id)
            # Pulses that were sent while nobody led could not be heard.
            if status_of(self._state.updates[(job, update_id)]) not in AWAITING_PULSE:
                self._pulsed_s.setdefault((job, update_id), now_s)
            # Nothing is decided here: whatever it was might never be kept.
            self.tools.deadlines.set(Due.UPDATE, (job, update_id), now_s + _RESUME_S)
        self._prune_later()

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        task = after or before
        assert task is not None
        run = self._runs.get(task.config.job)
        if run is None:
            return
        run.note(self._state, before, after)
        if after is not None and after.status is ScheduleStatus.ASSIGNED:
            self.tools.offers.release((task.config.job, task.instance))
        self._changed.setdefault(task.config.job, {})[task.instance] = None

    def told(self) -> None:
        changed, self._changed = self._changed, {}
        for job, instances in changed.items():
            run = self._runs.get(job)
            if run is not None:
                for instance in instances:
                    self._step(run, instance)
                self._advance(run)

    def due(self, due: Due, about: object) -> None:
        if due is Due.PRUNE_UPDATES:
            self._prune()
            return
        assert isinstance(about, tuple)
        run = self._runs.get(about[0])
        if run is None and self._state.active_updates.get(about[0]) == about[1]:
            self._give_up(about[0], about[1])
        elif run is None or run.update_id != about[1]:
            pass  # it is over
        elif due is Due.UPDATE_INSTANCE:
            self._step(run, about[2])
            self._advance(run)
        else:
            self._evaluate(run)

    def command(self, command: Command) -> Answer:
        match command:
            case StartJobUpdate():
                return self._start(command)
            case PauseJobUpdate(key, message, user):
                return self._change(key, "paused", paused, user, message)
            case ResumeJobUpdate(key, message, user):
                return self._resume_update(key, user, message)
            case AbortJobUpdate(key, message, user):
                return self._change(key, "aborted", lambda status: _U.ABORTED, user, message)
            case RollbackJobUpdate(key, message, user):
                return self._change(key, "rolled back", lambda status: _U.ROLLING_BACK, user, message)
            case PulseJobUpdate(key, _):
                return self._pulse(key)
        return super().command(command)

    # -- what clients ask for ------------------------------------------------------------------------------------------

    def _start(self, command: StartJobUpdate) -> Answer:
        try:
            request = checked_request(command.request, self.tools.settings)
            job = request.config.job
            if job in self._state.cron_jobs:
                return refused(f"{job} is a cron job: schedule its new configuration instead of updating it")
            if job in self._state.active_updates:
                return self._in_progress(job)
            found = difference(self._state, request)
        except Invalid as error:
            return refused(*error.problems)
        instructions = instructions_of(request, found)
        if instructions is None:
            return done(UNCHANGED)
        total = len(found.add) + len(found.update) + len(found.unchanged)
        if total > self.tools.settings.max_tasks_per_job:
            allowed = self.tools.settings.max_tasks_per_job
            return refused(f"{job} would have {total} instances; at most {allowed} are allowed")
        update_id = self.tools.fresh()
        key = JobUpdateKey(wire.JobKey(*job), update_id)
        update = JobUpdate(JobUpdateSummary(key, command.user, metadata=request.metadata), instructions)
        too_much = quota.check_update(self._state, job, update)
        if too_much is not None:
            return refused(too_much)
        self.tools.draft.put(PutUpdate(job, update_id, JobUpdateDetails(update, (), ())))
        is_pulsed = request.settings.block_if_no_pulses_after_ms is not None
        status = _U.ROLL_FORWARD_AWAITING_PULSE if is_pulsed else _U.ROLLING_FORWARD
        self._add_event(job, update_id, status, command.user, command.message)
        self._evaluate(self._load(job, update_id))
        return done(result=Result(start_job_update_result=StartJobUpdateResult(key, self._summary(job, update_id))))

    def _summary(self, job: JobKey, update_id: str) -> JobUpdateSummary:
        update = self._state.updates[(job, update_id)].update
        assert update is not None
        assert update.summary is not None
        return update.summary

    def _in_progress(self, job: JobKey) -> Answer:
        summary = self._summary(job, self._state.active_updates[job])
        state = summary.state or JobUpdateState()
        answer = refused(
            f"{job} is being updated already, by {summary.user} (update {self._state.active_updates[job]}, "
            f"{state.status}): abort that, or wait for its end"
        )
        return answer._replace(
            result=Result(start_job_update_result=StartJobUpdateResult(summary.key, summary)),
        )

    def _find(self, key: JobUpdateKey, what: str) -> Run | Answer:
        """The update, or why it cannot be *what*."""
        job = JobKey(*(part or "" for part in key.job or wire.JobKey()))
        details = self._state.updates.get((job, key.id or ""))
        if details is None:
            return refused(f"{job} has no update {key.id}")
        run = self._runs.get(job)
        if run is None or run.update_id != key.id:
            return refused(f"The update {key.id} of {job} is over ({status_of(details)}): it cannot be {what}")
        return run

    def _change(self, key: JobUpdateKey, what: str, status: _Choice, user: str, message: str | None) -> Answer:
        run = self._find(key, what)
        if isinstance(run, Answer):
            return run
        target = status(run.status)
        # Whoever goes back already is resumed, not sent back once more.
        if target not in MOVES[run.status] or (target is _U.ROLLING_BACK and run.is_back):
            return refused(f"The update {key.id} of {run.job} is {run.status}: it cannot be {what}")
        self._to(run, target, user, message)
        return done()

    def _resume_update(self, key: JobUpdateKey, user: str, message: str | None) -> Answer:
        run = self._find(key, "resumed")
        if isinstance(run, Answer):
            return run
        if run.status not in PAUSED:
            return refused(f"The update {key.id} of {run.job} is {run.status}, and not paused")
        self._to(run, blocked(run.status) if self._is_pulse_late(run) else moving(run.status), user, message)
        return done()

    def _pulse(self, key: JobUpdateKey) -> Answer:
        run = self._find(key, "pulsed")
        if isinstance(run, Answer) or not run.settings.block_if_no_pulses_after_ms:
            status = JobUpdatePulseStatus.FINISHED if isinstance(run, Answer) else JobUpdatePulseStatus.OK
            return done(result=Result(pulse_job_update_result=PulseJobUpdateResult(status)))
        self._pulsed_s[run.about] = self.tools.draft.now.mono_s
        if run.status in AWAITING_PULSE:
            self._to(run, moving(run.status))
        else:
            self._watch_pulse(run)
        return done(result=Result(pulse_job_update_result=PulseJobUpdateResult(JobUpdatePulseStatus.OK)))

    # -- states --------------------------------------------------------------------------------------------------------

    def _load(self, job: JobKey, update_id: str) -> Run | None:
        """Take the update up, as it is kept; None: it cannot be."""
        try:
            run = Run(self._state, job, update_id)
        except ValueError:
            self._runs.pop(job, None)
            return None
        self._runs[job] = run
        return run

    def _give_up(self, job: JobKey, update_id: str) -> None:
        """It is kept, and says not what to do."""
        self.counts["job_update_recovery_errors"] += 1
        self._add_event(job, update_id, _U.ERROR, None, "It has no instructions: start another one")

    def _add_event(
        self, job: JobKey, update_id: str, status: JobUpdateStatus, user: str | None, message: str | None
    ) -> None:
        event = JobUpdateEvent(status, self.tools.draft.now.wall_ms, user, message)
        self.tools.draft.put(AddUpdateEvent(job, update_id, event))
        self.counts[f"update_transition_{status.name}"] += 1

    def _to(self, run: Run, status: JobUpdateStatus, user: str | None = None, message: str | None = None) -> None:
        """The update is in that state now, with all that follows."""
        if status not in MOVES[run.status]:
            self.counts["job_update_state_change_errors"] += 1
            return
        was_back = run.is_back
        self._add_event(run.job, run.update_id, status, user, message)
        if status not in ACTIVE_UPDATE:
            del self._runs[run.job]
            self._pulsed_s.pop(run.about, None)
            for instance in run.working:
                self.tools.deadlines.cancel(Due.UPDATE_INSTANCE, (*run.about, instance))
                self.tools.offers.release((run.job, instance))
            self.tools.deadlines.cancel(Due.UPDATE, run.about)
            return
        run.status = status
        if status is _U.ROLLING_BACK and not was_back:
            self._evaluate(self._load(run.job, run.update_id))
        elif status in MOVING:
            self._evaluate(run)

    def _evaluate(self, run: Run | None) -> None:
        """Look at all of it."""
        if run is None:
            return
        for instance in list(run.working):
            self._step(run, instance)
        self._advance(run)

    def _advance(self, run: Run) -> None:
        """Begin what may begin; end it, or turn round, where it is time to."""
        while run.status in MOVING and self._runs.get(run.job) is run:
            if self._is_pulse_late(run):
                self._to(run, blocked(run.status), message=_PULSE_LATE)
                return
            if run.failed > run.failures_allowed:
                allowed = run.failures_allowed or "none"
                self._fail(run, f"{run.failed} of its instances failed, and {allowed} may")
                return
            if not run.waiting and not run.working:
                self._to(run, _U.ROLLED_BACK if run.is_back else _U.ROLLED_FORWARD)
                return
            count = run.may_begin()
            if not count or self._is_held(run):
                return
            begun = [run.waiting.popleft() for _ in range(count)]
            run.begun += count
            now_ms = self.tools.draft.now.wall_ms
            for instance in begun:
                run.working[instance] = Work(now_ms)
                self._add_instance_event(run, instance, ACTIONS[run.is_back][0], None)
            for instance in begun:
                self._step(run, instance)

    def _fail(self, run: Run, message: str) -> None:
        if not run.is_back and run.settings.rollback_on_failure:
            self._to(run, _U.ROLLING_BACK, message=message)
        elif not any(self._is_between(run, instance) for instance in run.working):
            self._to(run, _U.FAILED, message=message)

    def _is_between(self, run: Run, instance: int) -> bool:
        """Whether the instance's old task is being killed for a new one: nobody but the update would create that, so
        it cannot be over before."""
        task = run.task(self._state, instance)
        return task is not None and task.status is ScheduleStatus.KILLING and run.target(instance) is not None

    def _is_held(self, run: Run) -> bool:
        """Whether the next group has to wait for somebody, or for time; then that is seen to."""
        if run.is_back or not run.begun:
            return False
        if run.canaries and run.begun == len(run.canaries):
            promote_ms = run.settings.canary_promote_after_ms
            if promote_ms is None:
                if not run.auto_pauses:
                    self._auto_pause(run, CANARIES_DONE)
                    return True
            elif run.lost_canaries:
                words = ", ".join(map(str, sorted(run.lost_canaries)))
                self._fail(run, f"canaries ended after they were updated: instances {words}")
                return True
            else:
                left_ms = run.canaries_done_ms + promote_ms - self.tools.draft.now.wall_ms
                if left_ms > 0:
                    self._look_again(run, left_ms / 1000)
                    return True
        if run.strategy.is_autopaused and run.auto_pauses < run.strategy.groups_before(run.begun):
            self._auto_pause(run, AUTO_PAUSED)
            return True
        return False

    def _auto_pause(self, run: Run, message: str) -> None:
        run.auto_pauses += 1
        self._to(run, _U.ROLL_FORWARD_PAUSED, message=message)

    def _look_again(self, run: Run, after_s: float) -> None:
        """Look at all of it again then, or for a pulse that is late, whichever is first."""
        now_s = self.tools.draft.now.mono_s
        at_s = now_s + after_s
        timeout_ms = run.settings.block_if_no_pulses_after_ms
        if timeout_ms:
            at_s = min(at_s, self._pulsed_s.get(run.about, now_s) + timeout_ms / 1000)
        self.tools.deadlines.set(Due.UPDATE, run.about, at_s)

    def _watch_pulse(self, run: Run) -> None:
        timeout_ms = run.settings.block_if_no_pulses_after_ms
        if timeout_ms:
            self._look_again(run, timeout_ms / 1000)

    def _is_pulse_late(self, run: Run) -> bool:
        timeout_ms = run.settings.block_if_no_pulses_after_ms
        if not timeout_ms:
            return False
        last_s = self._pulsed_s.get(run.about)
        if last_s is None or self.tools.draft.now.mono_s - last_s >= timeout_ms / 1000:
            return True
        self._watch_pulse(run)
        return False

    # -- one instance --------------------------------------------------------------------------------------------------

    def _add_instance_event(self, run: Run, instance: int, action: JobUpdateAction, message: str | None) -> None:
        event = JobInstanceUpdateEvent(instance, self.tools.draft.now.wall_ms, action, message)
        self.tools.draft.put(AddInstanceEvent(run.job, run.update_id, event))
        self.counts[f"update_instance_transition_{action.name}"] += 1

    def _step(self, run: Run, instance: int) -> None:
        """Do for the instance what can be done now."""
        now = self.tools.draft.now
        while (work := run.working.get(instance)) is not None and self._runs.get(run.job) is run:
            task = run.task(self._state, instance)
            target = run.target(instance)
            found = decide(target, task, work.failures, run.rules, work.began_ms, now.wall_ms)
            if found.step is Step.CREATE:
                assert target is not None
                run.created(self.tools.tasks.create(target, instance))
            elif found.step is Step.KILL:
                assert task is not None
                if run.status not in MOVING or not self._kills.may(run, work, task) or not self._kills.kill(run, task):
                    return
            elif found.step is Step.LOOK_AGAIN:
                self._kills.look_at(run, instance, found.after_ms / 1000)
                return
            elif found.step is Step.WAIT:
                return
            else:
                self._end(run, instance, found.step is Step.DONE, found.reason)
                return

    def _end(self, run: Run, instance: int, is_done: bool, message: str | None) -> None:
        del run.working[instance]
        self.tools.deadlines.cancel(Due.UPDATE_INSTANCE, (*run.about, instance))
        _, when_done, when_failed = ACTIONS[run.is_back]
        self._add_instance_event(run, instance, when_done if is_done else when_failed, message)
        if not is_done:
            run.failed += 1
        elif instance in run.canaries:
            run.canaries_done_ms = self.tools.draft.now.wall_ms

    # -- history -------------------------------------------------------------------------------------------------------

    def _prune_later(self) -> None:
        interval_s = self.tools.settings.job_update_history_pruning_interval_s
        self.tools.deadlines.set(Due.PRUNE_UPDATES, None, self.tools.draft.now.mono_s + interval_s)

    def _prune(self) -> None:
        for change in prunable(self._state, self.tools.draft.now.wall_ms, self.tools.settings):
            self.counts["job_updates_pruned"] += 1
            self.tools.draft.put(change)
        self._prune_later()
