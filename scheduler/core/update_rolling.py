"""Carries updates out: instances begin and end, and the update goes from state to state, as
:mod:`scheduler.core.updates` decides (``JobUpdateControllerImpl.java``).

While an update is paused or waits for a pulse no task is killed and no instance begins; but an instance whose old task
is gone already gets its new one: nobody should miss an instance because somebody wants to think. For the same reason it
is not over, neither FAILED nor ABORTED, while an old task is being killed for a new one.
"""

from __future__ import annotations

from collections import Counter

from scheduler.core.changes import AddInstanceEvent, AddUpdateEvent
from scheduler.core.deadlines import Due
from scheduler.core.parts import Tools
from scheduler.core.update_groups import next_group
from scheduler.core.update_kills import Kills
from scheduler.core.update_pulses import LATE, Pulses
from scheduler.core.update_run import ACTIONS, Run, Work
from scheduler.core.updates import MOVES, MOVING, Step, blocked, decide
from scheduler.model import JobKey
from scheduler.states import ACTIVE_UPDATE
from thermos.formats.aurora_api import (
    JobInstanceUpdateEvent,
    JobUpdateAction,
    JobUpdateEvent,
    JobUpdateStatus,
    UpdatePause,
)

_U = JobUpdateStatus


class Rolling:
    """All updates that are under way. *counts*: the figures of what happens to them."""

    def __init__(self, tools: Tools, counts: Counter[str]) -> None:
        self.tools = tools
        self.counts = counts
        self._state = tools.draft.state
        self.runs: dict[JobKey, Run] = {}
        self.pulses = Pulses(tools)
        self.kills = Kills(tools, self.runs)

    # -- states --------------------------------------------------------------------------------------------------------

    def under_way(self, job: JobKey) -> Run | None:
        """The job's update. One that was ended elsewhere is forgotten: who kills what an abort waits for ends it."""
        run = self.runs.get(job)
        if run is not None and self._state.active_updates.get(job) != run.update_id:
            self.counts[f"update_transition_{_U.ABORTED.name}"] += 1
            self._forget(run)
            return None
        return run

    def load(self, job: JobKey, update_id: str) -> Run | None:
        """Take the update up, as it is kept; None: it cannot be."""
        try:
            run = Run(self._state, job, update_id, self.tools.draft.elapsed, self.tools.draft.now)
        except ValueError:
            self.runs.pop(job, None)
            return None
        self.runs[job] = run
        return run

    def give_up(self, job: JobKey, update_id: str) -> None:
        """It is kept, and says not what to do."""
        self.counts["job_update_recovery_errors"] += 1
        self.add_event(job, update_id, JobUpdateEvent(_U.ERROR, message="It has no instructions: start another one"))

    def add_event(self, job: JobKey, update_id: str, event: JobUpdateEvent) -> None:
        """Keep *event*, as of now."""
        event = event._replace(timestamp_ms=self.tools.draft.now.wall_ms)
        self.tools.draft.put(AddUpdateEvent(job, update_id, event))
        self.counts[f"update_transition_{event.status}"] += 1

    def to(
        self,
        run: Run,
        status: JobUpdateStatus,
        user: str | None = None,
        message: str | None = None,
        pause: UpdatePause | None = None,
    ) -> None:
        """The update is in that state now, with all that follows. *pause*: why, where it is paused."""
        is_abort = pause is UpdatePause.ABORTING  # it may be paused already
        if status not in MOVES[run.status] and not (is_abort and status is run.status):
            self.counts["job_update_state_change_errors"] += 1
            return
        was_back = run.is_back
        event = JobUpdateEvent(status, user=user, message=message, pause=pause)
        self.add_event(run.job, run.update_id, event)
        if status not in ACTIVE_UPDATE:
            self._forget(run)
            return
        run.status = status
        run.aborting = event if is_abort else None
        if status is _U.ROLLING_BACK and not was_back:
            self.evaluate(self.load(run.job, run.update_id))
        elif status in MOVING:
            self.evaluate(run)
        else:
            for work in run.working.values():
                work.stop_clock(self.tools.draft.now.mono_s)

    def _forget(self, run: Run) -> None:
        """It is over."""
        del self.runs[run.job]
        self.pulses.forget(run)
        for instance in run.working:
            self.tools.deadlines.cancel(Due.UPDATE_INSTANCE, (*run.about, instance))
            self.tools.offers.release((run.job, instance))
        for instance in run.canaries:
            self.tools.draft.elapsed.forget((*run.about, instance))
        self.tools.deadlines.cancel(Due.UPDATE, run.about)
        self.tools.deadlines.cancel(Due.UPDATE_CANARIES, run.about)

    def end_abort(self, run: Run) -> None:
        """It has waited for long enough, or somebody else sees to the instances that it waits for."""
        if run.aborting is not None:
            self.to(run, _U.ABORTED, run.aborting.user, run.aborting.message)

    def evaluate(self, run: Run | None) -> None:
        """Look at all of it."""
        if run is None:
            return
        for instance in list(run.working):
            self.step(run, instance)
        self.advance(run)

    def advance(self, run: Run) -> None:
        """Begin what may begin; end it, or turn round, where it is time to."""
        if run.aborting is not None and not run.between(self._state):
            self.end_abort(run)
        now_s = self.tools.draft.now.mono_s
        while run.status in MOVING and self.runs.get(run.job) is run:
            if self.pulses.is_late(run):
                self.to(run, blocked(run.status), message=LATE)
                return
            if run.failed > run.failures_allowed:
                allowed = run.failures_allowed or "none"
                self._fail(run, f"{run.failed} of its instances failed, and {allowed} may")
                return
            if not run.waiting and not run.working:
                self.to(run, _U.ROLLED_BACK if run.is_back else _U.ROLLED_FORWARD)
                return
            group = next_group(run, now_s)
            if group.failure is not None:
                self._fail(run, group.failure)
            elif group.pause is not None:
                run.auto_pauses += 1
                self.to(run, _U.ROLL_FORWARD_PAUSED, message=group.message, pause=group.pause)
            elif group.look_at_s is not None:
                self.tools.deadlines.set(Due.UPDATE_CANARIES, run.about, group.look_at_s)
            if not group.size:
                return
            self._begin(run, [run.waiting.popleft() for _ in range(group.size)])

    def _begin(self, run: Run, instances: list[int]) -> None:
        run.begun += len(instances)
        for instance in instances:
            failed = run.failed_of(instance)
            run.working[instance] = Work(frozenset(failed))
            self._add_instance_event(run, instance, ACTIONS[run.is_back][0], failed_before=tuple(sorted(failed)))
        for instance in instances:
            self.step(run, instance)

    def _fail(self, run: Run, message: str) -> None:
        if not run.is_back and run.settings.rollback_on_failure:
            self.to(run, _U.ROLLING_BACK, message=message)
        elif not run.between(self._state):
            self.to(run, _U.FAILED, message=message)

    # -- one instance --------------------------------------------------------------------------------------------------

    def _add_instance_event(
        self,
        run: Run,
        instance: int,
        action: JobUpdateAction,
        message: str | None = None,
        failed_before: tuple[str, ...] | None = None,
    ) -> None:
        event = JobInstanceUpdateEvent(instance, self.tools.draft.now.wall_ms, action, message, failed_before)
        self.tools.draft.put(AddInstanceEvent(run.job, run.update_id, event))
        self.counts[f"update_instance_transition_{action.name}"] += 1

    def step(self, run: Run, instance: int) -> None:
        """Do for the instance what can be done now."""
        now = self.tools.draft.now
        while (work := run.working.get(instance)) is not None and self.runs.get(run.job) is run:
            task = run.task(self._state, instance)
            target = run.target(instance)
            is_moving = run.status in MOVING
            spent_ms = work.spent_ms(now.mono_s) if is_moving else None
            age_ms = 0 if task is None else self.tools.draft.elapsed.age_ms(task, now)
            found = decide(target, task, run.failures(instance), run.rules, spent_ms, age_ms)
            if is_moving and found.step is not Step.KILL:
                work.start_clock(now.mono_s)
            if found.step is Step.CREATE:
                assert target is not None
                run.created(self.tools.tasks.create(target, instance))
            elif found.step is Step.KILL:
                assert task is not None
                if not is_moving or not self.kills.may(run, work, task) or not self.kills.kill(run, task):
                    return
            elif found.step is Step.LOOK_AGAIN:
                self.kills.look_at(run, instance, found.after_ms / 1000)
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
        if not is_done:
            run.failed += 1
            self._add_instance_event(run, instance, when_failed, message)
        elif instance in run.canaries:
            failed = tuple(sorted(run.failed_of(instance)))
            self._add_instance_event(run, instance, when_done, message, failed)
            run.canaries_done_s = self.tools.draft.now.mono_s
            self.tools.draft.elapsed.note((*run.about, instance), self.tools.draft.now)
        else:
            self._add_instance_event(run, instance, when_done, message)
