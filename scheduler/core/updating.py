"""Job updates, as the engine and clients meet them: commands, deadlines, tasks that changed, history. What follows of
each is :mod:`scheduler.core.update_rolling`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from scheduler.core.changes import PutUpdate
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
from scheduler.core.update_record import status_of
from scheduler.core.update_request import UNCHANGED, InProgress, prepared
from scheduler.core.update_rolling import Rolling
from scheduler.core.update_run import Run
from scheduler.core.updates import AWAITING_PULSE, MOVES, PAUSED, blocked, moving, paused
from scheduler.model import JobKey, Task
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    JobUpdate,
    JobUpdateAction,
    JobUpdateDetails,
    JobUpdateEvent,
    JobUpdateKey,
    JobUpdatePulseStatus,
    JobUpdateStatus,
    JobUpdateSummary,
    PulseJobUpdateResult,
    Result,
    StartJobUpdateResult,
    UpdatePause,
)

_U = JobUpdateStatus
#: After a start, or when something could not be kept, so long passes before updates go on.
_RESUME_S: Final = 1.0
_Choice = Callable[[JobUpdateStatus], JobUpdateStatus]


class Updating(Part):
    """All updates that are under way."""

    dues: ClassVar[frozenset[Due]] = frozenset({
        Due.UPDATE, Due.UPDATE_CANARIES, Due.UPDATE_PULSE, Due.UPDATE_INSTANCE, Due.PRUNE_UPDATES,
    })  # fmt: skip
    commands: ClassVar[tuple[type, ...]] = (
        StartJobUpdate, PauseJobUpdate, ResumeJobUpdate, AbortJobUpdate, RollbackJobUpdate, PulseJobUpdate,
    )  # fmt: skip

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._state = tools.draft.state
        self._rolling = Rolling(tools, self.counts)
        #: Instances of updates whose tasks changed, by job: looked at when all that changed is known.
        self._changed: dict[JobKey, dict[int, None]] = {}
        self.counts.update({f"update_transition_{status.name}": 0 for status in _U})
        self.counts.update({f"update_instance_transition_{action.name}": 0 for action in JobUpdateAction})
        for name in ("job_updates_pruned", "job_update_recovery_errors", "job_update_state_change_errors",
                     "job_update_delete_errors"):  # fmt: skip
            self.counts[name] = 0

    # -- the engine's calls --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        self._rolling.runs.clear()
        self._changed.clear()
        now_s = self.tools.draft.now.mono_s
        for job, update_id in self._state.active_updates.items():
            run = self._rolling.load(job, update_id)
            if run is not None and run.status not in AWAITING_PULSE:
                self._rolling.pulses.resumed(run)
            # Nothing is decided here: whatever it was might never be kept.
            self.tools.deadlines.set(Due.UPDATE, (job, update_id), now_s + _RESUME_S)
        self._prune_later()

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        task = after or before
        assert task is not None
        run = self._rolling.under_way(task.config.job)
        if run is None:
            return
        run.note(self._state, before, after)
        if after is not None and after.status is ScheduleStatus.ASSIGNED:
            self.tools.offers.release((task.config.job, task.instance))
        self._changed.setdefault(task.config.job, {})[task.instance] = None

    def told(self) -> None:
        changed, self._changed = self._changed, {}
        for job, instances in changed.items():
            run = self._rolling.under_way(job)
            if run is not None:
                for instance in instances:
                    self._rolling.step(run, instance)
                self._rolling.advance(run)

    def due(self, due: Due, about: object) -> None:
        if due is Due.PRUNE_UPDATES:
            self._prune()
            return
        assert isinstance(about, tuple)
        run = self._rolling.under_way(about[0])
        if run is None and self._state.active_updates.get(about[0]) == about[1]:
            self._rolling.give_up(about[0], about[1])
        elif run is None or run.update_id != about[1]:
            pass  # it is over
        elif due is Due.UPDATE_INSTANCE:
            self._rolling.step(run, about[2])
            self._rolling.advance(run)
        else:
            self._rolling.evaluate(run)

    def command(self, command: Command) -> Answer:
        match command:
            case StartJobUpdate():
                return self._start(command)
            case PauseJobUpdate(key, message, user):
                return self._change(key, "paused", paused, user, message)
            case ResumeJobUpdate(key, message, user):
                return self._resume_update(key, user, message)
            case AbortJobUpdate(key, message, user):
                return self._abort(key, user, message)
            case RollbackJobUpdate(key, message, user):
                return self._change(key, "rolled back", lambda status: _U.ROLLING_BACK, user, message)
            case PulseJobUpdate(key, _):
                return self._pulse(key)
        return super().command(command)

    # -- what clients ask for ------------------------------------------------------------------------------------------

    def _start(self, command: StartJobUpdate) -> Answer:
        try:
            request, _, instructions, is_instead = prepared(self._state, command.request, self.tools.settings)
        except InProgress as error:
            result = Result(start_job_update_result=StartJobUpdateResult(error.summary.key, error.summary))
            return refused(*error.problems)._replace(result=result)
        except Invalid as error:
            return refused(*error.problems)
        if instructions is None:
            return done(UNCHANGED)
        job = request.config.job
        if is_instead and (aborted := self._rolling.under_way(job)) is not None:
            self._rolling.end_abort(aborted)
        update_id = self.tools.fresh()
        key = JobUpdateKey(wire.JobKey(*job), update_id)
        update = JobUpdate(JobUpdateSummary(key, command.user, metadata=request.metadata), instructions)
        self.tools.draft.put(PutUpdate(job, update_id, JobUpdateDetails(update, (), ())))
        is_pulsed = request.settings.block_if_no_pulses_after_ms is not None
        status = _U.ROLL_FORWARD_AWAITING_PULSE if is_pulsed else _U.ROLLING_FORWARD
        self._rolling.add_event(job, update_id, JobUpdateEvent(status, user=command.user, message=command.message))
        self._rolling.evaluate(self._rolling.load(job, update_id))
        begun = self._state.updates[(job, update_id)].update
        summary = begun.summary if begun is not None else None
        return done(result=Result(start_job_update_result=StartJobUpdateResult(key, summary)))

    def _find(self, key: JobUpdateKey, what: str) -> Run | Answer:
        """The update, or why it cannot be *what*."""
        job = JobKey(*(part or "" for part in key.job or wire.JobKey()))
        details = self._state.updates.get((job, key.id or ""))
        if details is None:
            return refused(f"{job} has no update {key.id}")
        run = self._rolling.under_way(job)
        if run is None or run.update_id != key.id:
            return refused(f"The update {key.id} of {job} is over ({status_of(details)}): it cannot be {what}")
        if run.aborting is not None:
            return refused(f"The update {key.id} of {job} is being aborted: {self._back_words(run)}")
        return run

    def _back_words(self, run: Run) -> str:
        instances = ", ".join(map(str, run.between(self._state)))
        return f"it ends when these instances are back, whose old tasks are being killed: {instances}"

    def _change(self, key: JobUpdateKey, what: str, status: _Choice, user: str, message: str | None) -> Answer:
        run = self._find(key, what)
        if isinstance(run, Answer):
            return run
        target = status(run.status)
        # Whoever goes back already is resumed, not sent back once more.
        if target not in MOVES[run.status] or (target is _U.ROLLING_BACK and run.is_back):
            return refused(f"The update {key.id} of {run.job} is {run.status}: it cannot be {what}")
        self._rolling.to(run, target, user, message, UpdatePause.ASKED if target in PAUSED else None)
        return done()

    def _abort(self, key: JobUpdateKey, user: str, message: str | None) -> Answer:
        run = self._find(key, "aborted")
        if isinstance(run, Answer):
            return run
        if not run.between(self._state):
            self._rolling.to(run, _U.ABORTED, user, message)
            return done()
        self._rolling.to(run, paused(run.status), user, message, UpdatePause.ABORTING)
        return done(f"The update {key.id} of {run.job} is being aborted: {self._back_words(run)}")

    def _resume_update(self, key: JobUpdateKey, user: str, message: str | None) -> Answer:
        run = self._find(key, "resumed")
        if isinstance(run, Answer):
            return run
        if run.status not in PAUSED:
            return refused(f"The update {key.id} of {run.job} is {run.status}, and not paused")
        is_late = self._rolling.pulses.is_late(run)
        self._rolling.to(run, blocked(run.status) if is_late else moving(run.status), user, message)
        return done()

    def _pulse(self, key: JobUpdateKey) -> Answer:
        job = JobKey(*(part or "" for part in key.job or wire.JobKey()))
        run = self._rolling.under_way(job)
        if run is None or run.update_id != key.id:
            return done(result=Result(pulse_job_update_result=PulseJobUpdateResult(JobUpdatePulseStatus.FINISHED)))
        if run.pulse_timeout_s:
            self._rolling.pulses.came(run)
            if run.status in AWAITING_PULSE:
                self._rolling.to(run, moving(run.status))
        return done(result=Result(pulse_job_update_result=PulseJobUpdateResult(JobUpdatePulseStatus.OK)))

    # -- history -------------------------------------------------------------------------------------------------------

    def _prune_later(self) -> None:
        interval_s = self.tools.settings.job_update_history_pruning_interval_s
        self.tools.deadlines.set(Due.PRUNE_UPDATES, None, self.tools.draft.now.mono_s + interval_s)

    def _prune(self) -> None:
        for change in prunable(self._state, self.tools.draft.now.wall_ms, self.tools.settings):
            self.counts["job_updates_pruned"] += 1
            self.tools.draft.put(change)
        self._prune_later()
