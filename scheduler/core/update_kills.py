"""Which old tasks an update may end, and when: as SLA policies allow. Their places are kept for the new ones."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.core import sla
from scheduler.core.deadlines import Due
from scheduler.core.parts import Tools
from scheduler.core.update_run import Run, Work
from scheduler.core.updates import MOVING, fits_in_place
from scheduler.model import JobKey, Task
from scheduler.states import ScheduleStatus


class Kills:
    """Ends old tasks. *runs*: the updates that are under way."""

    def __init__(self, tools: Tools, runs: Mapping[JobKey, Run]) -> None:
        self.tools = tools
        self._runs = runs
        self._state = tools.draft.state
        #: How jobs stand, and of which moment: until a task is lost to its job, or time passes.
        self._standings: tuple[tuple[float, int], sla.Standings] | None = None

    @property
    def _moment(self) -> tuple[float, int]:
        return self.tools.draft.now.mono_s, self._state.turnover

    def look_at(self, run: Run, instance: int, after_s: float) -> None:
        """Have the instance looked at again then."""
        self.tools.deadlines.set(Due.UPDATE_INSTANCE, (*run.about, instance), self.tools.draft.now.mono_s + after_s)

    def kill(self, run: Run, task: Task) -> bool:
        """End the old task; whether that could be."""
        settings = self.tools.settings
        target = run.target(task.instance)
        is_place_kept = settings.enable_update_affinity and target is not None and fits_in_place(task.config, target)
        if is_place_kept and task.agent_id is not None:
            until_s = self.tools.draft.now.mono_s + settings.update_affinity_reservation_hold_time_s
            self.tools.offers.reserve(task.agent_id, (run.job, task.instance), until_s)
        moment = self._moment
        words = f"Killed for job update {run.update_id}"
        is_killed = self.tools.tasks.move(task.task_id, ScheduleStatus.KILLING, words)
        if self._standings is not None and self._standings[0] == moment and self._moment[1] == moment[1] + 1:
            # Only this one changed: the others of its job need not be counted again for the next one.
            self._standings[1].left(task)
            self._standings = (self._moment, self._standings[1])
        return is_killed

    def may(self, run: Run, work: Work, task: Task) -> bool:
        """Whether the job's promises allow that *task* goes now; where not, it is asked again later."""
        if not run.settings.sla_aware or task.agent_id is None:
            return True
        now = self.tools.draft.now
        if work.not_before_s > now.mono_s:
            self.look_at(run, task.instance, work.not_before_s - now.mono_s)
            return False
        if self._standings is None or self._standings[0] != self._moment:
            self._standings = (self._moment, sla.Standings(self._state, self.tools.draft.elapsed, now))
        promising = task._replace(config=run.policy_of(task))
        settings = self.tools.settings
        verdict = sla.may_kill(promising, self._state, now.wall_ms, settings, standings=self._standings[1])
        if verdict.is_allowed:
            return True
        if verdict.coordinator is not None:
            self.tools.coordinators.ask(task, verdict.coordinator, self._coordinator_said, self._is_to_be_killed)
        else:
            self._ask_later(run, work, task.instance)
        return False

    def _ask_later(self, run: Run, work: Work, instance: int) -> None:
        settings = self.tools.settings
        longest_s = settings.sla_aware_kill_retry_max_delay_s
        delay_s = min(longest_s, settings.sla_aware_kill_retry_min_delay_s * 2 ** min(work.refusals, 16))
        work.refusals += 1
        work.not_before_s = self.tools.draft.now.mono_s + delay_s
        self.look_at(run, instance, delay_s)

    def _is_to_be_killed(self, task: Task) -> bool:
        run = self._runs.get(task.job)
        if run is None or run.status not in MOVING or task.instance not in run.working:
            return False
        return task.status is not ScheduleStatus.KILLING and task.config != run.target(task.instance)

    def _coordinator_said(self, task: Task, is_allowed: bool) -> None:
        if not self._is_to_be_killed(task):
            return
        run = self._runs[task.job]
        if is_allowed:
            self.kill(run, task)
        else:
            self._ask_later(run, run.working[task.instance], task.instance)
